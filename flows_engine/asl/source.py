"""A definition as its author wrote it: JSON or YAML text, with the place of every value.

YAML is read as a nicer way to write JSON and nothing more: no aliases, tags or merge keys, and plain words are text
unless they are JSON's own (``null``, ``true``, ``false`` and numbers, with YAML 1.2's ``~`` and capitals). So ``NO``,
``on`` and ``2026-01-31`` stay text. Lines and columns count from 1.
"""

from __future__ import annotations

import json
import re
from bisect import bisect_right
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeAlias

import yaml

from schemas.errors import InvalidJson
from schemas.json_text import MAX_DEPTH, Json, dumps, loads

Place: TypeAlias = tuple[int, int]
Loc: TypeAlias = tuple[str | int, ...]

MAX_SOURCE_BYTES = 512 * 1024

_NULLS = frozenset({"", "~", "null", "Null", "NULL"})
_TRUE = frozenset({"true", "True", "TRUE"})
_FALSE = frozenset({"false", "False", "FALSE"})
_NUMBER = re.compile(r"-?(?:0|[1-9]\d*)(?:\.\d+)?(?:[eE][+-]?\d+)?", re.ASCII)
_TOKEN = re.compile(r'\s*([{}\[\],:]|"(?:[^"\\]|\\.)*"|[^\s{}\[\],:"]+)', re.DOTALL)
#: libyaml's parser where the wheel has it; both give the same events.
_LOADER = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


@dataclass(frozen=True, slots=True)
class Source:
    """A document and where its parts stand.

    ``locate`` gives the (line, column) of the value a location leads to, or of the nearest value around it; None for
    the empty location of an empty text. A leading ``"definition"`` of a problem's location is the caller's to drop.
    """

    document: Json
    locate: Callable[[Sequence[str | int]], Place | None]


def read_document(text: str | bytes, *, name: str) -> Source:
    """Read JSON or YAML; ``name`` decides by its suffix, else the first character does.

    Raises:
        InvalidJson: ``file:line:column:`` and a sentence about what stands there.
    """
    decoded = _decode(text, name)
    if _is_yaml(decoded, name):
        return _read_yaml(decoded, name)
    return _read_json(decoded, name)


def _decode(text: str | bytes, name: str) -> str:
    size = len(text) if isinstance(text, bytes) else len(text.encode(errors="replace"))
    if size > MAX_SOURCE_BYTES:
        raise InvalidJson("TOO_LARGE", f"{name} has {size} bytes; the limit is {MAX_SOURCE_BYTES}", 413)
    if isinstance(text, str):
        return text.removeprefix("\ufeff")
    try:
        return text.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = text.count(b"\n", 0, error.start) + 1
        column = error.start - text.rfind(b"\n", 0, error.start)
        raise _invalid("BAD_TEXT", name, (line, column), "this is not UTF-8 text") from error


def _is_yaml(text: str, name: str) -> bool:
    suffix = name.rpartition(".")[2].lower()
    if suffix in ("json", "yaml", "yml"):
        return suffix != "json"
    return not text.lstrip().startswith(("{", "["))


def _invalid(code: str, name: str, place: Place, what: str) -> InvalidJson:
    return InvalidJson(code, f"{name}:{place[0]}:{place[1]}: {what}")


# JSON


def _read_json(text: str, name: str) -> Source:
    try:
        document = loads(text, what=name)
    except InvalidJson as error:
        if isinstance(error.__cause__, json.JSONDecodeError):
            place, what = _wrong_with_json(text, error.__cause__)
            raise _invalid(error.code, name, place, f"this is not JSON: {what}") from error
        if not text.strip():
            raise _invalid(error.code, name, (1, 1), "the text is empty: a document is expected") from error
        found = _first_fault(text, error.code)
        if found is None:
            raise
        what = error.detail.removeprefix(f"{name} is ")
        raise InvalidJson(error.code, f"{name}:{found[0]}:{found[1]}: {what}", error.status) from error
    places: dict[Loc, Place] = {}

    def locate(loc: Sequence[str | int]) -> Place | None:
        if not places:
            places.update(_json_places(text))
        return _nearest_place(places, loc)

    return Source(document, locate)


