"""Values that JSON lacks, as JSON: ``{"$": tag, "v": content}``. Exact both ways, and reading them runs no code.

Types are met exactly: a subclass may hold more than its base, and is left to be pickled; arrays travel as their bytes.
"""

from __future__ import annotations

import base64
import datetime as dt
import importlib
import json
import math
import pathlib
import re
import sys
import uuid
import zoneinfo
from collections.abc import Callable, Mapping
from decimal import Decimal
from typing import Any, Final

from schemas.json_text import Json

from .framing import CONTENT, TAG, Bounds, encode
from .shell import ShellResult

_PLAIN_DTYPE = re.compile(
    r"[<>|=]?(?:[biu][1248]|b1|f[248]|c8|c16|[SU][0-9]{1,9}|[mM]8(?:\[[0-9]{0,4}[A-Za-z]{1,2}\])?)"
)
_LEAVES: Final = frozenset({str, bool, type(None)})
_INT_MIN, _INT_MAX = -(2**63), 2**63 - 1


class Foreign(Exception):
    """The value holds something that has no tag."""


def dumps(value: object) -> str:
    """The value as JSON text with tags.

    Raises:
        Foreign: something in it has no tag.
        FramingError: it is recursive, too deep or too large.
    """
    return encode(_tagged(value, Bounds()))


def loads(text: str) -> Any:
    """The value that ``dumps`` wrote. Raises KeyError, TypeError, ValueError or ImportError for other text."""
    return json.loads(text, object_hook=_untagged)


def _tagged(value: Any, bounds: Bounds) -> Json:
    kind = type(value)
    if kind in _LEAVES:
        if kind is str:
            bounds.spend(len(value))
        return value
    if kind is int:
        return value if _INT_MIN <= value <= _INT_MAX else _tag("int", hex(value))
    if kind is float:
        return value if math.isfinite(value) else _tag("float", repr(value))
    if kind in _CONTAINERS:
        bounds.enter(value)
        items = [_tagged(item, bounds) for item in value]
        bounds.leave(value)
        return items if kind is list else _tag(kind.__name__, items)
    if kind is dict:
        return _tagged_dict(value, bounds)
    if (write := _WRITERS.get(kind)) is not None:
        return write(value)
    return _tagged_array(value, bounds)


_CONTAINERS: Final = frozenset({list, tuple, set, frozenset})


def _tag(tag: str, content: Json, **more: Json) -> dict[str, Json]:
    return {TAG: tag, CONTENT: content, **more}


def _tagged_dict(value: dict[Any, Any], bounds: Bounds) -> Json:
    bounds.enter(value)
    if TAG not in value and all(type(name) is str for name in value):
        bounds.spend(sum(map(len, value)))
        document: Json = {name: _tagged(item, bounds) for name, item in value.items()}
    else:
        document = _tag("dict", [[_tagged(name, bounds), _tagged(item, bounds)] for name, item in value.items()])
    bounds.leave(value)
    return document


