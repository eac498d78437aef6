"""Refusals of the compute service, with the published codes.

The API renders them as ``{"status": "Failed", "code", "reason", "http_status_code", "error_args"}``; ``reason`` is the
sentence, ``error_args`` the ids or member names that it is about.
"""

from __future__ import annotations

from typing import Literal

from schemas.errors import ServiceError

Kind = Literal["FUNCTION", "ENDPOINT", "TASK", "TASK_GROUP"]


def refusal(status: int, code: str, reason: str, *error_args: str) -> ServiceError:
    return ServiceError(status, code, reason, extra={"error_args": list(error_args)})


def not_found(kind: Kind, identifier: str) -> ServiceError:
    noun = kind.lower().replace("_", " ")
    reason = f"there is no {noun} {identifier} that you may see"
    return refusal(404, f"{kind}_NOT_FOUND", reason, identifier)


def forbidden(kind: Kind, identifier: str, reason: str) -> ServiceError:
    return refusal(403, f"{kind}_ACCESS_FORBIDDEN", reason, identifier)


def malformed(reason: str, *where: str) -> ServiceError:
    return refusal(400, "REQUEST_MALFORMED", reason, *where)


def invalid(reason: str, *where: str) -> ServiceError:
    return refusal(422, "SEMANTICALLY_INVALID", reason, *where)


def too_large(reason: str, *where: str) -> ServiceError:
    return refusal(413, "TASK_PAYLOAD_TOO_LARGE", reason, *where)


def quota(reason: str) -> ServiceError:
    return refusal(429, "QUOTA_EXCEEDED", reason)


def stale_call(number: int, latest: int) -> ServiceError:
    reason = f"this is call {number} of the session, and call {latest} came before it; it was held up on the way"
    return refusal(409, "STALE_CALL", reason)


def session_ended(endpoint_id: str) -> ServiceError:
    reason = f"another agent took over the endpoint {endpoint_id}, or this one has left; this session is over"
    return refusal(409, "SESSION_ENDED", reason, endpoint_id)
