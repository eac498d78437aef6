"""``flows doctor``: is this installation sound? Looks only; nothing is made or changed, and a running server may go on.

Each check is a function that gives findings; a finding that is not good says what to do.
"""

from __future__ import annotations

import fcntl
import os
import shutil
import socket
import sqlite3
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from pathlib import Path
from urllib.parse import urlsplit

import click
import requests
from alembic.script import ScriptDirectory
from sqlalchemy import func, select, text
from sqlalchemy.engine import make_url
from sqlalchemy.exc import SQLAlchemyError

from action_providers import registry
from compute_agent.errors import ClientError
from flows_engine.actions.aliases import load_aliases
from flows_engine.asl.dialects import DIALECTS
from flows_engine.engine.invariants import broken_invariants
from flows_engine.local import NoCredentialsError, RunningServer, check_database, credentials, endpoint, find_server
from flows_engine.settings import Settings
from flows_engine.store import address, migrate, tables, work_queue
from flows_engine.store.db import SqlDatabase
from schemas.times import from_us, to_us

from .failures import Exit
from .options import Options, common
from .output import print_json, shown
from .serve import is_loopback

_PYTHON = (3, 11)
#: Below it, a file that several processes write to can be damaged (the "WAL-reset bug"); one process is safe.
_SQLITE_FIXED = (3, 51, 3)
_SQLITE_OLDEST = (3, 35, 0)
_LATE = timedelta(seconds=60)
_CLOCK_TOLERANCE = timedelta(seconds=30)
_LEAST_FREE_BYTES = 500 * 1024 * 1024
_MOST_BROKEN_SHOWN = 10


class Grade(StrEnum):
    GOOD = "good"
    NOTE = "note"
    BAD = "bad"


@dataclass(frozen=True, slots=True)
class Finding:
    """``advice`` says what to do about it."""

    check: str
    grade: Grade
    text: str
    advice: str | None = None


Findings = Iterator[Finding]


@click.command()
@common
def doctor(options: Options) -> None:
    """Check this installation: versions, files, database, runs, server, providers. Exits with 1 if something is bad."""
    settings = options.settings()
    findings = list(examine(settings))
    if options.as_json:
        document = [{"check": f.check, "grade": f.grade, "text": f.text, "advice": f.advice} for f in findings]
        print_json({"data_dir": str(settings.data_dir), "findings": document})
    else:
        click.echo(f"data directory {settings.data_dir}")
        for finding in findings:
            _print(finding)
    if any(one.grade is Grade.BAD for one in findings):
        raise click.exceptions.Exit(Exit.FAILED)


def examine(settings: Settings) -> Findings:
    """Every finding, in the order in which one depends on the other."""
    server = find_server(settings.data_dir)
    yield from _python()
    yield from _sqlite(settings)
    yield from _files(settings)
    yield from _disk(settings)
    yield from _engine(settings, server)
    yield from _compute(settings, server)
    yield from _exposure(settings)
    yield from _providers(settings)
    yield from _database(settings, server)


def _python() -> Findings:
    version = ".".join(map(str, sys.version_info[:3]))
    if sys.version_info >= _PYTHON:
        yield Finding("python", Grade.GOOD, f"Python {version}")
    else:
        yield Finding("python", Grade.BAD, f"Python {version} is too old", "use Python 3.11 or newer")


def _sqlite(settings: Settings) -> Findings:
    if not settings.is_sqlite:
        return
    version = sqlite3.sqlite_version
    if sqlite3.sqlite_version_info < _SQLITE_OLDEST:
        yield Finding("sqlite", Grade.BAD, f"SQLite {version} is too old", "use SQLite 3.35 or newer, best 3.51.3")
    elif sqlite3.sqlite_version_info < _SQLITE_FIXED:
        yield Finding(
            "sqlite",
            Grade.NOTE,
            f"SQLite {version}: safe with one engine, which the engine lock ensures",
            "let no other program write to the database file; SQLite 3.51.3 lifts this",
        )
    else:
        yield Finding("sqlite", Grade.GOOD, f"SQLite {version}")


