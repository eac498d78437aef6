"""Checks of single fields of a state: types, paths, templates, addresses, names, times.

Wordings and ``type`` names of structural errors are those of pydantic v1, in which the Globus Flows service answers
(``str type expected``, ``type_error.str``); everything else is a sentence for the flow's author. What the hosted wording
leaves unsaid is in ``ctx`` (``did_you_mean``, ``hint``); ``sentence`` says both.
"""

from __future__ import annotations

import difflib
import re
import unicodedata
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from typing import Any, TypeAlias
from urllib.parse import urlsplit

from schemas.errors import Problem
from schemas.json_text import Json, dumps
from schemas.times import parse_rfc3339

from .dialects import Dialect
from .errors import ExpressionSyntaxError, PathSyntaxError
from .expression import compile_expression
from .paths import compile_path

Loc: TypeAlias = tuple[str | int, ...]

MAX_URL_CHARS = 2_048
#: How many words may be compared to make suggestions for one document; a thousand take about ten milliseconds.
MAX_COMPARISONS = 20_000
PRIVATE_PARAMETERS = "__Private_Parameters"

#: Characters that reorder or hide the text around them (Unicode, "Bidirectional Character Types").
_BIDI_CONTROLS = frozenset("\u061c\u200e\u200f\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069")
#: These are said in ``msg`` too; the others keep the hosted wording to the letter.
_HINTED_IN_MSG = ("type_error.integer", "type_error.float")
_RIGHT_FORMS = {
    "type_error.str": "a text in quotes",
    "type_error.dict": 'an object: {"name": value}',
    "type_error.list": "a list: [...]",
    "type_error.integer": "a whole number, such as 5",
    "type_error.float": "a number, such as 5 or 0.5",
    "value_error.strictbool": "true or false",
}
_UNQUOTED = {
    "type_error.integer": re.compile(r"-?(?:0|[1-9]\d{0,18})", re.ASCII),
    "type_error.float": re.compile(r"-?(?:0|[1-9]\d{0,18})(?:\.\d{1,18})?", re.ASCII),
    "value_error.strictbool": re.compile(r"true|false", re.IGNORECASE),
}
_HOST = re.compile(r"[A-Za-z0-9](?:[A-Za-z0-9._-]*[A-Za-z0-9])?\.?|\[[0-9A-Fa-f:.]+\]", re.ASCII)


@dataclass(slots=True)
class Findings:
    """Problems found so far in one document, and the rules that apply to it.

    ``meant`` has, for the location of an object, the fields that its unknown keys stand for by all appearance: what
    such a key says once need not be said again as a field that is missing or a state that nothing leads to.
    """

    dialect: Dialect
    allow_http: bool = False
    problems: list[Problem] = field(default_factory=list)
    meant: dict[Loc, dict[str, str]] = field(default_factory=dict)
    _comparisons_left: int = MAX_COMPARISONS

    def add(self, loc: Loc, msg: str, type: str = "value_error", **ctx: Any) -> None:  # noqa: A002 - the wire's word
        self.problems.append(Problem(loc, msg, type, ctx or None))

    def nearest(self, wrong: str, known: Collection[str]) -> str | None:
        """As the function ``nearest``, until a document with very many mistakes has had its share of comparing."""
        self._comparisons_left -= len(known)
        return nearest(wrong, known) if self._comparisons_left >= 0 else None

    def has(self, loc: Loc, body: Mapping[str, Json], name: str) -> bool:
        """Whether the object at ``loc`` has the field, be it misspelled; ``check_keys`` has seen the object."""
        return name in body or name in self.meant.get(loc, ())

    @property
    def is_asl(self) -> bool:
        """Whether meanings of the Amazon States Language beyond Globus Flows' are admitted (``$$``, null paths)."""
        return self.dialect.context_object


def did_you_mean(near: str | None) -> str:
    """``"; did you mean 'x'?"``, or nothing when no word is near."""
    return "" if near is None else f"; did you mean {near!r}?"


def sentence(problem: Mapping[str, Any]) -> str:
    """All that a problem, as ``Problem.to_json`` gives it, has to say to a person who does not see its other members."""
    msg, ctx = str(problem["msg"]), problem.get("ctx") or {}
    if problem.get("type") == "value_error.extra":
        return f"{msg}: {problem['loc'][-1]!r}{did_you_mean(ctx.get('did_you_mean'))}"
    return f"{msg}: {ctx['hint']}" if "hint" in ctx else msg


