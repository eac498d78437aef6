"""Evaluators of JSON Schema whose work is bounded: python-jsonschema with its costly keywords replaced.

Regular expressions run on RE2, unique items and enumerations are compared by canonical text, and every keyword spends
from a budget, so that no pair of schema and value holds a thread for long. Schemas come from ``Survey.localised``:
nothing in them changes the dialect or refers outside.
"""

from __future__ import annotations

import contextlib
import re
import uuid
from collections.abc import Callable, Iterable, Iterator, Mapping
from functools import lru_cache
from typing import Any, TypeAlias

import orjson
import re2
from jsonschema import (
    Draft4Validator,
    Draft6Validator,
    Draft7Validator,
    Draft201909Validator,
    Draft202012Validator,
    FormatChecker,
    ValidationError,
    validators,
)
from jsonschema.exceptions import FormatError

from schemas.json_text import Json

#: Units of work for one value. A unit is one keyword, about 3 microseconds.
FUEL = 200_000
MAX_MESSAGE_CHARS = 512
MAX_FORMATTED_CHARS = 8_192
MAX_PATTERN_INSTRUCTIONS = 20_000

Keyword: TypeAlias = Callable[[Any, Any, Any, Any], Iterable[ValidationError] | None]

_FORMATS = (
    "date",
    "date-time",
    "duration",
    "email",
    "hostname",
    "idn-email",
    "idn-hostname",
    "ipv4",
    "ipv6",
    "json-pointer",
    "regex",
    "relative-json-pointer",
    "time",
    "uri",
    "uri-reference",
    "uri-template",
    "uuid",
)
_UUID_HYPHENS = (8, 13, 18, 23)
_EMAIL = re.compile(r"[^@\s\x00-\x1f]{1,64}@[^@\s\x00-\x1f.](?:[^@\s\x00-\x1f]{0,252}[^@\s\x00-\x1f.])?")
_UNICODE_ESCAPE = re.compile(r"(?<!\\)((?:\\\\)*)\\u(?:([0-9A-Fa-f]{4})|\{([0-9A-Fa-f]{1,6})\})")


class TooComplexError(Exception):
    """The value needs more work than one evaluation may take."""


class UnsupportedPatternError(ValueError):
    """A regular expression that RE2 does not take; the message says why."""


class Evaluation(FormatChecker):
    """One evaluation: the formats that count, and the work that is left.

    It rides on python-jsonschema's format checker, the one object that all steps of an evaluation share and that is
    given anew for each; a validator is thus shared between threads.
    """

    def __init__(self, fuel: int = FUEL) -> None:
        self.checkers = _CHECKERS
        self.fuel = fuel
        self._enumerations: dict[int, frozenset[bytes]] = {}

    def spend(self, units: int) -> None:
        self.fuel -= units
        if self.fuel < 0:
            raise TooComplexError

    def check(self, instance: object, format: str) -> None:  # noqa: A002 - the library's name
        if not isinstance(instance, str) or format not in self.checkers:
            return
        self.spend(4 + (len(instance) >> 4))
        own = _OWN_FORMATS.get(format)
        if len(instance) > MAX_FORMATTED_CHARS or (own is not None and not own(instance)):
            raise FormatError(f"{instance!r} is not a {format!r}")
        if own is None:
            super().check(instance, format)

    def enumeration(self, values: list[Json]) -> frozenset[bytes]:
        """Canonical texts of an enum, made once per evaluation (the schema outlives it, so its id is a key)."""
        known = self._enumerations.get(id(values))
        if known is None:
            self.spend(len(values))
            known = self._enumerations[id(values)] = frozenset(canonical(value) for value in values)
        return known


def canonical(value: Json) -> bytes:
    """Text that is equal for values that JSON Schema calls equal: keys in order, 1.0 as 1."""
    return orjson.dumps(_plain(value), option=orjson.OPT_SORT_KEYS)


