"""Rows of task groups: what was submitted together, and the order in which it ended."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection, Row, bindparam, delete, exists, select, update
from sqlalchemy.dialects import postgresql, sqlite

from ..tables import task_groups, tasks


@dataclass(frozen=True, slots=True, kw_only=True)
class Group:
    group_no: int
    group_id: str
    user_no: int
    unfinished: int
    finished_no: int


_COLUMNS = [task_groups.c[name] for name in Group.__slots__]


def load(tx: Connection, group_id: str) -> Group | None:
    row = tx.execute(select(*_COLUMNS).where(task_groups.c.group_id == group_id)).one_or_none()
    return None if row is None else _group(row)


def lock_or_add(tx: Connection, group_id: str, user_no: int, *, now: int) -> Group:
    """The group, locked; made for this user if there was none."""
    dialect = postgresql if tx.dialect.name == "postgresql" else sqlite
    add = dialect.insert(task_groups).on_conflict_do_nothing(index_elements=[task_groups.c.group_id])
    query = select(*_COLUMNS).where(task_groups.c.group_id == group_id).with_for_update()
    while (row := tx.execute(query).one_or_none()) is None:  # again: it may be deleted between the two statements
        tx.execute(add.values(group_id=group_id, user_no=user_no, created_at=now, unfinished=0, finished_no=0))
    return _group(row)


def lock(tx: Connection, group_nos: Collection[int]) -> dict[int, Group]:
    """Several, locked in the order that everybody keeps."""
    query = select(*_COLUMNS).where(task_groups.c.group_no.in_(group_nos))
    rows = tx.execute(query.order_by(task_groups.c.group_no).with_for_update())
    return {row.group_no: _group(row) for row in rows}


def begin_tasks(tx: Connection, group: Group, number: int) -> None:
    """Count new tasks of a locked group."""
    statement = update(task_groups).where(task_groups.c.group_no == group.group_no)
    tx.execute(statement.values(unfinished=task_groups.c.unfinished + number))


def end_tasks(tx: Connection, ended: Mapping[int, int]) -> None:
    """Count tasks that ended, by locked group."""
    statement = (
        update(task_groups)
        .where(task_groups.c.group_no == bindparam("b_group_no"))
        .values(
            unfinished=task_groups.c.unfinished - bindparam("b_ended"),
            finished_no=task_groups.c.finished_no + bindparam("b_ended"),
        )
    )
    tx.execute(statement, [{"b_group_no": group_no, "b_ended": ended[group_no]} for group_no in sorted(ended)])


def forget_empty(tx: Connection, group_nos: Collection[int]) -> None:
    """Delete those of these groups that have no task."""
    empty = sorted(lock(tx, group_nos))
    has_task = exists().where(tasks.c.group_no == task_groups.c.group_no)
    tx.execute(delete(task_groups).where(task_groups.c.group_no.in_(empty), ~has_task))


def _group(row: Row[Any]) -> Group:
    return Group(**row._mapping)
