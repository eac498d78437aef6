"""What the API reads of runs, and the little it writes: label, tags and roles. Functions take ``tx``.

The state of a run, its status and its log are written by the engine alone; nothing here touches those columns.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import ColumnElement, Connection, and_, delete, false, func, insert, or_, select, update
from sqlalchemy.dialects import postgresql, sqlite

from schemas.action import Status
from schemas.json_text import Json, dumps, loads_trusted
from schemas.times import from_us, to_us

from .keyset import KeyValue, Page, contains_any, key_of, member_text, paged
from .tables import flow_roles, idempotency_keys, run_roles, run_steps, runs

#: Sorts after every time there is: runs that have not ended come last when ordered by completion.
_NEVER = 2**63 - 1

_COLUMNS = (
    runs.c.run_no,
    runs.c.run_id,
    runs.c.flow_id,
    runs.c.flow_no,
    runs.c.version_no,
    runs.c.flow_title,
    runs.c.flow_updated_at,
    runs.c.run_owner,
    runs.c.status,
    runs.c.label,
    runs.c.document,
    runs.c.details,
    runs.c.start_time,
    runs.c.completion_time,
)


@dataclass(frozen=True, slots=True, kw_only=True)
class RunRow:
    """A run as the API shows it; its state is not read.

    ``document`` holds tags, role lists, the notification policy, and ``search``: casefolded texts for list filters.
    """

    run_no: int
    run_id: str
    flow_id: str
    flow_no: int
    version_no: int
    flow_title: str
    flow_updated_at: datetime
    run_owner: str
    status: Status
    label: str | None
    document: dict[str, Json]
    details: Json
    start_time: datetime
    completion_time: datetime | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Interval:
    """Half open: ``start`` belongs to it, ``end`` does not. Either may be missing."""

    start: datetime | None = None
    end: datetime | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class RunFilter:
    """Which runs a list shows: those on which ``principals`` have a role granted by the run or following from its flow.

    ``run_grants`` and ``flow_grants`` are the roles of the two role tables that count.
    """

    principals: frozenset[str]
    run_grants: tuple[str, ...]
    flow_grants: tuple[str, ...]
    flow_ids: tuple[str, ...] = ()
    statuses: tuple[str, ...] = ()
    label: tuple[str, ...] = ()
    flow_title: tuple[str, ...] = ()
    started: Interval | None = None
    completed: Interval | None = None


#: Sort fields of a list of runs.
SORT_COLUMNS: dict[str, ColumnElement[Any]] = {
    "id": runs.c.run_id,
    "start_time": runs.c.start_time,
    "completion_time": func.coalesce(runs.c.completion_time, _NEVER),
    "status": runs.c.status,
    "label": func.coalesce(runs.c.label, ""),
}


def load_run(tx: Connection, run_id: str, *, for_update: bool = False) -> RunRow | None:
    query = select(*_COLUMNS).where(runs.c.run_id == run_id)
    row = tx.execute(query.with_for_update() if for_update else query).one_or_none()
    return None if row is None else _run(row)


def grants_of(tx: Connection, run_no: int) -> list[tuple[str, str]]:
    """``(role, principal)`` of everybody named on the run."""
    return grants_of_many(tx, [run_no])[run_no]


def grants_of_many(tx: Connection, run_nos: Sequence[int]) -> dict[int, list[tuple[str, str]]]:
    """Grants of the runs of one page, in one query."""
    grants: dict[int, list[tuple[str, str]]] = {run_no: [] for run_no in run_nos}
    rows = tx.execute(
        select(run_roles.c.run_no, run_roles.c.role, run_roles.c.principal).where(run_roles.c.run_no.in_(set(run_nos)))
    )
    for row in rows:
        grants[row.run_no].append((row.role, row.principal))
    return grants


def list_runs(tx: Connection, wanted: RunFilter, page: Page) -> tuple[list[RunRow], tuple[KeyValue, ...] | None]:
    """One page of runs, and the key to go on after it, or None when it is the last."""
    query = select(*_COLUMNS).where(_visible(wanted))
    if wanted.flow_ids:
        query = query.where(runs.c.flow_id.in_(wanted.flow_ids))
    if wanted.statuses:
        query = query.where(runs.c.status.in_(wanted.statuses))
    if wanted.label:
        query = query.where(contains_any(member_text(runs.c.document, "search.label"), wanted.label))
    if wanted.flow_title:
        query = query.where(contains_any(member_text(runs.c.document, "search.flow_title"), wanted.flow_title))
    for column, interval in ((runs.c.start_time, wanted.started), (runs.c.completion_time, wanted.completed)):
        if interval is not None:
            query = query.where(_within(column, interval))
    rows = tx.execute(paged(query, page, SORT_COLUMNS, runs.c.run_no)).all()
    last = key_of(rows[page.limit - 1], page) if len(rows) > page.limit else None
    return [_run(row) for row in rows[: page.limit]], last


def count_active(tx: Connection, run_owner: str, *, at_most: int) -> int:
    """How many runs of this owner have not ended; counting stops at ``at_most``."""
    some = (
        select(runs.c.run_no)
        .where(
            runs.c.status.in_([Status.ACTIVE.value, Status.INACTIVE.value]),
            runs.c.run_owner == run_owner,
        )
        .limit(at_most)
        .subquery()
    )
    return int(tx.execute(select(func.count()).select_from(some)).scalar_one())


def save_metadata(tx: Connection, run_no: int, *, label: str | None, document: Json) -> None:
    """Write label, tags and role lists, and the roles that follow from them."""
    tx.execute(update(runs).where(runs.c.run_no == run_no).values(label=label, document=dumps(document)))
    listed = {"run_managers": "run_manager", "run_monitors": "run_monitor"}
    tx.execute(delete(run_roles).where(run_roles.c.run_no == run_no, run_roles.c.role.in_(listed.values())))
    rows = [
        {"run_no": run_no, "role": role, "principal": principal}
        for member, role in listed.items()
        for principal in document.get(member, ())
    ]
    if rows:
        tx.execute(insert(run_roles), rows)


def log_page(tx: Connection, run_no: int, *, limit: int, reverse: bool, after: int | None) -> list[tuple[int, Json]]:
    """Up to ``limit`` log entries with their sequence numbers, oldest or newest first, beyond number ``after``."""
    steps = run_steps.c
    query = select(steps.first_seq, steps.entries).where(steps.run_no == run_no, steps.entry_count > 0)
    if after is not None:
        query = query.where(steps.first_seq < after if reverse else steps.first_seq + steps.entry_count - 1 > after)
    # Every step here has an entry, so as many steps as entries are always enough.
    query = query.order_by(steps.step_no.desc() if reverse else steps.step_no.asc()).limit(limit)
    found: list[tuple[int, Json]] = []
    for row in tx.execute(query):
        entries = list(enumerate(loads_trusted(row.entries), row.first_seq))
        found.extend(reversed(entries) if reverse else entries)
    if after is not None:
        found = [(seq, entry) for seq, entry in found if (seq < after if reverse else seq > after)]
    return found[:limit]


@dataclass(frozen=True, slots=True, kw_only=True)
class KeyUse:
    """What a key was first used for."""

    sha256: str
    run_id: str


def claim_key(tx: Connection, *, caller: str, key: str, use: KeyUse, now: datetime, expires_at: datetime) -> KeyUse:
    """Record what the key is used for and return it, or return the earlier use, which then wins.

    The insert comes first: on PostgreSQL it waits for another transaction that is inserting the same key.
    """
    table = idempotency_keys
    tx.execute(delete(table).where(table.c.caller == caller, table.c.key == key, table.c.expires_at <= to_us(now)))
    insert_into = postgresql.insert if tx.dialect.name == "postgresql" else sqlite.insert
    tx.execute(
        insert_into(table)
        .values(caller=caller, key=key, sha256=use.sha256, run_id=use.run_id, expires_at=to_us(expires_at))
        .on_conflict_do_nothing(index_elements=["caller", "key"])
    )
    row = tx.execute(select(table.c.sha256, table.c.run_id).where(table.c.caller == caller, table.c.key == key)).one()
    return KeyUse(sha256=row.sha256, run_id=row.run_id)


def _visible(wanted: RunFilter) -> ColumnElement[bool]:
    ways: list[ColumnElement[bool]] = []
    if wanted.run_grants:
        own = select(run_roles.c.run_no).where(
            run_roles.c.principal.in_(wanted.principals), run_roles.c.role.in_(wanted.run_grants)
        )
        ways.append(runs.c.run_no.in_(own))
    if wanted.flow_grants:
        through = select(flow_roles.c.flow_no).where(
            flow_roles.c.principal.in_(wanted.principals), flow_roles.c.role.in_(wanted.flow_grants)
        )
        ways.append(runs.c.flow_no.in_(through))
    return or_(false(), *ways)


def _within(column: ColumnElement[Any], interval: Interval) -> ColumnElement[bool]:
    bounds: list[ColumnElement[bool]] = [column.is_not(None)]
    if interval.start is not None:
        bounds.append(column >= to_us(interval.start))
    if interval.end is not None:
        bounds.append(column < to_us(interval.end))
    return and_(*bounds)


def _run(row: Any) -> RunRow:
    return RunRow(
        run_no=row.run_no,
        run_id=row.run_id,
        flow_id=row.flow_id,
        flow_no=row.flow_no,
        version_no=row.version_no,
        flow_title=row.flow_title,
        flow_updated_at=from_us(row.flow_updated_at),
        run_owner=row.run_owner,
        status=Status(row.status),
        label=row.label,
        document=loads_trusted(row.document),
        details=loads_trusted(row.details),
        start_time=from_us(row.start_time),
        completion_time=None if row.completion_time is None else from_us(row.completion_time),
    )