@lru_cache(maxsize=1024)
def compile_pattern(pattern: str, *, is_ascii: bool = False) -> Any:
    """A pattern for RE2, with ECMA 262's ``\\uXXXX``. The ASCII form is far smaller and reads bytes of ASCII text.

    Raises:
        UnsupportedPatternError: look-around, back-references, giant repeats and plain mistakes.
    """
    options = re2.Options()
    options.log_errors = False
    options.never_capture = True
    text = _UNICODE_ESCAPE.sub(lambda m: f"{m[1]}\\x{{{m[2] or m[3]}}}", pattern)
    if is_ascii:
        options.encoding = re2.Options.Encoding.LATIN1
    try:
        compiled = re2.compile(text.encode() if is_ascii else text, options)
    except re2.error as error:
        reason = error.args[0].decode(errors="replace") if isinstance(error.args[0], bytes) else str(error)
        raise UnsupportedPatternError(reason) from error
    if compiled.programsize > MAX_PATTERN_INSTRUCTIONS:
        raise UnsupportedPatternError("it is too large; bound lengths with minLength and maxLength instead")
    return compiled


def finds(evaluation: Evaluation, pattern: str, text: str) -> bool:
    """Whether the pattern matches anywhere in the text, in time linear in both."""
    compiled = _regex(pattern, is_ascii=text.isascii() and pattern.isascii())
    evaluation.spend(1 + (len(text) * compiled.programsize >> 11))
    subject = text.encode() if isinstance(compiled.pattern, bytes) else text
    return compiled.search(subject) is not None


def _regex(pattern: str, *, is_ascii: bool) -> Any:
    if is_ascii:
        with contextlib.suppress(UnsupportedPatternError):  # \x{4e00} is no Latin-1 character: take the general form
            return compile_pattern(pattern, is_ascii=True)
    return compile_pattern(pattern)


def _plain(value: Json) -> Json:
    if isinstance(value, float) and value.is_integer() and abs(value) < 2**63:
        return int(value)
    if isinstance(value, list):
        return [_plain(item) for item in value]
    if isinstance(value, dict):
        return {key: _plain(item) for key, item in value.items()}
    return value


def _is_uuid(text: str) -> bool:
    try:
        uuid.UUID(text)
    except ValueError:
        return False
    return len(text) == 36 and all(text[position] == "-" for position in _UUID_HYPHENS)


def _is_email(text: str) -> bool:
    return len(text) <= 320 and _EMAIL.fullmatch(text) is not None


def _is_regex(text: str) -> bool:
    with contextlib.suppress(UnsupportedPatternError):
        compile_pattern(text)
        return True
    try:  # ECMA 262 has forms that RE2 refuses; here they are data, nobody runs them
        re.compile(text)
    except (re.error, RecursionError, OverflowError):
        return False
    return True


#: The library's checks of formats, of the newest draft: its table for all drafts mixes their meanings.
_CHECKERS = {name: check for name, check in Draft202012Validator.FORMAT_CHECKER.checkers.items() if name in _FORMATS}

_OWN_FORMATS: Mapping[str, Callable[[str], bool]] = {
    "uuid": _is_uuid,
    "email": _is_email,
    "idn-email": _is_email,
    "regex": _is_regex,
}


def _pattern(validator: Any, pattern: str, instance: Json, _schema: Json) -> Iterator[ValidationError]:
    if isinstance(instance, str) and not finds(validator.format_checker, pattern, instance):
        yield ValidationError(f"{instance!r} does not match {pattern!r}")


def _pattern_properties(validator: Any, by_pattern: Json, instance: Json, _schema: Json) -> Iterator[ValidationError]:
    if not isinstance(instance, dict):
        return
    for pattern, subschema in by_pattern.items():
        for key, value in instance.items():
            if finds(validator.format_checker, pattern, key):
                yield from validator.descend(value, subschema, path=key, schema_path=pattern)


def _additional_properties(validator: Any, allowed: Json, instance: Json, schema: Json) -> Iterator[ValidationError]:
    if not isinstance(instance, dict):
        return
    named, patterns = schema.get("properties", {}), list(schema.get("patternProperties", {}))
    extras = [
        key
        for key in instance
        if key not in named and not any(finds(validator.format_checker, pattern, key) for pattern in patterns)
    ]
    if isinstance(allowed, dict):
        for key in extras:
            yield from validator.descend(instance[key], allowed, path=key)
    elif not allowed and extras:
        listed, verb = ", ".join(repr(key) for key in sorted(extras)), "does" if len(extras) == 1 else "do"
        if patterns:
            regexes = ", ".join(repr(pattern) for pattern in sorted(patterns))
            yield ValidationError(f"{listed} {verb} not match any of the regexes: {regexes}")
        else:
            was = "was" if len(extras) == 1 else "were"
            yield ValidationError(f"Additional properties are not allowed ({listed} {was} unexpected)")


