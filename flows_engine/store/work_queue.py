"""Durable queue of due work: the one concurrency primitive.

A claim leases items to an owner (a random id per process start) until a time; an item whose lease has run out is due
again, so rescue is the claim itself. Items leave the queue only under their claim (``finish``), in the transaction that
records their result; delivery is at least once, and the fence makes every late write of a former holder visible.

Polls and timers have no effect outside, so they may be dropped or replaced while somebody holds them; a start that was
ever claimed may not: its provider may have been asked.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Literal

from sqlalchemy import Connection, bindparam, delete, func, insert, select, tuple_, update

from schemas.json_text import Json, dumps, loads_trusted

from .tables import work

Kind = Literal["start", "poll", "cancel", "release", "timer"]

#: From this many claims without progress on, an item is claimed alone: if it kills its workers, it shall not take the
#: blame of its neighbours with it.
SUSPECT_TRIES = 2

#: Due time of work that a person must release first (year 9999, in microseconds).
PARKED = 253_402_214_400_000_000

_COLUMNS = (
    work.c.work_no,
    work.c.run_no,
    work.c.kind,
    work.c.token,
    work.c.payload,
    work.c.fence,
    work.c.tries,
    work.c.attempts,
    work.c.last_error,
)

_POSTPONE = (
    update(work)
    .where(
        work.c.work_no == bindparam("number"),
        work.c.fence == bindparam("held"),
        work.c.owner == bindparam("holder"),
    )
    .values(
        owner=None,
        due=bindparam("later"),
        tries=0,
        attempts=bindparam("failed"),
        last_error=bindparam("why"),
    )
)


@dataclass(frozen=True, slots=True, kw_only=True)
class NewWork:
    """Work to be put in; ``due`` in microseconds."""

    run_no: int
    kind: Kind
    token: str
    due: int
    payload: Json


@dataclass(frozen=True, slots=True, kw_only=True)
class WorkItem:
    """A claimed item. ``tries`` counts claims without progress, this one included; ``attempts`` counts calls with an
    unknown outcome."""

    work_no: int
    run_no: int
    kind: Kind
    token: str
    payload: Json
    fence: int
    tries: int
    attempts: int
    last_error: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Postponed:
    """An item to be done again at ``due`` (microseconds)."""

    item: WorkItem
    due: int
    attempts: int
    last_error: str | None


def put(tx: Connection, items: Sequence[NewWork]) -> None:
    """Add work."""
    if items:
        tx.execute(insert(work), [_row(item) | {"owner": None, "fence": 0, "tries": 0} for item in items])


def put_claimed(tx: Connection, items: Sequence[NewWork], *, owner: str, lease_until: int) -> list[WorkItem]:
    """Add work that ``owner`` holds from the start and will carry out at once."""
    if not items:
        return []
    rows = [_row(item) | {"due": lease_until, "owner": owner, "fence": 1, "tries": 1} for item in items]
    numbers = tx.execute(insert(work).returning(work.c.work_no, sort_by_parameter_order=True), rows).scalars().all()
    return [
        WorkItem(
            work_no=number,
            run_no=item.run_no,
            kind=item.kind,
            token=item.token,
            payload=item.payload,
            fence=1,
            tries=1,
            attempts=0,
            last_error=None,
        )
        for number, item in zip(numbers, items, strict=True)
    ]


def claim(
    tx: Connection, *, owner: str, now: int, lease_until: int, limit: int, suspects: bool = False
) -> list[WorkItem]:
    """Lease up to ``limit`` due items, longest due first. Two claims never return the same live item.

    Items that were begun again and again are left out, or, with ``suspects``, they alone are looked at, one at a time.
    """
    tried = work.c.tries >= SUSPECT_TRIES if suspects else work.c.tries < SUSPECT_TRIES
    due = select(work.c.work_no).where(work.c.due <= now, tried).order_by(work.c.due).limit(1 if suspects else limit)
    if tx.dialect.name == "postgresql":
        due = due.with_for_update(skip_locked=True)
    chosen = due.cte("chosen")
    statement = (
        update(work)
        .where(work.c.work_no.in_(select(chosen.c.work_no)))
        .values(owner=owner, due=lease_until, fence=work.c.fence + 1, tries=work.c.tries + 1)
        .returning(*_COLUMNS)
    )
    if tx.dialect.name == "postgresql":
        # A join, not IN: PostgreSQL may evaluate a locking subquery twice.
        statement = (
            update(work)
            .where(work.c.work_no == chosen.c.work_no)
            .values(owner=owner, due=lease_until, fence=work.c.fence + 1, tries=work.c.tries + 1)
            .returning(*_COLUMNS)
        )
    items = [
        WorkItem(
            work_no=row.work_no,
            run_no=row.run_no,
            kind=row.kind,
            token=row.token,
            payload=loads_trusted(row.payload),
            fence=row.fence,
            tries=row.tries,
            attempts=row.attempts,
            last_error=row.last_error,
        )
        for row in tx.execute(statement)
    ]
    return sorted(items, key=lambda item: item.work_no)


def finish(tx: Connection, *, owner: str, items: Sequence[WorkItem]) -> set[int]:
    """Remove items that ``owner`` still holds; returns their numbers. The rest was taken over: write nothing for it."""
    if not items:
        return set()
    held = tuple_(work.c.work_no, work.c.fence).in_([(item.work_no, item.fence) for item in items])
    statement = delete(work).where(held, work.c.owner == owner).returning(work.c.work_no)
    return set(tx.execute(statement).scalars())


def postpone(tx: Connection, *, owner: str, items: Sequence[Postponed]) -> None:
    """Give items back, due later. Claims so far no longer count as tries: the call was made and answered."""
    if not items:
        return
    tx.execute(
        _POSTPONE,
        [
            {
                "number": one.item.work_no,
                "held": one.item.fence,
                "holder": owner,
                "later": one.due,
                "failed": one.attempts,
                "why": one.last_error,
            }
            for one in items
        ],
    )


def drop(tx: Connection, run_no: int, tokens: Sequence[str]) -> None:
    """Remove what nobody waits for any more, but never a start that somebody may have carried out."""
    if tokens:
        tx.execute(
            delete(work).where(
                work.c.run_no == run_no,
                work.c.token.in_(tokens),
                work.c.kind.in_(("poll", "timer")) | ((work.c.kind == "start") & (work.c.fence == 0)),
            )
        )


def orphan(tx: Connection, run_no: int) -> None:
    """The run is deleted: remove its work, but not the farewells to its actions, nor a start that somebody may have
    carried out and whose action must then be cancelled."""
    begun = (work.c.kind == "start") & (work.c.fence > 0) & (work.c.due < PARKED)
    promised = work.c.kind.in_(("cancel", "release")) & (work.c.due < PARKED)
    tx.execute(delete(work).where(work.c.run_no == run_no, ~(begun | promised)))


def wake(tx: Connection, waiting: Sequence[tuple[int, str]], *, now: int) -> set[tuple[int, str]]:
    """Make the polls for these (run_no, token) due at once; returns the ones that were there."""
    found: set[tuple[int, str]] = set()
    for run_no, token in waiting:
        statement = (
            update(work)
            .where(
                work.c.run_no == run_no,
                work.c.token == token,
                work.c.kind == "poll",
                work.c.owner.is_(None),
                work.c.due < PARKED,
            )
            .values(due=func.least(work.c.due, now) if tx.dialect.name == "postgresql" else func.min(work.c.due, now))
        )
        if tx.execute(statement).rowcount:
            found.add((run_no, token))
    return found


def renew(tx: Connection, *, owner: str, lease_until: int, work_nos: Collection[int] | None = None) -> int:
    """Extend the leases of ``owner``, of these items alone if they are given; returns how many were extended.

    Items whose rows are being written at the moment are left out: whoever does that ends their lease, and waiting for
    several rows in no particular order could end in a deadlock with the owner's own writes.
    """
    mine = work.c.owner == owner
    if work_nos is not None:
        mine &= work.c.work_no.in_(work_nos)
    statement = update(work).where(mine)
    if tx.dialect.name == "postgresql":
        chosen = select(work.c.work_no).where(mine).with_for_update(skip_locked=True).cte("chosen")
        statement = update(work).where(work.c.work_no == chosen.c.work_no)
    return tx.execute(statement.values(due=lease_until)).rowcount


def give_back(tx: Connection, *, owner: str, now: int) -> int:
    """Hand everything ``owner`` holds to whoever claims next. It counts as no try."""
    statement = update(work).where(work.c.owner == owner).values(owner=None, due=now, tries=work.c.tries - 1)
    return tx.execute(statement).rowcount


def drop_claims_of_others(tx: Connection, *, owner: str, now: int) -> int:
    """End the claims of every other owner: for a database that has one process at a time, so that they are dead. Each
    still counts as a try."""
    statement = update(work).where(work.c.owner.is_not(None), work.c.owner != owner)
    return tx.execute(statement.values(owner=None, due=now)).rowcount


def park(tx: Connection, *, owner: str, item: WorkItem) -> bool:
    """Set an item aside until ``unpark``; False when ``owner`` no longer holds it."""
    statement = (
        update(work)
        .where(work.c.work_no == item.work_no, work.c.fence == item.fence, work.c.owner == owner)
        .values(owner=None, due=PARKED)
    )
    return tx.execute(statement).rowcount == 1


def unpark(tx: Connection, run_no: int, *, now: int) -> None:
    """Release what ``park`` set aside for a run."""
    tx.execute(update(work).where(work.c.run_no == run_no, work.c.due == PARKED).values(due=now, tries=0))


def next_due(tx: Connection) -> int | None:
    """When the next item is due, in microseconds; leases that run out count."""
    return tx.execute(select(func.min(work.c.due))).scalar()


def pending(tx: Connection, run_no: int) -> list[Json]:
    """What a run waits for: ``{"kind", "token", "due", "attempts", "last_error"}`` each, soonest first."""
    columns = (work.c.kind, work.c.token, work.c.due, work.c.attempts, work.c.last_error)
    rows = tx.execute(select(*columns).where(work.c.run_no == run_no).order_by(work.c.due))
    return [dict(row._mapping) for row in rows]


def backlog(tx: Connection, *, now: int) -> tuple[int, int | None]:
    """How many items are due and not held, and since when the oldest is (microseconds)."""
    condition = (work.c.due <= now) & work.c.owner.is_(None)
    row = tx.execute(select(func.count(), func.min(work.c.due)).where(condition)).one()
    return row[0], row[1]


def _row(item: NewWork) -> dict[str, Json]:
    return {
        "run_no": item.run_no,
        "kind": item.kind,
        "token": item.token,
        "due": item.due,
        "payload": dumps(item.payload),
        "attempts": 0,
    }
