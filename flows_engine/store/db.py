"""Opening databases and transactions: SQLite in a file (default) or PostgreSQL.

On SQLite there is one writing connection and one writer at a time, always ``BEGIN IMMEDIATE`` (a plain BEGIN that
reads and then writes cannot wait and fails with "database is locked"), WAL with ``synchronous=FULL`` so that a commit
that was answered survives power loss. Readers have connections of their own.
On PostgreSQL every transaction has a statement and idle limit, so that nobody can hold rows while waiting.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Literal

from sqlalchemy import Connection, Engine, create_engine, event
from sqlalchemy.engine import URL, make_url
from sqlalchemy.exc import InterfaceError, InternalError, OperationalError
from sqlalchemy.exc import TimeoutError as NoConnectionError
from sqlalchemy.pool import QueuePool, StaticPool

#: What a database raises when it is away, busy or in trouble, whatever it was asked. A commit that raises one of these
#: may have been done.
DATABASE_TROUBLE = (OperationalError, InternalError, InterfaceError, NoConnectionError)


class SqlDatabase:
    """A database behind SQLAlchemy; see ``schemas.ports.Database`` for the contract."""

    def __init__(self, url: str | URL, *, pool_size: int = 20) -> None:
        self.url = _normal(make_url(url))
        if self.url.get_backend_name() == "sqlite":
            self._dialect: Literal["sqlite", "postgresql"] = "sqlite"
            self._writer_lock = threading.RLock()
            self._writer = _sqlite_engine(self.url, writer=True)
            # A database in memory belongs to one connection; it serves the tests, which use one thread.
            in_memory = self.url.database in (None, "", ":memory:")
            self._reader = self._writer if in_memory else _sqlite_engine(self.url, writer=False)
        else:
            self._dialect = "postgresql"
            self._writer = self._reader = _postgresql_engine(self.url, pool_size)

    @property
    def dialect(self) -> Literal["sqlite", "postgresql"]:
        return self._dialect

    @property
    def engine(self) -> Engine:
        """The engine that writes; for migrations and maintenance."""
        return self._writer

    @contextmanager
    def begin(self) -> Iterator[Connection]:
        """A write transaction: commits at the end of the block, rolls back when it raises."""
        if self._dialect == "sqlite":
            with self._writer_lock, self._writer.begin() as tx:
                yield tx
        else:
            with self._writer.begin() as tx:
                yield tx

    @contextmanager
    def read(self) -> Iterator[Connection]:
        """A read transaction; what it sees is committed."""
        with self._reader.connect() as tx:
            yield tx

    def dispose(self) -> None:
        """Close every connection."""
        self._writer.dispose()
        self._reader.dispose()


def _normal(url: URL) -> URL:
    if url.get_backend_name() == "sqlite":
        return url.set(drivername="sqlite")
    if url.get_backend_name() in ("postgresql", "postgres"):
        return url.set(drivername="postgresql+psycopg")
    raise ValueError(f"the database {url.get_backend_name()!r} is not supported; use sqlite:/// or postgresql://")


def _sqlite_engine(url: URL, *, writer: bool) -> Engine:
    arguments: dict[str, Any] = {"connect_args": {"check_same_thread": False, "timeout": 30, "isolation_level": None}}
    if writer:
        engine = create_engine(url, poolclass=StaticPool, **arguments)
    else:
        engine = create_engine(url, poolclass=QueuePool, pool_size=8, max_overflow=24, **arguments)

    @event.listens_for(engine, "connect")
    def _configure(connection: Any, _record: Any) -> None:
        for pragma in (
            "journal_mode=WAL",
            "synchronous=FULL",
            "busy_timeout=30000",
            "foreign_keys=ON",
            "wal_autocheckpoint=10000",
            "temp_store=MEMORY",
        ):
            connection.execute(f"PRAGMA {pragma}")

    @event.listens_for(engine, "begin")
    def _begin(connection: Connection) -> None:
        connection.exec_driver_sql("BEGIN IMMEDIATE" if writer else "BEGIN")

    return engine


def _postgresql_engine(url: URL, pool_size: int) -> Engine:
    options = "-c statement_timeout=30000 -c lock_timeout=5000 -c idle_in_transaction_session_timeout=30000"
    return create_engine(
        url,
        pool_size=pool_size,
        max_overflow=pool_size,
        pool_pre_ping=True,
        connect_args={
            "options": options,
            "connect_timeout": 10,
            "keepalives": 1,
            "keepalives_idle": 30,
            "keepalives_interval": 10,
            "keepalives_count": 3,
        },
    )
