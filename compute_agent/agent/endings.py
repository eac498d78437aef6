"""Which answers of the service end the agent, and with which exit code.

Exit codes (sysexits.h, as the hosted service's own agent uses them): 65 the service refused what was sent, 69 the
endpoint may not be served, 70 an answer that makes no sense, 73 another agent runs here, 75 no network, 77 not allowed.
"""

from __future__ import annotations

from enum import IntEnum

from ..errors import ApiError, ClientError, UnreachableError
from .desk import Ending
from .directory import EndpointDirectory
from .service_link import BadReply, ends_session, is_passing


class Exit(IntEnum):
    OK = 0
    FAILED = 1
    USAGE = 2
    NOT_FOUND = 3
    REFUSED = 65
    BLOCKED = 69
    BAD_REPLY = 70
    BUSY = 73
    NETWORK = 75
    NOT_ALLOWED = 77


STOPPED_AT_SERVICE = Ending("the endpoint was stopped at the service", Exit.BLOCKED)
_BLOCKED_STATUSES = frozenset({404, 409, 410, 423})


def ending_of(error: ClientError) -> Ending | None:
    """How an error of a session's call ends the agent; None when calling again may help."""
    if ends_session(error):
        assert isinstance(error, ApiError)
        return Ending(f"another agent serves this endpoint now: {error.detail}", Exit.BLOCKED, settles=False)
    if isinstance(error, ApiError) and error.status in (404, 410):
        return Ending(f"the service does not know this endpoint any more: {error}", Exit.BLOCKED, settles=False)
    if isinstance(error, ApiError) and error.code == "STALE_CALL":
        return None  # somebody on the way repeated a call; the next one has a higher number
    if isinstance(error, ApiError) and error.status in (409, 423):
        return Ending(f"the endpoint was stopped at the service: {error}", Exit.BLOCKED)
    return None


def exit_code_of(error: ClientError) -> Exit:
    """The exit code of a registration that failed."""
    match error:
        case BadReply():
            return Exit.BAD_REPLY
        case UnreachableError():
            return Exit.NETWORK
        case ApiError() if error.status in (401, 403):
            return Exit.NOT_ALLOWED
        case ApiError() if error.status in _BLOCKED_STATUSES:
            return Exit.BLOCKED
        case ApiError() if is_passing(error):
            return Exit.NETWORK
        case ApiError():
            return Exit.REFUSED
    return Exit.BAD_REPLY


def told(error: ClientError, directory: EndpointDirectory) -> str:
    """A registration that failed: why, and what to do about it."""
    text = str(error).rstrip(".")
    who = directory.credentials if directory.credentials.exists() else "the local installation"
    match error:
        case UnreachableError():
            return f"{text}. The address is that of {who}; see whether the server there is up"
        case ApiError() if error.code == "ENDPOINT_ACCESS_FORBIDDEN":
            return f"{text}: delete {directory.registration} to do so, or use the credentials of its owner"
        case ApiError() if error.status in (401, 403):
            return (
                f"{text}. The credentials are those of {who}; 'compute-agent configure {directory.name} --url URL"
                " --client-id ID' writes others"
            )
        case ApiError() if error.code == "ENDPOINT_NOT_FOUND":
            return f"{text}: delete {directory.registration} to do so"
        case ApiError() if error.status == 404:
            return f"{text}. The address is that of {who}; it should be the server's, without a path"
    return text
