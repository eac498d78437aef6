"""A row of the table of bad inputs: its number and name, and how it is sent. Rows are test ids, so that every named bad
input is found by its number; ``test_coverage`` holds the numbers against the table.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import pytest

#: Sends the input to what its module has: the service, a command, collections.
Check = Callable[[Any], None]


@dataclass(frozen=True, slots=True)
class Row:
    """``id`` begins with the row's number (``B07 number too large``); ``check`` sends it and looks at the answer."""

    id: str
    check: Check


def by_id(rows: Sequence[Row]) -> pytest.MarkDecorator:
    """The rows as parameters of a test."""
    return pytest.mark.parametrize("row", [pytest.param(row, id=row.id) for row in rows])


def rows_of(checks: Mapping[str, Check]) -> list[Row]:
    return [Row(name, check) for name, check in checks.items()]
