"""Functions, arguments and results as text, and back. The only module that pickles.

Values travel as JSON wherever that keeps them exactly, so that most results can be read by anybody; only what JSON
cannot keep is pickled, and a client unpickles a result only if it says so. Functions are pickled whole, together with
what they use of their author's own modules, since those modules are not installed where tasks run.
"""

from __future__ import annotations

import base64
import binascii
import io
import pickle
import platform
import textwrap
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from . import by_value, framing, tagged_json
from .framing import MAX_TEXT, FramingError
from .shell import ShellFunction

#: Where functions are defined that were sent as source.
SOURCE_MODULE = "submitted_function"

_RUNNING_VERSION = platform.python_version()
_MOST_SEARCHED = 1000


class SerializationError(ValueError):
    """A function or value cannot be sent. The text names the type and where in the value it is."""


class ValueTooLarge(SerializationError):
    """The value has more bytes as text than may be sent."""


class DeserializationError(ValueError):
    """Text cannot be made a function or value here. The text says why and what to do."""


class PickleRefused(DeserializationError):
    """The text is pickled, and reading it was not allowed."""


class PythonVersionMismatch(DeserializationError):
    """A function was made by another minor version of Python. The text names both."""


def dump_arguments(args: Sequence[Any], kwargs: Mapping[str, Any]) -> str:
    """The payload of a task: two packed buffers, the positional and the named arguments.

    Raises:
        SerializationError: an argument cannot be sent; the text says which.
    """
    for name in kwargs:
        if not isinstance(name, str):
            raise SerializationError(f"the name of a keyword argument must be text, not {name!r}")
    try:
        return framing.pack([dump_data(list(args)), dump_data(dict(kwargs))])
    except ValueTooLarge:
        raise
    except SerializationError:
        named = [*((f"argument {number}", value) for number, value in enumerate(args, 1)), *kwargs.items()]
        for name, value in named:
            try:
                dump_data(value)
            except SerializationError as error:
                raise SerializationError(
                    f"{name} cannot be sent: {error}; pass plain data, and make the rest inside the function"
                ) from error
        raise


def load_arguments(payload: str, *, allow_pickle: bool = True) -> tuple[tuple[Any, ...], dict[str, Any]]:
    """Positional and named arguments of a payload.

    Raises:
        DeserializationError: they cannot be read; PickleRefused: they are pickled and that is not allowed.
    """
    try:
        buffers = framing.unpack(payload)
    except FramingError as error:
        raise DeserializationError(f"the arguments cannot be read: {error}") from error
    if len(buffers) != 2:
        raise DeserializationError(
            f"the arguments cannot be read: two buffers were expected, positional and named ones, not {len(buffers)}"
        )
    args, kwargs = (load_data(buffer, allow_pickle=allow_pickle) for buffer in buffers)
    if not isinstance(args, list | tuple) or not isinstance(kwargs, dict):
        raise DeserializationError(
            "the arguments cannot be read: a list and a dictionary were expected, not "
            f"{type(args).__name__} and {type(kwargs).__name__}"
        )
    return tuple(args), kwargs


def dump_data(value: object, *, max_bytes: int | None = None) -> str:
    """The value as one buffer of ASCII text: JSON if that keeps it exactly, else JSON with tags, else pickled.

    Raises:
        SerializationError: it cannot be sent; ValueTooLarge: its text has more than ``max_bytes``.
    """
    try:
        buffer = _dump_data(value)
    except framing.TooMuchText as error:
        raise ValueTooLarge(str(error)) from error
    except FramingError as error:
        raise SerializationError(str(error)) from error
    except RecursionError as error:
        raise SerializationError(f"a {type(value).__name__} cannot be sent: it is nested too deeply") from error
    if max_bytes is not None and len(buffer) > max_bytes:
        raise ValueTooLarge(f"the value has {len(buffer):,} bytes as text")
    return buffer


def _dump_data(value: object) -> str:
    if (text := framing.json_text(value)) is not None:
        return framing.join(framing.JSON_DATA, text)
    try:
        return framing.join(framing.TAGGED_DATA, tagged_json.dumps(value))
    except tagged_json.Foreign:
        return framing.join(framing.PICKLED_DATA, _pickled(value))


def load_data(text: str, *, allow_pickle: bool) -> Any:
    """The value of a buffer, packed or not.

    Raises:
        DeserializationError: it cannot be read; PickleRefused: it is pickled and ``allow_pickle`` is False.
    """
    try:
        kind, payload = framing.split(framing.unwrap(text))
        if kind == framing.PACKED_DATA:
            # the JSON one, if there is one, is read by everybody
            kind, payload = min(map(framing.split, framing.unpack(payload)), key=lambda part: part[0] in _PICKLED)
        if kind == framing.JSON_DATA:
            return framing.parse_json(payload)
        if kind == framing.TAGGED_DATA:
            return tagged_json.loads(payload)
    except ImportError as error:
        raise DeserializationError(f"the value cannot be read: {error}; install it here") from error
    # ArithmeticError and OSError: numbers and time zones that do not exist
    except (ValueError, TypeError, LookupError, AttributeError, RecursionError, ArithmeticError, OSError) as error:
        raise DeserializationError(f"the value cannot be read: {_words(error)}") from error
    if kind not in _PICKLED:
        raise DeserializationError(f"a value was expected, and {framing.describe(text)} was sent")
    if not allow_pickle:
        raise PickleRefused(
            "the result is pickled, and unpickling runs code of whoever made it; pass allow_pickle=True if you trust "
            "the endpoint"
        )
    return _unpickled(payload, "the value", with_dill=kind == framing.DILL_DATA)


