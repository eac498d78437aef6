"""The Action Provider API over HTTP: every provider under its path, in both route layouts.

Source: Action Provider Tools, ``actions_spec.openapi.yaml`` (1.0: ``/run``, ``/<id>/status``; 1.1: ``/actions/<id>``).
Views only translate; what may be done is decided in service.py.
"""

from __future__ import annotations

import logging
import uuid
from collections.abc import Callable

from flask import Blueprint, Response, request
from flask.typing import ResponseReturnValue
from werkzeug.exceptions import HTTPException

from schemas.errors import InvalidJson, ServiceError
from schemas.json_text import Json, dumps, loads
from schemas.ports import Authorizer
from schemas.principals import Caller

from .errors import ActionError, bad_request, forbidden, unauthorized
from .service import Actions

log = logging.getLogger(__name__)

MAX_BODY_BYTES = 1_048_576

#: Query parameters that could only be a credential.
_CREDENTIALS = frozenset({"access_token", "bearer_token", "authorization", "token", "refresh_token", "client_secret"})

_CORS = {
    "Access-Control-Allow-Origin": "*",
    "Access-Control-Allow-Methods": "GET, OPTIONS",
    "Access-Control-Allow-Headers": "Authorization, Content-Type",
    "Access-Control-Max-Age": "86400",
}


def create_blueprint(actions: Actions, authorizer: Authorizer, *, name: str = "action_providers") -> Blueprint:
    """All providers of ``actions``; mount it with ``url_prefix="/actions"``."""
    blueprint = Blueprint(name, __name__)
    for path in sorted(actions.providers):
        _Views(actions, authorizer, path).add_to(blueprint)
    blueprint.add_url_rule("/", "offered", lambda: _json({"action_providers": actions.offered()}, 200))
    blueprint.add_url_rule(
        "/<path:unknown>", "stray", _unknown, methods=["GET", "POST", "DELETE"], provide_automatic_options=False
    )
    blueprint.register_error_handler(ActionError, _render_action_error)
    blueprint.register_error_handler(ServiceError, _render_service_error)
    blueprint.register_error_handler(Exception, _render_bug)
    return blueprint


class _Views:
    """The views of one provider."""

    def __init__(self, actions: Actions, authorizer: Authorizer, path: str) -> None:
        self._actions = actions
        self._authorizer = authorizer
        self._path = path

    def add_to(self, blueprint: Blueprint) -> None:
        rules: list[tuple[str, str, Callable[..., ResponseReturnValue]]] = [
            ("GET", "/", self.introspect),
            ("OPTIONS", "/", self.options),
            ("POST", "/run", self.run),
            ("GET", "/<action_id>/status", self.status),
            ("POST", "/<action_id>/cancel", self.cancel),
            ("POST", "/<action_id>/resume", self.resume),
            ("POST", "/<action_id>/release", self.release),
            ("GET", "/<action_id>/log", self.log),
            ("POST", "/actions", self.run),
            ("GET", "/actions", self.enumerate),
            ("GET", "/actions/<action_id>", self.status),
            ("POST", "/actions/<action_id>/cancel", self.cancel),
            ("POST", "/actions/<action_id>/resume", self.resume),
            ("DELETE", "/actions/<action_id>", self.release),
            ("GET", "/actions/<action_id>/log", self.log),
        ]
        for method, rule, view in rules:
            blueprint.add_url_rule(
                f"/{self._path}{rule}",
                endpoint=f"{self._path.replace('/', '_').replace('.', '_')} {method} {rule.replace('.', '_')}",
                view_func=view,
                methods=[method],
                strict_slashes=False,
                provide_automatic_options=False,
            )

    def introspect(self) -> ResponseReturnValue:
        caller = self._authenticated() if request.headers.get("Authorization") else None
        response = _json(self._actions.introspect(self._path, caller))
        response.headers.update(_CORS)
        return response

    def options(self) -> ResponseReturnValue:
        return Response(status=204, headers=_CORS)

    def run(self) -> ResponseReturnValue:
        caller = self._caller()
        document, created = self._actions.run(self._path, _body(), caller)
        return _json(document, 202 if created else 200)

    def status(self, action_id: str) -> ResponseReturnValue:
        return _json(self._actions.status(self._path, action_id, self._caller()))

    def cancel(self, action_id: str) -> ResponseReturnValue:
        return _json(self._actions.cancel(self._path, action_id, self._caller()))

    def resume(self, action_id: str) -> ResponseReturnValue:
        return _json(self._actions.resume(self._path, action_id, self._caller()))

    def release(self, action_id: str) -> ResponseReturnValue:
        return _json(self._actions.release(self._path, action_id, self._caller()))

    def log(self, action_id: str) -> ResponseReturnValue:
        return _json(self._actions.log(self._path, action_id, self._caller()))

    def enumerate(self) -> ResponseReturnValue:
        caller = self._caller()
        documents = self._actions.enumerate(
            self._path, caller, roles=_list_argument("roles"), statuses=_list_argument("status")
        )
        return _json(documents)

    def _caller(self) -> Caller:
        """The caller, whose token must have been issued for this provider's scope."""
        caller = self._authenticated()
        scope = self._actions.providers[self._path].description.scope
        if scope not in caller.scopes:
            raise forbidden(f"the token lacks the scope {scope}", required_scope=scope)
        return caller

    def _authenticated(self) -> Caller:
        if not _CREDENTIALS.isdisjoint(name.lower() for name in request.args):
            raise bad_request("a token in the address ends up in logs: send it in the Authorization header")
        kind, _, token = request.headers.get("Authorization", "").partition(" ")
        if kind.lower() != "bearer" or not token.strip():
            raise unauthorized("send a token in the header 'Authorization: Bearer <token>'")
        return self._authorizer.authenticate(token.strip())


