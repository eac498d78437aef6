"""How tasks end: the one place that writes a final state, numbers it in its group and counts it.

The caller has locked the endpoints of the tasks. A group's numbers are given under the group's lock, which lasts until
the commit: what has a smaller number is committed earlier.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from sqlalchemy import Connection, bindparam, delete, insert, select, update

from schemas.json_text import Json, dumps

from ...wire import TaskError, TaskState
from ..tables import payloads, results, tasks
from . import groups, users
from .tasks import Task, chunks


@dataclass(frozen=True, slots=True, kw_only=True)
class Ending:
    """``state`` is final; ``tell_agent`` asks that the agent that holds the task hears of it."""

    task: Task
    state: TaskState
    result: str | None = None
    error: TaskError | None = None
    details: Mapping[str, Json] = field(default_factory=dict)
    tell_agent: bool = False


_END = (
    update(tasks)
    .where(tasks.c.task_no == bindparam("b_task_no"))
    .values(
        state=bindparam("b_state"),
        finish_no=bindparam("b_finish_no"),
        finished_at=bindparam("b_now"),
        cancel_told=bindparam("b_cancel_told"),
        held_by=None,
        unseen_since=None,
    )
)


def write(tx: Connection, endings: Sequence[Ending], *, now: int) -> set[str]:
    """End tasks that have not ended; the ids of their groups. Nothing but commit may follow in this transaction that
    locks endpoints, groups or users."""
    if not endings:
        return set()
    counts = Counter(ending.task.group_no for ending in endings)
    locked = groups.lock(tx, counts)
    numbers = {group_no: group.finished_no for group_no, group in locked.items()}
    ended, stored = [], []
    for ending in endings:
        numbers[ending.task.group_no] += 1
        ended.append(_task_row(ending, numbers[ending.task.group_no], now))
        stored.append(_result_row(ending))
    tx.execute(_END, ended)
    tx.execute(insert(results), stored)
    for some in chunks([ending.task.task_no for ending in endings]):
        tx.execute(delete(payloads).where(payloads.c.task_no.in_(some)))
    groups.end_tasks(tx, counts)
    users.end_tasks(tx, Counter(ending.task.user_no for ending in endings))
    return {group.group_id for group in locked.values()}


def forget(tx: Connection, *, finished_before: int, limit: int) -> tuple[int, set[int]]:
    """Delete tasks that ended long ago, with their results: how many, and the numbers of their groups."""
    query = select(tasks.c.task_no, tasks.c.group_no).where(tasks.c.finished_at < finished_before)
    rows = tx.execute(query.order_by(tasks.c.finished_at).limit(limit).with_for_update(skip_locked=True)).all()
    numbers = [row.task_no for row in rows]
    if numbers:
        tx.execute(delete(results).where(results.c.task_no.in_(numbers)))
        tx.execute(delete(tasks).where(tasks.c.task_no.in_(numbers)))
    return len(numbers), {row.group_no for row in rows}


def _task_row(ending: Ending, finish_no: int, now: int) -> dict[str, Json]:
    is_told = ending.tell_agent and ending.task.held_by is not None
    return {
        "b_task_no": ending.task.task_no,
        "b_state": ending.state.value,
        "b_finish_no": finish_no,
        "b_now": now,
        "b_cancel_told": 0 if is_told else None,
    }


def _result_row(ending: Ending) -> dict[str, Json]:
    error = ending.error
    size_bytes = len((ending.result or "").encode()) + len((error.message if error else "").encode())
    return {
        "task_no": ending.task.task_no,
        "result_bytes": size_bytes,
        "error_code": error.code if error else None,
        "error_message": error.message if error else None,
        "details": dumps(dict(ending.details)),
        "result": ending.result,
    }
