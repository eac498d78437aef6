"""The grammar of paths: text to segments. Nothing is read here; ``paths`` gives segments their meaning.

``$`` the state's data, ``$$`` the ASL Context Object, ``$name`` a variable; then ``.name``, ``['any name']``, ``[n]``,
``[from:to]``, ``[*]`` and ``.*``. The extended forms (``..``, unions, filters) are for reading ASL only.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeAlias

from schemas.json_text import MAX_DEPTH, Json

from .errors import PathSyntaxError

MAX_PATH_CHARS = 1024
MAX_INDEX = 10**9
MAX_DESCENTS = 2


@dataclass(frozen=True, slots=True)
class Slice:
    """``[start:stop]``, each end optional."""

    start: int | None
    stop: int | None


@dataclass(frozen=True, slots=True)
class Wildcard:
    """``[*]`` or ``.*``."""


@dataclass(frozen=True, slots=True)
class Descent:
    """``..``: the next segment applies to the value here and to everything inside it."""


@dataclass(frozen=True, slots=True)
class Union:
    """``['a','b']`` or ``[0,2]``."""

    members: tuple[str | int, ...]


@dataclass(frozen=True, slots=True)
class Filter:
    """``[?(@.size > 3)]``; ``select`` gives the members of an array or object that pass."""

    text: str
    select: Callable[[Json], list[Json]]


#: A text is the key of an object, an integer the index of an array.
Segment: TypeAlias = str | int | Slice | Wildcard | Descent | Union | Filter

_ROOT = re.compile(r"\$(?:\$|[^\W\d]\w{0,79})?")
_NAME = re.compile(r"[^\s\x00-\x1f\x7f.\[\](){}'\"`*?,;=<>!&|\\]+")
_INDEX = re.compile(r"\[\s*(-?\d+)\s*\]")
_SLICE = re.compile(r"\[\s*(-?\d+)?\s*:\s*(-?\d+)?\s*\]")
_STAR = re.compile(r"\[\s*\*\s*\]")
_QUOTED = re.compile(r"'(?:[^'\\]|\\.)*'|\"(?:[^\"\\]|\\.)*\"", re.DOTALL)
_COMMA_OR_END = re.compile(r"\s*([,\]])\s*")
_SPACES = re.compile(r"\s*")
_INTEGER = re.compile(r"-?\d+")
_ESCAPE = re.compile(r"\\(.)", re.DOTALL)
_MUST_ESCAPE, _ESCAPED = re.compile(r"(['\\])"), r"\\\1"


def parse_path(text: str, *, extended: bool) -> tuple[str, tuple[Segment, ...]]:
    """The root (``$``, ``$$`` or ``$name``) and the segments of a path.

    Raises:
        PathSyntaxError: the sentence shows the path and what is wrong with it.
    """
    return _Parser(text, extended=extended).parse()


class _Parser:
    """One pass from left to right; dies with the call."""

    def __init__(self, text: str, *, extended: bool) -> None:
        self.text = text
        self.extended = extended
        self.at = 0
        self.segments: list[Segment] = []

    def parse(self) -> tuple[str, tuple[Segment, ...]]:
        if len(self.text) > MAX_PATH_CHARS:
            raise self.problem(f"it has {len(self.text)} characters; the limit is {MAX_PATH_CHARS}")
        root = _ROOT.match(self.text)
        if root is None:
            raise PathSyntaxError(f"a path must begin with '$': {_quote(self.text)}{self._hint()}")
        self.at = root.end()
        while self.at < len(self.text):
            if self.text.startswith("..", self.at):
                self._descent()
            elif self.text[self.at] == ".":
                self.at += 1
                self._name()
            elif self.text[self.at] == "[":
                self._bracket()
            else:
                raise self.problem(f"'.' or '[' is expected at column {self.at + 1}")
        if len(self.segments) > MAX_DEPTH:
            raise self.problem(f"it has {len(self.segments)} parts; the limit is {MAX_DEPTH}")
        return root.group(), tuple(self.segments)

    def _hint(self) -> str:
        if self.text.startswith("States."):
            return "; intrinsic functions (States.*) are not supported here"
        return f"; write '$.{self.text}'" if _NAME.fullmatch(self.text.replace(".", "")) else ""

    def _name(self) -> None:
        if self.text.startswith("*", self.at):
            self.at += 1
            self.segments.append(Wildcard())
            return
        name = _NAME.match(self.text, self.at)
        if name is None:
            raise self.problem(f"a name is expected at column {self.at + 1}")
        self.at = name.end()
        self.segments.append(name.group())

    def _descent(self) -> None:
        if not self.extended:
            raise self.problem("'..' (search at any depth) is not available here; name every level")
        if sum(isinstance(segment, Descent) for segment in self.segments) == MAX_DESCENTS:
            raise self.problem(f"it has more than {MAX_DESCENTS} '..'")
        self.segments.append(Descent())
        self.at += 2
        if not self.text.startswith("[", self.at):
            self._name()

    def _bracket(self) -> None:
        text, at = self.text, self.at
        if found := _INDEX.match(text, at):
            self.segments.append(self._bounded(found.group(1)))
        elif found := _SLICE.match(text, at):
            start, stop = (None if part is None else self._bounded(part) for part in found.groups())
            self.segments.append(Slice(start, stop))
        elif found := _STAR.match(text, at):
            self.segments.append(Wildcard())
        elif text.startswith("[?", at):
            self._filter()
            return
        else:
            self._members()
            return
        self.at = found.end()

    def _members(self) -> None:
        """``['name']``, or several names or indexes with commas between them."""
        start = self.at
        members: list[str | int] = []
        end = ","
        self.at += 1
        while end == ",":
            members.append(self._member(start))
            found = _COMMA_OR_END.match(self.text, self.at)
            if found is None:
                raise self.problem(f"',' or ']' is expected at column {self.at + 1}")
            end = found.group(1)
            self.at = found.end() if end == "," else found.end(1)
        if len(members) == 1:
            self.segments.append(members[0])
        elif self.extended:
            self.segments.append(Union(tuple(dict.fromkeys(members))))
        else:
            raise self.problem("a list of names or indexes in one bracket is not available here")

    def _member(self, bracket: int) -> str | int:
        spaces = _SPACES.match(self.text, self.at)
        assert spaces is not None  # the pattern matches nothing too
        at = spaces.end()
        if quoted := _QUOTED.match(self.text, at):
            self.at = quoted.end()
            return _ESCAPE.sub(r"\1", quoted.group()[1:-1])
        if number := _INTEGER.match(self.text, at):
            self.at = number.end()
            return self._bounded(number.group())
        raise self.problem(f"a number, a quoted name or '*' is expected after '[' at column {bracket + 1}")

    def _bounded(self, digits: str) -> int:
        if len(digits) > 11 or abs(int(digits)) > MAX_INDEX:
            raise self.problem(f"the index {digits[:12]} is out of range")
        return int(digits)

    def _filter(self) -> None:
        if not self.extended:
            raise self.problem("filters '[?(...)]' are not available here")
        end = self._end_of_filter()
        text = self.text[self.at : end]
        bare = _QUOTED.sub("''", text[2:])
        for sign, reason in (("=~", "regular expressions"), ("`", "backticks"), ("..", "'..'"), ("?", "filters")):
            if sign in bare:
                raise self.problem(f"{reason} inside a filter are not supported")
        self.segments.append(Filter(text, self._compile_filter(text)))
        self.at = end

    def _end_of_filter(self) -> int:
        depth, at = 0, self.at
        while at < len(self.text):
            if quoted := _QUOTED.match(self.text, at):
                at = quoted.end()
                continue
            depth += {"[": 1, "]": -1}.get(self.text[at], 0)
            at += 1
            if depth == 0:
                return at
        raise self.problem(f"the filter at column {self.at + 1} is not closed")

    def _compile_filter(self, text: str) -> Callable[[Json], list[Json]]:
        # Loaded on first use: filters are rare and the parser generator is slow to import.
        from jsonpath_ng.exceptions import JSONPathError
        from jsonpath_ng.ext.parser import parse

        try:
            query = parse("$" + text)
        except (JSONPathError, ValueError, TypeError) as error:
            raise self.problem(f"the filter {_quote(text)} cannot be read") from error

        def select(value: Json) -> list[Json]:
            return [match.value for match in query.find(value)] if isinstance(value, list | dict) else []

        return select

    def problem(self, reason: str) -> PathSyntaxError:
        return PathSyntaxError(f"this form of path is not supported: {_quote(self.text)}: {reason}")


def format_path(root: str, segments: tuple[Segment, ...]) -> str:
    """Text of a definite path, as an author would write it."""
    text = root
    for segment in segments:
        if isinstance(segment, int):
            text += f"[{segment}]"
        elif isinstance(segment, str):
            text += f".{segment}" if _NAME.fullmatch(segment) else f"['{_MUST_ESCAPE.sub(_ESCAPED, segment)}']"
    return text


def _quote(text: str) -> str:
    return repr(text if len(text) <= 80 else text[:77] + "...")
