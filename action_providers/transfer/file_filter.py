"""Filters and orders of directory listings (Transfer API, "List directory contents"). Pure.

A filter is clauses joined by ``/`` that must all hold: ``name:~*.txt/type:file``. Several filters are alternatives.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from fnmatch import fnmatchcase
from typing import TypeAlias

from schemas.json_text import Json

from .faults import Kind, TransferError
from .paths import brief
from .plan import parse_deadline

File: TypeAlias = Mapping[str, Json]
Clause: TypeAlias = Callable[[File], bool]
#: One filter: all clauses must hold.
Filter: TypeAlias = tuple[Clause, ...]

_TEXT_FIELDS = ("name", "permissions", "user", "group")
_FIELDS = (*_TEXT_FIELDS, "type", "size", "last_modified")


def parse_filter(given: Json) -> list[Filter]:
    """A text, a list of texts or objects, or an object ``{"name": ["~*.txt"]}``; nothing gives no filters.

    Raises:
        TransferError: the sentence names the clause.
    """
    if given is None or given == "":
        return []
    alternatives = given if isinstance(given, list) else [given]
    return [tuple(_clause(field, value) for field, value in _clauses(one)) for one in alternatives]


def matches(filters: Sequence[Filter], file: File) -> bool:
    return not filters or any(all(clause(file) for clause in one) for one in filters)


def parse_orderby(given: Json) -> list[tuple[str, bool]]:
    """Fields to order by, each with whether it descends: from ``"type, name DESC"`` or a list of such."""
    texts = given if isinstance(given, list) else (given or "name").split(",")
    order: list[tuple[str, bool]] = []
    for text in texts:
        words = text.split()
        if not words or len(words) > 2 or words[0] not in _FIELDS or words[1:] not in ([], ["ASC"], ["DESC"]):
            raise _bad(f"orderby {brief(text)} must be a field ({', '.join(_FIELDS)}), then ASC or DESC")
        order.append((words[0], words[1:] == ["DESC"]))
    return order


def ordered(files: Sequence[dict[str, Json]], order: Sequence[tuple[str, bool]]) -> list[dict[str, Json]]:
    """The files in order; files that are equal in it stand by name."""
    result = sorted(files, key=lambda file: str(file["name"]))
    for field, descends in reversed(order):
        result.sort(key=lambda file: file[field], reverse=descends)
    return result


def _clauses(given: Json) -> list[tuple[str, str]]:
    if isinstance(given, dict):
        return [
            (field, ",".join(map(str, value)) if isinstance(value, list) else str(value))
            for field, value in given.items()
        ]
    if not isinstance(given, str):
        raise _bad("a filter must be text such as 'name:~*.txt/type:file'")
    pairs: list[tuple[str, str]] = []
    for text in filter(None, given.split("/")):
        field, colon, value = text.partition(":")
        if not colon:
            raise _bad(f"the filter clause {brief(text)} must be a field, a colon and a value, such as type:file")
        pairs.append((field, value))
    return pairs


def _clause(field: str, value: str) -> Clause:
    if field in _TEXT_FIELDS:
        return _text_clause(field, value)
    if field == "type":
        kinds = set(value.split(","))
        return lambda file: file["type"] in kinds
    if field == "size":
        return _size_clause(value)
    if field == "last_modified":
        return _time_clause(value)
    raise _bad(f"the filter field {brief(field)} is not one of {', '.join(_FIELDS)}")


def _text_clause(field: str, value: str) -> Clause:
    """``a,b`` is one of; ``~`` before a value makes it a pattern, ``!`` turns it round, ``=`` says nothing."""
    wanted: list[Callable[[str], bool]] = []
    unwanted: list[Callable[[str], bool]] = []
    for one in value.split(","):
        negated = one.startswith("!")
        rest = one.removeprefix("!")
        test = _pattern(rest[1:]) if rest.startswith("~") else _equal(rest.removeprefix("="))
        (unwanted if negated else wanted).append(test)
    return lambda file: (
        (not wanted or any(test(file[field]) for test in wanted)) and not any(test(file[field]) for test in unwanted)
    )


def _pattern(pattern: str) -> Callable[[str], bool]:
    return lambda text: fnmatchcase(text, pattern)


def _equal(value: str) -> Callable[[str], bool]:
    return lambda text: text == value


def _size_clause(value: str) -> Clause:
    """``100``, ``>=100`` (also <=, >, <) or ``from,to`` with either side open."""
    try:
        for sign, test in _COMPARISONS:
            if value.startswith(sign):
                bound = int(value[len(sign) :])
                return lambda file: test(file["size"], bound)
        if "," not in value:
            exact = int(value)
            return lambda file: bool(file["size"] == exact)
        low, high = (int(part) if part.strip() else None for part in value.split(",", 1))
    except ValueError:
        raise _bad(f"the size filter {brief(value)} must be a number, >=100 or from,to") from None
    return lambda file: (low is None or file["size"] >= low) and (high is None or file["size"] <= high)


_COMPARISONS: tuple[tuple[str, Callable[[int, int], bool]], ...] = (
    (">=", lambda size, bound: size >= bound),
    ("<=", lambda size, bound: size <= bound),
    (">", lambda size, bound: size > bound),
    ("<", lambda size, bound: size < bound),
)


def _time_clause(value: str) -> Clause:
    """``from,to`` with either side open; UTC without an offset."""
    start, comma, end = value.partition(",")
    if not comma:
        raise _bad(f"the last_modified filter {brief(value)} must be from,to, such as 2030-01-01,2030-02-01")
    low, high = parse_deadline(start), parse_deadline(end)

    def holds(file: File) -> bool:
        at = datetime.fromisoformat(file["last_modified"]).astimezone(UTC)
        return (low is None or at >= low) and (high is None or at <= high)

    return holds


def _bad(sentence: str) -> TransferError:
    return TransferError(Kind.BAD_REQUEST, sentence)