def _wrong_with_json(text: str, error: json.JSONDecodeError) -> tuple[Place, str]:
    """Where the mistake is and what to do about it; the reader's own words when it is not a common one."""
    places, here = _Places(text), error.pos
    place, rest = places.at(here), text[here:].lstrip()
    before = text[:here].rstrip()
    if error.msg.startswith("Unterminated string"):
        return place, "the quote that opens here is not closed"
    if error.msg.startswith("Invalid control character"):
        return place, "a line break or control character inside a text; write \\n for a line break and \\t for a tab"
    if error.msg.startswith("Invalid \\escape"):
        return place, "a backslash in a text; write \\\\ for one"
    if error.msg.startswith("Extra data"):
        return place, "the document ends before this; remove what follows, or a bracket that closes too early"
    if not rest and (opened := _last_open(text)) is not None:
        return place, f"the text ends, but the {text[opened]} opened at {_line_column(places.at(opened))} is not closed"
    if before.endswith(",") and rest[:1] in ("}", "]"):
        return places.at(len(before) - 1), f"remove the comma before {rest[0]}"
    if error.msg.startswith("Illegal trailing comma"):
        return place, "remove the comma before the closing bracket"
    if error.msg.startswith("Expecting ',' delimiter"):
        return place, "a comma is missing before this"
    if error.msg.startswith("Expecting ':' delimiter"):
        return place, "a colon is missing before this"
    if error.msg.startswith("Expecting property name"):
        return place, "a key in double quotes is expected"
    if error.msg.startswith("Expecting value"):
        return place, "a value is expected; write text in double quotes"
    return place, error.msg.removesuffix(" at")


def _tokens(text: str) -> Iterator[re.Match[str]]:
    """Without the white space at the end, in which the search for a token takes quadratic time."""
    return _TOKEN.finditer(text.rstrip())


def _last_open(text: str) -> int | None:
    """Offset of the innermost bracket that is open at the end of the text."""
    opened: list[int] = []
    for match in _tokens(text):
        if match[1] in "{[":
            opened.append(match.start(1))
        elif match[1] in "}]" and opened:
            opened.pop()
    return opened[-1] if opened else None


def _line_column(place: Place) -> str:
    return f"line {place[0]} column {place[1]}"


def _nearest_place(places: Mapping[Loc, Place], loc: Sequence[str | int]) -> Place | None:
    here = tuple(loc)
    while here and here not in places:
        here = here[:-1]
    return places.get(here)


def _json_places(text: str) -> Iterator[tuple[Loc, Place]]:
    """Location and place of every value of a JSON text, outermost first; of a doubled key, each."""
    places = _Places(text)
    path: list[str | int] = []
    is_key = False
    for match in _tokens(text):
        lexeme, place = match[1], places.at(match.start(1))
        if lexeme in "}]":
            path.pop()
            is_key = False
        elif lexeme == ",":
            is_key = _advance(path)
        elif lexeme == ":":
            is_key = False
        elif is_key:
            path[-1] = loads(lexeme)
        else:
            yield tuple(path), place
            if lexeme in "{[":
                path.append("" if lexeme == "{" else 0)
                is_key = lexeme == "{"


def _advance(path: list[str | int]) -> bool:
    """Step to the next member of a list; says whether a key comes next instead."""
    last = path[-1]
    if isinstance(last, int):
        path[-1] = last + 1
        return False
    return True


def _first_fault(text: str, code: str) -> Place | None:
    """Where the strict reader's complaint stands, for the complaints that it words without a place."""
    if code == "TOO_DEEP":
        return _first_too_deep(text)
    seen: set[Loc] = set()
    for loc, place in _safe_places(text):
        if code == "DUPLICATE_KEY" and loc in seen:
            return place
        seen.add(loc)
        if code == "BAD_NUMBER" and _is_bad_number(text, place):
            return place
    return None


def _safe_places(text: str) -> Iterator[tuple[Loc, Place]]:
    """Places up to the first thing that is not JSON."""
    try:
        yield from _json_places(text)
    except (InvalidJson, IndexError):
        return


def _is_bad_number(text: str, place: Place) -> bool:
    start = _Places(text).offset(place)
    match = _TOKEN.match(text, start)
    if match is None or match[1][0] not in "-0123456789NI":
        return False
    try:
        loads(match[1])
    except InvalidJson:
        return True
    return False


