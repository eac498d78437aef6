"""Moving runs: start, feed, cancel, resume. The only code that calls ``step`` on stored runs.

Every move is: lock the run, apply the event, save the run under its step number, append the step with its log, put the
next commands into the queue; all in the transaction of the caller. ``feed`` does so for many runs at once, because one
commit for a hundred runs costs hardly more than one commit for one.
"""

from __future__ import annotations

import threading
import uuid
from collections import OrderedDict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime

from sqlalchemy import Connection

from flows_engine.asl.context import context_time
from flows_engine.asl.definition import Definition, parse
from flows_engine.asl.dialects import Dialect
from flows_engine.asl.interpreter import step
from flows_engine.asl.run import (
    ActionReported,
    Command,
    Event,
    ReleaseAction,
    RunCancelled,
    RunQuarantined,
    RunResumed,
    RunStarted,
    RunState,
    Step,
    event_to_json,
)
from flows_engine.crashpoints import crashpoint
from flows_engine.store import runs as stored_runs
from flows_engine.store import work_queue
from flows_engine.store.runs import RunRow, SavedRun, StepRow
from flows_engine.store.work_queue import NewWork, Postponed, WorkItem
from schemas.json_text import Json, dumps
from schemas.ports import Clock
from schemas.times import to_us

from .commands import Envelope, farewell_to

#: Parsed definitions and live run states kept in memory. Both are only copies: a run is read again when its step number
#: says that somebody else moved it. States enter the cache only once their transaction is known to be committed.
_CACHED_DEFINITIONS = 256
_CACHED_STATES = 4096


@dataclass(frozen=True, slots=True, kw_only=True)
class NewRun:
    """A run about to start. ``document`` holds tags, run_managers, run_monitors, activity_notification_policy."""

    run_id: str
    flow_no: int
    flow_id: str
    version_no: int
    flow_title: str
    flow_updated_at: int
    run_owner: str
    label: str | None
    document: Json
    context: Mapping[str, Json]
    input: Json


@dataclass(frozen=True, slots=True, kw_only=True)
class Result:
    """What carrying out one item came to: an event, a delay, or (neither) nothing more to do."""

    item: WorkItem
    event: Event | None = None
    postponed: Postponed | None = None


@dataclass(slots=True)
class _Batch:
    """What one transaction will write."""

    saved: dict[int, SavedRun] = field(default_factory=dict)
    steps: list[StepRow] = field(default_factory=list)
    work: list[NewWork] = field(default_factory=list)
    states: dict[int, tuple[int, RunState]] = field(default_factory=dict)

    def drop(self, run_no: int, tokens: Sequence[str]) -> None:
        """As ``work_queue.drop``, for what an earlier event of the same batch asked for."""
        over = {(run_no, token, kind) for token in tokens for kind in ("start", "poll", "timer")}
        self.work = [one for one in self.work if (one.run_no, one.token, one.kind) not in over]