_PICKLED = frozenset({framing.PICKLED_DATA, framing.DILL_DATA})


def dump_function(function: Callable[..., Any]) -> str:
    """The function as one buffer; it needs nothing of its author's machine but installed packages.

    Raises:
        SerializationError: it cannot be sent, mostly because it uses something that exists in one process only.
    """
    if isinstance(function, ShellFunction):
        return framing.join(framing.SHELL, framing.encode(function.to_json()))
    if not callable(function):
        raise SerializationError(f"a function was expected, not {_type_of(function)}")
    name = getattr(function, "__name__", type(function).__name__)
    try:
        payload = f"{_RUNNING_VERSION} {_pickled(function)}"
    except ValueTooLarge:
        raise
    except SerializationError as error:
        raise SerializationError(
            f"the function {name} cannot be sent: {error}; make it inside the function, or leave it out"
        ) from error
    if sources := by_value.packed_sources(function):
        payload += f" {sources}"
    return framing.join(framing.PICKLED_CODE, payload)


def load_function(code: str, *, python_version: str = "") -> Callable[..., Any]:
    """The function of a registration. ``python_version`` is what the registration said, for code that does not say it.

    Raises:
        DeserializationError: it cannot be made here; PythonVersionMismatch: another minor version of Python made it,
            which was noticed before anything was unpickled.
    """
    try:
        kind, payload = framing.split(framing.unpack_code(code))
        parts = _parts(kind, payload)
    except FramingError as error:
        raise DeserializationError(f"the function cannot be read: {error}") from error
    failure: DeserializationError | None = None
    for part in parts:
        try:
            return _load_part(*part, python_version)
        except DeserializationError as error:
            failure = failure or error
    raise failure or DeserializationError("the function cannot be read: its code is empty")


def sources_of(code: str) -> dict[str, dict[int, str]]:
    """Source lines that were sent with a function, ``{file name: {line number: line}}``, for tracebacks."""
    try:
        kind, payload = framing.split(framing.unpack_code(code))
        if kind == framing.PICKLED_CODE:
            return by_value.unpacked_sources(payload.split(" ")[2]) if payload.count(" ") == 2 else {}
        for part_kind, part in _parts(kind, payload):
            if part_kind in _SOURCES:
                name, source = _name_and_source(part)
                return {_file_name(name): dict(enumerate(source.splitlines(keepends=True), 1))}
    except ValueError:
        pass  # whoever asks has a failure to tell, and tells it without source lines
    return {}


_SOURCES = frozenset({framing.SOURCE, framing.DILL_SOURCE})


def _parts(kind: str, payload: str) -> list[tuple[str, str]]:
    """Format and payload of each form in which the function was sent, the most faithful that surely works first."""
    if kind == framing.OLD_PACKED:
        return framing.split_old_packed(payload)
    if kind != framing.PACKED_CODE:
        return [(kind, payload)]
    parts = [framing.split(buffer) for buffer in framing.unpack(payload)]
    # a pickle has the function's closure and globals, and is refused where it cannot work; source has neither
    return sorted(parts, key=lambda part: part[0] in _SOURCES)


def _load_part(kind: str, payload: str, python_version: str) -> Callable[..., Any]:
    if kind == framing.SHELL:
        return _shell_function(payload)
    if kind in _SOURCES:
        return _defined(*_name_and_source(payload))
    if kind in (framing.OLD_INSPECTED, framing.OLD_SOURCE):
        return _defined(*_unpickled(payload, "the function", with_dill=True))
    if kind == framing.PICKLED_CODE:
        python_version, _, payload = payload.partition(" ")
        payload = payload.partition(" ")[0]
    elif kind not in (framing.DILL_CODE, framing.PICKLE_CODE):
        raise DeserializationError(f"a function was expected, and the format {kind!r} was sent")
    _check_version(python_version)
    function = _unpickled(payload, "the function", with_dill=kind == framing.DILL_CODE)
    if not callable(function):
        raise DeserializationError(f"a function was expected, and {_type_of(function)} was sent")
    return function  # type: ignore[no-any-return]  # callable() was asked


def _check_version(python_version: str) -> None:
    made_by = ".".join(python_version.split(".")[:2])
    here = ".".join(_RUNNING_VERSION.split(".")[:2])
    if made_by and made_by != here:
        raise PythonVersionMismatch(
            f"the function was registered by Python {python_version} and would run on Python {_RUNNING_VERSION}: "
            f"pickled functions work on the same minor version alone. Register it from Python {here}, choose an "
            f"endpoint with Python {made_by}, or register its source, which runs on both"
        )


