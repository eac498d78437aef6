"""The calls that a body asks for, and the submissions that they make. Pure."""

from __future__ import annotations

import uuid
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from compute_agent.framing import pack_json_arguments
from schemas.json_text import Json


@dataclass(frozen=True, slots=True, kw_only=True)
class Call:
    """One task: a function on an endpoint, with its arguments."""

    endpoint_id: str
    function_id: str
    args: Sequence[Json] = ()
    kwargs: Mapping[str, Json] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Order:
    """All calls of an action, and what goes with their submissions. ``group_id`` is the caller's choice, or empty."""

    calls: tuple[Call, ...]
    group_id: str = ""
    options: Mapping[str, Json] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Submission:
    """What one endpoint is sent; ``places`` are those of its tasks among the calls, function by function."""

    endpoint_id: str
    body: dict[str, Json]
    places: Mapping[str, Sequence[int]]

    def task_ids(self, answer: Mapping[str, Json]) -> Iterator[tuple[int, str]]:
        """Place and id of every task, from the service's answer, which is in the order of the submission."""
        for function_id, places in self.places.items():
            yield from zip(places, answer["tasks"][function_id], strict=True)


def order_v2(body: Mapping[str, Json]) -> Order:
    """The call at the root comes first, then those of ``tasks``."""
    described = [body] if "function" in body else []
    described.extend(body.get("tasks", ()))
    calls = (
        Call(
            endpoint_id=_normal(one["endpoint"]),
            function_id=_normal(one["function"]),
            args=one.get("args", ()),
            kwargs=one.get("kwargs", {}),
        )
        for one in described
    )
    return Order(calls=tuple(calls))


def order_v3(body: Mapping[str, Json]) -> Order:
    calls = (
        Call(
            endpoint_id=_normal(body["endpoint_id"]),
            function_id=_normal(one["function_id"]),
            args=one.get("args", ()),
            kwargs=one.get("kwargs", {}),
        )
        for one in body["tasks"]
    )
    return Order(
        calls=tuple(calls),
        group_id=_normal(body["task_group_id"]) if "task_group_id" in body else "",
        options={name: body[name] for name in ("user_endpoint_config", "resource_specification") if name in body},
    )


def submissions(order: Order, action_id: str) -> list[Submission]:
    """One for each endpoint. Group and ``submission_id`` follow from the action, so that a repeated submission is known
    to be one."""
    by_endpoint: dict[str, dict[str, list[int]]] = defaultdict(lambda: defaultdict(list))
    for place, call in enumerate(order.calls):
        by_endpoint[call.endpoint_id][call.function_id].append(place)
    return [
        Submission(
            endpoint_id=endpoint_id,
            body={
                "task_group_id": group_of(order, action_id),
                "submission_id": str(uuid.uuid5(uuid.UUID(action_id), endpoint_id)),
                "tasks": {
                    function_id: [pack_json_arguments(order.calls[at].args, order.calls[at].kwargs) for at in places]
                    for function_id, places in functions.items()
                },
                **order.options,
            },
            places=functions,
        )
        for endpoint_id, functions in by_endpoint.items()
    ]


def group_of(order: Order, action_id: str) -> str:
    """The task group of an action: the one that the caller named, else one with the action's own id."""
    return order.group_id or action_id


def _normal(identifier: str) -> str:
    return str(uuid.UUID(identifier))
