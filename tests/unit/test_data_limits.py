"""The limits of a run's data: what is measured before it is written must agree with what writing it gives."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from schemas.errors import InvalidJson
from schemas.json_text import (
    MAX_DATA_DEPTH,
    MAX_WRITTEN_DEPTH,
    data_size_bytes,
    dumps,
    is_excessive,
    loads,
    size_bytes,
)

_SCALARS = st.none() | st.booleans() | st.integers(-9, 9) | st.text(max_size=4)
VALUES = st.recursive(_SCALARS, lambda inner: st.lists(inner) | st.dictionaries(st.text(max_size=3), inner))


@given(VALUES)
def test_what_fits_is_never_excessive(value: Any) -> None:
    size = size_bytes(value)
    assert not is_excessive(value, most_bytes=size)
    assert data_size_bytes(value) == size


def test_one_large_part_many_times_is_excessive_before_it_is_written() -> None:
    part = ["x" * 1000] * 1000
    assert is_excessive([part] * 1_000_000, most_bytes=2_000_000)
    assert not is_excessive(part, most_bytes=2_000_000)


@pytest.mark.parametrize("wrap", [lambda inner: [inner], lambda inner: {"a": inner}])
def test_depth_is_counted_alike_before_and_after_writing(wrap: Any) -> None:
    value: Any = 1
    for depth in range(1, MAX_DATA_DEPTH + 3):
        value = wrap(value)
        too_deep = depth > MAX_DATA_DEPTH
        assert is_excessive(value, most_bytes=10_000) is too_deep, depth
        assert (data_size_bytes(value) is None) is too_deep, depth


def test_what_we_write_we_read_when_asked_to() -> None:
    value: Any = 1
    for _ in range(MAX_WRITTEN_DEPTH):
        value = [value]
    assert loads(dumps(value), max_depth=MAX_WRITTEN_DEPTH) == value
    with pytest.raises(InvalidJson, match="more than 64 levels"):
        loads(dumps(value))
