"""Shell commands as functions: ``ShellFunction("convert {source} {target}")`` is registered and submitted like any other.

A command runs under ``/bin/bash`` in its own process group, which ends as a whole at the walltime. Its output goes to
files in the task's working directory; the result carries their last lines. On the wire a command is JSON.
"""

from __future__ import annotations

import contextlib
import os
import shlex
import signal
import string
import subprocess
import tempfile
import time
from collections.abc import Mapping
from contextvars import ContextVar
from dataclasses import KW_ONLY, asdict, dataclass
from pathlib import Path
from typing import IO, Any, Final, NamedTuple

from schemas.json_text import Json

SHELL_PATH: Final = "/bin/bash"
#: The return code of a command that was ended at its walltime, as ``timeout`` of GNU coreutils gives it.
WALLTIME_RETURNCODE: Final = 124
#: How long the processes of a command may take to end after SIGTERM, before they are killed.
KILL_AFTER_S: Final = 2.0
#: Most bytes read from the end of an output file for the result; the file itself keeps everything.
MAX_SNIPPET_BYTES: Final = 4 * 1024 * 1024

_POLL_S = 0.02
_SHOWN_CMD_CHARS = 500


class RunningTask(NamedTuple):
    """The task on whose behalf code runs, which ``worker`` sets; ``working_dir`` is empty when it has none."""

    task_id: str
    working_dir: str


running_task: ContextVar[RunningTask | None] = ContextVar("running_task", default=None)


class ShellCommandError(ValueError):
    """The command cannot be made or started. The text says what to change."""


@dataclass(frozen=True, slots=True)
class ShellResult:
    """What a command did. ``stdout`` and ``stderr`` are the last lines of each; ``returncode`` is negative for a signal
    and 124 at the walltime, for which ``exception_name`` is ``subprocess.TimeoutExpired``."""

    cmd: str
    stdout: str
    stderr: str
    returncode: int
    exception_name: str | None = None

    def to_json(self) -> dict[str, Json]:
        return asdict(self)

    def __str__(self) -> str:
        how = f"exited with {self.returncode}"
        if self.returncode < 0:
            how = f"ended by signal {-self.returncode}"
        if self.exception_name:
            how += f" ({self.exception_name})"
        cmd = self.cmd if len(self.cmd) <= _SHOWN_CMD_CHARS else self.cmd[:_SHOWN_CMD_CHARS] + "..."
        parts = [f"$ {cmd}\n{how}"]
        parts += [
            f"--- {name}\n{text.rstrip()}" for name, text in (("stdout", self.stdout), ("stderr", self.stderr)) if text
        ]
        return "\n".join(parts)


