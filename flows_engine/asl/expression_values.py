"""Values of the expression language: their limits, how they are read, and what they cost.

Work is paid from a fixed amount of fuel and a size is checked before the work that would make it. Nothing here changes
a value it was given. What cannot be done is an ``OperationError``; the interpreter adds the column.
"""

from __future__ import annotations

import math
from typing import Any

from schemas.json_text import MAX_KEY_CHARS, Json

from .paths import keys_there_are, kind_of
from .scope import Scope

FUEL = 20_000
MAX_TEXT_CHARS = 65_536
MAX_ITEMS = 10_000
MAX_RESULT_CELLS = 100_000

#: Texts are paid for in portions of this many characters.
CHARS_PER_CELL = 64
_INT_MIN, _INT_MAX = -(2**63), 2**63 - 1


class OperationError(Exception):
    """An operation cannot be done; the text is a sentence without its place and without values."""


class Work:
    """One evaluation: what may be read, the variables of comprehensions, and the fuel that is left."""

    __slots__ = ("fuel", "scope", "variables")

    def __init__(self, scope: Scope) -> None:
        self.scope = scope
        self.variables: dict[str, Json] = {}
        self.fuel = FUEL

    def spend(self, units: int) -> None:
        self.fuel -= units
        if self.fuel < 0:
            raise OperationError(f"the expression does too much work; the limit is {FUEL} steps")

    def spend_on_text(self, *texts: str) -> None:
        self.spend(sum(map(len, texts)) // CHARS_PER_CELL)


def check_text_size(chars: int) -> None:
    if chars > MAX_TEXT_CHARS:
        raise OperationError(f"the text would be longer than {MAX_TEXT_CHARS} characters")


def check_item_count(items: int) -> None:
    if items > MAX_ITEMS:
        raise OperationError(f"the array would have more than {MAX_ITEMS} items")


def check_number(value: Any) -> Json:
    """The value, if it is a number that JSON and all parsers of it can hold."""
    if isinstance(value, int):
        if not _INT_MIN <= value <= _INT_MAX:
            raise OperationError("the whole number does not fit 64 bits")
    elif not isinstance(value, float) or not math.isfinite(value):
        raise OperationError("the result is not a finite number")
    return value


def check_key(key: Json) -> str:
    if not isinstance(key, str):
        raise OperationError(f"the keys of an object are text, not {kind_of(key)}")
    if len(key) > MAX_KEY_CHARS:
        raise OperationError(f"a key has more than {MAX_KEY_CHARS} characters")
    return key


def cells_of(value: Json, limit: int) -> int:
    """How much a value weighs: one per value inside it and one per 64 characters. Stops soon after ``limit``.

    A part that occurs twice counts twice: that is what comparing, printing and storing it costs.
    """
    cells = 1
    stack = [value]
    while stack and cells <= limit:
        here = stack.pop()
        if isinstance(here, str):
            cells += len(here) // CHARS_PER_CELL
        elif isinstance(here, list):
            cells += len(here)
            if cells <= limit:
                stack.extend(here)
        elif isinstance(here, dict):
            cells += 2 * len(here)
            if cells <= limit:
                stack.extend(here.values())
    return cells


def check_result(value: Json) -> Json:
    if isinstance(value, str | list | dict) and cells_of(value, MAX_RESULT_CELLS) > MAX_RESULT_CELLS:
        raise OperationError(f"the result is too large: it holds more than {MAX_RESULT_CELLS} values")
    return value


def is_number(value: Json) -> bool:
    return isinstance(value, int | float)


def is_count(value: Json) -> bool:
    """A whole number, and not true or false."""
    return isinstance(value, int) and not isinstance(value, bool)


def text_of(work: Work, value: Json) -> str:
    """What ``str()`` and f-strings make of a value: as Python writes it, which is what published flows expect."""
    if isinstance(value, str):
        return value
    if isinstance(value, list | dict):
        limit = min(work.fuel, MAX_TEXT_CHARS // 2)
        cells = cells_of(value, limit)
        if cells > MAX_TEXT_CHARS // 2:
            raise OperationError(f"the text would be longer than {MAX_TEXT_CHARS} characters")
        work.spend(cells)
        text = repr(value)
        check_text_size(len(text))
        return text
    return str(value)


def key_of(value: Json, key: str) -> Json:
    """``value.key``: always a look-up in an object, never a Python attribute."""
    if isinstance(value, dict):
        if key in value:
            return value[key]
        raise OperationError(f"the object has no key {_short(key)}; {_keys(value)}")
    raise OperationError(f"{kind_of(value)} has no keys, so {_short(key)} cannot be read from it")


def item_of(value: Json, index: Json) -> Json:
    """``value[index]``."""
    if isinstance(value, dict):
        if not isinstance(index, str):
            raise OperationError(f"an object is read with a text key, not with {kind_of(index)}")
        return key_of(value, index)
    if not isinstance(value, list | str):
        raise OperationError(f"{kind_of(value)} has no items")
    if not is_count(index):
        raise OperationError(f"{kind_of(value)} is read with a whole number, not with {kind_of(index)}")
    if not -len(value) <= index < len(value):
        raise OperationError(f"there is no item {index}: {kind_of(value)} of length {len(value)}")
    return value[index]


def slice_of(work: Work, value: Json, start: Json, stop: Json, step: Json) -> Json:
    if not isinstance(value, list | str):
        raise OperationError(f"{kind_of(value)} cannot be sliced")
    for bound in (start, stop, step):
        if bound is not None and not is_count(bound):
            raise OperationError(f"the bounds of a slice are whole numbers, not {kind_of(bound)}")
    if step == 0:
        raise OperationError("the step of a slice cannot be 0")
    if isinstance(value, str):
        work.spend_on_text(value)
    else:
        work.spend(len(value) // 8)
    return value[start:stop:step]


def items_to_visit(value: Json) -> list[Json]:
    """What ``for x in value`` visits: the items of an array, the keys of an object, the characters of a text."""
    if isinstance(value, list):
        return value
    if isinstance(value, dict | str):
        check_item_count(len(value))
        return list(value)
    raise OperationError(f"{kind_of(value)} has no items to go through")


def _keys(value: dict[str, Json]) -> str:
    keys = keys_there_are(value)
    return f"the keys there are {keys}" if keys else "it has no keys"


def _short(key: str) -> str:
    return repr(key if len(key) <= 40 else key[:37] + "...")
