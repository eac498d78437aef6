"""The rows of actions: the only SQL of the kit. Functions take ``tx`` and never begin or commit.

A claim and every later write of the claimant go through ``owner`` and ``fence``: whoever was cancelled or whose lease
ran out and was taken by another writes nothing any more.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, fields
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Any, TypeAlias

from sqlalchemy import (
    ColumnElement,
    Connection,
    Row,
    Select,
    and_,
    bindparam,
    case,
    delete,
    func,
    insert,
    or_,
    select,
    update,
)
from sqlalchemy.dialects import postgresql, sqlite

from schemas.action import Status
from schemas.json_text import Json, dumps, loads_trusted
from schemas.principals import Caller
from schemas.times import from_us, to_us

from .tables import action_roles, actions

#: (request_id, creator URN, provider path)
Key: TypeAlias = tuple[str, str, str]

#: More is not listed at once; the newest come first.
ENUMERATE_LIMIT = 1000

#: A request_id stays taken this long after its action was released.
KEY_KEPT = timedelta(days=30)

#: ``due`` of an action that was nudged while somebody works on it: its next advance may not wait, however that work ends.
NEWS = 0

_TIMES = ("started_at", "completed_at", "released_at", "expires_at", "deadline", "due", "lease_until")
_DOCUMENTS = ("body", "sharing", "details", "state")
_CALLER_SETS = ("identities", "groups", "scopes")


class Step(StrEnum):
    """The provider's method that is wanted next."""

    RUN = "run"
    ADVANCE = "advance"
    RESUME = "resume"
    CANCEL = "cancel"


@dataclass(frozen=True, slots=True, kw_only=True)
class Record:
    """A row of ``provider_actions``, decoded. ``sharing`` is ``{"monitor_by", "manage_by", "allowed_clients"}``."""

    action_id: str
    provider: str
    creator: str
    request_id: str
    sha256: str
    status: Status
    next_step: Step
    label: str | None
    body: Json
    caller: Caller
    sharing: Mapping[str, list[str]]
    details: Json
    release_after: str
    started_at: datetime
    state: Json = None
    cancel_wanted: bool = False
    completed_at: datetime | None = None
    released_at: datetime | None = None
    expires_at: datetime | None = None
    deadline: datetime | None = None
    waiter: str = ""
    due: datetime | None = None
    owner: str | None = None
    lease_until: datetime | None = None
    fence: int = 0
    tries: int = 0
    last_error: str | None = None

    @property
    def key(self) -> Key:
        return (self.request_id, self.creator, self.provider)


def insert_new(tx: Connection, records: Sequence[Record]) -> set[str]:
    """Insert the records whose key is free; returns the action ids that went in.

    Inserted in key order, so that two batches with the same keys cannot wait for each other in a circle.
    """
    dialect = postgresql if tx.dialect.name == "postgresql" else sqlite
    statement = dialect.insert(actions).on_conflict_do_nothing(
        index_elements=[actions.c.request_id, actions.c.creator, actions.c.provider]
    )
    rows = [_row(record) for record in sorted(records, key=lambda record: record.key)]
    stored = set(tx.scalars(statement.returning(actions.c.action_id), rows))
    roles = [row for record in records if record.action_id in stored for row in _role_rows(record)]
    if roles:
        tx.execute(insert(action_roles), roles)
    return stored


def by_keys(tx: Connection, keys: Collection[Key]) -> dict[Key, Record]:
    """The actions that hold these keys, tombstones included."""
    rows = tx.execute(select(actions).where(actions.c.request_id.in_({key[0] for key in keys})))
    records = (_record(row) for row in rows)
    return {record.key: record for record in records if record.key in keys}


def load(tx: Connection, action_id: str, provider: str, *, lock: bool = False) -> Record | None:
    """The action, or None when it is unknown or released. ``lock`` holds the row until the transaction ends."""
    query = select(actions).where(
        actions.c.action_id == action_id, actions.c.provider == provider, actions.c.released_at.is_(None)
    )
    row = tx.execute(query.with_for_update() if lock else query).one_or_none()
    return _record(row) if row else None


