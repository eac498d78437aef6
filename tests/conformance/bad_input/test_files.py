"""B79, B80, and the bad bodies and definitions above as files: what the ``flows`` command says to them.

Each row runs the command; it names file, line and column, ends with an exit code that is not 0, and keeps nothing.
"""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from tests.conformance.bad_input.rows import Check, Row, by_id, rows_of
from tests.conformance.bad_input.service import fit_to_be_read

BOMB = "a: &a [x, x, x, x, x, x, x, x, x]\n" + "".join(
    f"{chr(98 + i)}: &{chr(98 + i)} [{', '.join([f'*{chr(97 + i)}'] * 9)}]\n" for i in range(20)
)


class Command:
    """The ``flows`` command with a data directory of its own, in a directory with files."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.data_dir = directory / "data"

    def run(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        environment = {"PATH": os.environ["PATH"], "FLOWS_DATA_DIR": str(self.data_dir), "HOME": str(self.directory)}
        command = [sys.executable, "-m", "flows_engine.cli", *arguments]
        environment["PYTHONPATH"] = str(Path(__file__).parents[3])
        return subprocess.run(
            command, cwd=self.directory, env=environment, capture_output=True, text=True, timeout=30, check=False
        )

    def write(self, name: str, text: str | bytes) -> str:
        raw = text if isinstance(text, bytes) else text.encode()
        (self.directory / name).write_bytes(raw)
        return name


@pytest.fixture
def command(tmp_path: Path) -> Command:
    return Command(tmp_path)


def file(name: str, text: str | bytes, place: str, *says: str) -> Check:
    """``flows validate`` and ``flows deploy`` refuse the file with this place (``:2:9: ``)."""

    def check(command: Command) -> None:
        command.write(name, text)
        found = command.run("validate", name)
        _refusal(found, 1, name, place, *says)
        found = command.run("deploy", name, "--title", "t")
        assert found.returncode in (1, 2), found
        assert found.stdout == ""
        _refusal(found, found.returncode, name, place, *says)
        if command.data_dir.exists():  # what is looked at only by the server needs one; it keeps nothing
            assert json.loads(command.run("list", "--json").stdout) == []

    return check


def _refusal(found: subprocess.CompletedProcess[str], code: int, *says: str) -> None:
    text = found.stdout + found.stderr
    assert found.returncode == code, text
    fit_to_be_read(text.replace("flows_engine", ""))
    missing = [one for one in says if one not in text]
    assert not missing, f"{missing} not in {text[:600]}"


def all_of(*checks: Check) -> Check:
    def check(command: Command) -> None:
        for one in checks:
            one(command)

    return check


def words_that_are_text(command: Command) -> None:
    """``NO`` is a word: only true and false are not."""
    name = command.write(
        "no.yaml", "StartAt: NO\nStates:\n  NO: {Type: Pass, Parameters: {a: yes, b: on}, End: true}\n"
    )
    assert command.run("validate", name).returncode == 0
    done = command.run("run", name, "--json")
    assert done.returncode == 0, done.stderr
    assert '"a": "yes"' in done.stdout


def bomb(command: Command) -> None:
    began = time.monotonic()
    file("bomb.yaml", BOMB, ":1:4: ", "anchors (&a) are not supported")(command)
    file("wide.yaml", "[" * 100_000, ":1:", "64 levels")(command)
    assert time.monotonic() - began < 15


ROWS = rows_of(
    {
        "B79 YAML that is no JSON": all_of(
            file("alias.yaml", "StartAt: S\nStates: {S: *x}\n", ":2:13: ", "aliases (*x)", "not supported"),
            file("tag.yaml", "StartAt: !!python/object/apply:os.system [x]\n", ":1:10: ", "tags"),
            file("tab.yaml", "StartAt: S\nStates:\n\tS: {}\n", ":3:1: ", "this is not YAML"),
            file("twice.yaml", "StartAt: S\nStartAt: T\n", ":2:1: ", "the key 'StartAt' appears twice"),
            file("merge.yaml", "<<: {a: 1}\n", ":1:1: ", "merge keys (<<) are not supported"),
            file("two.yaml", "a: 1\n---\nb: 2\n", ":2:1: ", "one document is expected"),
            file("number.yaml", "StartAt: 99999999999999999999\n", ":1:10: ", "does not fit 64 bits"),
            words_that_are_text,
        ),
        "B80 YAML bomb": bomb,
    }
)

#: The same bad inputs as in other modules, once more as files; they have their numbers there.
FILES = [
    Row("not JSON", file("flow.json", '{"StartAt": x}', ":1:13: ", "not JSON")),
    Row("empty", file("flow.json", " \n", "flow.json", "empty")),
    Row("UTF-16", file("flow.json", '{"a": 1}'.encode("utf-16"), "flow.json", "UTF-8")),
    Row("NaN", file("flow.json", '{\n"a": NaN}', ":2:6: ", "NaN is not a JSON number")),
    Row("duplicate key", file("flow.json", '{"a": 1,\n "a": 2}', ":2:", "appears twice")),
    Row("depth", file("flow.json", "[" * 100_000 + "]" * 100_000, ":1:65: ", "64 levels")),
    Row("too large", file("flow.json", '"' + "x" * 3_000_000 + '"', "flow.json", "limit")),
    Row("a list", file("flow.json", "[]", "flow.json:1:1", "not a valid dict")),
    Row("NUL", file("flow.json", b'{"a": "\x00"}', ":1:8: ", "control character inside a text")),
    Row(
        "unknown state",
        file(
            "flow.yaml",
            "StartAt: Frist\nStates:\n  First: {Type: pass, End: true}\n",
            "flow.yaml:1:10: there is no state 'Frist'",
            "flow.yaml:3:",
            "did you mean 'Pass'?",
        ),
    ),
]


@by_id([*ROWS, *FILES])
def test_a_file_is_refused_with_its_place(command: Command, row: Any) -> None:
    row.check(command)


def test_a_loop_that_never_waits_is_a_warning(command: Command) -> None:
    """The other half of B24: such a loop may count, so it is published."""
    rule = {"Variable": "$.n", "NumericEquals": 0, "Next": "E"}
    states = {"S": {"Type": "Choice", "Choices": [rule], "Default": "S"}, "E": {"Type": "Pass", "End": True}}
    name = command.write("loop.json", json.dumps({"StartAt": "S", "States": states}))
    found = command.run("validate", name)
    assert found.returncode == 0
    assert re.search(r"loop\.json:1:\d+: warning: this loop never waits: S -> S", found.stdout)


@pytest.mark.parametrize(
    ("arguments", "code", "says"),
    [
        (("validate", "nowhere.json"), 2, "nowhere.json cannot be read: No such file or directory"),
        (("validate", "."), 2, "cannot be read: Is a directory"),
        (("deploy", "good.json"), 2, "--title"),
        (("start", "nothing"), 3, "nothing"),
        (("show", "00000000-0000-4000-8000-000000000000"), 3, "00000000-0000-4000-8000-000000000000"),
        (("runs", "show", "..%2f"), 2, "'..%2f' is not the id of a run"),
        (("deploy", "good.json", "--title", "x" * 129), 1, "128 characters"),
        (("deploy", "good.json", "--title", "t", "--viewer", "anne"), 1, 'Unrecognized principal string: "anne"'),
        (("deploy", "good.json", "--title", "t", "--input-schema", "schema.json"), 1, "schema.json:1:"),
        (("run", "good.json", "--input", "list.json"), 2, "list.json holds a list; the input of a run is an object"),
        (("run", "good.json", "--input", "context.json"), 1, "_context"),
        (("collections", "add", "x", "nowhere"), 1, "nowhere"),
        (("serve", "--port", "99999"), 2, "65535"),
        (("bogus",), 2, "bogus"),
    ],
    ids=lambda value: " ".join(value)[:40] if isinstance(value, tuple) else "",
)
def test_a_command_that_cannot_work_ends_with_a_sentence(
    command: Command, arguments: tuple[str, ...], code: int, says: str
) -> None:
    command.write("good.json", json.dumps({"StartAt": "P", "States": {"P": {"Type": "Pass", "End": True}}}))
    command.write("schema.json", '{"type": "strng"}')
    command.write("list.json", "[]")
    command.write("context.json", '{"_context": {}}')
    found = command.run(*arguments)
    _refusal(found, code, says)
    assert found.stdout == ""
