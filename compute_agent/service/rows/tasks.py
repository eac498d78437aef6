"""Rows of tasks on their way to an agent: new, queued, given away, given back, to be cancelled.

A task is in the queue of its endpoint, or held by a session of the endpoint's agent, or ended (``endings``). Whoever
calls a function here that changes the state of a task has locked its endpoint.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import ColumnElement, Connection, Row, Select, exists, insert, literal_column, or_, select, update

from schemas.json_text import Json, loads_trusted

from ...wire import Assignment, OnLoss, TaskState
from ..tables import functions, payloads, tasks, users

#: Most values in one condition; databases allow a few tens of thousands.
_IN_ONE_STATEMENT = 8_000

#: Written into the statement, so that the index of queued tasks is seen to serve it.
_QUEUED = tasks.c.state == literal_column("'QUEUED'")
_IS_HELD = tasks.c.held_by.is_not(None)

_BACK_IN_QUEUE: dict[str, Any] = {
    "state": TaskState.QUEUED.value,
    "held_by": None,
    "batch": 0,
    "unseen_since": None,
    "begun_at": None,
}


@dataclass(frozen=True, slots=True, kw_only=True)
class NewTask:
    task_id: str
    function_no: int
    payload: str
    payload_bytes: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Task:
    """What decides about a task; times in microseconds."""

    task_no: int
    task_id: str
    group_no: int
    endpoint_no: int
    function_no: int
    user_no: int
    state: TaskState
    fence: int
    requeues: int
    held_by: int | None
    batch: int
    unseen_since: int | None
    leased_at: int | None
    on_loss: OnLoss
    max_requeues: int


_COLUMNS = [*(tasks.c[name] for name in Task.__slots__[:-2]), functions.c.on_loss, functions.c.max_requeues]


def chunks(values: Collection[Any]) -> Iterator[list[Any]]:
    """The values in portions that fit into one statement."""
    listed = list(values)
    for start in range(0, len(listed), _IN_ONE_STATEMENT):
        yield listed[start : start + _IN_ONE_STATEMENT]


def add(
    tx: Connection,
    new: Sequence[NewTask],
    *,
    group_no: int,
    endpoint_no: int,
    user_no: int,
    user_endpoint_config: str | None,
    resource_specification: str | None,
    now: int,
) -> None:
    """Queue tasks, in this order; the two documents are JSON text."""
    common = {
        "group_no": group_no,
        "endpoint_no": endpoint_no,
        "user_no": user_no,
        "state": TaskState.QUEUED.value,
        "fence": 0,
        "requeues": 0,
        "batch": 0,
        "submitted_at": now,
        "user_endpoint_config": user_endpoint_config,
        "resource_specification": resource_specification,
    }
    rows = [
        common | {"task_id": one.task_id, "function_no": one.function_no, "payload_bytes": one.payload_bytes}
        for one in new
    ]
    stored = tx.execute(insert(tasks).returning(tasks.c.task_id, tasks.c.task_no), rows)
    numbers = {row.task_id: row.task_no for row in stored}
    carried = [{"task_no": numbers[one.task_id], "payload": one.payload} for one in new]
    tx.execute(insert(payloads), carried)


def by_ids(tx: Connection, task_ids: Collection[str]) -> dict[str, Task]:
    """Those that exist, by id."""
    found = (row for some in chunks(task_ids) for row in _select(tx, tasks.c.task_id.in_(some)))
    return {row.task_id: _task(row) for row in found}


def held(tx: Connection, endpoint_no: int) -> list[Task]:
    """What the endpoint's agent has."""
    return [_task(row) for row in _select(tx, (tasks.c.endpoint_no == endpoint_no) & _IS_HELD)]


def held_since(tx: Connection, endpoint_no: int, *, since: int, limit: int) -> list[Task]:
    """Some of what the endpoint's agent was given then or earlier."""
    old = (tasks.c.endpoint_no == endpoint_no) & _IS_HELD & (tasks.c.leased_at <= since)
    return [_task(row) for row in tx.execute(_query(old).limit(limit))]


