"""How functions, arguments and results are wrapped as text. Pure: nothing is unpickled, compiled or run here.

A *buffer* is two characters that name its format, a line break, and the payload. Several buffers become one text by
writing the length of each in characters, a line break, and the buffer (the published form of Globus Compute). Whoever
only carries, stores or shows functions and values needs this module alone; ``serialize`` makes values of the text.
"""

from __future__ import annotations

import ast
import json
import math
import re
from collections.abc import Collection, Mapping, Sequence
from typing import Any, Final

from schemas.json_text import Json

JSON_DATA: Final = "11"
DILL_DATA: Final = "00"
PACKED_DATA: Final = "13"
#: Ours: JSON in which values that JSON lacks are objects ``{"$": tag, "v": ...}``; and cloudpickle as base64.
TAGGED_DATA: Final = "j1"
PICKLED_DATA: Final = "c0"

SOURCE: Final = "st"
DILL_SOURCE: Final = "sd"
DILL_CODE: Final = "01"
PICKLE_CODE: Final = "02"
PACKED_CODE: Final = "12"
#: Formats of older clients: pickled pairs of name and source, and several of those.
OLD_INSPECTED: Final = "03"
OLD_SOURCE: Final = "04"
OLD_PACKED: Final = "10"
#: Ours: ``<python x.y.z> <cloudpickle as base64>[ <source lines>]``; and a ``ShellFunction`` as JSON.
PICKLED_CODE: Final = "c1"
SHELL: Final = "sh"

_WORDS: Final[Mapping[str, str]] = {
    JSON_DATA: "JSON",
    DILL_DATA: "a value pickled by dill",
    PACKED_DATA: "a value in several formats",
    TAGGED_DATA: "JSON with typed values",
    PICKLED_DATA: "a pickled value",
    SOURCE: "source code",
    DILL_SOURCE: "source code",
    DILL_CODE: "a function pickled by dill",
    PICKLE_CODE: "a pickled function",
    PACKED_CODE: "a function in several formats",
    OLD_INSPECTED: "source code pickled by dill",
    OLD_SOURCE: "source code pickled by dill",
    OLD_PACKED: "a function in several formats of an old client",
    PICKLED_CODE: "a pickled function",
    SHELL: "a shell command",
}
_PICKLES: Final = frozenset(
    {DILL_DATA, PICKLED_DATA, DILL_CODE, PICKLE_CODE, OLD_INSPECTED, OLD_SOURCE, OLD_PACKED, PICKLED_CODE}
)
_LENGTH = re.compile(r"(0|[1-9][0-9]{0,14})\n")
_VERSION = re.compile(r"[0-9]+\.[0-9]+(?:\.[0-9]+)?[^ ]{0,20}(?= )")
_OLD_PART = re.compile(r"(0[1-4])\n:([A-Za-z0-9+/=\s]+)")
_INT_MIN, _INT_MAX = -(2**63), 2**63 - 1

#: The member that marks an object of ``TAGGED_DATA`` as a typed value, and the one with its content.
TAG: Final = "$"
CONTENT: Final = "v"


#: How deep lists and dictionaries may be nested, and how much text a value may become before it is given up.
MAX_NESTING: Final = 200
MAX_TEXT: Final = 256 * 1024 * 1024

_LEAVES: Final = frozenset({bool, float, type(None)})


#: Compact JSON text in ASCII.
encode: Final = json.JSONEncoder(allow_nan=False, check_circular=False, separators=(",", ":")).encode
#: Lenient, since published clients write NaN and long integers; ``read_json`` is strict.
parse_json: Final = json.loads


class FramingError(ValueError):
    """The text is not framed as it should be, or the value cannot be framed. The text says what was expected."""


class TooMuchText(FramingError):
    """The value would become more text than anybody sends."""


