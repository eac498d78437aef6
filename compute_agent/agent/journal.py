"""What the agent holds, on disk: one SQLite file, synced before a task may start and before a result is uploaded.

Two sessions with the same ``journal_id`` saw the same journal: a task that the service gave to the first and that the
second does not find here was never started. A journal that is damaged is set aside, and the new one has a new id; so has
one that is a copy or was restored from a backup, which knows nothing of what came after it was made.

Arguments are not kept, since the service has them; results are, since nobody else has. May be used by several threads.
"""

from __future__ import annotations

import contextlib
import logging
import secrets
import sqlite3
import threading
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from schemas.json_text import dumps, loads_trusted

from ..wire import Assignment, Outcome
from .book import Held

log = logging.getLogger(__name__)

_VERSION = 1
_TABLES = (
    "CREATE TABLE facts (name TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID",
    "CREATE TABLE tasks (task_id TEXT NOT NULL, fence INTEGER NOT NULL, function_id TEXT NOT NULL, outcome TEXT, "
    "PRIMARY KEY (task_id, fence))",
)
#: What must fit before a full disk counts as having room again.
_ROOM_BYTES = 1024 * 1024
#: Primary result codes of SQLite that mean that nothing can be written at present.
_NO_ROOM = frozenset({sqlite3.SQLITE_FULL, sqlite3.SQLITE_IOERR, sqlite3.SQLITE_CANTOPEN, sqlite3.SQLITE_READONLY})
_DAMAGED = frozenset({sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB})
_BOOT_ID = Path("/proc/sys/kernel/random/boot_id")


class JournalFull(Exception):
    """Nothing can be written to the journal: no room on its disk, or a disk that fails. Nothing of the batch was."""


class JournalTooNew(Exception):
    """A later version of this program wrote the journal."""


@dataclass(frozen=True, slots=True)
class Entry:
    """A task that the journal holds; ``outcome`` is None when it had none when it was last written."""

    held: Held
    function_id: str
    outcome: Outcome | None


def boot_id() -> str:
    """Changes whenever this machine starts; empty where that cannot be told."""
    try:
        return _BOOT_ID.read_text().strip()
    except OSError:
        return ""


