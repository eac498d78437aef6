"""Framing wraps any text and gives it back, and says clearly what it cannot read."""

from __future__ import annotations

import contextlib
import json
import math
import subprocess
import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st

from compute_agent import framing
from compute_agent.framing import FramingError

TEXTS = st.text(st.characters(codec="utf-8"))
KINDS = st.sampled_from(["00", "11", "13", "01", "02", "03", "04", "10", "12", "st", "sd", "j1", "c0", "c1", "sh"])
LEAVES = (
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**63 - 1)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text()
)
JSON_VALUES = st.recursive(LEAVES, lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner), max_leaves=20)


@given(st.lists(TEXTS))
def test_packed_buffers_come_back(buffers: list[str]) -> None:
    assert framing.unpack(framing.pack(buffers)) == buffers


def test_packing_is_the_published_form() -> None:
    assert framing.pack(["11\n[1]", "11\n{}"]) == "6\n11\n[1]5\n11\n{}"
    assert framing.pack(["ü"]) == "1\nü", "lengths count characters, not bytes"


@given(JSON_VALUES)
def test_json_values_come_back_as_ascii(value: object) -> None:
    buffer = framing.json_data(value)
    assert buffer.isascii()
    assert framing.read_json(buffer) == value
    assert framing.read_json(framing.pack([buffer])) == value


@given(KINDS, st.text(st.characters(codec="ascii", exclude_characters="\n"), max_size=40))
def test_a_function_is_found_whether_it_was_packed_or_not(kind: str, payload: str) -> None:
    buffer = framing.join(kind, payload)
    assert framing.unpack_code(framing.pack([buffer])) == buffer
    assert framing.unpack_code(buffer) == buffer


@given(st.text(max_size=60))
def test_any_text_is_either_read_or_refused_with_a_framing_error(text: str) -> None:
    for read in (framing.unpack, framing.split, framing.unwrap, framing.read_json):
        with contextlib.suppress(FramingError):
            read(text)
    framing.describe(text)
    framing.python_version_of(text)
    assert framing.is_pickle(text) in (True, False)


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("5\nabc", "should have 5 characters and has 3"),
        ("x", "no length at character 0"),
        ("3\nabcx", "no length at character 5"),
        ("-1\n", "no length"),
        ("9999999999999999999999\n", "no length"),
    ],
)
def test_text_that_is_not_packed_is_refused(text: str, says: str) -> None:
    with pytest.raises(FramingError, match=says):
        framing.unpack(text)


@pytest.mark.parametrize("text", ["", "4\n11\n", "zz\nabc", "11", "11 []", "5\n11\n[]5\n11\n[]"])
def test_text_without_exactly_one_known_buffer_is_refused(text: str) -> None:
    with pytest.raises(FramingError):
        framing.split(framing.unwrap(text)[:2])


@pytest.mark.parametrize(
    "value", [(1,), {1: 2}, {"a": {1}}, math.nan, [math.inf], 2**63, [-(2**63) - 1], b"x", [[True, object()]]]
)
def test_what_json_does_not_keep_is_not_written_as_json(value: object) -> None:
    assert framing.json_text(value) is None
    with pytest.raises(FramingError, match="not plain JSON"):
        framing.json_data(value)


def test_recursive_and_bottomless_values_are_refused() -> None:
    recursive: list[object] = [1]
    recursive.append({"again": recursive})
    with pytest.raises(FramingError, match="recursive: a list contains itself"):
        framing.json_data(recursive)
    deep: list[object] = []
    for _ in range(5000):
        deep = [deep]
    with pytest.raises(FramingError, match="nested more than 200 levels"):
        framing.json_data(deep)


def test_a_value_that_holds_one_part_very_often_is_stopped_early() -> None:
    value: list[object] = ["x" * 1000]
    for _ in range(60):
        value = [value, value]
    with pytest.raises(framing.TooMuchText, match="256 MiB"):
        framing.json_data(value)


def test_arguments_of_a_flow_are_two_packed_json_buffers() -> None:
    payload = framing.pack_json_arguments([1, {"a": None}], {"name": "é"})
    assert [framing.read_json(buffer) for buffer in framing.unpack(payload)] == [[1, {"a": None}], {"name": "é"}]
    assert not framing.is_pickle(framing.unpack(payload)[0])
    with pytest.raises(FramingError, match="must be text, not 3"):
        framing.pack_json_arguments([], {3: 1})  # type: ignore[dict-item]  # that is the mistake


SOURCE = "import os\n\n@decorated\ndef run(x: int) -> int:\n    return x\n\nasync def later(): ...\nalso = run\n"


