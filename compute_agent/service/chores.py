"""What must be done now and then: settle leases that ran out, forget what is old, after an absence wait for agents."""

from __future__ import annotations

from .desk import Changes, Desk, microseconds
from .endpoints import Endpoints
from .rows import endings, endpoints, functions, groups, submissions, tasks
from .settling import settle_lost

#: So many rows are written in one transaction.
_PORTION = 2_000


class Chores:
    def __init__(self, desk: Desk, endpoint_cases: Endpoints) -> None:
        self._desk = desk
        self._endpoints = endpoint_cases

    def sweep(self) -> int:
        with self._desk.db.read() as tx:
            silent = endpoints.silent(tx, since=self._lease_limit())
            unsettled = endpoints.unsettled(tx)
        settled = sum(self._settle_silent(endpoint_no) for endpoint_no in silent)
        ended = sum(self._endpoints.end_tasks_of_deleted(endpoint_no) for endpoint_no in unsettled)
        return settled + ended + self._forget_tasks() + self._forget_others()

    def on_start(self) -> None:
        with self._desk.db.begin() as tx:
            endpoints.extend_leases(tx, now=self._desk.now_us())

    def _lease_limit(self) -> int:
        """Agents that were not heard since then have lost what they hold."""
        return self._desk.now_us() - microseconds(self._desk.settings.lease_s)

    def _settle_silent(self, endpoint_no: int) -> int:
        reason = (
            f"the agent of the endpoint was not heard of for {self._desk.settings.lease_s:g} s while it held the task; "
            "it may have run"
        )
        number = 0
        while True:
            since = self._lease_limit()
            with self._desk.db.begin() as tx:
                endpoint_ids = endpoints.lock_numbers(tx, [endpoint_no])
                is_silent = endpoints.is_silent(tx, endpoint_no, since=since)
                lost = tasks.held_since(tx, endpoint_no, since=since, limit=_PORTION) if is_silent else []
                group_ids, is_queued = settle_lost(tx, lost, reason, now=self._desk.now_us())
            if not lost:
                return number
            number += len(lost)
            queued = set(endpoint_ids.values()) if is_queued else set()
            self._desk.announce(Changes(endpoints=queued, groups=group_ids))

    def _forget_tasks(self) -> int:
        """Groups in a transaction of their own: tasks and groups are locked in the other order elsewhere."""
        before = self._desk.now_us() - microseconds(self._desk.settings.results_kept_s)
        number = 0
        while True:
            with self._desk.db.begin() as tx:
                forgotten, group_nos = endings.forget(tx, finished_before=before, limit=_PORTION)
            if group_nos:
                with self._desk.db.begin() as tx:
                    groups.forget_empty(tx, group_nos)
            number += forgotten
            if forgotten < _PORTION:
                return number

    def _forget_others(self) -> int:
        before = self._desk.now_us() - microseconds(self._desk.settings.results_kept_s)
        with self._desk.db.read() as tx:
            if not submissions.has_older(tx, before=before) and not functions.has_deleted(tx):
                return 0
        with self._desk.db.begin() as tx:
            return submissions.forget(tx, before=before, limit=_PORTION) + functions.wipe_deleted(tx, _PORTION)