def _files(settings: Settings) -> Findings:
    folder = settings.data_dir
    if not folder.is_dir():
        yield Finding(
            "files", Grade.NOTE, "there is no data directory yet", "'flows serve' makes it at its first start"
        )
        return
    secret = [folder, folder / "client.json", *sorted((folder / "keys").glob("*")), folder / "keys"]
    exposed = [path for path in secret if path.exists() and path.stat().st_mode & 0o077]
    for path in exposed:
        mode = "700" if path.is_dir() else "600"
        yield Finding("files", Grade.BAD, f"{path} may be read by others", f"chmod {mode} {path}")
    if not os.access(folder, os.W_OK):
        yield Finding("files", Grade.BAD, f"{folder} cannot be written", "give its owner the right to write")
    if not (folder / "client.json").exists() and (folder / "keys").exists():
        advice = "put it back, or find the id with 'flows clients list' and give it to 'flows clients rotate'"
        yield Finding("files", Grade.BAD, f"{folder / 'client.json'} is missing: commands cannot sign in", advice)
    elif not exposed:
        yield from _client(folder)
    if not exposed:
        yield Finding("files", Grade.GOOD, "secrets are readable by their owner alone")


def _client(folder: Path) -> Findings:
    if not (folder / "client.json").exists():
        return  # a folder without an installation
    try:
        credentials(folder)
    except (NoCredentialsError, OSError) as error:
        yield Finding("files", Grade.BAD, str(error), "until then commands cannot sign in")


def _disk(settings: Settings) -> Findings:
    if not settings.data_dir.is_dir():
        return
    free = shutil.disk_usage(settings.data_dir).free
    shown_free = f"{free / 1024**3:.1f} GiB free"
    if free < _LEAST_FREE_BYTES:
        yield Finding(
            "disk", Grade.BAD, f"only {shown_free} for the data directory", "make room: a full disk stops every run"
        )
    else:
        yield Finding("disk", Grade.GOOD, shown_free)


def _engine(settings: Settings, server: RunningServer | None) -> Findings:
    holder = _lock_holder(settings)
    if server is not None:
        yield _answers(server)
    elif holder is not None:
        yield Finding(
            "engine",
            Grade.NOTE,
            f"another command (process {holder}) is the engine now",
            "wait for it, or look at it with ps",
        )
    else:
        yield Finding("engine", Grade.NOTE, "no server is running: runs stand still", "start it with: flows serve")
        yield from _port(settings)


def _answers(server: RunningServer) -> Finding:
    where = f"the server (process {server.pid}) at {server.url}"
    try:
        with requests.Session() as session:
            session.trust_env = False
            answer = session.get(f"{server.url}/readyz", timeout=5, allow_redirects=False)
    except requests.RequestException as error:
        advice = f"look at its log; restart it if it stays so ({type(error).__name__})"
        return Finding("engine", Grade.BAD, f"{where} does not answer", advice)
    if answer.status_code != 200:
        return Finding("engine", Grade.BAD, f"{where} is not ready ({answer.status_code})", "look at its log")
    return Finding("engine", Grade.GOOD, f"{where} answers")


def _compute(settings: Settings, server: RunningServer | None) -> Findings:
    """The endpoint that the server brings. What it was told to bring it alone knows, so the service is asked."""
    if server is None:
        return
    try:
        document = endpoint.status(settings.data_dir, server)
    except (ClientError, OSError, ValueError) as error:
        yield Finding("compute", Grade.NOTE, f"the built-in endpoint cannot be asked for: {_first_line(error)}")
        return
    log_file = settings.data_dir / "compute" / endpoint.NAME / "endpoint.log"
    if document is None or document.get("stopped_at"):
        advice = "'flows serve' brings one unless --compute or FLOWS_COMPUTE_ENDPOINT says off"
        yield Finding("compute", Grade.NOTE, "the server has no built-in endpoint: off, or still starting", advice)
    elif document["status"] != "online":
        heard = document["last_heard_at"]
        yield Finding("compute", Grade.BAD, f"the built-in endpoint is offline since {heard}", f"look at {log_file}")
    elif problem := document["details"].get("problem"):
        yield Finding(
            "compute", Grade.BAD, f"the built-in endpoint has a problem: {shown(problem)}", f"look at {log_file}"
        )
    else:
        yield Finding("compute", Grade.GOOD, f"the built-in endpoint {document['endpoint_id']} is online")


