"""The worker: claim due work, carry it out, feed back what it came to. Decides nothing about flows.

One loop thread does all the feeding; calls to remote providers run in a pool, so that a slow provider holds a thread of
the pool and nothing else. Calls to built-in providers are made by the loop itself. No transaction is open while anything
is called. A renewal thread extends the leases; if it could not for too long, the worker drops what it holds, and in any
case the fence rejects what a worker writes that lost its lease.
"""

from __future__ import annotations

import logging
import queue
import threading
import time
import uuid
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import timedelta

from sqlalchemy import Connection
from sqlalchemy.exc import OperationalError

from flows_engine.actions.answers import Answer, Errand, Gone, Refused, Reported, Unknown
from flows_engine.actions.backoff import poll_delay, retry_delay
from flows_engine.actions.local import Order
from flows_engine.actions.refusals import REQUEST_CONFLICT
from flows_engine.actions.resolve import ActionDirectory
from flows_engine.asl.run import ActionRefused, ActionReported, ActionTimedOut, Event, TimerFired
from flows_engine.crashpoints import crashpoint
from flows_engine.engine.advance import Advance, Result
from flows_engine.store import work_queue
from flows_engine.store.work_queue import Postponed, WorkItem
from schemas.action import ActionStatus, Status
from schemas.json_text import Json, dumps
from schemas.ports import Clock, Database
from schemas.principals import Caller
from schemas.times import from_us, to_us

log = logging.getLogger(__name__)

#: Looks up who an errand is run for: (RunAs, owner identity, flow id) to a caller. Raises LookupError.
CallerOf = Callable[[str, str, str], Caller]

#: Longest time an unknown outcome of a start is asked about again, and a cancel or release is repeated.
_START_PATIENCE = timedelta(hours=1)
_FAREWELL_PATIENCE = timedelta(minutes=10)

#: One claim in so many looks first at items that were begun again and again.
_SUSPECT_EVERY = 16

#: An INACTIVE action is looked at this often.
_INACTIVE_POLL = timedelta(minutes=15)


@dataclass(frozen=True, slots=True, kw_only=True)
class WorkerSettings:
    """``batch`` items are claimed at once; ``poll_s`` bounds how long news from other processes may go unseen."""

    lease_s: float = 30.0
    batch: int = 200
    poll_s: float = 1.0
    remote_threads: int = 32
    max_tries: int = 5
    stop_s: float = 10.0


