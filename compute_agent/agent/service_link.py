"""The agent's calls of the service: registration, and the four calls of a session."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from schemas.json_text import Json
from schemas.scopes import COMPUTE_SCOPE

from ..connection import Http
from ..errors import ApiError, ClientError, UnreachableError
from ..wire import Assignment, FunctionCode, Outcome, SessionTerms

#: How long the service may take to answer beyond what it was asked to wait.
_ANSWER_S = 15.0
#: Answers of a service, or of a proxy before it, that will be right later.
_PASSING = frozenset({408, 425, 429, 500, 502, 503, 504})


class BadReply(ClientError):
    """The service answered something that this agent does not understand."""


@dataclass(frozen=True, slots=True)
class Registration:
    endpoint_id: str
    terms: SessionTerms


@dataclass(frozen=True, slots=True)
class Lease:
    """``retry_after_s`` is above 0 when the service has too many agents waiting to let this one wait too."""

    batch: int
    tasks: Sequence[Assignment]
    functions: Sequence[FunctionCode]
    cancel: Sequence[str]
    stop: bool = False
    retry_after_s: float = 0.0


@dataclass(frozen=True, slots=True)
class Verdict:
    """What the service made of a heartbeat."""

    cancel: Sequence[str]
    unknown: Sequence[str]
    stop: bool


@dataclass(frozen=True, slots=True)
class Receipt:
    """What the service made of outcomes."""

    accepted: Sequence[str]
    refused: Mapping[str, str]


def is_passing(error: ClientError) -> bool:
    """Whether the same call may succeed later without anybody doing anything."""
    return isinstance(error, UnreachableError) or (isinstance(error, ApiError) and error.status in _PASSING)


def ends_session(error: ClientError) -> bool:
    """Whether another agent serves the endpoint now."""
    return isinstance(error, ApiError) and error.status == 409 and error.code == "SESSION_ENDED"


def register(http: Http, body: Mapping[str, Json], endpoint_id: str) -> Registration:
    """Begin a session. The agent makes the id itself before the first try, so that a repetition makes no second endpoint.

    Raises:
        ClientError: the service refused, is away, or answered something else.
    """
    path = f"/compute/v3/endpoints/{endpoint_id}"
    answer = http.call("PUT", path, scope=COMPUTE_SCOPE, body=dict(body), repeatable=True)
    try:
        found = Registration(str(answer["endpoint_id"]), SessionTerms.from_json(answer["session"]))
    except (KeyError, TypeError, AttributeError) as error:
        raise BadReply(f"{http.url} registered the endpoint without a session; is it a flows server?") from error
    if found.endpoint_id != endpoint_id:
        raise BadReply(f"{http.url} registered endpoint {found.endpoint_id} instead of {endpoint_id}")
    return found


class ServiceLink:
    """The calls of one session. Each is made once: whoever calls decides whether to call again."""

    def __init__(self, http: Http, registration: Registration) -> None:
        self._http = http
        self._session = registration.terms.number
        self._prefix = f"/compute/v3/endpoints/{registration.endpoint_id}"
        self._lease_calls = 0

    def lease(self, *, limit: int, wait_s: float, received: int, functions_known: Sequence[str]) -> Lease:
        """A try that got no answer counts too: should it arrive after the next one, the service knows it for old."""
        self._lease_calls += 1
        body: dict[str, Json] = {
            "call": self._lease_calls,
            "limit": limit,
            "wait": wait_s,
            "received": received,
            "functions_known": list(functions_known),
        }
        answer = self._call("lease", body, answer_s=wait_s + _ANSWER_S)
        with _Understood("lease"):
            return Lease(
                batch=int(answer["batch"]),
                tasks=[Assignment.from_json(one) for one in answer["tasks"]],
                functions=[FunctionCode.from_json(one) for one in answer["functions"]],
                cancel=_ids(answer.get("cancel")),
                stop=bool(answer.get("stop")),
                retry_after_s=float(answer.get("retry_after_s") or 0.0),
            )

    def heartbeat(self, *, held: Sequence[str], status: Mapping[str, Json]) -> Verdict:
        """Gives up sooner than other calls: while one gets no answer, the next would keep the leases."""
        answer = self._call("heartbeat", {"held": list(held), "status": dict(status)}, answer_s=_ANSWER_S)
        with _Understood("heartbeat"):
            return Verdict(_ids(answer.get("cancel")), _ids(answer.get("unknown")), bool(answer.get("stop")))

    def report(self, *, running: Sequence[str], outcomes: Sequence[Outcome]) -> Receipt:
        answer = self._call("report", {"running": list(running), "outcomes": [one.to_json() for one in outcomes]})
        with _Understood("report"):
            refused = answer.get("refused") or {}
            return Receipt(_ids(answer.get("accepted")), {str(one): str(why) for one, why in refused.items()})

    def leave(self, *, received: int) -> None:
        """``received`` is the number of the last answer to ``lease``: what came later was never taken."""
        self._call("leave", {"received": received})

    def _call(self, name: str, body: dict[str, Json], *, answer_s: float = 60.0) -> Any:
        path = f"{self._prefix}/{name}"
        return self._http.call(
            "POST", path, scope=COMPUTE_SCOPE, body={"session": self._session, **body}, answer_s=answer_s
        )


class _Understood:
    """Turns an answer of another shape into a sentence."""

    def __init__(self, call: str) -> None:
        self._call = call

    def __enter__(self) -> None:
        return

    def __exit__(self, kind: object, error: BaseException | None, traceback: object) -> None:
        if isinstance(error, KeyError | TypeError | ValueError | AttributeError):
            raise BadReply(
                f"the service's answer to {self._call} has another shape than expected: {error!r}"
            ) from error


def _ids(value: Any) -> list[str]:
    return [str(one) for one in value or ()]
