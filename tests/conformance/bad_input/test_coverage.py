"""Every named bad input, B01 to B90, is tested here once or comes with a part that is not there yet."""

from __future__ import annotations

import importlib
from collections import Counter

MODULES = (
    "bodies",
    "compute",
    "definitions",
    "files",
    "functions",
    "providers",
    "requests",
    "runs",
    "transfer",
    "transport",
)
NUMBERS = {f"B{number:02}" for number in range(1, 91)}

_TIMERS = "comes with a later part: timers"
#: Number -> why it has no row.
REASONS = {
    "B76": _TIMERS,
    "B77": _TIMERS,
    "B78": _TIMERS,
    "B88": "comes with a later part: notifications by e-mail",
}


def numbers() -> list[str]:
    found = (importlib.import_module(f"tests.conformance.bad_input.test_{name}") for name in MODULES)
    return [row.id.split()[0] for module in found for row in module.ROWS]


def test_every_bad_input_is_tested_or_has_its_reason() -> None:
    tested = set(numbers())
    assert tested | set(REASONS) == NUMBERS
    assert tested.isdisjoint(REASONS)


def test_every_row_has_its_number_once() -> None:
    assert [number for number, count in Counter(numbers()).items() if count > 1] == []