def unfinished_of_endpoint(tx: Connection, endpoint_no: int, limit: int) -> list[Task]:
    """Some of the endpoint's tasks that have not ended."""
    unfinished = (tasks.c.endpoint_no == endpoint_no) & or_(_QUEUED, _IS_HELD)
    return [_task(row) for row in tx.execute(_query(unfinished).limit(limit))]


def unfinished_of_group(tx: Connection, group_no: int, limit: int) -> list[str]:
    """Ids of some of the group's tasks that have not ended."""
    query = select(tasks.c.task_id).where(tasks.c.group_no == group_no, tasks.c.finish_no.is_(None))
    return list(tx.scalars(query.limit(limit)))


def lease(
    tx: Connection,
    endpoint_no: int,
    *,
    session: int,
    batch: int,
    limit: int,
    most_bytes: int,
    known: Collection[str],
    now: int,
) -> list[tuple[Assignment, int]]:
    """Give the oldest queued tasks to a session, each with its function's number.

    Their payloads, and the functions that are not ``known``, have at most ``most_bytes`` together, or it is a single
    task. The lock of the endpoint keeps others away from its queue.
    """
    queue = (
        select(tasks.c.task_no, tasks.c.payload_bytes, functions.c.function_id, functions.c.code_bytes)
        .join(functions, functions.c.function_no == tasks.c.function_no)
        .where(tasks.c.endpoint_no == endpoint_no, _QUEUED)
        .order_by(tasks.c.task_no)
        .limit(limit)
    )
    numbers: list[int] = []
    carried = set(known)
    for row in tx.execute(queue):
        most_bytes -= row.payload_bytes
        if row.function_id not in carried:
            carried.add(row.function_id)
            most_bytes -= row.code_bytes
        if most_bytes < 0 and numbers:
            break
        numbers.append(row.task_no)
    if not numbers:
        return []
    tx.execute(
        update(tasks)
        .where(tasks.c.task_no.in_(numbers))
        .values(
            state=TaskState.LEASED.value,
            fence=tasks.c.fence + 1,
            held_by=session,
            batch=batch,
            leased_at=now,
            unseen_since=now,
        )
    )
    return _assignments(tx, numbers)


def give_back_undelivered(tx: Connection, endpoint_no: int, *, received: int) -> None:
    """Queue again what left in answers after the last one that the agent got: it cannot have been started, even if a
    report about an earlier leasing, held up on the way, says that it runs."""
    statement = update(tasks).where(tasks.c.endpoint_no == endpoint_no, _IS_HELD, tasks.c.batch > received)
    tx.execute(statement.values(**_BACK_IN_QUEUE, fence=tasks.c.fence + 1))


def give_back(tx: Connection, task_nos: Collection[int]) -> None:
    """Queue again what was never begun."""
    for some in chunks(task_nos):
        tx.execute(update(tasks).where(tasks.c.task_no.in_(some)).values(**_BACK_IN_QUEUE, fence=tasks.c.fence + 1))


def requeue(tx: Connection, task_nos: Collection[int]) -> None:
    """Queue again what was lost; it counts."""
    for some in chunks(task_nos):
        statement = update(tasks).where(tasks.c.task_no.in_(some))
        tx.execute(statement.values(**_BACK_IN_QUEUE, fence=tasks.c.fence + 1, requeues=tasks.c.requeues + 1))


def pass_on(tx: Connection, task_nos: Collection[int], *, session: int, now: int) -> None:
    """Let the next session hold what its agent still has."""
    for some in chunks(task_nos):
        statement = update(tasks).where(tasks.c.task_no.in_(some))
        tx.execute(statement.values(held_by=session, batch=0, leased_at=now, unseen_since=None))