def nearest(wrong: str, known: Collection[str], *, cutoff: float = 0.6) -> str | None:
    """The known word that is most like the wrong one (case apart), if one is like it at all."""
    folded = {word.casefold(): word for word in known}
    if (same := folded.get(wrong.casefold())) is not None:
        return same
    found = difflib.get_close_matches(wrong.casefold()[:128], folded, n=1, cutoff=cutoff)
    return folded[found[0]] if found else None


def shown(value: Json) -> str:
    """A value in a sentence: quoted text, cut when long."""
    text = repr(value) if isinstance(value, str) else str(value)
    return text if len(text) <= 80 else f"{text[:76]} ..."


def check_keys(findings: Findings, loc: Loc, body: Mapping[str, Json], allowed: Collection[str]) -> None:
    """Report every key that is not allowed; the nearest allowed one is in ``ctx``."""
    for key in body:
        if key in allowed:
            continue
        near = findings.nearest(key, [name for name in allowed if name not in body])
        ctx = {} if near is None else {"did_you_mean": near}
        if near is not None:
            findings.meant.setdefault(loc, {}).setdefault(near, key)
        findings.add((*loc, key), "extra fields not permitted", "value_error.extra", **ctx)


def is_text(findings: Findings, loc: Loc, value: Json) -> bool:
    return _typed(findings, loc, value, isinstance(value, str), "str type expected", "type_error.str")


def is_object(findings: Findings, loc: Loc, value: Json) -> bool:
    return _typed(findings, loc, value, isinstance(value, dict), "value is not a valid dict", "type_error.dict")


def is_list(findings: Findings, loc: Loc, value: Json) -> bool:
    return _typed(findings, loc, value, isinstance(value, list), "value is not a valid list", "type_error.list")


def is_boolean(findings: Findings, loc: Loc, value: Json) -> bool:
    right = isinstance(value, bool)
    return _typed(findings, loc, value, right, "value is not a valid boolean", "value_error.strictbool")


def is_number(findings: Findings, loc: Loc, value: Json) -> bool:
    right = isinstance(value, int | float) and not isinstance(value, bool)
    return _typed(findings, loc, value, right, "value is not a valid float", "type_error.float")


def is_filled_list(findings: Findings, loc: Loc, value: Json) -> bool:
    if not is_list(findings, loc, value):
        return False
    if not value:
        findings.add(loc, "ensure this value has at least 1 items", "value_error.list.min_items", limit_value=1)
    return bool(value)


def is_required(findings: Findings, loc: Loc, body: Mapping[str, Json], key: str) -> bool:
    if not findings.has(loc, body, key):
        findings.add((*loc, key), "field required", "value_error.missing")
    return key in body


def check_integer(findings: Findings, loc: Loc, value: Json, *, least: int, most: int) -> None:
    right = isinstance(value, int) and not isinstance(value, bool)
    if not _typed(findings, loc, value, right, "value is not a valid integer", "type_error.integer"):
        return
    if value < least:
        msg = f"ensure this value is greater than or equal to {least}"
        findings.add(loc, msg, "value_error.number.not_ge", limit_value=least)
    elif value > most:
        msg = f"ensure this value is less than or equal to {most}"
        findings.add(loc, msg, "value_error.number.not_le", limit_value=most)


def check_filled_text(findings: Findings, loc: Loc, value: Json) -> None:
    if is_text(findings, loc, value) and not value.strip():
        findings.add(loc, "this text must not be blank")


def check_time(findings: Findings, loc: Loc, value: Json) -> None:
    if not is_text(findings, loc, value):
        return
    try:
        parse_rfc3339(value)
    except ValueError as error:
        findings.add(loc, str(error), "value_error.datetime")