def _unique_items(_validator: Any, wanted: Json, instance: Json, _schema: Json) -> Iterator[ValidationError]:
    if wanted and isinstance(instance, list) and len({canonical(item) for item in instance}) < len(instance):
        yield ValidationError(f"{instance!r} has non-unique elements")


def _enum(validator: Any, values: Json, instance: Json, _schema: Json) -> Iterator[ValidationError]:
    if canonical(instance) not in validator.format_checker.enumeration(values):
        yield ValidationError(f"{instance!r} is not one of {values!r}")


def _metered(keyword: Keyword, extra: int = 0) -> Keyword:
    """The keyword, spending for its own size, the parts it passes and the errors it words."""

    def check(validator: Any, value: Json, instance: Json, schema: Json) -> Iterator[ValidationError]:
        evaluation: Evaluation = validator.format_checker
        own = len(value) >> 3 if isinstance(value, dict | list) else 0
        parts = len(instance) if isinstance(instance, dict | list) else 0
        evaluation.spend(1 + extra + own + (parts >> 1))
        for error in keyword(validator, value, instance, schema) or ():
            evaluation.spend(3 + (len(error.message) >> 8))
            error.message = shortened(error.message)
            yield error

    return check


def _unevaluated(keyword: Keyword) -> Keyword:
    """The library compares the parts with a list of those already seen: quadratic, and charged as such."""

    def check(validator: Any, value: Json, instance: Json, schema: Json) -> Iterable[ValidationError] | None:
        parts = len(instance) if isinstance(instance, dict | list) else 0
        validator.format_checker.spend(parts * parts >> 6)
        return keyword(validator, value, instance, schema)

    return check


def shortened(message: str) -> str:
    """A message of at most 512 characters: values come first in it and the reason last, so the middle is cut."""
    if len(message) <= MAX_MESSAGE_CHARS:
        return message
    tail = MAX_MESSAGE_CHARS // 4
    return f"{message[: MAX_MESSAGE_CHARS - tail - 5]} ... {message[-tail:]}"


_REPLACED: Mapping[str, Keyword] = {
    "additionalProperties": _additional_properties,
    "enum": _enum,
    "pattern": _pattern,
    "patternProperties": _pattern_properties,
    "uniqueItems": _unique_items,
}


def _bounded(base: Any, *, ref_stands_alone: bool) -> Any:
    keywords: dict[str, Keyword] = {}
    for name, keyword in (base.VALIDATORS | {k: v for k, v in _REPLACED.items() if k in base.VALIDATORS}).items():
        inner = _unevaluated(keyword) if name.startswith("unevaluated") else keyword
        keywords[name] = _metered(inner, extra=2 if name == "$ref" else 0)
    make: Any = validators.create  # its stubs want a narrower keyword function than the library calls
    return make(
        meta_schema=base.META_SCHEMA,
        validators=keywords,
        type_checker=base.TYPE_CHECKER,
        format_checker=base.FORMAT_CHECKER,
        id_of=base.ID_OF,
        applicable_validators=_ref_alone if ref_stands_alone else _all_keywords,
    )


def _ref_alone(schema: Mapping[str, Json]) -> Iterable[tuple[str, Json]]:
    """Up to draft 7, keywords beside $ref are ignored."""
    return [("$ref", schema["$ref"])] if "$ref" in schema else schema.items()


def _all_keywords(schema: Mapping[str, Json]) -> Iterable[tuple[str, Json]]:
    return schema.items()


#: Address of a dialect without scheme and empty fragment -> (the library's validator, ours).
DIALECTS: Mapping[str, tuple[Any, Any]] = {
    "json-schema.org/draft-07/schema": (Draft7Validator, _bounded(Draft7Validator, ref_stands_alone=True)),
    "json-schema.org/draft-06/schema": (Draft6Validator, _bounded(Draft6Validator, ref_stands_alone=True)),
    "json-schema.org/draft-04/schema": (Draft4Validator, _bounded(Draft4Validator, ref_stands_alone=True)),
    "json-schema.org/draft/2019-09/schema": (
        Draft201909Validator,
        _bounded(Draft201909Validator, ref_stands_alone=False),
    ),
    "json-schema.org/draft/2020-12/schema": (
        Draft202012Validator,
        _bounded(Draft202012Validator, ref_stands_alone=False),
    ),
}
