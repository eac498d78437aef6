"""Use cases of an endpoint's agent within its session: lease, heartbeat, report, leave.

Each begins by locking the endpoint and making sure that the session is the current one.
"""

from __future__ import annotations

import time
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field, replace

from sqlalchemy import Connection

from schemas.json_text import Json
from schemas.principals import Caller

from ..wire import MIB, Assignment, FunctionCode, Outcome, TaskState
from . import access
from .agent_calls import LeaseCall, ReportCall, read_heartbeat, read_lease, read_leave, read_report
from .desk import Changes, Desk, endpoint_topic, microseconds
from .endpoints import visible
from .members import checked_uuid
from .refusals import forbidden, session_ended, stale_call
from .rows import endings, endpoints, functions, tasks
from .rows.endings import Ending
from .rows.endpoints import Endpoint
from .rows.tasks import Task
from .settling import ending_of_lost, settle_lost

#: About so many bytes of payloads come in one answer, and about so many of functions.
_MOST_BYTES = 16 * MIB
_MOST_CANCELS = 5_000


@dataclass(slots=True)
class _Verdict:
    """What a report comes to."""

    accepted: list[str] = field(default_factory=list)
    refused: dict[str, str] = field(default_factory=dict)
    ended: list[Ending] = field(default_factory=list)
    given_back: list[int] = field(default_factory=list)
    requeued: list[int] = field(default_factory=list)


