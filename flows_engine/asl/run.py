"""What the interpreter reads and returns: run state, events in, commands out, log. Values only.

A token names one state entry of one branch (``"0:7"``: branch 0, entry 7). Entries are counted over the whole run and
never repeat, so a token never does either: it is the root of every idempotency key.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime
from enum import StrEnum
from typing import Any, TypeAlias

from schemas.action import ActionStatus, Status
from schemas.json_text import Json
from schemas.times import format_time, from_us, parse_rfc3339, to_us


class Phase(StrEnum):
    """READY is about to enter ``state``; WAITING waits for an event with ``token``; INACTIVE waits for a person."""

    READY = "READY"
    WAITING = "WAITING"
    INACTIVE = "INACTIVE"
    DONE = "DONE"
    FAILED = "FAILED"


@dataclass(frozen=True, slots=True)
class StateError:
    """A run's fault: what Catch matches on, and what a failed run shows. ``cause`` is text or, from an action, JSON."""

    error: str | None
    cause: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Branch:
    """One thread of control: the flow itself, later a Parallel branch or a Map item.

    ``id`` is a path ("0", "0.2"); a child's id extends its parent's. ``scope`` is the JSON Pointer of the machine it
    runs. ``entry`` numbers its last state entry, at ``entered_at``; ``attempts`` counts retries per Retrier; ``memo``
    is what the state must remember while it waits.
    """

    id: str
    scope: str = ""
    state: str
    input: Json
    phase: Phase = Phase.READY
    entry: int = 0
    entered_at: datetime | None = None
    attempts: tuple[int, ...] = ()
    variables: Mapping[str, Json] = field(default_factory=dict)
    memo: Json = None
    output: Json = None
    failure: StateError | None = None

    @property
    def token(self) -> str:
        return f"{self.id}:{self.entry}"


@dataclass(frozen=True, slots=True, kw_only=True)
class RunState:
    """A run's whole state. ``context`` is the read-only ``$._context``, ``machine_context`` the fixed part of ``$$``.

    ``entered`` counts state entries, ``yields`` how often in a row the run spent its fuel without waiting. ``stopped`` is
    why the engine set the run aside, if it did.
    """

    run_id: str
    context: Mapping[str, Json] = field(default_factory=dict)
    machine_context: Mapping[str, Json] = field(default_factory=dict)
    branches: Mapping[str, Branch] = field(default_factory=dict)
    entered: int = 0
    yields: int = 0
    stopped: str | None = None

    @property
    def root(self) -> Branch:
        return self.branches["0"]

    @property
    def status(self) -> Status:
        root = self.branches.get("0")
        if root is not None and root.phase is Phase.DONE:
            return Status.SUCCEEDED
        if root is not None and root.phase is Phase.FAILED:
            return Status.FAILED
        if self.stopped is not None or any(branch.phase is Phase.INACTIVE for branch in self.branches.values()):
            return Status.INACTIVE
        return Status.ACTIVE

    def to_json(self) -> Json:
        return {
            "run_id": self.run_id,
            "context": dict(self.context),
            "machine_context": dict(self.machine_context),
            "entered": self.entered,
            "yields": self.yields,
            "stopped": self.stopped,
            "branches": [_branch_to_json(branch) for branch in self.branches.values()],
        }

    @classmethod
    def from_json(cls, document: Json) -> RunState:
        branches = [_branch_from_json(one) for one in document["branches"]]
        return cls(
            run_id=document["run_id"],
            context=document["context"],
            machine_context=document["machine_context"],
            entered=document["entered"],
            yields=document["yields"],
            stopped=document["stopped"],
            branches={branch.id: branch for branch in branches},
        )


# Events: facts that happened outside. ``at`` is when; the interpreter never reads a clock.


@dataclass(frozen=True, slots=True, kw_only=True)
class RunStarted:
    at: datetime
    input: Json


@dataclass(frozen=True, slots=True, kw_only=True)
class ActionReported:
    """A provider's status document for the action of ``token``. ``url``, ``scope`` and ``run_as`` say how it was asked."""

    at: datetime
    token: str
    url: str
    scope: str | None
    run_as: str
    status: ActionStatus


@dataclass(frozen=True, slots=True, kw_only=True)
class ActionRefused:
    """No action exists for ``token`` and none will: the provider refused it, or could not be asked in time.

    ``error`` is the ASL error name, ``cause`` JSON text or a sentence. With ``consent`` (a scope) it may be asked again once
    the owner has consented.
    """

    at: datetime
    token: str
    error: str
    cause: str
    consent: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class ActionTimedOut:
    """The state's WaitTime has passed; ``status`` is the last one polled, if any."""

    at: datetime
    token: str
    status: ActionStatus | None


@dataclass(frozen=True, slots=True, kw_only=True)
class TimerFired:
    at: datetime
    token: str


@dataclass(frozen=True, slots=True, kw_only=True)
class RunResumed:
    at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class RunCancelled:
    at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class RunQuarantined:
    """The engine gave up advancing the run (it failed again and again); a person must resume it."""

    at: datetime
    reason: str


