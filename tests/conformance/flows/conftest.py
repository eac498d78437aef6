"""One engine for all published flows, and each flow as a test of its own."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.conformance.flows import corpus
from tests.examples.running_house import RunningHouse, running_house


@pytest.fixture(scope="session")
def house(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningHouse]:
    with running_house(tmp_path_factory.mktemp("house") / "data") as started:
        yield started


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    if "flow" not in metafunc.fixturenames:
        return
    root = corpus.folder()
    if not root.is_dir() and not corpus.is_named():
        metafunc.parametrize("flow", [None], ids=["no corpus"])
        return
    flows = corpus.published(root)  # a folder that was named and holds nothing is an error of the whole run
    metafunc.parametrize("flow", flows, ids=[one.name for one in flows])