def _lock_holder(settings: Settings) -> str | None:
    """The process that owns the SQLite file, if one does."""
    path = _lock_path(settings)
    if path is None or not path.exists():
        return None
    with path.open("rb") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except BlockingIOError:
            return file.read(32).decode("ascii", "replace").strip() or "unknown"
        fcntl.flock(file, fcntl.LOCK_UN)
    return None


def _lock_path(settings: Settings) -> Path | None:
    file = _sqlite_file(settings)
    return None if file is None else Path(f"{file}.lock")


def _sqlite_file(settings: Settings) -> Path | None:
    if not settings.is_sqlite:
        return None
    file = make_url(settings.database_url).database
    return Path(file) if file and file != ":memory:" else None


def _port(settings: Settings) -> Findings:
    if settings.port == 0:
        return
    with socket.socket(socket.AF_INET6 if ":" in settings.host else socket.AF_INET) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((settings.host, settings.port))
        except OSError as error:
            text_ = f"port {settings.port} at {settings.host} cannot be used: {error.strerror or error}"
            yield Finding("port", Grade.BAD, text_, "stop what listens there, or set FLOWS_PORT to another port")
            return
    yield Finding("port", Grade.GOOD, f"port {settings.port} is free")


def _exposure(settings: Settings) -> Findings:
    scheme = urlsplit(settings.public_url).scheme
    if is_loopback(settings.host):
        yield Finding("address", Grade.GOOD, f"listens at {settings.host}, which only this machine reaches")
    elif scheme == "https":
        yield Finding("address", Grade.GOOD, f"reached at {settings.public_url} through a proxy")
    else:
        advice = "set FLOWS_PUBLIC_URL to the https:// address of a proxy before it"
        yield Finding("address", Grade.BAD, f"listens at {settings.host} in plain HTTP", advice)


def _providers(settings: Settings) -> Findings:
    found = registry.discover()
    for problem in found.problems:
        yield Finding("providers", Grade.BAD, shown(str(problem)), "mend or remove the package that offers it")
    names = ", ".join(one.description.path for one in found.providers)
    yield Finding("providers", Grade.GOOD, f"installed packages offer: {names}" if names else "only built-in providers")
    if settings.alias_file is not None:
        try:
            load_aliases(settings.alias_file)
        except (OSError, ValueError) as error:
            yield Finding(
                "aliases", Grade.BAD, f"{settings.alias_file}: {error}", "mend the file FLOWS_ALIAS_FILE names"
            )


def _database(settings: Settings, server: RunningServer | None) -> Findings:
    try:
        address.check(settings.data_dir, settings.database_url)
        if server is not None:
            check_database(settings, server)
    except (SQLAlchemyError, ValueError) as error:
        yield Finding("database", Grade.BAD, _first_line(error), "mend --database-url or FLOWS_DATABASE_URL")
        return
    file = _sqlite_file(settings)
    if file is not None and not file.exists():
        yield Finding("database", Grade.NOTE, f"there is no {file} yet", "it is made at the first start")
        return
    try:
        db = SqlDatabase(settings.database_url)
    except (SQLAlchemyError, ValueError) as error:
        yield Finding("database", Grade.BAD, _first_line(error), "mend --database-url or FLOWS_DATABASE_URL")
        return
    try:
        schema, newest = migrate.current_schema(db), _newest_schema()
        yield Finding("database", Grade.GOOD, f"{db.dialect} can be reached")
        if schema != newest:
            yield _other_schema(schema, newest)
            return
        yield Finding("schema", Grade.GOOD, f"schema {schema}")
        for check in (_clock, _backlog, _invariants):
            yield from check(db, settings, server)
    except SQLAlchemyError as error:
        yield Finding(
            "database", Grade.BAD, f"cannot be used: {_first_line(error)}", "see that it is up and may be read"
        )
    finally:
        db.dispose()


