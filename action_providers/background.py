"""The threads that carry ACTIVE actions on until they end.

One thread looks for due actions and claims as many as there are free hands; it is woken when an action becomes due in
this process, sleeps until the next due time otherwise, and looks at least once a second for what other processes left.
Hands call the providers. A third kind of thread keeps the leases of actions whose providers work long in silence.
"""

from __future__ import annotations

import logging
import queue
import threading
import time
from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy.exc import OperationalError, SQLAlchemyError

from . import store
from .carrier import Carrier, Result
from .provider import Stop
from .service import Actions
from .store import Record

log = logging.getLogger(__name__)

#: The longest time between two looks for due actions.
LOOK_S = 1.0
PURGE_EVERY_S = 3600.0


class Background:
    """Runs the due actions of this process's providers; ``threads`` is how many at a time."""

    def __init__(self, actions: Actions, *, threads: int = 8) -> None:
        self._actions = actions
        self._carrier: Carrier = actions.carrier
        self._hands = threads
        self._claimed: dict[tuple[str, int], Record] = {}
        self._work: queue.SimpleQueue[Record | None] = queue.SimpleQueue()
        self._results: list[tuple[Record, Result]] = []
        self._results_lock = threading.Lock()
        self._keeping = threading.Lock()
        self._changed = threading.Condition()
        self._looking_at: datetime | None = None
        self._woken = False
        self._stopping = threading.Event()
        self._renewed_s = time.monotonic()
        self._purged_s = time.monotonic()
        self._threads: list[threading.Thread] = []

    def start(self) -> None:
        """Begin to work. On SQLite, which has one process at a time, what a dead process held is free at once."""
        if self._carrier.db.dialect == "sqlite":
            with self._carrier.db.begin() as tx:
                store.drop_claims_of_others(tx, owner=self._carrier.owner)
        self._warn_of_unserved()
        self._carrier.notify(self._due_at)
        names = ["look", "renew", *(f"hand-{i}" for i in range(self._hands))]
        targets = [self._look_forever, self._renew_forever, *([self._work_forever] * self._hands)]
        self._threads = [
            threading.Thread(target=target, name=f"actions-{name}", daemon=True)
            for name, target in zip(names, targets, strict=True)
        ]
        for thread in self._threads:
            thread.start()

    def stop(self, timeout_s: float = 10.0) -> None:
        """Take nothing new, let work in hand finish, and give back what is not finished in time."""
        until = time.monotonic() + timeout_s
        self._carrier.notify(None)
        self._stopping.set()
        with self._changed:
            self._changed.notify_all()
            self._changed.wait_for(lambda: not self._claimed, timeout=max(0.0, until - time.monotonic()))
            left = list(self._claimed.values())
        for _ in range(self._hands):
            self._work.put(None)
        if left:
            self._carrier.let_go(left)
            ids = [record.action_id for record in left]
            with self._carrier.db.begin() as tx:
                store.give_back(tx, owner=self._carrier.owner, action_ids=ids, now=self._carrier.clock.now())
            return
        for thread in self._threads:
            thread.join(timeout=max(0.1, until - time.monotonic()))

    def work_off(self, limit: int = 100) -> int:
        """Claim what is due now and carry it on in the calling thread; returns how many. For tests and tools."""
        claimed = self._claim(limit)
        for record in claimed:
            self._carry(record)
        return len(claimed)

    def _look_forever(self) -> None:
        while not self._stopping.is_set():
            try:
                wait_s = self._look()
            except OperationalError as error:
                log.warning("the database is not available: %s", error.orig)
                self._stopping.wait(LOOK_S)
                wait_s = LOOK_S
            except Exception:  # this thread serves all actions: nothing may end it
                log.exception("cannot look for due actions; trying again")
                wait_s = LOOK_S
            with self._changed:
                if not self._woken and not self._stopping.is_set() and wait_s > 0:
                    self._changed.wait(min(wait_s, LOOK_S))
                self._woken = False

    def _look(self) -> float:
        """Claim for the free hands and hand out; returns the seconds until there may be more to do."""
        with self._changed:
            self._looking_at = None  # whatever becomes due from now on, we may not see: it must wake us
            free = self._hands - len(self._claimed)
        if not free:
            return LOOK_S
        claimed = self._claim(free)
        for record in claimed:
            self._work.put(record)
        self._purge_now_and_then()
        if claimed:
            return 0.0
        with self._carrier.db.read() as tx:
            due = store.next_due(tx, self._actions.providers)
        with self._changed:
            self._looking_at = due
        return LOOK_S if due is None else max(0.0, (due - self._carrier.clock.now()).total_seconds())

    def _claim(self, limit: int) -> list[Record]:
        carrier = self._carrier
        with carrier.db.begin() as tx:
            claimed = store.claim(
                tx,
                owner=carrier.owner,
                now=carrier.clock.now(),
                lease=carrier.lease,
                limit=limit,
                providers=list(self._actions.providers),
            )
        with self._changed:
            self._claimed |= {(record.action_id, record.fence): record for record in claimed}
        carrier.hold(claimed)
        return claimed

    def _due_at(self, due: datetime) -> None:
        """An action of this process becomes due: look sooner when that is earlier than what is waited for."""
        with self._changed:
            if self._looking_at is None or due < self._looking_at:
                self._woken = True
                self._changed.notify_all()

    def _work_forever(self) -> None:
        while (record := self._work.get()) is not None:
            try:
                self._carry(record)
            except Exception:
                log.exception(
                    "action could not be recorded; its lease will run out", extra={"action_id": record.action_id}
                )

    def _carry(self, record: Record) -> None:
        try:
            self._keep(record, self._carrier.perform(record, self._report))
        finally:
            self._carrier.let_go([record])
            with self._changed:
                self._claimed.pop((record.action_id, record.fence), None)
                self._woken = True
                self._changed.notify_all()

    def _keep(self, record: Record, result: Result) -> None:
        """Group commit: while one hand commits, the others queue, and the next commits for all of them.

        Where that commit fails, the leases of all run out and the actions are carried on again.
        """
        with self._results_lock:
            self._results.append((record, result))
        with self._keeping:
            with self._results_lock:
                batch, self._results = self._results, []
            self._carrier.keep(batch)

    def _report(self, record: Record, details: Mapping[str, Any]) -> None:
        """Publish progress under the claim. Raises Stop when the claim was lost, or may have been."""
        carrier = self._carrier
        lease_s = carrier.lease.total_seconds()
        if self._threads and time.monotonic() - self._renewed_s > lease_s:
            raise Stop
        with carrier.db.begin() as tx:
            ours = store.report(
                tx,
                action_id=record.action_id,
                owner=carrier.owner,
                fence=record.fence,
                details=details,
                lease_until=carrier.clock.now() + carrier.lease,
            )
        if not ours:
            raise Stop

    def _renew_forever(self) -> None:
        every: timedelta = self._carrier.lease / 3
        while not self._stopping.wait(every.total_seconds()):
            self._renew()
        while self._carrier.in_hand():  # work in hand when stopping keeps its lease until it ends
            self._renew()
            time.sleep(min(1.0, every.total_seconds()))

    def _renew(self) -> None:
        carrier = self._carrier
        held = [record.action_id for record in carrier.in_hand()]
        try:
            if held:
                with carrier.db.begin() as tx:
                    until = carrier.clock.now() + carrier.lease
                    store.renew(tx, owner=carrier.owner, action_ids=held, lease_until=until)
            self._renewed_s = time.monotonic()
        except SQLAlchemyError as error:
            log.warning("cannot renew the leases of actions: %s", error)

    def _purge_now_and_then(self) -> None:
        if time.monotonic() - self._purged_s >= PURGE_EVERY_S:
            self._purged_s = time.monotonic()
            self._actions.purge(self._carrier.clock.now())

    def _warn_of_unserved(self) -> None:
        with self._carrier.db.read() as tx:
            paths = store.unserved(tx, self._actions.providers)
        for path in paths:
            log.warning("unfinished actions wait for a provider that is not installed", extra={"provider": path})
