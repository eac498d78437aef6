"""One server for all modules; after each module it must still answer, and must not have grown."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from flows_engine.api.http_server import HttpLimits
from tests.conformance.bad_input.service import Service, running_service

#: What a module's requests may add to the memory of the process, which is the tests' as well as the server's.
MOST_GROWTH_MB = 200


@pytest.fixture(scope="session")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    with running_service(tmp_path_factory.mktemp("service"), limits=HttpLimits(request_s=1.0)) as running:
        yield running


@pytest.fixture(scope="module", autouse=True)
def unharmed(request: pytest.FixtureRequest) -> Iterator[None]:
    """The server after a module is the one before it."""
    if "service" not in {name for item in _items(request) for name in item.fixturenames}:
        yield
        return
    server: Service = request.getfixturevalue("service")
    before = _resident_mb()
    yield
    assert server.send("GET", "/healthz", scope=None).status_code == 200
    assert server.send("GET", "/flows/flows").status_code == 200
    assert _resident_mb() - before < MOST_GROWTH_MB


def _items(request: pytest.FixtureRequest) -> list[pytest.Function]:
    return [one for one in request.session.items if isinstance(one, pytest.Function) and one.path == request.path]


def _resident_mb() -> float:
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith("VmRSS:"):
            return int(line.split()[1]) / 1024
    raise AssertionError("the kernel does not tell how much memory the process has")
