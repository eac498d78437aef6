"""A real agent process: ``compute-agent start`` on an endpoint of its own, started, killed and started again."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

import psutil
import yaml

from tests.e2e.server import PATIENCE_S, ServerProcess, next_line


class AgentProcess:
    """An endpoint of the server's installation. ``start`` returns when it takes tasks; ``log`` holds all its lives.

    ``environ`` are further variables of every start.
    """

    def __init__(
        self,
        folder: Path,
        server: ServerProcess,
        config: Mapping[str, Any],
        name: str = "test",
        *,
        environ: Mapping[str, str] | None = None,
    ) -> None:
        self.name = name
        self.folder = folder / name
        self.log = folder / f"{name}.log"
        self.endpoint_id = ""
        self._server = server
        self._environ = dict(environ or {})
        self._process: subprocess.Popen[bytes] | None = None
        folder.mkdir(parents=True, exist_ok=True)
        self.command("configure", name)
        (self.folder / "user_config_template.yaml.j2").unlink()  # one engine for all, in the configuration itself
        (self.folder / "config.yaml").write_text(yaml.safe_dump({"warm_start": True, **config}))

    def start(self) -> None:
        with self.log.open("ab") as log:
            self._process = subprocess.Popen(
                [*self._program(), "start", self.name, "--print-ready"],
                stdout=subprocess.PIPE,
                stderr=log,
                env=self._environment(),
            )
        ready = next_line(self._process)
        assert "endpoint_id" in ready, f"the agent did not start:\n{self.log.read_text()[-3000:]}"
        self.endpoint_id = ready["endpoint_id"]

    def kill(self) -> None:
        """End the agent itself as ``kill -9`` does; what it has started is left to find out."""
        self._send(signal.SIGKILL)
        self._ended()

    def stop(self) -> int:
        """Ask it to stop; its exit code."""
        self._send(signal.SIGTERM)
        return self._ended()

    def ended(self) -> int:
        """Wait for its end, whoever brings it about; its exit code."""
        return self._ended()

    def close(self) -> None:
        """Leave nothing running."""
        if self._process is not None:
            children = self.descendants()
            self.kill()
            for child in children:
                with suppress(psutil.NoSuchProcess):
                    child.kill()

    def descendants(self, containing: str = "") -> list[psutil.Process]:
        """Processes that the agent started, whose command line contains the text."""
        assert self._process is not None, "the agent was never started"
        found = []
        with suppress(psutil.NoSuchProcess):
            for process in psutil.Process(self._process.pid).children(recursive=True):
                with suppress(psutil.NoSuchProcess):
                    if containing in " ".join(process.cmdline()) + process.name():
                        found.append(process)
        return found

    def command(self, *arguments: str) -> str:
        """Standard output of a ``compute-agent`` command."""
        done = subprocess.run(
            [*self._program(), *arguments], capture_output=True, text=True, env=self._environment(), check=False
        )
        assert done.returncode == 0, f"compute-agent {' '.join(arguments)}: {done.stderr}"
        return done.stdout

    def _program(self) -> list[str]:
        return [sys.executable, "-m", "compute_agent.agent.cli", "--config-dir", str(self.folder.parent)]

    def _environment(self) -> dict[str, str]:
        inherited = {name: value for name, value in os.environ.items() if not name.startswith("FLOWS_")}
        return {**inherited, "FLOWS_DATA_DIR": str(self._server.data_dir), **self._environ}

    def _send(self, number: signal.Signals) -> None:
        assert self._process is not None, "the agent was never started"
        with suppress(ProcessLookupError):
            self._process.send_signal(number)

    def _ended(self) -> int:
        assert self._process is not None, "the agent was never started"
        code = self._process.wait(PATIENCE_S)
        if self._process.stdout is not None:
            self._process.stdout.close()
        return code
