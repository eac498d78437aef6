"""The Compute API over HTTP: one call of a use case per route. Nothing is decided here.

Source of the published routes: ``globus_sdk.ComputeClientV2`` and ``ComputeClientV3``. What agents call, lists, cancelling
and the stream of results are ours, below ``/v3``. A path that is no route is answered by the front door of the server,
in this API's error document.
"""

from __future__ import annotations

import importlib.metadata
import logging
import uuid
from collections.abc import Callable
from functools import cache

from flask import Blueprint, Response, request
from flask.typing import ResponseReturnValue
from werkzeug.exceptions import HTTPException

from schemas.errors import ServiceError
from schemas.json_text import Json, dumps
from schemas.ports import Authorizer
from schemas.principals import Caller
from schemas.request_headers import bearer_token, refuse_credentials_in_address
from schemas.scopes import COMPUTE_SCOPE

from ..wire import MIB
from . import answers, openapi, version_two
from .bodies import MAX_CARGO_BYTES, read_object, seconds, whole_number
from .compute import ComputeService
from .long_polls import RETRY_AFTER_S, Places

log = logging.getLogger(__name__)

#: The hosted service's version whose routes these are.
_API_VERSION = "1.23.0"
_MAX_PAGE = 1_000
#: About so many bytes of results come in one answer.
_MOST_BATCH_BYTES = 16 * MIB
_MAX_MARKER = 2**63 - 1


def create_blueprint(
    service: ComputeService, authorizer: Authorizer, *, mount: str = "/compute", waiting: int = 32
) -> Blueprint:
    """The whole API below ``mount``; at most ``waiting`` requests wait at a time."""
    blueprint = Blueprint("compute_api", __name__, url_prefix=mount)
    _Views(service, authorizer, Places(waiting)).add_to(blueprint)
    openapi.add_routes(blueprint, mount)
    blueprint.register_error_handler(ServiceError, _refused)
    blueprint.register_error_handler(HTTPException, _http_error)
    blueprint.register_error_handler(Exception, _own_fault)
    return blueprint