class Bounds:
    """Watches a walk through a value: it must not contain itself, nor be too deep, nor become too much text.

    What is counted is less than the text will have; a list that holds one large part a thousand times is stopped
    before anything is written.
    """

    __slots__ = ("_left", "_path")

    def __init__(self) -> None:
        self._left = MAX_TEXT
        self._path: set[int] = set()

    def spend(self, chars: int) -> None:
        self._left -= chars
        if self._left < 0:
            raise TooMuchText(f"the value is more than {MAX_TEXT // (1024 * 1024)} MiB as text")

    def enter(self, container: Collection[Any]) -> None:
        if id(container) in self._path:
            raise FramingError(f"the value is recursive: a {type(container).__name__} contains itself")
        if len(self._path) >= MAX_NESTING:
            raise FramingError(f"the value is nested more than {MAX_NESTING} levels deep")
        self._path.add(id(container))
        self.spend(2 + 2 * len(container))

    def leave(self, container: Collection[Any]) -> None:
        self._path.discard(id(container))


def pack(buffers: Sequence[str]) -> str:
    """``"<length>\\n<buffer>"`` for each buffer, one after the other. Lengths count characters."""
    return "".join([f"{len(buffer)}\n{buffer}" for buffer in buffers])


def unpack(text: str) -> list[str]:
    """The buffers of a packed text.

    Raises:
        FramingError: the lengths do not fit the text.
    """
    buffers: list[str] = []
    at = 0
    while at < len(text):
        match = _LENGTH.match(text, at)
        if match is None:
            raise FramingError(f"packed text holds no length at character {at}: {_shown(text[at:])} stands there")
        start, length = match.end(), int(match[1])
        at = start + length
        if at > len(text):
            raise FramingError(
                f"packed text is cut off: buffer {len(buffers)} should have {length} characters and has "
                f"{len(text) - start}"
            )
        buffers.append(text[start:at])
    return buffers


def split(buffer: str) -> tuple[str, str]:
    """The format of a buffer and its payload.

    Raises:
        FramingError: the text does not begin with a known format and a line break.
    """
    kind = buffer[:2]
    if buffer[2:3] != "\n" or kind not in _WORDS:
        raise FramingError(
            f"the text begins with {_shown(buffer)}, and not with one of the formats {', '.join(sorted(_WORDS))} "
            "and a line break"
        )
    return kind, buffer[3:]


def join(kind: str, payload: str) -> str:
    """The buffer of a payload."""
    return f"{kind}\n{payload}"


def unwrap(text: str) -> str:
    """The one buffer in the text, whether it was packed or not.

    Raises:
        FramingError: it holds no buffer, or several.
    """
    match = _LENGTH.match(text)
    if match is not None and len(text) - match.end() == int(match[1]) and _is_buffer(text, match.end()):
        return text[match.end() :]
    if _is_buffer(text, 0):
        return text
    if match is not None and len(buffers := unpack(text)) != 1:
        raise FramingError(f"one buffer was expected and {len(buffers)} were sent")
    split(text if match is None else text[match.end() :])
    raise FramingError("the text holds no buffer")


def unpack_code(function_code: str) -> str:
    """The buffer of a function as it was registered: published clients pack it, others may not."""
    return unwrap(function_code)


def json_text(value: object) -> str | None:
    """The value as JSON text if JSON keeps it exactly, else None. The text is ASCII, so it passes everywhere.

    Kept exactly are: dictionaries with text as keys, lists, text, booleans, None, integers of 64 bits, finite numbers.

    Raises:
        FramingError: the value is recursive or too deep; TooMuchText: it is too large.
    """
    try:
        return encode(value) if _is_plain(value, Bounds()) else None
    except RecursionError as error:  # the caller is deep in its own calls
        raise FramingError("the value is nested too deeply for where it is sent from") from error
    except FramingError:
        raise
    except ValueError:  # infinity or not a number: the walk leaves floats to the encoder, which looks at them anyway
        return None


def json_data(value: Json) -> str:
    """A buffer of format JSON.

    Raises:
        FramingError: JSON cannot keep the value exactly.
    """
    if (text := json_text(value)) is None:
        raise FramingError(
            "the value is not plain JSON: dictionaries with text as keys, lists, text, booleans, null, integers of "
            "64 bits and finite numbers are"
        )
    return join(JSON_DATA, text)


def pack_json_arguments(args: Sequence[Json], kwargs: Mapping[str, Json]) -> str:
    """The payload of a task whose arguments are JSON. No pickle is involved.

    Raises:
        FramingError: an argument is not plain JSON, or the name of one is not text.
    """
    for name in kwargs:
        if not isinstance(name, str):
            raise FramingError(f"the name of a keyword argument must be text, not {name!r}")
    return pack([json_data(list(args)), json_data(dict(kwargs))])


