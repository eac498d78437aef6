"""What the agent decides, as values: the tasks it holds, what may be started, what is still to be said to the service.
No I/O, no clock, no locks; whoever shares a book between threads guards it.

A task is ACCEPTED when the service has given it, WAITING once the journal holds it on disk, SUBMITTED when an engine has
it, FINISHED when it has an outcome that the service has not taken yet; then it is forgotten. Only a WAITING task may be
submitted, so nothing starts that the journal does not know; only the first outcome of a task counts.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import NamedTuple

from ..wire import Assignment, Outcome

#: What one result weighs in an upload besides its text.
_OUTCOME_BYTES = 500


class Held(NamedTuple):
    """One leasing of a task. The same task under a higher fence is another piece of work."""

    task_id: str
    fence: int

    @property
    def marker_name(self) -> str:
        return f"{self.task_id}.{self.fence}"


class Phase(StrEnum):
    ACCEPTED = "ACCEPTED"
    WAITING = "WAITING"
    SUBMITTED = "SUBMITTED"
    FINISHED = "FINISHED"


@dataclass(slots=True)
class _Entry:
    fence: int
    phase: Phase
    outcome: Outcome | None = None
    is_recorded: bool = False


@dataclass(frozen=True, slots=True)
class Taken:
    """``new`` is to be worked on. ``superseded`` was held under a lower fence, which the service no longer believes:
    what comes of it is dropped."""

    new: Sequence[Assignment]
    superseded: Sequence[Held]


class Book:
    """What an agent holds. Never shrinks but by what the service said."""

    def __init__(self) -> None:
        self._entries: dict[str, _Entry] = {}
        self._unsent: dict[str, Outcome] = {}
        self._unannounced: dict[str, None] = {}
        self._unfinished = 0

    def __len__(self) -> int:
        return len(self._entries)

    @property
    def unfinished(self) -> int:
        """How many tasks take up room in engines or wait for it."""
        return self._unfinished

    @property
    def has_unsent(self) -> bool:
        return bool(self._unsent)

    @property
    def has_unannounced(self) -> bool:
        return bool(self._unannounced)

    def phase(self, held: Held) -> Phase | None:
        """None when the task is not held under this fence."""
        entry = self._entry(held)
        return None if entry is None else entry.phase

    def free(self, capacity: int) -> int:
        """How many more tasks may be leased."""
        return max(0, capacity - self._unfinished)

    # what comes in

    def take(self, assignments: Iterable[Assignment]) -> Taken:
        """Note what was leased. What is held already, under this fence or a higher one, is not taken again."""
        new: list[Assignment] = []
        superseded: list[Held] = []
        for one in assignments:
            known = self._entries.get(one.task_id)
            if known is not None:
                if known.fence >= one.fence:
                    continue
                superseded.append(Held(one.task_id, known.fence))
                self._forget(one.task_id)
            self._entries[one.task_id] = _Entry(one.fence, Phase.ACCEPTED)
            self._unfinished += 1
            new.append(one)
        return Taken(new, superseded)

    def restore(self, outcome: Outcome) -> None:
        """Take up a task of an earlier session with the outcome that the journal holds."""
        self._entries[outcome.task_id] = _Entry(outcome.fence, Phase.FINISHED, outcome, is_recorded=True)
        self._unsent[outcome.task_id] = outcome

    def journaled(self, assignments: Iterable[Assignment]) -> None:
        """The journal holds these on disk: they may start."""
        for one in assignments:
            entry = self._entry(Held(one.task_id, one.fence))
            if entry is not None and entry.phase is Phase.ACCEPTED:
                entry.phase = Phase.WAITING

    def submit(self, held: Held) -> bool:
        """Whether the task may be handed to an engine now; it may be once, and not when it has an outcome already."""
        entry = self._entry(held)
        if entry is None or entry.phase is not Phase.WAITING:
            return False
        entry.phase = Phase.SUBMITTED
        self._unannounced[held.task_id] = None
        return True

    def finish(self, outcome: Outcome) -> bool:
        """Note what became of a task. False when it is not held under this fence or had an outcome: the first counts."""
        entry = self._entry(Held(outcome.task_id, outcome.fence))
        if entry is None or entry.phase is Phase.FINISHED:
            return False
        entry.phase, entry.outcome = Phase.FINISHED, outcome
        self._unfinished -= 1
        self._unannounced.pop(outcome.task_id, None)
        self._unsent[outcome.task_id] = outcome
        return True

    def replace(self, outcome: Outcome) -> None:
        """Say something else instead of an outcome that the service cannot take, such as one that is too large."""
        entry = self._entry(Held(outcome.task_id, outcome.fence))
        if entry is not None and entry.phase is Phase.FINISHED:
            entry.outcome, entry.is_recorded = outcome, False
            self._unsent[outcome.task_id] = outcome

    # what goes out

    def unsent(self, *, most: int, most_bytes: int) -> list[Outcome]:
        """Outcomes for one upload, the oldest first; at least one when there is any."""
        batch: list[Outcome] = []
        size_bytes = 0
        for outcome in self._unsent.values():
            size_bytes += _size_bytes(outcome)
            if batch and (len(batch) == most or size_bytes > most_bytes):
                break
            batch.append(outcome)
        return batch

    def unrecorded(self, outcomes: Iterable[Outcome]) -> list[Outcome]:
        """Those of them that the journal does not hold yet."""
        return [one for one in outcomes if (entry := self._of(one)) is not None and not entry.is_recorded]

    def recorded(self, outcomes: Iterable[Outcome]) -> None:
        for one in outcomes:
            if (entry := self._of(one)) is not None:
                entry.is_recorded = True

    def announce(self) -> list[str]:
        """Tasks that an engine got since this was last asked and that have no outcome yet."""
        ids = list(self._unannounced)
        self._unannounced.clear()
        return ids

    def announce_again(self, task_ids: Iterable[str]) -> None:
        """The announcement did not arrive."""
        for task_id in task_ids:
            if (entry := self._entries.get(task_id)) is not None and entry.phase is Phase.SUBMITTED:
                self._unannounced[task_id] = None

    def held(self) -> list[Held]:
        return [Held(task_id, entry.fence) for task_id, entry in self._entries.items()]

    def open(self) -> list[Held]:
        """Everything without an outcome."""
        return [
            Held(task_id, entry.fence) for task_id, entry in self._entries.items() if entry.phase is not Phase.FINISHED
        ]

    # what the service answers

    def settle(self, sent: Iterable[Outcome], accepted: Iterable[str], refused: Mapping[str, str]) -> list[Held]:
        """Forget what the service took or will never take; returns it. What it did not mention is sent again."""
        mentioned = set(accepted) | set(refused)
        settled: list[Held] = []
        for outcome in sent:
            if outcome.task_id in mentioned and self._of(outcome) is not None:
                settled.append(Held(outcome.task_id, outcome.fence))
                self._forget(outcome.task_id)
        return settled

    def unknown(self, named: Iterable[Held]) -> list[Held]:
        """Forget tasks that the service no longer thinks are here; returns them. Not those that were leased anew since
        it was asked."""
        gone = [one for one in dict.fromkeys(named) if self._entry(one) is not None]
        for held in gone:
            self._forget(held.task_id)
        return gone

    def cancelling(self, task_ids: Iterable[str]) -> list[Held]:
        """Those of the tasks that a cancel can still touch."""
        return [
            Held(one, entry.fence)
            for one in dict.fromkeys(task_ids)
            if (entry := self._entries.get(one)) is not None and entry.phase is not Phase.FINISHED
        ]

    def _entry(self, held: Held) -> _Entry | None:
        entry = self._entries.get(held.task_id)
        return entry if entry is not None and entry.fence == held.fence else None

    def _of(self, outcome: Outcome) -> _Entry | None:
        """The entry whose outcome this very one is."""
        entry = self._entries.get(outcome.task_id)
        return entry if entry is not None and entry.outcome is outcome else None

    def _forget(self, task_id: str) -> None:
        entry = self._entries.pop(task_id)
        if entry.phase is not Phase.FINISHED:
            self._unfinished -= 1
        self._unsent.pop(task_id, None)
        self._unannounced.pop(task_id, None)


def _size_bytes(outcome: Outcome) -> int:
    text = len(outcome.result or "") + (0 if outcome.error is None else len(outcome.error.message))
    return text + _OUTCOME_BYTES
