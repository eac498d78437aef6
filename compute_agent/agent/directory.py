"""An endpoint's directory: its files by their published names, and the lock that lets one agent serve it at a time."""

from __future__ import annotations

import contextlib
import fcntl
import os
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from schemas import json_text
from schemas.errors import InvalidJson
from schemas.json_text import Json
from schemas.principals import normal_uuid

from ..private_files import private_directory, replace_private_file
from .yaml_text import ConfigError

_FORBIDDEN = frozenset("\"'`/\\")


class EndpointBusy(Exception):
    """Another agent serves the endpoint already."""


class NoSuchEndpoint(Exception):
    """There is no endpoint of this name in the directory of endpoints."""


def default_config_dir(environ: Mapping[str, str] = os.environ) -> Path:
    """``$FLOWS_COMPUTE_DIR``, else ``~/.flows-compute``."""
    return Path(environ.get("FLOWS_COMPUTE_DIR") or "~/.flows-compute").expanduser().absolute()


def wrong_name(name: str) -> str:
    """Why an endpoint cannot have this name, or nothing. The rules are the published ones."""
    if not 0 < len(name) <= 128:
        return "a name has 1 to 128 characters"
    if name.startswith("."):
        return "a name does not begin with a dot"
    if any(one.isspace() or one in _FORBIDDEN or not one.isprintable() for one in name):
        return "a name holds no whitespace, quotes or slashes"
    return ""


@dataclass(frozen=True, slots=True)
class EndpointDirectory:
    """Paths below ``<config dir>/<name>/``."""

    path: Path

    @property
    def name(self) -> str:
        return self.path.name

    @property
    def config(self) -> Path:
        return self.path / "config.yaml"

    @property
    def template(self) -> Path:
        return self.path / "user_config_template.yaml.j2"

    @property
    def schema(self) -> Path:
        return self.path / "user_config_schema.json"

    @property
    def environment(self) -> Path:
        return self.path / "user_environment.yaml"

    @property
    def credentials(self) -> Path:
        return self.path / "credentials.json"

    @property
    def registration(self) -> Path:
        return self.path / "endpoint.json"

    @property
    def log(self) -> Path:
        return self.path / "endpoint.log"

    @property
    def pid_file(self) -> Path:
        return self.path / "daemon.pid"

    @property
    def journal(self) -> Path:
        return self.path / "journal.db"

    @property
    def run_dir(self) -> Path:
        return self.path / "run"

    @property
    def markers(self) -> Path:
        return self.run_dir / "starts"

    def make(self) -> None:
        private_directory(self.path.parent)
        private_directory(self.path)

    def endpoint_id(self) -> str | None:
        """The id that the service gave, or None before the first start.

        Raises:
            ConfigError: the file does not hold one.
        """
        try:
            raw = self.registration.read_bytes()
        except FileNotFoundError:
            return None
        try:
            document = json_text.loads(raw, what=str(self.registration))
            found = normal_uuid(str(document["endpoint_id"]))
        except (InvalidJson, KeyError, TypeError):
            found = None
        if found is None:
            raise ConfigError(
                f'{self.registration} must hold {{"endpoint_id": "<uuid>"}}; restore it, or delete the file'
            )
        return found

    def keep_endpoint_id(self, endpoint_id: str, url: str) -> None:
        document: Json = {"endpoint_id": endpoint_id, "url": url}
        replace_private_file(self.registration, json_text.dumps(document).encode() + b"\n")

    @contextlib.contextmanager
    def served(self) -> Iterator[None]:
        """Hold the endpoint for this process.

        Raises:
            EndpointBusy: another process holds it.
        """
        descriptor = os.open(self.pid_file, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        with os.fdopen(descriptor, "r+b", buffering=0) as file:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                pid = self.agent_pid()
                raise EndpointBusy(
                    f"endpoint {self.name} is served already"
                    + (f" by process {pid}; 'compute-agent stop {self.name}' ends it" if pid else "")
                ) from None
            # A forked worker that outlives this process must not keep the lock. Later the number may be another file's.
            held = [descriptor]
            os.register_at_fork(after_in_child=lambda: _close(held))
            file.truncate(0)
            file.write(f"{os.getpid()}\n".encode())
            try:
                yield
            finally:
                held.clear()
                file.truncate(0)

    def agent_pid(self) -> int | None:
        """The process that serves the endpoint, or None when none does."""
        try:
            descriptor = os.open(self.pid_file, os.O_RDONLY | os.O_CLOEXEC)
        except FileNotFoundError:
            return None
        with os.fdopen(descriptor, "rb") as file:
            try:
                fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
            except BlockingIOError:
                text = file.read(32).strip()
                return int(text) if text.isdigit() else 0
            return None

    def wait_until_free(self, *, within_s: float) -> bool:
        """Until no process serves the endpoint; False when the time did not suffice."""
        deadline = time.monotonic() + within_s
        while self.agent_pid() is not None:
            if time.monotonic() > deadline:
                return False
            time.sleep(0.05)
        return True


def find(config_dir: Path, name: str) -> EndpointDirectory:
    """Raises:
    NoSuchEndpoint: with what to do.
    """
    if reason := wrong_name(name):
        raise NoSuchEndpoint(f"{name!r} cannot be the name of an endpoint: {reason}")
    if not (config_dir / name / "config.yaml").is_file():
        raise NoSuchEndpoint(
            f"there is no endpoint {name!r} in {config_dir}; 'compute-agent configure {name}' makes one"
        )
    return EndpointDirectory(config_dir / name)


def find_all(config_dir: Path) -> list[EndpointDirectory]:
    """Every endpoint, by name."""
    try:
        paths = sorted(config_dir.iterdir())
    except FileNotFoundError:
        return []
    return [EndpointDirectory(path) for path in paths if (path / "config.yaml").is_file() and not wrong_name(path.name)]


def _close(descriptors: list[int]) -> None:
    for one in descriptors:
        with contextlib.suppress(OSError):
            os.close(one)
