"""Access tokens: opaque text that speaks for one identity at one resource server, until it expires or is revoked.

Functions take ``tx``. The text is ``fe_<8 characters, the id>_<43 random characters>``; it is shown once and kept only
as a digest. The id is no secret: it finds the row and may stand in an audit record.
"""

from __future__ import annotations

import re
import secrets
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import ColumnElement, Connection, Row, delete, insert, or_, select, update

from schemas.times import from_us, to_us

from .keys import Keys
from .tables import tokens

#: What every token of ours looks like; secret scanners may use it too.
TOKEN_PATTERN = re.compile(r"fe_([A-Za-z0-9_-]{8})_[A-Za-z0-9_-]{43}", re.ASCII)


@dataclass(frozen=True, slots=True, kw_only=True)
class Token:
    """A token without its text. ``client_id`` is whom it was issued to, ``actor`` the flow it acts for."""

    digest: str
    identity_id: str
    client_id: str
    actor: str | None
    resource_server: str
    scopes: tuple[str, ...]
    issued_at: datetime
    expires_at: datetime
    is_revoked: bool

    def is_live(self, now: datetime) -> bool:
        return not self.is_revoked and now < self.expires_at

    @property
    def times(self) -> dict[str, int]:
        """``{"exp", "iat", "nbf"}`` in epoch seconds."""
        issued = int(self.issued_at.timestamp())
        return {"exp": int(self.expires_at.timestamp()), "iat": issued, "nbf": issued}


@dataclass(frozen=True, slots=True, kw_only=True)
class Grant:
    """What a new token shall allow."""

    identity_id: str
    client_id: str
    resource_server: str
    scopes: Sequence[str]
    life: timedelta
    actor: str | None = None
    parent_digest: str | None = None


def issue(tx: Connection, keys: Keys, grant: Grant, *, now: datetime) -> str:
    """Store a new token; returns its text, which is not kept."""
    token_id = secrets.token_urlsafe(6)
    text = f"fe_{token_id}_{secrets.token_urlsafe(32)}"
    tx.execute(
        insert(tokens).values(
            token_digest=keys.digest(text),
            token_id=token_id,
            parent_digest=grant.parent_digest,
            identity_id=grant.identity_id,
            client_id=grant.client_id,
            actor=grant.actor,
            resource_server=grant.resource_server,
            scopes=" ".join(grant.scopes),
            issued_at=to_us(now),
            expires_at=to_us(now + grant.life),
        )
    )
    return text


def find(tx: Connection, keys: Keys, text: str) -> Token | None:
    """The token with this text, live or not; None when we never issued it."""
    match = TOKEN_PATTERN.fullmatch(text)
    if match is None:
        return None
    for row in tx.execute(select(tokens).where(tokens.c.token_id == match[1])):
        if keys.matches(text, row.token_digest):
            return _token(row)
    return None


def revoke(tx: Connection, digest: str, *, now: datetime) -> None:
    """End the token and, with it, all that were issued on the strength of it."""
    digests = [digest]
    while digests:
        _revoke(tx, tokens.c.token_digest.in_(digests), now=now)
        children = select(tokens.c.token_digest).where(
            tokens.c.parent_digest.in_(digests), tokens.c.revoked_at.is_(None)
        )
        digests = list(tx.execute(children).scalars())


def revoke_of_client(tx: Connection, client_id: str, *, now: datetime) -> None:
    """End every token issued to the client, in its name, or for use at it."""
    _revoke(
        tx,
        or_(
            tokens.c.client_id == client_id,
            tokens.c.identity_id == client_id,
            tokens.c.resource_server == client_id,
        ),
        now=now,
    )


def revoke_issued_to(tx: Connection, client_id: str, *, now: datetime) -> None:
    """End every token that was issued to the client."""
    _revoke(tx, tokens.c.client_id == client_id, now=now)


def purge(tx: Connection, *, expired_before: datetime, limit: int) -> int:
    """Remove tokens that ran out before a time; returns how many, at most ``limit``."""
    doomed = select(tokens.c.token_digest).where(tokens.c.expires_at < to_us(expired_before)).limit(limit)
    digests = list(tx.execute(doomed).scalars())
    if digests:
        tx.execute(delete(tokens).where(tokens.c.token_digest.in_(digests)))
    return len(digests)


def _revoke(tx: Connection, condition: ColumnElement[bool], *, now: datetime) -> None:
    tx.execute(update(tokens).where(condition, tokens.c.revoked_at.is_(None)).values(revoked_at=to_us(now)))


def _token(row: Row[Any]) -> Token:
    return Token(
        digest=row.token_digest,
        identity_id=row.identity_id,
        client_id=row.client_id,
        actor=row.actor,
        resource_server=row.resource_server,
        scopes=tuple(row.scopes.split()),
        issued_at=from_us(row.issued_at),
        expires_at=from_us(row.expires_at),
        is_revoked=row.revoked_at is not None,
    )
