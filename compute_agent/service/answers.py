"""The error document of the Compute API, as the hosted service writes it, and a few members more.

``{"status": "Failed", "code", "reason", "http_status_code", "error_args"}`` are published. ``message`` is the reason once
more, where ``globus_sdk`` looks for the sentence that it shows; ``debug_id`` finds the request in the server's log.
"""

from __future__ import annotations

from collections.abc import Sequence

from schemas.errors import Problem, ServiceError
from schemas.json_text import Json

#: Codes of other rooms -> the published ones for the same thing.
_PUBLISHED = {
    "AUTHENTICATION_ERROR": "USER_UNAUTHENTICATED",
    "UNAUTHORIZED": "USER_UNAUTHENTICATED",
    "BAD_REQUEST": "REQUEST_MALFORMED",
}


def error_document(
    status: int, code: str, reason: str, *, debug_id: str, arguments: Sequence[Json] = ()
) -> dict[str, Json]:
    """``code`` is UPPER_SNAKE, ``reason`` a sentence, ``arguments`` what it is about."""
    return {
        "status": "Failed",
        "code": _PUBLISHED.get(code, code),
        "reason": reason,
        "http_status_code": status,
        "error_args": list(arguments),
        "message": reason,
        "debug_id": debug_id,
    }


def document_of(error: ServiceError, debug_id: str) -> dict[str, Json]:
    """The document of a refusal. Every problem stands in the reason; ``extra`` stands at the root."""
    if isinstance(error.detail, str):
        reason, arguments = error.detail, []
    else:
        reason, arguments = "; ".join(map(_sentence, error.detail)), [problem.to_json() for problem in error.detail]
    return {**error_document(error.status, error.code, reason, debug_id=debug_id, arguments=arguments), **error.extra}


def _sentence(problem: Problem) -> str:
    place = ".".join(map(str, problem.loc))
    return f"{place}: {problem.msg}" if place else problem.msg
