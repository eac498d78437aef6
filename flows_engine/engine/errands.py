"""Errands: what is asked of a provider for one item of work, and what its answer means for the run.

No transaction is open while a provider is called. A clear answer becomes an event; an unclear one (no answer, a broken
connection, a busy server) becomes the same request again, later, until the patience of the state ends.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from datetime import timedelta

from flows_engine.actions.answers import Answer, Errand, Gone, Refused, Reported, Unknown
from flows_engine.actions.backoff import poll_delay, retry_delay
from flows_engine.actions.local import Order
from flows_engine.actions.refusals import REQUEST_CONFLICT
from flows_engine.actions.resolve import ActionDirectory
from flows_engine.asl.run import ActionRefused, ActionReported, ActionTimedOut, Event
from flows_engine.crashpoints import crashpoint
from flows_engine.store.work_queue import Postponed, WorkItem
from schemas.action import ActionStatus, Status
from schemas.json_text import Json, dumps
from schemas.ports import Clock
from schemas.principals import Caller
from schemas.times import from_us, to_us

from .advance import Result

log = logging.getLogger(__name__)

#: Looks up who an errand is run for: (RunAs, owner identity, flow id) to a caller. Raises LookupError.
CallerOf = Callable[[str, str, str], Caller]

#: Longest time an unknown outcome of a start is asked about again, and a cancel or release is repeated.
_START_PATIENCE = timedelta(hours=1)
_FAREWELL_PATIENCE = timedelta(minutes=10)

#: An INACTIVE action is looked at this often.
_INACTIVE_POLL = timedelta(minutes=15)


class Errands:
    """Runs errands; ``caller_of`` finds on whose behalf. May be used by several threads."""

    def __init__(self, *, clock: Clock, directory: ActionDirectory, caller_of: CallerOf) -> None:
        self._clock = clock
        self._directory = directory
        self._caller_of = caller_of

    def is_built_in(self, item: WorkItem) -> bool:
        """Whether the item's provider lives in this process."""
        return self._directory.is_local(item.payload["url"])

    def failed(self, item: WorkItem, error: Exception) -> Result:
        """What comes of an item whose call failed in a way that nobody foresaw."""
        return self._again(item, Unknown(f"the engine failed to make the call: {type(error).__name__}"))

    def start_together(self, items: Sequence[WorkItem]) -> list[Result]:
        """Start actions of built-in providers together: one transaction for all of them."""
        results: list[Result] = []
        orders: list[tuple[WorkItem, Order]] = []
        for item in items:
            errand = self._errand(item)
            if isinstance(errand, Result):
                results.append(errand)
            else:
                orders.append((item, Order(errand, item.payload["request"], _waiter(item))))
        if not orders:
            return results
        crashpoint("action.before_start")
        answers = self._directory.start_many([order for _, order in orders])
        crashpoint("action.after_start")
        results += [self._started(item, answer) for (item, _), answer in zip(orders, answers, strict=True)]
        return results

    def call(self, item: WorkItem) -> Result:
        """Ask the item's provider, and say what came of it."""
        errand = self._errand(item)
        if isinstance(errand, Result):
            return errand
        match item.kind:
            case "start":
                return self._start_action(item, errand)
            case "poll":
                return self._poll_action(item, errand)
            case "cancel":
                return self._say_farewell(item, errand, "cancel", self._directory.cancel)
            case _:
                return self._say_farewell(item, errand, "release", self._directory.release)

    def _errand(self, item: WorkItem) -> Errand | Result:
        """On whose behalf the item's provider is asked, or the item's result when nobody can be found."""
        payload = item.payload
        try:
            caller = self._caller_of(payload["run_as"], payload["owner"], payload["flow_id"])
        except LookupError as error:
            return self._refused(item, "NoTokenException", str(error))
        return Errand(
            url=payload["url"],
            scope=payload["scope"],
            caller=caller,
            flow_id=payload["flow_id"],
            run_id=payload["run_id"],
        )

    def _start_action(self, item: WorkItem, errand: Errand) -> Result:
        crashpoint("action.before_start")
        answer = self._directory.start(errand, item.payload["request"], waiter=_waiter(item))
        crashpoint("action.after_start")
        return self._started(item, answer)

    def _started(self, item: WorkItem, answer: Answer) -> Result:
        match answer:
            case Reported():
                return self._reported(item, answer)
            case Refused():
                if answer.cause.startswith(REQUEST_CONFLICT):
                    log.error("a provider says that %s came with another body before", item.token)
                return self._refused(item, "ActionUnableToRun", answer.cause, consent=answer.consent)
            case Gone():
                return self._refused(item, "ActionUnableToRun", answer.reason)
            case Unknown():
                return self._again(item, answer)

    def _poll_action(self, item: WorkItem, errand: Errand) -> Result:
        crashpoint("action.before_poll")
        action_id = item.payload["action_id"]
        answer: Answer | None = None
        if item.payload["wake"]:
            answer = self._directory.resume(errand, action_id)
        if not isinstance(answer, Reported):
            answer = self._directory.status(errand, action_id)
        crashpoint("action.after_poll")
        match answer:
            case Reported(status=status) if status.status is Status.ACTIVE:
                return self._still_active(item, answer)
            case Reported(status=status) if status.status is Status.INACTIVE and item.payload["deadline"] is None:
                later = to_us(self._clock.now() + _INACTIVE_POLL)
                return Result(item=item, postponed=Postponed(item=item, due=later, attempts=0, last_error=None))
            case Reported():
                return self._reported(item, answer)
            case Gone():
                lost = {"code": "ActionLost", "description": answer.reason, "action_id": action_id}
                return self._refused(item, "ActionLost", dumps(lost))
            case Refused():
                return self._again(item, Unknown(answer.cause))
            case Unknown():
                return self._again(item, answer)

    def _say_farewell(self, item: WorkItem, errand: Errand, what: str, call: Callable[[Errand, str], Answer]) -> Result:
        """Cancel or release; any clear answer ends it, an unclear one is repeated for ten minutes."""
        crashpoint(f"action.before_{what}")
        answer = call(errand, item.payload["action_id"])
        crashpoint(f"action.after_{what}")
        return self._again(item, answer) if isinstance(answer, Unknown) else Result(item=item)

    # -- answers into events

    def _reported(self, item: WorkItem, answer: Reported) -> Result:
        return Result(item=item, event=self._report(item, answer.status))

    def _report(self, item: WorkItem, status: ActionStatus) -> Event:
        return ActionReported(
            at=self._clock.now(),
            token=item.token,
            url=item.payload["url"],
            scope=item.payload["scope"],
            run_as=item.payload["run_as"],
            status=status,
        )

    def _refused(self, item: WorkItem, error: str, cause: str, *, consent: str | None = None) -> Result:
        if item.kind in ("cancel", "release"):
            return Result(item=item)
        at = self._clock.now()
        refused = ActionRefused(at=at, token=item.token, error=error, cause=cause, consent=consent)
        return Result(item=item, event=refused)

    def _still_active(self, item: WorkItem, answer: Reported) -> Result:
        now = self._clock.now()
        deadline = item.payload["deadline"]
        if deadline is None:  # it was INACTIVE and has started again by itself
            return self._reported(item, answer)
        if to_us(now) >= deadline:
            return Result(item=item, event=ActionTimedOut(at=now, token=item.token, status=answer.status))
        delay = poll_delay(item.attempts, answer.pushes, f"{item.run_no}:{item.token}:{item.attempts}")
        due = min(to_us(now + delay), deadline)
        return Result(item=item, postponed=Postponed(item=item, due=due, attempts=item.attempts + 1, last_error=None))

    def _again(self, item: WorkItem, answer: Unknown) -> Result:
        """The outcome is unknown: ask again with the very same request, until the patience of the state ends."""
        now = self._clock.now()
        deadline = item.payload.get("deadline")
        if item.kind in ("cancel", "release"):
            patient = item.attempts < _FAREWELL_PATIENCE / timedelta(minutes=1)
            limit = now + _FAREWELL_PATIENCE if patient else now
        elif deadline is None:
            limit = now + _START_PATIENCE
        elif item.kind == "start":
            limit = min(from_us(deadline), from_us(item.payload["begun"]) + _START_PATIENCE)
        else:
            limit = from_us(deadline)
        if now >= limit:
            return self._given_up(item, answer)
        delay = retry_delay(item.attempts, answer.retry_after_s, f"{item.run_no}:{item.token}:{item.attempts}")
        due = to_us(min(now + delay, limit))
        later = Postponed(item=item, due=due, attempts=item.attempts + 1, last_error=answer.reason)
        return Result(item=item, postponed=later)

    def _given_up(self, item: WorkItem, answer: Unknown) -> Result:
        if item.kind in ("cancel", "release"):
            log.warning("%s of an action given up: %s", item.kind, answer.reason, extra={"run_no": item.run_no})
            return Result(item=item)
        if item.kind == "poll":
            return Result(item=item, event=ActionTimedOut(at=self._clock.now(), token=item.token, status=None))
        cause: Json = {"code": "ActionUnableToRun", "outcome": "unknown", "description": answer.reason}
        return self._refused(item, "ActionUnableToRun", dumps(cause))


def _waiter(item: WorkItem) -> str:
    """What ``Worker.wake`` is given back when the action ends."""
    return f"{item.run_no}|{item.token}"
