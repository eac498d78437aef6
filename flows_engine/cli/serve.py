"""``flows serve``: the engine and its APIs as a process, on waitress.

The loop that accepts connections runs in the main thread. A first SIGTERM or SIGINT ends it in order: no new
connections, answers that are being made are finished, the house is closed; a second one ends the process at once.
"""

from __future__ import annotations

import contextlib
import ipaddress
import logging
import os
import signal
import socket
import threading
import time
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime
from types import FrameType
from typing import Any

import click
from waitress import wasyncore

from flows_engine.api.http_server import HttpLimits, create_http_server
from flows_engine.app import House, build
from flows_engine.local import RunningServer, ServerFile, install_operator
from flows_engine.local.endpoint import BuiltInEndpoint, Ready
from flows_engine.settings import COMPUTE_ENDPOINTS, Settings
from flows_engine.store import address
from schemas.times import format_time

from .failures import Exit, Failure, Usage
from .logs import log_everything
from .options import Options, common
from .output import print_json_line

log = logging.getLogger(__name__)

#: What the whole stop may take, and the part of it that answers in the making are given.
_STOP_S = 19.0
_DRAIN_S = 3.0
#: What the built-in compute endpoint is given to finish what it runs and to say so.
_ENDPOINT_STOP_S = 5.0


@click.command()
@click.option("--host", help="Address to listen at. Default: $FLOWS_HOST, else 127.0.0.1 (this machine alone).")
@click.option(
    "--port",
    type=click.IntRange(0, 65_535),
    help="Port to listen at; 0 takes a free one. Default: $FLOWS_PORT, else 8765.",
)
@click.option(
    "--compute",
    type=click.Choice(COMPUTE_ENDPOINTS),
    help="What the built-in compute endpoint runs functions on. Default: $FLOWS_COMPUTE_ENDPOINT, else parsl.",
)
@click.option("--i-have-a-proxy", "has_proxy", is_flag=True, help="A proxy with TLS stands before a public address.")
@common
def serve(options: Options, host: str | None, port: int | None, compute: str | None, has_proxy: bool) -> None:
    """Run the engine and its APIs until stopped (Ctrl-C or SIGTERM)."""
    settings = options.settings(host=host, port=port)
    settings = replace(settings, compute_endpoint=compute or settings.compute_endpoint)
    check_address(settings, has_proxy=has_proxy)
    log_everything()
    with _opened(settings) as (house, listener, file):
        Server(house, listener, file).run(as_json=options.as_json)


def check_address(settings: Settings, *, has_proxy: bool) -> None:
    """Refuse to be reachable from elsewhere in plain text: tokens and secrets would travel readable for anybody.

    Raises:
        Usage: the sentence says what would be right.
    """
    if is_loopback(settings.host) or settings.public_url.startswith("https://") or has_proxy:
        return
    raise Usage(
        f"{settings.host} can be reached from other machines, and this server speaks plain HTTP: put a proxy with TLS "
        "before it and set FLOWS_PUBLIC_URL to its https:// address (or give --i-have-a-proxy)"
    )


def is_loopback(host: str) -> bool:
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


@contextlib.contextmanager
def _opened(settings: Settings) -> Iterator[tuple[House, socket.socket, ServerFile]]:
    """The house, the socket it will be reached at, and the file that will say so, claimed.

    A free port must be known before the house is built.
    """
    with contextlib.ExitStack() as stack:
        listener = None
        if settings.port == 0:
            listener = stack.enter_context(_bound(settings))
            settings = replace(settings, port=listener.getsockname()[1])
        house = build(settings)
        file = ServerFile(settings.data_dir)
        try:
            file.claim()
            stack.callback(file.withdraw)
            if listener is None:
                listener = stack.enter_context(_bound(settings))
        except BaseException:
            house.close(started=False)
            raise
        yield house, listener, file