@dataclass(frozen=True)
class ShellFunction:
    """A command line that is filled in with keyword arguments: ``ShellFunction("echo {word}")(word="hello")``.

    ``cmd`` is a format string; braces that are meant as such are written twice. Values go in as they are: with
    ``quote=True`` each is quoted, so that it is one word for the shell whatever it holds. ``stdout`` and ``stderr`` name
    files, relative to the working directory, that are appended to; without names they are called after the task, if it
    has a working directory of its own.
    ``walltime`` is in seconds. A return code other than 0 is a result, not an exception.
    """

    cmd: str
    _: KW_ONLY
    stdout: str | None = None
    stderr: str | None = None
    walltime: float | None = None
    snippet_lines: int = 1000
    name: str | None = None
    return_dict: bool = False
    quote: bool = False

    def __post_init__(self) -> None:
        if not isinstance(self.cmd, str) or not self.cmd.strip():
            raise ShellCommandError(f"cmd must be a command line, not {self.cmd!r}")
        if self.walltime is not None and not self.walltime > 0:
            raise ShellCommandError(f"walltime must be a number of seconds above 0, not {self.walltime!r}")
        if isinstance(self.snippet_lines, bool) or not isinstance(self.snippet_lines, int) or self.snippet_lines < 0:
            raise ShellCommandError(f"snippet_lines must be a number of lines, 0 or more, not {self.snippet_lines!r}")

    @property
    def __name__(self) -> str:
        words = self.cmd.split(maxsplit=1)
        return self.name or Path(words[0]).name or "shell"

    def __call__(self, **values: Any) -> ShellResult | dict[str, Json]:
        """Run the command here and wait for it.

        Raises:
            ShellCommandError: a value is missing, or the shell or an output file cannot be opened.
        """
        cmd = self.command_line(values)
        task = running_task.get()
        directory = Path(task.working_dir) if task is not None and task.working_dir else Path.cwd()
        with contextlib.ExitStack() as files:
            try:
                out, err = (
                    files.enter_context(_output_file(directory, name, task, ending))
                    for name, ending in ((self.stdout, "stdout"), (self.stderr, "stderr"))
                )
            except OSError as error:
                raise ShellCommandError(f"the output of the command cannot be written: {error}") from error
            result = self._run(cmd, task, directory, out, err)
        return result.to_json() if self.return_dict else result

    def command_line(self, values: Mapping[str, Any]) -> str:
        """``cmd`` with the values filled in."""
        formatter = _QUOTING if self.quote else _PLAIN
        try:
            return formatter.vformat(self.cmd, (), values)
        except KeyError as error:
            given = ", ".join(sorted(values)) or "none"
            raise ShellCommandError(
                f"the command needs a value for {error.args[0]!r}, which was not given (given: {given}); braces that "
                "belong to the command itself are written twice: {{ }}"
            ) from error
        except IndexError as error:
            raise ShellCommandError(
                "the command has braces without a name: write {name} and give name=..., or {{}} for braces that belong "
                "to the command itself"
            ) from error
        except (ValueError, TypeError, AttributeError) as error:
            raise ShellCommandError(
                f"the command cannot be filled in: {error}; braces that belong to the command itself are written "
                "twice: {{ }}"
            ) from error

    def to_json(self) -> dict[str, Json]:
        return {name: getattr(self, name) for name in _MEMBERS}

    @classmethod
    def from_json(cls, document: Mapping[str, Any]) -> ShellFunction:
        """Raises KeyError, TypeError or ShellCommandError for a document of another shape."""
        known = {name: document[name] for name in _MEMBERS if name in document}
        return cls(known.pop("cmd"), **known)

    def _run(self, cmd: str, task: RunningTask | None, directory: Path, out: IO[bytes], err: IO[bytes]) -> ShellResult:
        # several tasks may append to one file: what was there before is not this command's output
        starts = [os.fstat(file.fileno()).st_size for file in (out, err)]
        try:
            process = subprocess.Popen(  # noqa: S603 - running the user's command is the purpose
                [SHELL_PATH, "-c", cmd],
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=err,
                cwd=directory,
                env=_environment(task),
                start_new_session=True,
            )
        except (OSError, ValueError) as error:
            raise ShellCommandError(f"the command cannot be started with {SHELL_PATH}: {error}") from error
        returncode, exception_name = _wait(process, self.walltime)
        stdout, stderr = (
            _last_lines(file, start, self.snippet_lines) for file, start in zip((out, err), starts, strict=True)
        )
        return ShellResult(cmd, stdout, stderr, returncode, exception_name)


_MEMBERS = ("cmd", "stdout", "stderr", "walltime", "snippet_lines", "name", "return_dict", "quote")


class _Quoting(string.Formatter):
    def format_field(self, value: Any, format_spec: str) -> str:
        return shlex.quote(str(super().format_field(value, format_spec)))


_PLAIN = string.Formatter()
_QUOTING = _Quoting()


def _environment(task: RunningTask | None) -> dict[str, str] | None:
    """Also where several tasks run in one process, whose own environment cannot name the task."""
    if task is None:
        return None
    return {**os.environ, "FLOWS_TASK_ID": task.task_id, "GC_TASK_UUID": task.task_id}


def _wait(process: subprocess.Popen[bytes], walltime: float | None) -> tuple[int, str | None]:
    try:
        return process.wait(timeout=walltime), None
    except subprocess.TimeoutExpired:
        _end_group(process)
        return WALLTIME_RETURNCODE, "subprocess.TimeoutExpired"
    except BaseException:  # the task was stopped: nothing of it may go on in the background
        _end_group(process)
        raise


def _end_group(process: subprocess.Popen[bytes]) -> None:
    """End every process of the group: politely first, then for certain."""
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGTERM)
        deadline = time.monotonic() + KILL_AFTER_S
        while time.monotonic() < deadline:
            process.poll()
            os.killpg(process.pid, 0)  # raises when nobody is left
            time.sleep(_POLL_S)
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()


def _output_file(directory: Path, name: str | None, task: RunningTask | None, ending: str) -> IO[bytes]:
    """Without a name and a working directory of the task's own, the output would litter somebody's directory."""
    if name is None and (task is None or not task.working_dir):
        return tempfile.TemporaryFile()
    return (directory / (name or f"{task.task_id if task else ''}.{ending}")).open("a+b")


def _last_lines(file: IO[bytes], start: int, count: int) -> str:
    """The last lines that were written to the file from byte ``start`` on."""
    end = os.fstat(file.fileno()).st_size
    first = max(start, end - MAX_SNIPPET_BYTES)
    # the position in the file belongs to the command's processes as well, and stays as it is
    text = os.pread(file.fileno(), max(0, end - first), first).decode(errors="replace")
    lines = text.split("\n")  # not ``splitlines``, which also splits at form feeds and such
    ends_in_break = lines[-1] == ""
    return "\n".join(lines[-(count + ends_in_break) :]) if count else ""
