"""Operators of a Choice rule (ASL "Choice State"; Globus Flows uses the same ones), without their ``...Path`` twins.

An operand of the wrong type makes the comparison false, never an error: data of another shape takes another way
through a flow. A boolean is not a number, and text that is not an RFC 3339 time is not a timestamp.
"""

from __future__ import annotations

import operator
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from schemas.json_text import Json
from schemas.times import parse_rfc3339


@dataclass(frozen=True, slots=True)
class Comparator:
    """One comparison of two operands.

    ``read`` turns an operand into what ``relation`` compares, None when it is of another type; ``read_literal`` does so
    for the definition's operand, once.
    """

    name: str
    read: Callable[[Json], Any]
    relation: Callable[[Any, Any], bool]
    read_literal: Callable[[Json], Any]

    def holds(self, left: Any, right: Any) -> bool:
        """Compare two operands as ``read`` and ``read_literal`` give them."""
        return left is not None and right is not None and self.relation(left, right)


@dataclass(frozen=True, slots=True)
class Glob:
    """A StringMatches pattern: ``*`` stands for any characters, ``\\*`` for a star, ``\\\\`` for a backslash.

    ``parts`` is the literal text between the wild cards. A backslash before anything else stands for itself.
    """

    parts: tuple[str, ...]

    @classmethod
    def compile(cls, pattern: str) -> Glob:
        parts: list[str] = []
        literal: list[str] = []
        position = 0
        while position < len(pattern):
            char = pattern[position]
            if char == "\\" and pattern[position + 1 : position + 2] in ("*", "\\"):
                position += 1
                literal.append(pattern[position])
            elif char == "*":
                parts.append("".join(literal))
                literal = []
            else:
                literal.append(char)
            position += 1
        return cls((*parts, "".join(literal)))

    def matches(self, text: str) -> bool:
        """Whether the pattern matches the whole text.

        Taking the leftmost place of each part is always right, so nothing is ever tried twice: a hostile pattern
        costs no more than a plain one.
        """
        first, *rest = self.parts
        if not rest:
            return text == first
        *middle, last = rest
        if len(text) < len(first) + len(last) or not text.startswith(first) or not text.endswith(last):
            return False
        start, end = len(first), len(text) - len(last)
        for part in middle:
            found = text.find(part, start, end)
            if found < 0:
                return False
            start = found + len(part)
        return True


def is_number(value: Json) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def is_timestamp(value: Json) -> bool:
    return _timestamp(value) is not None


#: Type tests by name. IsPresent is not among them: it asks about the path, not about a value.
TYPE_TESTS: Mapping[str, Callable[[Json], bool]] = {
    "IsNull": lambda value: value is None,
    "IsNumeric": is_number,
    "IsString": lambda value: isinstance(value, str),
    "IsBoolean": lambda value: isinstance(value, bool),
    "IsTimestamp": is_timestamp,
}


def _boolean(value: Json) -> bool | None:
    return value if isinstance(value, bool) else None


def _number(value: Json) -> int | float | None:
    return value if is_number(value) else None


def _string(value: Json) -> str | None:
    return value if isinstance(value, str) else None


def _timestamp(value: Json) -> Any:
    if not isinstance(value, str):
        return None
    try:
        return parse_rfc3339(value)
    except ValueError:
        return None


_ORDER: Mapping[str, Callable[[Any, Any], bool]] = {
    "Equals": operator.eq,
    "LessThan": operator.lt,
    "GreaterThan": operator.gt,
    "LessThanEquals": operator.le,
    "GreaterThanEquals": operator.ge,
}

_ORDERED = (("String", _string), ("Numeric", _number), ("Timestamp", _timestamp))

#: Every comparator by name. All but StringMatches have a ``<name>Path`` twin, which a Choice makes of them.
COMPARATORS: Mapping[str, Comparator] = {
    comparator.name: comparator
    for comparator in (
        *(
            Comparator(family + suffix, read, relation, read)
            for family, read in _ORDERED
            for suffix, relation in _ORDER.items()
        ),
        Comparator("BooleanEquals", _boolean, operator.eq, _boolean),
        Comparator(
            "StringMatches",
            _string,
            lambda text, glob: bool(glob.matches(text)),
            lambda pattern: Glob.compile(pattern) if isinstance(pattern, str) else None,
        ),
    )
}