def _shell_function(payload: str) -> ShellFunction:
    try:
        return ShellFunction.from_json(framing.parse_json(payload))
    except (ValueError, TypeError, LookupError) as error:
        raise DeserializationError(f"the shell command cannot be read: {_words(error)}") from error


def _name_and_source(payload: str) -> tuple[str, str]:
    try:
        name, source = framing.split_source(payload)
    except FramingError as error:
        raise DeserializationError(f"the function cannot be read: {error}") from error
    return name, textwrap.dedent(source)


def _file_name(name: str) -> str:
    return f"<source of {name}>"


def _defined(name: str, source: str) -> Callable[..., Any]:
    namespace: dict[str, Any] = {"__name__": SOURCE_MODULE}
    try:
        exec(compile(textwrap.dedent(source), _file_name(name), "exec"), namespace)  # noqa: S102 - the user's function
    except (Exception, SystemExit) as error:  # a script may end itself
        raise DeserializationError(f"the source of {name} cannot be run: {_words(error)}") from error
    if not callable(function := namespace.get(name)):
        raise DeserializationError(f"the source does not define a function {name}")
    return function  # type: ignore[no-any-return]  # callable() was asked


class _Bounded(io.BytesIO):
    """Stops a pickle that is too large to be sent before it fills the memory."""

    def write(self, data: Any, /) -> int:
        if self.tell() + len(data) > MAX_TEXT * 3 // 4:
            raise ValueTooLarge(f"the value is more than {MAX_TEXT // (1024 * 1024)} MiB as text")
        return super().write(data)


def _pickled(value: object) -> str:
    try:
        return base64.b64encode(_pickle(value)).decode()
    except (ValueTooLarge, RecursionError):
        raise
    except Exception as error:  # pickling runs the methods of any object
        where, culprit = _unpicklable(value)
        raise SerializationError(f"{_type_of(culprit)} at {where} cannot be pickled ({_words(error)})") from error


def _pickle(value: object) -> bytes:
    import cloudpickle  # loaded when something must be pickled, which most workers never do

    try:
        with by_value.modules_travel(cloudpickle):
            return _bounded_pickle(cloudpickle, value)
    except (ValueTooLarge, RecursionError):
        raise
    except Exception:  # noqa: BLE001 - pickling runs the methods of any object
        # a module of the user's that holds a lock cannot travel; it may be where the task runs as well
        with by_value.modules_travel(cloudpickle, only=getattr(value, "__module__", None) or "__main__"):
            return _bounded_pickle(cloudpickle, value)


def _bounded_pickle(cloudpickle: Any, value: object) -> bytes:
    file = _Bounded()
    cloudpickle.dump(value, file)
    return file.getvalue()


def _unpicklable(value: object) -> tuple[str, object]:
    """The innermost part that cannot be pickled, and the way to it."""
    where, budget = "the value itself", _MOST_SEARCHED
    path = ""
    seen = {id(value)}
    while True:
        for step, part in by_value.parts_of(value):
            budget -= 1
            if budget < 0:
                return where, value
            if id(part) not in seen and not _can_pickle(part):
                seen.add(id(part))
                path += step
                where, value = f"value{path}", part
                break
        else:
            return where, value


def _can_pickle(value: object) -> bool:
    try:
        _pickle(value)
    except Exception:  # noqa: BLE001 - pickling runs the methods of any object
        return False
    return True


def _unpickled(payload: str, what: str, *, with_dill: bool = False) -> Any:
    try:
        raw = base64.b64decode(payload)
        if not with_dill:
            return pickle.loads(raw)  # noqa: S301 - callers asked whether this is allowed
        return _dill_loads(raw)
    except DeserializationError:
        raise
    except binascii.Error as error:
        raise DeserializationError(f"{what} cannot be read: it is not base64 text ({error})") from error
    except ModuleNotFoundError as error:
        raise DeserializationError(
            f"{what} needs the module {error.name}, which is not installed here: {_words(error)}"
        ) from error
    except (Exception, SystemExit) as error:  # unpickling loads modules, and those may end the process
        raise DeserializationError(
            f"{what} cannot be read ({_words(error)}): its text is damaged, or needs other versions of packages than are "
            "installed here"
        ) from error


def _dill_loads(raw: bytes) -> Any:
    try:
        import dill  # an extra of the agent: only clients of the hosted service send it
    except ImportError as error:
        raise DeserializationError(
            "the text was pickled by dill, which is not installed here: pip install dill"
        ) from error
    return dill.loads(raw)  # noqa: S301 - callers asked whether this is allowed


def _type_of(value: object) -> str:
    kind = type(value)
    return kind.__name__ if kind.__module__ == "builtins" else f"{kind.__module__}.{kind.__qualname__}"


def _words(error: BaseException) -> str:
    text = str(error)
    return f"{type(error).__name__}: {text}" if text else type(error).__name__
