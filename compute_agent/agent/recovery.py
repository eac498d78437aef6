"""What the journal of earlier sessions says of their tasks, settled before anything new is leased.

A task with an outcome is uploaded. One without is given back if the agent gets its start marker: then it did not begin
and cannot any more, even if a worker of the earlier session lives on. Otherwise it began: its worker
may have left its report in the marker, else it is lost. Markers are not
synced, so after a crash of the whole machine a missing one proves nothing.
"""

from __future__ import annotations

import logging

from ..wire import ErrorCode, Outcome
from .desk import Desk
from .journal import Entry
from .outcomes import given_back, lost, of_report

log = logging.getLogger(__name__)


def recover(desk: Desk) -> dict[str, int]:
    """Put what the journal holds into the book, with outcomes; returns ids and fences for the registration.

    Raises:
        JournalFull: what was decided cannot be kept.
    """
    entries = desk.journal.entries()
    latest: dict[str, Entry] = {}
    for entry in entries:
        known = latest.get(entry.held.task_id)
        if known is None or known.held.fence < entry.held.fence:
            latest[entry.held.task_id] = entry
    decided = [_decided(desk, entry) for entry in latest.values() if entry.outcome is None]
    desk.journal.record(decided)
    outcomes = [*(entry.outcome for entry in latest.values() if entry.outcome is not None), *decided]
    for outcome in outcomes:
        desk.book.restore(outcome)
    desk.forget([entry.held for entry in entries if latest[entry.held.task_id] is not entry])
    if outcomes:
        log.info("tasks of an earlier session", extra={"tasks": [f"{one.task_id}={one.state}" for one in outcomes]})
    return {one.task_id: one.fence for one in outcomes}


def _decided(desk: Desk, entry: Entry) -> Outcome:
    if not desk.journal.same_circumstances:
        text = "the agent's machine was restarted, or its markers switched on; whether the task ran is not known"
        return lost(entry.held, ErrorCode.AGENT_LOST, text)
    if desk.markers.take(entry.held):
        return given_back(entry.held, "the agent ended before the task began")
    if (report := desk.markers.report(entry.held)) is not None and (
        outcome := of_report(entry.held, report)
    ) is not None:
        return outcome
    return lost(
        entry.held, ErrorCode.AGENT_LOST, "the agent ended while the task ran; whether it finished is not known"
    )