def _first_too_deep(text: str) -> Place | None:
    depth = 0
    for match in _TOKEN.finditer(text):
        depth += (match[1] in "{[") - (match[1] in "}]")
        if depth > MAX_DEPTH:
            return _Places(text).at(match.start(1))
    return None


class _Places:
    """Offsets of a text as lines and columns."""

    def __init__(self, text: str) -> None:
        self._starts = [0, *(match.end() for match in re.finditer(r"\r\n|\n|\r", text))]

    def at(self, offset: int) -> Place:
        line = bisect_right(self._starts, offset)
        return line, offset - self._starts[line - 1] + 1

    def offset(self, place: Place) -> int:
        return self._starts[place[0] - 1] + place[1] - 1


# YAML


@dataclass(slots=True)
class _Container:
    """An object or list that is being read; ``key`` is the member that comes next."""

    value: dict[str, Json] | list[Json]
    loc: Loc
    key: str | None = None


@dataclass(slots=True)
class _YamlReader:
    """Builds a JSON value from YAML events, refusing what JSON has no word for."""

    name: str
    places: dict[Loc, Place] = field(default_factory=dict)
    documents: list[Json] = field(default_factory=list)
    open: list[_Container] = field(default_factory=list)

    def read(self, text: str) -> Json:
        try:
            for event in yaml.parse(text, Loader=_LOADER):
                self._take(event)
        except yaml.MarkedYAMLError as error:
            place, what = _wrong_with_yaml(text, error)
            raise _invalid("BAD_YAML", self.name, place, f"this is not YAML: {what}") from error
        except yaml.YAMLError as error:  # a character that YAML text may not hold has no mark
            what = f"this is not YAML: {getattr(error, 'reason', 'unreadable text')}"
            raise _invalid("BAD_YAML", self.name, (1, 1), what) from error
        if not self.documents:
            raise _invalid("BAD_YAML", self.name, (1, 1), "the text is empty: a document is expected")
        return self.documents[0]

    def _take(self, event: yaml.Event) -> None:
        match event:
            case yaml.AliasEvent():
                raise self._refuse(event, f"aliases (*{event.anchor}) are not supported; write the value out")
            case yaml.ScalarEvent():
                self._refuse_marks(event)
                self._scalar(event)
            case yaml.MappingStartEvent() | yaml.SequenceStartEvent():
                self._refuse_marks(event)
                self._begin({} if isinstance(event, yaml.MappingStartEvent) else [], event)
            case yaml.MappingEndEvent() | yaml.SequenceEndEvent():
                self.open.pop()
            case yaml.DocumentStartEvent() if self.documents:
                raise self._refuse(event, "one document is expected, here begins another")

    def _refuse(self, event: yaml.Event, what: str, code: str = "BAD_YAML") -> InvalidJson:
        return _invalid(code, self.name, _place(event.start_mark), what)

    def _refuse_marks(self, event: yaml.NodeEvent) -> None:
        if event.anchor is not None:
            raise self._refuse(event, f"anchors (&{event.anchor}) are not supported")
        if (tag := getattr(event, "tag", None)) is not None:
            raise self._refuse(event, f"tags ({str(tag)[:60]}) are not supported")

    def _begin(self, value: dict[str, Json] | list[Json], event: yaml.Event) -> None:
        if len(self.open) >= MAX_DEPTH:
            raise self._refuse(event, f"the document is nested more than {MAX_DEPTH} levels deep", "TOO_DEEP")
        if self._expects_key():
            raise self._refuse(event, "a key must be text, not a list or an object")
        self.open.append(_Container(value, self._put(value, event)))

    def _scalar(self, event: yaml.ScalarEvent) -> None:
        if self._expects_key():
            self._key(event)
        else:
            self._put(self._value(event), event)

    def _expects_key(self) -> bool:
        return bool(self.open) and isinstance(self.open[-1].value, dict) and self.open[-1].key is None

    def _key(self, event: yaml.ScalarEvent) -> None:
        around, key = self.open[-1], event.value
        if key == "<<" and not event.style:
            raise self._refuse(event, "merge keys (<<) are not supported; write the members out")
        if key in around.value:
            raise self._refuse(event, f"the key {key[:80]!r} appears twice in one object", "DUPLICATE_KEY")
        around.key = key

    def _put(self, value: Json, event: yaml.Event) -> Loc:
        """Add a value where it belongs; gives its location."""
        loc: Loc = ()
        if not self.open:
            self.documents.append(value)
        else:
            around = self.open[-1]
            if isinstance(around.value, list):
                loc = (*around.loc, len(around.value))
                around.value.append(value)
            else:
                assert around.key is not None, "the parser gives a key before each value"
                loc = (*around.loc, around.key)
                around.value[around.key] = value
                around.key = None
        self.places[loc] = _place(event.start_mark)
        return loc

    def _value(self, event: yaml.ScalarEvent) -> Json:
        text = event.value
        if event.style:  # quoted, or a block of text
            return text
        if text in _NULLS:
            return None
        if text in _TRUE or text in _FALSE:
            return text in _TRUE
        if _NUMBER.fullmatch(text):
            try:
                return loads(text)
            except InvalidJson as error:
                raise self._refuse(event, error.detail, error.code) from error
        return text


