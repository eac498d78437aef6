"""The worker: claim due work, carry it out, feed back what it came to. Decides nothing about flows.

One loop thread does all the feeding; calls to remote providers run in a pool, so that a slow provider holds a thread of
the pool and nothing else. Calls to built-in providers are made by the loop itself. No transaction is open while anything
is called. A renewal thread extends the leases of what is held, and of nothing else: whatever a failed round loses sight
of runs out and is claimed again. If leases could not be renewed for too long, the worker drops what it has not begun,
and in any case the fence rejects what a worker writes that lost its lease.

A round that fails costs no other run more than a moment. What a database breaks off is done again, one thing at a time;
what fails by itself is left to its lease alone, is claimed alone from the second time on, and is set aside in the end.
"""

from __future__ import annotations

import logging
import queue
import threading
import time
import uuid
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

from sqlalchemy import Connection

from flows_engine.asl.run import TimerFired
from flows_engine.crashpoints import crashpoint
from flows_engine.engine.advance import Advance, Result
from flows_engine.engine.errands import Errands
from flows_engine.store import work_queue
from flows_engine.store.db import DATABASE_TROUBLE
from flows_engine.store.work_queue import WorkItem
from schemas.ports import Clock, Database
from schemas.times import to_us

log = logging.getLogger(__name__)

#: One claim in so many looks first at items that were begun again and again.
_SUSPECT_EVERY = 16