class Agents:
    def __init__(self, desk: Desk) -> None:
        self._desk = desk

    def lease(self, caller: Caller, endpoint_id: str, body: Json) -> dict[str, Json]:
        """A later call of the same session ends the wait of an earlier one, whose answer nobody would hear."""
        identifier, call = checked_uuid(endpoint_id, "the endpoint's id"), read_lease(body)
        until = time.monotonic() + call.wait_s
        with self._desk.news.listen(endpoint_topic(identifier)) as listener:
            batch, answer, was_stopping = self._first_look(caller, identifier, call)
            while not answer["tasks"] and not answer["cancel"] and not self._desk.news.is_closed:
                if answer["stop"] and not was_stopping:
                    break
                left_s = until - time.monotonic()
                if left_s <= 0:
                    break
                listener.wait(self._desk.pause_s(left_s))
                answer = self._look_again(caller, identifier, call, batch)
                if answer["batch"] != batch:
                    break
        return answer | {"batch": batch}

    def heartbeat(self, caller: Caller, endpoint_id: str, body: Json) -> dict[str, Json]:
        identifier, call = checked_uuid(endpoint_id, "the endpoint's id"), read_heartbeat(body)
        now = self._desk.now_us()
        changes = Changes()
        with self._desk.db.begin() as tx:
            endpoint = _current(endpoints.lock(tx, identifier), caller, identifier, call.session)
            endpoints.heartbeat(tx, endpoint.endpoint_no, call.status, now=now)
            held = tasks.held(tx, endpoint.endpoint_no)
            known = {task.task_id for task in held}
            others = tasks.by_ids(tx, call.held - known)
            cancelled = _cancelled(others, endpoint)
            self._compare(tx, held, call.held, changes, now, identifier)
        self._desk.announce(changes)
        return {
            "cancel": sorted(cancelled),
            "unknown": sorted(call.held - known - cancelled),
            "stop": endpoint.stop_wanted,
        }

    def report(self, caller: Caller, endpoint_id: str, body: Json) -> dict[str, Json]:
        identifier, call = checked_uuid(endpoint_id, "the endpoint's id"), read_report(body)
        now = self._desk.now_us()
        with self._desk.db.begin() as tx:
            endpoint = _current(endpoints.lock(tx, identifier), caller, identifier, call.session)
            endpoints.heard(tx, endpoint.endpoint_no, now=now)
            found = tasks.by_ids(tx, call.outcomes.keys() | call.running)
            mine = {task_id: task for task_id, task in found.items() if task.endpoint_no == endpoint.endpoint_no}
            verdict = _judge(call, mine)
            ended = set(call.outcomes)
            self._begin(tx, [task for task in mine.values() if task.task_id not in ended], call.running, now)
            tasks.give_back(tx, verdict.given_back)
            tasks.requeue(tx, verdict.requeued)
            groups = endings.write(tx, verdict.ended, now=now)
        queued = {identifier} if verdict.given_back or verdict.requeued else set()
        self._desk.announce(Changes(endpoints=queued, groups=groups))
        return {"accepted": verdict.accepted, "refused": verdict.refused}

    def leave(self, caller: Caller, endpoint_id: str, body: Json) -> dict[str, Json]:
        identifier, call = checked_uuid(endpoint_id, "the endpoint's id"), read_leave(body)
        now = self._desk.now_us()
        with self._desk.db.begin() as tx:
            endpoint = _owned(endpoints.lock(tx, identifier), caller, identifier)
            if endpoint.session != call.session:
                raise session_ended(identifier)
            endpoints.stop(tx, endpoint.endpoint_no, now=now)
            if call.received is not None:
                tasks.give_back_undelivered(tx, endpoint.endpoint_no, received=call.received)
            held = tasks.held(tx, endpoint.endpoint_no)
            groups, _ = settle_lost(tx, held, "the agent of the endpoint stopped while it held the task", now=now)
        self._desk.announce(Changes(endpoints={identifier}, groups=groups))
        return {}

    def _first_look(self, caller: Caller, endpoint_id: str, call: LeaseCall) -> tuple[int, dict[str, Json], bool]:
        """Number the call and give it what there is; whether the endpoint was to stop already."""
        now = self._desk.now_us()
        with self._desk.db.begin() as tx:
            endpoint = _current(endpoints.lock(tx, endpoint_id), caller, endpoint_id, call.session)
            if call.call <= endpoint.lease_call:
                raise stale_call(call.call, endpoint.lease_call)
            if call.received < endpoint.batch:
                tasks.give_back_undelivered(tx, endpoint.endpoint_no, received=call.received)
            tasks.forget_cancels(tx, endpoint.endpoint_no, told_until=call.received)
            batch = endpoints.next_batch(tx, endpoint, call=call.call, now=now)
            answer = self._give(tx, endpoint, call, batch, now)
        return batch, answer, endpoint.stop_wanted

    def _look_again(self, caller: Caller, endpoint_id: str, call: LeaseCall, batch: int) -> dict[str, Json]:
        """As ``_first_look`` for a call that waits; it writes only if there seems to be something to give."""
        with self._desk.db.read() as tx:
            endpoint = _current(endpoints.load(tx, endpoint_id), caller, endpoint_id, call.session)
            if (
                endpoint.batch != batch
                or endpoint.stop_wanted
                or not tasks.has_news_for_agent(tx, endpoint.endpoint_no)
            ):
                return _answer(endpoint.batch, endpoint)
        now = self._desk.now_us()
        with self._desk.db.begin() as tx:
            endpoint = _current(endpoints.lock(tx, endpoint_id), caller, endpoint_id, call.session)
            if endpoint.batch != batch:
                return _answer(endpoint.batch, endpoint)
            return self._give(tx, endpoint, call, batch, now)

    def _give(self, tx: Connection, endpoint: Endpoint, call: LeaseCall, batch: int, now: int) -> dict[str, Json]:
        cancelled = tasks.tell_cancels(tx, endpoint.endpoint_no, batch=batch, limit=_MOST_CANCELS)
        if endpoint.stop_wanted or call.limit == 0:
            return _answer(batch, endpoint, cancelled=cancelled)
        given = tasks.lease(
            tx,
            endpoint.endpoint_no,
            session=endpoint.session,
            batch=batch,
            limit=call.limit,
            most_bytes=_MOST_BYTES,
            known=call.functions_known,
            now=now,
        )
        needed = {function_no for one, function_no in given if one.function_id not in call.functions_known}
        code = functions.codes(tx, needed) if needed else []
        return _answer(batch, endpoint, given=[one for one, _ in given], code=code, cancelled=cancelled)

    def _begin(self, tx: Connection, held: Collection[Task], running: Collection[str], now: int) -> None:
        leased = [task.task_no for task in held if task.state is TaskState.LEASED and task.task_id in running]
        tasks.begin(tx, leased, now=now)

    def _compare(
        self,
        tx: Connection,
        held: Collection[Task],
        named: Collection[str],
        changes: Changes,
        now: int,
        endpoint_id: str,
    ) -> None:
        """Renew the lease of what the agent names; what it has not named for too long is taken from it."""
        seen = [task.task_no for task in held if task.task_id in named and task.unseen_since is not None]
        unnamed = [task for task in held if task.task_id not in named]
        tasks.mark_seen(tx, seen)
        tasks.mark_unseen(tx, [task.task_no for task in unnamed if task.unseen_since is None], since=now)
        lease_us = microseconds(self._desk.settings.lease_s)
        lost = [task for task in unnamed if task.unseen_since is not None and task.unseen_since + lease_us <= now]
        reason = f"the agent of the endpoint has not mentioned the task for {self._desk.settings.lease_s:g} s"
        groups, is_queued = settle_lost(tx, lost, reason, now=now)
        changes.groups |= groups
        if is_queued:
            changes.endpoints.add(endpoint_id)


