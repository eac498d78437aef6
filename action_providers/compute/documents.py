"""What the Compute providers take on the wire: scope, input schemas, older spellings.

Source: the pages of the hosted Compute action providers, and public flows that use them.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from schemas.json_text import Json

SCOPE: Final = "https://auth.globus.org/scopes/b3db7e59-a6f1-4947-95c2-59d6b7a70f8c/action_all"
KEYWORDS: Final = ("compute", "function", "funcX", "Parsl")

#: Tasks of one action: their ids and results have to fit its documents.
MAX_TASKS: Final = 5_000

#: Older spellings of members in version 2.
_OLDER: Final[Mapping[str, str]] = {"func": "function", "payload": "kwargs"}


def _schema(properties: dict[str, Any], required: list[str], **more: Any) -> dict[str, Any]:
    return {"type": "object", "properties": properties, "required": required, "additionalProperties": False, **more}


def _id(description: str) -> dict[str, Any]:
    return {"type": "string", "format": "uuid", "description": description}


_ARGUMENTS: Final[dict[str, Any]] = {
    "args": {"type": "array", "description": "Positional arguments of the function"},
    "kwargs": {"type": "object", "description": "Keyword arguments of the function"},
}


def _tasks(task: dict[str, Any]) -> dict[str, Any]:
    return {"type": "array", "minItems": 1, "maxItems": MAX_TASKS, "items": task, "description": "Calls of functions"}


_CALL: Final = {
    "endpoint": _id("Compute endpoint that runs the function"),
    "function": _id("Registered function"),
    **_ARGUMENTS,
    **{older: {"description": f"Older spelling of {name}"} for older, name in _OLDER.items()},
}
#: Nobody can tell which one is meant where both spellings are there. (A condition, for the sake of its message.)
_ONE_SPELLING: Final = [
    {"if": {"required": [older, name]}, "then": {"properties": {older: False}}} for older, name in _OLDER.items()
]


def _unless(members: list[str], required: list[str]) -> dict[str, Any]:
    return {"if": {"not": {"anyOf": [{"required": [one]} for one in members]}}, "then": {"required": required}}


INPUT_SCHEMA_V2: Final[dict[str, Any]] = {
    "$schema": "http://json-schema.org/draft-07/schema#",
    **_schema(
        {
            **_CALL,
            "tasks": _tasks(_schema(_CALL, ["endpoint"], allOf=[*_ONE_SPELLING, _unless(["func"], ["function"])])),
        },
        [],
        allOf=[*_ONE_SPELLING, _unless(["func", "tasks"], ["endpoint", "function"])],
        dependencies={"function": ["endpoint"], "func": ["endpoint"]},
    ),
}

INPUT_SCHEMA_V3: Final[dict[str, Any]] = {
    "$schema": "http://json-schema.org/draft-07/schema#",
    **_schema(
        {
            "endpoint_id": _id("Compute endpoint that runs the functions"),
            "tasks": _tasks(_schema({"function_id": _id("Registered function"), **_ARGUMENTS}, ["function_id"])),
            "task_group_id": _id("Group that the tasks join; a new one without it"),
            "user_endpoint_config": {"type": "object", "description": "Values for the endpoint's template"},
            "resource_specification": {"type": "object", "description": "What each task needs, such as num_nodes"},
            "create_queue": {"type": "boolean", "description": "Taken and ignored: results need no queue here"},
        },
        ["endpoint_id", "tasks"],
    ),
}


def adapt_v2(body: Json) -> Json:
    """Older spellings become the present ones, and one argument that is not in a list gets into one."""
    if not isinstance(body, dict):
        return body
    adapted = _adapted_call(body)
    if isinstance(tasks := adapted.get("tasks"), list):
        adapted["tasks"] = [_adapted_call(task) if isinstance(task, dict) else task for task in tasks]
    return adapted


def _adapted_call(call: Mapping[str, Json]) -> dict[str, Json]:
    adapted = dict(call)
    for older, name in _OLDER.items():
        if older in adapted and name not in adapted:
            adapted[name] = adapted.pop(older)
    if "args" in adapted and not isinstance(adapted["args"], list):
        adapted["args"] = [adapted["args"]]
    return adapted
