"""What agents say, read and checked: leases, heartbeats, reports. Pure."""

from __future__ import annotations

from dataclasses import dataclass

from schemas.json_text import Json, dumps
from schemas.principals import normal_uuid

from ..wire import (
    LONGEST_WAIT_S,
    MAX_MESSAGE_BYTES,
    MAX_RESULT_BYTES,
    MIB,
    ErrorCode,
    Outcome,
    TaskError,
    TaskState,
)
from .members import Members
from .refusals import malformed

#: Most tasks that one answer gives; an agent that wants more asks again.
MAX_LEASED = 2_000
MAX_OUTCOMES = 5_000
#: Most ids in one list.
MAX_IDS = 1_000_000
_MAX_NUMBER = 2**31 - 1
_MAX_DETAILS_BYTES = 16 * 1024
_CUT = "\n... {} characters left out ...\n"


@dataclass(frozen=True, slots=True, kw_only=True)
class LeaseCall:
    """``call`` numbers the calls of the session, tries that got no answer included."""

    session: int
    call: int
    limit: int
    wait_s: float
    received: int
    functions_known: frozenset[str]


@dataclass(frozen=True, slots=True, kw_only=True)
class HeartbeatCall:
    session: int
    held: frozenset[str]
    status: dict[str, Json]


@dataclass(frozen=True, slots=True, kw_only=True)
class LeaveCall:
    """``received`` is None when the agent does not say which answers to ``lease`` it got."""

    session: int
    received: int | None


@dataclass(frozen=True, slots=True, kw_only=True)
class ReportCall:
    """``refused`` says of outcomes that cannot be understood why, by task id."""

    session: int
    running: frozenset[str]
    outcomes: dict[str, Outcome]
    refused: dict[str, str]


def read_lease(body: Json) -> LeaseCall:
    members = Members(body, "the call")
    return LeaseCall(
        session=_session(members),
        call=members.integer("call", least=1, most=_MAX_NUMBER),
        limit=min(members.integer("limit", default=1, least=0, most=MAX_IDS), MAX_LEASED),
        wait_s=members.seconds("wait", most=LONGEST_WAIT_S),
        received=members.integer("received", default=0, least=0, most=_MAX_NUMBER),
        functions_known=frozenset(members.uuids("functions_known", most=MAX_IDS)),
    )


def read_heartbeat(body: Json) -> HeartbeatCall:
    members = Members(body, "the heartbeat")
    return HeartbeatCall(
        session=_session(members),
        held=frozenset(members.uuids("held", most=MAX_IDS)),
        status=members.object("status", most_bytes=MIB),
    )


def read_leave(body: Json) -> LeaveCall:
    members = Members(body, "the call")
    return LeaveCall(
        session=_session(members),
        received=members.integer("received", least=0, most=_MAX_NUMBER) if members.has("received") else None,
    )


def read_report(body: Json) -> ReportCall:
    """An outcome that cannot be understood is refused alone, so that it does not keep back those that can."""
    members = Members(body, "the report")
    documents = members.document["outcomes"] if members.has("outcomes") else []
    if not isinstance(documents, list) or len(documents) > MAX_OUTCOMES:
        raise members.wrong("outcomes", f"a list of at most {MAX_OUTCOMES} outcomes")
    outcomes: dict[str, Outcome] = {}
    refused: dict[str, str] = {}
    for i, document in enumerate(documents):
        named = document.get("task_id") if isinstance(document, dict) else None
        task_id = normal_uuid(named) if isinstance(named, str) else None
        if task_id is None:
            raise malformed(f"entry {i} of the member 'outcomes' must be an object with a task_id, a UUID", "outcomes")
        try:
            outcomes[task_id] = _outcome(document)
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            refused[task_id] = f"the outcome cannot be understood: {type(error).__name__}: {error}"
    return ReportCall(
        session=_session(members),
        running=frozenset(members.uuids("running", most=MAX_IDS)),
        outcomes=outcomes,
        refused=refused,
    )


def _session(members: Members) -> int:
    return members.integer("session", least=1, most=_MAX_NUMBER)


def _outcome(document: dict[str, Json]) -> Outcome:
    """The outcome as it can be stored. Raises ValueError and what ``Outcome.from_json`` raises."""
    outcome = Outcome.from_json(document)
    if outcome.state in (TaskState.LEASED, TaskState.RUNNING):
        raise ValueError(f"{outcome.state} is not an outcome")
    details = outcome.details if isinstance(outcome.details, dict) else {}
    if len(dumps(details)) > _MAX_DETAILS_BYTES:
        details = {}
    if outcome.state is TaskState.SUCCEEDED:
        result, error = _result(outcome.result)
        state = TaskState.FAILED if error else TaskState.SUCCEEDED
    else:
        result, state = None, outcome.state
        error = _storable_error(outcome.error or TaskError(_code_for(state), "the agent gave no reason"))
    return Outcome(
        task_id=outcome.task_id, fence=outcome.fence, state=state, result=result, error=error, details=details
    )


def _code_for(state: TaskState) -> str:
    match state:
        case TaskState.CANCELLED:
            return ErrorCode.CANCELLED
        case TaskState.LOST:
            return ErrorCode.AGENT_LOST
        case _:
            return ErrorCode.REMOTE_EXECUTION_ERROR


def _result(result: Json) -> tuple[str | None, TaskError | None]:
    """The result, or why it cannot be kept: the task ends anyway, so that nobody waits for ever."""
    if not isinstance(result, str):
        raise ValueError("an outcome SUCCEEDED has a text as its result")
    try:
        size_bytes = len(result.encode())
    except UnicodeEncodeError:
        return None, TaskError(ErrorCode.RESULT_NOT_SERIALIZABLE, "result could not be sent: it is not valid text")
    if "\0" in result:
        return None, TaskError(ErrorCode.RESULT_NOT_SERIALIZABLE, "result could not be sent: it holds a NUL character")
    if size_bytes > MAX_RESULT_BYTES:
        sentence = (
            f"the result has {size_bytes} bytes when serialized; the limit is {MAX_RESULT_BYTES}. Write it to a file"
        )
        return None, TaskError(ErrorCode.MAX_RESULT_SIZE_EXCEEDED, f"{sentence} and return its place")
    return result, None


def _storable_error(error: TaskError) -> TaskError:
    message = error.message.replace("\0", "\\0").encode(errors="backslashreplace").decode()
    if len(message.encode()) > MAX_MESSAGE_BYTES:
        # A quarter of the bytes in characters of each end fits whatever the characters are.
        end = MAX_MESSAGE_BYTES // 9
        message = message[:end] + _CUT.format(len(message) - 2 * end) + message[-end:]
    return TaskError(error.code[:128].replace("\0", ""), message)
