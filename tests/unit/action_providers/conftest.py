"""A database of the kit's own tables: SQLite in a file, and PostgreSQL where TEST_POSTGRESQL_URL names an empty one."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from action_providers.tables import metadata
from flows_engine.store.db import SqlDatabase
from tests.fakes.clock import VirtualClock
from tests.unit.action_providers.scripted import Lab

_URLS = ["sqlite", *filter(None, [os.environ.get("TEST_POSTGRESQL_URL")])]


@pytest.fixture(params=_URLS, ids=lambda url: url.partition(":")[0])
def database(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[SqlDatabase]:
    db = SqlDatabase(f"sqlite:///{tmp_path}/kit.db" if request.param == "sqlite" else request.param)
    metadata.create_all(db.engine)
    yield db
    metadata.drop_all(db.engine)
    db.dispose()


@pytest.fixture
def clock() -> VirtualClock:
    return VirtualClock()


@pytest.fixture
def lab(database: SqlDatabase, clock: VirtualClock) -> Lab:
    return Lab(database, clock)
