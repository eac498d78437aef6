"""Functions and methods that expressions may call: exactly these, each bounded before it runs.

There is no ``rand`` or ``randint``: a step must give the same result when it is done again after a crash. A random
value belongs into the run's input or into an action.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, TypeAlias

from schemas.json_text import Json

from .errors import EvaluationError, PathSyntaxError
from .expression_values import (
    MAX_ITEMS,
    OperationError,
    Work,
    cells_of,
    check_item_count,
    check_number,
    check_text_size,
    is_count,
    is_number,
    items_to_visit,
    text_of,
)
from .paths import MISSING, Path, compile_path, kind_of

#: ``/~/`` is the home directory of a Globus collection; it is never split.
_HOME = "/~/"
_MAX_NUMERAL_CHARS = 400
_MAX_STRIP_CHARS = 256

#: Looking at a value inside a path is this much cheaper than a form of the language.
VISITS_PER_UNIT = 4

Function: TypeAlias = Callable[..., Json]


@dataclass(frozen=True, slots=True)
class Signature:
    """``call(work, *arguments)`` with ``least`` to ``most`` arguments."""

    call: Function
    least: int
    most: int


def state_path(text: Json) -> Path:
    """The path in the run state that ``is_present`` and ``getattr`` are asked for (``a.b[0].c``)."""
    if not isinstance(text, str):
        raise OperationError(f"the path must be text such as 'a.b[0].c', not {kind_of(text)}")
    try:
        return compile_path(text if text.startswith("$") else f"${text}" if text.startswith("[") else f"$.{text}")
    except PathSyntaxError as error:
        raise OperationError(str(error)) from None


def find_path(work: Work, path: Path) -> Json:
    """The value at a path of the run state, or MISSING; paid for by what was visited."""
    try:
        value, visited = path.find_within(work.scope, work.fuel * VISITS_PER_UNIT)
    except EvaluationError as error:
        raise OperationError(error.cause.rstrip(".")) from None
    work.spend(visited // VISITS_PER_UNIT)
    return value


def _is_present(work: Work, text: Json) -> Json:
    path = _path_argument(work, text)
    value = find_path(work, path)
    return value is not MISSING and (path.is_definite or bool(value))


def _getattr(work: Work, text: Json, default: Json = None) -> Json:
    value = find_path(work, _path_argument(work, text))
    return default if value is MISSING else value


def _path_argument(work: Work, text: Json) -> Path:
    """A literal was compiled with the expression; other text is paid for, as it must be compiled now."""
    if isinstance(text, Path):
        return text
    if isinstance(text, str):
        work.spend(len(text) // 2)
    return state_path(text)


def _pathsplit(work: Work, path: Json) -> Json:
    """``/a/b/c`` gives ``["/a/b", "c"]``; ``/~/c`` gives ``["/~/", "c"]`` (Globus Flows, "Expressions")."""
    if not isinstance(path, str):
        raise OperationError(f"pathsplit() needs text, not {kind_of(path)}")
    work.spend_on_text(path)
    parent, slash, last = path.rpartition("/")
    if parent + slash == _HOME:
        return [_HOME, last]
    return [parent.rstrip("/") or parent + slash, last]


def _len(_work: Work, value: Json) -> Json:
    if not isinstance(value, str | list | dict):
        raise OperationError(f"{kind_of(value)} has no length")
    return len(value)


def _str(work: Work, value: Json = "") -> Json:
    return text_of(work, value)


def _int(_work: Work, value: Json = 0) -> Json:
    return check_number(int(_numeral("int", value)))


def _float(_work: Work, value: Json = 0.0) -> Json:
    return check_number(float(_numeral("float", value)))


def _numeral(name: str, value: Json) -> Any:
    if is_number(value):
        return value
    if not isinstance(value, str):
        raise OperationError(f"{name}() needs a number or text, not {kind_of(value)}")
    if len(value) <= _MAX_NUMERAL_CHARS:
        try:
            return int(value) if name == "int" else float(value)
        except ValueError:
            pass  # the sentence below says it
    raise OperationError(f"{name}() cannot read the text as a {'whole ' if name == 'int' else ''}number")


def _bool(_work: Work, value: Json = False) -> Json:
    return bool(value)


def _list(work: Work, value: Json = None) -> Json:
    items = [] if value is None else items_to_visit(value)
    work.spend(len(items) // 8)
    return items


def _abs(_work: Work, value: Json) -> Json:
    _need_number("abs", value)
    return check_number(abs(value))


def _round(_work: Work, value: Json, digits: Json = None) -> Json:
    _need_number("round", value)
    if digits is None:
        return check_number(round(value))
    if not is_count(digits) or abs(digits) > 20:
        raise OperationError("round() takes a whole number of digits between -20 and 20")
    return check_number(round(value, digits))


def _min(work: Work, *values: Json) -> Json:
    return min(_comparable(work, "min", values))


def _max(work: Work, *values: Json) -> Json:
    return max(_comparable(work, "max", values))


def _sorted(work: Work, values: Json) -> Json:
    if values == []:
        return []
    items = _comparable(work, "sorted", (values,))
    work.spend(len(items))
    return sorted(items)


def _sum(work: Work, values: Json) -> Json:
    if not isinstance(values, list):
        raise OperationError(f"sum() needs an array of numbers, not {kind_of(values)}")
    work.spend(len(values) // 4)
    total: Json = 0
    for value in values:
        _need_number("sum", value)
        total = check_number(total + value)
    return total


def _range(work: Work, *bounds: Json) -> Json:
    if not all(is_count(bound) for bound in bounds):
        raise OperationError("range() takes whole numbers")
    if len(bounds) == 3 and bounds[2] == 0:
        raise OperationError("the step of range() cannot be 0")
    numbers = range(*bounds)
    try:
        count = len(numbers)
    except OverflowError:
        count = MAX_ITEMS + 1
    check_item_count(count)
    work.spend(count // 8)
    return list(numbers)


def _comparable(work: Work, name: str, values: tuple[Json, ...]) -> list[Json]:
    items = values[0] if len(values) == 1 else list(values)
    if not isinstance(items, list):
        raise OperationError(f"{name}() needs an array or several values, not {kind_of(items)}")
    if not items:
        raise OperationError(f"{name}() of an empty array has no value")
    work.spend(cells_of(items, work.fuel) // 2)
    if not all(map(is_number, items)) and not all(isinstance(item, str) for item in items):
        raise OperationError(f"{name}() needs only numbers or only texts")
    return items


def _need_number(name: str, value: Json) -> None:
    if not is_number(value):
        raise OperationError(f"{name}() needs a number, not {kind_of(value)}")


FUNCTIONS: Mapping[str, Signature] = {
    "pathsplit": Signature(_pathsplit, 1, 1),
    "is_present": Signature(_is_present, 1, 1),
    "getattr": Signature(_getattr, 1, 2),
    "len": Signature(_len, 1, 1),
    "str": Signature(_str, 0, 1),
    "int": Signature(_int, 0, 1),
    "float": Signature(_float, 0, 1),
    "bool": Signature(_bool, 0, 1),
    "list": Signature(_list, 0, 1),
    "min": Signature(_min, 1, 100),
    "max": Signature(_max, 1, 100),
    "sum": Signature(_sum, 1, 1),
    "abs": Signature(_abs, 1, 1),
    "round": Signature(_round, 1, 2),
    "sorted": Signature(_sorted, 1, 1),
    "range": Signature(_range, 1, 3),
}


def _same_size(text: str, *_: Json) -> int:
    return len(text)


@dataclass(frozen=True, slots=True)
class TextMethod:
    """``kinds`` has a letter per argument: ``t`` text, ``s`` separator (text that is not empty, or null), ``c`` one
    character, ``i`` whole number, ``l`` array of texts, ``x`` few characters. ``size`` foretells the result's length.
    """

    call: Function
    kinds: str = ""
    least: int = 0
    size: Callable[..., int] = _same_size


def call_method(work: Work, value: Json, name: str, arguments: list[Json]) -> Json:
    """``value.name(*arguments)`` for a method of the tables below."""
    if isinstance(value, str) and name in TEXT_METHODS:
        return _call_text_method(work, value, name, arguments)
    if isinstance(value, dict) and name in OBJECT_METHODS:
        check_argument_count(name, OBJECT_METHODS[name], len(arguments))
        work.spend(len(value) // 8)
        return OBJECT_METHODS[name].call(value, *arguments)
    if isinstance(value, list) and name in LIST_METHODS:
        check_argument_count(name, LIST_METHODS[name], len(arguments))
        work.spend(cells_of(value, work.fuel))
        return LIST_METHODS[name].call(value, *arguments)
    raise OperationError(f"{kind_of(value)} has no method {name!r}")


def check_argument_count(name: str, signature: Signature, count: int) -> None:
    if not signature.least <= count <= signature.most:
        raise OperationError(f"{name}() takes {_span(signature.least, signature.most)}, not {count}")


def _call_text_method(work: Work, text: str, name: str, arguments: list[Json]) -> Json:
    method = TEXT_METHODS[name]
    if not method.least <= len(arguments) <= len(method.kinds):
        raise OperationError(f"{name}() of a text takes {_span(method.least, len(method.kinds))}, not {len(arguments)}")
    work.spend_on_text(text)
    for kind, argument in zip(method.kinds, arguments, strict=False):
        _check_argument(work, name, kind, argument)
    check_text_size(method.size(text, *arguments))
    result = method.call(text, *arguments)
    if isinstance(result, str):
        check_text_size(len(result))
        work.spend_on_text(result)
    elif isinstance(result, list):
        check_item_count(len(result))
        work.spend(len(result) // 8)
    return result


def _check_argument(work: Work, name: str, kind: str, argument: Json) -> None:
    if kind == "i":
        _expect(is_count(argument), name, "a whole number", argument)
    elif kind == "l":
        _expect(isinstance(argument, list), name, "an array of texts", argument)
        work.spend(cells_of(argument, work.fuel))
        _expect(all(isinstance(item, str) for item in argument), name, "an array of texts", argument)
    elif argument is None and kind in "sx":
        return
    else:
        _expect(isinstance(argument, str), name, "text", argument)
        work.spend_on_text(argument)
        if kind == "s" and not argument:
            raise OperationError(f"{name}() cannot split at empty text")
        if kind == "c" and len(argument) != 1:
            raise OperationError(f"{name}() fills with exactly one character")
        if kind == "x" and len(argument) > _MAX_STRIP_CHARS:
            raise OperationError(f"{name}() takes at most {_MAX_STRIP_CHARS} characters")


def _expect(holds: bool, name: str, wanted: str, argument: Json) -> None:
    if not holds:
        raise OperationError(f"{name}() takes {wanted}, not {kind_of(argument)}")


def _span(least: int, most: int) -> str:
    if most == 0:
        return "no arguments"
    return f"{least} argument{'s' * (least != 1)}" if least == most else f"{least} to {most} arguments"


def _replaced_size(text: str, old: str, new: str, limit: int = -1) -> int:
    count = text.count(old)
    if limit >= 0:
        count = min(count, limit)
    return max(len(text), len(text) + count * (len(new) - len(old)))


def _joined_size(glue: str, parts: list[str]) -> int:
    return sum(map(len, parts)) + len(glue) * max(0, len(parts) - 1)


def _padded_size(text: str, width: int, *_: str) -> int:
    return max(len(text), width)


def _unbounded(*_: Json) -> int:
    """For questions about a text of any length, which make no text."""
    return 0


TEXT_METHODS: Mapping[str, TextMethod] = {
    "upper": TextMethod(str.upper),
    "lower": TextMethod(str.lower),
    "title": TextMethod(str.title),
    "capitalize": TextMethod(str.capitalize),
    "strip": TextMethod(str.strip, "x"),
    "lstrip": TextMethod(str.lstrip, "x"),
    "rstrip": TextMethod(str.rstrip, "x"),
    "removeprefix": TextMethod(str.removeprefix, "t", 1),
    "removesuffix": TextMethod(str.removesuffix, "t", 1),
    "split": TextMethod(str.split, "si"),
    "rsplit": TextMethod(str.rsplit, "si"),
    "splitlines": TextMethod(str.splitlines),
    "replace": TextMethod(str.replace, "tti", 2, _replaced_size),
    "join": TextMethod(str.join, "l", 1, _joined_size),
    "zfill": TextMethod(str.zfill, "i", 1, _padded_size),
    "ljust": TextMethod(str.ljust, "ic", 1, _padded_size),
    "rjust": TextMethod(str.rjust, "ic", 1, _padded_size),
    "startswith": TextMethod(str.startswith, "t", 1, _unbounded),
    "endswith": TextMethod(str.endswith, "t", 1, _unbounded),
    "find": TextMethod(str.find, "tii", 1, _unbounded),
    "count": TextMethod(str.count, "t", 1, _unbounded),
    "isdigit": TextMethod(str.isdigit, size=_unbounded),
    "isalpha": TextMethod(str.isalpha, size=_unbounded),
    "isalnum": TextMethod(str.isalnum, size=_unbounded),
}


def _object_get(value: dict[str, Json], key: Json, default: Json = None) -> Json:
    return value.get(key, default) if isinstance(key, str) else default


#: Read-only, and each gives plain JSON. A key of the same name is read without parentheses (``x.items``).
OBJECT_METHODS: Mapping[str, Signature] = {
    "get": Signature(_object_get, 1, 2),
    "keys": Signature(lambda value: list(value), 0, 0),
    "values": Signature(lambda value: list(value.values()), 0, 0),
    "items": Signature(lambda value: [[key, item] for key, item in value.items()], 0, 0),
}

LIST_METHODS: Mapping[str, Signature] = {"count": Signature(lambda value, item: value.count(item), 1, 1)}

METHODS = frozenset(TEXT_METHODS) | frozenset(OBJECT_METHODS) | frozenset(LIST_METHODS)
