"""Strict JSON in, canonical JSON out.

Everything that enters the house (requests, definitions, provider answers) is read here, so that all parsers agree:
no duplicate keys, no NaN or infinity, integers within 64 bits, no NUL characters or lone surrogates, bounded depth.
What is stored is written by ``dumps``: compact UTF-8 text that any JSON parser reads back to the same value.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterator
from typing import Any, TypeAlias

import orjson

from .errors import InvalidJson

Json: TypeAlias = Any

MAX_DEPTH = 64
MAX_KEY_CHARS = 256
MAX_KEYS = 10_000
MAX_TEXT_CHARS = 262_144
#: How deep data may become that is built from documents; two documents fit into each other.
MAX_DATA_DEPTH = 2 * MAX_DEPTH
#: How deep ``dumps`` writes at all: no answer of this house is deeper.
MAX_WRITTEN_DEPTH = 254
_INT_MIN, _INT_MAX = -(2**63), 2**63 - 1
#: Texts, and the brackets outside of them. It never goes back, so that a long text costs its length once.
_BRACKETS = re.compile(r'"[^"\\]*+(?:\\.[^"\\]*+)*+"|[\[{\]}]', re.DOTALL)


def loads(
    raw: bytes | str,
    *,
    what: str = "the request body",
    max_depth: int = MAX_DEPTH,
    max_text_chars: int = MAX_TEXT_CHARS,
    odd_characters: bool = False,
) -> Json:
    """Parse JSON text; a leading UTF-8 byte order mark is dropped.

    ``max_text_chars`` is for values: keys stay short. ``odd_characters`` lets NUL characters and lone surrogates pass, for
    a caller who deals with them text by text.

    Raises:
        InvalidJson: the sentence names the place and the limit that was broken.
    """
    text = _decode(raw, what)
    if not text.strip():
        raise InvalidJson("BAD_JSON", f"{what} is empty: a JSON document is expected")
    _check_depth(text, what, max_depth)
    try:
        value = json.loads(
            text,
            object_pairs_hook=_object,
            parse_int=_integer,
            parse_float=_float,
            parse_constant=_constant,
        )
    except json.JSONDecodeError as error:
        raise InvalidJson(
            "BAD_JSON",
            f"{what} is not JSON: {error.msg.removesuffix(' at')} at line {error.lineno} column {error.colno}",
        ) from error
    if odd_characters:
        _check_lengths(value, max_text_chars)
    else:
        _check_text(value, "$", max_text_chars)
    return value


def dumps(value: Json) -> str:
    """Compact JSON text. Keys keep their order, so a document comes back as its author wrote it."""
    return orjson.dumps(value).decode()


def dumps_sorted(value: Json) -> str:
    """Compact JSON text with sorted keys: equal documents give equal text, for hashes."""
    return orjson.dumps(value, option=orjson.OPT_SORT_KEYS).decode()


def loads_trusted(text: str | bytes) -> Json:
    """Parse text that ``dumps`` wrote."""
    return orjson.loads(text)


def size_bytes(value: Json) -> int:
    """Size of the value as compact UTF-8 JSON."""
    return len(orjson.dumps(value))


def data_size_bytes(value: Json) -> int | None:
    """Size of a run's data; None when it is nested more than ``MAX_DATA_DEPTH`` levels deep."""
    try:
        raw = orjson.dumps(value)
        if raw.count(b"{") + raw.count(b"[") > MAX_DATA_DEPTH:
            orjson.dumps(_deepened(value))
    except TypeError:
        return None
    return len(raw)


def _deepened(value: Json) -> Json:
    """The value so deep inside lists that the writer, which counts levels anyway, has as many left as are allowed."""
    for _ in range(MAX_WRITTEN_DEPTH - MAX_DATA_DEPTH):
        value = [value]
    return value


def is_excessive(value: Json, *, most_bytes: int, max_depth: int = MAX_DATA_DEPTH) -> bool:
    """Whether a value is nested too deeply, or is surely larger than ``most_bytes`` as JSON.

    A value made from paths may hold one large part a thousand times, which is cheap to hold and ruinous to write out:
    this stops at the limit, before anything is written.
    """
    least_bytes = 0
    level, depth = [value], 0
    while level:
        below: list[Json] = []
        for item in level:
            if isinstance(item, dict):
                least_bytes += 1 + sum(map(len, item)) + 4 * len(item)
                below.extend(item.values())
            elif isinstance(item, list):
                least_bytes += 1 + len(item)
                below.extend(item)
            else:
                least_bytes += len(item) if isinstance(item, str) else 1
            if least_bytes > most_bytes:
                return True
        if below and depth == max_depth:
            return True
        level, depth = below, depth + 1
    return False


