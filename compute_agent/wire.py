"""What the compute service, its agents and its SDK say to each other, as values. No I/O, and nothing is unpickled here.

An agent registers and is given a *session*; a later registration of the same endpoint ends the earlier session. Within
it the agent makes four kinds of calls: ``lease`` (long poll for work; numbered, so that one that was held up on the way
is known for old), ``report`` (outcomes), ``heartbeat`` (what it holds) and ``leave``. Every task that is leased carries a
*fence*; what is said of a task under an older fence is not believed.

A task that the agent was given is never started before the agent's journal holds it on disk. So a task that a later
session of the same journal does not know was never started, and may be queued again; one that it knows and has no
outcome for may have run, and is LOST unless the agent can show that it did not start.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from enum import StrEnum
from typing import Any, Literal

from schemas.json_text import Json

MIB = 1024 * 1024
#: Most bytes of a function's code, of one task's packed arguments, and of one submission together.
MAX_FUNCTION_BYTES = 10 * MIB
MAX_PAYLOAD_BYTES = 10 * MIB
MAX_SUBMISSION_BYTES = 10 * MIB
#: Most bytes of one serialized result, as text.
MAX_RESULT_BYTES = 10 * MIB
#: Most bytes of an error's message; longer tracebacks keep their beginning and end.
MAX_MESSAGE_BYTES = 64 * 1024
#: The longest that ``lease`` and the SDK's wait for results are held open by the service.
LONGEST_WAIT_S = 25.0

#: What becomes of a task whose execution began and whose outcome nobody knows.
OnLoss = Literal["report", "requeue"]


class TaskState(StrEnum):
    """QUEUED waits at the service; LEASED was given to an agent; RUNNING was handed to its engine; the rest is final."""

    QUEUED = "QUEUED"
    LEASED = "LEASED"
    RUNNING = "RUNNING"
    SUCCEEDED = "SUCCEEDED"
    FAILED = "FAILED"
    CANCELLED = "CANCELLED"
    LOST = "LOST"

    @property
    def is_final(self) -> bool:
        return self in FINAL_STATES


FINAL_STATES = frozenset({TaskState.SUCCEEDED, TaskState.FAILED, TaskState.CANCELLED, TaskState.LOST})


class ErrorCode(StrEnum):
    """Why a task ended without a result. The first group are names that the hosted service uses too."""

    REMOTE_EXECUTION_ERROR = "RemoteExecutionError"  #: the function raised; the message is its traceback
    MAX_RESULT_SIZE_EXCEEDED = "MaxResultSizeExceeded"
    COULD_NOT_EXECUTE = "CouldNotExecuteUserTaskError"  #: function or arguments could not be decoded
    FUNCTION_NOT_ALLOWED = "FUNCTION_NOT_ALLOWED"

    RESULT_NOT_SERIALIZABLE = "ResultNotSerializable"
    PYTHON_VERSION_MISMATCH = "PythonVersionMismatch"
    USER_CONFIG_REFUSED = "UserEndpointConfigRefused"  #: the template or its schema refused user_endpoint_config
    RESOURCES_REFUSED = "ResourceSpecificationRefused"
    ENGINE_FAILED = "EngineFailed"  #: the engine cannot run anything: no node, wrong option, missing container command
    WORKER_LOST = "WorkerLost"  #: the process that ran the task died
    NODE_LOST = "NodeLost"  #: the node or batch job that ran the task ended: walltime, scancel, crash
    ENGINE_LOST = "EngineLost"  #: the part of the engine that knew the task died
    AGENT_LOST = "AgentLost"  #: the agent died or fell silent while it held the task
    TASK_TIMEOUT = "TaskTimeout"
    CANCELLED = "Cancelled"
    ENDPOINT_DELETED = "EndpointDeleted"


@dataclass(frozen=True, slots=True)
class TaskError:
    """``message`` is a traceback or a sentence that says what to do."""

    code: str
    message: str

    def to_json(self) -> dict[str, Json]:
        return {"code": self.code, "message": self.message}


@dataclass(frozen=True, slots=True, kw_only=True)
class Assignment:
    """A leased task as the agent gets it. ``payload`` is the packed arguments (``framing``); ``owner`` is the submitter's
    URN; ``cancelled`` never appears here: cancels come by id in the answers to ``lease`` and ``heartbeat``."""

    task_id: str
    fence: int
    function_id: str
    payload: str
    on_loss: OnLoss = "report"
    owner: str = ""
    user_endpoint_config: Mapping[str, Json] = field(default_factory=dict)
    resource_specification: Mapping[str, Json] = field(default_factory=dict)

    def to_json(self) -> dict[str, Json]:
        return asdict(self)

    @classmethod
    def from_json(cls, document: Mapping[str, Any]) -> Assignment:
        return cls(**{name: document[name] for name in cls.__slots__ if name in document})


@dataclass(frozen=True, slots=True, kw_only=True)
class FunctionCode:
    """A function as it was registered. ``code`` is framed (``framing``); ``sha256`` is of its UTF-8 bytes, hexadecimal."""

    function_id: str
    name: str
    code: str
    sha256: str
    python_version: str = ""

    def to_json(self) -> dict[str, Json]:
        return asdict(self)

    @classmethod
    def from_json(cls, document: Mapping[str, Any]) -> FunctionCode:
        return cls(**{name: document[name] for name in cls.__slots__ if name in document})


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """What became of a task, from agent to service.

    ``state`` is SUCCEEDED with ``result``; FAILED or CANCELLED with ``error``; LOST with ``error``: it began and nobody
    knows how it ended, so the service queues it again if its function allows that; or QUEUED: it was never begun and
    is given back. ``details`` are facts of the execution: ``python_version``, ``hostname``, ``started_at`` and
    ``ended_at`` (epoch seconds).
    """

    task_id: str
    fence: int
    state: TaskState
    result: str | None = None
    error: TaskError | None = None
    details: Mapping[str, Json] = field(default_factory=dict)

    def to_json(self) -> dict[str, Json]:
        return {
            "task_id": self.task_id,
            "fence": self.fence,
            "state": str(self.state),
            "result": self.result,
            "error": None if self.error is None else self.error.to_json(),
            "details": dict(self.details),
        }

    @classmethod
    def from_json(cls, document: Mapping[str, Any]) -> Outcome:
        """Raises KeyError, TypeError or ValueError for a document of another shape."""
        error = document.get("error")
        return cls(
            task_id=str(document["task_id"]),
            fence=int(document["fence"]),
            state=TaskState(document["state"]),
            result=document.get("result"),
            error=None if error is None else TaskError(str(error["code"]), str(error["message"])),
            details=document.get("details") or {},
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class SessionTerms:
    """What the service tells an agent at registration, in the member ``session`` of its answer. Times in seconds.

    A task that no heartbeat of the session mentions for ``lease_s`` is taken from the agent.
    """

    number: int
    heartbeat_s: float
    lease_s: float
    max_result_bytes: int = MAX_RESULT_BYTES

    def to_json(self) -> dict[str, Json]:
        return asdict(self)

    @classmethod
    def from_json(cls, document: Mapping[str, Any]) -> SessionTerms:
        return cls(**{name: document[name] for name in cls.__slots__ if name in document})