def current(tx: Connection, action_ids: Collection[str]) -> dict[str, Record]:
    """Several actions as they are now, by id."""
    rows = tx.execute(select(actions).where(actions.c.action_id.in_(action_ids)))
    return {row.action_id: _record(row) for row in rows}


def take(tx: Connection, record: Record) -> None:
    """Write a locked record whole: a claim made for a caller (cancel, resume)."""
    row = _row(record)
    tx.execute(update(actions).where(actions.c.action_id == record.action_id).values(row))


def want_cancel(tx: Connection, action_id: str) -> None:
    tx.execute(update(actions).where(actions.c.action_id == action_id).values(cancel_wanted=1))


def active_among(tx: Connection, action_ids: Collection[str]) -> list[str]:
    """Those of the ids that are ACTIVE actions, in order."""
    query = select(actions.c.action_id).where(actions.c.action_id.in_(action_ids), _is_active())
    return list(tx.scalars(query.order_by(actions.c.action_id)))


def nudge(tx: Connection, action_ids: Sequence[str], now: datetime) -> None:
    """Make ACTIVE actions due now; one that is being worked on becomes due when that has come to an end.

    Row by row in the order given, so that two transactions cannot wait for each other in a circle.
    """
    due = case((actions.c.owner.is_not(None), NEWS), else_=to_us(now))
    statement = update(actions).where(actions.c.action_id == bindparam("b_id"), _is_active()).values(due=due)
    tx.execute(statement, [{"b_id": action_id} for action_id in action_ids])


def set_waiters(tx: Connection, records: Sequence[Record]) -> None:
    """Make the wake-ups of unfinished actions go to the newest asker of the same request."""
    statement = update(actions).where(
        actions.c.request_id == bindparam("b_request_id"),
        actions.c.creator == bindparam("b_creator"),
        actions.c.provider == bindparam("b_provider"),
        actions.c.sha256 == bindparam("b_sha256"),
        # Not IN: SQLAlchemy cannot expand a list in a statement that is executed for many rows.
        or_(actions.c.status == Status.ACTIVE.value, actions.c.status == Status.INACTIVE.value),
    )
    wanted = ("request_id", "creator", "provider", "sha256", "waiter")
    rows = [{f"b_{name}": getattr(record, name) for name in wanted} for record in records]
    tx.execute(statement.values(waiter=bindparam("b_waiter")), rows)


def settle(tx: Connection, records: Sequence[Record], owner: str, now: datetime) -> None:
    """Store what came of claimed work and end the claims, where they are still ours (same owner and fence).

    Where a cancel was asked for while the provider's run or resume was in flight, cancel becomes the next step. Where
    there was news meanwhile, an ACTIVE action is due at once.
    """
    follow = and_(actions.c.cancel_wanted == 1, bindparam("b_open") == 1)
    has_news = and_(actions.c.due == NEWS, bindparam("b_status") == Status.ACTIVE.value, bindparam("b_open") == 1)
    statement = (
        update(actions)
        .where(
            actions.c.action_id == bindparam("b_id"),
            actions.c.fence == bindparam("b_fence"),
            actions.c.owner == bindparam("b_owner"),
        )
        .values(
            status=bindparam("b_status"),
            next_step=case((follow, Step.CANCEL.value), else_=bindparam("b_step")),
            due=case((or_(follow, has_news), bindparam("b_now")), else_=bindparam("b_due")),
            details=bindparam("b_details"),
            state=bindparam("b_state"),
            completed_at=bindparam("b_completed_at"),
            expires_at=bindparam("b_expires_at"),
            tries=bindparam("b_tries"),
            last_error=bindparam("b_last_error"),
            cancel_wanted=case((follow, 0), else_=actions.c.cancel_wanted),
            owner=None,
            lease_until=None,
        )
    )
    rows = [_settled_row(record, owner, now) for record in sorted(records, key=lambda record: record.action_id)]
    tx.execute(statement, rows)


