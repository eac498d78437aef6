"""A private PostgreSQL server for the tests: real, empty, on loopback, gone afterwards."""

from __future__ import annotations

import os
import pwd
import shutil
import socket
import subprocess
import tempfile
import uuid
from pathlib import Path


class PostgresMissing(Exception):
    """No PostgreSQL server programs are installed."""


class PostgresServer:
    """``initdb`` into a temporary folder and run the server there, as an unprivileged user when we are root.

    ``durable`` makes commits reach the disk, as in production; tests of logic do without.
    """

    def __init__(self, *, durable: bool = False) -> None:
        self._durable = durable
        self._bin = _programs()
        self.folder = Path(tempfile.mkdtemp(prefix="flows-pg-"))
        self.port = free_port()
        self._user = _unprivileged_user()
        if self._user:
            shutil.chown(self.folder, self._user)
            self.folder.chmod(0o755)
        self._run("initdb", "-D", str(self.folder / "data"), "-U", "flows", "-A", "trust", "--no-sync", "-E", "UTF8")
        self.start()

    def start(self) -> None:
        options = (
            f"-p {self.port} -k {self.folder} -c listen_addresses=127.0.0.1 "
            f"-c fsync={'on' if self._durable else 'off'} "
            "-c max_connections=200 -c shared_buffers=64MB"
        )
        self._run(
            "pg_ctl", "-D", str(self.folder / "data"), "-l", str(self.folder / "log"), "-w", "-o", options, "start"
        )

    def crash(self) -> None:
        """Stop as a power cut would."""
        self._run("pg_ctl", "-D", str(self.folder / "data"), "-m", "immediate", "stop")

    def close(self) -> None:
        self._run("pg_ctl", "-D", str(self.folder / "data"), "-m", "immediate", "stop", check=False)
        shutil.rmtree(self.folder, ignore_errors=True)

    def new_database(self) -> str:
        """URL of a fresh, empty database."""
        name = f"t{uuid.uuid4().hex}"
        self._run("createdb", "-h", "127.0.0.1", "-p", str(self.port), "-U", "flows", name)
        return f"postgresql://flows@127.0.0.1:{self.port}/{name}"

    def drop_database(self, url: str) -> None:
        name = url.rpartition("/")[2]
        self._run(
            "dropdb",
            "-h",
            "127.0.0.1",
            "-p",
            str(self.port),
            "-U",
            "flows",
            "--force",
            "--if-exists",
            name,
            check=False,
        )

    def _run(self, program: str, *arguments: str, check: bool = True) -> None:
        command = [str(self._bin / program), *arguments]
        if self._user:
            command = ["runuser", "-u", self._user, "--", *command]
        done = subprocess.run(command, capture_output=True, text=True, cwd=self.folder, check=False)
        if check and done.returncode:
            raise RuntimeError(f"{program} failed: {done.stderr or done.stdout}")


def _programs() -> Path:
    candidates = sorted(Path("/usr/lib/postgresql").glob("*/bin"), reverse=True)
    on_path = shutil.which("initdb")
    if on_path:
        candidates.append(Path(on_path).resolve().parent)
    for folder in candidates:
        if (folder / "initdb").exists() and (folder / "pg_ctl").exists():
            return folder
    raise PostgresMissing("install it with: apt-get install postgresql")


def _unprivileged_user() -> str | None:
    if os.geteuid() != 0:
        return None
    for name in ("postgres", "nobody"):
        try:
            pwd.getpwnam(name)
        except KeyError:
            continue
        return name
    raise RuntimeError("PostgreSQL does not run as root and there is no user 'postgres' or 'nobody'")


def free_port() -> int:
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        port: int = sock.getsockname()[1]
        return port
