"""What happens to one task where it runs: ``run_task``.

It never raises: whatever the function does, and whatever is wrong with the task, becomes a report. It imports neither
requests nor parsl, since every worker process of every node loads it. Only a process that runs one task at a time, in
its main thread, changes its directory and environment for the task and can stop a function that runs too long.
"""

from __future__ import annotations

import contextlib
import functools
import hashlib
import linecache
import os
import platform
import signal
import threading
import time
import traceback
from collections import OrderedDict
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from types import CoroutineType, FrameType, TracebackType
from typing import Any, Final

import orjson

from .. import serialize, shell
from ..wire import MAX_MESSAGE_BYTES, ErrorCode
from .base import EngineTask, Report

#: How many decoded functions a process keeps. A function that is kept also keeps what it left in its globals.
KEPT_FUNCTIONS: Final = 64
#: Larger reports are not left in start markers: they would take longer to write than most tasks to run.
_LARGEST_LEFT_BYTES: Final = 1024 * 1024
#: A function that swallows the exception of its time limit gets it again after this time.
RING_AGAIN_S: Final = 10.0

_OUR_FILES = frozenset({__file__, shell.__file__})
_TASK_VARIABLES = ("FLOWS_TASK_ID", "GC_TASK_UUID")
_CUT = "\n[... {} bytes left out ...]\n"

_functions: OrderedDict[str, Callable[..., Any]] = OrderedDict()
_functions_lock = threading.Lock()
_linecache_lock = threading.Lock()


class _TimeUp(BaseException):
    """The function ran as long as it may. Not an ``Exception``, so that functions seldom swallow it."""


class _Refused(Exception):
    """The task ends before its function is called."""

    def __init__(self, code: ErrorCode, message: str) -> None:
        super().__init__(message)
        self.code = code


def request(task: EngineTask) -> dict[str, Any]:
    """The task as a dictionary of JSON types, which crosses any boundary; the argument of ``run_task``."""
    return {
        "task_id": task.task_id,
        "code": task.function.code,
        "sha256": task.function.sha256,
        "python_version": task.function.python_version,
        "payload": task.payload,
        "marker": task.marker,
        "max_result_bytes": task.max_result_bytes,
        "timeout_s": task.timeout_s,
        "working_dir": task.working_dir,
    }


def run_task(task: dict[str, Any]) -> Report:
    """Run one task (``request``) and say what became of it.

    The start marker is made first; if somebody else made it, the function is not run and the status is ``revoked``.
    """
    details: dict[str, Any] = {
        "python_version": platform.python_version(),
        "hostname": _hostname(),
        "pid": os.getpid(),
        "started_at": time.time(),
    }
    try:
        if not _take_marker(task["marker"]):
            return {"status": "revoked"}
        report = _run(task, details)
    except _Refused as refused:
        report = _failed(refused.code, str(refused))
    except BaseException as error:  # noqa: BLE001 - a worker that raises would lose the task
        report = _failed(ErrorCode.ENGINE_FAILED, f"the worker failed: {_traceback_text(error, '')}")
    if os.getpid() != details["pid"]:
        os._exit(
            0
        )  # a copy that the function forked and let return: the task, and its worker's socket, are not its own
    details["ended_at"] = time.time()
    report["details"] = details
    if task["marker"]:
        _leave(report, task["marker"])
    return report


def _leave(report: Report, marker: str) -> None:
    """Write the report into the start marker: whoever should take it may be gone, and the agent looks there."""
    with contextlib.suppress(
        OSError, TypeError
    ):  # full disk, odd characters: the report goes its usual way all the same
        text = orjson.dumps(report)
        if len(text) > _LARGEST_LEFT_BYTES:
            return
        descriptor = os.open(marker, os.O_WRONLY | os.O_CLOEXEC)
        try:
            os.write(descriptor, text)
        finally:
            os.close(descriptor)


def _take_marker(marker: str) -> bool:
    """Whether the task is ours to start."""
    if not marker:
        return True
    try:
        os.close(os.open(marker, os.O_CREAT | os.O_EXCL | os.O_WRONLY | os.O_CLOEXEC, 0o600))
    except FileExistsError:
        return False
    except OSError as error:
        raise _Refused(
            ErrorCode.ENGINE_FAILED,
            f"the start marker {marker} cannot be made ({error.strerror or error}), and nothing was run; look at the "
            "agent's directory: free space, quota, whether the nodes see it",
        ) from error
    return True