def _body() -> Json:
    """The request's JSON, read to at most MAX_BODY_BYTES."""
    if request.headers.get("Content-Encoding", "identity").lower() != "identity":
        raise bad_request("compressed request bodies are not read: send the JSON text as it is", 415)
    is_json = request.mimetype == "application/json" or request.mimetype.endswith("+json")
    charset = request.mimetype_params.get("charset", "utf-8").lower()
    if not is_json or charset not in ("utf-8", "utf8", "us-ascii"):
        raise bad_request("the Content-Type must be application/json in UTF-8", 415)
    raw = b""
    if (request.content_length or 0) <= MAX_BODY_BYTES:
        raw = request.stream.read(MAX_BODY_BYTES + 1)
    if len(raw) > MAX_BODY_BYTES or (request.content_length or 0) > MAX_BODY_BYTES:
        raise bad_request(f"the request body is larger than the limit of {MAX_BODY_BYTES} bytes", 413)
    try:
        return loads(raw)
    except InvalidJson as error:
        raise bad_request(error.detail, error.status) from error


def _list_argument(name: str) -> list[str]:
    """A comma-separated query argument, which may be repeated."""
    return [one.strip() for value in request.args.getlist(name) for one in value.split(",") if one.strip()]


def _json(document: Json, status: int = 200) -> Response:
    headers = {"Cache-Control": "no-store", "X-Content-Type-Options": "nosniff"}
    return Response(dumps(document), status, headers, content_type="application/json")


def _unknown(unknown: str) -> ResponseReturnValue:
    raise ActionError(404, "ActionNotFound", f"no action provider takes {request.method} at {unknown[:128]!r}")


def _render_action_error(error: ActionError) -> ResponseReturnValue:
    response = _json(error.to_json(), error.http_status)
    if error.http_status == 401:
        response.headers["WWW-Authenticate"] = "Bearer"
    return response


def _render_service_error(error: ServiceError) -> ResponseReturnValue:
    """The authorizer's refusal in this API's envelope."""
    codes = {401: "UnauthorizedRequest", 403: "UnauthorizedRequest", 404: "ActionNotFound", 409: "ActionConflict"}
    code = codes.get(error.status, "BadActionRequest" if error.status < 500 else "ActionProviderError")
    response = _render_action_error(ActionError(error.status, code, str(error), **error.extra))
    assert isinstance(response, Response)
    response.headers.update(error.headers)
    return response


def _render_bug(error: Exception) -> ResponseReturnValue:
    """Our own fault: the reason goes to the log, never to the caller."""
    if isinstance(error, HTTPException):
        return _render_action_error(bad_request(error.description or error.name, error.code or 400))
    debug_id = str(uuid.uuid4())
    extra = {"path": request.path, "debug_id": debug_id}
    log.error("unexpected error in the action provider API", exc_info=error, extra=extra)
    return _json({"code": "ActionProviderError", "description": "Internal Server Error", "debug_id": debug_id}, 500)
