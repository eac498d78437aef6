"""What version 2 of the Compute API says in another form than version 3 (``globus_sdk.ComputeClientV2``). Pure.

A submission of version 2 names function, endpoint and packed arguments for every task; of version 3 it is for one
endpoint and sorted by function.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from schemas.errors import ServiceError
from schemas.json_text import Json

_TASKS = "tasks must be a list of lists [function id, endpoint id, packed arguments], at least one"


@dataclass(slots=True)
class Part:
    """The tasks of one endpoint; ``places`` are where they stood in the request, by function and in its order."""

    endpoint_id: str
    tasks: dict[str, list[Json]] = field(default_factory=dict)
    places: dict[str, list[int]] = field(default_factory=dict)


def parts(body: Mapping[str, Json]) -> list[Part]:
    """A submission, endpoint by endpoint.

    Raises:
        ServiceError: 422 ``SEMANTICALLY_INVALID`` when the tasks are not in the form of version 2.
    """
    tasks = body.get("tasks")
    if not isinstance(tasks, list) or not tasks:
        raise ServiceError(422, "SEMANTICALLY_INVALID", _TASKS)
    found: dict[str, Part] = {}
    for place, task in enumerate(tasks):
        if not isinstance(task, list) or len(task) != 3 or not all(isinstance(one, str) for one in task):
            raise ServiceError(422, "SEMANTICALLY_INVALID", f"tasks.{place}: {_TASKS}")
        function_id, endpoint_id, payload = task
        part = found.setdefault(endpoint_id, Part(endpoint_id))
        part.tasks.setdefault(function_id, []).append(payload)
        part.places.setdefault(function_id, []).append(place)
    return list(found.values())


def body_of_part(part: Part, body: Mapping[str, Json], task_group_id: Json) -> dict[str, Json]:
    """The submission of version 3 for one endpoint."""
    group = {} if task_group_id is None else {"task_group_id": task_group_id}
    return {**body, **group, "tasks": part.tasks}


def accepted(part: Part, answer: Mapping[str, Json]) -> dict[int, dict[str, Json]]:
    """Results by place in the request, of what version 3 answered."""
    return {
        place: {"status": "success", "task_uuid": task_id, "http_status_code": 200, "reason": None}
        for function_id, places in part.places.items()
        for place, task_id in zip(places, answer["tasks"][function_id], strict=True)
    }


def refused(part: Part, error: ServiceError) -> dict[int, dict[str, Json]]:
    """Results by place in the request, of a part that was not accepted."""
    result = {"status": "failed", "task_uuid": None, "http_status_code": error.status, "reason": str(error)}
    return {place: result for places in part.places.values() for place in places}


def registration(body: Mapping[str, Json]) -> tuple[dict[str, Json], str | None]:
    """The registration of version 3 and the endpoint's id, which version 2 takes in the body."""
    members = dict(body)
    endpoint_id = members.pop("endpoint_uuid", None)
    if not (endpoint_id is None or isinstance(endpoint_id, str)):
        raise ServiceError(400, "INVALID_UUID", "endpoint_uuid must be the id of an endpoint as text")
    return members, endpoint_id
