"""What of a user's own code travels with a function: which modules count as theirs, and their source lines.

A module that is not installed (standard library, site-packages, this distribution) exists on its author's machine
alone, so what a function uses of it goes along with the function. Nothing is pickled here.
"""

from __future__ import annotations

import base64
import contextlib
import functools
import inspect
import linecache
import os
import site
import sys
import sysconfig
import threading
import tokenize
import zlib
from collections.abc import Iterator
from pathlib import Path
from types import CodeType, FunctionType, ModuleType
from typing import Any, Final

from . import framing

#: Most functions whose source goes along, and most characters of it.
MAX_SOURCES: Final = 200
MAX_SOURCE_CHARS: Final = 256 * 1024

_OURS: Final = ("compute_agent", "schemas", "flows_engine", "action_providers", "timers")
_lock = threading.RLock()


@contextlib.contextmanager
def modules_travel(cloudpickle: Any, *, only: str = "") -> Iterator[None]:
    """While open, cloudpickle takes functions and classes of the user's own modules whole; or of the module ``only``."""
    with _lock:
        registered = cloudpickle.list_registry_pickle_by_value()
        named = [
            module
            for module in _own_modules()
            if module.__name__ not in registered and (not only or module.__name__ == only)
        ]
        for module in named:
            cloudpickle.register_pickle_by_value(module)
        try:
            yield
        finally:
            for module in named:
                cloudpickle.unregister_pickle_by_value(module)


def _own_modules() -> list[ModuleType]:
    return [
        module
        for name, module in list(sys.modules.items())
        if isinstance(module, ModuleType) and module.__name__ == name and _is_own(module)
    ]


def _is_own(module: ModuleType) -> bool:
    file = module.__dict__.get("__file__")
    return isinstance(file, str) and not _is_installed(file, module.__name__.count("."))


@functools.lru_cache(maxsize=10_000)
def _is_installed(file: str, depth: int) -> bool:
    path = Path(os.path.realpath(file))
    if {"site-packages", "dist-packages"} & set(path.parts) or str(path).startswith(_installed_places()):
        return True
    levels = depth + path.name.startswith("__init__.")
    return levels < len(path.parents) and _holds_distributions(path.parents[levels])


@functools.cache
def _holds_distributions(directory: Path) -> bool:
    """Whether packages were installed into the directory, as clusters do with directories of their own."""
    return next(directory.glob("*.dist-info"), None) is not None


@functools.cache
def _installed_places() -> tuple[str, ...]:
    paths = [sysconfig.get_paths()[name] for name in ("stdlib", "platstdlib", "purelib", "platlib")]
    paths.append(site.getusersitepackages())
    here = Path(__file__).resolve().parent.parent
    paths += [str(here / name) for name in _OURS]
    return tuple(os.path.realpath(path) + os.sep for path in paths)


def packed_sources(function: object) -> str:
    """Source lines of the function and of those of the user's that it calls, as text without blanks; may be empty."""
    found: dict[str, list[list[Any]]] = {}
    left = MAX_SOURCE_CHARS
    for one in _functions_of(function):
        code = one.__code__
        text = _source_lines(code, one.__globals__)
        left -= len(text)
        if text and left >= 0:
            found.setdefault(code.co_filename, []).append([code.co_firstlineno, text])
    if not found:
        return ""
    return base64.b64encode(zlib.compress(framing.encode(found).encode())).decode()


def unpacked_sources(text: str) -> dict[str, dict[int, str]]:
    """Lines by file name and number. Raises ValueError for other text."""
    try:
        # a few KiB can unpack to gigabytes: no more is unpacked than is ever packed, with room for the escapes of JSON
        raw = zlib.decompressobj().decompress(base64.b64decode(text), 8 * MAX_SOURCE_CHARS)
        found = framing.parse_json(raw.decode())
        return {
            file: {
                first + number: line
                for first, block in blocks
                for number, line in enumerate(block.splitlines(keepends=True))
            }
            for file, blocks in found.items()
        }
    except (zlib.error, TypeError, AttributeError) as error:
        raise ValueError(f"the source lines of the function cannot be read: {error}") from error


def parts_of(value: object) -> Iterator[tuple[str, object]]:
    """What a value holds, with the way to it as Python would write it: ``("['a']", ...)``, ``(".lock", ...)``."""
    if isinstance(value, dict):
        for key, item in value.items():
            yield f"[{key!r}]", item
    elif isinstance(value, list | tuple | set | frozenset):
        for number, item in enumerate(value):
            yield f"[{number}]", item
    elif isinstance(value, FunctionType):
        variables = inspect.getclosurevars(value)
        for name, item in (*variables.nonlocals.items(), *variables.globals.items()):
            yield f".{name}", item
    elif isinstance(value, functools.partial):
        yield ".func", value.func
        yield ".args", value.args
        yield ".keywords", value.keywords
    elif inspect.ismethod(value):
        yield ".__self__", value.__self__
    else:
        for name, item in getattr(value, "__dict__", {}).items():
            yield f".{name}", item


def _functions_of(function: object) -> list[FunctionType]:
    """The function and those of the user's own that it reaches by name, closure, decoration or class."""
    found: dict[int, FunctionType] = {}
    waiting: list[object] = [function]
    while waiting and len(found) < MAX_SOURCES:
        one = waiting.pop()
        if isinstance(one, functools.partial):
            waiting.append(one.func)
        elif inspect.ismethod(one) or isinstance(one, staticmethod | classmethod):
            waiting.append(one.__func__)
        elif isinstance(one, type):
            if _travels(one):
                waiting += [
                    item for item in vars(one).values() if isinstance(item, FunctionType | staticmethod | classmethod)
                ]
        elif isinstance(one, FunctionType):
            if id(one) not in found and _travels(one):
                found[id(one)] = one
                waiting += _used_by(one)
        elif type(one).__module__ != "builtins" and one is function:
            waiting.append(type(one))
    return list(found.values())


def _travels(one: FunctionType | type) -> bool:
    module = sys.modules.get(one.__module__ or "")
    return module is None or one.__module__ == "__main__" or _is_own(module)


def _used_by(function: FunctionType) -> Iterator[object]:
    for name in _names(function.__code__):
        yield function.__globals__.get(name)
    for cell in function.__closure__ or ():
        with contextlib.suppress(ValueError):  # an empty cell
            yield cell.cell_contents


def _names(code: CodeType) -> set[str]:
    names = set(code.co_names)
    for constant in code.co_consts:
        if isinstance(constant, CodeType):
            names |= _names(constant)
    return names


def _source_lines(code: CodeType, module_globals: dict[str, Any]) -> str:
    lines = linecache.getlines(code.co_filename, module_globals)[code.co_firstlineno - 1 :]
    try:
        return "".join(inspect.getblock(lines)) if lines else ""
    except (SyntaxError, tokenize.TokenError):  # the file was changed since it was loaded
        return ""
