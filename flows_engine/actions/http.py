"""Remote action providers over HTTP, version 1.0 of the Action Provider API.

Every answer, however broken, becomes one of the four of ``answers``: a valid document is ``Reported``, a clear no is
``Refused``, a forgotten action is ``Gone``, and everything that leaves open whether the request had an effect is
``Unknown``. Nothing is repeated here except a request whose token was turned down, once, with a fresh token.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from http import HTTPStatus
from typing import Literal, Protocol, TypeAlias
from urllib.parse import quote

from schemas.action import ActionStatus
from schemas.errors import InvalidJson, ServiceError
from schemas.json_text import Json, loads
from schemas.ports import Clock

from .addresses import parse_target
from .answers import Answer, Errand, Gone, Refused, Reported, Unknown
from .guarded_http import Failing, GuardedHttp, HttpAnswer, NoAnswerError
from .refusals import ADDRESS_NOT_ALLOWED, conflict, missing_consent, shortened

MAX_RETRY_AFTER_S = 900.0

Operation: TypeAlias = Literal["run", "status", "cancel", "resume", "release"]

#: Of the 4xx, those that say "not now" rather than "no" (RFC 9110 15.5.9, RFC 8470 5.2, RFC 6585 4).
_NOT_NOW = frozenset({408, 425, 429})
#: White space, control characters, and those that change the direction of text that people will read.
_UNREADABLE = re.compile(r"[\s\x00-\x1f\x7f-\x9f\u2028\u2029\u202a-\u202e\u2066-\u2069]+")


class Tokens(Protocol):
    """Access tokens for errands. ``fresh`` asks for one that was not handed out before, because that one was refused.

    An empty text means that the provider is called without credentials. Raises ``ServiceError`` when there can be none.
    """

    def __call__(self, errand: Errand, *, fresh: bool = False) -> str: ...


class HttpActionClient:
    """See ``answers.ActionClient`` for the contract."""

    def __init__(self, http: GuardedHttp, tokens: Tokens, clock: Clock) -> None:
        self._http = http
        self._tokens = tokens
        self._clock = clock

    def start(self, errand: Errand, request: str, *, waiter: str) -> Answer:  # noqa: ARG002 - cannot be woken from afar
        return self._ask(_Question(errand, "run"), request.encode())

    def status(self, errand: Errand, action_id: str) -> Answer:
        return self._ask(_Question(errand, "status", action_id))

    def cancel(self, errand: Errand, action_id: str) -> Answer:
        return self._ask(_Question(errand, "cancel", action_id))

    def resume(self, errand: Errand, action_id: str) -> Answer:
        return self._ask(_Question(errand, "resume", action_id))

    def release(self, errand: Errand, action_id: str) -> Answer:
        return self._ask(_Question(errand, "release", action_id))

    def _ask(self, question: _Question, body: bytes | None = None) -> Answer:
        try:
            token = self._tokens(question.errand)
            reply = self._send(question, token, body)
            if reply.status in (401, 403) and token:
                fresh = self._tokens(question.errand, fresh=True)
                if fresh != token:
                    reply = self._send(question, fresh, body)
        except ServiceError as error:
            return _without_token(error, question.errand)
        except NoAnswerError as error:
            return _without_answer(error)
        return question.read(reply, self._clock.now())

    def _send(self, question: _Question, token: str, body: bytes | None) -> HttpAnswer:
        headers = {"Accept": "application/json"}
        if token:
            headers["Authorization"] = f"Bearer {token}"
        if body is not None:
            headers["Content-Type"] = "application/json"
        method = "GET" if question.operation == "status" else "POST"
        return self._http.request(method, question.url, headers=headers, body=body)


def operation_url(url: str, operation: Operation, action_id: str | None = None) -> str:
    """Where an operation of the provider at ``url`` is; a trailing slash of ``url`` makes no difference."""
    base, mark, query = url.partition("?")
    steps = [operation] if action_id is None else [quote(action_id, safe=""), operation]
    return "/".join([base.rstrip("/"), *steps]) + mark + query


def retry_after_s(text: str | None, now: datetime) -> float | None:
    """Seconds that a Retry-After header asks for (RFC 9110 10.2.3), at most 15 minutes; None when it cannot be read."""
    text = (text or "").strip()
    if text.isascii() and text.isdigit():
        return min(float(text[:9]), MAX_RETRY_AFTER_S)
    try:
        at = parsedate_to_datetime(text)
    except (ValueError, OverflowError):
        return None
    at = at if at.tzinfo else at.replace(tzinfo=UTC)
    return min(max((at - now).total_seconds(), 0.0), MAX_RETRY_AFTER_S)


@dataclass(frozen=True, slots=True)
class _Question:
    """One request to a provider, and what its possible answers mean."""

    errand: Errand
    operation: Operation
    action_id: str | None = None

    @property
    def url(self) -> str:
        return operation_url(self.errand.url, self.operation, self.action_id)

    def read(self, reply: HttpAnswer, now: datetime) -> Answer:
        code = reply.status
        if code in (200, 201, 202):
            return self._document(reply)
        if code in _NOT_NOW or code >= 500:
            return Unknown(self._told(reply), retry_after_s(reply.headers.get("retry-after"), now))
        if 300 <= code < 400:
            where = _readable(reply.headers.get("location", "nowhere"), 200)
            return Unknown(f"{self._told(reply)}, a redirect to {where}: redirects are not followed")
        if 400 <= code < 500:
            return self._no(reply)
        return Unknown(f"{self._told(reply)}, which is not an answer of the Action Provider API")

    def _document(self, reply: HttpAnswer) -> Answer:
        kind = reply.content_type
        if kind != "application/json" and not kind.endswith("+json"):
            return Unknown(f"{self._told(reply)} with {_readable(kind, 80) or 'no content type'}, not application/json")
        try:
            status = ActionStatus.from_json(loads(reply.body, what="the answer"))
        except (InvalidJson, ValueError) as error:
            return Unknown(
                f"{self._told(reply)} with a status document that is not valid: {_readable(str(error), 400)}"
            )
        if self.action_id is not None and status.action_id != self.action_id:
            return Unknown(
                f"{self._told(reply)} for another action: action_id is {_readable(status.action_id, 80)!r}, "
                f"not {self.action_id[:80]!r}"
            )
        try:
            parse_target(operation_url(self.errand.url, "release", status.action_id))
        except ValueError:
            return Unknown(f"{self._told(reply)} with an action_id that cannot be part of a URL")
        return Reported(status)

    def _no(self, reply: HttpAnswer) -> Answer:
        cause = self._cause(reply)
        if reply.status in (401, 403):
            return Refused(cause, missing_consent(_error_document(reply), self.errand.scope))
        if self.operation == "run":
            return Refused(conflict(cause) if reply.status == 409 else cause)
        if reply.status in (404, 410):
            return Gone(cause)
        if self.operation == "status":  # the action was started: a refusal to tell about it does not undo that
            return Unknown(cause)
        return Refused(cause)

    def _told(self, reply: HttpAnswer) -> str:
        return f"{self.url} answered {_status_line(reply.status)}"

    def _cause(self, reply: HttpAnswer) -> str:
        document = _error_document(reply)
        if document is not None:
            return shortened(document)
        said = ""
        if reply.content_type == "text/plain" and reply.body:
            said = ": " + _readable(reply.body[:1200].decode(errors="replace"), 300)
        return f"{self._told(reply)}{said}"


def _error_document(reply: HttpAnswer) -> dict[str, Json] | None:
    try:
        document = loads(reply.body, what="the answer")
    except InvalidJson:
        return None
    return document if isinstance(document, dict) else None


def _without_token(error: ServiceError, errand: Errand) -> Answer:
    if error.status >= 500:
        return Unknown(f"no token could be had: {_readable(str(error), 400)}")
    document = {"code": error.code, "description": str(error), **error.extra}
    return Refused(shortened(document), missing_consent(document, errand.scope))


def _without_answer(error: NoAnswerError) -> Answer:
    match error.kind:
        case Failing.BLOCKED:
            return Refused(f"{ADDRESS_NOT_ALLOWED}: {error.reason}")
        case Failing.UNSENDABLE:
            return Refused(error.reason)
        case Failing.UNRESOLVED | Failing.UNREACHABLE | Failing.MALFORMED:
            return Unknown(error.reason)


def _status_line(code: int) -> str:
    try:
        return f"{code} {HTTPStatus(code).phrase}"
    except ValueError:
        return str(code)


def _readable(text: str, limit: int) -> str:
    return _UNREADABLE.sub(" ", text[: 4 * limit]).strip()[:limit]
