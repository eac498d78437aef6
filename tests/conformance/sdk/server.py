"""A real server for clients that are not ours: ``flows serve`` as a process, and the environment that ``flows env`` prints.

Nothing here reaches into the server. Clients are registered as an operator registers them, with ``flows clients``.
"""

from __future__ import annotations

import json
import logging
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from threading import Event
from typing import Any
from urllib.parse import urlsplit

from tests.e2e.server import ServerProcess


@dataclass(frozen=True, slots=True)
class Credentials:
    """A confidential client; its identity has the same id."""

    client_id: str
    client_secret: str

    @property
    def urn(self) -> str:
        return f"urn:globus:auth:identity:{self.client_id}"


@dataclass(frozen=True, slots=True)
class Server:
    """``environment`` is what ``flows env`` prints; ``stranger`` is a client that has no role on anything."""

    process: ServerProcess
    environment: Mapping[str, str]
    stranger: Credentials

    @property
    def owner(self) -> Credentials:
        """The client that was made at the first start."""
        return Credentials(self.environment["GLOBUS_CLI_CLIENT_ID"], self.environment["GLOBUS_CLI_CLIENT_SECRET"])

    def register(
        self, name: str, *, scopes: Sequence[str] = (), dependent: str = "", audience: str = ""
    ) -> Credentials:
        """A new client, with ``flows clients create``."""
        return _register(self.process, name, scopes=scopes, dependent=dependent, audience=audience)


@contextmanager
def running_server(directory: Path, environ: Mapping[str, str] | None = None) -> Iterator[Server]:
    """Serve a new installation below ``directory``; ``environ`` holds ``FLOWS_*`` settings."""
    process = ServerProcess(directory / "data", environ=environ)
    try:
        process.start()
        environment = json.loads(process.command("env", "--json"))
        yield Server(process, environment, _register(process, "Stranger"))
        assert process.stop() == 0, f"the server did not stop in order:\n{process.log.read_text()[-3000:]}"
    finally:
        process.close()


def _register(
    process: ServerProcess, name: str, *, scopes: Sequence[str] = (), dependent: str = "", audience: str = ""
) -> Credentials:
    options = [part for scope in scopes for part in ("--scope", scope)]
    options += ["--dependent-scope", dependent] if dependent else []
    options += ["--audience", audience] if audience else []
    made = json.loads(process.command("clients", "create", name, *options, "--json"))
    return Credentials(made["client_id"], made["client_secret"])


class _Recorder(logging.Handler):
    """Reads the log of urllib3, on which the official clients stand: beneath their own retries."""

    def __init__(self) -> None:
        super().__init__(logging.DEBUG)
        self.requests: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        if isinstance(record.args, tuple) and len(record.args) == 8:  # scheme, host, port, method, target, ...
            method, target = str(record.args[3]), str(record.args[4])
            self.requests.append(f"{method} {urlsplit(target).path}")


@contextmanager
def recorded_requests() -> Iterator[list[str]]:
    """Requests sent while the block runs, as ``"GET /flows/flows"``, oldest first, repeated ones included."""
    logger, recorder = logging.getLogger("urllib3.connectionpool"), _Recorder()
    level = logger.level
    logger.addHandler(recorder)
    logger.setLevel(logging.DEBUG)
    try:
        yield recorder.requests
    finally:
        logger.removeHandler(recorder)
        logger.setLevel(level)


def wait_until(look: Callable[[], Any], wanted: Callable[[Any], bool], *, what: str, within_s: float = 20) -> Any:
    """Look again until it is as wanted; fails with the last look."""
    end = time.monotonic() + within_s
    while not wanted(seen := look()):
        assert time.monotonic() < end, f"{what} did not come within {within_s:g} s; last seen: {seen}"
        Event().wait(0.05)
    return seen
