"""What a task's end looks like to the program that waits for it, as exceptions.

Nothing that came from an endpoint is evaluated: the type of a remote exception is known by its name in the traceback's
text, and only the names of Python's own exceptions are looked up.
"""

from __future__ import annotations

import builtins
import re
from functools import cache

from ..errors import ClientError
from ..wire import ErrorCode, TaskState

_TRACEBACK = "Traceback (most recent call last):"
_EXCEPTION_LINE = re.compile(r"([A-Za-z]\w*)(?::|$)")
#: Made with other arguments than a text, or meaningful to the interpreter when they are raised where nobody expects them.
_NOT_IMITATED = (UnicodeError, BaseExceptionGroup, StopIteration, StopAsyncIteration, Warning)


class NoServerError(ClientError):
    """The client was not told which server to use, and found none."""


class NoEndpointError(ClientError):
    """No endpoint was named, and it is not clear which one is meant."""


class PayloadTooLargeError(ClientError):
    """The arguments of one task, or the code of one function, are larger than the service takes."""


class TaskPending(ClientError):
    """The task has not ended yet. ``state`` is where it is."""

    def __init__(self, task_id: str, state: str) -> None:
        self.task_id = task_id
        self.state = state
        super().__init__(f"task {task_id} has not ended yet: it is {state}")

    def __reduce__(self) -> tuple[type[TaskPending], tuple[str, str]]:
        return TaskPending, (self.task_id, self.state)


class TaskUnknownError(ClientError):
    """The service does not know the task: it never did, or its result was kept as long as results are kept."""


class TaskFailed(ClientError):
    """The task ended without a result. Its text is the remote traceback when the function itself raised.

    ``code`` is one of ``compute_agent.wire.ErrorCode``. When the function raised one of Python's own exceptions, what is
    raised here is that type as well: ``except ZeroDivisionError`` works.
    """

    def __init__(self, code: str, message: str, task_id: str) -> None:
        self.code = code
        self.message = message
        self.task_id = task_id
        raised = code == ErrorCode.REMOTE_EXECUTION_ERROR
        self._text = message if raised else f"{code}: {message}"
        super().__init__(self._text)
        self.add_note(f"(task {task_id})")

    def __str__(self) -> str:
        return self._text

    def __reduce__(self) -> tuple[object, tuple[str, ...]]:
        return failure, (self.code, self.message, self.task_id)


class TaskLost(TaskFailed):
    """The task began, and nobody knows how it ended: the process, node or agent that ran it is gone."""

    def __reduce__(self) -> tuple[object, tuple[str, ...]]:
        return TaskLost, (self.code, self.message, self.task_id)


class PythonVersionWarning(UserWarning):
    """A function goes as bytecode to an endpoint that runs another Python."""


def failure(code: str, message: str, task_id: str, state: TaskState = TaskState.FAILED) -> TaskFailed:
    """The exception for a task that ended without a result."""
    if state is TaskState.LOST:
        return TaskLost(code, message, task_id)
    kind = None
    if code == ErrorCode.REMOTE_EXECUTION_ERROR:
        kind = _imitation(remote_type(message))
    return (kind or TaskFailed)(code, message, task_id)


def remote_type(message: str) -> str:
    """Name of the exception that a traceback's text ends with; empty when that cannot be told."""
    lines = message.splitlines()
    heads = [number for number, line in enumerate(lines) if line == _TRACEBACK]
    for line in lines[heads[-1] + 1 :] if heads else lines[:1]:
        if not line.startswith(" "):
            found = _EXCEPTION_LINE.match(line)
            return found[1] if found else ""
    return ""


@cache
def _imitation(name: str) -> type[TaskFailed] | None:
    """A ``TaskFailed`` that is also the exception of this name, if Python has it and it can be both.

    Only errors: what ends a program or a loop where it is raised is not imitated.
    """
    original = vars(builtins).get(name)
    if not isinstance(original, type) or not issubclass(original, Exception):
        return None
    if original is Exception or issubclass(original, _NOT_IMITATED):
        return None
    return type(f"Remote{name}", (TaskFailed, original), {"__module__": __name__, "__doc__": TaskFailed.__doc__})
