"""``<data_dir>/server.json``: where the server of a data directory can be reached, for programs of the same owner.

The server holds a lock on the file as long as it lives, so that what a killed server left behind is never believed:
its address may belong to somebody else by now, who must not be sent a client's secret. A lock on the directory itself
keeps a second server from taking its place in the file.
"""

from __future__ import annotations

import fcntl
import os
import secrets
from pathlib import Path

from compute_agent.local_server import NAME, RunningServer, find_server
from schemas import json_text


class ServerIsUp(Exception):
    """The data directory has a server already."""


class ServerFile:
    """The file of a server that is up: from ``publish`` until ``withdraw`` or the end of the process."""

    def __init__(self, data_dir: Path) -> None:
        self._path = data_dir / NAME
        self._descriptor: int | None = None
        self._directory: int | None = None

    def claim(self) -> None:
        """Make sure to be the one server of the data directory, which must be there; ``withdraw`` gives it free.

        Raises:
            ServerIsUp: the sentence names the other one.
        """
        if self._directory is not None:
            return
        folder = self._path.parent
        descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            os.close(descriptor)
            other = find_server(folder)
            who = f"process {other.pid} at {other.url}" if other else "just starting or stopping"
            raise ServerIsUp(
                f"another server ({who}) uses the data directory {folder}; stop it first, or give this one a --data-dir "
                "of its own with copies of keys/ and client.json"
            ) from error
        self._directory = descriptor

    def publish(self, server: RunningServer) -> None:
        """Write the file, mode 0600; readers see it whole, and locked from the first moment. Claims what is not claimed."""
        self.claim()
        draft = self._path.with_name(f".{NAME}.{secrets.token_hex(8)}")
        descriptor = os.open(draft, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        os.write(descriptor, (json_text.dumps(server.to_json()) + "\n").encode())
        draft.replace(self._path)
        self._descriptor = descriptor

    def withdraw(self) -> None:
        """Remove the file, unless it is another server's, and give the data directory free."""
        if self._descriptor is not None:
            self._remove(self._descriptor)
        for descriptor in (self._descriptor, self._directory):
            if descriptor is not None:
                os.close(descriptor)
        self._descriptor = self._directory = None

    def _remove(self, descriptor: int) -> None:
        own = os.fstat(descriptor)
        try:
            there = self._path.stat()
            if (there.st_dev, there.st_ino) == (own.st_dev, own.st_ino):
                self._path.unlink()
        except FileNotFoundError:
            pass  # somebody tidied up