class Advance:
    """Moves runs. ``releases(url)`` says whether finished actions at a provider are released; ``notify`` is called by
    ``announce`` to wake workers, in this process and others."""

    def __init__(
        self,
        *,
        namespace: uuid.UUID,
        dialect: Dialect,
        clock: Clock,
        releases: Callable[[str], bool],
        notify: Callable[[], None],
    ) -> None:
        self._namespace = namespace
        self._dialect = dialect
        self._clock = clock
        self._releases = releases
        self._notify = notify
        self._definitions: OrderedDict[int, Definition] = OrderedDict()
        self._definitions_lock = threading.Lock()
        self._states: OrderedDict[int, tuple[int, RunState]] = OrderedDict()
        self._unconfirmed: dict[int, tuple[int, RunState]] = {}

    def announce(self) -> None:
        """New work was committed: wake whoever waits for it."""
        self._notify()

    # -- use cases that belong to the caller's transaction

    def start(self, tx: Connection, new: NewRun) -> int:
        """Insert a run and take its first step, which may already end it. Returns the run's number."""
        now = self._clock.now()
        state = RunState(run_id=new.run_id, context=new.context, machine_context=_machine_context(new, now))
        values = {
            "run_id": new.run_id,
            "flow_id": new.flow_id,
            "flow_no": new.flow_no,
            "version_no": new.version_no,
            "flow_title": new.flow_title,
            "flow_updated_at": new.flow_updated_at,
            "run_owner": new.run_owner,
            "status": "ACTIVE",
            "label": new.label,
            "document": dumps(new.document),
            "details": "{}",
            "state": dumps(state.to_json()),
            "step_no": 0,
            "log_seq": 0,
            "start_time": to_us(now),
        }
        run_no = stored_runs.add(tx, values, _roles(new))
        run = RunRow(
            run_no=run_no,
            run_id=new.run_id,
            flow_id=new.flow_id,
            version_no=new.version_no,
            run_owner=new.run_owner,
            label=new.label,
            document=new.document,
            status="ACTIVE",
            step_no=0,
            log_seq=0,
        )
        batch = _Batch()
        self._apply(tx, batch, run, state, [RunStarted(at=now, input=new.input)])
        self._write(tx, batch)
        crashpoint("start_run.before_commit")
        return run_no

    def cancel(self, tx: Connection, run_id: str) -> None:
        """End a run FAILED with FlowCanceled; nothing happens to one that has ended."""
        self._move(tx, run_id, RunCancelled(at=self._clock.now()))
        crashpoint("cancel.before_commit")

    def resume(self, tx: Connection, run_id: str) -> None:
        """Let an INACTIVE run go on; nothing happens to any other."""
        now = self._clock.now()
        run = self._move(tx, run_id, RunResumed(at=now))
        if run is not None:
            work_queue.unpark(tx, run.run_no, now=to_us(now))
        crashpoint("resume.before_commit")

    def delete(self, tx: Connection, run_id: str) -> None:
        """Remove a run that has ended, with its log."""
        run = stored_runs.lock_by_id(tx, run_id)
        if run is not None:
            stored_runs.remove(tx, run)

    def quarantine(self, tx: Connection, *, owner: str, item: WorkItem, reason: str) -> None:
        """Set a run aside whose work item failed again and again; the item waits until the run is resumed. An item whose
        run has been deleted waits for nobody and goes."""
        run = stored_runs.lock(tx, [item.run_no]).get(item.run_no)
        if run is None:
            work_queue.finish(tx, owner=owner, items=[item])
        elif work_queue.park(tx, owner=owner, item=item):
            self._move_locked(tx, run, RunQuarantined(at=self._clock.now(), reason=reason))

    def set_aside(self, tx: Connection, *, owner: str, item: WorkItem, reason: str) -> None:
        """As ``quarantine``, for a run that cannot even take that step (its state or definition cannot be read)."""
        stored_runs.lock(tx, [item.run_no])
        if work_queue.park(tx, owner=owner, item=item):
            stored_runs.set_aside(tx, item.run_no, details={"code": "EngineQuarantine", "description": reason})

    def feed(
        self, tx: Connection, *, owner: str, results: Sequence[Result], claim_until: int | None = None, room: int = 0
    ) -> list[WorkItem]:
        """Record what items came to and move their runs.

        Items that ``owner`` no longer holds are ignored. Up to ``room`` new items that are due at once are claimed for
        ``owner`` on the spot and returned, to be carried out without going through the queue. Only the worker's thread
        calls this, and ``confirm`` or ``forget`` after it.
        """
        # Runs are locked before work rows are written, as the use cases above do: nobody waits in a circle.
        runs = {one.item.run_no for one in results if one.event is not None}
        locked = stored_runs.lock(tx, runs) if runs else {}
        work_queue.postpone(tx, owner=owner, items=[one.postponed for one in results if one.postponed is not None])
        done = [one for one in results if one.postponed is None]
        held = work_queue.finish(tx, owner=owner, items=[one.item for one in done])
        batch = _Batch()
        events: dict[int, list[Event]] = {}
        for one in done:
            if one.event is None or one.item.work_no not in held:
                continue
            held.remove(one.item.work_no)
            if one.item.run_no in locked:
                events.setdefault(one.item.run_no, []).append(one.event)
            else:
                batch.work.extend(self._orphaned(one.item, one.event))
        states = self._load(tx, [locked[run_no] for run_no in events], cache=self._states)
        crashpoint("feed.before_step")
        for run_no, its_events in events.items():
            self._apply(tx, batch, locked[run_no], states[run_no], its_events)
        crashpoint("feed.after_step")
        self._unconfirmed = batch.states
        return self._write(tx, batch, owner=owner, claim_until=claim_until, room=room)

    def confirm(self) -> None:
        """The transaction of the last ``feed`` is committed: its states may be kept in memory."""
        for run_no, cached in self._unconfirmed.items():
            if cached[1].status.is_final:
                self._states.pop(run_no, None)
            else:
                self._states[run_no] = cached
                self._states.move_to_end(run_no)
        while len(self._states) > _CACHED_STATES:
            self._states.popitem(last=False)
        self._unconfirmed = {}

    def forget(self) -> None:
        """The transaction of the last ``feed`` failed, or nobody knows: believe only the database."""
        for run_no in self._unconfirmed:
            self._states.pop(run_no, None)
        self._unconfirmed = {}

    # -- inside

    def _move(self, tx: Connection, run_id: str, event: Event) -> RunRow | None:
        run = stored_runs.lock_by_id(tx, run_id)
        if run is not None:
            self._move_locked(tx, run, event)
        return run

    def _move_locked(self, tx: Connection, run: RunRow, event: Event) -> None:
        batch = _Batch()
        self._apply(tx, batch, run, self._load(tx, [run])[run.run_no], [event])
        self._write(tx, batch)

    def _apply(self, tx: Connection, batch: _Batch, run: RunRow, state: RunState, events: Iterable[Event]) -> None:
        definition = self._definition(tx, run.version_no)
        envelope = Envelope(self._namespace, run)
        step_no, log_seq, details = run.step_no, run.log_seq, None
        completion = None
        changed = False
        for event in events:
            result = step(definition, state, event)
            if result.dropped:
                work_queue.drop(tx, run.run_no, result.dropped)
                batch.drop(run.run_no, result.dropped)
            batch.work.extend(envelope.to_work(command) for command in self._wanted(result))
            if result.run == state and not result.log:
                continue  # stale
            changed = True
            state = result.run
            step_no += 1
            batch.steps.append(_step_row(run.run_no, step_no, log_seq, event, result))
            log_seq += len(result.log)
            details = result.details or details
            if state.status.is_final:
                completion = to_us(event.at)
        if changed:
            batch.states[run.run_no] = (step_no, state)
            batch.saved[run.run_no] = SavedRun(
                run_no=run.run_no,
                expected_step=run.step_no,
                step_no=step_no,
                log_seq=log_seq,
                status=state.status.value,
                state=state.to_json(),
                details=details,
                completion_time=completion,
            )

    def _orphaned(self, item: WorkItem, event: Event) -> list[NewWork]:
        """What to do about an answer for a run that has been deleted: cancel its action if that is still going."""
        if isinstance(event, ActionReported) and not event.status.status.is_final:
            return [farewell_to(item, event.status.action_id, due=to_us(event.at))]
        return []

    def _wanted(self, result: Step) -> Iterable[Command]:
        for command in result.commands:
            if isinstance(command, ReleaseAction) and not self._releases(command.url):
                continue
            yield command

    def _write(
        self,
        tx: Connection,
        batch: _Batch,
        *,
        owner: str | None = None,
        claim_until: int | None = None,
        room: int = 0,
    ) -> list[WorkItem]:
        stored_runs.save(tx, list(batch.saved.values()))
        stored_runs.append(tx, batch.steps)
        now = to_us(self._clock.now())
        mine: list[NewWork] = []
        if owner is not None and claim_until is not None:
            mine = [item for item in batch.work if item.due <= now and item.kind != "poll"][:room]
        chosen = {id(item) for item in mine}
        work_queue.put(tx, [item for item in batch.work if id(item) not in chosen])
        if owner is None or claim_until is None:
            return []
        return work_queue.put_claimed(tx, mine, owner=owner, lease_until=claim_until)

    @staticmethod
    def _load(
        tx: Connection, locked: Iterable[RunRow], *, cache: Mapping[int, tuple[int, RunState]] | None = None
    ) -> dict[int, RunState]:
        states: dict[int, RunState] = {}
        missing: list[int] = []
        for run in locked:
            cached = None if cache is None else cache.get(run.run_no)
            if cached is not None and cached[0] == run.step_no:
                states[run.run_no] = cached[1]
            else:
                missing.append(run.run_no)
        if missing:
            for run_no, document in stored_runs.load_states(tx, missing).items():
                states[run_no] = RunState.from_json(document)
        return states

    def _definition(self, tx: Connection, version_no: int) -> Definition:
        with self._definitions_lock:
            if definition := self._definitions.get(version_no):
                return definition
        definition = parse(stored_runs.definition_of(tx, version_no), self._dialect)
        with self._definitions_lock:
            self._definitions[version_no] = definition
            while len(self._definitions) > _CACHED_DEFINITIONS:
                self._definitions.popitem(last=False)
        return definition


def fold(definition: Definition, start: RunState, events: Iterable[Event]) -> RunState:
    """Apply stored events again; the result must equal the stored state."""
    for event in events:
        start = step(definition, start, event).run
    return start


def _machine_context(new: NewRun, now: datetime) -> dict[str, Json]:
    return {
        "Execution": {
            "Id": new.run_id,
            "Input": new.input,
            "Name": new.label or new.run_id,
            "RoleArn": new.run_owner,
            "StartTime": context_time(now),
            "RedriveCount": 0,
        },
        "StateMachine": {"Id": new.flow_id, "Name": new.flow_title},
    }


def _roles(new: NewRun) -> list[tuple[str, str]]:
    roles = [("run_owner", new.run_owner)]
    roles += [("run_manager", urn) for urn in new.document.get("run_managers", ())]
    roles += [("run_monitor", urn) for urn in new.document.get("run_monitors", ())]
    return roles


def _step_row(run_no: int, step_no: int, log_seq: int, event: Event, result: Step) -> StepRow:
    return StepRow(
        run_no=run_no,
        step_no=step_no,
        first_seq=log_seq + 1,
        at=to_us(event.at),
        event=event_to_json(event),
        entries=[entry.to_json() for entry in result.log],
    )
