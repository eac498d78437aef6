"""What can be asked about actions: run, status, cancel, resume, release, enumerate, introspect.

The rules that make an action happen once: a request is stored before its provider is called; (creator, provider,
request_id) is unique and outlives the action; a repeated request is answered with the action it started, and the same
request_id with other content is refused. Statuses that were answered are committed.
"""

from __future__ import annotations

import secrets
import uuid
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Any, TypeAlias

from schemas.action import ACTION_STATUSES, ActionRequest, Status
from schemas.errors import Problem
from schemas.json_text import Json
from schemas.ports import Clock, Database, Wake
from schemas.principals import Caller
from schemas.times import to_us

from . import access, store
from .carrier import Carrier, settle
from .documents import (
    RELEASE_AFTER,
    deadline_of,
    introspection_document,
    parse_request,
    request_sha256,
    status_document,
)
from .errors import ActionError, conflict, forbidden, invalid, not_found, unauthorized
from .provider import ActionProvider
from .store import Record, Step

#: Checks a body against a provider's input schema; no problems means it is acceptable.
CheckBody: TypeAlias = Callable[[Mapping[str, Any], Json], Sequence[Problem]]

#: Actions handled by one transaction of ``purge``.
PURGE_BATCH = 500


@dataclass(frozen=True, slots=True)
class Ask:
    """A request to run an action. ``waiter`` is handed to Wake when the action ends or waits for a person."""

    path: str
    request: ActionRequest | Json
    caller: Caller
    waiter: str = ""


@dataclass(frozen=True, slots=True)
class Ran:
    """The status document, and whether this very request started the action (HTTP 202) or repeated it (200)."""

    document: dict[str, Any]
    created: bool