class Worker:
    """See the module. ``turn`` is one round and may be called by hand (tests, simulation); ``start`` runs rounds in a
    thread until ``stop``."""

    def __init__(
        self,
        *,
        db: Database,
        clock: Clock,
        advance: Advance,
        directory: ActionDirectory,
        caller_of: CallerOf,
        settings: WorkerSettings | None = None,
    ) -> None:
        self.owner = str(uuid.uuid4())
        self._db = db
        self._clock = clock
        self._advance = advance
        self._directory = directory
        self._caller_of = caller_of
        self._settings = settings or WorkerSettings()
        self._signal = threading.Condition()
        self._signalled = False
        self._stopping = threading.Event()
        self._answers: queue.SimpleQueue[Result] = queue.SimpleQueue()
        self._in_flight = 0
        self._rounds = 0
        self._hand: list[WorkItem] = []
        self._woken: dict[tuple[int, str], float] = {}
        self._woken_lock = threading.Lock()
        self._renewed_at = time.monotonic()
        self._threads: list[threading.Thread] = []
        self._pool: ThreadPoolExecutor | None = None

    # -- from other threads

    def notify(self) -> None:
        """There may be new work: look now."""
        with self._signal:
            self._signalled = True
            self._signal.notify_all()

    def wake(self, waiter: str) -> None:
        """A built-in provider's action has ended; ``waiter`` is what came with its request."""
        run_no, _, token = waiter.partition("|")
        if token:
            with self._woken_lock:
                self._woken[(int(run_no), token)] = time.monotonic()
            self.notify()

    # -- life

    def start(self) -> None:
        """Begin working in threads of our own."""
        self._pool = ThreadPoolExecutor(self._settings.remote_threads, thread_name_prefix="provider-call")
        for name, target in (("worker", self._run), ("lease-renewal", self._renew)):
            thread = threading.Thread(target=target, name=name, daemon=True)
            self._threads.append(thread)
            thread.start()

    def stop(self) -> None:
        """Stop claiming, let calls in flight finish for a while, give everything held back to the queue."""
        self._stopping.set()
        self.notify()
        for thread in self._threads:
            thread.join(self._settings.stop_s)
        if self._pool is not None:
            self._pool.shutdown(wait=False, cancel_futures=True)
        crashpoint("stop.before_give_back")
        with self._db.begin() as tx:
            work_queue.give_back(tx, owner=self.owner, now=self._now())
        crashpoint("stop.after_give_back")

    def _run(self) -> None:
        pause_s = 0.1
        while not self._stopping.is_set():
            try:
                busy = self.turn()
                pause_s = 0.1
            except OperationalError as error:
                # The database is away: nothing is lost, leases run out or are renewed; try again until it is back.
                log.warning("database not available: %s", error.orig)
                self._advance.forget()
                self._hand.clear()
                self._stopping.wait(pause_s)
                pause_s = min(pause_s * 2, 5.0)
                continue
            except Exception:
                log.exception("a round of the worker failed; its items will be claimed again")
                self._advance.forget()
                self._hand.clear()
                self._stopping.wait(pause_s)
                pause_s = min(pause_s * 2, 5.0)
                continue
            if not busy:
                self._sleep()
        self._finish_in_flight()

    def _sleep(self) -> None:
        with self._db.read() as tx:
            due = work_queue.next_due(tx)
        wait_s = self._settings.poll_s
        if due is not None:
            wait_s = min(wait_s, max(0.0, (due - self._now()) / 1e6))
        with self._signal:
            if not self._signalled and wait_s > 0:
                self._signal.wait(wait_s)
            self._signalled = False

    def _renew(self) -> None:
        interval_s = self._settings.lease_s / 3
        while not self._stopping.wait(interval_s):
            try:
                crashpoint("lease.before_renew")
                with self._db.begin() as tx:
                    work_queue.renew(tx, owner=self.owner, lease_until=self._lease_until())
                crashpoint("lease.after_renew")
                self._renewed_at = time.monotonic()
            except OperationalError as error:
                log.warning("leases could not be renewed: %s", error.orig)

    def _finish_in_flight(self) -> None:
        deadline = time.monotonic() + self._settings.stop_s / 2
        while self._in_flight and time.monotonic() < deadline:
            try:
                self._feed([self._answers.get(timeout=max(0.0, deadline - time.monotonic()))], room=0)
                self._in_flight -= 1
            except queue.Empty:
                return

    # -- one round

    def turn(self) -> bool:
        """Carry out what is due and feed it back; True when there was anything to do."""
        self._deliver_wakes()
        items, self._hand = self._hand, []
        room = self._settings.batch - self._in_flight - len(items)
        if room > 0:
            items += self._claim(room)
        results = self._collect()
        results += self._start_built_in([item for item in items if self._is_built_in_start(item)])
        for item in items:
            if not self._is_built_in_start(item) and (result := self._carry_out(item)) is not None:
                results.append(result)
        if not results and not items:
            return False
        self._feed(results, room=self._settings.batch - self._in_flight)
        return True

    def _claim(self, limit: int) -> list[WorkItem]:
        if not self._leases_are_ours():
            return []
        now = self._now()
        with self._db.read() as tx:
            due = work_queue.next_due(tx)
        if due is None or due > now:
            return []
        self._rounds += 1
        with self._db.begin() as tx:
            claimed: list[WorkItem] = []
            if self._rounds % _SUSPECT_EVERY:
                claimed = self._claim_some(tx, now, limit)
            if not claimed:
                claimed = self._claim_some(tx, now, limit, suspects=True) or self._claim_some(tx, now, limit)
            crashpoint("claim.before_commit")
        crashpoint("claim.after_commit")
        return [item for item in claimed if not self._is_poison(item)]

    def _claim_some(self, tx: Connection, now: int, limit: int, *, suspects: bool = False) -> list[WorkItem]:
        lease_until = self._lease_until()
        return work_queue.claim(tx, owner=self.owner, now=now, lease_until=lease_until, limit=limit, suspects=suspects)

    def _is_poison(self, item: WorkItem) -> bool:
        if item.tries <= self._settings.max_tries:
            return False
        reason = f"{item.kind} of {item.token} was begun {item.tries - 1} times without an end"
        log.error("run set aside: %s", reason, extra={"run_no": item.run_no})
        with self._db.begin() as tx:
            self._advance.quarantine(tx, owner=self.owner, item=item, reason=reason)
        return True

    def _leases_are_ours(self) -> bool:
        if self._pool is None:
            return True  # driven by hand
        return time.monotonic() - self._renewed_at < self._settings.lease_s * 2 / 3

    def _collect(self) -> list[Result]:
        results: list[Result] = []
        while True:
            try:
                results.append(self._answers.get_nowait())
                self._in_flight -= 1
            except queue.Empty:
                return results

    def _is_built_in_start(self, item: WorkItem) -> bool:
        return item.kind == "start" and self._directory.is_local(item.payload["url"])

    def _start_built_in(self, items: Sequence[WorkItem]) -> list[Result]:
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

    def _carry_out(self, item: WorkItem) -> Result | None:
        """The item's result, or None when a thread of the pool will bring it."""
        if item.kind == "timer":
            return Result(item=item, event=TimerFired(at=self._clock.now(), token=item.token))
        if self._pool is None or self._directory.is_local(item.payload["url"]):
            return self._call(item)
        self._in_flight += 1
        self._pool.submit(self._call_remote, item)
        return None

    def _call_remote(self, item: WorkItem) -> None:
        try:
            result = self._call(item)
        except Exception as error:  # whatever a call does, the item must come back to the loop
            log.exception("a provider call failed in an unforeseen way", extra={"run_no": item.run_no})
            result = self._again(item, Unknown(f"the engine failed to make the call: {type(error).__name__}"))
        self._answers.put(result)
        self.notify()

    def _feed(self, results: Sequence[Result], *, room: int) -> None:
        if not results:
            return
        with self._db.begin() as tx:
            hand = self._advance.feed(
                tx, owner=self.owner, results=results, claim_until=self._lease_until(), room=max(0, room)
            )
            crashpoint("feed.before_commit")
        self._advance.confirm()
        self._hand.extend(hand)
        crashpoint("feed.after_commit")

    def _deliver_wakes(self) -> None:
        with self._woken_lock:
            waiting = list(self._woken)
        if not waiting:
            return
        with self._db.begin() as tx:
            found = work_queue.wake(tx, waiting, now=self._now())
        old = time.monotonic() - 5.0
        with self._woken_lock:
            for key in waiting:
                if key in found or self._woken.get(key, 0.0) < old:
                    self._woken.pop(key, None)

    # -- calling providers

    def _call(self, item: WorkItem) -> Result:
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
        if isinstance(answer, Unknown):
            delay = retry_delay(item.attempts, answer.retry_after_s, f"{item.run_no}:{item.token}:{item.attempts}")
            if item.attempts < _FAREWELL_PATIENCE / timedelta(minutes=1):
                due = to_us(self._clock.now() + delay)
                later = Postponed(item=item, due=due, attempts=item.attempts + 1, last_error=answer.reason)
                return Result(item=item, postponed=later)
            log.warning("%s of an action given up: %s", what, answer.reason, extra={"run_no": item.run_no})
        return Result(item=item)

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
        if deadline is None:
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
        if item.kind == "poll":
            return Result(item=item, event=ActionTimedOut(at=self._clock.now(), token=item.token, status=None))
        cause: Json = {"code": "ActionUnableToRun", "outcome": "unknown", "description": answer.reason}
        return self._refused(item, "ActionUnableToRun", dumps(cause))

    # -- time

    def _now(self) -> int:
        return to_us(self._clock.now())

    def _lease_until(self) -> int:
        return self._now() + int(self._settings.lease_s * 1e6)


def _waiter(item: WorkItem) -> str:
    """What ``Worker.wake`` is given back when the action ends."""
    return f"{item.run_no}|{item.token}"
