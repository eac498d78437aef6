"""Tasks as users see them: one row with what it points to, and how it ended."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from typing import Any

from sqlalchemy import ColumnElement, Connection, Row, Select, select

from schemas.json_text import Json, loads_trusted

from ...wire import TaskState
from ..tables import endpoints, functions, results, task_groups, tasks
from .tasks import chunks


@dataclass(frozen=True, slots=True, kw_only=True)
class TaskView:
    """Times in microseconds. ``result`` is None too when the view was made without results."""

    task_no: int
    task_id: str
    user_no: int
    state: TaskState
    requeues: int
    submitted_at: int
    leased_at: int | None
    begun_at: int | None
    finished_at: int | None
    finish_no: int | None
    group_id: str
    endpoint_id: str
    function_id: str
    error_code: str | None
    error_message: str | None
    details: dict[str, Json]
    result: str | None


_TASK = ("task_no", "task_id", "user_no", "state", "requeues")
_TIMES = ("submitted_at", "leased_at", "begun_at", "finished_at", "finish_no")
_SHORT = [
    *(tasks.c[name] for name in _TASK + _TIMES),
    task_groups.c.group_id,
    endpoints.c.endpoint_id,
    functions.c.function_id,
    results.c.error_code,
    results.c.error_message,
    results.c.details,
]
_JOINED = (
    tasks.join(task_groups, task_groups.c.group_no == tasks.c.group_no)
    .join(endpoints, endpoints.c.endpoint_no == tasks.c.endpoint_no)
    .join(functions, functions.c.function_no == tasks.c.function_no)
    .outerjoin(results, results.c.task_no == tasks.c.task_no)
)


def by_ids(tx: Connection, task_ids: Collection[str], user_nos: Collection[int]) -> dict[str, TaskView]:
    """Those of these users, with results, by id."""
    views: dict[str, TaskView] = {}
    for some in chunks(task_ids):
        query = _whole().where(tasks.c.task_id.in_(some), tasks.c.user_no.in_(user_nos))
        views |= {row.task_id: _view(row) for row in tx.execute(query)}
    return views


def result_sizes(tx: Connection, task_ids: Collection[str], user_nos: Collection[int]) -> dict[str, int]:
    """Bytes of the results of those of these users that have ended, by id."""
    joined = tasks.join(results, results.c.task_no == tasks.c.task_no)
    sizes: dict[str, int] = {}
    for some in chunks(task_ids):
        query = select(tasks.c.task_id, results.c.result_bytes).select_from(joined)
        rows = tx.execute(query.where(tasks.c.task_id.in_(some), tasks.c.user_no.in_(user_nos)))
        sizes |= {row.task_id: row.result_bytes for row in rows}
    return sizes


def finished(tx: Connection, group_no: int, *, after: int, limit: int, most_bytes: int) -> list[TaskView]:
    """Those of a group that ended after number ``after``, in that order, with results: as many as fit, at least one."""
    sizes = (
        select(tasks.c.finish_no, results.c.result_bytes)
        .join(results, results.c.task_no == tasks.c.task_no)
        .where(tasks.c.group_no == group_no, tasks.c.finish_no > after)
        .order_by(tasks.c.finish_no)
        .limit(limit)
    )
    last = after
    for row in tx.execute(sizes):
        most_bytes -= row.result_bytes
        if most_bytes < 0 and last > after:
            break
        last = row.finish_no
    if last == after:
        return []
    wanted = (tasks.c.group_no == group_no, tasks.c.finish_no > after, tasks.c.finish_no <= last)
    return [_view(row) for row in tx.execute(_whole().where(*wanted).order_by(tasks.c.finish_no))]


def newest(
    tx: Connection,
    user_nos: Collection[int],
    *,
    endpoint_id: str | None,
    state: TaskState | None,
    before: int | None,
    limit: int,
) -> list[TaskView]:
    """Those of these users, newest first, without results."""
    wanted: list[ColumnElement[bool]] = [tasks.c.user_no.in_(user_nos)]
    if endpoint_id is not None:
        wanted.append(endpoints.c.endpoint_id == endpoint_id)
    if state is not None:
        wanted.append(tasks.c.state == state.value)
    if before is not None:
        wanted.append(tasks.c.task_no < before)
    query = select(*_SHORT).select_from(_JOINED).where(*wanted)
    return [_view(row) for row in tx.execute(query.order_by(tasks.c.task_no.desc()).limit(limit))]


def of_group(tx: Connection, group_no: int) -> list[tuple[str, int]]:
    """Every task of a group in order of submission: id and time."""
    query = select(tasks.c.task_id, tasks.c.submitted_at).where(tasks.c.group_no == group_no)
    return [(row.task_id, row.submitted_at) for row in tx.execute(query.order_by(tasks.c.task_no))]


def _whole() -> Select[Any]:
    return select(*_SHORT, results.c.result).select_from(_JOINED)


def _view(row: Row[Any]) -> TaskView:
    values = row._asdict()
    values["state"] = TaskState(values["state"])
    values["details"] = {} if values["details"] is None else loads_trusted(values["details"])
    return TaskView(**{"result": None} | values)
