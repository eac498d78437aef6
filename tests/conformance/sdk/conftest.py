"""One server for all tests of the official clients, and the official Python clients set up for it as a user would."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import globus_sdk
import pytest

from tests.conformance.sdk.server import Credentials, Server, recorded_requests, running_server


@pytest.fixture(scope="session")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    with running_server(tmp_path_factory.mktemp("server")) as running:
        yield running


@pytest.fixture
def environment(server: Server, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """The variables that a user sets, and a home directory of their own for stored tokens."""
    for name, value in server.environment.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("HOME", str(tmp_path))


@pytest.fixture
def requests() -> Iterator[list[str]]:
    """What the test's clients sent, as ``"GET /flows/flows"``; repeated requests are there as often as they were sent."""
    with recorded_requests() as sent:
        yield sent


@pytest.fixture
def app(server: Server, environment: None) -> Iterator[globus_sdk.ClientApp]:
    with client_app(server.owner) as made:
        yield made


@pytest.fixture
def flows(app: globus_sdk.ClientApp) -> Iterator[globus_sdk.FlowsClient]:
    with globus_sdk.FlowsClient(app=app) as client:
        yield client


@pytest.fixture
def strangers_flows(server: Server, environment: None) -> Iterator[globus_sdk.FlowsClient]:
    """Flows as somebody sees them who has no role on anything."""
    with client_app(server.stranger) as app, globus_sdk.FlowsClient(app=app) as client:
        yield client


def client_app(who: Credentials) -> globus_sdk.ClientApp:
    return globus_sdk.ClientApp("conformance", client_id=who.client_id, client_secret=who.client_secret)