def _decode(raw: bytes | str, what: str) -> str:
    if isinstance(raw, str):
        return raw.removeprefix("\ufeff")
    try:
        return raw.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise InvalidJson("BAD_JSON", f"{what} is not UTF-8 text: byte {error.start} cannot be decoded", 415) from error


def _check_depth(text: str, what: str, max_depth: int) -> None:
    if text.count("{") + text.count("[") <= max_depth:
        return
    depth = 0
    for match in _BRACKETS.finditer(text):
        mark = match.group()
        if mark in "[{":
            depth += 1
            if depth > max_depth:
                raise InvalidJson("TOO_DEEP", f"{what} is nested more than {max_depth} levels deep")
        elif mark in "]}":
            depth -= 1


def _object(pairs: list[tuple[str, Json]]) -> dict[str, Json]:
    if len(pairs) > MAX_KEYS:
        raise InvalidJson("TOO_MANY_KEYS", f"an object has {len(pairs)} keys; the limit is {MAX_KEYS}", 422)
    result: dict[str, Json] = {}
    for key, value in pairs:
        if key in result:
            raise InvalidJson("DUPLICATE_KEY", f"the key {key[:80]!r} appears twice in one object")
        if len(key) > MAX_KEY_CHARS:
            raise InvalidJson(
                "TOO_LARGE", f"the key {key[:40]!r}... has {len(key)} characters; the limit is {MAX_KEY_CHARS}", 422
            )
        result[key] = value
    return result


def _integer(text: str) -> int:
    if len(text) > 20 or not _INT_MIN <= (value := int(text)) <= _INT_MAX:
        raise InvalidJson("BAD_NUMBER", f"the integer {text[:24]}{'...' * (len(text) > 24)} does not fit 64 bits")
    return value


def _float(text: str) -> float:
    value = float(text) if len(text) <= 4096 else math.inf
    if not math.isfinite(value):
        raise InvalidJson("BAD_NUMBER", f"the number {text[:24]} is too large for a 64-bit float")
    return value


def _constant(text: str) -> Json:
    raise InvalidJson("BAD_NUMBER", f"{text} is not a JSON number")


def _check_text(value: Json, path: str, max_chars: int) -> None:
    if all(_is_good(text, max_chars) for text in _texts(value)):
        return
    stack: list[tuple[Json, str]] = [(value, path)]
    while stack:
        item, here = stack.pop()
        if isinstance(item, str):
            _check_string(item, here, max_chars)
        elif isinstance(item, dict):
            for key, child in item.items():
                _check_string(key, here, max_chars)
                if isinstance(child, str | dict | list):
                    stack.append((child, f"{here}.{key}"))
        elif isinstance(item, list):
            stack.extend(
                (child, f"{here}[{i}]") for i, child in enumerate(item) if isinstance(child, str | dict | list)
            )


def _check_lengths(value: Json, max_chars: int) -> None:
    if (longest := max(map(len, _texts(value)), default=0)) > max_chars:
        raise InvalidJson("TOO_LARGE", f"a text has {longest} characters; the limit is {max_chars}", 422)


def _texts(value: Json) -> Iterator[str]:
    """Every text of a value, keys too. Where it stands is left out: writing that down would cost more than all else."""
    stack: list[Json] = [value]
    while stack:
        item = stack.pop()
        if isinstance(item, str):
            yield item
        elif isinstance(item, dict):
            yield from item
            stack.extend(item.values())
        elif isinstance(item, list):
            stack.extend(item)


def _is_good(text: str, max_chars: int) -> bool:
    return text.isascii() and "\0" not in text and len(text) <= max_chars


def _check_string(text: str, path: str, max_chars: int) -> None:
    if "\0" in text:
        raise InvalidJson("BAD_TEXT", f"the text at {path} holds a NUL character", 422)
    if len(text) > max_chars:
        raise InvalidJson("TOO_LARGE", f"the text at {path} has {len(text)} characters; the limit is {max_chars}", 422)
    if text.isascii():
        return
    try:
        text.encode()
    except UnicodeEncodeError as error:
        raise InvalidJson(
            "BAD_TEXT", f"the text at {path} holds a lone surrogate, which is not a character", 422
        ) from error
