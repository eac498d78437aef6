"""The built-in compute endpoint of a server: an ordinary agent, as a child process of the server, on this machine.

It has a directory of its own in the data directory, registers and leases over HTTP like any other agent, and finds
address and credentials as every program of the same owner does. It stops in order when its standard input closes, so
it never outlives the server, however that ends; while it finishes, its successor waits. When it dies it is started anew.
"""

from __future__ import annotations

import json
import logging
import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

from compute_agent.agent.directory import EndpointDirectory
from compute_agent.connection import Http
from compute_agent.local_server import RunningServer, credentials
from compute_agent.private_files import private_directory
from flows_engine.settings import Settings
from schemas.scopes import COMPUTE_SCOPE

log = logging.getLogger(__name__)

NAME = "local"
#: Engines that may be chosen, by the name in ``FLOWS_COMPUTE_ENDPOINT`` -> the published type name.
ENGINES = {"parsl": "GlobusComputeEngine", "process": "ProcessPoolEngine", "thread": "ThreadPoolEngine"}

_FIRST_PAUSE_S = 0.5
_LONGEST_PAUSE_S = 30.0
_LOOK_S = 0.1
#: What functions print may come along, and need not have lines.
_LONGEST_LINE_BYTES = 64 * 1024
#: An agent that lived so long did not fail at its start.
_LIVED_S = 60.0


@dataclass(frozen=True, slots=True)
class Ready:
    """What the agent says when it takes tasks."""

    endpoint_id: str
    engine: str
    workers: int


class BuiltInEndpoint:
    """Runs the agent while the server is up; ``on_ready`` is called from a thread of its own at each start."""

    def __init__(self, settings: Settings, on_ready: Callable[[Ready], None]) -> None:
        self._settings = settings
        self._on_ready = on_ready
        self._folder = settings.data_dir / "compute"
        self._stopping = threading.Event()
        self._lock = threading.Lock()
        self._process: subprocess.Popen[bytes] | None = None
        self._thread = threading.Thread(target=self._supervise, name="compute-endpoint", daemon=True)

    def start(self) -> None:
        """Begin; returns at once."""
        write_configuration(self._folder / NAME, self._settings.compute_endpoint, self._settings.compute_workers)
        self._thread.start()

    def stop(self, timeout_s: float) -> None:
        """Ask the agent to stop in order; after ``timeout_s`` it is left to finish by itself."""
        self._stopping.set()
        with self._lock:
            process = self._process
        if process is not None and process.stdin is not None:
            process.stdin.close()
        self._thread.join(timeout_s)

    def _supervise(self) -> None:
        pause_s = _FIRST_PAUSE_S
        while not self._stopping.is_set():
            self._wait_for_predecessor()
            began = time.monotonic()
            code = self._run()
            if self._stopping.is_set():
                return
            has_lived = time.monotonic() - began >= _LIVED_S
            pause_s = _FIRST_PAUSE_S if has_lived else min(pause_s * 2, _LONGEST_PAUSE_S)
            log.warning("the compute endpoint ended; it is started anew", extra={"exit_code": code, "pause_s": pause_s})
            self._stopping.wait(pause_s)

    def _wait_for_predecessor(self) -> None:
        """The agent of the last server may still finish the functions that it ran when that server ended."""
        directory = EndpointDirectory(self._folder / NAME)
        if directory.agent_pid() is None:
            return
        log.info("functions of the last start still run; the compute endpoint starts when they have ended")
        while directory.agent_pid() is not None:
            if self._stopping.wait(_LOOK_S):
                return

    def _run(self) -> int:
        """One life of the agent; its exit code."""
        with self._lock:
            if self._stopping.is_set():
                return 0
            self._process = process = subprocess.Popen(  # noqa: S603 - our own program with fixed arguments
                self._command(),
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                env=self._environment(),
                start_new_session=True,  # a Ctrl-C is for the server, which then stops the agent in order
            )
        # In a thread: what the agent has started may hold its output open when it is dead.
        threading.Thread(target=self._listen, args=(process.stdout,), name="compute-output", daemon=True).start()
        code = process.wait()
        if process.stdin is not None:
            process.stdin.close()
        return code

    def _listen(self, output: IO[bytes]) -> None:
        with output:
            while line := output.readline(_LONGEST_LINE_BYTES):
                self._heard(line)

    def _heard(self, line: bytes) -> None:
        try:
            document = json.loads(line)
            ready = Ready(str(document["endpoint_id"]), str(document["engine"]), int(document["workers"]))
        except (ValueError, KeyError, TypeError):
            log.info("compute endpoint: %s", line.decode(errors="replace").rstrip())
            return
        try:
            self._on_ready(ready)
        except OSError:
            log.info(
                "the compute endpoint takes functions, but nobody listens", extra={"endpoint_id": ready.endpoint_id}
            )

    def _command(self) -> list[str]:
        folder = ["--config-dir", str(self._folder)]
        return [
            sys.executable,
            "-m",
            "compute_agent.agent.cli",
            *folder,
            "start",
            NAME,
            "--until-stdin-closes",
            "--print-ready",
        ]

    def _environment(self) -> dict[str, str]:
        return {**os.environ, "FLOWS_DATA_DIR": str(self._settings.data_dir)}


def status(data_dir: Path, server: RunningServer) -> dict[str, Any] | None:
    """What the service says of the built-in endpoint, with its ``endpoint_id``; None when there never was one.

    Raises:
        ClientError: the server cannot be asked.
        OSError, ValueError: files of the installation cannot be read.
    """
    try:
        registration = json.loads((data_dir / "compute" / NAME / "endpoint.json").read_bytes())
    except FileNotFoundError:
        return None
    client_id, secret = credentials(data_dir)
    http = Http(server.url, client_id=client_id, client_secret=secret)
    try:
        said = http.call("GET", f"/compute/v2/endpoints/{registration['endpoint_id']}/status", scope=COMPUTE_SCOPE)
    finally:
        http.close()
    assert isinstance(said, dict), "the published answer is a document"
    return {**said, "endpoint_id": registration["endpoint_id"]}


def write_configuration(folder: Path, engine: str, workers: int) -> None:
    """The agent's files. They are the server's own: written anew at each start, from the settings."""
    private_directory(folder.parent)
    private_directory(folder)
    document = {
        "display_name": "Built-in endpoint",
        "description": "Runs functions on the machine of the server, as the account of the server",
        "warm_start": True,
        "engine": {"type": ENGINES[engine], "max_workers_per_node": workers},
    }
    head = "# Written by 'flows serve' at each start; see FLOWS_COMPUTE_ENDPOINT and FLOWS_COMPUTE_WORKERS.\n"
    # JSON is YAML; the file is for a program.
    (folder / "config.yaml").write_text(head + json.dumps(document, indent=2) + "\n")