def check_name(findings: Findings, loc: Loc, name: str) -> None:
    """Whether text can be the name of a state: one that people can tell from others on a screen."""
    limit = findings.dialect.max_state_name_chars
    if not name.strip():
        findings.add(loc, "the name of a state must not be empty or blank")
    elif len(name) > limit:
        findings.add(loc, f"the name of a state has {len(name)} characters; the limit is {limit}")
    for char in name:
        if unicodedata.category(char) in ("Cc", "Zl", "Zp"):
            findings.add(loc, f"the name of a state must not hold the control character U+{ord(char):04X}")
            return
        if char in _BIDI_CONTROLS:
            findings.add(loc, f"the name of a state must not hold U+{ord(char):04X}, which changes the text direction")
            return


def check_path(findings: Findings, loc: Loc, value: Json) -> None:
    """A path that reads: ``$.a.b[0]``; ``$$...`` where the dialect has a Context Object."""
    if is_text(findings, loc, value):
        _compile_path(findings, loc, value, reference=False)


def check_nullable_path(findings: Findings, loc: Loc, value: Json) -> None:
    """As ``check_path``; ASL admits null, which stands for no value."""
    if value is not None or not findings.is_asl:
        check_path(findings, loc, value)


def check_result_path(findings: Findings, loc: Loc, value: Json) -> None:
    """A reference path that a result may be written to; ASL admits null, which discards the result."""
    if (value is None and findings.is_asl) or not is_text(findings, loc, value):
        return
    if value.startswith("$$"):
        findings.add(loc, "a ResultPath writes into the data of the run, not into $$; begin it with '$.'")
        return
    _compile_path(findings, loc, value, reference=True)


def check_template(findings: Findings, loc: Loc, value: Json) -> None:
    """Values built from data: ``x.$`` holds a path, ``x.=`` an expression, at any depth of objects and lists."""
    if isinstance(value, list):
        for index, item in enumerate(value):
            check_template(findings, (*loc, index), item)
    elif isinstance(value, dict):
        _check_rivals(findings, loc, value)
        for key, item in value.items():
            _check_member(findings, loc, value, key, item)


def check_url(findings: Findings, loc: Loc, value: Json) -> None:
    """The constant address of an action provider. Whether it may be called is decided when it is."""
    if is_text(findings, loc, value) and (wrong := _wrong_with_url(value, findings.allow_http)) is not None:
        findings.add(loc, wrong, "value_error.url")


def _typed(findings: Findings, loc: Loc, value: Json, right: bool, msg: str, type_: str) -> bool:
    if value is None and not right:
        findings.add(loc, "none is not an allowed value", "type_error.none.not_allowed")
    elif not right and type_ in _HINTED_IN_MSG:
        findings.add(loc, f"{msg}: {_right_form(value, type_)}", type_)
    elif not right:
        findings.add(loc, msg, type_, hint=_right_form(value, type_))
    return right


def _right_form(value: Json, type_: str) -> str:
    """``'"5" is text; write 5 without quotes'``: what was given, and what would be right."""
    given = _given(value)
    match value:
        case str() if type_ == "type_error.list":
            return f"{given}; write it in brackets: [{_cut(value)}]"
        case dict() if type_ == "type_error.list":
            return f"{given}; write it in brackets: [{{...}}]"
        case str() if _is_right_unquoted(value, type_):
            return f"{given}; write {value.strip().lower()} without quotes"
        case float() if type_ == "type_error.integer" and value.is_integer():
            return f"{given}; write {int(value)}"
        case bool() | int() | float() if type_ == "type_error.str":
            return f'{given}; write it in quotes: "{_cut(value)}"'
    return f"{given}; write {_RIGHT_FORMS[type_]}"


def _given(value: Json) -> str:
    match value:
        case bool():
            return f"{_cut(value)} is a boolean"
        case int():
            return f"{_cut(value)} is a number"
        case float():
            return f"{_cut(value)} is a number with a fraction"
        case str():
            return f"{_cut(value)} is text"
        case list():
            return "this is a list"
        case _:
            return "this is an object"


def _cut(value: str | float) -> str:
    """The value as JSON, no longer than a line bears."""
    return dumps(value if not isinstance(value, str) or len(value) <= 60 else f"{value[:60]}...")


def _is_right_unquoted(text: str, type_: str) -> bool:
    pattern = _UNQUOTED.get(type_)
    return pattern is not None and pattern.fullmatch(text.strip()) is not None


