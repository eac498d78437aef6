"""The use case of submitting: many tasks at once, in a handful of statements."""

from __future__ import annotations

import uuid
from collections.abc import Mapping

from sqlalchemy import Connection

from schemas.json_text import Json
from schemas.principals import Caller, identity_of
from schemas.times import format_time, from_us

from . import access
from .desk import Changes, Desk
from .endpoints import is_online, visible
from .members import checked_uuid
from .refusals import forbidden, not_found, quota, refusal
from .requests import Submission, read_submission
from .rows import endpoints, functions, groups, submissions, tasks, users
from .rows.endpoints import Endpoint
from .rows.functions import Function
from .rows.tasks import NewTask


class Submitting:
    def __init__(self, desk: Desk) -> None:
        self._desk = desk

    def submit(self, caller: Caller, endpoint_id: str, body: Json) -> dict[str, Json]:
        identifier = checked_uuid(endpoint_id, "the endpoint's id")
        submission = read_submission(body)
        named, sha256 = submission.submission_id, submission.sha256_for(identifier)
        if named is not None and (earlier := self._earlier(caller, named)) is not None:
            return _repeated(earlier, sha256, named)
        user_no = self._user(caller, len(submission.calls))
        now = self._desk.now_us()
        with self._desk.db.begin() as tx:
            # First of all: a repeated submission has its answer, whatever became of the endpoint since.
            if named is not None:
                earlier = submissions.begin(tx, user_no, named, sha256=sha256, now=now)
                if earlier is not None:
                    return _repeated(earlier, sha256, named)
            endpoint = _open_endpoint(tx, caller, identifier, now=now)
            answer = self._store(tx, submission, endpoint, _runnable(tx, caller, endpoint, submission), user_no, now)
            if named is not None:
                submissions.answer(tx, user_no, named, answer)
            self._count(tx, user_no, len(submission.calls))
        self._desk.announce(Changes(endpoints={identifier}))
        return answer

    def _earlier(self, caller: Caller, submission_id: str) -> submissions.Earlier | None:
        """Asked before the quota, which the tasks of the first try count for already."""
        with self._desk.db.read() as tx:
            user_no = users.numbers(tx, [caller.urn]).get(caller.urn)
            return None if user_no is None else submissions.find(tx, user_no, submission_id)

    def _user(self, caller: Caller, new: int) -> int:
        """The caller's number; refuses early what ``_count`` would refuse."""
        with self._desk.db.read() as tx:
            user_no = users.numbers(tx, [caller.urn]).get(caller.urn)
            if user_no is not None:
                self._check_quota(users.unfinished(tx, user_no) + new, new)
                return user_no
        with self._desk.db.begin() as tx:
            users.add(tx, caller.urn)
            return users.numbers(tx, [caller.urn])[caller.urn]

    def _store(
        self,
        tx: Connection,
        submission: Submission,
        endpoint: Endpoint,
        found: Mapping[str, Function],
        user_no: int,
        now: int,
    ) -> dict[str, Json]:
        group_id = submission.task_group_id or str(uuid.uuid4())
        group = groups.lock_or_add(tx, group_id, user_no, now=now)
        if group.user_no != user_no:
            raise forbidden(
                "TASK_GROUP", group_id, f"the task group {group_id} belongs to another user; choose a new one"
            )
        new = [
            NewTask(
                task_id=str(uuid.uuid4()),
                function_no=found[submission.functions[given]].function_no,
                payload=payload,
                payload_bytes=size_bytes,
            )
            for given, payload, size_bytes in submission.calls
        ]
        tasks.add(
            tx,
            new,
            group_no=group.group_no,
            endpoint_no=endpoint.endpoint_no,
            user_no=user_no,
            user_endpoint_config=submission.user_endpoint_config,
            resource_specification=submission.resource_specification,
            now=now,
        )
        groups.begin_tasks(tx, group, len(new))
        by_function: dict[str, list[str]] = {given: [] for given in submission.functions}
        for task, (given, _, _) in zip(new, submission.calls, strict=True):
            by_function[given].append(task.task_id)
        return {
            "request_id": submission.submission_id or str(uuid.uuid4()),
            "task_group_id": group_id,
            "endpoint_id": endpoint.endpoint_id,
            "endpoint_status": "online" if is_online(endpoint, self._desk) else "offline",
            "tasks": by_function,
        }

    def _count(self, tx: Connection, user_no: int, new: int) -> None:
        self._check_quota(users.begin_tasks(tx, user_no, new), new)

    def _check_quota(self, unfinished: int, new: int) -> None:
        limit = self._desk.settings.max_unfinished_tasks
        if unfinished > limit:
            raise quota(
                f"you have {unfinished - new} unfinished tasks, and {new} more would be over the limit of {limit}; wait "
                "until some have ended, or cancel some"
            )


def _open_endpoint(tx: Connection, caller: Caller, endpoint_id: str, *, now: int) -> Endpoint:
    """The endpoint, if this caller may submit to it and it takes tasks."""
    endpoint = visible(endpoints.share(tx, endpoint_id), caller, endpoint_id)
    if not access.may_submit(endpoint, caller):
        owner = identity_of(endpoint.owner)
        reason = (
            f"you may see the endpoint {endpoint_id}, but not submit to it; its owner, the identity {owner}, can add "
        )
        raise forbidden("ENDPOINT", endpoint_id, f"{reason}you to its users")
    if endpoint.stopped_at is not None:
        when = ""
        if endpoint.locked_until is not None and endpoint.locked_until > now:
            when = f" after {format_time(from_us(endpoint.locked_until))}"
        reason = (
            f"the endpoint {endpoint_id} was stopped at {format_time(from_us(endpoint.stopped_at))} and takes no tasks; "
            f"its owner can start it again{when} with: compute-agent start NAME"
        )
        raise refusal(409, "ENDPOINT_STOPPED", reason, endpoint_id)
    return endpoint


def _runnable(tx: Connection, caller: Caller, endpoint: Endpoint, submission: Submission) -> dict[str, Function]:
    """The functions of a submission, which this caller may run there, by id."""
    wanted = list(dict.fromkeys(submission.functions.values()))
    found = functions.load_many(tx, wanted)
    for function_id in wanted:
        function = found.get(function_id)
        if function is None or not access.may_use_function(function, caller):
            raise not_found("FUNCTION", function_id)
        if endpoint.allowed_functions is not None and function_id not in endpoint.allowed_functions:
            reason = (
                f"the endpoint {endpoint.endpoint_id} runs certain functions only, and {function_id} is not one of them"
            )
            raise refusal(403, "FUNCTION_NOT_PERMITTED", reason, function_id, endpoint.endpoint_id)
    return found


def _repeated(earlier: submissions.Earlier, sha256: str, submission_id: str) -> dict[str, Json]:
    if earlier.sha256 != sha256:
        reason = f"the submission_id {submission_id} was used for another submission; make a new one for each"
        raise refusal(409, "SUBMISSION_ID_REUSED", reason, submission_id)
    return earlier.answer
