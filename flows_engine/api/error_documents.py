"""The error document of whoever a path belongs to, for what goes wrong before a service has seen the request.

Flows: ``{"error": {"code", "detail"}, "debug_id"}``, also for paths of nobody. Auth: ``{"errors": [...]}``. Action
providers: ``{"code", "description"}``. Compute: ``{"status": "Failed", "code", "reason", ...}``. All of
them carry a ``debug_id``.
"""

from __future__ import annotations

import uuid
from http import HTTPStatus

from compute_agent.service import answers as compute_answers
from schemas.json_text import Json


def error_document(path: str, status: int, code: str, detail: str) -> dict[str, Json]:
    """``code`` is UPPER_SNAKE, ``detail`` a sentence."""
    debug_id = str(uuid.uuid4())
    match path.split("/")[1:2]:
        case ["auth"]:
            one = {"status": str(status), "id": debug_id, "code": code, "detail": detail, "title": phrase(status)}
            return {"errors": [one], "error": code.lower(), "error_description": detail, "debug_id": debug_id}
        case ["actions"]:
            return {"code": _action_code(status), "description": detail, "debug_id": debug_id}
        case ["compute"]:
            return compute_answers.error_document(status, code, detail, debug_id=debug_id)
        case _:
            return {"error": {"code": code, "detail": detail}, "debug_id": debug_id}


def phrase(status: int) -> str:
    """The reason phrase of a status; of a status that nobody knows, its number."""
    try:
        return HTTPStatus(status).phrase
    except ValueError:
        return str(status)


def _action_code(status: int) -> str:
    """Codes of Action Provider Tools (``flask/exceptions.py``)."""
    if status >= 500:
        return "ActionProviderError"
    return "ActionNotFound" if status == 404 else "BadActionRequest"