def claim(
    tx: Connection, *, owner: str, now: datetime, lease: timedelta, limit: int, providers: Collection[str]
) -> list[Record]:
    """Lease up to ``limit`` due actions of these providers, oldest due first.

    Due are those whose ``due`` has come and whose lease, if any, has run out. Two claims never return the same live
    action.
    """
    free = or_(actions.c.owner.is_(None), actions.c.lease_until < to_us(now))
    due = (
        select(actions.c.action_id)
        .where(actions.c.due <= to_us(now), free, actions.c.provider.in_(providers))
        .order_by(actions.c.due)
        .limit(limit)
        .with_for_update(skip_locked=True)
        .cte("due_actions")
    )
    statement = (
        update(actions)
        .where(actions.c.action_id == due.c.action_id)
        .values(
            owner=owner,
            lease_until=to_us(now + lease),
            due=case((actions.c.due == NEWS, to_us(now)), else_=actions.c.due),
            fence=actions.c.fence + 1,
            tries=actions.c.tries + 1,
        )
        .returning(*actions.c)
    )
    claimed = [_record(row) for row in tx.execute(statement)]
    return sorted(claimed, key=lambda record: (record.due or now, record.action_id))


def report(
    tx: Connection, *, action_id: str, owner: str, fence: int, details: Mapping[str, Json], lease_until: datetime
) -> bool:
    """Publish details of work in progress and renew its lease; False when the claim is not ours any more."""
    statement = update(actions).where(*_claimed(action_id, owner, fence))
    written = tx.execute(statement.values(details=dumps(details), lease_until=to_us(lease_until), tries=0))
    return written.rowcount == 1


def renew(tx: Connection, *, owner: str, action_ids: Collection[str], lease_until: datetime) -> None:
    """Keep the leases that are still this owner's.

    Rows that are being written at the moment are left out: whoever does that ends the lease or renews it, and waiting
    for several rows in no particular order could end in a deadlock with the owner's own writes.
    """
    mine = (actions.c.owner == owner) & actions.c.action_id.in_(action_ids)
    held = select(actions.c.action_id).where(mine).with_for_update(skip_locked=True).cte("held_actions")
    statement = update(actions).where(actions.c.action_id == held.c.action_id)
    tx.execute(statement.values(lease_until=to_us(lease_until)))


def give_back(tx: Connection, *, owner: str, action_ids: Collection[str], now: datetime) -> None:
    """End claims without a result, so that another may take the actions at once. The try is not counted."""
    statement = update(actions).where(actions.c.owner == owner, actions.c.action_id.in_(action_ids))
    tries = case((actions.c.tries > 0, actions.c.tries - 1), else_=0)
    tx.execute(statement.values(owner=None, lease_until=None, fence=actions.c.fence + 1, tries=tries, due=to_us(now)))


def drop_claims_of_others(tx: Connection, *, owner: str) -> int:
    """End the claims of every other owner: for a database that has one process at a time, so that they are dead."""
    statement = update(actions).where(actions.c.owner.is_not(None), actions.c.owner != owner)
    return tx.execute(statement.values(owner=None, lease_until=None, fence=actions.c.fence + 1)).rowcount


def next_due(tx: Connection, providers: Collection[str]) -> datetime | None:
    """When the next unclaimed action is due."""
    query = select(func.min(actions.c.due)).where(
        actions.c.due.is_not(None), actions.c.owner.is_(None), actions.c.provider.in_(providers)
    )
    value = tx.scalar(query)
    return None if value is None else from_us(value)


def unserved(tx: Connection, providers: Collection[str]) -> list[str]:
    """Paths of providers that have unfinished actions here but are not installed."""
    query = select(actions.c.provider).distinct()
    return sorted(tx.scalars(query.where(actions.c.due.is_not(None), actions.c.provider.not_in(providers))))


def release(tx: Connection, action_ids: Collection[str], now: datetime) -> None:
    """Turn finished actions into tombstones: contents go, the request_id stays taken."""
    tx.execute(delete(action_roles).where(action_roles.c.action_id.in_(action_ids)))
    tx.execute(
        update(actions)
        .where(actions.c.action_id.in_(action_ids))
        .values(
            released_at=to_us(now),
            expires_at=to_us(now + KEY_KEPT),
            body="null",
            details="{}",
            state="null",
            sharing="{}",
            caller=dumps({"identity_id": "", "username": ""}),
            label=None,
            last_error=None,
        )
    )


