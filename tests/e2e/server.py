"""A real server process: ``flows serve`` on a data directory, started, killed and started again at the same address."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from flows_engine.local import credentials
from flows_engine.sdk import Client

#: What a start or a stop may take; far more than it does.
PATIENCE_S = 60.0


class ServerProcess:
    """``start`` and ``kill`` as often as wanted. What the server says is in ``log``, of all its lives.

    ``environ`` are further ``FLOWS_*`` variables of every start.
    """

    def __init__(
        self, data_dir: Path, *, database_url: str | None = None, environ: Mapping[str, str] | None = None
    ) -> None:
        self.data_dir = data_dir
        self.database_url = database_url
        self.url = f"http://127.0.0.1:{_free_port()}"
        self.log = data_dir.with_name(f"{data_dir.name}.log")
        #: No compute endpoint unless a test asks for one: it takes seconds to start.
        self._environ = {"FLOWS_COMPUTE_ENDPOINT": "off", **(environ or {})}
        self._process: subprocess.Popen[bytes] | None = None

    def start(self, **environ: str) -> None:
        """Start and wait until it serves; ``environ`` holds variables of this start alone."""
        arguments = ["serve", "--port", self.url.rpartition(":")[2], "--json"]
        with self.log.open("ab") as log:
            self._process = subprocess.Popen(
                self._command(arguments), stdout=subprocess.PIPE, stderr=log, env=self._environment(environ)
            )
        announced = next_line(self._process)
        assert announced.get("url") == self.url, f"the server did not start:\n{self.log.read_text()[-3000:]}"

    def compute_endpoint(self) -> str:
        """Id of the built-in compute endpoint, once it takes tasks; to be asked once a start."""
        assert self._process is not None, "the server was never started"
        announced = next_line(self._process)
        assert "compute_endpoint" in announced, f"the endpoint did not start:\n{self.log.read_text()[-3000:]}"
        return str(announced["compute_endpoint"])

    def kill(self) -> None:
        """End it as ``kill -9`` does; it may have ended by itself."""
        self._send(signal.SIGKILL)
        self.ended()

    def stop(self) -> int:
        """Ask it to stop; its exit code."""
        self._send(signal.SIGTERM)
        return self.ended()

    def ended(self) -> int:
        """Wait for its end, whoever brings it about; its exit code."""
        assert self._process is not None, "the server was never started"
        code = self._process.wait(PATIENCE_S)
        if self._process.stdout is not None:
            self._process.stdout.close()
        return code

    @property
    def pid(self) -> int:
        assert self._process is not None, "the server was never started"
        return self._process.pid

    @property
    def is_up(self) -> bool:
        return self._process is not None and self._process.poll() is None

    def client(self, **options: Any) -> Client:
        """The installation's client, for this server's address; it outlives restarts."""
        client_id, secret = credentials(self.data_dir)
        return Client(self.url, client_id=client_id, client_secret=secret, **options)

    def command(self, *arguments: str) -> str:
        """Standard output of a ``flows`` command on the data directory."""
        done = subprocess.run(
            self._command(arguments), capture_output=True, text=True, env=self._environment({}), check=False
        )
        assert done.returncode == 0, f"flows {' '.join(arguments)}: {done.stderr}"
        return done.stdout

    def close(self) -> None:
        """Leave nothing running."""
        if self._process is not None:
            self.kill()

    def _send(self, number: signal.Signals) -> None:
        assert self._process is not None, "the server was never started"
        with suppress(ProcessLookupError):
            self._process.send_signal(number)

    def _command(self, arguments: Sequence[str]) -> list[str]:
        where = ["--data-dir", str(self.data_dir)]
        if self.database_url is not None:
            where += ["--database-url", self.database_url]
        return [sys.executable, "-m", "flows_engine.cli", *arguments, *where]

    def _environment(self, more: Mapping[str, str]) -> dict[str, str]:
        inherited = {name: value for name, value in os.environ.items() if not name.startswith("FLOWS_")}
        return {**inherited, **self._environ, **more}


def next_line(process: subprocess.Popen[bytes]) -> dict[str, Any]:
    """What a process says next on its standard output, or nothing when it ends first."""
    assert process.stdout is not None
    watchdog = threading.Timer(PATIENCE_S, process.kill)
    watchdog.start()
    try:
        line = process.stdout.readline()
    finally:
        watchdog.cancel()
    document: dict[str, Any] = json.loads(line or b"{}")
    return document


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port
