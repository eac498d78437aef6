"""The two Compute providers. ``run`` submits, ``advance`` looks whether all tasks have ended.

Between the two nobody asks: the service says which groups have news, and the kit nudges the action. The ``due`` that an
action keeps all the same is for what is missed when the server dies in between, and for groups of the caller's choice.
"""

from __future__ import annotations

import contextlib
from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Any, ClassVar

from compute_agent.service.compute import ComputeService
from schemas.errors import ServiceError
from schemas.json_text import Json
from schemas.principals import Caller

from ..provider import Action, ActionProvider, Active, Description, Failed, Outcome, Work
from .calls import Order, group_of, order_v2, order_v3, submissions
from .documents import INPUT_SCHEMA_V2, INPUT_SCHEMA_V3, KEYWORDS, SCOPE, adapt_v2
from .results import is_final, outcome, refused, room_for, too_large

#: Task documents that are read at once: their results may be 10 MiB each.
_READ_AT_ONCE = 10
#: A marker that no result comes after: asks for the number of unfinished tasks alone.
_AFTER_ALL = 2**31 - 1
#: How soon an action looks by itself, if nothing is heard. It grows with the action's age.
_SOONEST, _LATEST = timedelta(seconds=10), timedelta(seconds=60)
_SOONEST_IN_FOREIGN_GROUP, _LATEST_IN_FOREIGN_GROUP = timedelta(seconds=1), timedelta(seconds=15)


class _Functions(ActionProvider):
    """What both versions do. ``state`` is ``{"tasks": [ids in the order of the calls], "finished": n}``."""

    def __init__(self, service: ComputeService) -> None:
        self._service = service

    def order(self, body: Mapping[str, Json]) -> Order:
        raise NotImplementedError

    def run(self, action: Action, now: datetime) -> Outcome:
        """Submit. All or nothing: when one endpoint refuses, the tasks of the others are cancelled."""
        order = self.order(action.body)
        task_ids = [""] * len(order.calls)
        try:
            for submission in submissions(order, action.action_id):
                answer = self._service.submit(action.caller, submission.endpoint_id, submission.body)
                for place, task_id in submission.task_ids(answer):
                    task_ids[place] = task_id
        except ServiceError as error:
            if error.status >= 500:
                raise
            self._cancel(action, order, [task_id for task_id in task_ids if task_id])
            return refused(error, {})
        return self._waiting(action, order, task_ids, finished=0, now=now)

    def advance(self, action: Action, work: Work) -> Outcome:
        order = self.order(action.body)
        task_ids: list[str] = action.state["tasks"]
        head = {"task_group_id": group_of(order, action.action_id)}
        try:
            finished = self._finished(action, order, task_ids)
            if finished < len(task_ids):
                return self._waiting(action, order, task_ids, finished=finished, now=work.now)
            return self._outcome(action.caller, task_ids, head)
        except ServiceError as error:
            if error.status >= 500:
                raise
            return refused(error, head)

    def cancel(self, action: Action, now: datetime) -> Outcome:  # noqa: ARG002 - part of the contract
        order = self.order(action.body)
        self._cancel(action, order, [] if action.state is None else action.state["tasks"])
        head = {"task_group_id": group_of(order, action.action_id)}
        description = "The action was canceled by the user, and its unfinished tasks with it"
        return Failed({**head, "code": "Canceled", "description": description})

    def _cancel(self, action: Action, order: Order, task_ids: list[str]) -> None:
        """Cancel what is unfinished. A group of our own may hold tasks of a try that died, whose ids we do not know."""
        with contextlib.suppress(ServiceError):  # nothing is there to be cancelled; the action ends all the same
            if not order.group_id:
                self._service.cancel_group(action.caller, action.action_id)
            elif task_ids:
                self._service.cancel_tasks(action.caller, task_ids)

    def _waiting(self, action: Action, order: Order, task_ids: list[str], *, finished: int, now: datetime) -> Active:
        soonest, latest = (
            (_SOONEST_IN_FOREIGN_GROUP, _LATEST_IN_FOREIGN_GROUP) if order.group_id else (_SOONEST, _LATEST)
        )
        wait = min(max(soonest, (now - action.started_at) / 4), latest)
        group_id = group_of(order, action.action_id)
        return Active(
            {"task_group_id": group_id, "tasks": len(task_ids), "finished": finished},
            due=now + wait,
            state={"tasks": task_ids, "finished": finished},
        )

    def _finished(self, action: Action, order: Order, task_ids: list[str]) -> int:
        """How many of the tasks have ended. In a group that holds others too, only up to the first that has not."""
        if not order.group_id:
            answer = self._service.results(action.caller, action.action_id, after=_AFTER_ALL, limit=1)
            return len(task_ids) - int(answer["unfinished"])
        finished: int = action.state["finished"]
        while finished < len(task_ids) and is_final(self._service.get_task(action.caller, task_ids[finished])):
            finished += 1
        return finished

    def _outcome(self, caller: Caller, task_ids: list[str], head: Mapping[str, Json]) -> Outcome:
        tasks: list[dict[str, Any]] = []
        size = 0

        def name_of(function_id: str) -> str:
            return self._name_of(caller, function_id)

        for at in range(0, len(task_ids), _READ_AT_ONCE):
            found = self._service.get_tasks(caller, task_ids[at : at + _READ_AT_ONCE])
            tasks.extend({"task_id": task_id, **found[task_id]} for task_id in task_ids[at : at + _READ_AT_ONCE])
            size += sum(len(str(one.get("result") or "")) for one in found.values())
            if size > room_for(len(task_ids)) and len(tasks) < len(task_ids):
                return Failed({**head, **too_large(size, tasks, name_of)})
        return outcome(tasks, head, name_of)

    def _name_of(self, caller: Caller, function_id: str) -> str:
        try:
            name = str(self._service.get_function(caller, function_id)["function_name"])
        except ServiceError:  # it was deleted since
            return f"the function {function_id}"
        return f"the function {name} ({function_id})"


class Compute(_Functions):
    """Version 2: each call names its endpoint."""

    description: ClassVar[Description] = Description(
        path="compute",
        title="Compute",
        subtitle="Calls functions on compute endpoints",
        description="Calls registered functions with JSON arguments on compute endpoints, waits for all of them, and "
        "gives what they returned as details.result, in the order of the calls.",
        keywords=KEYWORDS,
        scope=SCOPE,
        synchronous=False,
        input_schema=INPUT_SCHEMA_V2,
    )

    def adapt(self, body: Json) -> Json:
        return adapt_v2(body)

    def order(self, body: Mapping[str, Json]) -> Order:
        return order_v2(body)


class ComputeV3(_Functions):
    """Version 3: one endpoint, many calls."""

    description: ClassVar[Description] = Description(
        path="compute/v3",
        title="Compute v3",
        subtitle="Calls functions on one compute endpoint",
        description="Calls registered functions with JSON arguments on one compute endpoint, which may be configured for "
        "them, waits for all of them, and gives what they returned as details.result, in the order of the calls.",
        keywords=KEYWORDS,
        scope=SCOPE,
        synchronous=False,
        input_schema=INPUT_SCHEMA_V3,
    )

    def order(self, body: Mapping[str, Json]) -> Order:
        return order_v3(body)
