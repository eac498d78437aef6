"""The interpreter: ``step(definition, run, event) -> Step``. Pure: no clock, no I/O, no randomness.

A step applies the event to the one branch it is for, then enters states until every branch waits or has ended, or FUEL
states have been entered. The shell commits the new state, the commands and the log in one transaction and only then
carries the commands out, so that a crash anywhere loses nothing: an uncommitted step is simply taken again.

An event for a token no branch waits for is stale and changes nothing, so delivering one twice is safe. One exception: an
action that reports itself still going to a state entry that is over has no one left to wait for it, and is cancelled.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import replace
from datetime import timedelta
from typing import assert_never

from schemas.action import Status
from schemas.json_text import MAX_DATA_DEPTH, Json, data_size_bytes, is_excessive, size_bytes

from . import narration
from .catching import error_output, find_catcher
from .context import machine_context
from .definition import Definition
from .errors import EvaluationError
from .private import is_private
from .run import (
    ActionRefused,
    ActionReported,
    ActionTimedOut,
    Branch,
    CancelAction,
    Command,
    Event,
    FireTimer,
    LogEntry,
    Phase,
    ReleaseAction,
    RunCancelled,
    RunQuarantined,
    RunResumed,
    RunStarted,
    RunState,
    StateError,
    Step,
    TimerFired,
    branch_of,
)
from .scope import Scope
from .states.action import Action
from .states.base import Context, Done, Outcome, State, Wait

#: States entered in one step before the run yields; a loop of Pass states must not hold a worker.
FUEL = 100

#: A run that yields this often in a row without waiting for anything is made to pause for a second each time.
_TIRELESS_YIELDS = 100

#: State entries in the life of a run (AWS Step Functions ends a history at 25,000 events).
MAX_ENTRIES = 25_000

#: Token of the timer that ends a run whose machine has TimeoutSeconds; it belongs to no branch.
_RUN_TIMEOUT = "timeout:0"


def step(definition: Definition, run: RunState, event: Event) -> Step:
    """Apply one event. Returns the same run, without commands or log, when the event is stale."""
    turn = _Turn(definition, run, event)
    turn.apply(event)
    turn.settle()
    new_run = replace(run, branches=turn.branches, entered=turn.entered, yields=turn.yields, stopped=turn.stopped)
    if definition.timeout_s is not None and new_run.status.is_final and not run.status.is_final:
        turn.dropped.append(_RUN_TIMEOUT)
    details = narration.details(new_run, turn.log, turn.inactive) if turn.log else {}
    return Step(
        run=new_run,
        commands=tuple(turn.commands),
        dropped=tuple(turn.dropped),
        log=tuple(turn.log),
        details=details,
    )


class _Turn:
    """Scratch space of one step; dies with it."""

    def __init__(self, definition: Definition, run: RunState, event: Event) -> None:
        self.definition = definition
        self.run = run
        self.at = event.at
        self.branches = dict(run.branches)
        self.entered = run.entered
        self.yields = run.yields
        self.stopped = run.stopped
        self.ready = deque(branch.id for branch in run.branches.values() if branch.phase is Phase.READY)
        self.commands: list[Command] = []
        self.dropped: list[str] = []
        self.log: list[LogEntry] = []
        self.inactive: Mapping[str, Json] | None = None

    # -- the event

    def apply(self, event: Event) -> None:
        match event:
            case RunStarted():
                self._start(event)
            case RunCancelled():
                self._cancel_run()
            case RunResumed():
                self._resume_run()
            case RunQuarantined():
                self._quarantine(event.reason)
            case ActionReported() | ActionRefused() | ActionTimedOut() | TimerFired():
                self._wake(event)
            case _:
                assert_never(event)

    def _start(self, event: RunStarted) -> None:
        if self.branches:
            return  # started before
        self.log.append(narration.flow_started(self.at, event.input))
        start_at = self.definition.machines[""].start_at
        self._put(Branch(id="0", state=start_at, input=event.input))
        if self.definition.timeout_s is not None:
            due = self.at + timedelta(seconds=self.definition.timeout_s)
            self.commands.append(FireTimer(token=_RUN_TIMEOUT, due=due))

    def _cancel_run(self) -> None:
        if not self.run.status.is_final:
            self._end_run(StateError("FlowCanceled"))
            self.log.append(narration.flow_canceled(self.at))

    def _time_out_run(self) -> None:
        if not self.run.status.is_final:
            state = self._state(self.branches["0"])
            failure = StateError("States.Timeout", f"the run took more than {self.definition.timeout_s} seconds")
            self._end_run(failure)
            self.log.append(narration.flow_failed(self.at, state, failure))

    def _end_run(self, failure: StateError) -> None:
        for branch in list(self.branches.values()):
            self._abandon(branch)
        self.ready.clear()
        self.stopped = None
        self._put(replace(self.branches["0"], phase=Phase.FAILED, failure=failure, memo=None))

    def _resume_run(self) -> None:
        if self.run.status is not Status.INACTIVE:
            return
        self.stopped = None
        self.log.append(narration.run_resumed(self.at))
        for branch in list(self.branches.values()):
            if branch.phase is Phase.INACTIVE:
                self.dropped.append(branch.token)
                self._resume_branch(branch, RunResumed(at=self.at))

    def _quarantine(self, reason: str) -> None:
        if not self.run.status.is_final:
            self.stopped = reason
            self.log.append(narration.run_quarantined(self.at, reason))

    def _wake(self, event: ActionReported | ActionRefused | ActionTimedOut | TimerFired) -> None:
        if event.token.startswith("yield"):
            return None  # settle() enters the branches that are READY
        if event.token == _RUN_TIMEOUT:
            return self._time_out_run()
        branch = self.branches.get(branch_of(event.token))
        awaited = branch is not None and branch.token == event.token
        if branch is None or not awaited or branch.phase not in (Phase.WAITING, Phase.INACTIVE):
            return self._cancel_orphan(event)
        self.yields = 0
        self._cancel_late(branch, event)
        self._resume_branch(branch, event)
        if isinstance(event, ActionReported) and event.status.status.is_final:
            self._release(branch, event)
        return None

    def _resume_branch(self, branch: Branch, event: Event) -> None:
        state = self._state(branch)
        self._outcome(branch, state, self._guarded(branch, state, lambda ctx: state.resume(ctx, event)))

    # -- entering states

    def settle(self) -> None:
        """Enter READY branches until none is left; when the fuel is spent, arrange to be woken at once."""
        if self.stopped is not None:
            return
        for _ in range(FUEL):
            if not self.ready:
                return
            branch = self.branches[self.ready.popleft()]
            if branch.phase is Phase.READY:
                self._enter(branch)
        if self.ready:
            self.yields += 1
            pause = timedelta(seconds=1 if self.yields >= _TIRELESS_YIELDS else 0)
            self.commands.append(FireTimer(token=f"yield:{self.entered}", due=self.at + pause))

    def _enter(self, branch: Branch) -> None:
        self.entered += 1
        branch = replace(branch, entry=self.entered, entered_at=self.at, memo=None)
        state = self._state(branch)
        if self.entered > MAX_ENTRIES:
            limit = f"the run has entered {MAX_ENTRIES} states, which is the limit; is there a loop without an end?"
            return self._fail(branch, state, StateError("RunHistoryLimit", limit))
        return self._outcome(branch, state, self._guarded(branch, state, lambda ctx: state.enter(ctx), entering=True))

    def _guarded(
        self, branch: Branch, state: State, call: Callable[[Context], Outcome], *, entering: bool = False
    ) -> Outcome:
        """Run one state method on its effective input. A bad path or value is an error of the run, not of ours."""
        scope = self._scope(branch)
        started = False
        try:
            value = self._effective_input(state, scope)
            if value is not scope.document:
                scope = replace(scope, document=value)
            shown = branch.input
            if state.parameters is not None and (entering or isinstance(state, Action)):
                value, redacted = state.parameters.private_render(scope)
                self._check_parameters(state, value)
                if isinstance(state, Action):
                    shown = redacted
            if entering:
                self.log.append(narration.state_started(self.at, state, shown))
                started = True
            return call(Context(self.at, branch, value, scope))
        except EvaluationError as error:
            if entering and not started:
                self.log.append(narration.state_started(self.at, state, None))
            return StateError(error.error, error.cause)

    def _scope(self, branch: Branch) -> Scope:
        dialect = self.definition.dialect
        machine = None
        if self.definition.reads_context_object:
            machine = machine_context(
                self.run.machine_context,
                state_name=branch.state,
                entered_at=branch.entered_at or self.at,
                retry_count=sum(branch.attempts),
            )
        context = self.run.context if dialect.run_context else None
        return Scope(branch.input, context, machine, branch.variables)

    @staticmethod
    def _effective_input(state: State, scope: Scope) -> Json:
        if state.input_path is None:
            return {}
        return scope.document if state.input_path.text == "$" else state.input_path.read(scope)

    # -- what a state answered

    def _outcome(self, branch: Branch, state: State, outcome: Outcome) -> None:
        match outcome:
            case Done():
                self._done(branch, state, outcome)
            case Wait():
                self._wait(branch, state, outcome)
            case StateError():
                self._error(branch, state, outcome)
            case _:
                assert_never(outcome)

    def _wait(self, branch: Branch, state: State, wait: Wait) -> None:
        self.commands.extend(wait.commands)
        phase = Phase.WAITING if wait.inactive is None else Phase.INACTIVE
        if wait.inactive is not None:
            self.inactive = wait.inactive
            if branch.phase is not Phase.INACTIVE:
                self.log.append(narration.action_inactive(self.at, state, wait.inactive))
        elif branch.phase is Phase.INACTIVE and not any(entry.code == "RunResumed" for entry in self.log):
            self.log.append(narration.run_resumed(self.at))
        self._put(replace(branch, phase=phase, memo=wait.memo))

    def _done(self, branch: Branch, state: State, done: Done) -> None:
        try:
            output = self._output(branch, state, done.result)
        except EvaluationError as error:
            return self._error(branch, state, StateError(error.error, error.cause))
        shown = output
        if isinstance(state, Action):
            shown = {} if is_private(state.result_path) else done.result
        self.log.append(narration.state_completed(self.at, state, shown))
        self._leave(branch, done.next or state.next, output)
        return None

    def _output(self, branch: Branch, state: State, result: Json) -> Json:
        """ResultPath, then OutputPath, in ASL's order; states without a result pass their effective input on."""
        scope = self._scope(branch)
        if not state.has_result:
            output = self._effective_input(state, scope)
        elif state.result_path is None:
            output = branch.input
        else:
            output = result if state.result_path.text == "$" else state.result_path.write(branch.input, result)
            self._check_size(state, output)
        if state.output_path is None:
            return {}
        return output if state.output_path.text == "$" else state.output_path.read(replace(scope, document=output))

    def _check_parameters(self, state: State, value: Json) -> None:
        limit = self.definition.dialect.max_state_bytes
        if is_excessive(value, most_bytes=limit):
            raise EvaluationError(
                f"the Parameters of state {state.name!r} come to more than {limit} bytes or are nested more than "
                f"{MAX_DATA_DEPTH} levels deep, which is the limit",
                "States.DataLimitExceeded",
            )

    def _check_size(self, state: State, output: Json) -> None:
        limit = self.definition.dialect.max_state_bytes
        size = data_size_bytes(output)
        if size is None:
            raise EvaluationError(
                f"the run's data after state {state.name!r} would be nested more than {MAX_DATA_DEPTH} levels deep, "
                "which is the limit",
                "States.DataLimitExceeded",
            )
        if size <= limit:
            return
        largest = ""
        if isinstance(output, dict):
            key = max(output, key=lambda one: size_bytes(output[one]))
            largest = f"; the largest part is {key!r} with {size_bytes(output[key])} bytes"
        raise EvaluationError(
            f"the run's data after state {state.name!r} would have {size} bytes; the limit is {limit}{largest}",
            "States.DataLimitExceeded",
        )

    def _leave(self, branch: Branch, next_state: str | None, output: Json) -> None:
        branch = replace(branch, attempts=(), memo=None)
        if next_state is not None:
            self._put(replace(branch, phase=Phase.READY, state=next_state, input=output))
            return
        self._put(replace(branch, phase=Phase.DONE, output=output))
        self.log.append(narration.flow_succeeded(self.at, output))

    # -- errors

    def _error(self, branch: Branch, state: State, failure: StateError) -> None:
        catcher = find_catcher(state.catchers, failure, self.definition.dialect)
        if failure.error is not None and isinstance(state, Action):
            hidden = catcher is not None and is_private(catcher.result_path)
            shown = replace(failure, cause=None) if hidden else failure
            self.log.append(narration.action_failed(self.at, state, shown))
        if catcher is None:
            return self._fail(branch, state, failure)
        output = error_output(failure)
        try:
            if catcher.result_path is None:
                output = branch.input
            elif catcher.result_path.text != "$":
                output = catcher.result_path.write(branch.input, output)
            self._check_size(state, output)
        except EvaluationError as error:
            return self._fail(branch, state, StateError(error.error, error.cause))
        self._leave(branch, catcher.next, output)
        return None

    def _fail(self, branch: Branch, state: State, failure: StateError) -> None:
        self._put(replace(branch, phase=Phase.FAILED, failure=failure, memo=None))
        self.log.append(narration.flow_failed(self.at, state, failure))

    # -- actions nobody waits for any more

    def _abandon(self, branch: Branch) -> None:
        """Forget what a branch waits for; its running action is cancelled."""
        if branch.phase not in (Phase.WAITING, Phase.INACTIVE):
            return
        self.dropped.append(branch.token)
        state = self._state(branch)
        if isinstance(state, Action) and "action_id" in branch.memo:
            self._cancel_action(state, branch.token, branch.memo["action_id"])

    def _cancel_late(self, branch: Branch, event: Event) -> None:
        state = self._state(branch)
        if isinstance(event, ActionTimedOut) and isinstance(state, Action) and "action_id" in branch.memo:
            self._cancel_action(state, branch.token, branch.memo["action_id"])

    def _cancel_orphan(self, event: Event) -> None:
        if not isinstance(event, ActionReported) or event.status.status.is_final:
            return
        self.commands.append(
            CancelAction(
                token=event.token,
                due=self.at,
                url=event.url,
                scope=event.scope,
                run_as=event.run_as,
                action_id=event.status.action_id,
            )
        )

    def _cancel_action(self, state: Action, token: str, action_id: str) -> None:
        self.commands.append(
            CancelAction(
                token=token, due=self.at, url=state.url, scope=state.scope, run_as=state.run_as, action_id=action_id
            )
        )

    def _release(self, branch: Branch, event: ActionReported) -> None:
        state = self._state(branch)
        if isinstance(state, Action):
            self.commands.append(
                ReleaseAction(
                    token=event.token,
                    due=self.at,
                    url=state.url,
                    scope=state.scope,
                    run_as=state.run_as,
                    action_id=event.status.action_id,
                )
            )

    # -- small things

    def _state(self, branch: Branch) -> State:
        return self.definition.state(branch.scope, branch.state)

    def _put(self, branch: Branch) -> None:
        self.branches[branch.id] = branch
        if branch.phase is Phase.READY:
            self.ready.append(branch.id)