class Journal:
    """``circumstances`` is a text for what start markers can be relied on under: this start of the machine, and that they
    are used at all. ``same_circumstances`` is whether it was that too when the journal was last opened."""

    def __init__(self, path: Path, *, circumstances: str) -> None:
        self._path = path
        self._lock = threading.Lock()
        self._is_closed = False
        #: None while it cannot be opened.
        self._connection: sqlite3.Connection | None = None
        try:
            self._open(circumstances)
        except sqlite3.DatabaseError as error:
            if _code(error) not in _DAMAGED:
                raise JournalFull(_sentence(path, error)) from error
            self._set_aside(error)
            self._open(circumstances)

    def close(self) -> None:
        with self._lock:
            self._is_closed = True
            if self._connection is not None:
                self._connection.close()

    def entries(self) -> list[Entry]:
        """Everything held, in the order of its arrival."""
        with self._lock:
            rows = self._usable().execute("SELECT task_id, fence, function_id, outcome FROM tasks ORDER BY rowid")
            return [
                Entry(
                    Held(task_id, fence),
                    function_id,
                    None if text is None else Outcome.from_json(loads_trusted(text)),
                )
                for task_id, fence, function_id, text in rows
            ]

    def add(self, assignments: Iterable[Assignment]) -> None:
        """Hold these tasks, on disk when this returns.

        Raises:
            JournalFull: none of them is held.
        """
        rows = [(one.task_id, one.fence, one.function_id) for one in assignments]
        with self._writing() as connection:
            connection.executemany("INSERT OR IGNORE INTO tasks (task_id, fence, function_id) VALUES (?, ?, ?)", rows)

    def record(self, outcomes: Iterable[Outcome]) -> None:
        """Hold what became of these tasks, on disk when this returns.

        Raises:
            JournalFull: none of it is held.
        """
        rows = [(dumps(one.to_json()), one.task_id, one.fence) for one in outcomes]
        with self._writing() as connection:
            connection.executemany("UPDATE tasks SET outcome = ? WHERE task_id = ? AND fence = ?", rows)

    def remove(self, held: Iterable[Held]) -> None:
        """Forget these tasks; the service knows what became of them. Not synced: a repeated upload does no harm.

        Raises:
            JournalFull: they are held still.
        """
        with self._writing(synced=False) as connection:
            connection.executemany("DELETE FROM tasks WHERE task_id = ? AND fence = ?", list(held))

    def has_room(self) -> bool:
        """Whether a batch could be written now, by trying."""
        try:
            with self._lock:
                if self._is_closed:
                    return False
                if self._connection is not None:
                    self._connection.close()  # after a failed write it may be of no use
                    self._connection = None
                self._connection = _connect(self._path)
            with self._writing() as connection:
                connection.execute(
                    "INSERT OR REPLACE INTO facts VALUES ('room', hex(zeroblob(?)))", (_ROOM_BYTES // 2,)
                )
            with self._writing(synced=False) as connection:
                connection.execute("DELETE FROM facts WHERE name = 'room'")
        except (JournalFull, sqlite3.DatabaseError):
            return False
        return True

    @contextlib.contextmanager
    def _writing(self, *, synced: bool = True) -> Iterator[sqlite3.Connection]:
        with self._lock:
            connection = self._usable()
            try:
                connection.execute(f"PRAGMA synchronous = {'FULL' if synced else 'NORMAL'}")
                connection.execute("BEGIN IMMEDIATE")
                yield connection
                connection.execute("COMMIT")
            except (sqlite3.DatabaseError, OSError) as error:
                with contextlib.suppress(sqlite3.DatabaseError):
                    if connection.in_transaction:
                        connection.execute("ROLLBACK")
                if isinstance(error, sqlite3.DatabaseError) and _code(error) not in _NO_ROOM:
                    raise
                raise JournalFull(_sentence(self._path, error)) from error

    def _usable(self) -> sqlite3.Connection:
        if self._is_closed:
            raise JournalFull(f"{self._path} is closed: the agent has ended")
        if self._connection is None:
            raise JournalFull(f"{self._path} cannot be opened; make room on its disk")
        return self._connection

    def _open(self, circumstances: str) -> None:
        connection = _connect(self._path)
        try:
            (version,) = connection.execute("PRAGMA user_version").fetchone()
            if version > _VERSION:
                raise JournalTooNew(f"{self._path} was written by a later version of compute-agent; update this one")
            if version == 0:
                _create(connection)
            facts = dict(connection.execute("SELECT name, value FROM facts"))
            connection.execute("INSERT OR REPLACE INTO facts VALUES ('circumstances', ?)", (circumstances,))
            file = str(self._path.stat().st_ino)
            is_copy = facts.get("file", file) != file
            if is_copy:
                facts["journal_id"] = secrets.token_hex(16)
                log.warning("the journal is a copy or was restored: what it does not hold may have run")
            connection.execute("INSERT OR REPLACE INTO facts VALUES ('file', ?)", (file,))
            connection.execute("INSERT OR REPLACE INTO facts VALUES ('journal_id', ?)", (facts["journal_id"],))
        except BaseException:
            connection.close()
            raise
        self.journal_id = str(facts["journal_id"])
        self.same_circumstances = facts.get("circumstances") == circumstances and not is_copy
        self._connection = connection

    def _set_aside(self, error: sqlite3.DatabaseError) -> None:
        name = f"{self._path.name}.damaged.{secrets.token_hex(4)}"
        self._path.rename(self._path.with_name(name))
        for suffix in ("-wal", "-shm"):
            self._path.with_name(self._path.name + suffix).unlink(missing_ok=True)
        log.error(
            "the journal is damaged; it was set aside, and tasks that were in it will be reported as lost",
            extra={"journal": str(self._path), "kept_as": name, "reason": str(error)},
        )


def _create(connection: sqlite3.Connection) -> None:
    connection.execute("BEGIN IMMEDIATE")
    for statement in _TABLES:
        connection.execute(statement)
    connection.execute("INSERT INTO facts VALUES ('journal_id', ?)", (secrets.token_hex(16),))
    connection.execute(f"PRAGMA user_version = {_VERSION}")
    connection.execute("COMMIT")


def _connect(path: Path) -> sqlite3.Connection:
    connection = sqlite3.connect(path, isolation_level=None, check_same_thread=False, timeout=10.0)
    try:
        # One process at a time, so no shared memory is needed, which network file systems of clusters do not have.
        connection.execute("PRAGMA locking_mode = EXCLUSIVE")
        connection.execute("PRAGMA journal_mode = WAL")
        connection.execute("PRAGMA synchronous = FULL")
    except BaseException:
        connection.close()
        raise
    return connection


def _code(error: sqlite3.DatabaseError) -> int:
    """The primary result code; the extended ones hold it in their low byte."""
    return getattr(error, "sqlite_errorcode", 0) & 0xFF


def _sentence(path: Path, error: Exception) -> str:
    return f"nothing can be written to {path}: {error}; make room on its disk"