def _run(task: dict[str, Any], details: dict[str, Any]) -> Report:
    function = _function(task)
    try:
        args, kwargs = serialize.load_arguments(task["payload"])
    except (serialize.DeserializationError, MemoryError) as error:
        raise _Refused(ErrorCode.COULD_NOT_EXECUTE, f"on {_hostname()}: {error}") from error
    limit = _TimeLimit(task["timeout_s"])
    if limit.seconds > 0 and not limit.works:
        details["timeout_enforced"] = False
    with _surroundings(task):
        try:
            with limit:
                result = function(*args, **kwargs)
                if type(result) is CoroutineType:
                    result = _awaited(result)
        except BaseException as error:  # noqa: BLE001 - SystemExit and KeyboardInterrupt of the function as well
            limit.silence()  # it may have rung while it was being switched off
            return _raised(error, task, limit)
        return _succeeded(result, task["max_result_bytes"])


def _function(task: Mapping[str, Any]) -> Callable[..., Any]:
    sha256 = task["sha256"]
    with _functions_lock:
        if (kept := _functions.get(sha256)) is not None:
            _functions.move_to_end(sha256)
            return kept
    code = task["code"]
    if hashlib.sha256(code.encode()).hexdigest() != sha256:
        raise _Refused(
            ErrorCode.COULD_NOT_EXECUTE,
            "the function's code does not fit its registered SHA-256: it was changed or damaged on its way",
        )
    try:
        function = serialize.load_function(code, python_version=task["python_version"])
    except serialize.PythonVersionMismatch as error:
        raise _Refused(ErrorCode.PYTHON_VERSION_MISMATCH, f"on {_hostname()}: {error}") from error
    except (serialize.DeserializationError, MemoryError) as error:
        raise _Refused(ErrorCode.COULD_NOT_EXECUTE, f"on {_hostname()}: {error}") from error
    with _functions_lock:
        _functions[sha256] = function
        while len(_functions) > KEPT_FUNCTIONS:
            _functions.popitem(last=False)
    return function


def _awaited(coroutine: Any) -> Any:
    import asyncio  # few functions need it, and it is slow to load

    return asyncio.run(coroutine)


def _succeeded(result: object, max_bytes: int) -> Report:
    try:
        return {"status": "success", "result": serialize.dump_data(result, max_bytes=max_bytes)}
    except serialize.ValueTooLarge as error:
        return _failed(
            ErrorCode.MAX_RESULT_SIZE_EXCEEDED,
            f"the result is too large: {error}, and {max_bytes:,} are allowed; write it to a file and return its path",
        )
    except BaseException as error:  # noqa: BLE001 - pickling runs methods of the result
        words = str(error) if isinstance(error, serialize.SerializationError) else f"{type(error).__name__}: {error}"
        return _failed(
            ErrorCode.RESULT_NOT_SERIALIZABLE,
            f"result could not be sent: {words}; return plain data, or the path of a file",
        )


def _raised(error: BaseException, task: Mapping[str, Any], limit: _TimeLimit) -> Report:
    text = _traceback_text(error, task["code"])
    if not limit.rang:
        return _failed(ErrorCode.REMOTE_EXECUTION_ERROR, text)
    return _failed(ErrorCode.TASK_TIMEOUT, f"the function ran longer than {limit.seconds:g} s and was stopped:\n{text}")


def _failed(code: ErrorCode, message: str) -> Report:
    return {"status": "failed", "code": str(code), "message": _sendable(message)}


class _TimeLimit:
    """Interrupts the function after a time, by a signal, which only the main thread of a process can receive."""

    def __init__(self, seconds: float) -> None:
        self.seconds = seconds
        self.works = _in_main_thread()
        self.rang = False
        self._previous: Any = None

    def __enter__(self) -> None:
        if self.seconds > 0 and self.works:
            self._previous = signal.signal(signal.SIGALRM, self._ring)
            signal.setitimer(signal.ITIMER_REAL, self.seconds, RING_AGAIN_S)

    def __exit__(self, *_: object) -> None:
        self.silence()

    def silence(self) -> None:
        if self.seconds > 0 and self.works:
            signal.setitimer(signal.ITIMER_REAL, 0)
            if self._previous is not None:
                signal.signal(signal.SIGALRM, self._previous)

    def _ring(self, _number: int, _frame: FrameType | None) -> None:
        self.rang = True
        raise _TimeUp(f"{self.seconds:g} s are over")


