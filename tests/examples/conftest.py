"""One engine for all examples."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.examples.running_house import RunningHouse, running_house


@pytest.fixture(scope="session")
def house(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningHouse]:
    with running_house(tmp_path_factory.mktemp("house") / "data") as started:
        yield started
