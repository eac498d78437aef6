"""Use cases of tasks, for the users who submitted them: look, list, wait for results, cancel."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence

from sqlalchemy import Connection

from schemas.json_text import Json
from schemas.principals import Caller
from schemas.times import from_us

from ..wire import LONGEST_WAIT_S, MIB, ErrorCode, TaskError, TaskState
from .desk import Changes, Desk, group_topic
from .documents import short_task_document, task_document, unknown_task_document
from .members import checked_uuid
from .refusals import malformed, not_found
from .requests import read_task_ids
from .rows import endings, endpoints, groups, users, views
from .rows import tasks as rows
from .rows.endings import Ending
from .rows.groups import Group
from .rows.tasks import Task

#: About so many bytes of results come in one answer.
_MOST_BYTES = 16 * MIB
#: So many tasks are cancelled in one transaction.
_PORTION = 5_000


class Tasks:
    def __init__(self, desk: Desk) -> None:
        self._desk = desk

    def get(self, caller: Caller, task_id: str) -> dict[str, Json]:
        identifier = checked_uuid(task_id, "the task's id")
        with self._desk.db.read() as tx:
            view = views.by_ids(tx, [identifier], _numbers(tx, caller)).get(identifier)
        if view is None:
            raise not_found("TASK", identifier)
        return task_document(view)

    def get_many(self, caller: Caller, task_ids: Json, *, most_bytes: int | None) -> dict[str, dict[str, Json]]:
        wanted: Sequence[str] = read_task_ids(task_ids)
        with self._desk.db.read() as tx:
            user_nos = _numbers(tx, caller)
            if most_bytes is not None:
                wanted = _that_fit(wanted, views.result_sizes(tx, wanted, user_nos), most_bytes)
            found = views.by_ids(tx, wanted, user_nos)
        now = self._desk.now_us()
        return {
            task_id: task_document(found[task_id]) if task_id in found else unknown_task_document(task_id, now_us=now)
            for task_id in wanted
        }

    def get_group(self, caller: Caller, task_group_id: str) -> dict[str, Json]:
        with self._desk.db.read() as tx:
            group = _group(tx, caller, task_group_id)
            listed = views.of_group(tx, group.group_no)
        return {
            "taskgroup_id": group.group_id,
            "create_websockets_queue": True,
            "tasks": [
                {"id": task_id, "created_at": from_us(at).replace(tzinfo=None).isoformat(timespec="microseconds")}
                for task_id, at in listed
            ],
        }

    def list(
        self, caller: Caller, *, endpoint_id: str | None, state: str | None, marker: int | None, limit: int
    ) -> dict[str, Json]:
        wanted = None if endpoint_id is None else checked_uuid(endpoint_id, "endpoint_id")
        with self._desk.db.read() as tx:
            found = views.newest(
                tx,
                _numbers(tx, caller),
                endpoint_id=wanted,
                state=_state(state),
                before=marker,
                limit=limit,
            )
        last = found[-1].task_no if len(found) == limit else None
        return {"tasks": [short_task_document(one) for one in found], "marker": last}

    def results(self, caller: Caller, task_group_id: str, *, after: int, limit: int) -> dict[str, Json]:
        with self._desk.db.read() as tx:
            # The group first: what ends between the two statements counts as unfinished and is seen the next time.
            group = _group(tx, caller, task_group_id)
            found = views.finished(tx, group.group_no, after=after, limit=limit, most_bytes=_MOST_BYTES)
        last = found[-1].finish_no if found else None
        return {
            "results": [task_document(view) for view in found],
            "marker": after if last is None else last,
            "unfinished": group.unfinished,
        }

    def wait_for_results(
        self, caller: Caller, task_group_id: str, *, after: int, limit: int, wait_s: float
    ) -> dict[str, Json]:
        until = time.monotonic() + min(wait_s, LONGEST_WAIT_S)
        with self._desk.news.listen(group_topic(checked_uuid(task_group_id, "the task group's id"))) as listener:
            while True:
                found = self.results(caller, task_group_id, after=after, limit=limit)
                left_s = until - time.monotonic()
                if found["results"] or not found["unfinished"] or left_s <= 0 or self._desk.news.is_closed:
                    return found
                listener.wait(self._desk.pause_s(left_s))

    def cancel(self, caller: Caller, task_ids: Json) -> dict[str, str]:
        wanted = read_task_ids(task_ids)
        with self._desk.db.read() as tx:
            user_nos = frozenset(_numbers(tx, caller))
            found = rows.by_ids(tx, wanted)
        for task_id in wanted:
            if task_id not in found or found[task_id].user_no not in user_nos:
                raise not_found("TASK", task_id)
        states: dict[str, str] = {}
        for start in range(0, len(wanted), _PORTION):
            some = wanted[start : start + _PORTION]
            states |= self._cancel(some, sorted({found[task_id].endpoint_no for task_id in some}))
        return states

    def cancel_group(self, caller: Caller, task_group_id: str) -> dict[str, str]:
        with self._desk.db.read() as tx:
            group = _group(tx, caller, task_group_id)
        states: dict[str, str] = {}
        while True:
            with self._desk.db.read() as tx:
                some = rows.unfinished_of_group(tx, group.group_no, _PORTION)
                endpoint_nos = sorted({task.endpoint_no for task in rows.by_ids(tx, some).values()})
            if not some:
                return states
            states |= self._cancel(some, endpoint_nos)

    def _cancel(self, task_ids: Sequence[str], endpoint_nos: Sequence[int]) -> dict[str, str]:
        """The states after it."""
        now = self._desk.now_us()
        error = TaskError(ErrorCode.CANCELLED, "the task was cancelled by its owner")
        with self._desk.db.begin() as tx:
            endpoint_ids = endpoints.lock_numbers(tx, endpoint_nos)
            current = rows.by_ids(tx, task_ids)
            open_tasks = [task for task in current.values() if not task.state.is_final]
            ended = [Ending(task=task, state=TaskState.CANCELLED, error=error, tell_agent=True) for task in open_tasks]
            group_ids = endings.write(tx, ended, now=now)
        self._desk.announce(Changes(endpoints=_of_holders(open_tasks, endpoint_ids), groups=group_ids))
        cancelled = {task.task_id: TaskState.CANCELLED.value for task in open_tasks}
        return {task_id: task.state.value for task_id, task in current.items()} | cancelled


def _that_fit(task_ids: Sequence[str], sizes: Mapping[str, int], most_bytes: int) -> Sequence[str]:
    """The first of the tasks, at least one."""
    for i, task_id in enumerate(task_ids):
        most_bytes -= sizes.get(task_id, 0)
        if most_bytes < 0 and i:
            return task_ids[:i]
    return task_ids


def _state(name: str | None) -> TaskState | None:
    try:
        return None if name is None else TaskState(name)
    except ValueError as error:
        raise malformed(f"state must be one of {', '.join(TaskState)}, not {name!r:.40}", "state") from error


def _of_holders(cancelled: Sequence[Task], endpoint_ids: dict[int, str]) -> set[str]:
    """The endpoints whose agents have some of these tasks."""
    return {endpoint_ids[task.endpoint_no] for task in cancelled if task.held_by is not None}


def _numbers(tx: Connection, caller: Caller) -> list[int]:
    """The caller as a submitter, under each of its identities."""
    return list(users.numbers(tx, caller.principals).values())


def _group(tx: Connection, caller: Caller, task_group_id: str) -> Group:
    identifier = checked_uuid(task_group_id, "the task group's id")
    group = groups.load(tx, identifier)
    if group is None or group.user_no not in _numbers(tx, caller):
        raise not_found("TASK_GROUP", identifier)
    return group