def _tagged_array(value: Any, bounds: Bounds) -> Json:
    numpy = sys.modules.get("numpy")  # who has an array has loaded it
    if numpy is None or not (type(value) is numpy.ndarray or isinstance(value, numpy.generic)):
        raise Foreign
    if not _PLAIN_DTYPE.fullmatch(dtype := value.dtype.str) or value.dtype.metadata:
        raise Foreign
    bounds.spend(value.nbytes * 4 // 3)
    if isinstance(value, numpy.generic):
        return _tag("scalar", _base64(value.tobytes()), dtype=dtype)
    in_fortran_order = value.flags.f_contiguous and not value.flags.c_contiguous
    more = {"order": "F"} if in_fortran_order else {}
    content = _base64(value.tobytes(order="F" if in_fortran_order else "C"))
    return _tag("ndarray", content, dtype=dtype, shape=list(value.shape), **more)


def _base64(raw: bytes) -> str:
    return base64.b64encode(raw).decode()


def _write_datetime(value: dt.datetime) -> Json:
    more = {"fold": 1} if value.fold else {}
    if type(value.tzinfo) is zoneinfo.ZoneInfo and value.tzinfo.key:
        return _tag("datetime", value.isoformat(), zone=value.tzinfo.key, **more)
    return _tag("datetime", _iso(value), **more)


def _write_time(value: dt.time) -> Json:
    return _tag("time", _iso(value), **({"fold": 1} if value.fold else {}))


def _iso(value: dt.datetime | dt.time) -> str:
    if value.tzinfo is not None and type(value.tzinfo) is not dt.timezone:
        raise Foreign
    return value.isoformat()


_WRITERS: Final[Mapping[type, Callable[[Any], Json]]] = {
    bytes: lambda value: _tag("bytes", _base64(value)),
    bytearray: lambda value: _tag("bytearray", _base64(value)),
    complex: lambda value: _tag("complex", [repr(value.real), repr(value.imag)]),
    dt.datetime: _write_datetime,
    dt.date: lambda value: _tag("date", value.isoformat()),
    dt.time: _write_time,
    dt.timedelta: lambda value: _tag("timedelta", [value.days, value.seconds, value.microseconds]),
    Decimal: lambda value: _tag("decimal", str(value)),
    uuid.UUID: lambda value: _tag("uuid", str(value)),
    type(pathlib.Path()): lambda value: _tag("path", str(value)),
    pathlib.PurePosixPath: lambda value: _tag("posix_path", str(value)),
    pathlib.PureWindowsPath: lambda value: _tag("windows_path", str(value)),
    ShellResult: lambda value: _tag("ShellResult", value.to_json()),
}


def _untagged(document: dict[str, Any]) -> Any:
    if TAG not in document:
        return document
    return _READERS[document[TAG]](document[CONTENT], document)


def _read_datetime(content: str, document: Mapping[str, Any]) -> dt.datetime:
    value = dt.datetime.fromisoformat(content).replace(fold=document.get("fold", 0))
    return value if "zone" not in document else value.replace(tzinfo=zoneinfo.ZoneInfo(document["zone"]))


def _read_array(content: str, document: Mapping[str, Any]) -> Any:
    numpy = importlib.import_module("numpy")  # only where arrays arrive: it is nobody's dependency
    flat = numpy.frombuffer(base64.b64decode(content), dtype=_dtype(document))
    return flat.reshape(document["shape"], order=document.get("order", "C")).copy(order="K")


def _read_scalar(content: str, document: Mapping[str, Any]) -> Any:
    numpy = importlib.import_module("numpy")
    return numpy.frombuffer(base64.b64decode(content), dtype=_dtype(document))[0]


def _dtype(document: Mapping[str, Any]) -> str:
    dtype = document["dtype"]
    if not isinstance(dtype, str) or not _PLAIN_DTYPE.fullmatch(dtype):
        raise ValueError(f"an array of dtype {dtype!r} does not travel as JSON")
    return dtype


_READERS: Final[Mapping[str, Callable[[Any, Mapping[str, Any]], Any]]] = {
    "tuple": lambda content, _: tuple(content),
    "set": lambda content, _: set(content),
    "frozenset": lambda content, _: frozenset(content),
    "dict": lambda content, _: dict(content),
    "int": lambda content, _: int(content, 16),
    "float": lambda content, _: float(content),
    "complex": lambda content, _: complex(float(content[0]), float(content[1])),
    "bytes": lambda content, _: base64.b64decode(content),
    "bytearray": lambda content, _: bytearray(base64.b64decode(content)),
    "datetime": _read_datetime,
    "date": lambda content, _: dt.date.fromisoformat(content),
    "time": lambda content, document: dt.time.fromisoformat(content).replace(fold=document.get("fold", 0)),
    "timedelta": lambda content, _: dt.timedelta(*content),
    "decimal": lambda content, _: Decimal(content),
    "uuid": lambda content, _: uuid.UUID(content),
    "path": lambda content, _: pathlib.Path(content),
    "posix_path": lambda content, _: pathlib.PurePosixPath(content),
    "windows_path": lambda content, _: pathlib.PureWindowsPath(content),
    "ShellResult": lambda content, _: ShellResult(**content),
    "ndarray": _read_array,
    "scalar": _read_scalar,
}
