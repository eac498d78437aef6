"""Rows of endpoints, and of the session that each one's agent has."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from typing import Any

from sqlalchemy import (
    ColumnElement,
    Connection,
    Row,
    Select,
    Update,
    delete,
    exists,
    func,
    insert,
    literal_column,
    or_,
    select,
    update,
)
from sqlalchemy.dialects import postgresql, sqlite

from schemas.json_text import Json, dumps, loads_trusted
from schemas.principals import ALL_AUTHENTICATED_USERS

from ..tables import endpoint_users, endpoints, tasks


@dataclass(frozen=True, slots=True, kw_only=True)
class Endpoint:
    """Times in microseconds; see ``tables.endpoints`` for what the members mean."""

    endpoint_no: int
    endpoint_id: str
    owner: str
    name: str
    display_name: str
    public: bool
    users: tuple[str, ...]
    allowed_functions: tuple[str, ...] | None
    registration: dict[str, Json]
    session: int
    batch: int
    lease_call: int
    journal_id: str
    heard_at: int
    lease_from: int
    status: dict[str, Json]
    stop_wanted: bool
    stopped_at: int | None
    locked_until: int | None
    created_at: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Description:
    """What a registration says of an endpoint."""

    name: str
    display_name: str
    public: bool
    users: tuple[str, ...]
    allowed_functions: tuple[str, ...] | None
    document: dict[str, Json]


_COLUMNS = [endpoints.c[name] for name in Endpoint.__slots__]


def load(tx: Connection, endpoint_id: str) -> Endpoint | None:
    """The endpoint, or None when it is unknown or deleted."""
    return _one(tx, _by_id(endpoint_id))


def share(tx: Connection, endpoint_id: str) -> Endpoint | None:
    """As ``load``; it cannot be deleted before this transaction ends. For those who add tasks."""
    return _one(tx, _by_id(endpoint_id).with_for_update(read=True, key_share=True))


def lock(tx: Connection, endpoint_id: str) -> Endpoint | None:
    """As ``load``; until this transaction ends nobody else changes it or the state of its tasks."""
    return _one(tx, _by_id(endpoint_id).with_for_update(key_share=True))


def lock_whole(tx: Connection, endpoint_id: str) -> Endpoint | None:
    """As ``lock``, and nobody adds tasks either."""
    return _one(tx, _by_id(endpoint_id).with_for_update())


def lock_numbers(tx: Connection, endpoint_nos: Collection[int]) -> dict[int, str]:
    """Lock several, deleted ones too, in the order that everybody keeps; their ids by number."""
    query = select(endpoints.c.endpoint_no, endpoints.c.endpoint_id).where(endpoints.c.endpoint_no.in_(endpoint_nos))
    rows = tx.execute(query.order_by(endpoints.c.endpoint_no).with_for_update(key_share=True))
    return {row.endpoint_no: row.endpoint_id for row in rows}


def is_deleted(tx: Connection, endpoint_id: str) -> bool:
    query = select(endpoints.c.deleted_at).where(endpoints.c.endpoint_id == endpoint_id)
    return tx.scalar(query) is not None


def add_if_new(tx: Connection, endpoint_id: str, owner: str, *, now: int) -> None:
    """Make an empty endpoint that ``begin_session`` fills, unless the id is taken."""
    dialect = postgresql if tx.dialect.name == "postgresql" else sqlite
    statement = dialect.insert(endpoints).on_conflict_do_nothing(index_elements=[endpoints.c.endpoint_id])
    tx.execute(
        statement.values(
            endpoint_id=endpoint_id,
            owner=owner,
            name="",
            display_name="",
            public=0,
            users="[]",
            registration="{}",
            session=0,
            batch=0,
            lease_call=0,
            journal_id="",
            heard_at=now,
            lease_from=now,
            status="{}",
            stop_wanted=0,
            created_at=now,
            settled=1,
        )
    )


def begin_session(tx: Connection, endpoint: Endpoint, said: Description, *, journal_id: str, now: int) -> int:
    """Store a registration and begin the next session; its number."""
    allowed = said.allowed_functions
    tx.execute(
        _number(endpoint.endpoint_no).values(
            name=said.name,
            display_name=said.display_name,
            public=int(said.public),
            users=dumps(list(said.users)),
            allowed_functions=None if allowed is None else dumps(list(allowed)),
            registration=dumps(said.document),
            session=endpoint.session + 1,
            batch=0,
            lease_call=0,
            journal_id=journal_id,
            heard_at=now,
            lease_from=now,
            status="{}",
            stop_wanted=0,
            stopped_at=None,
            locked_until=None,
        )
    )
    tx.execute(delete(endpoint_users).where(endpoint_users.c.endpoint_no == endpoint.endpoint_no))
    if said.users:
        rows = [{"endpoint_no": endpoint.endpoint_no, "principal": one} for one in sorted(set(said.users))]
        tx.execute(insert(endpoint_users), rows)
    return endpoint.session + 1


def next_batch(tx: Connection, endpoint: Endpoint, *, call: int, now: int) -> int:
    """Number the answer to a call of ``lease``."""
    values = {"batch": endpoint.batch + 1, "lease_call": call, "heard_at": now}
    tx.execute(_number(endpoint.endpoint_no).values(values))
    return endpoint.batch + 1


def heard(tx: Connection, endpoint_no: int, *, now: int) -> None:
    tx.execute(_number(endpoint_no).values(heard_at=now))


def heartbeat(tx: Connection, endpoint_no: int, status: dict[str, Json], *, now: int) -> None:
    tx.execute(_number(endpoint_no).values(heard_at=now, lease_from=now, status=dumps(status)))


def stop(tx: Connection, endpoint_no: int, *, now: int) -> None:
    """Its agent has left in order."""
    tx.execute(_number(endpoint_no).values(heard_at=now, stopped_at=now, stop_wanted=0, status="{}"))


def lock_until(tx: Connection, endpoint_no: int, *, until: int, now: int) -> None:
    """Ask its agent to stop, and let none begin before ``until``."""
    tx.execute(_number(endpoint_no).values(stop_wanted=1, stopped_at=now, locked_until=until))


def mark_deleted(tx: Connection, endpoint_no: int, *, now: int) -> None:
    """What remains is the row that its tasks point to; ``settled`` says that they are still to be ended."""
    tx.execute(_number(endpoint_no).values(deleted_at=now, settled=0, registration="{}", status="{}"))
    tx.execute(delete(endpoint_users).where(endpoint_users.c.endpoint_no == endpoint_no))


def mark_settled(tx: Connection, endpoint_no: int) -> None:
    tx.execute(_number(endpoint_no).values(settled=1))


def unsettled(tx: Connection) -> list[int]:
    """Deleted endpoints whose tasks are still to be ended."""
    query = select(endpoints.c.endpoint_no).where(endpoints.c.settled == literal_column("0"))
    return list(tx.scalars(query.order_by(endpoints.c.endpoint_no)))


def silent(tx: Connection, *, since: int) -> list[int]:
    """Endpoints that hold tasks whose lease ran out: neither leased nor named by a heartbeat after ``since``."""
    held = exists().where(
        tasks.c.endpoint_no == endpoints.c.endpoint_no, tasks.c.held_by.is_not(None), tasks.c.leased_at <= since
    )
    query = select(endpoints.c.endpoint_no).where(endpoints.c.lease_from <= since, held)
    return list(tx.scalars(query.order_by(endpoints.c.endpoint_no)))


def is_silent(tx: Connection, endpoint_no: int, *, since: int) -> bool:
    query = select(endpoints.c.lease_from).where(endpoints.c.endpoint_no == endpoint_no)
    heard_at = tx.scalar(query)
    return heard_at is not None and heard_at <= since


def extend_leases(tx: Connection, *, now: int) -> None:
    """All leases count from now: nobody could renew them."""
    query = select(endpoints.c.endpoint_no).where(endpoints.c.deleted_at.is_(None), endpoints.c.lease_from < now)
    numbers = list(tx.scalars(query.order_by(endpoints.c.endpoint_no).with_for_update(key_share=True)))
    if numbers:
        tx.execute(update(endpoints).where(endpoints.c.endpoint_no.in_(numbers)).values(lease_from=now))


def visible(tx: Connection, principals: Collection[str], *, owned_only: bool) -> list[Endpoint]:
    """The caller's own, or all that the caller may see because of its role; by number."""
    condition: ColumnElement[bool] = endpoints.c.owner.in_(principals)
    if not owned_only:
        named = [*principals, ALL_AUTHENTICATED_USERS]
        shared = select(endpoint_users.c.endpoint_no).where(endpoint_users.c.principal.in_(named))
        condition = or_(condition, endpoints.c.public == 1, endpoints.c.endpoint_no.in_(shared))
    query = select(*_COLUMNS).where(condition, endpoints.c.deleted_at.is_(None))
    return [_endpoint(row) for row in tx.execute(query.order_by(endpoints.c.endpoint_no))]


def count(tx: Connection, owner: str) -> int:
    query = select(func.count()).select_from(endpoints)
    return tx.scalar(query.where(endpoints.c.owner == owner, endpoints.c.deleted_at.is_(None))) or 0


def _by_id(endpoint_id: str) -> Select[Any]:
    return select(*_COLUMNS).where(endpoints.c.endpoint_id == endpoint_id, endpoints.c.deleted_at.is_(None))


def _one(tx: Connection, query: Select[Any]) -> Endpoint | None:
    row = tx.execute(query).one_or_none()
    return None if row is None else _endpoint(row)


def _number(endpoint_no: int) -> Update:
    return update(endpoints).where(endpoints.c.endpoint_no == endpoint_no)


def _endpoint(row: Row[Any]) -> Endpoint:
    values = row._asdict()
    allowed = values["allowed_functions"]
    return Endpoint(
        **values
        | {
            "public": bool(values["public"]),
            "stop_wanted": bool(values["stop_wanted"]),
            "users": tuple(loads_trusted(values["users"])),
            "allowed_functions": None if allowed is None else tuple(loads_trusted(allowed)),
            "registration": loads_trusted(values["registration"]),
            "status": loads_trusted(values["status"]),
        }
    )
