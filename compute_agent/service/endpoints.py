"""Use cases of endpoints: an agent's registration begins a session; users look, list, lock and delete."""

from __future__ import annotations

import uuid

from sqlalchemy import Connection

from schemas.json_text import Json
from schemas.principals import Caller, identity_of
from schemas.times import format_time, from_us

from ..wire import ErrorCode, SessionTerms, TaskError, TaskState
from . import access
from .desk import Changes, Desk, microseconds
from .documents import endpoint_document, short_endpoint_document, status_document
from .members import checked_uuid
from .refusals import forbidden, malformed, not_found, quota, refusal
from .requests import Registration, read_registration
from .rows import endings, tasks
from .rows import endpoints as rows
from .rows.endings import Ending
from .rows.endpoints import Endpoint
from .settling import settle_lost

#: So many tasks of a deleted endpoint are ended in one transaction.
_PORTION = 5_000


class Endpoints:
    def __init__(self, desk: Desk) -> None:
        self._desk = desk

    def register(self, caller: Caller, body: Json, endpoint_id: str | None) -> dict[str, Json]:
        """Begin a session for whoever owns the endpoint, which is made if there is none."""
        registration = read_registration(body)
        identifier = str(uuid.uuid4()) if endpoint_id is None else checked_uuid(endpoint_id, "the endpoint's id")
        now = self._desk.now_us()
        changes = Changes(endpoints={identifier})
        with self._desk.db.begin() as tx:
            endpoint = self._ours(tx, caller, identifier, now)
            session = rows.begin_session(
                tx, endpoint, registration.description, journal_id=registration.journal_id, now=now
            )
            changes.groups |= self._take_over(tx, endpoint, registration, session, now)
        self._desk.announce(changes)
        terms = SessionTerms(
            number=session, heartbeat_s=self._desk.settings.heartbeat_s, lease_s=self._desk.settings.lease_s
        )
        return {"endpoint_id": identifier, "session": terms.to_json()}

    def get(self, caller: Caller, endpoint_id: str) -> dict[str, Json]:
        endpoint = self._visible(caller, endpoint_id)
        return endpoint_document(endpoint, for_owner=access.owns(endpoint.owner, caller))

    def list(self, caller: Caller, role: str) -> list[Json]:
        if role not in ("owner", "any"):
            raise malformed(f"role must be owner or any, not {role[:40]!r}", "role")
        with self._desk.db.read() as tx:
            found = rows.visible(tx, caller.principals, owned_only=role == "owner")
        return [short_endpoint_document(one) for one in found]

    def status(self, caller: Caller, endpoint_id: str) -> dict[str, Json]:
        endpoint = self._visible(caller, endpoint_id)
        return status_document(endpoint, is_online=is_online(endpoint, self._desk))

    def allowed_functions(self, caller: Caller, endpoint_id: str) -> dict[str, Json]:
        endpoint = self._visible(caller, endpoint_id)
        allowed = endpoint.allowed_functions
        return {
            "endpoint_id": endpoint.endpoint_id,
            "restricted": allowed is not None,
            "functions": list(allowed or ()),
        }

    def lock(self, caller: Caller, endpoint_id: str) -> dict[str, Json]:
        """Its agent stops at its next word with the service, and none may begin for a while."""
        identifier = checked_uuid(endpoint_id, "the endpoint's id")
        now = self._desk.now_us()
        until = now + microseconds(self._desk.settings.lock_s)
        with self._desk.db.begin() as tx:
            endpoint = _owned(rows.lock(tx, identifier), caller, identifier)
            rows.lock_until(tx, endpoint.endpoint_no, until=until, now=now)
        self._desk.announce(Changes(endpoints={identifier}))
        return {"endpoint_id": identifier, "lock_expiration_timestamp": format_time(from_us(until))}

    def delete(self, caller: Caller, endpoint_id: str) -> dict[str, Json]:
        identifier = checked_uuid(endpoint_id, "the endpoint's id")
        with self._desk.db.begin() as tx:
            endpoint = _owned(rows.lock_whole(tx, identifier), caller, identifier)
            rows.mark_deleted(tx, endpoint.endpoint_no, now=self._desk.now_us())
        self._desk.announce(Changes(endpoints={identifier}))
        self.end_tasks_of_deleted(endpoint.endpoint_no)
        return {"result": 302}

    def end_tasks_of_deleted(self, endpoint_no: int) -> int:
        """How many were ended. May be called again when it was interrupted."""
        error = TaskError(ErrorCode.ENDPOINT_DELETED, "the endpoint was deleted before the task ended")
        ended = 0
        while True:
            now = self._desk.now_us()
            with self._desk.db.begin() as tx:
                rows.lock_numbers(tx, [endpoint_no])
                some = tasks.unfinished_of_endpoint(tx, endpoint_no, _PORTION)
                groups = endings.write(
                    tx, [Ending(task=task, state=TaskState.FAILED, error=error) for task in some], now=now
                )
                if not some:
                    rows.mark_settled(tx, endpoint_no)
            if not some:
                return ended
            ended += len(some)
            self._desk.announce(Changes(groups=groups))

    def _ours(self, tx: Connection, caller: Caller, endpoint_id: str, now: int) -> Endpoint:
        """The endpoint, locked, that this caller may register."""
        endpoint = rows.lock(tx, endpoint_id)
        if endpoint is None:
            if rows.is_deleted(tx, endpoint_id):
                reason = f"the endpoint {endpoint_id} was deleted; register a new one, without an id"
                raise refusal(404, "ENDPOINT_NOT_FOUND", reason, endpoint_id)
            if rows.count(tx, caller.urn) >= self._desk.settings.max_endpoints:
                raise quota(
                    f"you have {self._desk.settings.max_endpoints} endpoints, which is the limit; delete some that you "
                    "do not use"
                )
            rows.add_if_new(tx, endpoint_id, caller.urn, now=now)
            endpoint = rows.lock(tx, endpoint_id)
        if endpoint is None or not access.owns(endpoint.owner, caller):
            reason = f"the endpoint {endpoint_id} was registered by another user; register a new one, without an id"
            raise forbidden("ENDPOINT", endpoint_id, reason)
        if endpoint.locked_until is not None and endpoint.locked_until > now:
            until = format_time(from_us(endpoint.locked_until))
            raise refusal(
                423, "ENDPOINT_LOCKED", f"the endpoint was stopped from afar; start it after {until}", endpoint_id
            )
        return endpoint

    def _take_over(
        self, tx: Connection, endpoint: Endpoint, registration: Registration, session: int, now: int
    ) -> set[str]:
        """Settle what earlier sessions had: the ids of groups in which tasks ended.

        What the agent still has passes to this session. What its journal does not know, under this fence, was never
        started, if it is the journal of the earlier session; otherwise nobody knows.
        """
        held = tasks.held(tx, endpoint.endpoint_no)
        is_same_journal = registration.journal_id != "" and registration.journal_id == endpoint.journal_id
        kept = [task for task in held if registration.held.get(task.task_id) == task.fence]
        gone = [task for task in held if registration.held.get(task.task_id) != task.fence]
        tasks.pass_on(tx, [task.task_no for task in kept], session=session, now=now)
        tasks.forget_cancels(tx, endpoint.endpoint_no)
        if is_same_journal:
            tasks.give_back(tx, [task.task_no for task in gone])
            return set()
        reason = "the agent of the endpoint was started anew, without the journal that knew of the task"
        return settle_lost(tx, gone, reason, now=now)[0]

    def _visible(self, caller: Caller, endpoint_id: str) -> Endpoint:
        identifier = checked_uuid(endpoint_id, "the endpoint's id")
        with self._desk.db.read() as tx:
            return visible(rows.load(tx, identifier), caller, identifier)


def is_online(endpoint: Endpoint, desk: Desk) -> bool:
    """Whether its agent was heard of lately."""
    silent_us = desk.now_us() - endpoint.heard_at
    is_heard = endpoint.session > 0 and endpoint.stopped_at is None
    return is_heard and silent_us <= microseconds(desk.settings.offline_after_s)


def visible(endpoint: Endpoint | None, caller: Caller, endpoint_id: str) -> Endpoint:
    """Raises 404 when the caller may not see it."""
    if endpoint is None or not access.may_see_endpoint(endpoint, caller):
        raise not_found("ENDPOINT", endpoint_id)
    return endpoint


def _owned(endpoint: Endpoint | None, caller: Caller, endpoint_id: str) -> Endpoint:
    endpoint = visible(endpoint, caller, endpoint_id)
    if not access.owns(endpoint.owner, caller):
        owner = identity_of(endpoint.owner)
        reason = f"the endpoint {endpoint_id} belongs to the identity {owner}, who alone may do this"
        raise forbidden("ENDPOINT", endpoint_id, reason)
    return endpoint
