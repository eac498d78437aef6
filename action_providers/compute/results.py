"""What finished tasks mean for their action: task documents in, details out. Pure."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping, Sequence

from compute_agent.framing import FramingError, describe, is_pickle, read_json
from compute_agent.wire import FINAL_STATES
from schemas.errors import InvalidJson, ServiceError
from schemas.json_text import Json, loads, size_bytes

from ..carrier import MAX_DETAILS_BYTES
from ..provider import Failed, Outcome, Succeeded

#: What the details of an action say of a task besides its result.
_BYTES_BESIDES = 120
#: Most bytes of errors together, and of the results beside them; each error is left at least so many characters, while
#: there is room.
_ERRORS_BYTES, _BESIDE_ERRORS_BYTES, _ERROR_CHARS = 200_000, 150_000, 300

#: Names a function for people, by its id.
NameOf = Callable[[str], str]


class NotForFlows(Exception):
    """A result cannot enter a flow. The text completes "its result ..."."""

    def __init__(self, code: str, reason: str) -> None:
        super().__init__(reason)
        self.code = code


def room_for(tasks: int) -> int:
    """Most bytes of the results of so many tasks together: an action's details hold each in two places."""
    return (MAX_DETAILS_BYTES - (tasks + 10) * _BYTES_BESIDES) // 2


def is_final(task: Mapping[str, Json]) -> bool:
    return task["state"] in FINAL_STATES


def outcome(tasks: Sequence[Mapping[str, Json]], head: Mapping[str, Json], name_of: NameOf) -> Outcome:
    """What becomes of an action whose tasks have all ended. ``head`` begins its details."""
    room = room_for(len(tasks))
    read = [_read(task, room) for task in tasks]
    failures = [(task, one["code"]) for task, one in zip(tasks, read, strict=True) if "code" in one]
    if failures:
        return _failed(tasks, read, failures, head, name_of)
    outputs = [one["output"] for one in read]
    if (size := size_bytes(outputs)) > room:
        return Failed({**head, **too_large(size, tasks, name_of)})
    results = [{"task_id": task["task_id"], "output": output} for task, output in zip(tasks, outputs, strict=True)]
    return Succeeded({**head, "result": outputs, "results": results})


def too_large(size: int, tasks: Sequence[Mapping[str, Json]], name_of: NameOf) -> dict[str, Json]:
    """``{"code", "description"}`` for results that have grown beyond what an action holds."""
    name = name_of(str(tasks[0].get("function_id") or ""))
    return {
        "code": "ResultTooLarge",
        "description": f"The results of the tasks, of {name} for one, have {size} bytes or more together; a flow can take "
        f"{room_for(len(tasks))}. Write large data to a file and return its path",
    }


def refused(error: ServiceError, head: Mapping[str, Json]) -> Failed:
    """The compute service refused something."""
    description = (
        error.detail
        if isinstance(error.detail, str)
        else "; ".join(f"{'.'.join(map(str, one.loc))}: {one.msg}" for one in error.detail)
    )
    return Failed({**head, "code": error.code, "description": description})


def _read(task: Mapping[str, Json], room: int) -> dict[str, Json]:
    """``{"output"}``, or ``{"code", "exception"}`` of a task without a result that a flow can take."""
    if task["status"] != "success":
        error = task.get("error") or {}
        text = task.get("exception") or error.get("message") or task.get("reason") or "the task ended without a result"
        return {"code": str(error.get("code") or "TaskFailed"), "exception": str(text)}
    try:
        return {"output": _json(str(task.get("result") or ""), room)}
    except NotForFlows as why:
        return {"code": why.code, "exception": f"The function succeeded, but its result {why}"}


def _json(text: str, room: int) -> Json:
    if len(text) > room:
        raise NotForFlows(
            "ResultTooLarge",
            f"has {len(text)} characters; a flow can take {room}. Write large data to a file and return its path",
        )
    try:
        # Written and read again: what enters a flow has passed the strict reader, whoever made it.
        return loads(json.dumps(read_json(text)), what="it", max_text_chars=room)
    except (FramingError, InvalidJson, ValueError, RecursionError) as error:
        raise NotForFlows("ResultNotJson", _why_not_json(text, error)) from error


def _why_not_json(text: str, error: Exception) -> str:
    if is_pickle(text):
        what = f"is no JSON ({describe(text)})"
    else:
        reason = getattr(error, "detail", None) or (
            str(error) if isinstance(error, FramingError) else "nested too deeply"
        )
        what = f"cannot enter a flow: {reason}"
    return f"{what}. Return values that JSON has: dictionaries with text keys, lists, text, numbers, true, false, null"


def _failed(
    tasks: Sequence[Mapping[str, Json]],
    read: Sequence[Mapping[str, Json]],
    failures: Sequence[tuple[Mapping[str, Json], Json]],
    head: Mapping[str, Json],
    name_of: NameOf,
) -> Failed:
    first, code = failures[0]
    place = tasks.index(first)
    which = (
        "The task" if len(tasks) == 1 else f"{len(failures)} of {len(tasks)} tasks failed; the first, number {place},"
    )
    reason = _last_line(str(read[place]["exception"]))
    results = [
        {"task_id": task["task_id"], **kept} for task, kept in zip(tasks, _kept(read, len(failures)), strict=True)
    ]
    description = f"{which} of {name_of(str(first.get('function_id') or ''))} ended with {code}: {reason}"
    return Failed({**head, "code": code, "description": description, "results": results})


def _kept(read: Sequence[Mapping[str, Json]], failures: int) -> Iterator[dict[str, Json]]:
    """What of each result and error fits into the details of an action that failed."""
    errors, outputs = _ERRORS_BYTES, _BESIDE_ERRORS_BYTES
    most = max(_ERROR_CHARS, _ERRORS_BYTES // failures // 2)  # of mostly ASCII text
    for one in read:
        if "code" in one:
            exception = _cut(str(one["exception"]), most)
            if size_bytes(exception) > errors:
                exception = _cut(exception, _ERROR_CHARS)
            errors -= size_bytes(exception)
            yield {"code": one["code"], **({"exception": exception} if errors >= 0 else {})}
        else:
            outputs -= size_bytes(one["output"])
            yield {"output": one["output"]} if outputs >= 0 else {}


def _last_line(text: str) -> str:
    """The line of a traceback that says what happened."""
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    return _cut(lines[-1] if lines else "no reason was given", 500)


def _cut(text: str, most: int) -> str:
    """Beginning and end of a long text."""
    if len(text) <= most:
        return text
    half = (most - 5) // 2
    return f"{text[:half]} ... {text[-half:]}"
