"""Tables of the auth room: who there is, which programs act for them, what was granted and issued.

Times are integer microseconds since the epoch, identifiers of the API are UUID text. Every name begins with ``auth_``,
because these tables share a database with those of the flow service.
"""

from __future__ import annotations

from typing import Any

from sqlalchemy import (
    BigInteger,
    Boolean,
    Column,
    Connection,
    ForeignKey,
    Index,
    Integer,
    MetaData,
    String,
    Table,
    Text,
    UniqueConstraint,
)
from sqlalchemy.dialects import postgresql, sqlite

from schemas.naming import NAMING_CONVENTION

metadata = MetaData(naming_convention=NAMING_CONVENTION)

#: 64-bit key that counts up by itself, on both databases.
Serial = BigInteger().with_variant(Integer, "sqlite")

#: One row, made at the first start. ``pepper_check`` tells whether the pepper in use is the one that keyed the digests.
installation = Table(
    "auth_installation",
    metadata,
    Column("one", Integer, primary_key=True, autoincrement=False),
    Column("pepper_check", String(64), nullable=False),
    Column("administrator_id", String(36), nullable=False),
    Column("client_id", String(36), nullable=False),
    Column("created_at", BigInteger, nullable=False),
)

#: Somebody who can be named in a role list. ``kind`` is person, client or flow; ``status`` used, unused or closed.
#: Identities with the same ``account_id`` are linked: they are one person, and see what any of them owns.
identities = Table(
    "auth_identities",
    metadata,
    Column("identity_id", String(36), primary_key=True),
    Column("account_id", String(36), nullable=False, index=True),
    Column("username", String(320), nullable=False, unique=True),
    Column("name", Text),
    Column("email", Text),
    Column("organization", Text),
    Column("kind", String(8), nullable=False),
    Column("status", String(8), nullable=False),
    Column("is_service_administrator", Boolean, nullable=False),
    Column("created_at", BigInteger, nullable=False),
)

#: A confidential client. ``secret_digest`` is keyed by the pepper. ``audience`` is a second name of its resource
#: server, beside its id; for an action provider the ``host[:port]`` of its address, the one place where the engine
#: sends tokens for its scopes.
clients = Table(
    "auth_clients",
    metadata,
    Column("client_id", ForeignKey("auth_identities.identity_id"), primary_key=True),
    Column("name", Text, nullable=False),
    Column("secret_digest", String(64), nullable=False),
    Column("audience", String(255), unique=True),
    Column("created_at", BigInteger, nullable=False),
    Column("secret_changed_at", BigInteger, nullable=False),
)

#: A scope of a client that is a resource server. ``dependent_scopes`` are scope strings, parted by spaces, that
#: whoever is granted the scope grants the client in turn.
client_scopes = Table(
    "auth_client_scopes",
    metadata,
    Column("scope_string", String(512), primary_key=True),
    Column("client_id", ForeignKey("auth_clients.client_id", ondelete="CASCADE"), nullable=False, index=True),
    Column("dependent_scopes", Text, nullable=False),
)

#: An access token, found by ``token_id`` (part of its text, not secret, not unique) and proved by its digest.
#: ``actor`` is the flow on whose behalf the engine asked for it. A token dies with its parent.
tokens = Table(
    "auth_tokens",
    metadata,
    Column("token_digest", String(64), primary_key=True),
    Column("token_id", String(16), nullable=False, index=True),
    Column("parent_digest", String(64), index=True),
    Column("identity_id", ForeignKey("auth_identities.identity_id"), nullable=False, index=True),
    Column("client_id", String(36), nullable=False, index=True),
    Column("actor", String(36)),
    Column("resource_server", String(255), nullable=False, index=True),
    Column("scopes", Text, nullable=False),
    Column("issued_at", BigInteger, nullable=False),
    Column("expires_at", BigInteger, nullable=False, index=True),
    Column("revoked_at", BigInteger),
)

#: ``effective_identity`` lets ``client_id`` use ``scope_name`` - at large when ``parent_no`` is 0, else only while
#: serving the parent consent. ``path`` is the consent numbers from the root to this one, parted by spaces.
consents = Table(
    "auth_consents",
    metadata,
    Column("consent_no", Serial, primary_key=True),
    Column("effective_identity", ForeignKey("auth_identities.identity_id"), nullable=False),
    Column("client_id", String(36), nullable=False, index=True),
    Column("scope_name", String(512), nullable=False),
    Column("parent_no", BigInteger, nullable=False),
    Column("path", Text, nullable=False),
    Column("atomically_revocable", Boolean, nullable=False),
    Column("auto_approved", Boolean, nullable=False),
    Column("created_at", BigInteger, nullable=False),
    Column("updated_at", BigInteger, nullable=False),
    Column("last_used_at", BigInteger, nullable=False),
    UniqueConstraint("effective_identity", "client_id", "scope_name", "parent_no"),
    Index("ix_auth_consents_parent", "parent_no"),
)


def insert_unless_there(tx: Connection, table: Table, row: dict[str, Any]) -> bool:
    """Insert the row; False when a row with the same key was there first, also when it came at the same moment."""
    make = postgresql.insert if tx.dialect.name == "postgresql" else sqlite.insert
    return bool(tx.execute(make(table).values(row).on_conflict_do_nothing()).rowcount)
