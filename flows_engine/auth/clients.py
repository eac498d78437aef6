"""Confidential clients: programs with an id and a secret, which may act as themselves or serve a scope of their own.

Functions take ``tx``. A client's identity has the client's id. A client with scopes is a resource server: an action
provider elsewhere that checks the tokens it is sent by introspection.
"""

from __future__ import annotations

import re
import secrets
import string
import uuid
from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, Row, delete, insert, select, update

from schemas.errors import Problem, Unprocessable
from schemas.times import from_us, to_us

from . import identities
from .keys import Keys
from .scopes import SERVICE_SCOPES, Scope, url_scope
from .tables import client_scopes, clients

#: Letters and digits alone: the same text whether or not a library percent-encodes it (RFC 6749, 2.3.1).
_SECRET_ALPHABET = string.ascii_letters + string.digits
_SECRET_CHARS = 44
_SUFFIX = re.compile(r"[A-Za-z0-9_.~-][A-Za-z0-9_.~/-]{0,127}")
_AUDIENCE = re.compile(r"[\x21-\x7e]{1,255}")


@dataclass(frozen=True, slots=True)
class ProviderScope:
    """A scope of a client. ``suffix`` ends the scope string; ``dependent_scopes`` are granted together with it."""

    suffix: str
    dependent_scopes: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Client:
    """A client without its secret. ``scopes`` are the scope strings it serves."""

    client_id: str
    name: str
    audience: str | None
    created_at: datetime
    secret_changed_at: datetime
    scopes: tuple[str, ...] = ()

    @property
    def resource_servers(self) -> frozenset[str]:
        """Names of the resource server that this client is."""
        return frozenset({self.client_id, *([self.audience] if self.audience else [])})


def new_secret() -> str:
    """44 characters: 262 bits."""
    return "".join(secrets.choice(_SECRET_ALPHABET) for _ in range(_SECRET_CHARS))


def check(name: str, scopes: Sequence[ProviderScope], audience: str | None) -> None:
    """Raises ``Unprocessable`` with everything that is wrong with a client to be registered."""
    problems = []
    if not 0 < len(name.strip()) <= 128:
        problems.append(Problem(("name",), "a client needs a name of 1 to 128 characters"))
    if audience is not None and (not _AUDIENCE.fullmatch(audience) or audience in set(SERVICE_SCOPES.values())):
        problems.append(
            Problem(
                ("audience",), f"{audience[:80]!r} is not free; an audience is visible ASCII text such as a host name"
            )
        )
    problems += [
        Problem(
            ("scopes", index),
            f"{scope.suffix[:80]!r} is not the end of a scope; use letters, digits, _ . ~ - and /, as in action_all",
        )
        for index, scope in enumerate(scopes)
        if not _SUFFIX.fullmatch(scope.suffix)
    ]
    if len({scope.suffix for scope in scopes}) < len(scopes):
        problems.append(Problem(("scopes",), "a scope is named twice"))
    if problems:
        raise Unprocessable(problems, where="client")


def create(
    tx: Connection,
    keys: Keys,
    *,
    name: str,
    scopes: Sequence[ProviderScope],
    audience: str | None,
    now: datetime,
) -> tuple[Client, str]:
    """Register a client with its identity; returns it with its secret, which is not kept."""
    client_id, secret = str(uuid.uuid4()), new_secret()
    add(tx, keys, client_id=client_id, secret=secret, name=name, audience=audience, now=now)
    for scope in scopes:
        tx.execute(
            insert(client_scopes).values(
                scope_string=url_scope(client_id, scope.suffix),
                client_id=client_id,
                dependent_scopes=" ".join(scope.dependent_scopes),
            )
        )
    client = load(tx, client_id)
    if client is None:
        raise LookupError(f"the client {client_id} was removed while it was being added")
    return client, secret


def add(
    tx: Connection,
    keys: Keys,
    *,
    client_id: str,
    secret: str,
    name: str,
    now: datetime,
    audience: str | None = None,
    administrator: identities.Identity | None = None,
) -> None:
    """Add a client whose id and secret are given; with ``administrator``, linked to that person and as powerful."""
    own = identities.Identity(
        identity_id=client_id,
        account_id=client_id,
        username=identities.client_username(client_id),
        kind=identities.Kind.CLIENT,
        standing=identities.Standing.USED,
        name=name,
    )
    if administrator is not None:
        own = replace(own, account_id=administrator.account_id, is_service_administrator=True)
    identities.ensure(tx, own, now=now)
    tx.execute(
        insert(clients).values(
            client_id=client_id,
            name=name,
            secret_digest=keys.digest(secret),
            audience=audience,
            created_at=to_us(now),
            secret_changed_at=to_us(now),
        )
    )


def load(tx: Connection, client_id: str) -> Client | None:
    row = tx.execute(select(clients).where(clients.c.client_id == client_id)).first()
    return None if row is None else _client(row, _scopes_of(tx, [client_id]).get(client_id, ()))


def all_clients(tx: Connection) -> list[Client]:
    """Every client, oldest first."""
    rows = tx.execute(select(clients).order_by(clients.c.created_at, clients.c.client_id)).all()
    scopes = _scopes_of(tx, [row.client_id for row in rows])
    return [_client(row, scopes.get(row.client_id, ())) for row in rows]


def verified(tx: Connection, keys: Keys, client_id: str, secret: str) -> Client | None:
    """The client, when this is its secret. Unknown clients take as long to refuse as wrong secrets."""
    digest = tx.execute(select(clients.c.secret_digest).where(clients.c.client_id == client_id)).scalar()
    if not keys.matches(secret, digest or keys.digest("")) or digest is None:
        return None
    return load(tx, client_id)


def set_secret(tx: Connection, keys: Keys, client_id: str, secret: str, *, now: datetime) -> None:
    """Put a secret in place of the one before."""
    tx.execute(
        update(clients)
        .where(clients.c.client_id == client_id)
        .values(secret_digest=keys.digest(secret), secret_changed_at=to_us(now))
    )


def remove(tx: Connection, client_id: str) -> None:
    """Remove the client and its scopes; its identity is closed."""
    tx.execute(delete(client_scopes).where(client_scopes.c.client_id == client_id))
    tx.execute(delete(clients).where(clients.c.client_id == client_id))
    identities.close(tx, client_id)


def scopes_named(tx: Connection, names: Collection[str]) -> dict[str, Scope]:
    """The registered scopes among the names."""
    rows = tx.execute(select(client_scopes).where(client_scopes.c.scope_string.in_(names)))
    return {
        row.scope_string: Scope(row.scope_string, row.client_id, row.client_id, tuple(row.dependent_scopes.split()))
        for row in rows
    }


def _scopes_of(tx: Connection, client_ids: Sequence[str]) -> dict[str, tuple[str, ...]]:
    query = (
        select(client_scopes.c.client_id, client_scopes.c.scope_string)
        .where(client_scopes.c.client_id.in_(client_ids))
        .order_by(client_scopes.c.scope_string)
    )
    found: dict[str, tuple[str, ...]] = {}
    for row in tx.execute(query):
        found[row.client_id] = (*found.get(row.client_id, ()), row.scope_string)
    return found


def _client(row: Row[Any], scopes: tuple[str, ...]) -> Client:
    return Client(
        client_id=row.client_id,
        name=row.name,
        audience=row.audience,
        created_at=from_us(row.created_at),
        secret_changed_at=from_us(row.secret_changed_at),
        scopes=scopes,
    )