@pytest.mark.parametrize("name", ["run", "later", "also", "os"])
def test_source_is_framed_with_the_name_that_it_defines(name: str) -> None:
    buffer = framing.source_code(SOURCE, name)
    assert framing.split(buffer) == ("st", f"{name}:{SOURCE}")
    assert framing.split_source(f"{name}:{SOURCE}") == (name, SOURCE)


@pytest.mark.parametrize(
    ("source", "name", "says"),
    [
        ("def f(:\n  pass", "f", r"not Python: .* \(line 1\)"),
        ("def g(): pass", "f", "does not define f at its top level; it defines g"),
        ("1 + 1", "f", "it defines nothing"),
        ("def f(): pass\0", "f", "not Python"),
        ("def f(): pass", "f g", "cannot be the name of a function"),
    ],
)
def test_source_that_cannot_work_is_refused_before_it_is_sent(source: str, name: str, says: str) -> None:
    with pytest.raises(FramingError, match=says):
        framing.source_code(source, name)


def _tagged(tag: str, content: object) -> str:
    return framing.join("j1", json.dumps({"a": {"$": tag, "v": content}}))


@pytest.mark.parametrize(
    ("tag", "content", "seen"),
    [
        ("tuple", [1, {"$": "tuple", "v": [2]}], [1, [2]]),
        ("set", [1], [1]),
        ("datetime", "2030-01-01T00:00:00+00:00", "2030-01-01T00:00:00+00:00"),
        ("timedelta", [1, 2, 500_000], 86_402.5),
        ("timedelta", [0, 60, 0], 60),
        ("uuid", "x", "x"),
        ("ShellResult", {"returncode": 0}, {"returncode": 0}),
        ("dict", [["$", 1]], {"$": 1}),
    ],
)
def test_typed_values_have_a_plain_reading(tag: str, content: object, seen: object) -> None:
    assert framing.read_json(_tagged(tag, content)) == {"a": seen}


@pytest.mark.parametrize(
    ("buffer", "says"),
    [
        (_tagged("bytes", "AA=="), "a value of type 'bytes', which JSON has no word for"),
        (_tagged("float", "nan"), "infinite or not a number"),
        (_tagged("dict", [[1, 2]]), "keys that are not text"),
        ("11\nNaN", "NaN is not a number of JSON"),
        ("11\n1e999", "too large"),
        ("11\n123456789012345678901234567890", "does not fit 64 bits"),
        ("11\n{", "not JSON"),
        ("11\n" + "[" * 100_000, "not JSON"),
        ("c0\nAAAA", "a pickled value, which only Python programs"),
        ("00\nAAAA", "pickled by dill"),
    ],
)
def test_what_flows_cannot_read_is_said(buffer: str, says: str) -> None:
    with pytest.raises(FramingError, match=says):
        framing.read_json(buffer)


def test_in_a_value_of_several_formats_the_json_is_read() -> None:
    buffer = framing.join("13", framing.pack(["00\nAAAA", "11\n[7]"]))
    assert framing.read_json(buffer) == [7]
    assert not framing.is_pickle(buffer)


@pytest.mark.parametrize(
    ("buffer", "pickle", "words"),
    [
        ("11\n[]", False, "JSON, 2 characters"),
        ("st\nf:def f(): pass", False, "source code, 15 characters"),
        ("c1\n3.11.9 AAAA", True, "a pickled function, 11 characters"),
        ("c0\n" + "A" * 2048, True, "a pickled value, 2.0 KiB"),
        ("00\n" + "A" * 3 * 1024 * 1024, True, "a value pickled by dill, 3.0 MiB"),
        ("what?", True, "unknown text, 5 characters"),
    ],
)
def test_a_buffer_is_described_for_people(buffer: str, pickle: bool, words: str) -> None:
    assert framing.is_pickle(buffer) is pickle
    assert framing.describe(buffer) == words


def test_pickled_functions_tell_their_python_version() -> None:
    assert framing.python_version_of("c1\n3.11.9 AAAA") == "3.11.9"
    assert framing.python_version_of(framing.pack(["c1\n3.14.0rc1 AAAA BBBB"])) == "3.14.0rc1"
    assert framing.python_version_of("01\nAAAA") is None
    assert framing.python_version_of("nothing") is None


def test_the_framing_loads_nothing_that_unpickles() -> None:
    check = "import sys, compute_agent.framing; sys.exit(bool({'pickle', 'cloudpickle', 'dill'} & set(sys.modules)))"
    assert subprocess.run([sys.executable, "-c", check], check=False).returncode == 0