def _newest_schema() -> str | None:
    return ScriptDirectory(str(Path(migrate.__file__).parent / "migrations")).get_current_head()


def _other_schema(schema: str | None, newest: str | None) -> Finding:
    if schema is None:
        return Finding("schema", Grade.NOTE, "the database has no tables yet", "they are made at the first start")
    advice = "the next start brings it up to date, or says that a newer version is needed"
    return Finding("schema", Grade.NOTE, f"the database has schema {schema}, this version {newest}", advice)


def _clock(db: SqlDatabase, _settings: Settings, _server: RunningServer | None) -> Findings:
    """On a database server its clock, elsewhere the newest time that was stored: neither may be far ahead."""
    with db.read() as tx:
        if db.dialect == "postgresql":
            there = tx.execute(text("SELECT clock_timestamp()")).scalar_one().astimezone(UTC)
            apart = abs(there - datetime.now(UTC))
        else:
            newest = tx.execute(select(func.max(tables.runs.c.start_time))).scalar()
            apart = timedelta(0) if newest is None else max(timedelta(0), from_us(newest) - datetime.now(UTC))
    if apart > _CLOCK_TOLERANCE:
        text_ = f"the clocks of this machine and the database are {apart.total_seconds():.0f} s apart"
        yield Finding("clock", Grade.BAD, text_, "synchronise the clock (NTP): timers and leases depend on it")
    else:
        yield Finding("clock", Grade.GOOD, "the clock of this machine agrees with the database")


def _backlog(db: SqlDatabase, _settings: Settings, server: RunningServer | None) -> Findings:
    now = datetime.now(UTC)
    with db.read() as tx:
        waiting, oldest = work_queue.backlog(tx, now=to_us(now))
    late = timedelta(0) if oldest is None else now - from_us(oldest)
    if waiting == 0:
        yield Finding("backlog", Grade.GOOD, "nothing waits to be done")
    elif server is not None and late > _LATE:
        text_ = f"{waiting} pieces of work wait, the oldest since {late.total_seconds():.0f} s"
        yield Finding(
            "backlog", Grade.BAD, text_, "look at the server's log; more load than it can bear, or it is stuck"
        )
    else:
        advice = None if server is not None else "they are taken up by: flows serve"
        yield Finding("backlog", Grade.NOTE, f"{waiting} pieces of work wait", advice)


def _invariants(db: SqlDatabase, settings: Settings, _server: RunningServer | None) -> Findings:
    with db.read() as tx:
        broken = list(broken_invariants(tx, DIALECTS[settings.dialect]))
    for sentence in broken[:_MOST_BROKEN_SHOWN]:
        yield Finding("runs", Grade.BAD, shown(sentence), "keep a copy of the database and report this")
    if len(broken) > _MOST_BROKEN_SHOWN:
        yield Finding("runs", Grade.BAD, f"and {len(broken) - _MOST_BROKEN_SHOWN} more")
    if not broken:
        yield Finding("runs", Grade.GOOD, "every stored run is consistent with its history")


def _first_line(error: Exception) -> str:
    cause = getattr(error, "orig", None) or error
    return str(cause).strip().partition("\n")[0]


_MARKS = {
    Grade.GOOD: click.style("  ok ", fg="green"),
    Grade.NOTE: click.style("note ", fg="yellow"),
    Grade.BAD: click.style(" BAD ", fg="red", bold=True),
}


def _print(finding: Finding) -> None:
    click.echo(f"{_MARKS[finding.grade]} {finding.check:<10} {finding.text}")
    if finding.advice is not None and finding.grade is not Grade.GOOD:
        click.echo(f"{'':<17}{click.style(finding.advice, dim=True)}")