def source_code(source: str, name: str) -> str:
    """A buffer of format source code: ``source`` defines ``name``, which is called with the task's arguments.

    Raises:
        FramingError: the source is not Python, or does not define ``name``; the sentence names the line.
    """
    if not name.isidentifier():
        raise FramingError(f"{name!r} cannot be the name of a function; it is the name that stands after 'def'")
    try:
        tree = ast.parse(source)
    except SyntaxError as error:
        raise FramingError(f"the source is not Python: {error.msg} (line {error.lineno})") from error
    except (ValueError, RecursionError, MemoryError) as error:
        raise FramingError(f"the source is not Python: {error}") from error
    if name not in (defined := _defined(tree)):
        found = ", ".join(sorted(defined)) or "nothing"
        raise FramingError(f"the source does not define {name} at its top level; it defines {found}")
    return join(SOURCE, f"{name}:{source}")


def split_source(payload: str) -> tuple[str, str]:
    """Name and source of a payload of format source code."""
    name, colon, source = payload.partition(":")
    if not colon or not name.isidentifier():
        raise FramingError("source code must be sent as its function's name, a colon, and the source")
    return name, source


def split_old_packed(payload: str) -> list[tuple[str, str]]:
    """Format and payload of each part of ``OLD_PACKED``, which joins formats and payloads by colons. Parts that may
    hold colons themselves are left out: there are always others."""
    return [(match[1], match[2]) for match in _OLD_PART.finditer(payload)]


def read_json(buffer: str) -> Json:
    """The JSON value of a buffer, for those who may not unpickle: flows, the web pages.

    Typed values become what JSON has for them: tuples and sets lists; dates, UUIDs, paths and decimals text; durations
    seconds; a ``ShellResult`` an object. In a value of several formats the JSON one is read.

    Raises:
        FramingError: the value is not JSON, or holds what JSON has no word for; the sentence says what it is.
    """
    kind, payload = split(unwrap(buffer))
    if kind == PACKED_DATA:
        for inner in unpack(payload):
            if split(inner)[0] in (JSON_DATA, TAGGED_DATA):
                return read_json(inner)
    if kind == JSON_DATA:
        return _strict_json(payload)
    if kind == TAGGED_DATA:
        return _plain(_strict_json(payload))
    raise FramingError(f"the value is {_WORDS[kind]}, which only Python programs that trust its maker can read")


def is_pickle(buffer: str) -> bool:
    """Whether reading the buffer runs code of whoever made it. True for what cannot be told."""
    try:
        kind, payload = split(unwrap(buffer))
        if kind in (PACKED_DATA, PACKED_CODE):
            return all(is_pickle(inner) for inner in unpack(payload))
    except FramingError:
        return True
    return kind in _PICKLES


def python_version_of(code: str) -> str | None:
    """The Python version that made a function, such as ``3.11.9``; None when the code does not say."""
    try:
        kind, payload = split(unwrap(code))
    except FramingError:
        return None
    match = _VERSION.match(payload) if kind == PICKLED_CODE else None
    return None if match is None else match[0]


def describe(buffer: str) -> str:
    """A few words for people: ``"a pickled function, 1.2 KiB"``."""
    try:
        kind, payload = split(unwrap(buffer))
    except FramingError:
        return f"unknown text, {_size(len(buffer))}"
    return f"{_WORDS[kind]}, {_size(len(payload))}"


def _is_plain(value: object, bounds: Bounds) -> bool:
    kind = type(value)
    if kind is str:
        bounds.spend(len(value))  # type: ignore[arg-type]  # ``kind`` says that it is text
        return True
    if kind is int:
        return _INT_MIN <= value <= _INT_MAX  # type: ignore[operator]  # ``kind`` says that it is an integer
    if kind is list:
        return _is_plain_list(value, bounds)  # type: ignore[arg-type]  # and a list here
    if kind is not dict:
        return kind in _LEAVES
    members: dict[Any, Any] = value  # type: ignore[assignment]  # and a dictionary here
    bounds.enter(members)
    for name, item in members.items():
        if type(name) is not str or not _is_plain(item, bounds):
            return False
        bounds.spend(len(name))
    bounds.leave(members)
    return True


