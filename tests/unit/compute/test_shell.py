"""Shell commands run in their own process group, keep their output in files, and end at their walltime."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import FrozenInstanceError
from pathlib import Path

import pytest

from compute_agent import shell
from compute_agent.shell import RunningTask, ShellCommandError, ShellFunction, ShellResult


@pytest.fixture(autouse=True)
def task(tmp_path: Path) -> Iterator[RunningTask]:
    running = RunningTask("task-1", str(tmp_path))
    token = shell.running_task.set(running)
    yield running
    shell.running_task.reset(token)


def run(function: ShellFunction, **values: object) -> ShellResult:
    result = function(**values)
    assert isinstance(result, ShellResult)
    return result


def test_values_are_filled_in_as_they_are() -> None:
    result = run(ShellFunction("echo {word}; echo {count:03d} >&2; echo ${{HOME:+home}}"), word="a  b", count=7)
    assert result == ShellResult("echo a  b; echo 007 >&2; echo ${HOME:+home}", "a b\nhome\n", "007\n", 0)


@pytest.mark.parametrize("word", ["a  b", "$(touch gone)", "; exit 3", "it's", "", "-n\nx"])
def test_quoted_values_are_one_word_each(word: str) -> None:
    result = run(ShellFunction("printf '<%s>' {word}", quote=True), word=word)
    assert (result.stdout, result.returncode) == (f"<{word}>", 0)


@pytest.mark.parametrize(
    ("cmd", "says"),
    [
        ("cp {source} {target}", r"needs a value for 'target', which was not given \(given: source\)"),
        ("awk '{ print }' {source}", "written twice"),
        ("echo {}", "braces without a name"),
        ("echo }", "cannot be filled in"),
        ("echo {source.nothing}", "cannot be filled in"),
        ("echo {source:d}", "cannot be filled in"),
    ],
)
def test_a_command_that_cannot_be_filled_in_says_what_is_missing(cmd: str, says: str) -> None:
    with pytest.raises(ShellCommandError, match=says):
        ShellFunction(cmd)(source="a")


@pytest.mark.parametrize(
    "options", [{"walltime": 0}, {"walltime": -1.0}, {"snippet_lines": -1}, {"snippet_lines": 1.5}]
)
def test_options_that_make_no_sense_are_refused_at_once(options: dict[str, object]) -> None:
    with pytest.raises(ShellCommandError, match=next(iter(options))):
        ShellFunction("true", **options)  # type: ignore[arg-type]  # that is the mistake
    with pytest.raises(ShellCommandError, match="command line"):
        ShellFunction(" ")


def test_a_return_code_is_a_result() -> None:
    assert run(ShellFunction("exit 3")).returncode == 3
    assert run(ShellFunction("kill -9 $$")).returncode == -9
    assert "not found" in run(ShellFunction("no-such-command-here")).stderr


def test_output_goes_to_files_named_after_the_task_and_the_last_lines_come_back(tmp_path: Path) -> None:
    result = run(ShellFunction("seq 1 2000; printf end >&2", snippet_lines=2))
    assert (result.stdout, result.stderr) == ("1999\n2000\n", "end")
    assert (tmp_path / "task-1.stdout").read_text().startswith("1\n2\n")
    assert run(ShellFunction("seq 1 3", snippet_lines=0)).stdout == ""


def test_a_named_output_file_is_appended_to_and_only_new_lines_come_back(tmp_path: Path) -> None:
    (tmp_path / "log").write_text("before\n")
    assert run(ShellFunction("echo after", stdout="log")).stdout == "after\n"
    assert (tmp_path / "log").read_text() == "before\nafter\n"


def test_output_that_is_no_text_comes_back_readable() -> None:
    assert run(ShellFunction(r"printf 'a\377b'")).stdout == "a\ufffdb"


def test_an_output_file_that_cannot_be_opened_is_said() -> None:
    with pytest.raises(ShellCommandError, match="cannot be written"):
        ShellFunction("true", stdout="no/such/directory/out")()


def test_a_command_runs_in_the_directory_of_its_task_and_knows_the_task(tmp_path: Path) -> None:
    result = run(ShellFunction("pwd -P; echo $FLOWS_TASK_ID $GC_TASK_UUID"))
    assert result.stdout == f"{tmp_path.resolve()}\ntask-1 task-1\n"
    assert "FLOWS_TASK_ID" not in os.environ


def test_without_a_task_it_runs_where_it_is_called(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    shell.running_task.set(None)
    monkeypatch.chdir(tmp_path)
    assert run(ShellFunction("pwd -P")).stdout == f"{tmp_path.resolve()}\n"
    assert not list(tmp_path.iterdir()), "no files are left in a directory that is not the task's own"


def test_at_the_walltime_every_process_of_the_command_ends(tmp_path: Path) -> None:
    result = run(ShellFunction("sleep 300 & echo $! >child; echo begun; wait", walltime=0.3))
    assert (result.returncode, result.exception_name) == (124, "subprocess.TimeoutExpired")
    assert result.stdout == "begun\n"
    assert _is_gone(int((tmp_path / "child").read_text()))


def test_a_command_that_ignores_the_polite_signal_is_killed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shell, "KILL_AFTER_S", 0.1)
    cmd = "trap '' TERM; echo $$ >shell; while true; do sleep 300; done"
    assert run(ShellFunction(cmd, walltime=0.3)).returncode == 124
    assert _is_gone(int((tmp_path / "shell").read_text()))


def _is_gone(pid: int) -> bool:
    """Gone, or dead and not yet collected by the process that inherits orphans."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(") ")[2].startswith("Z")
    except FileNotFoundError:
        return True


def test_a_command_is_one_json_document() -> None:
    function = ShellFunction("echo {x}", walltime=5, name="say", quote=True)
    document = function.to_json()
    assert ShellFunction.from_json(document) == function
    assert function.__name__ == "say"
    assert ShellFunction("/usr/bin/convert a b").__name__ == "convert"
    with pytest.raises(FrozenInstanceError):
        function.cmd = "other"  # type: ignore[misc]  # that is what must not work


def test_a_result_may_be_asked_for_as_a_dictionary() -> None:
    result = ShellFunction("echo hi", return_dict=True)()
    assert result == {"cmd": "echo hi", "stdout": "hi\n", "stderr": "", "returncode": 0, "exception_name": None}


def test_a_result_reads_well() -> None:
    assert str(ShellResult("make", "built\n", "warning\n", 2)) == (
        "$ make\nexited with 2\n--- stdout\nbuilt\n--- stderr\nwarning"
    )
    assert str(ShellResult("x" * 600, "", "", -9)) == f"$ {'x' * 500}...\nended by signal 9"
