"""Functions on their way to the service: packed when they are submitted, registered once for each content.

A function is packed as it is at the moment of ``submit``, with the values of the globals and closures it uses. Packing
takes far longer than everything else in ``submit``, so it is skipped as long as everything that went into the packed
form is still the same object and cannot have changed inside; a helper that is defined anew in a notebook, or a list
that grew, makes the function another one.
"""

from __future__ import annotations

import functools
import hashlib
import platform
import sys
import threading
import types
import weakref
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from schemas.json_text import Json

from .. import framing, serialize
from ..wire import MAX_FUNCTION_BYTES, MIB
from .errors import PayloadTooLargeError

#: Values that cannot change inside. Classes and modules are taken to stay what they are.
_CONSTANT = (
    *(bool, int, float, complex, str, bytes, type(None), type(Ellipsis), range),
    *(type, types.ModuleType, types.BuiltinFunctionType),
)
#: A function that leads to more values than this is packed every time.
_MOST_TRACES = 200


@dataclass(frozen=True, slots=True)
class Packed:
    """A function as it is registered. ``is_bytecode`` says that only the same Python can run it."""

    name: str
    code: str
    digest: bytes
    is_bytecode: bool


def pack(fn: Callable[..., Any]) -> Packed:
    """Raises SerializationError, PayloadTooLargeError."""
    return packed(name_of(fn), serialize.dump_function(fn))


def packed(name: str, code: str) -> Packed:
    raw = code.encode()
    if len(raw) > MAX_FUNCTION_BYTES:
        is_source = framing.python_version_of(code) is None
        advice = "data that it refers to is packed with it, so pass that as an argument or read it from a file"
        raise PayloadTooLargeError(
            f"the function {name} is {len(raw) / MIB:.1f} MiB when it is packed, and {MAX_FUNCTION_BYTES // MIB} MiB are "
            f"taken; {'keep data out of its source, and read it from a file' if is_source else advice}"
        )
    digest = hashlib.sha256(f"{name}\n".encode() + raw).digest()
    return Packed(name, code, digest, framing.python_version_of(code) is not None)


def name_of(fn: Callable[..., Any]) -> str:
    return str(getattr(fn, "__name__", None) or type(fn).__name__)


def registration(
    function: Packed,
    *,
    description: str | None = None,
    public: bool = False,
    group: str | None = None,
    on_loss: str | None = None,
    metadata: Mapping[str, Json] | None = None,
) -> dict[str, Json]:
    """The body that registers a function; only what was given is sent."""
    body: dict[str, Json] = {
        "function_name": function.name,
        "function_code": framing.pack([function.code]),
        "serialized": True,
        "meta": {"python_version": platform.python_version(), **(metadata or {})},
    }
    more = {"description": description, "public": public, "group": group, "on_loss": on_loss}
    return body | {name: value for name, value in more.items() if value}


class Functions:
    """Which functions this client has registered. ``register`` sends one and gives its id. May be used by threads."""

    def __init__(self, register: Callable[[Packed], str]) -> None:
        self._register = register
        self._ids: dict[bytes, str] = {}
        self._known: weakref.WeakKeyDictionary[types.FunctionType, _Known] = weakref.WeakKeyDictionary()
        self._lock = threading.Lock()

    def registered(self, fn: Callable[..., Any]) -> tuple[str, bool]:
        """Id of the function, and whether it goes as bytecode; it is registered if it was not."""
        plain = fn if isinstance(fn, types.FunctionType) else None
        known = self._known.get(plain) if plain else None
        if known is not None and known.is_unchanged():
            return known.function_id, known.is_bytecode
        watched = _Known.of(plain) if plain else None  # before packing: what changes meanwhile shows next time
        function = pack(fn)
        with self._lock:
            function_id = self._ids.get(function.digest)
            if function_id is None:
                function_id = self._ids[function.digest] = self._register(function)
            if plain and watched:
                watched.function_id, watched.is_bytecode = function_id, function.is_bytecode
                self._known[plain] = watched
        return function_id, function.is_bytecode

    def remember(self, function: Packed, function_id: str) -> None:
        """From now on this content goes under this id: it was registered with options of its own."""
        with self._lock:
            self._ids[function.digest] = function_id
            self._known.clear()

    def forget(self, function_id: str) -> None:
        with self._lock:
            self._ids = {digest: known for digest, known in self._ids.items() if known != function_id}
            self._known.clear()


class _Known:
    """A function that was packed, and the bindings that went into it: where each is looked up, and what was there."""

    __slots__ = (
        "_closure",
        "_code",
        "_defaults",
        "_function",
        "_globals",
        "_named_defaults",
        "function_id",
        "is_bytecode",
    )

    def __init__(self, fn: types.FunctionType) -> None:
        self._function = weakref.ref(fn)
        self._globals: list[tuple[dict[str, Any], str, Any]] = []
        self._closure: list[tuple[types.CellType, Any]] = []
        self._code = fn.__code__
        self._defaults = fn.__defaults__
        self._named_defaults = fn.__kwdefaults__
        self.function_id = ""
        self.is_bytecode = False

    @classmethod
    def of(cls, fn: types.FunctionType) -> _Known | None:
        """None when something that the function uses may change without being bound anew."""
        known = cls(fn)
        return known if known._trace(fn) else None

    def is_unchanged(self) -> bool:
        function = self._function()
        if function is None or function.__code__ is not self._code:
            return False
        if function.__defaults__ is not self._defaults or function.__kwdefaults__ is not self._named_defaults:
            return False
        try:
            return all(names.get(name, _ABSENT) is value for names, name, value in self._globals) and all(
                cell.cell_contents is value for cell, value in self._closure
            )
        except ValueError:  # a cell was emptied
            return False

    def _trace(self, first: types.FunctionType) -> bool:
        seen: set[int] = set()
        waiting: list[Any] = [first]
        while waiting:
            item = waiting.pop()
            if id(item) in seen or isinstance(item, _CONSTANT) or item is _ABSENT:
                continue
            seen.add(id(item))
            if isinstance(item, tuple | frozenset):
                waiting.extend(item)
            elif not isinstance(item, types.FunctionType) or len(seen) > _MOST_TRACES:
                return False
            elif _travels(item, first):
                waiting.extend(self._bindings(item))
        return True

    def _bindings(self, fn: types.FunctionType) -> Iterator[Any]:
        yield fn.__defaults__
        if fn.__kwdefaults__:
            yield from fn.__kwdefaults__.values()
        if vars(fn):
            yield vars(fn)  # attributes of a function travel with it, and may change
        for name in _names(fn.__code__):
            value = fn.__globals__.get(name, _ABSENT)
            self._globals.append((fn.__globals__, name, value))
            yield value
        for cell in fn.__closure__ or ():
            try:
                value = cell.cell_contents
            except ValueError:
                value = _ABSENT
            else:
                self._closure.append((cell, value))
            yield value


_ABSENT = object()


def _travels(fn: types.FunctionType, first: types.FunctionType) -> bool:
    """Whether the function may be packed by value with ``first``; others are imported by name where the task runs."""
    module = fn.__module__ or ""
    return module == "__main__" or module not in sys.modules or _package(module) == _package(first.__module__ or "")


def _package(module: str) -> str:
    return module.partition(".")[0]


@functools.lru_cache(maxsize=1024)
def _names(code: types.CodeType) -> frozenset[str]:
    """Names that the code, and code inside it, may look up among its globals."""
    names = set(code.co_names)
    for constant in code.co_consts:
        if isinstance(constant, types.CodeType):
            names |= _names(constant)
    return frozenset(names)
