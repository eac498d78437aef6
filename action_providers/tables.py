"""Tables of the action provider kit.

Times are integer microseconds since the epoch, JSON is text, identifiers are UUID text, as in the flow service.
"""

from __future__ import annotations

from sqlalchemy import (
    BigInteger,
    Column,
    ForeignKey,
    Index,
    Integer,
    MetaData,
    PrimaryKeyConstraint,
    String,
    Table,
    Text,
    UniqueConstraint,
    text,
)

from schemas.naming import NAMING_CONVENTION

metadata = MetaData(naming_convention=NAMING_CONVENTION)

#: An action, from its request to its tombstone. ``sha256`` is of the request document, and with the unique key makes a
#: repeated request the same action. ``next_step`` is the provider's method that is wanted next (run, advance, resume,
#: cancel), ``due`` when, or NULL when nothing is. A claim sets ``owner`` and ``lease_until`` and raises ``fence`` and
#: ``tries``; every write of the claimant checks owner and fence. ``cancel_wanted`` asks that cancel follows a run or
#: resume in flight. ``expires_at`` is when a finished action becomes a tombstone (``released_at`` set, contents wiped)
#: and then when the tombstone, which still guards its request_id, is deleted.
actions = Table(
    "provider_actions",
    metadata,
    Column("action_id", String(36), primary_key=True),
    Column("provider", String(128), nullable=False),
    Column("creator", String(128), nullable=False),
    Column("request_id", String(256), nullable=False),
    Column("sha256", String(64), nullable=False),
    Column("status", String(9), nullable=False),
    Column("next_step", String(7), nullable=False),
    Column("cancel_wanted", Integer, nullable=False),
    Column("label", Text),
    Column("body", Text, nullable=False),
    Column("caller", Text, nullable=False),
    Column("sharing", Text, nullable=False),
    Column("details", Text, nullable=False),
    Column("state", Text, nullable=False),
    Column("release_after", String(64), nullable=False),
    Column("started_at", BigInteger, nullable=False),
    Column("completed_at", BigInteger),
    Column("released_at", BigInteger),
    Column("expires_at", BigInteger),
    Column("deadline", BigInteger),
    Column("waiter", Text, nullable=False),
    Column("due", BigInteger),
    Column("owner", String(36)),
    Column("lease_until", BigInteger),
    Column("fence", Integer, nullable=False),
    Column("tries", Integer, nullable=False),
    Column("last_error", Text),
    UniqueConstraint("request_id", "creator", "provider"),
    Index(
        "ix_provider_actions_due",
        "due",
        sqlite_where=text("due IS NOT NULL"),
        postgresql_where=text("due IS NOT NULL"),
    ),
    Index("ix_provider_actions_creator", "creator", "provider", "started_at"),
    Index(
        "ix_provider_actions_expires_at",
        "expires_at",
        sqlite_where=text("expires_at IS NOT NULL"),
        postgresql_where=text("expires_at IS NOT NULL"),
    ),
)

#: Who besides the creator may see or manage an action: ``role`` is monitor_by or manage_by. For enumeration; the
#: action's ``sharing`` column is what decides.
action_roles = Table(
    "provider_action_roles",
    metadata,
    Column("action_id", ForeignKey("provider_actions.action_id", ondelete="CASCADE"), nullable=False),
    Column("principal", String(128), nullable=False),
    Column("role", String(10), nullable=False),
    PrimaryKeyConstraint("action_id", "role", "principal"),
    Index("ix_provider_action_roles_principal", "principal", "role"),
)
