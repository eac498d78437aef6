"""Identities: who can be named in a role list - people, clients and flows.

Functions take ``tx``. Usernames are compared in lower case. Identities that share an ``account_id`` are linked: they
are the same person.
"""

from __future__ import annotations

import re
import uuid
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Any

from sqlalchemy import Connection, Row, select, update

from schemas.errors import Problem, Unprocessable
from schemas.json_text import Json
from schemas.times import to_us

from .tables import identities, insert_unless_there

#: Domain of the usernames of clients and flows; official clients recognise it.
CLIENT_DOMAIN = "clients.auth.globus.org"
#: Who vouches for identities made by this installation.
LOCAL_PROVIDER_ID = str(uuid.uuid5(uuid.NAMESPACE_DNS, "flows.local"))
LOCAL_PROVIDER_NAME = "flows-engine"

_USERNAME = re.compile(r"[A-Za-z0-9._%+'~!#$&*/=?^`{|}-]{1,64}@[A-Za-z0-9](?:[A-Za-z0-9.-]{0,252}[A-Za-z0-9])?")


class Kind(StrEnum):
    PERSON = "person"
    CLIENT = "client"
    FLOW = "flow"


class Standing(StrEnum):
    """``UNUSED``: named before its owner ever signed in. ``CLOSED``: kept only so that its name can still be shown."""

    USED = "used"
    UNUSED = "unused"
    CLOSED = "closed"


@dataclass(frozen=True, slots=True, kw_only=True)
class Identity:
    identity_id: str
    account_id: str
    username: str
    kind: Kind
    standing: Standing
    name: str | None = None
    email: str | None = None
    organization: str | None = None
    is_service_administrator: bool = False

    def to_json(self) -> dict[str, Json]:
        """The identity as the identities API shows it."""
        return {
            "id": self.identity_id,
            "username": self.username,
            "name": self.name,
            "email": self.email,
            "organization": self.organization,
            "status": self.standing.value,
            "identity_provider": LOCAL_PROVIDER_ID,
            "identity_type": "login" if self.kind is Kind.PERSON else "client",
        }


def client_username(client_id: str) -> str:
    """Username of the identity of a client or flow."""
    return f"{client_id}@{CLIENT_DOMAIN}"


def load(tx: Connection, identity_id: str) -> Identity | None:
    row = tx.execute(select(identities).where(identities.c.identity_id == identity_id)).first()
    return None if row is None else _identity(row)


def by_ids(tx: Connection, identity_ids: Sequence[str]) -> list[Identity]:
    """The identities that exist, ordered by username."""
    return _several(tx, identities.c.identity_id.in_(identity_ids))


def by_usernames(tx: Connection, usernames: Sequence[str]) -> list[Identity]:
    """The identities that exist, ordered by username."""
    wanted = [one.lower() for one in usernames if "\0" not in one]  # PostgreSQL refuses to compare such text
    return _several(tx, identities.c.username.in_(wanted))


def linked(tx: Connection, identity: Identity) -> list[Identity]:
    """Every identity of the same person, this one first."""
    found = _several(tx, identities.c.account_id == identity.account_id)
    return [identity, *(one for one in found if one.identity_id != identity.identity_id)]


def ensure(tx: Connection, identity: Identity, *, now: datetime) -> Identity:
    """Add the identity unless one of its id or username is there; returns the one that is there now."""
    row = {
        "identity_id": identity.identity_id,
        "account_id": identity.account_id,
        "username": identity.username.lower(),
        "name": identity.name,
        "email": identity.email,
        "organization": identity.organization,
        "kind": identity.kind.value,
        "status": identity.standing.value,
        "is_service_administrator": identity.is_service_administrator,
        "created_at": to_us(now),
    }
    insert_unless_there(tx, identities, row)
    found = load(tx, identity.identity_id) or next(iter(by_usernames(tx, [identity.username])), None)
    if found is None:
        raise LookupError(f"the identity {identity.username} was removed while it was being added")
    return found


def provision(tx: Connection, username: str, *, now: datetime) -> Identity:
    """The identity of this username; an unused one is made when there is none.

    Raises:
        Unprocessable: when the text cannot be a username.
    """
    if len(username) > 254 or not _USERNAME.fullmatch(username) or ".." in username.partition("@")[2]:
        problem = Problem(("usernames",), f"{username[:80]!r} is not a username such as alice@example.org")
        raise Unprocessable([problem], where="query")
    email = None if username.lower().endswith(f"@{CLIENT_DOMAIN}") else username
    new_id = str(uuid.uuid4())
    placeholder = Identity(
        identity_id=new_id,
        account_id=new_id,
        username=username,
        kind=Kind.PERSON,
        standing=Standing.UNUSED,
        email=email,
    )
    return ensure(tx, placeholder, now=now)


def ensure_flow(tx: Connection, flow_id: str, title: str, *, now: datetime) -> Identity:
    """The flow's own identity, which has the flow's id; it is what a state that runs as the flow acts as.

    Call it in the transaction that creates the flow, or changes its title.
    """
    flow = Identity(
        identity_id=flow_id,
        account_id=flow_id,
        username=client_username(flow_id),
        kind=Kind.FLOW,
        standing=Standing.USED,
        name=title,
    )
    found = ensure(tx, flow, now=now)
    if found.name == title and found.standing is Standing.USED:
        return found
    tx.execute(
        update(identities)
        .where(identities.c.identity_id == flow_id, identities.c.kind == Kind.FLOW.value)
        .values(name=title, status=Standing.USED.value)
    )
    return load(tx, flow_id) or flow


def close(tx: Connection, identity_id: str) -> None:
    """Nobody can act as the identity any more; its name is still shown where it is mentioned."""
    tx.execute(
        update(identities)
        .where(identities.c.identity_id == identity_id)
        .values(status=Standing.CLOSED.value, is_service_administrator=False)
    )


def _several(tx: Connection, condition: Any) -> list[Identity]:
    return [_identity(row) for row in tx.execute(select(identities).where(condition).order_by(identities.c.username))]


def _identity(row: Row[Any]) -> Identity:
    return Identity(
        identity_id=row.identity_id,
        account_id=row.account_id,
        username=row.username,
        kind=Kind(row.kind),
        standing=Standing(row.status),
        name=row.name,
        email=row.email,
        organization=row.organization,
        is_service_administrator=row.is_service_administrator,
    )
