"""Paths: where a value stands in a state's data. Compiled once, read often; neither reading nor writing changes data.

Reading follows ASL: a definite path gives its value or fails; a path with a slice, wildcard, union, filter or ``..``
always gives a list, which is empty when nothing matches. Writing takes a reference path, which names exactly one place.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Final, TypeAlias

from schemas.json_text import Json

from .errors import EvaluationError, PathSyntaxError
from .path_syntax import Descent, Filter, Segment, Slice, Union, Wildcard, format_path, parse_path
from .scope import Scope

#: Result of ``Path.find`` when a definite path leads nowhere. No JSON value is this object.
MISSING: Final = object()

MAX_VISITED = 200_000
MAX_KEYS_SHOWN = 10

#: The key under ``$`` that leads to the run's context in the dialects that have one, whatever the data holds.
RUN_CONTEXT = "_context"
_Finder: TypeAlias = Callable[[Scope], Json]


@dataclass(frozen=True, slots=True)
class Path:
    """A compiled path. ``is_reference`` says whether ``write`` may be used; ``is_definite`` whether it names one place.

    ``root`` is ``$``, ``$$`` or ``$name``; ``segments`` are keys, indexes and the forms of ``path_syntax``.
    """

    text: str
    root: str
    segments: tuple[Segment, ...]
    is_reference: bool
    is_definite: bool
    _find: _Finder = field(repr=False, compare=False)

    def read(self, scope: Scope) -> Json:
        """The value at this path.

        Raises:
            EvaluationError: ``States.Runtime``; the cause names the keys that do exist, never a value.
        """
        value = self._find(scope)
        if value is MISSING:
            raise EvaluationError(
                f"The path '{self.text}' could not be found in the state input: {self.explain_absence(scope)}"
            )
        return value

    def find(self, scope: Scope) -> Json:
        """Like ``read``, but ``MISSING`` when nothing is there."""
        return self._find(scope)

    def find_within(self, scope: Scope, limit: int) -> tuple[Json, int]:
        """Like ``find``, with the number of values that were visited.

        Raises:
            EvaluationError: more than ``limit`` would be.
        """
        if self.is_definite:
            return self._find(scope), len(self.segments)
        return _find_many(self._base(scope), self.segments, limit)

    def is_present(self, scope: Scope) -> bool:
        """Whether the path leads to a value (``null`` is one); an indefinite path must match something."""
        value = self._find(scope)
        return value is not MISSING and (self.is_definite or bool(value))

    def write(self, document: Json, value: Json) -> Json:
        """A new document with ``value`` at this path. Missing objects are made; untouched parts are shared.

        Raises:
            EvaluationError: ``States.ResultPathMatchFailure`` when something else than an object is in the way.
        """
        assert self.is_reference, f"{self.text} is not a reference path"
        return self._write(document, value, 0)

    def explain_absence(self, scope: Scope) -> str:
        """A sentence that says where a definite path ends and what is there instead."""
        value = self._base(scope)
        if value is MISSING:
            return _explain_root(self.root, scope)
        for depth, segment in enumerate(self.segments):
            inner = _step(value, segment)
            if inner is MISSING:
                return _explain_step(format_path(self.root, self.segments[:depth]), value, segment)
            value = inner
        return f"'{self.text}' has no value."

    def _base(self, scope: Scope) -> Json:
        if scope.context is not None and self.root == "$" and self.segments[:1] == (RUN_CONTEXT,):
            return {RUN_CONTEXT: _plain(scope.context)}
        return _root_finder(self.root)(scope)

    def _write(self, here: Json, value: Json, depth: int) -> Json:
        if depth == len(self.segments):
            return value
        segment = self.segments[depth]
        if isinstance(segment, str) and isinstance(here, dict):
            below = here.get(segment, MISSING)
            if below is MISSING:
                return {**here, segment: self._build(value, depth + 1)}
            return {**here, segment: self._write(below, value, depth + 1)}
        if isinstance(segment, int) and isinstance(here, list) and -len(here) <= segment < len(here):
            changed = list(here)
            changed[segment] = self._write(here[segment], value, depth + 1)
            return changed
        raise self._mismatch(here, depth)

    def _build(self, value: Json, depth: int) -> Json:
        """``value`` inside new objects for the rest of the path."""
        for position in range(len(self.segments) - 1, depth - 1, -1):
            segment = self.segments[position]
            if not isinstance(segment, str):
                raise self._mismatch(MISSING, position)
            value = {segment: value}
        return value

    def _mismatch(self, here: Json, depth: int) -> EvaluationError:
        place = format_path(self.root, self.segments[:depth])
        segment = self.segments[depth]
        if here is MISSING:
            reason = f"'{place}' does not exist, and arrays are not made"
        elif isinstance(segment, int) and isinstance(here, list):
            reason = f"'{place}' has {len(here)} items: there is no item {segment}"
        else:
            reason = f"'{place}' is {kind_of(here)}, not {'an array' if isinstance(segment, int) else 'an object'}"
        return EvaluationError(
            f"The result cannot be written to the path '{self.text}': {reason}.", error="States.ResultPathMatchFailure"
        )


def compile_path(text: str, *, reference: bool = False, extended: bool = False) -> Path:
    """Parse a path once; equal texts share one object.

    ``reference`` asks for a path that can be written. ``extended`` admits ``..``, unions and filters, read-only.

    Raises:
        PathSyntaxError: a sentence for the author.
    """
    if not isinstance(text, str):
        raise PathSyntaxError(f"a path must be text that begins with '$', not {kind_of(text)}")
    return _compile(text, reference, extended)


def kind_of(value: Json) -> str:
    """What a value is, in words that authors know: ``an object``, ``a number``, ``null``."""
    if value is None:
        return "null"
    kinds = {bool: "true or false", int: "a number", float: "a number", str: "text", list: "an array"}
    return kinds.get(type(value), "an object")


def keys_there_are(value: Json) -> str:
    """``'a', 'b'``: the keys of an object for an error message, cut short, without private ones."""
    keys = [key for key in value if not key.startswith(("_private", "_tokens"))]
    shown = ", ".join(repr(key if len(key) <= 40 else key[:37] + "...") for key in keys[:MAX_KEYS_SHOWN])
    return f"{shown} and {len(keys) - MAX_KEYS_SHOWN} more" if len(keys) > MAX_KEYS_SHOWN else shown


@lru_cache(maxsize=4096)
def _compile(text: str, reference: bool, extended: bool) -> Path:
    root, segments = parse_path(text, extended=extended)
    is_definite = all(isinstance(segment, str | int) for segment in segments)
    is_reference = is_definite and root == "$" and segments[:1] != (RUN_CONTEXT,)
    if reference and not is_reference:
        raise PathSyntaxError(_why_no_reference(text, root, is_definite))
    return Path(
        text=text,
        root=root,
        segments=segments,
        is_reference=is_reference,
        is_definite=is_definite,
        _find=_finder(root, segments, is_definite),
    )


def _why_no_reference(text: str, root: str, is_definite: bool) -> str:
    if root != "$":
        return f"a result cannot be written to {text!r}: the path must begin with '$.'"
    if not is_definite:
        return f"a result cannot be written to {text!r}: the path must name one place, without slices or wildcards"
    return f"a result cannot be written to {text!r}: '$._context' is reserved for the run's context"


def _finder(root: str, segments: tuple[Segment, ...], is_definite: bool) -> _Finder:
    if root == "$" and segments[:1] == (RUN_CONTEXT,):
        in_context = _finder_below(_context_finder, segments[1:], is_definite)
        in_document = _finder_below(_document_finder, segments, is_definite)
        return lambda scope: (in_document if scope.context is None else in_context)(scope)
    return _finder_below(_root_finder(root), segments, is_definite)


def _finder_below(base: _Finder, segments: tuple[Segment, ...], is_definite: bool) -> _Finder:
    if not segments:
        return base
    if not is_definite:
        return lambda scope: _find_many(base(scope), segments, MAX_VISITED)[0]
    if all(isinstance(segment, str) for segment in segments):
        return _key_finder(base, segments)

    def find(scope: Scope) -> Json:
        value = base(scope)
        for segment in segments:
            value = _step(value, segment)
            if value is MISSING:
                break
        return value

    return find


def _key_finder(base: _Finder, keys: tuple[Segment, ...]) -> _Finder:
    """The usual case, kept cheap: a text key on anything but an object raises one of these two errors."""

    def find(scope: Scope) -> Json:
        value = base(scope)
        try:
            for key in keys:
                value = value[key]
        except (KeyError, TypeError):
            return MISSING
        return value

    return find


def _document_finder(scope: Scope) -> Json:
    return scope.document


def _context_finder(scope: Scope) -> Json:
    return _plain(scope.context)


def _machine_finder(scope: Scope) -> Json:
    return MISSING if scope.machine is None else _plain(scope.machine)


def _plain(mapping: Mapping[str, Json] | None) -> Json:
    return mapping if isinstance(mapping, dict) or mapping is None else dict(mapping)


def _root_finder(root: str) -> _Finder:
    if root == "$":
        return _document_finder
    if root == "$$":
        return _machine_finder
    name = root[1:]
    return lambda scope: scope.variables.get(name, MISSING)


def _step(value: Json, segment: Segment) -> Json:
    if isinstance(segment, str):
        return value.get(segment, MISSING) if isinstance(value, dict) else MISSING
    if isinstance(segment, int) and isinstance(value, list) and -len(value) <= segment < len(value):
        return value[segment]
    return MISSING


def _find_many(base: Json, segments: tuple[Segment, ...], limit: int) -> tuple[list[Json], int]:
    """All values that match, and how many were looked at on the way to them."""
    values = [] if base is MISSING else [base]
    visited = 0
    for segment in segments:
        found: list[Json] = []
        for value in values:
            found.extend(_matches(value, segment))
            if visited + len(found) > limit:
                raise EvaluationError(f"A path visits more than {limit} values.")
        visited += 1 + len(found)
        values = found
    return values, visited


def _matches(value: Json, segment: Segment) -> Iterator[Json] | list[Json]:
    match segment:
        case str() | int():
            inner = _step(value, segment)
            return [] if inner is MISSING else [inner]
        case Slice(start, stop):
            return value[start:stop] if isinstance(value, list) else []
        case Wildcard():
            return _members(value)
        case Descent():
            return _value_and_all_inside(value)
        case Union(members):
            return [inner for member in members if (inner := _step(value, member)) is not MISSING]
        case Filter(_, select):
            return select(value)


def _members(value: Json) -> list[Json]:
    if isinstance(value, dict):
        return list(value.values())
    return value if isinstance(value, list) else []


def _value_and_all_inside(value: Json) -> Iterator[Json]:
    """The value, then everything below it, parents first and in document order."""
    stack = [value]
    while stack:
        here = stack.pop()
        yield here
        stack.extend(reversed(_members(here)))


def _explain_root(root: str, scope: Scope) -> str:
    if root == "$$":
        return "there is no Context Object '$$' here."
    known = ", ".join(f"'${name}'" for name in list(scope.variables)[:MAX_KEYS_SHOWN])
    return f"there is no variable '{root}'; " + (f"there are {known}." if known else "none has been assigned.")


def _explain_step(place: str, value: Json, segment: Segment) -> str:
    if isinstance(segment, int):
        if isinstance(value, list):
            return f"'{place}' is an array of {len(value)} items and has no item {segment}."
        return f"'{place}' is {kind_of(value)}, not an array."
    if not isinstance(value, dict):
        return f"'{place}' is {kind_of(value)}, not an object."
    keys = keys_there_are(value)
    return f"'{place}' has no key {segment!r}; " + (f"the keys there are {keys}." if keys else "it has no keys.")
