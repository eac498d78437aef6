"""Settings of one installation: where its data lives and what it allows. Values only; read once, passed down.

Every command takes ``--data-dir`` and ``--database-url``; the other settings come from ``FLOWS_*`` environment variables.
The database is the one that is named, else the one that the data directory was first used with, else SQLite in it.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from compute_agent.local_server import default_data_dir
from schemas import json_text
from schemas.errors import InvalidJson

DEFAULT_PORT = 8765
#: What the endpoint that comes with the server may run on.
COMPUTE_ENDPOINTS = ("parsl", "process", "thread", "off")
#: In the data directory: which database it belongs to.
DATABASE_FILE = "database.json"


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """``allowed_hosts`` are ``host[:port]`` or ``CIDR[:port]`` entries that actions may call although they are not public,
    over plain http too; ``alias_file`` maps more ActionUrls to providers. ``public_url`` is how others reach this server.
    ``compute_endpoint`` is the engine of the endpoint that ``flows serve`` brings along, or ``off``; ``compute_lease_s``
    and ``compute_heartbeat_s`` are told to every agent."""

    data_dir: Path
    database_url: str
    host: str = "127.0.0.1"
    port: int = DEFAULT_PORT
    public_url: str = ""
    dialect: str = "union"
    allow_http_actions: bool = False
    allowed_hosts: tuple[str, ...] = ()
    alias_file: Path | None = None
    token_life_s: int = 172_800
    lease_s: float = 30.0
    batch: int = 200
    poll_s: float = 1.0
    http_threads: int = 64
    release_remote_actions: bool = True
    compute_endpoint: str = "parsl"
    compute_workers: int = field(default_factory=lambda: os.cpu_count() or 1)
    compute_lease_s: float = 75.0
    compute_heartbeat_s: float = 30.0

    @property
    def base_url(self) -> str:
        """URL of this server, without a slash at the end."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return (self.public_url or f"http://{host}:{self.port}").rstrip("/")

    @property
    def is_sqlite(self) -> bool:
        return self.database_url.startswith("sqlite")


def load(
    *,
    data_dir: Path | str | None = None,
    database_url: str | None = None,
    host: str | None = None,
    port: int | None = None,
    environ: Mapping[str, str] = os.environ,
) -> Settings:
    """Settings from arguments first, then the environment, then defaults.

    Raises:
        ValueError: a sentence that names the variable and what would be right.
    """
    directory = Path(data_dir).expanduser() if data_dir else default_data_dir(environ)
    directory = directory.absolute()
    url = database_url or environ.get("FLOWS_DATABASE_URL")
    url = url or remembered_database(directory) or f"sqlite:///{directory / 'flows.db'}"
    alias_file = environ.get("FLOWS_ALIAS_FILE")
    return Settings(
        data_dir=directory,
        database_url=url,
        host=host or environ.get("FLOWS_HOST", "127.0.0.1"),
        port=port if port is not None else _integer(environ, "FLOWS_PORT", DEFAULT_PORT, 0, 65_535),
        public_url=environ.get("FLOWS_PUBLIC_URL", ""),
        dialect=_choice(environ, "FLOWS_DIALECT", "union", ("globus", "asl", "union")),
        allow_http_actions=_boolean(environ, "FLOWS_ALLOW_HTTP_ACTIONS", False),
        allowed_hosts=tuple(one.strip() for one in environ.get("FLOWS_ALLOWED_HOSTS", "").split(",") if one.strip()),
        alias_file=Path(alias_file) if alias_file else None,
        token_life_s=_integer(environ, "FLOWS_TOKEN_LIFE_S", 172_800, 1, 31_536_000),
        lease_s=_integer(environ, "FLOWS_LEASE_MS", 30_000, 100, 3_600_000) / 1000,
        poll_s=_integer(environ, "FLOWS_POLL_MS", 1000, 1, 60_000) / 1000,
        batch=_integer(environ, "FLOWS_BATCH", 200, 1, 10_000),
        http_threads=_integer(environ, "FLOWS_HTTP_THREADS", 64, 1, 512),
        release_remote_actions=_boolean(environ, "FLOWS_RELEASE_REMOTE_ACTIONS", True),
        compute_endpoint=_choice(environ, "FLOWS_COMPUTE_ENDPOINT", "parsl", COMPUTE_ENDPOINTS),
        compute_workers=_integer(environ, "FLOWS_COMPUTE_WORKERS", os.cpu_count() or 1, 1, 4_096),
        **_compute_times(environ),
    )


def _compute_times(environ: Mapping[str, str]) -> dict[str, float]:
    lease_ms = _integer(environ, "FLOWS_COMPUTE_LEASE_MS", 75_000, 300, 86_400_000)
    heartbeat_ms = _integer(environ, "FLOWS_COMPUTE_HEARTBEAT_MS", min(30_000, lease_ms * 2 // 5), 100, 3_600_000)
    if lease_ms < 2 * heartbeat_ms:
        raise ValueError(
            f"FLOWS_COMPUTE_LEASE_MS is {lease_ms}; it must be at least twice FLOWS_COMPUTE_HEARTBEAT_MS, which is "
            f"{heartbeat_ms}: one heartbeat that comes late must not cost an agent its tasks"
        )
    return {"compute_lease_s": lease_ms / 1000, "compute_heartbeat_s": heartbeat_ms / 1000}


def remembered_database(data_dir: Path) -> str | None:
    """Address of the database that the data directory belongs to, with ``***`` for a password; None at first use.

    Raises:
        ValueError: the file cannot be understood.
    """
    path = data_dir / DATABASE_FILE
    try:
        url = json_text.loads(path.read_bytes(), what=str(path))["url"]
    except FileNotFoundError:
        return None
    except (InvalidJson, KeyError, TypeError):
        url = None
    if not isinstance(url, str) or "://" not in url:
        raise ValueError(
            f'{path} must hold {{"url": ...}}, the address of the database; remove it to have it made anew'
        )
    scheme, _, file = url.partition(":///")
    return f"sqlite:///{data_dir / file}" if scheme == "sqlite" else url


def _integer(environ: Mapping[str, str], name: str, default: int, low: int, high: int) -> int:
    text = environ.get(name)
    if text is None:
        return default
    if not text.isdecimal() or not low <= int(text) <= high:
        raise ValueError(f"{name} is {text!r}; it must be a whole number from {low} to {high}")
    return int(text)


def _boolean(environ: Mapping[str, str], name: str, default: bool) -> bool:
    text = environ.get(name, "").lower()
    if text in ("", "1", "true", "yes", "0", "false", "no"):
        return default if not text else text in ("1", "true", "yes")
    raise ValueError(f"{name} is {text!r}; it must be true or false")


def _choice(environ: Mapping[str, str], name: str, default: str, allowed: tuple[str, ...]) -> str:
    text = environ.get(name, default)
    if text not in allowed:
        raise ValueError(f"{name} is {text!r}; it must be one of {', '.join(allowed)}")
    return text
