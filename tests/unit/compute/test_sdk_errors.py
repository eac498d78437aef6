"""What a failed task raises: the remote type where Python has it, and never anything that was sent."""

from __future__ import annotations

import pickle
import traceback

import pytest

from compute_agent.sdk import ClientError, TaskFailed, TaskLost
from compute_agent.sdk.errors import failure, remote_type
from compute_agent.wire import TaskState

HEAD = "Traceback (most recent call last):\n"
FRAME = '  File "task.py", line 1, in f\n    g()\n'


@pytest.mark.parametrize(
    ("message", "name"),
    [
        (f"{HEAD}{FRAME}ZeroDivisionError: division by zero", "ZeroDivisionError"),
        (f"{HEAD}{FRAME}KeyError: 'a'\n", "KeyError"),
        (f"{HEAD}{FRAME}MemoryError\n", "MemoryError"),
        (f"{HEAD}{FRAME}ValueError: first line\nTypeError: second line of its text\n", "ValueError"),
        (f"{HEAD}{FRAME}KeyError: 1\n\nDuring handling\n\n{HEAD}{FRAME}OSError: no\n", "OSError"),
        (f"{HEAD}{FRAME}my.module.MyError: no\n", ""),
        (f"{HEAD}{FRAME}", ""),
        ("ValueError: no traceback", "ValueError"),
        ("something else altogether", ""),
        ("", ""),
    ],
)
def test_the_remote_type_is_read_from_the_text(message: str, name: str) -> None:
    assert remote_type(message) == name


@pytest.mark.parametrize(
    "kind", [ZeroDivisionError, KeyError, OSError, FileNotFoundError, ImportError, SyntaxError, MemoryError]
)
def test_a_builtin_exception_is_caught_as_itself(kind: type[Exception]) -> None:
    message = f"{HEAD}{FRAME}{kind.__name__}: why"
    with pytest.raises(kind) as caught:
        raise failure("RemoteExecutionError", message, "t-1")
    assert isinstance(caught.value, TaskFailed)
    assert isinstance(caught.value, ClientError)
    assert str(caught.value) == message
    assert "(task t-1)" in traceback.format_exception(caught.value)[-1]


@pytest.mark.parametrize(
    "name", ["SystemExit", "KeyboardInterrupt", "StopIteration", "UnicodeDecodeError", "Exception", "print", "MyError"]
)
def test_other_names_give_a_plain_failure(name: str) -> None:
    assert type(failure("RemoteExecutionError", f"{HEAD}{FRAME}{name}: why", "t-1")) is TaskFailed


def test_another_code_stands_before_its_sentence_and_is_never_imitated() -> None:
    error = failure("UserEndpointConfigRefused", "ValueError: account is missing", "t-1")
    assert type(error) is TaskFailed
    assert str(error) == "UserEndpointConfigRefused: ValueError: account is missing"


@pytest.mark.parametrize("state", [TaskState.FAILED, TaskState.LOST])
def test_a_failure_can_cross_processes(state: TaskState) -> None:
    error = failure("RemoteExecutionError", f"{HEAD}{FRAME}ValueError: why", "t-1", state)
    copy = pickle.loads(pickle.dumps(error))
    assert (type(copy), str(copy), copy.task_id) == (type(error), str(error), "t-1")
    assert isinstance(copy, TaskLost) == (state is TaskState.LOST)
