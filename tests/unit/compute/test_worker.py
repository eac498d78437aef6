"""A task ends in a report whatever its function does, and only whoever makes the start marker runs it."""

from __future__ import annotations

import functools
import hashlib
import json
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from compute_agent import framing, serialize, wire
from compute_agent.engines import worker
from compute_agent.engines.base import EngineTask, Report
from compute_agent.shell import ShellFunction
from compute_agent.wire import ErrorCode, FunctionCode


def request_for(function: Callable[..., Any] | str, *args: Any, **options: Any) -> dict[str, Any]:
    code = function if isinstance(function, str) else framing.pack([serialize.dump_function(function)])
    registered = FunctionCode(
        function_id="f",
        name="f",
        code=code,
        sha256=options.pop("sha256", hashlib.sha256(code.encode()).hexdigest()),
        python_version=options.pop("python_version", ""),
    )
    payload = options.pop("payload", None) or serialize.dump_arguments(args, {})
    return worker.request(EngineTask(task_id="task-1", function=registered, payload=payload, **options))


def run(function: Callable[..., Any] | str, *args: Any, **options: Any) -> Report:
    return worker.run_task(json.loads(json.dumps(request_for(function, *args, **options))))


def result_of(report: Report) -> Any:
    assert report["status"] == "success", report
    return serialize.load_data(report["result"], allow_pickle=True)


def add(left: int, right: int) -> int:
    return left + right


def test_a_task_gives_its_result_and_the_facts_of_its_execution() -> None:
    report = run(add, 1, 2)
    assert result_of(report) == 3
    details = report["details"]
    assert details["pid"] == os.getpid()
    assert details["hostname"] == os.uname().nodename
    assert details["python_version"] == sys.version.split()[0]
    assert details["started_at"] <= details["ended_at"]
    assert json.loads(json.dumps(report)) == report


def test_only_the_first_to_make_the_marker_runs_the_task(tmp_path: Path) -> None:
    marker = str(tmp_path / "marker")
    begun = tmp_path / "begun"

    def begin(path: str) -> None:
        Path(path).touch(exist_ok=False)

    reports = []
    with ThreadPoolExecutor(8) as threads:
        futures = [threads.submit(run, begin, str(begun), marker=marker) for _ in range(16)]
        reports = [future.result()["status"] for future in futures]
    assert sorted(reports) == ["revoked"] * 15 + ["success"]
    assert begun.exists()


def test_a_copy_of_the_worker_that_the_function_forked_reports_nothing() -> None:
    """It would answer for the next task of the worker."""

    def fork() -> int:
        import os

        return os.fork()

    child = result_of(run(fork))
    assert child > 0
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0


def test_without_a_place_for_the_marker_nothing_is_run(tmp_path: Path) -> None:
    begun = tmp_path / "begun"
    report = run(begun.touch, marker=str(tmp_path / "no" / "marker"))
    assert (report["status"], report["code"]) == ("failed", ErrorCode.ENGINE_FAILED)
    assert str(tmp_path / "no" / "marker") in report["message"]
    assert "nothing was run" in report["message"]
    assert not begun.exists()


class Unfriendly(Exception):
    def __str__(self) -> str:
        raise RuntimeError("no words")


def _fail(error: BaseException | type[BaseException]) -> None:
    raise error


def _recurse(number: int) -> int:
    return _recurse(number + 1)


def _chained() -> None:
    try:
        _fail(KeyError("first"))
    except KeyError as error:
        raise ValueError("second") from error


