"""Opening the engine of a data directory: by HTTP when its server is up, else in this process.

In this process nothing is advanced unless ``work`` is asked for; what was started waits in the database for whoever
opens it next. The engine's modules are loaded when an engine is opened, so that talking to a server is quick.
"""

from __future__ import annotations

import secrets
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from compute_agent.local_server import RunningServer, credentials, find_server
from flows_engine import settings as settings_of
from flows_engine.sdk.client import Client
from flows_engine.sdk.transport import WsgiTransport
from flows_engine.settings import DEFAULT_PORT, Settings
from flows_engine.store.lock import DatabaseInUse

from .operator import Operator

if TYPE_CHECKING:
    from flows_engine.app import House

#: How long a database that another engine owns is given to turn out to belong to a server that is just starting.
_PATIENCE_S = 3.0
_LOOK_AGAIN_S = 0.1


@dataclass(frozen=True, slots=True, kw_only=True)
class Session:
    """A client of the engine. ``server`` is None when the engine is in this process."""

    client: Client
    server: RunningServer | None


@contextmanager
def open_session(
    settings: Settings, *, work: bool = False, pause: Callable[[float], None] = time.sleep
) -> Iterator[Session]:
    """A session with the engine of ``settings.data_dir``; ``work`` has this process advance runs if no server does.

    Raises:
        DatabaseInUse: an engine that is not a server owns the database, such as another command.
        SchemaTooNew: the database was written by a newer version.
        WrongDatabase: the data directory, or its server, has another database.
        NoCredentialsError: see the class.
    """
    with _open_engine(settings, pause, work=work) as engine:
        client_id, secret = credentials(settings.data_dir)
        client = Client(engine.url, client_id=client_id, client_secret=secret, transport=engine.transport)
        with client:
            yield Session(client=client, server=engine.server)


@contextmanager
def open_operator(settings: Settings, *, pause: Callable[[float], None] = time.sleep) -> Iterator[Operator]:
    """The operator's client; raises as ``open_session``, but does without credentials."""
    with _open_engine(settings, pause, work=False) as engine:
        operator = Operator(engine.url, engine.operator_key, transport=engine.transport)
        try:
            yield operator
        finally:
            operator.close()


@contextmanager
def open_client(data_dir: Path | str | None = None, database_url: str | None = None) -> Iterator[Client]:
    """An SDK client for the engine of a data directory (``$FLOWS_DATA_DIR``, else ``~/.flows-engine``).

    Without a server, runs are advanced by this process while the block lasts, and go on when the next one opens.
    """
    settings = settings_of.load(data_dir=data_dir, database_url=database_url)
    with open_session(settings, work=True) as session:
        yield session.client


def check_database(settings: Settings, server: RunningServer) -> None:
    """See that the server's database is the one that is meant.

    Raises:
        WrongDatabase: it is not; the sentence names both.
    """
    if server.database in ("", settings.database_url):
        return
    from flows_engine.store import address

    if not address.is_same(server.database, settings.database_url):
        raise address.WrongDatabase(
            f"the server at {server.url} of the data directory {settings.data_dir} uses the database {server.database}, "
            f"not {address.shown(settings.database_url)}; leave out --database-url and FLOWS_DATABASE_URL, or name "
            "another --data-dir"
        )


def install_operator(house: House) -> str:
    """Mount the operator's routes; gives the key that opens them."""
    from .operator_api import create_blueprint

    key = secrets.token_urlsafe(32)
    house.web.register_blueprint(create_blueprint(house, key))
    return key


@dataclass(frozen=True, slots=True, kw_only=True)
class _Engine:
    url: str
    operator_key: str
    transport: WsgiTransport | None
    server: RunningServer | None


@contextmanager
def _open_engine(settings: Settings, pause: Callable[[float], None], *, work: bool) -> Iterator[_Engine]:
    found = _find(settings, pause)
    if isinstance(found, RunningServer):
        yield _Engine(url=found.url, operator_key=found.operator_key, transport=None, server=found)
        return
    started = False
    try:
        key = install_operator(found)
        if work:
            found.start()
            started = True
        yield _Engine(url=found.settings.base_url, operator_key=key, transport=WsgiTransport(found.web), server=None)
    finally:
        found.close(started=started)


def _find(settings: Settings, pause: Callable[[float], None]) -> RunningServer | House:
    deadline = time.monotonic() + _PATIENCE_S
    while True:
        if (server := find_server(settings.data_dir)) is not None:
            check_database(settings, server)
            return server
        from flows_engine.app import build

        try:
            # Port 0, a free one, is for servers; addresses made here need one that can be written in a URL.
            return build(replace(settings, port=settings.port or DEFAULT_PORT))
        except DatabaseInUse:
            if time.monotonic() >= deadline:
                raise
        pause(_LOOK_AGAIN_S)