_SHORTEST_SLEEP_S = 0.005


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
        errands: Errands,
        settings: WorkerSettings | None = None,
    ) -> None:
        self.owner = str(uuid.uuid4())
        self._db = db
        self._clock = clock
        self._advance = advance
        self._errands = errands
        self._settings = settings or WorkerSettings()
        self._signal = threading.Condition()
        self._signalled = False
        self._stopping = threading.Event()
        self._answers: queue.SimpleQueue[Result] = queue.SimpleQueue()
        self._in_flight = 0
        self._rounds = 0
        self._careful = False
        #: Held and not begun; begun with a result that is not recorded yet; fences of everything held, by number.
        self._hand: list[WorkItem] = []
        self._results: list[Result] = []
        self._held: dict[int, int] = {}
        self._held_lock = threading.Lock()
        self._woken: dict[tuple[int, str], float] = {}
        self._woken_lock = threading.Lock()
        self._renewed_at = time.monotonic()
        self._threads: list[threading.Thread] = []
        self._pool: _Callers | None = None

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
        """Begin working in threads of our own. On SQLite, which has one process at a time, what a dead one held is free
        at once."""
        if self._db.dialect == "sqlite":
            with self._db.begin() as tx:
                work_queue.drop_claims_of_others(tx, owner=self.owner, now=self._now())
        self._pool = _Callers(self._settings.remote_threads, self._call_remote)
        self._renewed_at = time.monotonic()
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
        crashpoint("stop.before_give_back")
        try:
            with self._db.begin() as tx:
                work_queue.give_back(tx, owner=self.owner, now=self._now())
        except DATABASE_TROUBLE as error:
            log.warning("nothing could be given back; the leases run out by themselves: %s", error)
        crashpoint("stop.after_give_back")

    def _run(self) -> None:
        pause_s = 0.1
        while not self._stopping.is_set():
            try:
                if not self.turn():
                    self._sleep()
                pause_s = 0.1
                continue
            except DATABASE_TROUBLE as error:
                log.warning("database not available: %s", error)
            except Exception:
                log.exception("a round of the worker failed; its items will be claimed again")
            self._stopping.wait(pause_s)
            pause_s = min(pause_s * 2, 5.0)
        self._finish_in_flight()

    def _sleep(self) -> None:
        wait_s = self._settings.poll_s
        if self._may_claim():
            with self._db.read() as tx:
                due = work_queue.next_due(tx)
            if due is not None:
                # What is due and could not be claimed is in somebody's hands for a moment.
                wait_s = min(wait_s, max(_SHORTEST_SLEEP_S, (due - self._now()) / 1e6))
        with self._signal:
            if not self._signalled:
                self._signal.wait(wait_s)
            self._signalled = False

    def _renew(self) -> None:
        interval_s = wait_s = self._settings.lease_s / 3
        while not self._stopping.wait(wait_s):
            wait_s = interval_s
            try:
                crashpoint("lease.before_renew")
                self._renew_leases()
                crashpoint("lease.after_renew")
                continue
            except DATABASE_TROUBLE as error:
                log.warning("leases could not be renewed: %s", error)
            except Exception:  # this thread must live as long as the worker does
                log.exception("leases could not be renewed")
            wait_s = min(interval_s, 1.0)

    def _renew_leases(self) -> None:
        with self._held_lock:
            held = list(self._held)
        begun_at = time.monotonic()
        if held:
            with self._db.begin() as tx:
                work_queue.renew(tx, owner=self.owner, lease_until=self._lease_until(), work_nos=held)
        self._renewed_at = begun_at

    def _finish_in_flight(self) -> None:
        deadline = time.monotonic() + self._settings.stop_s / 2
        try:
            while self._in_flight and time.monotonic() < deadline:
                self._results.append(self._answers.get(timeout=max(0.0, deadline - time.monotonic())))
                self._in_flight -= 1
                self._feed(room=0)
        except queue.Empty:
            return
        except DATABASE_TROUBLE as error:
            log.warning("what calls in flight came to could not be recorded: %s", error)

    # -- one round

    def turn(self) -> bool:
        """Carry out what is due and feed it back; True when there was anything to do.

        After an exception it may be called again: nothing is lost, and nothing stays held without being worked on.
        """
        try:
            return self._round()
        except DATABASE_TROUBLE:
            self._advance.forget()
            self._careful = True
            raise
        except Exception:
            self._drop_everything()
            raise

    def _round(self) -> bool:
        self._deliver_wakes()
        if self._careful:
            self._go_on_carefully()
        if not self._leases_are_ours():
            self._let_go(self._hand)
            self._hand = []
        if self._may_claim():
            self._claim(self._room())
        self._results += self._collect()
        if not self._hand and not self._results:
            return False
        self._carry_out_hand()
        self._feed(room=0 if self._stopping.is_set() else max(0, self._settings.batch - self._in_flight))
        return True

    def _go_on_carefully(self) -> None:
        """After a round that the database broke off: the rest of it, one thing at a time.

        Recording a result twice is safe: the first commit, if it was one, took its item out of the queue. What fails
        again, although the database is there, is left to its lease.
        """
        with self._db.read() as tx:
            work_queue.next_due(tx)
        self._record_one_by_one()
        hand, self._hand = self._hand, []
        while hand:
            self._hand = [hand.pop(0)]
            try:
                self._carry_out_hand()
                self._record_one_by_one()
            except DATABASE_TROUBLE:
                self._let_go(self._hand)
                self._hand = hand
                raise
        self._careful = False

    def _record_one_by_one(self) -> None:
        while self._results:
            result = self._results.pop(0)
            try:
                self._record([result], room=0)
            except DATABASE_TROUBLE:
                self._let_go([result.item])
                raise
            except Exception:
                log.exception("a run could not be advanced", extra={"run_no": result.item.run_no})
                self._advance.forget()
                self._let_go([result.item])

    def _drop_everything(self) -> None:
        """After a failure that nobody foresaw: hold nothing, so that all of it is claimed again."""
        self._advance.forget()
        self._hand, self._results = [], []
        with self._held_lock:
            self._held.clear()

    def _room(self) -> int:
        """How many items to claim. Some always: runs that never wait must not keep the hand full for ever."""
        free = self._settings.batch - self._in_flight - len(self._hand)
        return max(free, self._settings.batch // 4, 1)

    def _may_claim(self) -> bool:
        return self._in_flight < self._settings.batch and self._leases_are_ours()

    def _hold(self, items: Iterable[WorkItem]) -> None:
        with self._held_lock:
            self._held.update((item.work_no, item.fence) for item in items)

    def _let_go(self, items: Iterable[WorkItem]) -> None:
        with self._held_lock:
            for item in items:
                if self._held.get(item.work_no) == item.fence:
                    del self._held[item.work_no]

    def _claim(self, limit: int) -> None:
        """Take up to ``limit`` due items in hand."""
        now = self._now()
        with self._db.read() as tx:
            due = work_queue.next_due(tx)
        if due is None or due > now:
            return
        self._rounds += 1
        with self._db.begin() as tx:
            claimed: list[WorkItem] = []
            if self._rounds % _SUSPECT_EVERY:
                claimed = self._claim_some(tx, now, limit)
            if not claimed:
                claimed = self._claim_some(tx, now, limit, suspects=True) or self._claim_some(tx, now, limit)
            crashpoint("claim.before_commit")
        crashpoint("claim.after_commit")
        sound = [item for item in claimed if item.tries <= self._settings.max_tries]
        self._hold(sound)
        self._hand += sound
        for item in claimed:
            if item.tries > self._settings.max_tries:
                self._set_aside(item)

    def _claim_some(self, tx: Connection, now: int, limit: int, *, suspects: bool = False) -> list[WorkItem]:
        lease_until = self._lease_until()
        return work_queue.claim(tx, owner=self.owner, now=now, lease_until=lease_until, limit=limit, suspects=suspects)

    def _set_aside(self, item: WorkItem) -> None:
        reason = f"{item.kind} of {item.token} was begun {item.tries - 1} times without an end"
        log.error("run set aside: %s", reason, extra={"run_no": item.run_no})
        try:
            with self._db.begin() as tx:
                self._advance.quarantine(tx, owner=self.owner, item=item, reason=reason)
        except DATABASE_TROUBLE:
            raise  # its lease runs out, and it is claimed again
        except Exception:
            log.exception("the run cannot take a step at all", extra={"run_no": item.run_no})
            with self._db.begin() as tx:
                self._advance.set_aside(tx, owner=self.owner, item=item, reason=reason)

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
        return item.kind == "start" and self._errands.is_built_in(item)

    def _carry_out_hand(self) -> None:
        """Carry out everything in hand. What an error of the database keeps from being done stays there."""
        starts = [item for item in self._hand if self._is_built_in_start(item)]
        others = [item for item in self._hand if not self._is_built_in_start(item)]
        try:
            self._results += self._errands.start_together(starts)
            self._hand = others
        except DATABASE_TROUBLE:
            raise
        except Exception:
            log.exception("%d actions could not be started together; each is tried alone", len(starts))
        while self._hand:
            item = self._hand[0]
            try:
                result = self._carry_out(item)
            except DATABASE_TROUBLE:
                raise
            except Exception:
                log.exception(
                    "work failed in an unforeseen way; it is left to its lease", extra={"run_no": item.run_no}
                )
                self._let_go([item])
            else:
                self._results += [] if result is None else [result]
            self._hand.pop(0)

    def _carry_out(self, item: WorkItem) -> Result | None:
        """The item's result, or None when a thread of the pool will bring it."""
        if item.kind == "timer":
            return Result(item=item, event=TimerFired(at=self._clock.now(), token=item.token))
        if self._pool is None or self._errands.is_built_in(item):
            return self._errands.call(item)
        self._in_flight += 1
        self._pool.submit(item)
        return None

    def _call_remote(self, item: WorkItem) -> None:
        try:
            result = self._errands.call(item)
        except Exception as error:  # whatever a call does, the item must come back to the loop
            log.exception("a provider call failed in an unforeseen way", extra={"run_no": item.run_no})
            result = self._errands.failed(item, error)
        self._answers.put(result)
        self.notify()

    def _feed(self, *, room: int) -> None:
        """Record all results in one transaction; when one of them makes that fail, each in its own."""
        if not self._results:
            return
        try:
            self._record(self._results, room=room)
        except DATABASE_TROUBLE:
            raise
        except Exception:
            log.exception("%d results could not be recorded together; each is tried alone", len(self._results))
            self._advance.forget()
            self._record_one_by_one()
        self._results = []

    def _record(self, results: Sequence[Result], *, room: int) -> None:
        with self._db.begin() as tx:
            hand = self._advance.feed(tx, owner=self.owner, results=results, claim_until=self._lease_until(), room=room)
            crashpoint("feed.before_commit")
        self._advance.confirm()
        self._let_go(result.item for result in results)
        self._hold(hand)
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

    # -- time

    def _now(self) -> int:
        return to_us(self._clock.now())

    def _lease_until(self) -> int:
        return self._now() + int(self._settings.lease_s * 1e6)


class _Callers:
    """Threads that make the remote calls, as many as are needed and at most ``limit``. They are daemons, unlike those of
    an executor: a call that hangs must not hold up the end of the process."""

    def __init__(self, limit: int, call: Callable[[WorkItem], None]) -> None:
        self._limit = limit
        self._call = call
        self._waiting: queue.SimpleQueue[WorkItem] = queue.SimpleQueue()
        self._idle = threading.Semaphore(0)
        self._threads = 0

    def submit(self, item: WorkItem) -> None:
        """Called by the worker's thread alone."""
        self._waiting.put(item)
        if not self._idle.acquire(blocking=False) and self._threads < self._limit:
            self._threads += 1
            name = f"provider-call-{self._threads}"
            threading.Thread(target=self._serve, name=name, daemon=True).start()

    def _serve(self) -> None:
        while True:
            self._call(self._waiting.get())
            self._idle.release()