@pytest.mark.parametrize(
    ("function", "last_line"),
    [
        (functools.partial(_fail, ValueError("no such file")), "ValueError: no such file"),
        (functools.partial(_fail, SystemExit(3)), "SystemExit: 3"),
        (functools.partial(sys.exit, "bye"), "SystemExit: bye"),
        (functools.partial(_fail, KeyboardInterrupt), "KeyboardInterrupt"),
        (functools.partial(_fail, GeneratorExit), "GeneratorExit"),
        (
            functools.partial(_fail, ExceptionGroup("several", [ValueError("one")])),
            "+------------------------------------",
        ),
        (functools.partial(_fail, Unfriendly()), "<exception str() failed>"),
        (functools.partial(_recurse, 0), "RecursionError: maximum recursion depth exceeded"),
        (_chained, "ValueError: second"),
        (functools.partial(add, 1), "TypeError: add() missing 1 required positional argument: 'right'"),
        (functools.partial(_fail, ValueError("nul \0 and \ud800")), r"ValueError: nul \x00 and \ud800"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_whatever_a_function_raises_becomes_its_traceback(function: Callable[..., Any], last_line: str) -> None:
    report = run(function)
    assert (report["status"], report["code"]) == ("failed", ErrorCode.REMOTE_EXECUTION_ERROR)
    assert last_line in report["message"].splitlines()[-1]
    assert "engines/worker.py" not in report["message"]
    report["message"].encode()


def test_a_traceback_begins_in_the_code_of_the_user_and_shows_causes() -> None:
    lines = run(_chained)["message"].splitlines()
    assert lines[0] == "Traceback (most recent call last):"
    assert lines[1].endswith(", in _chained")
    assert lines[2] == '    _fail(KeyError("first"))'
    assert '    raise ValueError("second") from error' in lines


def test_a_traceback_shows_source_lines_where_the_file_is_not(tmp_path: Path) -> None:
    module = tmp_path / "my_analysis.py"
    module.write_text("\n\ndef inner(x):\n    return 1 / x  # the culprit\n\ndef outer(x):\n    return inner(x)\n")
    program = (
        "import my_analysis; from compute_agent import serialize; print(serialize.dump_function(my_analysis.outer))"
    )
    root = Path(serialize.__file__).parent.parent
    path = f"{tmp_path}{os.pathsep}{root}"
    code = subprocess.check_output([sys.executable, "-c", program], text=True, env={"PYTHONPATH": path}).rstrip("\n")
    for written in (None, "# something else by now\n" * 20):
        module.unlink(missing_ok=True)
        if written:
            module.write_text(written)
        message = run(code, 0)["message"]
        assert f'File "{module}", line 7, in outer\n    return inner(x)\n' in message
        assert f'File "{module}", line 4, in inner\n    return 1 / x  # the culprit\n' in message


def test_a_traceback_of_submitted_source_shows_its_lines() -> None:
    message = run(framing.source_code("def f(x):\n    return 1 / x\n", "f"), 0)["message"]
    assert 'File "<source of f>", line 2, in f\n    return 1 / x\n' in message


def test_a_long_traceback_keeps_its_beginning_and_end() -> None:
    message = run(functools.partial(_fail, ValueError("é" * 200_000 + "END")))["message"]
    assert len(message.encode()) <= wire.MAX_MESSAGE_BYTES
    assert message.startswith("Traceback")
    assert message.endswith("END")
    assert "bytes left out" in message


@pytest.mark.parametrize(
    ("options", "code", "says"),
    [
        ({"function": "zz\nAA"}, ErrorCode.COULD_NOT_EXECUTE, "the function cannot be read"),
        ({"function": "c1\n2.7.18 AA"}, ErrorCode.PYTHON_VERSION_MISMATCH, "Python 2.7.18 and would run on Python 3"),
        ({"function": "01\nAA", "python_version": "3.2.0"}, ErrorCode.PYTHON_VERSION_MISMATCH, "Python 3.2.0"),
        ({"function": "st\nf:raise SystemExit(1)"}, ErrorCode.COULD_NOT_EXECUTE, "SystemExit"),
        ({"function": add, "sha256": "0" * 64}, ErrorCode.COULD_NOT_EXECUTE, "does not fit its registered SHA-256"),
        ({"function": add, "payload": "garbage"}, ErrorCode.COULD_NOT_EXECUTE, "arguments cannot be read"),
        (
            {"function": add, "payload": framing.pack(["c0\nAAAA", "11\n{}"])},
            ErrorCode.COULD_NOT_EXECUTE,
            "cannot be read",
        ),
    ],
)
def test_a_task_that_cannot_be_decoded_says_why(options: dict[str, Any], code: str, says: str) -> None:
    report = run(**options)
    assert (report["status"], report["code"]) == ("failed", code)
    assert says in report["message"]
    assert "ended_at" in report["details"]


class Hostile:
    def __reduce__(self) -> tuple[Any, ...]:
        raise SystemExit("from a pickle")


def _recursive_list() -> list[Any]:
    value: list[Any] = []
    value.append(value)
    return value


@pytest.mark.parametrize(
    ("function", "says"),
    [
        (threading.Lock, "_thread.lock at the value itself cannot be pickled"),
        (_recursive_list, "a list contains itself"),
        (lambda: (number for number in range(2)), "generator"),
        (Hostile, "SystemExit"),
    ],
    ids=["lock", "recursive", "generator", "hostile"],
)
def test_a_result_that_cannot_be_sent_is_a_failure_with_words(function: Callable[..., Any], says: str) -> None:
    report = run(function)
    assert (report["status"], report["code"]) == ("failed", ErrorCode.RESULT_NOT_SERIALIZABLE)
    assert report["message"].startswith("result could not be sent: ")
    assert says in report["message"]


def test_a_result_that_is_too_large_names_size_and_limit() -> None:
    report = run(lambda: "x" * 2000, max_result_bytes=1000)
    assert (report["status"], report["code"]) == ("failed", ErrorCode.MAX_RESULT_SIZE_EXCEEDED)
    assert "2,005 bytes" in report["message"]
    assert "1,000" in report["message"]


def _wait_for_signal() -> None:
    signal.pause()


def _stubborn() -> str:
    try:
        signal.pause()
    except BaseException:
        raise ValueError("while cleaning up") from None
    return "unreachable"


@pytest.mark.parametrize("function", [_wait_for_signal, _stubborn])
def test_a_function_that_runs_too_long_is_stopped(function: Callable[..., Any]) -> None:
    before = signal.getsignal(signal.SIGALRM)
    report = run(function, timeout_s=0.1)
    assert (report["status"], report["code"]) == ("failed", ErrorCode.TASK_TIMEOUT)
    assert report["message"].startswith("the function ran longer than 0.1 s and was stopped")
    assert f"in {function.__name__}" in report["message"]
    assert signal.getsignal(signal.SIGALRM) is before
    assert signal.getitimer(signal.ITIMER_REAL) == (0.0, 0.0)


def test_a_time_limit_that_is_kept_leaves_no_trace() -> None:
    assert result_of(run(add, 1, 2, timeout_s=60)) == 3
    assert signal.getitimer(signal.ITIMER_REAL) == (0.0, 0.0)


def test_a_shell_command_ends_with_the_time_of_its_task(tmp_path: Path) -> None:
    function = ShellFunction("echo $$ >shell; exec sleep 300")
    assert run(function, timeout_s=0.5, working_dir=str(tmp_path))["code"] == ErrorCode.TASK_TIMEOUT
    with pytest.raises(ProcessLookupError):
        os.kill(int((tmp_path / "shell").read_text()), 0)


def test_a_shell_command_that_lacks_a_value_fails_with_a_sentence() -> None:
    report = run(ShellFunction("echo {word}"))
    assert report["code"] == ErrorCode.REMOTE_EXECUTION_ERROR
    assert "needs a value for 'word'" in report["message"]
    assert "shell.py" not in report["message"].split("The above exception")[-1]


def _surroundings() -> dict[str, Any]:
    return {"cwd": os.getcwd(), "ids": [os.environ.get(name) for name in ("FLOWS_TASK_ID", "GC_TASK_UUID")]}


def test_a_task_finds_itself_in_its_directory_under_its_id(tmp_path: Path) -> None:
    home = os.getcwd()
    working_dir = tmp_path / "tasks" / "one"
    assert result_of(run(_surroundings, working_dir=str(working_dir))) == {
        "cwd": str(working_dir.resolve()),
        "ids": ["task-1", "task-1"],
    }
    assert os.getcwd() == home
    assert "FLOWS_TASK_ID" not in os.environ


def test_a_task_that_changes_the_directory_changes_it_for_itself_alone(tmp_path: Path) -> None:
    home = os.getcwd()
    run(os.chdir, str(tmp_path))
    assert os.getcwd() == home


def test_a_working_directory_that_cannot_be_made_is_said(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    report = run(add, 1, 2, working_dir=str(tmp_path / "file" / "below"))
    assert report["code"] == ErrorCode.ENGINE_FAILED
    assert "nothing was run" in report["message"]


def test_a_thread_of_a_larger_process_is_left_as_it_is(tmp_path: Path) -> None:
    home = os.getcwd()
    with ThreadPoolExecutor(1) as threads:
        report = threads.submit(run, _surroundings, working_dir=str(tmp_path), timeout_s=5).result()
        command = threads.submit(run, ShellFunction("pwd -P; echo $FLOWS_TASK_ID"), working_dir=str(tmp_path)).result()
    assert result_of(report) == {"cwd": home, "ids": [None, None]}
    assert report["details"]["timeout_enforced"] is False
    assert result_of(command).stdout == f"{tmp_path.resolve()}\ntask-1\n"


def test_a_coroutine_function_is_run_to_its_end() -> None:
    async def later(number: int) -> int:
        return number + 1

    assert result_of(run(later, 1)) == 2


def test_a_function_is_decoded_once_and_the_oldest_are_forgotten(tmp_path: Path) -> None:
    log = tmp_path / "log"

    def source(number: int) -> str:
        return f"st\nf:open({str(log)!r}, 'a').write('{number} ')\ndef f(): pass"

    for number in [0, 0, *range(1, worker.KEPT_FUNCTIONS + 1), worker.KEPT_FUNCTIONS, 0]:
        result_of(run(source(number)))
    assert log.read_text().split() == [str(number) for number in (*range(worker.KEPT_FUNCTIONS + 1), 0)]


def test_a_request_is_plain_json() -> None:
    request = request_for(add, 1, 2, marker="/m", timeout_s=1.5)
    assert framing.json_text(request) is not None
    assert set(request) >= {
        "task_id",
        "code",
        "sha256",
        "payload",
        "marker",
        "max_result_bytes",
        "timeout_s",
        "working_dir",
    }


def test_the_worker_loads_neither_network_nor_parsl() -> None:
    check = (
        "import sys, compute_agent.engines.worker;"
        "sys.exit(', '.join({'requests', 'parsl', 'dill', 'cloudpickle', 'asyncio', 'urllib3'} & set(sys.modules)) or 0)"
    )
    done = subprocess.run([sys.executable, "-c", check], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