def expired(tx: Connection, now: datetime, limit: int) -> tuple[list[str], list[str]]:
    """Ids of finished actions to release, and of tombstones to delete."""
    query = select(actions.c.action_id, actions.c.released_at).where(actions.c.expires_at <= to_us(now)).limit(limit)
    rows = tx.execute(query.with_for_update(skip_locked=True)).all()
    return [row[0] for row in rows if row[1] is None], [row[0] for row in rows if row[1] is not None]


def forget(tx: Connection, action_ids: Collection[str]) -> None:
    tx.execute(delete(actions).where(actions.c.action_id.in_(action_ids)))


def enumerate_actions(
    tx: Connection,
    *,
    provider: str,
    creator: str,
    principals: Iterable[str],
    roles: Collection[str],
    statuses: Iterable[str],
) -> list[Record]:
    """Actions of a provider on which the principals have one of the roles, newest first."""
    held: list[Any] = []
    if "creator_id" in roles:
        held.append(actions.c.creator == creator)
    shared = [role for role in ("monitor_by", "manage_by") if role in roles]
    if shared:
        granted = select(action_roles.c.action_id).where(
            action_roles.c.principal.in_(list(principals)), action_roles.c.role.in_(shared)
        )
        held.extend((actions.c.action_id.in_(granted), actions.c.creator == creator))
    query: Select[Any] = (
        select(actions)
        .where(
            actions.c.provider == provider,
            actions.c.released_at.is_(None),
            actions.c.status.in_(list(statuses)),
            or_(*held),
        )
        .order_by(actions.c.started_at.desc(), actions.c.action_id.desc())
        .limit(ENUMERATE_LIMIT)
    )
    return [_record(row) for row in tx.execute(query)]


def _is_active() -> ColumnElement[bool]:
    return actions.c.status == Status.ACTIVE.value


def _claimed(action_id: str, owner: str, fence: int) -> tuple[Any, ...]:
    return actions.c.action_id == action_id, actions.c.owner == owner, actions.c.fence == fence


def _settled_row(record: Record, owner: str, now: datetime) -> dict[str, Any]:
    row = _row(record)
    wanted = ("status", "details", "state", "completed_at", "expires_at", "tries", "last_error", "due", "fence")
    settled = {f"b_{name}": row[name] for name in wanted}
    is_open = not record.status.is_final and record.next_step not in (Step.RUN, Step.RESUME)
    return settled | {
        "b_id": record.action_id,
        "b_owner": owner,
        "b_step": record.next_step.value,
        "b_open": int(is_open),
        "b_now": to_us(now),
    }


def _role_rows(record: Record) -> list[dict[str, str]]:
    return [
        {"action_id": record.action_id, "role": role, "principal": principal}
        for role in ("monitor_by", "manage_by")
        for principal in sorted(set(record.sharing.get(role, ())))
    ]


def _row(record: Record) -> dict[str, Any]:
    row: dict[str, Any] = {field.name: getattr(record, field.name) for field in fields(record)}
    for name in _TIMES:
        if row[name] is not None:
            row[name] = to_us(row[name])
    for name in _DOCUMENTS:
        row[name] = dumps(row[name])
    row["caller"] = dumps(_caller_document(record.caller))
    row["status"] = record.status.value
    row["next_step"] = record.next_step.value
    row["cancel_wanted"] = int(record.cancel_wanted)
    return row


def _record(row: Row[Any]) -> Record:
    values = row._asdict()
    for name in _TIMES:
        if values[name] is not None:
            values[name] = from_us(values[name])
    for name in _DOCUMENTS:
        values[name] = loads_trusted(values[name])
    caller = loads_trusted(values["caller"])
    for name in _CALLER_SETS:
        caller[name] = frozenset(caller.get(name, ()))
    values["caller"] = Caller(**caller)
    values["status"] = Status(values["status"])
    values["next_step"] = Step(values["next_step"])
    values["cancel_wanted"] = bool(values["cancel_wanted"])
    return Record(**values)


def _caller_document(caller: Caller) -> dict[str, Any]:
    document = {field.name: getattr(caller, field.name) for field in fields(caller)}
    for name in _CALLER_SETS:
        document[name] = sorted(document[name])
    return {name: value for name, value in document.items() if value not in (None, [], {}, "", False)}
