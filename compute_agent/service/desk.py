"""What every use case of the compute service works with, and how it tells others what it committed."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from schemas.ports import Clock, Database
from schemas.times import to_us

from .news import News
from .settings import ComputeSettings

#: How long a wait lasts at most without looking again, on a database that other processes write to.
_LOOK_AGAIN_S = 5.0


@dataclass(slots=True)
class Changes:
    """What a transaction has changed that somebody may wait for."""

    #: Ids of endpoints whose agents have something to hear.
    endpoints: set[str] = field(default_factory=set)
    #: Ids of task groups in which tasks ended.
    groups: set[str] = field(default_factory=set)


@dataclass(frozen=True, slots=True, kw_only=True)
class Desk:
    """See ``compute.ComputeService`` for what the members are."""

    db: Database
    clock: Clock
    settings: ComputeSettings
    news: News
    finished: Callable[[Sequence[str]], None]
    notify_others: Callable[[], None]

    def now_us(self) -> int:
        return to_us(self.clock.now())

    def announce(self, changes: Changes) -> None:
        """After the commit: wake those who wait, here and in other processes."""
        if not changes.endpoints and not changes.groups:
            return
        self.news.ring(map(endpoint_topic, changes.endpoints))
        self.news.ring(map(group_topic, changes.groups))
        self.notify_others()
        if changes.groups:
            self.finished(sorted(changes.groups))

    def pause_s(self, left_s: float) -> float:
        """How long to wait for a ring before looking again."""
        return left_s if self.db.dialect == "sqlite" else min(left_s, _LOOK_AGAIN_S)


def endpoint_topic(endpoint_id: str) -> str:
    return f"endpoint/{endpoint_id}"


def group_topic(group_id: str) -> str:
    return f"group/{group_id}"


def microseconds(seconds: float) -> int:
    return int(seconds * 1_000_000)