def _judge(call: ReportCall, mine: Mapping[str, Task]) -> _Verdict:
    """What to believe of a report, given the endpoint's tasks that it names."""
    verdict = _Verdict(refused=dict(call.refused))
    for task_id, outcome in call.outcomes.items():
        task = mine.get(task_id)
        if task is None:
            verdict.refused[task_id] = "this endpoint has no such task; it may have ended long ago"
        elif reason := _why_not(task, outcome):
            verdict.refused[task_id] = reason
        else:
            verdict.accepted.append(task_id)
            _take(verdict, task, outcome)
    return verdict


def _why_not(task: Task, outcome: Outcome) -> str | None:
    """Why an outcome is not believed. A repeated one is, and so is one that says no more than is known."""
    if task.state is TaskState.CANCELLED and outcome.state is not TaskState.CANCELLED:
        return "the task was cancelled"
    if task.state.is_final:
        return (
            None if task.fence == outcome.fence and task.state is outcome.state else f"the task is {task.state} already"
        )
    if outcome.fence < task.fence and outcome.state in (TaskState.QUEUED, TaskState.LOST):
        return None
    if outcome.fence != task.fence or task.held_by is None:
        return f"the task was taken from this agent meanwhile and is {task.state}"
    return None


def _take(verdict: _Verdict, task: Task, outcome: Outcome) -> None:
    if task.state.is_final or outcome.fence != task.fence or task.held_by is None:
        return  # a repetition
    if outcome.state is TaskState.QUEUED:
        verdict.given_back.append(task.task_no)
        return
    ending: Ending | None
    if outcome.state is TaskState.LOST and outcome.error is not None:
        ending = ending_of_lost(task, outcome.error)
    else:
        ending = Ending(task=task, state=outcome.state, result=outcome.result, error=outcome.error)
    if ending is None:
        verdict.requeued.append(task.task_no)
    else:
        verdict.ended.append(replace(ending, details=outcome.details))


def _cancelled(others: Mapping[str, Task], endpoint: Endpoint) -> set[str]:
    return {
        task_id
        for task_id, task in others.items()
        if task.endpoint_no == endpoint.endpoint_no and task.state is TaskState.CANCELLED
    }


def _owned(endpoint: Endpoint | None, caller: Caller, endpoint_id: str) -> Endpoint:
    endpoint = visible(endpoint, caller, endpoint_id)
    if not access.owns(endpoint.owner, caller):
        raise forbidden("ENDPOINT", endpoint_id, f"only the owner of the endpoint {endpoint_id} may run its agent")
    return endpoint


def _current(endpoint: Endpoint | None, caller: Caller, endpoint_id: str, session: int) -> Endpoint:
    """The endpoint, if this is the session of its agent. A locked endpoint's agent may finish what it has."""
    endpoint = _owned(endpoint, caller, endpoint_id)
    has_left = endpoint.stopped_at is not None and not endpoint.stop_wanted
    if endpoint.session != session or has_left:
        raise session_ended(endpoint_id)
    return endpoint


def _answer(
    batch: int,
    endpoint: Endpoint,
    *,
    given: Collection[Assignment] = (),
    code: Collection[FunctionCode] = (),
    cancelled: Collection[str] = (),
) -> dict[str, Json]:
    return {
        "batch": batch,
        "tasks": [one.to_json() for one in given],
        "functions": [one.to_json() for one in code],
        "cancel": list(cancelled),
        "stop": endpoint.stop_wanted,
    }