class _Views:
    def __init__(self, service: ComputeService, authorizer: Authorizer, places: Places) -> None:
        self._service = service
        self._authorizer = authorizer
        self._places = places

    def add_to(self, blueprint: Blueprint) -> None:
        rules: list[tuple[str, str, Callable[..., ResponseReturnValue]]] = [
            ("GET", "/v2/version", self.version),
            ("GET", "/v2/get_amqp_result_connection_url", self.no_broker),
            ("POST", "/v2/functions", self.register_function),
            ("GET", "/v2/functions/<function_id>", self.get_function),
            ("DELETE", "/v2/functions/<function_id>", self.delete_function),
            ("POST", "/v2/endpoints", self.register_endpoint_v2),
            ("GET", "/v2/endpoints", self.list_endpoints),
            ("GET", "/v2/endpoints/<endpoint_id>", self.get_endpoint),
            ("DELETE", "/v2/endpoints/<endpoint_id>", self.delete_endpoint),
            ("GET", "/v2/endpoints/<endpoint_id>/status", self.endpoint_status),
            ("POST", "/v2/endpoints/<endpoint_id>/lock", self.lock_endpoint),
            ("POST", "/v2/submit", self.submit_v2),
            ("GET", "/v2/tasks/<task_id>", self.get_task),
            ("POST", "/v2/batch_status", self.get_tasks),
            ("GET", "/v2/taskgroup/<task_group_id>", self.get_task_group),
            ("POST", "/v3/functions", self.register_function),
            ("GET", "/v3/functions", self.list_functions),
            ("POST", "/v3/endpoints", self.register_endpoint),
            ("PUT", "/v3/endpoints/<endpoint_id>", self.update_endpoint),
            ("GET", "/v3/endpoints/<endpoint_id>/allowed_functions", self.allowed_functions),
            ("POST", "/v3/endpoints/<endpoint_id>/lock", self.lock_endpoint),
            ("POST", "/v3/endpoints/<endpoint_id>/submit", self.submit),
            ("POST", "/v3/endpoints/<endpoint_id>/lease", self.lease),
            ("POST", "/v3/endpoints/<endpoint_id>/heartbeat", self.heartbeat),
            ("POST", "/v3/endpoints/<endpoint_id>/report", self.report),
            ("POST", "/v3/endpoints/<endpoint_id>/leave", self.leave),
            ("GET", "/v3/tasks", self.list_tasks),
            ("POST", "/v3/tasks/cancel", self.cancel_tasks),
            ("GET", "/v3/task_groups/<task_group_id>/results", self.results),
            ("POST", "/v3/task_groups/<task_group_id>/cancel", self.cancel_group),
        ]
        for method, rule, view in rules:
            blueprint.add_url_rule(
                rule, endpoint=f"{view.__name__} {rule[1:3]}", view_func=view, methods=[method], strict_slashes=False
            )

    # what needs no caller

    def version(self) -> ResponseReturnValue:
        """As text, or with ``?service=all`` as an object. Clients look for either name of an endpoint's version."""
        if request.args.get("service") != "all":
            return _answer(_API_VERSION)
        oldest = {"min_sdk_version": "2.0.0", "min_ep_version": "2.0.0", "min_endpoint_version": "2.0.0"}
        return _answer({"api": _API_VERSION, **oldest, "flows_engine": _own_version()})

    def no_broker(self) -> ResponseReturnValue:
        self._caller()
        raise ServiceError(
            501,
            "NOT_IMPLEMENTED",
            "This service has no message broker. Results are at /v3/task_groups/<id>/results, which waits for them, and at "
            "/v2/batch_status; compute_agent.sdk.Executor uses them",
        )

    # functions

    def register_function(self) -> ResponseReturnValue:
        caller = self._caller()
        return _answer(self._service.register_function(caller, read_object(MAX_CARGO_BYTES)))

    def get_function(self, function_id: str) -> ResponseReturnValue:
        return _answer(self._service.get_function(self._caller(), function_id))

    def delete_function(self, function_id: str) -> ResponseReturnValue:
        return _answer(self._service.delete_function(self._caller(), function_id))

    def list_functions(self) -> ResponseReturnValue:
        caller = self._caller()
        return _answer(self._service.list_functions(caller, marker=_marker(), limit=_limit()))

    # endpoints

    def register_endpoint(self) -> ResponseReturnValue:
        caller = self._caller()
        return _answer(self._service.register_endpoint(caller, read_object(), None))

    def register_endpoint_v2(self) -> ResponseReturnValue:
        caller = self._caller()
        body, endpoint_id = version_two.registration(read_object())
        return _answer({**self._service.register_endpoint(caller, body, endpoint_id), "warnings": []})

    def update_endpoint(self, endpoint_id: str) -> ResponseReturnValue:
        caller = self._caller()
        return _answer(self._service.register_endpoint(caller, read_object(), endpoint_id))

    def list_endpoints(self) -> ResponseReturnValue:
        return _answer(self._service.list_endpoints(self._caller(), request.args.get("role", "owner")))

    def get_endpoint(self, endpoint_id: str) -> ResponseReturnValue:
        return _answer(self._service.get_endpoint(self._caller(), endpoint_id))

    def endpoint_status(self, endpoint_id: str) -> ResponseReturnValue:
        return _answer(self._service.endpoint_status(self._caller(), endpoint_id))

    def delete_endpoint(self, endpoint_id: str) -> ResponseReturnValue:
        return _answer(self._service.delete_endpoint(self._caller(), endpoint_id))

    def lock_endpoint(self, endpoint_id: str) -> ResponseReturnValue:
        return _answer(self._service.lock_endpoint(self._caller(), endpoint_id))

    def allowed_functions(self, endpoint_id: str) -> ResponseReturnValue:
        return _answer(self._service.allowed_functions(self._caller(), endpoint_id))

    # tasks, for users

    def submit(self, endpoint_id: str) -> ResponseReturnValue:
        caller = self._caller()
        return _answer(self._service.submit(caller, endpoint_id, _submission()))

    def submit_v2(self) -> ResponseReturnValue:
        """Endpoint by endpoint: what one of them refuses does not hinder the others, unless all of it is refused."""
        caller, body = self._caller(), _submission()
        task_group_id = body.get("task_group_id")
        results: dict[int, dict[str, Json]] = {}
        refusals = []
        for part in version_two.parts(body):
            try:
                answer = self._service.submit(
                    caller, part.endpoint_id, version_two.body_of_part(part, body, task_group_id)
                )
            except ServiceError as error:
                refusals.append(error)
                results |= version_two.refused(part, error)
            else:
                task_group_id = answer["task_group_id"]
                results |= version_two.accepted(part, answer)
        if all(one["task_uuid"] is None for one in results.values()):
            raise refusals[0]
        return _answer(
            {
                "response": "failed" if refusals else "success",
                "task_group_id": task_group_id,
                "results": [results[place] for place in sorted(results)],
            },
            207 if refusals else 200,
        )

    def get_task(self, task_id: str) -> ResponseReturnValue:
        return _answer(self._service.get_task(self._caller(), task_id))

    def get_tasks(self) -> ResponseReturnValue:
        caller = self._caller()
        documents = self._service.get_tasks(caller, read_object().get("task_ids"), most_bytes=_MOST_BATCH_BYTES)
        return _answer({"response": "batch", "results": documents})

    def get_task_group(self, task_group_id: str) -> ResponseReturnValue:
        return _answer(self._service.get_task_group(self._caller(), task_group_id))

    def list_tasks(self) -> ResponseReturnValue:
        caller = self._caller()
        page = self._service.list_tasks(
            caller,
            endpoint_id=request.args.get("endpoint_id"),
            state=request.args.get("state"),
            marker=_marker(),
            limit=_limit(),
        )
        return _answer(page)

    def results(self, task_group_id: str) -> ResponseReturnValue:
        caller = self._caller()
        after, limit = whole_number("after", 0, most=_MAX_MARKER), _limit(default=_MAX_PAGE)
        asked_s = seconds("wait")
        with self._places.take(asked_s) as wait_s:
            if wait_s:
                found = self._service.wait_for_results(caller, task_group_id, after=after, limit=limit, wait_s=wait_s)
            else:
                found = self._service.results(caller, task_group_id, after=after, limit=limit)
        is_open = not found["results"] and bool(found["unfinished"])
        return _come_again(found) if is_open and self._is_early(asked_s, wait_s) else _answer(found)

    def cancel_tasks(self) -> ResponseReturnValue:
        caller = self._caller()
        return _answer(self._service.cancel_tasks(caller, read_object().get("task_ids")))

    def cancel_group(self, task_group_id: str) -> ResponseReturnValue:
        return _answer(self._service.cancel_group(self._caller(), task_group_id))

    # tasks, for agents

    def lease(self, endpoint_id: str) -> ResponseReturnValue:
        caller, body = self._caller(), read_object()
        asked = body.get("wait")
        asked_s = float(asked) if isinstance(asked, int | float) and asked > 0 else 0.0
        with self._places.take(asked_s) as wait_s:
            # Something else than a number is left for the service to refuse.
            found = self._service.lease(caller, endpoint_id, body if wait_s == asked_s else {**body, "wait": 0})
        is_empty = not (found["tasks"] or found["cancel"] or found["stop"])
        return _come_again(found) if is_empty and self._is_early(asked_s, wait_s) else _answer(found)

    def heartbeat(self, endpoint_id: str) -> ResponseReturnValue:
        caller = self._caller()
        return _answer(self._service.heartbeat(caller, endpoint_id, read_object()))

    def report(self, endpoint_id: str) -> ResponseReturnValue:
        """A result with a NUL character must not keep the others from being reported: the service refuses it alone."""
        caller, body = self._caller(), read_object(MAX_CARGO_BYTES, odd_characters=True)
        return _answer(self._service.report(caller, endpoint_id, body))

    def leave(self, endpoint_id: str) -> ResponseReturnValue:
        caller = self._caller()
        return _answer(self._service.leave(caller, endpoint_id, read_object()))

    def _is_early(self, asked_s: float, waited_s: float) -> bool:
        """Whether a request that had come to wait was not let wait, for want of a place or because the server stops."""
        return asked_s > 0 and (waited_s == 0 or self._service.news.is_closed)

    def _caller(self) -> Caller:
        """The caller, whose token must have been issued for the Compute API. Asked before a body is read."""
        refuse_credentials_in_address(request.args.items(multi=True))
        caller = self._authorizer.authenticate(bearer_token(request.headers.get("Authorization", "")))
        if COMPUTE_SCOPE not in caller.scopes:
            raise ServiceError(
                403,
                "MISSING_SCOPE",
                f"This action requires the following scope: {COMPUTE_SCOPE}",
                extra={"authorization_parameters": {"required_scopes": [COMPUTE_SCOPE]}},
            )
        return caller


