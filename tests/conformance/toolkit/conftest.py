"""Our server, and beside it a provider of somebody else in a process and a Python of its own."""

from __future__ import annotations

import os
import socket
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest
import requests

from tests.conformance.sdk.server import Credentials, Server, running_server
from tests.conftest import missing

_ROOT = Path(__file__).parents[3]
_APP = Path(__file__).with_name("provider_app.py")
#: What the toolkit exchanges tokens for when it must know the groups of a caller.
_VIEW_GROUPS = "urn:globus:auth:scope:groups.api.globus.org:view_my_groups_and_memberships"
_ADVICE = (
    "make it with `python3 tools/make_venv.py .venv-provider` and `.venv-provider/bin/python -m pip install "
    "'globus-action-provider-tools[flask]'`, or name a Python that has it in FLOWS_TOOLKIT_PYTHON"
)


@dataclass(frozen=True, slots=True)
class Provider:
    """``url`` is where its two providers are: ``/slow`` and ``/echo``."""

    url: str
    client: Credentials

    def scope(self, name: str) -> str:
        return f"https://auth.globus.org/scopes/{self.client.client_id}/{name}"

    def journal(self) -> list[str]:
        """What it was asked to do since it was started, such as ``"slow run"``, oldest first."""
        entries: list[str] = requests.get(f"{self.url}/journal", timeout=10).json()
        return entries


@pytest.fixture(scope="session")
def toolkit_python() -> Path:
    """A Python that has the official toolkit; its versions do not go together with ours."""
    named = os.environ.get("FLOWS_TOOLKIT_PYTHON")
    candidates = [Path(named)] if named else []
    candidates.append(_ROOT / ".venv-provider" / "bin" / "python")
    for python in candidates:
        found = python.exists() and subprocess.run(
            [python, "-c", "import globus_action_provider_tools.flask"], capture_output=True, check=False
        )
        if found and found.returncode == 0:
            return python
    missing("globus-action-provider-tools", _ADVICE)
    raise AssertionError("unreachable")


@pytest.fixture(scope="session")
def provider_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


@pytest.fixture(scope="session")
def server(toolkit_python: Path, provider_port: int, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """Our server, which may call that one port of this machine."""
    allowed = {"FLOWS_ALLOWED_HOSTS": f"127.0.0.1:{provider_port}"}
    with running_server(tmp_path_factory.mktemp("server"), allowed) as running:
        yield running


@pytest.fixture(scope="session")
def provider(server: Server, toolkit_python: Path, provider_port: int) -> Iterator[Provider]:
    """Registered as an operator registers a provider: its scopes, and the only place that gets tokens for them."""
    client = server.register(
        "Third-party provider", scopes=["slow", "echo"], dependent=_VIEW_GROUPS, audience=f"127.0.0.1:{provider_port}"
    )
    with _process(toolkit_python, server, provider_port, client):
        yield Provider(f"http://127.0.0.1:{provider_port}", client)


@contextmanager
def _process(python: Path, server: Server, port: int, client: Credentials) -> Iterator[None]:
    environment = {
        "PATH": os.environ["PATH"],
        "PROVIDER_PORT": str(port),
        "CLIENT_ID": client.client_id,
        "CLIENT_SECRET": client.client_secret,
        **{name: value for name, value in server.environment.items() if name.startswith("GLOBUS_SDK_")},
    }
    process = subprocess.Popen([python, _APP], env=environment, stdout=subprocess.PIPE, text=True)
    try:
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n", "the provider did not start"
        yield
    finally:
        process.terminate()
        process.wait(timeout=10)
        process.stdout.close()
