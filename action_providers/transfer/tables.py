"""Tables of the collections. Times are integer microseconds since the epoch, identifiers UUID text."""

from __future__ import annotations

from sqlalchemy import BigInteger, Boolean, Column, ForeignKey, MetaData, String, Table, Text

from schemas.naming import NAMING_CONVENTION

metadata = MetaData(naming_convention=NAMING_CONVENTION)

#: A local directory that is offered. ``root`` is its real absolute path; ``owner`` a principal URN.
collections = Table(
    "transfer_collections",
    metadata,
    Column("collection_id", String(36), primary_key=True),
    Column("display_name", Text, nullable=False),
    Column("description", Text),
    Column("root", Text, nullable=False),
    Column("owner", String(128), nullable=False, index=True),
    Column("read_only", Boolean, nullable=False),
    Column("public", Boolean, nullable=False),
    Column("created_at", BigInteger, nullable=False),
)

#: Who else may read or write below a path (which ends in a slash). A deleted rule stays with the action that deleted
#: it, so that the same action asked again answers the same.
access_rules = Table(
    "transfer_access_rules",
    metadata,
    Column("rule_id", String(36), primary_key=True),
    Column(
        "collection_id",
        ForeignKey("transfer_collections.collection_id", ondelete="CASCADE"),
        nullable=False,
        index=True,
    ),
    Column("path", Text, nullable=False),
    Column("principal_type", String(24), nullable=False),
    Column("principal", String(36), nullable=False),
    Column("permissions", String(2), nullable=False),
    Column("created_at", BigInteger, nullable=False),
    Column("deleted_at", BigInteger),
    Column("deleted_by", String(512)),
)

#: Directories about to be made, written before they are: an action repeated after a crash knows its own work.
mkdir_intents = Table(
    "transfer_mkdir_intents",
    metadata,
    Column("action_id", String(512), primary_key=True),
    Column("created_at", BigInteger, nullable=False, index=True),
)
