"""The server of this machine's data directory, as other programs of the same owner find it: its address and the
credentials of the installation's client.

The server holds a lock on ``<data_dir>/server.json`` as long as it lives, so that what a killed server left behind is
never believed: its address may belong to somebody else by now, who must not be sent a client's secret.
"""

from __future__ import annotations

import fcntl
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from schemas import json_text
from schemas.errors import InvalidJson
from schemas.json_text import Json

from .errors import ClientError
from .private_files import read_private_file

NAME = "server.json"


class NoCredentialsError(ClientError):
    """The data directory does not hold the credentials of the installation's client."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RunningServer:
    """``url`` is for this machine, ``public_url`` for others; ``operator_key`` opens the operator's routes;
    ``database`` is the address of its database without a password, empty when it is not known."""

    url: str
    public_url: str
    pid: int
    started: str
    operator_key: str
    database: str = ""

    def to_json(self) -> dict[str, Json]:
        return {
            "url": self.url,
            "public_url": self.public_url,
            "pid": self.pid,
            "started": self.started,
            "operator_key": self.operator_key,
            "database": self.database,
        }


def default_data_dir(environ: Mapping[str, str] = os.environ) -> Path:
    """``$FLOWS_DATA_DIR``, else ``~/.flows-engine``."""
    if named := environ.get("FLOWS_DATA_DIR"):
        return Path(named).expanduser()
    return Path("~/.flows-engine").expanduser()


def credentials(data_dir: Path) -> tuple[str, str]:
    """Id and secret of the installation's client.

    Raises:
        NoCredentialsError: there are none, or they cannot be read.
        PermissionError: others may read them.
    """
    path = data_dir / "client.json"
    raw = read_private_file(path)
    if raw is None:
        raise NoCredentialsError(f"there is no {path}; 'flows serve' makes one at its first start")
    try:
        document = json_text.loads(raw, what=str(path))
        return str(document["client_id"]), str(document["client_secret"])
    except (InvalidJson, KeyError, TypeError) as error:
        raise NoCredentialsError(
            f"{path} does not hold a client_id and a client_secret; "
            "'flows clients rotate' with the client's id writes it anew"
        ) from error


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
                database=str(document.get("database", "")),
            )
        except (InvalidJson, AttributeError, KeyError, TypeError, ValueError):
            return None


def _is_locked(descriptor: int) -> bool:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    fcntl.flock(descriptor, fcntl.LOCK_UN)
    return False