def _wrong_with_yaml(text: str, error: yaml.MarkedYAMLError) -> tuple[Place, str]:
    """Where the mistake is and what to do about it; the reader's own words when it is not a common one.

    PyYAML's two parsers word the same mistake differently, so the text decides as far as it can.
    """
    problem, context = str(error.problem or error.context), str(error.context or "")
    mark = error.problem_mark or error.context_mark
    place = _place(mark) if mark else (1, 1)
    begin = _place(error.context_mark) if error.context_mark else place
    lines = text.splitlines()
    line = lines[place[0] - 1] if place[0] <= len(lines) else ""
    before, after = line[: place[1] - 1], line[place[1] - 1 :]
    is_token = "cannot start any token" not in problem
    if "\t" in line[: len(line) - len(line.lstrip())] and (not is_token or "tab character" in problem):
        return place, "a tab; indent with spaces, not tabs"
    if problem.startswith("mapping values are not allowed"):
        if ": " in before:
            return place, "a second ': ' in one line; put the value in quotes when it holds ': '"
        return place, "this line is indented more than the one it belongs beside, or the value above needs quotes"
    if "quoted scalar" in context or "double-quoted" in context:
        if "escape" in problem:
            return place, "a backslash in double quotes; write \\\\ for one, or use single quotes"
        return begin, "the quote that opens here is not closed"
    if context in ("while parsing a flow sequence", "while parsing a flow mapping"):
        return _unclosed(lines, place, begin, after)
    if "simple key" in context:
        return begin, "this line has no ': '; write 'name: value'"
    if context in ("while scanning an alias", "while scanning an anchor") or not is_token:
        sign = lines[begin[0] - 1][begin[1] - 1 : begin[1]]
        return begin, f"put the value in quotes: it begins with {sign}"
    if (
        problem.endswith("entries are not allowed in this context")
        or problem == "sequence entries are not allowed here"
    ):
        return place, "a list that is written with '- ' begins on a line of its own"
    if context in ("while parsing a block mapping", "while parsing a block collection"):
        if before.strip():
            return place, "the value ends before this; put the whole value in one pair of quotes"
        return place, f"this line is not indented like the others of what begins at {_line_column(begin)}"
    return place, problem


def _unclosed(lines: Sequence[str], place: Place, begin: Place, after: str) -> tuple[Place, str]:
    bracket = lines[begin[0] - 1][begin[1] - 1 : begin[1]]
    closing = "]" if bracket == "[" else "}"
    if place[0] >= len(lines) and not after.strip():
        return begin, f"the {bracket} that opens here is not closed"
    hint = "; put a value that holds brackets in quotes" if after[:1] in ("[", "{", "]", "}") else ""
    opened = f"the {bracket} opened at {_line_column(begin)} is not closed before this"
    return place, f"',' or '{closing}' is missing: {opened}{hint}"


def _read_yaml(text: str, name: str) -> Source:
    reader = _YamlReader(name)
    document = reader.read(text)
    document = loads(dumps(document), what=name)  # the limits of all JSON: sizes of texts, keys and objects
    return Source(document, lambda loc: _nearest_place(reader.places, loc))


def _place(mark: Any) -> Place:
    """Both of PyYAML's parsers give every event a mark; their types have no common base."""
    return mark.line + 1, mark.column + 1
