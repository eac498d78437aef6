"""Routes of runs, the older ones under ``/flows/{flow_id}`` included. HTTP in, one call of a use case, HTTP out.

A flow is an action provider: ``/flows/{flow_id}/run`` starts an action whose id is the run's, and the routes
``/flows/{flow_id}/{run_id}/...`` steer it with a token for the flow.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from flask import Blueprint, Response, request

from schemas.errors import ServiceError

from ..engine.queries import flag
from ..engine.runs import Runs
from .envelope import answer, read_json

if TYPE_CHECKING:
    from .flows_api import Door

_MAX_KEY_CHARS = 256


def add_routes(blueprint: Blueprint, runs: Runs, door: Door) -> None:
    """Add every route of runs to the blueprint."""
    _add_starting(blueprint, runs, door)
    _add_reading(blueprint, runs, door)
    _add_steering(blueprint, runs, door)
    _add_action_routes(blueprint, runs, door)


def _add_starting(blueprint: Blueprint, runs: Runs, door: Door) -> None:
    body_limit = runs.limits.max_body_bytes

    @blueprint.post("/flows/<flow_id>/run", strict_slashes=False)
    def start_run(flow_id: str) -> Response:
        caller = door.caller()
        key = _idempotency_key()
        started = runs.start(caller, flow_id, read_json(body_limit), idempotency_key=key)
        return answer(started.document, 201 if started.is_new else 200)

    @blueprint.post("/flows/<flow_id>/validate_run", strict_slashes=False)
    def validate_run(flow_id: str) -> Response:
        caller = door.caller()
        return answer(runs.validate_start(caller, flow_id, read_json(body_limit)))


def _add_reading(blueprint: Blueprint, runs: Runs, door: Door) -> None:
    @blueprint.get("/runs", strict_slashes=False)
    def list_runs() -> Response:
        caller = door.caller()
        return answer(runs.list(caller, request.args.to_dict(flat=False)))

    @blueprint.get("/flows/<flow_id>/runs", strict_slashes=False)
    def list_flow_runs(flow_id: str) -> Response:
        caller = door.caller()
        return answer(runs.list(caller, request.args.to_dict(flat=False), flow_id=flow_id))

    @blueprint.get("/runs/<run_id>", strict_slashes=False)
    def get_run(run_id: str) -> Response:
        caller = door.caller()
        with_flow = flag(request.args.to_dict(flat=False), "include_flow_description", runs.limits)
        return answer(runs.get(caller, run_id, include_flow_description=with_flow))

    @blueprint.get("/runs/<run_id>/definition", strict_slashes=False)
    def get_run_definition(run_id: str) -> Response:
        return answer(runs.definition(door.caller(), run_id))

    @blueprint.get("/runs/<run_id>/log", strict_slashes=False)
    def get_run_log(run_id: str) -> Response:
        caller = door.caller()
        return answer(runs.log(caller, run_id, request.args.to_dict(flat=False)))


def _add_steering(blueprint: Blueprint, runs: Runs, door: Door) -> None:
    body_limit = runs.limits.max_body_bytes

    @blueprint.put("/runs/<run_id>", strict_slashes=False)
    def update_run(run_id: str) -> Response:
        caller = door.caller()
        return answer(runs.update(caller, run_id, read_json(body_limit)))

    @blueprint.post("/runs/<run_id>/cancel", strict_slashes=False)
    def cancel_run(run_id: str) -> Response:
        return answer(runs.cancel(door.caller(), run_id), 202)

    @blueprint.post("/runs/<run_id>/resume", strict_slashes=False)
    def resume_run(run_id: str) -> Response:
        return answer(runs.resume(door.caller(), run_id))

    @blueprint.post("/runs/<run_id>/release", strict_slashes=False)
    def release_run(run_id: str) -> Response:
        return answer(runs.release(door.caller(), run_id))

    @blueprint.post("/batch/runs", strict_slashes=False)
    def change_runs() -> Response:
        caller = door.caller()
        return answer(runs.batches.change(caller, read_json(body_limit)), 202)


def _add_action_routes(blueprint: Blueprint, runs: Runs, door: Door) -> None:
    @blueprint.get("/flows/<flow_id>/<run_id>/status", strict_slashes=False)
    def action_status(flow_id: str, run_id: str) -> Response:
        return answer(runs.get(door.caller(), run_id, flow_id=flow_id))

    @blueprint.get("/flows/<flow_id>/<run_id>/log", strict_slashes=False)
    @blueprint.get("/flows/<flow_id>/runs/<run_id>/log", strict_slashes=False, endpoint="flow_run_log")
    def action_log(flow_id: str, run_id: str) -> Response:
        caller = door.caller()
        return answer(runs.log(caller, run_id, request.args.to_dict(flat=False), flow_id=flow_id))

    @blueprint.post("/flows/<flow_id>/<run_id>/cancel", strict_slashes=False)
    def cancel_action(flow_id: str, run_id: str) -> Response:
        return answer(runs.cancel(door.caller(), run_id, flow_id=flow_id))

    @blueprint.post("/flows/<flow_id>/<run_id>/resume", strict_slashes=False)
    def resume_action(flow_id: str, run_id: str) -> Response:
        return answer(runs.resume(door.caller(), run_id, flow_id=flow_id))

    @blueprint.post("/flows/<flow_id>/<run_id>/release", strict_slashes=False)
    def release_action(flow_id: str, run_id: str) -> Response:
        return answer(runs.release(door.caller(), run_id, flow_id=flow_id))


def _idempotency_key() -> str | None:
    key = request.headers.get("Idempotency-Key")
    if key is None:
        return None
    if not 0 < len(key) <= _MAX_KEY_CHARS or not key.isprintable():
        raise ServiceError(
            400, "BAD_IDEMPOTENCY_KEY", f"Idempotency-Key must have 1 to {_MAX_KEY_CHARS} printable characters"
        )
    return key