class Actions:
    """Every action of every provider of this server. ``providers`` are by path, as in ActionUrl."""

    def __init__(
        self,
        db: Database,
        clock: Clock,
        providers: Mapping[str, ActionProvider],
        *,
        check_body: CheckBody,
        wake: Wake | None = None,
        lease: timedelta = timedelta(seconds=30),
    ) -> None:
        self._db = db
        self._clock = clock
        self._check_body = check_body
        self.providers = dict(providers)
        self.carrier = Carrier(db, clock, self.providers, wake=wake, lease=lease)

    def introspect(self, path: str, caller: Caller | None = None) -> dict[str, Any]:
        """The provider's description, for whom it is visible to."""
        description = self._provider(path).description
        if access.may_see(description, caller):
            return introspection_document(description)
        if caller is None:
            raise unauthorized(f"the action provider {path} is not public: send a bearer token")
        raise forbidden(f"you may not see the action provider {path}")

    def offered(self) -> list[dict[str, str]]:
        """The providers that are visible to everybody: path, title, what it does and the scope it needs, by path."""
        return [
            {"path": path, "title": one.title, "subtitle": one.subtitle, "globus_auth_scope": one.scope}
            for path, one in sorted((path, provider.description) for path, provider in self.providers.items())
            if access.may_see(one, None)
        ]

    def run(
        self, path: str, request: ActionRequest | Json, caller: Caller, *, waiter: str = ""
    ) -> tuple[dict[str, Any], bool]:
        """Start an action, or find the one that this request started before; the flag is true when it is new."""
        answer = self.run_many([Ask(path, request, caller, waiter)])[0]
        if isinstance(answer, ActionError):
            raise answer
        return answer.document, answer.created

    def run_many(self, asks: Sequence[Ask]) -> list[Ran | ActionError]:
        """Start many actions with one transaction, or two where a provider has effects. Answers in order of asking."""
        now = self._clock.now()
        prepared = [self._prepared(ask, now) for ask in asks]
        records = [one for one in prepared if isinstance(one, Record)]
        created, holders = self._stored(records)
        started = [r for r in records if r.action_id in created and r.owner is not None]
        if started:
            holders |= {record.key: record for record in self.carrier.carry(started, answering=True)}
        return [self._answer(one, created, holders) for one in prepared]

    def status(self, path: str, action_id: str, caller: Caller) -> dict[str, Any]:
        provider = self._provider(path)
        with self._db.read() as tx:
            record = store.load(tx, action_id, path)
        if record is None:
            raise not_found(action_id)
        if not access.may_monitor(record, provider.description, caller):
            raise forbidden(f"you may not monitor the action {action_id}")
        return status_document(record)

    def cancel(self, path: str, action_id: str, caller: Caller) -> dict[str, Any]:
        """Ask for the end of an action. One that has ended stays as it is.

        A running ``advance`` is told to stop and its result dropped; a ``run`` or ``resume`` in flight is never cut
        short, because it may be about to start something that only its outcome names: cancel follows it.
        """
        with self._db.begin() as tx:
            record = self._managed(tx, path, action_id, caller)
            if record.status.is_final or record.next_step is Step.CANCEL:
                return status_document(record)
            if record.next_step in (Step.RUN, Step.RESUME):
                store.want_cancel(tx, action_id)
                return status_document(record)
            record = self._taken(record, Step.CANCEL)
            store.take(tx, record)
        return self._carried(record)

    def resume(self, path: str, action_id: str, caller: Caller) -> dict[str, Any]:
        """Let an INACTIVE action try again, with the creator's present scopes when the creator asks.

        Raises:
            ActionError: 409 when the action has ended.
        """
        with self._db.begin() as tx:
            record = self._managed(tx, path, action_id, caller)
            if record.status.is_final:
                raise conflict(f"the action {action_id} is {record.status.value} and cannot be resumed")
            if record.status is Status.ACTIVE or record.next_step is Step.CANCEL:
                return status_document(record)
            if caller.urn == record.creator:
                record = replace(record, caller=caller)
            record = replace(self._taken(record, Step.RESUME), status=Status.ACTIVE)
            store.take(tx, record)
        return self._carried(record)

    def release(self, path: str, action_id: str, caller: Caller) -> dict[str, Any]:
        """Forget a finished action; its request_id stays taken.

        Raises:
            ActionError: 409 while the action has not ended.
        """
        with self._db.begin() as tx:
            record = self._managed(tx, path, action_id, caller)
            if not record.status.is_final:
                raise conflict(f"the action {action_id} is {record.status.value}; cancel it before releasing it")
            store.release(tx, [action_id], self._clock.now())
        return status_document(record)

    def log(self, path: str, action_id: str, caller: Caller) -> dict[str, Any]:
        """No provider of this kit keeps a log: always 404, after the checks of status."""
        self.status(path, action_id, caller)
        raise ActionError(404, "ActionNotFound", f"the action provider {path} keeps no log (log_supported is false)")

    def enumerate(
        self, path: str, caller: Caller, *, roles: Iterable[str] = (), statuses: Iterable[str] = ()
    ) -> list[dict[str, Any]]:
        """The caller's actions, newest first; roles default to creator_id, statuses to ACTIVE, unknown names count
        for nothing."""
        description = self._provider(path).description
        wanted = {role.lower() for role in roles} & {"creator_id", "monitor_by", "manage_by"}
        status_names = {status.upper() for status in statuses} & {status.value for status in ACTION_STATUSES}
        with self._db.read() as tx:
            records = store.enumerate_actions(
                tx,
                provider=path,
                creator=caller.urn,
                principals=caller.principals,
                roles=wanted or {"creator_id"},
                statuses=status_names or {Status.ACTIVE.value},
            )
        return [status_document(one) for one in records if access.may_monitor(one, description, caller)]

    def nudge(self, action_ids: Collection[str]) -> None:
        """What these ACTIVE actions wait for has happened: advance them now, not when they asked for it.

        Cheap for ids that are no actions. Nothing is lost when it comes while an action is being worked on, or when
        another process holds it. A provider may miss a nudge if the process dies before it, so it asks for a ``due``
        all the same.
        """
        if not action_ids:
            return
        with self._db.read() as tx:
            waiting = store.active_among(tx, action_ids)
        if not waiting:
            return
        now = self._clock.now()
        with self._db.begin() as tx:
            store.nudge(tx, waiting, now)
        self.carrier.announce(now)

    def purge(self, now: datetime) -> int:
        """Release finished actions whose release_after has passed, delete old tombstones; returns how many of both."""
        count = 0
        while True:
            with self._db.begin() as tx:
                over, old = store.expired(tx, now, PURGE_BATCH)
                if over:
                    store.release(tx, over, now)
                if old:
                    store.forget(tx, old)
            count += len(over) + len(old)
            if len(over) + len(old) < PURGE_BATCH:
                return count

    def _provider(self, path: str) -> ActionProvider:
        if (provider := self.providers.get(path)) is None:
            known = ", ".join(sorted(self.providers)) or "none"
            raise ActionError(404, "ActionNotFound", f"no action provider is at {path[:128]!r}; there are: {known}")
        return provider

    def _prepared(self, ask: Ask, now: datetime) -> Record | ActionError:
        """The checked request as a record: finished already when the provider is pure, else claimed for us."""
        try:
            record = self._accepted(ask, now)
        except ActionError as error:
            return error
        if not self.providers[ask.path].pure:
            lease_until = now + self.carrier.lease
            return replace(record, owner=self.carrier.owner, lease_until=lease_until, fence=1, tries=1)
        result = self.carrier.perform(record)
        return record if result is None else settle(record, result, now)

    def _accepted(self, ask: Ask, now: datetime) -> Record:
        provider = self._provider(ask.path)
        if not access.may_run(provider.description, ask.caller):
            raise forbidden(f"you may not run the action provider {ask.path}")
        document = ask.request.to_json() if isinstance(ask.request, ActionRequest) else ask.request
        request = parse_request(document)
        body = provider.adapt(request.body)
        if problems := self._check_body(provider.description.input_schema, body):
            raise invalid(problems, "$.body")
        sharing = {
            "monitor_by": list(request.monitor_by),
            "manage_by": list(request.manage_by),
            "allowed_clients": list(request.allowed_clients),
        }
        return Record(
            action_id=_new_action_id(now),
            provider=ask.path,
            creator=ask.caller.urn,
            request_id=request.request_id,
            sha256=request_sha256(request),
            status=Status.ACTIVE,
            next_step=Step.RUN,
            label=request.label,
            body=body,
            caller=ask.caller,
            sharing=sharing,
            details={},
            release_after=request.release_after or RELEASE_AFTER,
            started_at=now,
            deadline=deadline_of(request),
            waiter=ask.waiter,
            due=now,
        )

    def _stored(self, records: Sequence[Record]) -> tuple[set[str], dict[store.Key, Record]]:
        """Ids of the actions that are new, and for every key the action that holds it."""
        if not records:
            return set(), {}
        with self._db.begin() as tx:
            created = store.insert_new(tx, records)
            repeated = [record for record in records if record.action_id not in created]
            holders = {record.key: record for record in records if record.action_id in created}
            if repeated:
                if waiting := [record for record in repeated if record.waiter and record.key not in holders]:
                    store.set_waiters(tx, waiting)  # before reading: an end we do not see is one that wakes them
                holders |= store.by_keys(tx, {record.key for record in repeated})
        for record in records:
            if record.action_id in created and record.owner is None:
                self.carrier.announce_due(record)
        return created, holders

    def _answer(
        self, prepared: Record | ActionError, created: set[str], holders: Mapping[store.Key, Record]
    ) -> Ran | ActionError:
        if isinstance(prepared, ActionError):
            return prepared
        holder = holders[prepared.key]
        if holder.sha256 != prepared.sha256:
            return conflict(
                f"the request_id {prepared.request_id!r} was used before with other content; "
                "send the same content to repeat a request, or a new request_id for a new action"
            )
        if holder.released_at is not None:
            return conflict(
                f"the request_id {prepared.request_id!r} started the action {holder.action_id}, which was released; "
                "its result is no longer kept"
            )
        return Ran(status_document(holder), prepared.action_id in created)

    def _managed(self, tx: Any, path: str, action_id: str, caller: Caller) -> Record:
        """The action, its row locked until the transaction ends."""
        provider = self._provider(path)
        record = store.load(tx, action_id, path, lock=True)
        if record is None:
            raise not_found(action_id)
        if not access.may_manage(record, provider.description, caller):
            raise forbidden(f"you may not manage the action {action_id}")
        return record

    def _taken(self, record: Record, step: Step) -> Record:
        """The action claimed for us; the raised fence shuts out whoever worked on it."""
        now = self._clock.now()
        return replace(
            record,
            next_step=step,
            cancel_wanted=False,
            due=now,
            owner=self.carrier.owner,
            lease_until=now + self.carrier.lease,
            fence=record.fence + 1,
            tries=1,
        )

    def _carried(self, record: Record) -> dict[str, Any]:
        kept = self.carrier.carry([record])
        return status_document(kept[0] if kept else record)


def _new_action_id(now: datetime) -> str:
    """UUID version 7: begins with the time, so that new rows go to the end of the primary key's index."""
    value = (to_us(now) // 1000) << 80 | secrets.randbits(80)
    value = value & ~(0xF000 << 64) | 0x7000 << 64
    value = value & ~(0xC000 << 48) | 0x8000 << 48
    return str(uuid.UUID(int=value))
