"""The database that a data directory belongs to: its address is kept in ``<data_dir>/database.json``, without a password.

Keys and client of a data directory are good for one database. A command that is not told which one takes the one in the
file; one that is told another is refused, instead of making an empty installation beside the one that is meant.
"""

from __future__ import annotations

from pathlib import Path

from sqlalchemy.engine import URL, make_url

from flows_engine.settings import remembered_database
from schemas import json_text

#: What a shown address has in place of a password.
_HIDDEN = "***"
_SECRET_QUERY = ("password", "sslpassword")
_THIS_MACHINE = frozenset({"localhost", "127.0.0.1", "::1"})


class WrongDatabase(ValueError):
    """The address is not that of the data directory's database, or it lacks the password."""


def check(data_dir: Path, url: str) -> None:
    """See that the data directory belongs to this database, or to none yet.

    Raises:
        WrongDatabase: the sentence names both and says what to do.
    """
    kept = remembered_database(data_dir)
    if kept is None:
        return
    if kept != url and not is_same(kept, url):
        raise WrongDatabase(
            f"the data directory {data_dir} belongs to the database {shown(kept)}, not to {shown(url)}; give the address "
            "of that one with --database-url or FLOWS_DATABASE_URL, or name another --data-dir"
        )
    if make_url(url).password == _HIDDEN:
        raise WrongDatabase(
            f"the data directory {data_dir} belongs to the database {shown(kept)}, whose password is not kept; give the "
            "whole address with --database-url or FLOWS_DATABASE_URL, or name another --data-dir"
        )


def document(data_dir: Path, url: str) -> bytes | None:
    """Content of ``database.json``; None for a database in memory, which nobody can come back to.

    A file in the data directory is named relative to it, so that the directory can be moved.
    """
    file = sqlite_file(url)
    if file is not None and file.resolve().is_relative_to(data_dir.resolve()):
        address = f"sqlite:///{file.resolve().relative_to(data_dir.resolve())}"
    elif file is not None:
        address = f"sqlite:///{file.absolute()}"
    elif make_url(url).get_backend_name() == "sqlite":
        return None
    else:
        address = shown(url)
    return (json_text.dumps({"url": address}) + "\n").encode()


def is_same(first: str, second: str) -> bool:
    """Whether both addresses lead to one database, whoever signs in there and however."""
    return _identity(make_url(first)) == _identity(make_url(second))


def shown(url: str) -> str:
    """The address as people know it: without password and driver."""
    parsed = make_url(url)
    if parsed.password is not None or any(name in parsed.query for name in _SECRET_QUERY):
        parsed = parsed.difference_update_query(_SECRET_QUERY).set(password=_HIDDEN)
    return parsed.set(drivername=_kind(parsed)).render_as_string(hide_password=True)


def sqlite_file(url: str) -> Path | None:
    """The file of an SQLite database; None for one in memory, one named by a ``file:`` URI, and other kinds."""
    parsed = make_url(url)
    file = parsed.database
    if parsed.get_backend_name() != "sqlite" or not file or file == ":memory:" or file.startswith("file:"):
        return None
    return Path(file)


def _identity(url: URL) -> tuple[str, ...]:
    if _kind(url) == "sqlite":
        file = sqlite_file(url.render_as_string(hide_password=False))
        return ("sqlite", url.database or "" if file is None else str(file.resolve()))
    host = str(url.host or url.query.get("host") or "")
    port = str(url.port or url.query.get("port") or 5432)
    database = str(url.database or url.query.get("dbname") or url.username or "")
    return (_kind(url), "localhost" if host in _THIS_MACHINE else host, port, database)


def _kind(url: URL) -> str:
    name = url.get_backend_name()
    return "postgresql" if name == "postgres" else name
