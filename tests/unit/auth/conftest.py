"""An auth service over a real database, with a clock that the test moves, and one flow and one collection to name."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from flows_engine.auth import bootstrap, tables
from flows_engine.auth.bootstrap import Installation
from flows_engine.auth.clients import Client
from flows_engine.auth.keys import Keys
from flows_engine.auth.scopes import ScopeBook
from flows_engine.auth.service import AuthService, AuthSettings
from flows_engine.store.db import SqlDatabase
from tests.fakes.clock import VirtualClock

FLOW_ID = "11111111-2222-4333-8444-555555555555"
COLLECTION_ID = "99999999-2222-4333-8444-555555555555"
PUBLIC_URL = "https://flows.example.org/auth/"


@pytest.fixture(scope="session")
def key_files(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A keys directory made once: an RSA key takes long to make."""
    folder = tmp_path_factory.mktemp("keys")
    Keys.open(folder)
    return folder / "keys"


@pytest.fixture
def data_dir(tmp_path: Path, key_files: Path) -> Path:
    shutil.copytree(key_files, tmp_path / "data" / "keys")
    return tmp_path / "data"


@pytest.fixture
def clock() -> VirtualClock:
    return VirtualClock()


@pytest.fixture
def installation(database: SqlDatabase, clock: VirtualClock, data_dir: Path) -> Installation:
    tables.metadata.create_all(database.engine)
    return bootstrap.ensure_installation(database, clock, data_dir)


@pytest.fixture
def book() -> ScopeBook:
    return ScopeBook(
        flow_exists=lambda flow_id: flow_id == FLOW_ID,
        collection_exists=lambda collection_id: collection_id == COLLECTION_ID,
        extra={"https://example.org/scopes/plugin": "plugin.example.org"},
    )


@pytest.fixture
def auth(database: SqlDatabase, clock: VirtualClock, installation: Installation, book: ScopeBook) -> AuthService:
    return AuthService(
        database,
        clock,
        keys=installation.keys,
        settings=AuthSettings(public_url=PUBLIC_URL),
        book=book,
        groups_of=lambda identities: frozenset(f"group-of-{one}" for one in identities),
    )


@pytest.fixture
def client(auth: AuthService, installation: Installation) -> Client:
    """The client of the installation, signed in with what its file says."""
    document = json.loads(installation.client_file.read_text())
    return auth.authenticate_client(document["client_id"], document["client_secret"])
