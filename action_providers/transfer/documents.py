"""What the Transfer providers have in common on the wire: the scope, and pieces of input schemas."""

from __future__ import annotations

from typing import Any, Final

from .paths import MAX_PATH_BYTES

SCOPE: Final = "urn:globus:auth:scope:transfer.api.globus.org:all"
KEYWORDS: Final = ("transfer", "files", "collection")

_ENDPOINT: Final[dict[str, Any]] = {"type": "string", "format": "uuid", "minLength": 1, "maxLength": 64}
#: A name that is not "..", in what both Python's and RE2's regular expressions can say.
_NAME = r"(?:[^./][^/]*|\.(?:[^./][^/]*)?|\.\.[^/]+)?"
_PATH: Final[dict[str, Any]] = {"type": "string", "maxLength": MAX_PATH_BYTES, "pattern": f"^{_NAME}(?:/{_NAME})*$"}


def endpoint(description: str) -> dict[str, Any]:
    return _ENDPOINT | {"description": description}


def path(description: str, *, min_length: int = 1) -> dict[str, Any]:
    return _PATH | {"description": description, "minLength": min_length}


def flag(description: str) -> dict[str, Any]:
    return {"type": "boolean", "description": description}


def text(description: str, *, max_length: int = 4096) -> dict[str, Any]:
    return {"type": "string", "maxLength": max_length, "description": description}


def schema(properties: dict[str, Any], required: list[str], *, open_ended: bool = False) -> dict[str, Any]:
    """An input schema; ``open_ended`` where Transfer takes many options that mean nothing on this machine."""
    return {
        "$schema": "http://json-schema.org/draft-07/schema#",
        "type": "object",
        "properties": properties,
        "required": required,
        "additionalProperties": open_ended,
    }


#: Options that transfer and delete tasks share.
TASK_OPTIONS: Final[dict[str, Any]] = {
    "DATA_TYPE": text("Name of the document type", max_length=64),
    "label": text("Label of the task", max_length=128),
    "submission_id": text("Taken and ignored: the action's request_id does its work", max_length=64),
    "deadline": text(
        "When to give up, such as 2030-01-31 or 2030-01-31T12:00:00Z; UTC without an offset", max_length=64
    ),
    "notify_on_succeeded": flag("Taken and ignored: a flow's notification policy does its work"),
    "notify_on_failed": flag("Taken and ignored: a flow's notification policy does its work"),
    "notify_on_inactive": flag("Taken and ignored: a flow's notification policy does its work"),
}