def _submission() -> dict[str, Json]:
    return read_object(MAX_CARGO_BYTES, too_large="TASK_PAYLOAD_TOO_LARGE")


def _marker() -> int | None:
    return whole_number("marker", 0, most=_MAX_MARKER) or None


def _limit(default: int = 100) -> int:
    return whole_number("limit", default, least=1, most=_MAX_PAGE)


@cache
def _own_version() -> str:
    return importlib.metadata.version("flows-engine")


def _answer(document: Json, status: int = 200) -> Response:
    headers = {"Cache-Control": "no-store", "X-Content-Type-Options": "nosniff"}
    return Response(dumps(document), status, headers, content_type="application/json")


def _come_again(document: dict[str, Json]) -> Response:
    """Nothing yet; when to ask again stands in the header and where programs see it."""
    response = _answer({**document, "retry_after_s": RETRY_AFTER_S})
    response.headers["Retry-After"] = str(RETRY_AFTER_S)
    return response


def _refused(error: ServiceError) -> Response:
    response = _answer(answers.document_of(error, str(uuid.uuid4())), error.status)
    response.headers.update(error.headers)
    if error.status == 401:
        response.headers.setdefault("WWW-Authenticate", "Bearer")
    return response


def _http_error(error: HTTPException) -> ResponseReturnValue:
    code = error.name.upper().replace(" ", "_")
    return _refused(ServiceError(error.code or 500, code, error.description or error.name))


def _own_fault(error: Exception) -> Response:
    """Our own fault: the reason goes to the log, never to the caller."""
    debug_id = str(uuid.uuid4())
    log.error("request failed", exc_info=error, extra={"debug_id": debug_id, "route": str(request.url_rule)})
    sentence = "The service failed on this request; tell its operator the debug_id"
    return _answer(answers.error_document(500, "INTERNAL_ERROR", sentence, debug_id=debug_id), 500)