def _compile_path(findings: Findings, loc: Loc, text: str, *, reference: bool) -> None:
    if text.startswith("$$") and not findings.dialect.context_object:
        hint = "; the run context is $._context" if findings.dialect.run_context else ""
        findings.add(loc, f"{shown(text)}: the Context Object $$ is not part of Globus Flows{hint}", "value_error.path")
        return
    if text.startswith("States.") and findings.is_asl:
        findings.add(loc, "intrinsic functions (States...) are not served yet; use a path", "value_error.not_supported")
        return
    try:
        path = compile_path(text, reference=reference, extended=findings.dialect.extended_paths and not reference)
    except PathSyntaxError as error:
        findings.add(loc, str(error), "value_error.path")
        return
    if path.root not in ("$", "$$"):
        findings.add(loc, f"{shown(text)}: variables are not served yet; begin with '$.'", "value_error.not_supported")


def _check_rivals(findings: Findings, loc: Loc, body: Mapping[str, Json]) -> None:
    """No two keys may give the same member a value."""
    names: dict[str, list[str]] = {}
    for key in body:
        names.setdefault(_member(findings, key), []).append(key)
    for name, keys in names.items():
        if len(keys) > 1:
            count = "two" if len(keys) == 2 else "three"
            findings.add((*loc, keys[0]), f"{count} values for {shown(name)}: {', '.join(keys)}; keep one of them")


def _member(findings: Findings, key: str) -> str:
    name = key.removesuffix(".$")
    return name.removesuffix(".=") if name == key and findings.dialect.expressions else name


def _check_member(findings: Findings, loc: Loc, body: Mapping[str, Json], key: str, item: Json) -> None:
    here = (*loc, key)
    if key.endswith(".$"):
        _check_path_member(findings, here, item)
    elif key.endswith(".=") and findings.dialect.expressions:
        _check_expression_member(findings, here, item)
    elif key == PRIVATE_PARAMETERS and findings.dialect.run_context:
        _check_private(findings, here, body, item)
    else:
        check_template(findings, here, item)


def _check_path_member(findings: Findings, loc: Loc, value: Json) -> None:
    if not isinstance(value, str):
        findings.add(loc, "the value of a key that ends in '.$' must be a path such as '$.name'", "type_error.str")
    else:
        _compile_path(findings, loc, value, reference=False)


def _check_expression_member(findings: Findings, loc: Loc, value: Json) -> None:
    if not isinstance(value, str):
        findings.add(loc, "the value of a key that ends in '.=' must be an expression, as text", "type_error.str")
        return
    try:
        compile_expression(value)
    except ExpressionSyntaxError as error:
        findings.add(loc, str(error), "value_error.expression")


def _check_private(findings: Findings, loc: Loc, body: Mapping[str, Json], names: Json) -> None:
    if not is_list(findings, loc, names):
        return
    siblings = {_member(findings, key) for key in body if key != PRIVATE_PARAMETERS}
    for index, name in enumerate(names):
        if is_text(findings, (*loc, index), name) and name not in siblings:
            hint = did_you_mean(findings.nearest(name, siblings))
            findings.add((*loc, index), f"there is no parameter {shown(name)} beside this list to keep private{hint}")


def _wrong_with_url(url: str, allow_http: bool) -> str | None:
    """The first rule that an address breaks, as a sentence."""
    if len(url) > MAX_URL_CHARS:
        return f"the address has {len(url)} characters; the limit is {MAX_URL_CHARS}"
    if any(char.isspace() or unicodedata.category(char) in ("Cc", "Cf") or char == "\\" for char in url):
        return "the address must not hold spaces, backslashes or control characters"
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError as error:
        return f"{shown(url)} is not an address: {error}"
    if parts.scheme != "https" and not (parts.scheme == "http" and allow_http):
        return f"the address must begin with https://, not {shown(url)}"
    if "@" in parts.netloc:
        return "the address must not hold a user name or password"
    if "#" in url:
        return "the address must not hold a fragment (#...)"
    host = parts.netloc if port is None else parts.netloc.rpartition(":")[0]
    if not host.isascii():
        return f"the host {shown(host)} is not plain ASCII; write it in its xn-- form"
    if _HOST.fullmatch(host.removesuffix(":")) is None or port == 0:
        return f"the address {shown(url)} names no host"
    return None