@contextlib.contextmanager
def _surroundings(task: Mapping[str, Any]) -> Iterator[None]:
    """Where the function finds itself: its directory and who it is. Afterwards the process is as it was."""
    working_dir = task["working_dir"]
    if working_dir and not os.path.isdir(working_dir):  # noqa: PTH112 - asked for every task
        _make_directory(working_dir)
    token = shell.running_task.set(shell.RunningTask(task["task_id"], working_dir))
    try:
        if _in_main_thread():
            with _own_process(task["task_id"], working_dir):
                yield
        else:
            yield
    finally:
        shell.running_task.reset(token)


@contextlib.contextmanager
def _own_process(task_id: str, working_dir: str) -> Iterator[None]:
    home = _current_directory()
    if working_dir:
        try:
            os.chdir(working_dir)
        except OSError as error:
            raise _unusable(working_dir, error) from error
    for name in _TASK_VARIABLES:
        os.environ[name] = task_id
    try:
        yield
    finally:
        for name in _TASK_VARIABLES:
            os.environ.pop(name, None)
        if home and _current_directory() != home:
            with contextlib.suppress(OSError):  # the next task has a directory of its own, or does not care
                os.chdir(home)


def _make_directory(path: str) -> None:
    try:
        Path(path).mkdir(mode=0o700, parents=True, exist_ok=True)
    except OSError as error:
        raise _unusable(path, error) from error


def _unusable(path: str, error: OSError) -> _Refused:
    return _Refused(
        ErrorCode.ENGINE_FAILED, f"the working directory {path} cannot be used ({error}), and nothing was run"
    )


def _current_directory() -> str:
    try:
        return os.getcwd()  # noqa: PTH109 - asked twice per task, and a Path is not needed
    except OSError:  # it was deleted
        return ""


def _in_main_thread() -> bool:
    return threading.current_thread() is threading.main_thread()


@functools.cache
def _hostname() -> str:
    return os.uname().nodename


def _traceback_text(error: BaseException, code: str) -> str:
    """The traceback from the user's first frame on, with the source lines that came with the function."""
    try:
        with _shown_sources(serialize.sources_of(code) if code else {}):
            told = traceback.TracebackException(type(error), error, _users_part(error.__traceback__), compact=True)
        return "".join(told.format()).rstrip("\n")
    except Exception as problem:  # noqa: BLE001 - exceptions may have any methods, and memory may be short
        return f"{type(error).__name__} (its traceback cannot be shown: {type(problem).__name__})"


def _users_part(trace: TracebackType | None) -> TracebackType | None:
    while trace is not None and trace.tb_frame.f_code.co_filename in _OUR_FILES:
        trace = trace.tb_next
    return trace


@contextlib.contextmanager
def _shown_sources(sources: Mapping[str, Mapping[int, str]]) -> Iterator[None]:
    """While open, the lines that came with the function are what tracebacks show, whatever a local file of that name
    says by now."""
    if not sources:
        yield
        return
    with _linecache_lock:
        before = {file: linecache.cache.get(file) for file in sources}
        for file, lines in sources.items():
            shown = linecache.getlines(file)[:]
            shown += ["\n"] * (max(lines, default=0) - len(shown))
            for number, line in lines.items():
                shown[number - 1] = line
            linecache.cache[file] = (sum(map(len, shown)), None, shown, file)
        try:
            yield
        finally:
            for file, entry in before.items():
                linecache.cache.pop(file, None)
                if entry is not None:
                    linecache.cache[file] = entry


def _sendable(message: str) -> str:
    """Text that any receiver takes: no NUL or lone surrogate, and of a length that can be read."""
    raw = message.replace("\0", "\\x00").encode(errors="backslashreplace")
    if len(raw) > MAX_MESSAGE_BYTES:
        half = (MAX_MESSAGE_BYTES - len(_CUT) - 20) // 2
        left_out = _CUT.format(len(raw) - 2 * half).encode()
        raw = raw[:half] + left_out + raw[-half:]
    return raw.decode(errors="ignore")
