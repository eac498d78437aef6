"""Routes of flows: HTTP in, one call of a use case, HTTP out. Nothing is decided here.

``create_blueprint`` is the whole Flows API (flows, runs, its OpenAPI document and page). The app mounts it at
``/flows``, so that the service's base URL is ``http://host:port/flows/`` and the list of flows ``/flows/flows``.
"""

from __future__ import annotations

from flask import Blueprint, Response, request
from flask.sansio.blueprints import BlueprintSetupState
from werkzeug.routing import BaseConverter

from schemas.json_text import Json
from schemas.ports import Authorizer
from schemas.principals import Caller

from ..engine.flows import Flows
from ..engine.runs import Runs
from . import openapi, runs_api
from .bearer import bearer_token, optional_bearer_token
from .envelope import answer, install, read_json

NAME = "flows_api"


def create_blueprint(flows: Flows, runs: Runs, authorizer: Authorizer, *, mount: str = "/flows") -> Blueprint:
    """The Flows API. ``mount`` is the prefix it is registered under, which its own pages must know."""
    blueprint = Blueprint(NAME, __name__, url_prefix=mount)
    blueprint.record_once(_add_converter)
    door = Door(authorizer)
    _add_flow_routes(blueprint, flows, door)
    runs_api.add_routes(blueprint, runs, door)
    openapi.add_routes(blueprint, mount)
    install(blueprint)
    return blueprint


class Door:
    """Who stands before it: the caller of the current request."""

    def __init__(self, authorizer: Authorizer) -> None:
        self._authorizer = authorizer

    def caller(self) -> Caller:
        return self._authorizer.authenticate(bearer_token(request))

    def caller_or_none(self) -> Caller | None:
        """For what is open to everybody; a token that is sent must be a good one all the same."""
        token = optional_bearer_token(request)
        return None if token is None else self._authorizer.authenticate(token)


def _add_flow_routes(blueprint: Blueprint, flows: Flows, door: Door) -> None:
    body_limit = flows.limits.max_body_bytes

    @blueprint.get("/flows", strict_slashes=False)
    def list_flows() -> Response:
        caller = door.caller_or_none()
        return answer(flows.list(caller, request.args.to_dict(flat=False)))

    @blueprint.post("/flows", strict_slashes=False)
    def create_flow() -> Response:
        caller = door.caller()
        return _flow(flows.create(caller, read_json(body_limit)), 201)

    @blueprint.post("/flows/validate", strict_slashes=False)
    def validate_flow() -> Response:
        caller = door.caller()
        return answer(flows.validate(caller, read_json(body_limit)))

    @blueprint.get("/flows/<flow:flow_id>", strict_slashes=False)
    def get_flow(flow_id: str) -> Response:
        return _flow(flows.get(door.caller_or_none(), flow_id))

    @blueprint.put("/flows/<flow:flow_id>", strict_slashes=False)
    def update_flow(flow_id: str) -> Response:
        caller = door.caller()
        return _flow(flows.update(caller, flow_id, read_json(body_limit), if_match=_if_match()))

    @blueprint.delete("/flows/<flow:flow_id>", strict_slashes=False)
    def delete_flow(flow_id: str) -> Response:
        return answer(flows.delete(door.caller(), flow_id))


class _FlowConverter(BaseConverter):
    """An id of a flow in a path: anything but the word that is a route of its own, for every method."""

    regex = "(?!validate(?:/|$))[^/]+"
    part_isolating = True


def _add_converter(state: BlueprintSetupState) -> None:
    state.app.url_map.converters["flow"] = _FlowConverter


def _flow(document: dict[str, Json], status: int = 200) -> Response:
    """A flow with its version as ETag; the same text, sent back as ``If-Match``, guards an update."""
    return answer(document, status, {"ETag": f'"{document["updated_at"]}"'})


def _if_match() -> str | None:
    text = request.headers.get("If-Match", "").strip()
    return None if text in ("", "*") else text.removeprefix("W/").strip('"')