def _is_plain_list(items: list[Any], bounds: Bounds) -> bool:
    bounds.enter(items)
    kinds = set(map(type, items))
    if kinds == {int}:  # long lists of one kind are common, and these looks at them are quick
        if not (min(items) >= _INT_MIN and max(items) <= _INT_MAX):
            return False
    elif kinds == {str}:
        bounds.spend(sum(map(len, items)))
    elif not kinds <= _LEAVES:
        for item in items:
            if not _is_plain(item, bounds):
                return False
    bounds.leave(items)
    return True


def _is_buffer(text: str, at: int) -> bool:
    return text[at + 2 : at + 3] == "\n" and text[at : at + 2] in _WORDS


def _defined(tree: ast.Module) -> set[str]:
    names: set[str] = set()
    for node in tree.body:
        match node:
            case ast.FunctionDef(name=name) | ast.AsyncFunctionDef(name=name) | ast.ClassDef(name=name):
                names.add(name)
            case ast.Assign(targets=targets):
                names.update(target.id for target in targets if isinstance(target, ast.Name))
            case ast.AnnAssign(target=ast.Name(id=name)):
                names.add(name)
            case ast.Import(names=aliases) | ast.ImportFrom(names=aliases):
                names.update((alias.asname or alias.name).partition(".")[0] for alias in aliases)
    return names


def _strict_json(payload: str) -> Json:
    try:
        return json.loads(payload, parse_int=_integer, parse_float=_float, parse_constant=_constant)
    except (ValueError, RecursionError) as error:
        raise FramingError(f"the value is not JSON that every reader understands: {error}") from error


def _integer(text: str) -> int:
    if len(text) > 20 or not _INT_MIN <= (value := int(text)) <= _INT_MAX:
        raise ValueError(f"the integer {_shown(text)} does not fit 64 bits")
    return value


def _float(text: str) -> float:
    value = float(text)
    if not math.isfinite(value):
        raise ValueError(f"the number {_shown(text)} is too large")
    return value


def _constant(text: str) -> Json:
    raise ValueError(f"{text} is not a number of JSON")


def _plain(value: Json) -> Json:
    """A tagged value as plain JSON. Tags: ``tagged_json``."""
    if isinstance(value, list):
        return [_plain(item) for item in value]
    if not isinstance(value, dict):
        return value
    if TAG not in value:
        return {name: _plain(item) for name, item in value.items()}
    tag, content = value[TAG], value.get(CONTENT)
    match tag:
        case "tuple" | "set" | "frozenset" | "ShellResult":
            return _plain(content)
        case "datetime" | "date" | "time" | "decimal" | "uuid" | "path" | "posix_path" | "windows_path":
            return content
        case "timedelta" if isinstance(content, list) and len(content) == 3:
            return _seconds(content)
        case "dict" if isinstance(content, list) and all(_is_member(pair) for pair in content):
            return {name: _plain(item) for name, item in content}
    raise FramingError(f"the value holds {_tag_words(tag)}, which JSON has no word for")


def _is_member(pair: Any) -> bool:
    return isinstance(pair, list) and len(pair) == 2 and isinstance(pair[0], str)


def _seconds(parts: Sequence[Any]) -> float | int:
    days, seconds, microseconds = map(int, parts)
    whole = days * 86_400 + seconds
    return whole + microseconds / 1_000_000 if microseconds else whole


def _tag_words(tag: Any) -> str:
    words = {
        "dict": "a dictionary with keys that are not text",
        "float": "a number that is infinite or not a number",
        "int": "an integer of more than 64 bits",
    }
    return words.get(str(tag), f"a value of type {_shown(str(tag))}")


def _shown(text: str) -> str:
    return repr(text[:24]) + ("..." if len(text) > 24 else "")


def _size(count: int) -> str:
    if count < 1024:
        return f"{count} characters"
    return f"{count / 1024:.1f} KiB" if count < 1024 * 1024 else f"{count / (1024 * 1024):.1f} MiB"
