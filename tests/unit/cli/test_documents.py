"""Files that users give: read, or refused with the place of the fault."""

from __future__ import annotations

from pathlib import Path

import pytest

from flows_engine.cli.documents import problem_line, read_file, read_input
from flows_engine.cli.failures import Usage


@pytest.mark.parametrize(
    ("name", "content", "sentence"),
    [
        ("a.json", b'{"x": 1,}', "a.json:1:8: "),
        ("a.json", b'{\n  "x": 1,\n  "x": 2\n}', "a.json:3:8: "),
        ("a.json", b"", "is empty"),
        ("a.json", b'{"x": NaN}', "a.json:1:7: "),
        ("a.yaml", b"x: [1, 2", "a.yaml:1:4: "),
        ("a.yaml", b"x: &a 1\ny: *a\n", "anchors"),
        ("a.json", b'{"x": "\xff"}', "a.json:1:8: this is not UTF-8 text"),
        ("a.json", b" " * 600_000, "the limit is"),
    ],
)
def test_a_file_that_cannot_be_used_is_refused_by_name_and_place(
    tmp_path: Path, name: str, content: bytes, sentence: str
) -> None:
    file = tmp_path / name
    file.write_bytes(content)
    with pytest.raises(Usage) as caught:
        read_file(str(file))
    assert str(file) in caught.value.message
    assert sentence in caught.value.message


def test_a_file_that_is_not_there_is_refused_by_name(tmp_path: Path) -> None:
    with pytest.raises(Usage, match=r"nothing\.json cannot be read: No such file or directory"):
        read_file(str(tmp_path / "nothing.json"))


def test_a_folder_is_no_file(tmp_path: Path) -> None:
    with pytest.raises(Usage, match="cannot be read: Is a directory"):
        read_file(str(tmp_path))


@pytest.mark.parametrize(
    ("text", "kind"),
    [("[1]", "a list"), ("null", "null"), ("3", "a number"), ('"x"', "a text"), ("true", "true or false")],
)
def test_the_input_of_a_run_is_an_object(tmp_path: Path, text: str, kind: str) -> None:
    file = tmp_path / "in.json"
    file.write_text(text)
    with pytest.raises(Usage, match=f"holds {kind}; the input of a run is an object"):
        read_input(str(file))


def test_no_file_is_an_empty_input() -> None:
    assert read_input(None) == {}


def test_a_problem_is_shown_where_it_stands(tmp_path: Path) -> None:
    file = tmp_path / "flow.yaml"
    file.write_text("StartAt: A\nStates:\n  A:\n    Type: Pass\n    Nxt: B\n")
    sources = {"definition": (read_file(str(file)), "flow.yaml")}
    unknown = {"loc": ["definition", "States", "A", "Nxt"], "msg": "no such field", "type": "value_error.extra"}
    assert problem_line(unknown, sources) == "flow.yaml:5:10: no such field: 'Nxt'  [States.A.Nxt]"
    assert problem_line({"loc": ["definition"], "msg": "odd"}, sources) == "flow.yaml:1:1: odd"
    assert problem_line({"loc": ["title"], "msg": "too long"}, sources) == "title: too long"
    nested = {"loc": ["definition", "States", "A", "Choices", 0, "Next"], "msg": "no"}
    assert problem_line(nested, sources) == "flow.yaml:4:5: no  [States.A.Choices[0].Next]"
