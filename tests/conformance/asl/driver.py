"""An in-memory shell around ``step``: a virtual clock on which every timer fires at once, and nothing else."""

from __future__ import annotations

import heapq
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from flows_engine.asl.context import context_time
from flows_engine.asl.definition import parse
from flows_engine.asl.dialects import ASL
from flows_engine.asl.interpreter import step
from flows_engine.asl.run import Event, FireTimer, RunStarted, RunState, TimerFired
from schemas.action import Status
from schemas.json_text import Json

#: When every execution starts: later than the times of the corpus that are meant to be past.
START = datetime(2026, 7, 1, 12, tzinfo=UTC)
_LONGEST_RUN_TIMERS = 10_000
_ACCOUNT = "arn:aws:states:us-east-1:111111111111"


@dataclass(frozen=True)
class End:
    """How an execution ended, in the words of AWS."""

    status: str
    output: Json = None
    error: str | None = None
    cause: str | None = None


def execute(definition: Json, data: Json, *, express: bool = False, synchronous: bool = False) -> End:
    """Run a definition of the ASL dialect to its end."""
    parsed = parse(definition, ASL)
    context = execution_context(data, express=express, synchronous=synchronous)
    run = RunState(run_id="corpus", machine_context=context)
    timers: list[tuple[datetime, str]] = []
    event: Event = RunStarted(at=START, input=data)
    for _ in range(_LONGEST_RUN_TIMERS):
        result = step(parsed, run, event)
        run = result.run
        for command in result.commands:
            assert isinstance(command, FireTimer), f"an ASL state asked for {command!r}"
            heapq.heappush(timers, (command.due, command.token))
        timers = [timer for timer in timers if timer[1] not in result.dropped]
        heapq.heapify(timers)
        if run.status.is_final:
            return _end(run)
        assert timers, f"the run is {run.status} and waits for nothing"
        due, token = heapq.heappop(timers)
        event = TimerFired(at=max(due, event.at), token=token)
    raise AssertionError(f"the run has not ended after {_LONGEST_RUN_TIMERS} timers")


def execution_context(data: Json, *, express: bool, synchronous: bool) -> dict[str, Any]:
    """The static part of the Context Object, as AWS fills it for one kind of execution."""
    kind, tail = ("express", ":11111111-2222-3333-4444-555555555555") if express else ("execution", "")
    execution = {
        "Id": f"{_ACCOUNT}:{kind}:machine:run{tail}",
        "Input": data,
        "Name": "run",
        "RoleArn": "arn:aws:iam::111111111111:role/flows",
        "StartTime": context_time(START),
        "RedriveCount": 0,
    }
    if synchronous:
        del execution["RedriveCount"]  # a synchronous execution cannot be started again
    return {"Execution": execution, "StateMachine": {"Id": f"{_ACCOUNT}:stateMachine:machine", "Name": "machine"}}


def _end(run: RunState) -> End:
    if run.status is Status.SUCCEEDED:
        return End("SUCCEEDED", output=run.root.output)
    failure = run.root.failure
    assert failure is not None, "a failed run has a failure"
    return End("FAILED", error=failure.error, cause=failure.cause)
