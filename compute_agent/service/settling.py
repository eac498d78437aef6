"""What becomes of tasks whose agent has them no more. Called within a transaction that has locked their endpoint."""

from __future__ import annotations

from collections.abc import Sequence

from sqlalchemy import Connection

from ..wire import ErrorCode, TaskError, TaskState
from .rows import endings, tasks
from .rows.endings import Ending
from .rows.tasks import Task


def ending_of_lost(task: Task, error: TaskError) -> Ending | None:
    """How a lost task ends, or None when it is to be queued again."""
    if task.on_loss != "requeue":
        return Ending(task=task, state=TaskState.LOST, error=error)
    if task.requeues < task.max_requeues:
        return None
    message = (
        f"{error.message}\nThe task was queued again {task.requeues} times after a loss, as its function asks for, and "
        f"lost again; {task.max_requeues} is its limit."
    )
    return Ending(task=task, state=TaskState.LOST, error=TaskError(error.code, message))


def settle_lost(tx: Connection, lost: Sequence[Task], reason: str, *, now: int) -> tuple[set[str], bool]:
    """End or queue again: the ids of the groups in which tasks ended, and whether something was queued."""
    ended: list[Ending] = []
    again: list[int] = []
    for task in lost:
        ending = ending_of_lost(task, TaskError(ErrorCode.AGENT_LOST, reason))
        if ending is None:
            again.append(task.task_no)
        else:
            ended.append(ending)
    tasks.requeue(tx, again)
    return endings.write(tx, ended, now=now), bool(again)
