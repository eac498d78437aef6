"""Documents that users get, in the published shapes. Pure.

Source: the Compute SDK's own reading of them, and the fixtures of ``globus_sdk.testing``. ``state``, ``error`` and the
ids that a task document names are ours.
"""

from __future__ import annotations

from schemas.json_text import Json
from schemas.principals import identity_of
from schemas.times import format_time, from_us

from ..wire import TaskState
from .rows.endpoints import Endpoint
from .rows.functions import Function
from .rows.views import TaskView

_STATUS = {
    TaskState.QUEUED: "waiting-for-ep",
    TaskState.LEASED: "waiting-for-nodes",
    TaskState.RUNNING: "running",
    TaskState.SUCCEEDED: "success",
    TaskState.FAILED: "failed",
    TaskState.CANCELLED: "failed",
    TaskState.LOST: "failed",
}

_WORKER_COUNTS = ("total_workers", "idle_workers", "pending_tasks", "outstanding_tasks", "managers")


def task_document(view: TaskView) -> dict[str, Json]:
    document: dict[str, Json] = {
        "task_id": view.task_id,
        "status": _STATUS[view.state],
        "state": view.state.value,
        "task_group_id": view.group_id,
        "function_id": view.function_id,
        "endpoint_id": view.endpoint_id,
        "error": None,
        "details": {**view.details, "endpoint_id": view.endpoint_id, "task_transitions": _transitions(view)},
    }
    if view.requeues:
        document["details"]["requeues"] = view.requeues
    if view.finished_at is not None:
        document["completion_t"] = f"{view.finished_at / 1e6:.6f}"
    if view.state is TaskState.SUCCEEDED:
        if view.result is not None:
            document["result"] = view.result
    elif view.state.is_final:
        document["exception"] = view.error_message or ""
        document["error"] = {"code": view.error_code or "", "message": view.error_message or ""}
        document["reason"] = view.error_code or ""
    return document


def short_task_document(view: TaskView) -> dict[str, Json]:
    """For lists: no result and no traceback."""
    document = task_document(view)
    for name in ("result", "exception"):
        document.pop(name, None)
    if document["error"]:
        document["error"] = {"code": view.error_code or "", "message": (view.error_message or "")[-500:]}
    return document | {"submitted_at": format_time(from_us(view.submitted_at))}


def unknown_task_document(task_id: str, *, now_us: int) -> dict[str, Json]:
    """In the place of a task that the caller may not see, or that is no longer kept."""
    reason = f"there is no task {task_id} that you may see; results are kept for a limited time"
    return {
        "task_id": task_id,
        "status": "failed",
        "state": None,
        "reason": "TASK_NOT_FOUND",
        "exception": reason,
        "error": {"code": "TASK_NOT_FOUND", "message": reason},
        "completion_t": f"{now_us / 1e6:.6f}",
        "details": {},
    }


def function_document(function: Function) -> dict[str, Json]:
    """Without the code, for lists."""
    return {
        "function_uuid": function.function_id,
        "function_name": function.name,
        "description": function.description,
        "metadata": function.meta,
        "owner": identity_of(function.owner),
        "public": function.public,
        "group": function.group_id,
        "on_loss": function.on_loss,
        "max_requeues": function.max_requeues,
        "created_at": format_time(from_us(function.created_at)),
        "sha256": function.sha256,
    }


def endpoint_document(endpoint: Endpoint, *, for_owner: bool) -> dict[str, Json]:
    """The owner sees the configuration as well."""
    said = endpoint.registration
    facts = said.get("metadata") or {}
    document: dict[str, Json] = {
        "uuid": endpoint.endpoint_id,
        "name": endpoint.name,
        "display_name": endpoint.display_name,
        "owner": identity_of(endpoint.owner),
        "multi_user": bool(said.get("multi_user")),
        "public": endpoint.public,
        "endpoint_config": "",
        "user_config_template": facts.get("user_config_template") or "",
        "user_config_schema": facts.get("user_config_schema") or {},
        "description": said.get("description") or "",
        "hostname": facts.get("hostname") or "",
        "local_user": "",
        "ip_address": "",
        "endpoint_version": facts.get("endpoint_version") or "",
        "sdk_version": facts.get("sdk_version") or "",
        "python_version": facts.get("python_version") or "",
        "subscription_uuid": said.get("subscription_uuid"),
        "created_at": format_time(from_us(endpoint.created_at)),
        "metadata": {"python_version": facts.get("python_version") or ""},
    }
    if for_owner:
        document["endpoint_config"] = facts.get("endpoint_config") or ""
        document["local_user"] = facts.get("local_user") or ""
        document["users"] = list(endpoint.users)
    return document


def short_endpoint_document(endpoint: Endpoint) -> dict[str, Json]:
    return {
        "uuid": endpoint.endpoint_id,
        "name": endpoint.name,
        "display_name": endpoint.display_name,
        "owner": identity_of(endpoint.owner),
    }


def status_document(endpoint: Endpoint, *, is_online: bool) -> dict[str, Json]:
    """The published counts are always there; the rest of what the agent says of itself stands beside them."""
    said = endpoint.status if is_online else {}
    counts = {name: said.get(name, 0) for name in _WORKER_COUNTS}
    return {
        "status": "online" if is_online else "offline",
        "details": {**said, **counts},
        "last_heard_at": format_time(from_us(endpoint.heard_at)),
        "stopped_at": None if endpoint.stopped_at is None else format_time(from_us(endpoint.stopped_at)),
    }


def _transitions(view: TaskView) -> dict[str, float]:
    """Epoch seconds by the published names of states."""
    times = {
        "received": view.submitted_at,
        "waiting-for-nodes": view.leased_at,
        "running": view.begun_at,
        "result-received": view.finished_at,
    }
    transitions = {name: at / 1e6 for name, at in times.items() if at is not None}
    for name, fact in (("execution-start", "started_at"), ("execution-end", "ended_at")):
        moment = view.details.get(fact)
        if isinstance(moment, int | float):
            transitions[name] = moment
    return transitions
