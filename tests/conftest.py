"""Fixtures of every kind of test: databases (SQLite, a real PostgreSQL), a real Slurm, the loud skip of what is missing."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import settings

from flows_engine.store.db import SqlDatabase
from tests.postgres import PostgresMissing, PostgresServer
from tests.slurm import SlurmCluster, SlurmMissing

# The same examples every time, so that a red build is red again; ``HYPOTHESIS_PROFILE=explore`` looks for new ones.
settings.register_profile("repeatable", derandomize=True, deadline=None)
settings.register_profile("explore", deadline=None)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "repeatable"))

#: Set in CI alone: a real component that is missing is then a failure, not a skip.
REQUIRE_REAL = os.environ.get("FLOWS_TESTS_REQUIRE_REAL") == "1"

_missing: dict[str, str] = {}


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line("markers", "early: takes long, so it starts first and other workers share the rest")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    items.sort(key=lambda item: item.get_closest_marker("early") is None)


def missing(component: str, advice: str) -> None:
    """Skip the test because a real component is not installed; in CI, fail it."""
    _missing[component] = advice
    if REQUIRE_REAL:
        pytest.fail(f"{component} is required here and is missing: {advice}")
    pytest.skip(f"{component} is missing: {advice}")


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    for component, advice in sorted(_missing.items()):
        terminalreporter.write_line(f"NOT TESTED: {component} is missing. {advice}", red=True, bold=True)


@pytest.fixture(scope="session")
def postgres() -> Iterator[PostgresServer]:
    """A private PostgreSQL server."""
    try:
        server = PostgresServer()
    except PostgresMissing as error:
        missing("PostgreSQL", str(error))
        raise AssertionError("unreachable") from error
    yield server
    server.close()


@pytest.fixture(scope="session")
def slurm() -> Iterator[SlurmCluster]:
    """A private Slurm cluster of one node; programs use it when they run with its ``environment``."""
    try:
        cluster = SlurmCluster()
    except SlurmMissing as error:
        missing("Slurm", str(error))
        raise AssertionError("unreachable") from error
    yield cluster
    cluster.stop()


@pytest.fixture(params=["sqlite", "postgresql"])
def database_url(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    """URL of a fresh database without tables; every test that takes it runs on both kinds."""
    if request.param == "sqlite":
        yield f"sqlite:///{tmp_path / 'flows.db'}"
        return
    server: PostgresServer = request.getfixturevalue("postgres")
    url = server.new_database()
    yield url
    server.drop_database(url)


@pytest.fixture
def database(database_url: str) -> Iterator[SqlDatabase]:
    """A fresh database without tables, opened."""
    db = SqlDatabase(database_url)
    yield db
    db.dispose()