Event: TypeAlias = (
    RunStarted
    | ActionReported
    | ActionRefused
    | ActionTimedOut
    | TimerFired
    | RunResumed
    | RunCancelled
    | RunQuarantined
)


# Commands: work the shell must do once the step is committed, not before ``due``.


@dataclass(frozen=True, slots=True, kw_only=True)
class StartAction:
    """Ask ``url`` to run an action. The shell adds ``request_id`` (from ``token``) and stores the exact bytes.

    ``deadline`` is when the state's WaitTime ends. ``run_as`` is ``User``, ``Flow`` or a role's name.
    """

    token: str
    due: datetime
    deadline: datetime
    url: str
    scope: str | None
    run_as: str
    body: Json


@dataclass(frozen=True, slots=True, kw_only=True)
class PollAction:
    """Ask for the status of ``action_id`` until it ends, turns INACTIVE or ``deadline`` passes (None: no deadline)."""

    token: str
    due: datetime
    deadline: datetime | None
    url: str
    scope: str | None
    run_as: str
    action_id: str
    wake: bool = False  # tell the provider first that the reason for being INACTIVE may be gone


@dataclass(frozen=True, slots=True, kw_only=True)
class CancelAction:
    token: str
    due: datetime
    url: str
    scope: str | None
    run_as: str
    action_id: str


@dataclass(frozen=True, slots=True, kw_only=True)
class ReleaseAction:
    token: str
    due: datetime
    url: str
    scope: str | None
    run_as: str
    action_id: str


@dataclass(frozen=True, slots=True, kw_only=True)
class FireTimer:
    token: str
    due: datetime


Command: TypeAlias = StartAction | PollAction | CancelAction | ReleaseAction | FireTimer


@dataclass(frozen=True, slots=True)
class LogEntry:
    """What a user sees of a run. ``details`` holds no private value: it was removed when the entry was made."""

    at: datetime
    code: str
    description: str
    details: Mapping[str, Json]

    def to_json(self) -> dict[str, Json]:
        return {
            "time": format_time(self.at),
            "code": self.code,
            "description": self.description,
            "details": dict(self.details),
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """Result of one step: the new state, what to do next, which tokens nobody waits for any more, what to show.

    ``details`` is the run document's ``details`` after this step.
    """

    run: RunState
    commands: tuple[Command, ...] = ()
    dropped: tuple[str, ...] = ()
    log: tuple[LogEntry, ...] = ()
    details: Mapping[str, Json] = field(default_factory=dict)


def branch_of(token: str) -> str:
    """Branch inside a token (``"0.2:7"`` gives ``"0.2"``)."""
    return token.partition(":")[0]


def event_to_json(event: Event) -> dict[str, Json]:
    """The event as stored with its step, so that a run can be folded again."""
    document: dict[str, Json] = {"event": type(event).__name__, "at": format_time(event.at)}
    for name in type(event).__dataclass_fields__:
        value: Any = getattr(event, name)
        if name == "at":
            continue
        document[name] = dict(value.document) if isinstance(value, ActionStatus) else value
    return document


def event_from_json(document: Mapping[str, Json]) -> Event:
    """Inverse of ``event_to_json``."""
    kind = _EVENTS[document["event"]]
    fields = {key: value for key, value in document.items() if key not in ("event", "at")}
    if isinstance(fields.get("status"), dict):
        fields["status"] = ActionStatus.from_json(fields["status"])
    event: Event = kind(at=parse_rfc3339(document["at"]), **fields)
    return event


_EVENTS: dict[str, Any] = {
    kind.__name__: kind
    for kind in (
        RunStarted,
        ActionReported,
        ActionRefused,
        ActionTimedOut,
        TimerFired,
        RunResumed,
        RunCancelled,
        RunQuarantined,
    )
}


def _branch_to_json(branch: Branch) -> dict[str, Json]:
    document: dict[str, Json] = {
        "id": branch.id,
        "scope": branch.scope,
        "state": branch.state,
        "input": branch.input,
        "phase": branch.phase.value,
        "entry": branch.entry,
        "entered_at": None if branch.entered_at is None else to_us(branch.entered_at),
    }
    if branch.attempts:
        document["attempts"] = list(branch.attempts)
    if branch.variables:
        document["variables"] = dict(branch.variables)
    if branch.memo is not None:
        document["memo"] = branch.memo
    if branch.output is not None:
        document["output"] = branch.output
    if branch.failure is not None:
        document["failure"] = {"error": branch.failure.error, "cause": branch.failure.cause}
    return document


def _branch_from_json(document: Mapping[str, Json]) -> Branch:
    branch = Branch(
        id=document["id"],
        scope=document["scope"],
        state=document["state"],
        input=document["input"],
        phase=Phase(document["phase"]),
        entry=document["entry"],
        entered_at=None if document["entered_at"] is None else from_us(document["entered_at"]),
        attempts=tuple(document.get("attempts", ())),
        variables=document.get("variables", {}),
        memo=document.get("memo"),
        output=document.get("output"),
    )
    if failure := document.get("failure"):
        branch = replace(branch, failure=StateError(failure["error"], failure["cause"]))
    return branch
