"""``<data_dir>/server.json``: where the server of a data directory can be reached, for programs of the same owner.

The server holds a lock on the file as long as it lives, so that what a killed server left behind is never believed:
its address may belong to somebody else by now, who must not be sent a client's secret.
"""

from __future__ import annotations

import fcntl
import os
import secrets
from dataclasses import dataclass
from pathlib import Path

from schemas import json_text
from schemas.errors import InvalidJson
from schemas.json_text import Json

NAME = "server.json"


@dataclass(frozen=True, slots=True, kw_only=True)
class RunningServer:
    """``url`` is for this machine, ``public_url`` for others; ``operator_key`` opens the operator's routes."""

    url: str
    public_url: str
    pid: int
    started: str
    operator_key: str

    def to_json(self) -> dict[str, Json]:
        return {
            "url": self.url,
            "public_url": self.public_url,
            "pid": self.pid,
            "started": self.started,
            "operator_key": self.operator_key,
        }


class ServerFile:
    """The file of a server that is up: from ``publish`` until ``withdraw`` or the end of the process."""

    def __init__(self, data_dir: Path) -> None:
        self._path = data_dir / NAME
        self._descriptor: int | None = None

    def publish(self, server: RunningServer) -> None:
        """Write the file, mode 0600; readers see it whole, and locked from the first moment."""
        draft = self._path.with_name(f".{NAME}.{secrets.token_hex(8)}")
        descriptor = os.open(draft, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        os.write(descriptor, (json_text.dumps(server.to_json()) + "\n").encode())
        draft.replace(self._path)
        self._descriptor = descriptor

    def withdraw(self) -> None:
        """Remove the file, unless another server has put its own there since."""
        if self._descriptor is None:
            return
        own = os.fstat(self._descriptor)
        try:
            there = self._path.stat()
            if (there.st_dev, there.st_ino) == (own.st_dev, own.st_ino):
                self._path.unlink()
        except FileNotFoundError:
            pass  # somebody tidied up
        os.close(self._descriptor)
        self._descriptor = None


def find_server(data_dir: Path) -> RunningServer | None:
    """The server of the data directory, or None when none is up."""
    try:
        descriptor = os.open(data_dir / NAME, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW)
    except OSError:
        return None
    with os.fdopen(descriptor, "rb") as file:
        if os.fstat(descriptor).st_mode & 0o077 or not _is_locked(descriptor):
            return None
        try:
            document = json_text.loads(file.read(65_536), what=NAME)
            return RunningServer(
                url=str(document["url"]),
                public_url=str(document["public_url"]),
                pid=int(document["pid"]),
                started=str(document["started"]),
                operator_key=str(document["operator_key"]),
            )
        except (InvalidJson, KeyError, TypeError, ValueError):
            return None


def _is_locked(descriptor: int) -> bool:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    fcntl.flock(descriptor, fcntl.LOCK_UN)
    return False