def begin(tx: Connection, task_nos: Collection[int], *, now: int) -> None:
    """The agent handed them to its engine."""
    for some in chunks(task_nos):
        tx.execute(update(tasks).where(tasks.c.task_no.in_(some)).values(state=TaskState.RUNNING.value, begun_at=now))


def mark_seen(tx: Connection, task_nos: Collection[int]) -> None:
    for some in chunks(task_nos):
        tx.execute(update(tasks).where(tasks.c.task_no.in_(some)).values(unseen_since=None))


def mark_unseen(tx: Connection, task_nos: Collection[int], *, since: int) -> None:
    for some in chunks(task_nos):
        tx.execute(update(tasks).where(tasks.c.task_no.in_(some)).values(unseen_since=since))


def forget_cancels(tx: Connection, endpoint_no: int, *, told_until: int | None = None) -> None:
    """The agent knows of the cancels that it was told until then, or has none of those tasks."""
    known = (tasks.c.endpoint_no == endpoint_no) & tasks.c.cancel_told.is_not(None)
    if told_until is not None:
        known &= tasks.c.cancel_told.between(1, told_until)
    tx.execute(update(tasks).where(known).values(cancel_told=None))


def tell_cancels(tx: Connection, endpoint_no: int, *, batch: int, limit: int) -> list[str]:
    """Ids of cancelled tasks that the agent may not know of yet; they count as told in this batch."""
    query = select(tasks.c.task_no, tasks.c.task_id).where(
        tasks.c.endpoint_no == endpoint_no, tasks.c.cancel_told.is_not(None)
    )
    rows = tx.execute(query.order_by(tasks.c.task_no).limit(limit)).all()
    if rows:
        numbers = [row.task_no for row in rows]
        tx.execute(update(tasks).where(tasks.c.task_no.in_(numbers)).values(cancel_told=batch))
    return [row.task_id for row in rows]


def has_news_for_agent(tx: Connection, endpoint_no: int) -> bool:
    """Whether something is queued or there is a cancel to tell."""
    queued = exists().where(tasks.c.endpoint_no == endpoint_no, _QUEUED)
    cancels = exists().where(tasks.c.endpoint_no == endpoint_no, tasks.c.cancel_told.is_not(None))
    return bool(tx.scalar(select(or_(queued, cancels))))


def _query(condition: ColumnElement[bool]) -> Select[Any]:
    joined = tasks.join(functions, functions.c.function_no == tasks.c.function_no)
    return select(*_COLUMNS).select_from(joined).where(condition)


def _select(tx: Connection, condition: ColumnElement[bool]) -> Sequence[Row[Any]]:
    return tx.execute(_query(condition)).all()


def _task(row: Row[Any]) -> Task:
    values = row._asdict()
    values["state"] = TaskState(values["state"])
    return Task(**values)


def _assignments(tx: Connection, numbers: Sequence[int]) -> list[tuple[Assignment, int]]:
    joined = (
        tasks.join(payloads, payloads.c.task_no == tasks.c.task_no)
        .join(functions, functions.c.function_no == tasks.c.function_no)
        .join(users, users.c.user_no == tasks.c.user_no)
    )
    columns = (
        tasks.c.task_id,
        tasks.c.fence,
        tasks.c.user_endpoint_config,
        tasks.c.resource_specification,
        tasks.c.function_no,
        functions.c.function_id,
        functions.c.on_loss,
        payloads.c.payload,
        users.c.urn,
    )
    query = select(*columns).select_from(joined).where(tasks.c.task_no.in_(numbers)).order_by(tasks.c.task_no)
    return [
        (
            Assignment(
                task_id=row.task_id,
                fence=row.fence,
                function_id=row.function_id,
                payload=row.payload,
                on_loss=row.on_loss,
                owner=row.urn,
                user_endpoint_config=_document(row.user_endpoint_config),
                resource_specification=_document(row.resource_specification),
            ),
            row.function_no,
        )
        for row in tx.execute(query)
    ]


def _document(text: str | None) -> dict[str, Json]:
    return {} if text is None else loads_trusted(text)
