"""Bring a database to the schema of this version. Safe to call from several processes at once.

On PostgreSQL an advisory lock lets one migrate while the others wait; on SQLite the write transaction does. A database
that is newer than this program is refused with a sentence, never changed.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from alembic import command
from alembic.config import Config
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import Connection, MetaData, text

from .db import SqlDatabase

_FOLDER = Path(__file__).parent / "migrations"

#: Any number; every version of this program must use the same.
_ADVISORY_LOCK = 7_261_998_350


class SchemaTooNew(Exception):
    """The database was migrated by a newer version of this program."""


def migrate(db: SqlDatabase, metadata: Sequence[MetaData] = ()) -> None:
    """Upgrade to the newest schema; nothing happens when the database has it.

    Raises:
        SchemaTooNew: the sentence names both versions.
    """
    with db.begin() as tx:
        if db.dialect == "postgresql":
            # A migration, and waiting for another process's, may take longer than any transaction of the engine.
            tx.execute(text("SET LOCAL statement_timeout = 0"))
            tx.execute(text("SET LOCAL lock_timeout = 0"))
            tx.execute(text("SELECT pg_advisory_xact_lock(:key)"), {"key": _ADVISORY_LOCK})
        current = MigrationContext.configure(tx).get_current_revision()
        script = ScriptDirectory.from_config(_config(tx, metadata))
        if current == script.get_current_head():
            return
        if current is not None and current not in {one.revision for one in script.walk_revisions()}:
            raise SchemaTooNew(
                f"the database has schema {current}, which this version does not know (it knows up to "
                f"{script.get_current_head()}); use the newer version that wrote it"
            )
        command.upgrade(_config(tx, metadata), "head")


def revise(db: SqlDatabase, metadata: Sequence[MetaData], message: str) -> None:
    """For developers: write a new migration from the difference between tables and database."""
    with db.begin() as tx:
        command.revision(_config(tx, metadata), message=message, autogenerate=True)


def check(db: SqlDatabase, metadata: Sequence[MetaData]) -> None:
    """Raise when the tables in code and the migrated database differ."""
    with db.begin() as tx:
        command.check(_config(tx, metadata))


def current_schema(db: SqlDatabase) -> str | None:
    """Revision the database has."""
    with db.read() as tx:
        return MigrationContext.configure(tx).get_current_revision()


def _config(tx: Connection, metadata: Sequence[MetaData]) -> Config:
    config = Config()
    config.set_main_option("script_location", str(_FOLDER))
    config.attributes["connection"] = tx
    config.attributes["metadata"] = list(metadata)
    return config