def _bound(settings: Settings) -> socket.socket:
    try:
        found = socket.getaddrinfo(settings.host, settings.port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
    except OSError as error:
        raise Usage(f"{settings.host} is not an address of this machine: {error.strerror or error}") from error
    family, kind, protocol, _, address = found[0]
    listener = socket.socket(family, kind, protocol)
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind(address)
    except OSError as error:
        listener.close()
        raise Failure(
            f"Cannot listen at {settings.host} port {settings.port}: {error.strerror or error}; "
            "stop what listens there, or choose another port with --port",
            Exit.FAILED,
            code="PORT_IN_USE",
        ) from error
    return listener


class Server:
    """A house being served."""

    def __init__(self, house: House, listener: socket.socket, file: ServerFile) -> None:
        self._house = house
        self._listener = listener
        self._file = file
        self._stop = threading.Event()
        self._sockets: dict[int, Any] = {}
        self._http: Any = None

    def run(self, *, as_json: bool) -> None:
        """Serve until a signal comes, then stop in order."""
        settings = self._house.settings
        url = local_url(settings)
        server = RunningServer(
            url=url,
            public_url=settings.public_url.rstrip("/") or url,
            pid=os.getpid(),
            started=format_time(datetime.now(UTC)),
            operator_key=install_operator(self._house),
            database=address.shown(settings.database_url),
        )
        limits = HttpLimits(threads=settings.http_threads)
        self._http = create_http_server(self._house.web, self._listener, self._sockets, limits)
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, self._on_signal)
        self._house.start()
        self._file.publish(server)
        _announce(self._house, server, as_json=as_json)
        endpoint = _endpoint(settings, as_json=as_json)
        if endpoint is not None:
            endpoint.start()
        log.info("serving", extra={"url": url, "pid": server.pid, "database": self._house.database.dialect})
        try:
            while not self._stop.is_set():
                wasyncore.loop(timeout=1.0, use_poll=True, map=self._sockets, count=1)
            if endpoint is not None:
                self._part_with(endpoint)
        finally:
            self._close()

    def _part_with(self, endpoint: BuiltInEndpoint) -> None:
        """Stop the built-in endpoint while it can still be heard: it reports what it finishes."""
        stopping = threading.Thread(target=endpoint.stop, args=(_ENDPOINT_STOP_S,), daemon=True)
        stopping.start()
        while stopping.is_alive():
            wasyncore.loop(timeout=0.05, use_poll=True, map=self._sockets, count=1)

    def _on_signal(self, number: int, _frame: FrameType | None) -> None:
        if self._stop.is_set():
            self._file.withdraw()
            os._exit(128 + number)
        self._stop.set()
        self._http.pull_trigger()

    def _close(self) -> None:
        log.info("stopping")
        watchdog = threading.Timer(_STOP_S, _give_up)
        watchdog.daemon = True
        watchdog.start()
        self._file.withdraw()
        wasyncore.dispatcher.close(self._http)  # the listening socket alone; what was accepted stays open
        self._house.hang_up()
        self._drain()
        self._http.task_dispatcher.shutdown(timeout=1)
        self._house.close()
        watchdog.cancel()
        log.info("stopped")

    def _drain(self) -> None:
        """Let answers that are being made reach their readers."""
        deadline = time.monotonic() + _DRAIN_S
        while self._is_answering() and time.monotonic() < deadline:
            wasyncore.loop(timeout=0.05, use_poll=True, map=self._sockets, count=1)

    def _is_answering(self) -> bool:
        return any(one.requests or one.total_outbufs_len for one in list(self._http.active_channels.values()))


def local_url(settings: Settings) -> str:
    """How this machine reaches the server, whatever address it listens at."""
    host = {"0.0.0.0": "127.0.0.1", "::": "::1", "": "127.0.0.1"}.get(settings.host, settings.host)  # noqa: S104 - not bound here
    return f"http://[{host}]:{settings.port}" if ":" in host else f"http://{host}:{settings.port}"


def _give_up() -> None:
    log.error("the stop takes too long; what is in hand is taken up again at the next start")
    os._exit(1)


def _endpoint(settings: Settings, *, as_json: bool) -> BuiltInEndpoint | None:
    if settings.compute_endpoint == "off":
        return None

    def tell(ready: Ready) -> None:
        if as_json:
            print_json_line({"compute_endpoint": ready.endpoint_id, "engine": ready.engine, "workers": ready.workers})
            return
        workers = f"{ready.workers} worker{'' if ready.workers == 1 else 's'}"
        click.echo(f"  compute endpoint  {ready.endpoint_id} takes functions ({settings.compute_endpoint}, {workers})")

    return BuiltInEndpoint(settings, tell)


def _announce(house: House, server: RunningServer, *, as_json: bool) -> None:
    installation = house.installation
    if as_json:
        print_json_line(
            {
                "url": server.public_url,
                "data_dir": str(house.settings.data_dir),
                "pid": server.pid,
                "is_first_start": installation.is_first_start,
                "client_id": installation.client_id,
                "client_file": str(installation.client_file),
            }
        )
        return
    lines = [f"flows-engine is up at {server.public_url}", f"  data directory    {house.settings.data_dir}"]
    if not house.settings.is_sqlite:
        lines.append(f"  database          {address.shown(house.settings.database_url)}")
    lines.append('  official clients  eval "$(flows env)"    then: globus flows list')
    if house.settings.compute_endpoint != "off":
        lines.append(f"  compute endpoint  starting ({house.settings.compute_endpoint}) ...")
    if installation.is_first_start:
        lines += [
            "",
            "First start: an administrator identity and one client were created.",
            f"  administrator     {installation.administrator_id}",
            f"  client id         {installation.client_id}",
            f"  client secret     in {installation.client_file} (readable by you alone)",
        ]
    lines += ["", "Stop with Ctrl-C."]
    click.echo("\n".join(lines))
