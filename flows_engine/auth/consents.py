"""Consents: which client an identity lets use which scope, and what that client may use in turn.

Functions take ``tx``. Consents form a forest: a root lets a client use a scope at large; a child lets the resource
server of its parent's scope use another scope, while serving that parent only. Official clients read the forest back to
see whether a nested scope they once asked for is still granted, so client-credentials grants are recorded too.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, Row, delete, select, update

from schemas.json_text import Json
from schemas.times import format_time, from_us, to_us

from .scopes import scope_id
from .tables import consents, insert_unless_there

_ROOT = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class ConsentGrant:
    """A consent to be recorded, with those beneath it. ``is_asked`` is false for what comes along with its parent."""

    client_id: str
    scope_name: str
    is_optional: bool = False
    is_asked: bool = True
    children: tuple[ConsentGrant, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Consent:
    consent_no: int
    effective_identity: str
    client_id: str
    scope_name: str
    path: tuple[int, ...]
    atomically_revocable: bool
    auto_approved: bool
    created_at: datetime
    updated_at: datetime
    last_used_at: datetime

    def to_json(self) -> dict[str, Json]:
        """The consent as the consents API shows it: official clients insist on every member."""
        return {
            "id": self.consent_no,
            "client": self.client_id,
            "scope": scope_id(self.scope_name),
            "scope_name": self.scope_name,
            "effective_identity": self.effective_identity,
            "dependency_path": list(self.path),
            "created": format_time(self.created_at),
            "updated": format_time(self.updated_at),
            "last_used": format_time(self.last_used_at),
            "status": "approved",
            "allows_refresh": False,
            "auto_approved": self.auto_approved,
            "atomically_revocable": self.atomically_revocable,
        }


def record(tx: Connection, identity_id: str, grants: Sequence[ConsentGrant], *, now: datetime) -> None:
    """Record the trees; what is there already is kept and counts as used now."""
    _record(tx, identity_id, grants, parent_no=_ROOT, parent_path="", now=now)


def of_identity(tx: Connection, identity_id: str, *, root_client: str | None = None) -> list[Consent]:
    """The identity's consents, oldest first; with ``root_client``, only the trees that this client is the root of."""
    query = select(consents).where(consents.c.effective_identity == identity_id).order_by(consents.c.consent_no)
    found = [_consent(row) for row in tx.execute(query)]
    if root_client is None:
        return found
    roots = {one.consent_no for one in found if len(one.path) == 1 and one.client_id == root_client}
    return [one for one in found if one.path[0] in roots]


def granted_beneath(
    tx: Connection, identity_id: str, *, clients: Collection[str], scope_names: Collection[str]
) -> list[str]:
    """Scopes the identity granted beneath any of ``scope_names`` when those are used by one of ``clients``."""
    parent = consents.alias("parent")
    query = (
        select(consents.c.scope_name)
        .distinct()
        .join(parent, parent.c.consent_no == consents.c.parent_no)
        .where(
            parent.c.effective_identity == identity_id,
            parent.c.client_id.in_(clients),
            parent.c.scope_name.in_(scope_names),
        )
        .order_by(consents.c.scope_name)
    )
    return list(tx.execute(query).scalars())


def beneath(tx: Connection, identity_id: str, scope_name: str) -> frozenset[str]:
    """Scopes the identity granted beneath a root consent to ``scope_name``, at any depth and by way of any client."""
    own = consents.c.effective_identity == identity_id
    root = select(consents.c.consent_no).where(own, consents.c.scope_name == scope_name, consents.c.parent_no == _ROOT)
    parents = list(tx.execute(root).scalars())
    found: set[str] = set()
    while parents:
        query = select(consents.c.consent_no, consents.c.scope_name).where(own, consents.c.parent_no.in_(parents))
        rows = tx.execute(query).all()
        found |= {row.scope_name for row in rows}
        parents = [row.consent_no for row in rows]
    return frozenset(found)


def is_granted(tx: Connection, identity_id: str, path: Sequence[str]) -> bool:
    """Whether some client's consents lead along these scope names, from a root to the last one."""
    parents: list[int] = [_ROOT]
    for name in path:
        query = select(consents.c.consent_no).where(
            consents.c.effective_identity == identity_id,
            consents.c.scope_name == name,
            consents.c.parent_no.in_(parents),
        )
        parents = list(tx.execute(query).scalars())
        if not parents:
            return False
    return bool(path)


def forget(tx: Connection, *, client_id: str, scope_names: Collection[str]) -> None:
    """Remove what was granted to the client, what was granted of its scopes, and all that hangs beneath either."""
    doomed = (consents.c.client_id == client_id) | consents.c.scope_name.in_(scope_names)
    removed = tx.execute(delete(consents).where(doomed)).rowcount
    parent = consents.alias("parent")
    while removed:
        orphans = (consents.c.parent_no != _ROOT) & consents.c.parent_no.not_in(select(parent.c.consent_no))
        removed = tx.execute(delete(consents).where(orphans)).rowcount


def _record(
    tx: Connection,
    identity_id: str,
    grants: Sequence[ConsentGrant],
    *,
    parent_no: int,
    parent_path: str,
    now: datetime,
) -> None:
    # Always in the same order, so that two requests of one identity wait for each other instead of deadlocking.
    for grant in sorted(grants, key=lambda one: one.scope_name):
        number, path, last_used_at = _ensure(tx, identity_id, grant, parent_no=parent_no, now=now)
        path = path or f"{parent_path} {number}".strip()
        tx.execute(
            update(consents)
            .where(consents.c.consent_no == number)
            .values(path=path, last_used_at=max(last_used_at, to_us(now)))
        )
        _record(tx, identity_id, grant.children, parent_no=number, parent_path=path, now=now)


def _ensure(
    tx: Connection, identity_id: str, grant: ConsentGrant, *, parent_no: int, now: datetime
) -> tuple[int, str, int]:
    """Returns number, path (empty while it is new) and time of last use of the consent."""
    query = select(consents.c.consent_no, consents.c.path, consents.c.last_used_at).where(
        consents.c.effective_identity == identity_id,
        consents.c.client_id == grant.client_id,
        consents.c.scope_name == grant.scope_name,
        consents.c.parent_no == parent_no,
    )
    row = tx.execute(query).first()
    if row is None:
        at = to_us(now)
        insert_unless_there(
            tx,
            consents,
            {
                "effective_identity": identity_id,
                "client_id": grant.client_id,
                "scope_name": grant.scope_name,
                "parent_no": parent_no,
                "path": "",
                "atomically_revocable": grant.is_optional,
                "auto_approved": not grant.is_asked,
                "created_at": at,
                "updated_at": at,
                "last_used_at": at,
            },
        )
        row = tx.execute(query).one()
    return row.consent_no, row.path, row.last_used_at


def _consent(row: Row[Any]) -> Consent:
    return Consent(
        consent_no=row.consent_no,
        effective_identity=row.effective_identity,
        client_id=row.client_id,
        scope_name=row.scope_name,
        path=tuple(int(part) for part in row.path.split()),
        atomically_revocable=row.atomically_revocable,
        auto_approved=row.auto_approved,
        created_at=from_us(row.created_at),
        updated_at=from_us(row.updated_at),
        last_used_at=from_us(row.last_used_at),
    )
