"""JSON and YAML give the same documents, the same places, and complaints that name line and column."""

from __future__ import annotations

import pytest
import yaml

from flows_engine.asl import source
from flows_engine.asl.source import read_document
from schemas.errors import InvalidJson

JSON = '{"StartAt": "A",\n "States": {\n  "A": {"Type": "Pass", "End": true},\n  "B\\"": [1, {"x": null}]\n }}'
YAML = 'StartAt: A\nStates:\n  A:\n    Type: Pass\n    End: true\n  "B\\"":\n    - 1\n    - x:\n'


def test_json_and_yaml_give_the_same_document():
    assert read_document(JSON, name="f.json").document == read_document(YAML, name="f.yaml").document


@pytest.mark.parametrize(
    ("loc", "in_json", "in_yaml"),
    [
        (("StartAt",), (1, 13), (1, 10)),
        (("States",), (2, 12), (3, 3)),
        (("States", "A", "End"), (3, 32), (5, 10)),
        (("States", 'B"', 1, "x"), (4, 20), (8, 9)),
        (("States", "A", "Next"), (3, 8), (4, 5)),
        ((), (1, 1), (1, 1)),
    ],
)
def test_the_place_of_a_value_or_of_what_is_around_it(loc, in_json, in_yaml):
    assert read_document(JSON, name="f.json").locate(loc) == in_json
    assert read_document(YAML, name="f.yaml").locate(loc) == in_yaml


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ('{"a": 1}', "f.json"),
        ('{"a": 1}', "definition"),
        (b'\xef\xbb\xbf{"a": 1}', "f.json"),
        ("a: 1", "f.yml"),
        ("a: 1", "f.YAML"),
        ("a: 1", "definition"),
        ('{"a": 1}', "f.yaml"),
        ("---\na: 1\n...\n", "f.yaml"),
        ("# a comment\na: 1", "stdin"),
    ],
)
def test_the_suffix_decides_and_else_the_first_character(text, name):
    assert read_document(text, name=name).document == {"a": 1}


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("NO", "NO"),
        ("on", "on"),
        ("yes", "yes"),
        ("2026-01-31", "2026-01-31"),
        ("12:30:00", "12:30:00"),
        ("007", "007"),
        ("0x1F", "0x1F"),
        ("1_000", "1_000"),
        (".inf", ".inf"),
        ("'5'", "5"),
        ('"null"', "null"),
        ("5", 5),
        ("-2.5e3", -2500.0),
        ("true", True),
        ("False", False),
        ("null", None),
        ("~", None),
        ("", None),
        ("|\n  two\n  lines\n", "two\nlines\n"),
    ],
)
def test_plain_words_of_yaml_stay_text_unless_they_are_jsons(text, value):  # B79
    document = read_document(f"a: {text}", name="f.yaml").document
    assert document == {"a": value}
    assert type(document["a"]) is type(value)


def test_keys_of_yaml_are_text():
    assert read_document("1: a\ntrue: b\nNO: c", name="f.yaml").document == {"1": "a", "true": "b", "NO": "c"}


BOMB = "a: &a [x]\n" + "".join(
    f"{chr(98 + i)}: &{chr(98 + i)} [{', '.join(['*' + chr(97 + i)] * 9)}]\n" for i in range(9)
)
BAD = [
    ("B10 json", '{"a": 1,\n "a": 2}', "f.json", "DUPLICATE_KEY", "f.json:2:7: the key 'a' appears twice"),
    ("B01", '{"a" 1}', "f.json", "BAD_JSON", ":1:6"),
    ("B06", '{"a":\n NaN}', "f.json", "BAD_NUMBER", "f.json:2:2: NaN is not a JSON number"),
    ("B07", '{"a": 1e400}', "f.json", "BAD_NUMBER", "f.json:1:7: the number 1e400 is too large"),
    ("B13", "[" * 70 + "]" * 70, "f.json", "TOO_DEEP", ":1:65"),
    ("alias", "a: 1\nb: *a", "f.yaml", "BAD_YAML", "f.yaml:2:4: aliases (*a) are not supported"),
    ("anchor", "a: &x 1", "f.yaml", "BAD_YAML", "f.yaml:1:4: anchors (&x) are not supported"),
    ("tag", "a: !!python/object:os.system x", "f.yaml", "BAD_YAML", ":1:4: tags"),
    ("own tag", "a: !x [1]", "f.yaml", "BAD_YAML", ":1:4: tags (!x) are not supported"),
    ("merge", "<<: {a: 1}", "f.yaml", "BAD_YAML", ":1:1: merge keys"),
    ("B79 twice", "a: 1\nb: 2\na: 3", "f.yaml", "DUPLICATE_KEY", "f.yaml:3:1: the key 'a' appears twice"),
    ("B79 tab", "a:\n\tb: 1", "f.yaml", "BAD_YAML", ":2:1"),
    ("list key", "? [a]\n: 1", "f.yaml", "BAD_YAML", ":1:3: a key must be text"),
    ("two", "a: 1\n---\nb: 2", "f.yaml", "BAD_YAML", ":2:1: one document is expected"),
    ("empty", "", "f.yaml", "BAD_YAML", ":1:1: the text is empty"),
    ("control", "a: \x07", "f.yaml", "BAD_YAML", "this is not YAML"),
    ("integer", "a: 99999999999999999999", "f.yaml", "BAD_NUMBER", ":1:4: the integer"),
    ("deep", "[" * 70 + "]" * 70, "f.yaml", "TOO_DEEP", ":1:65"),
    ("NUL", 'a: "\\0"', "f.yaml", "BAD_TEXT", "NUL"),
    ("bytes", b"a: b\nc: \xff", "f.yaml", "BAD_TEXT", "f.yaml:2:4: this is not UTF-8"),
    ("size", "x" * 524_289, "f.yaml", "TOO_LARGE", "the limit is 524288"),
    ("B80", BOMB, "f.yaml", "BAD_YAML", ":1:4: anchors"),
]  # fmt: skip


@pytest.mark.parametrize(("text", "name", "code", "words"), [row[1:] for row in BAD], ids=[row[0] for row in BAD])
def test_what_is_not_one_plain_document_is_refused_with_its_place(text, name, code, words):
    with pytest.raises(InvalidJson) as caught:
        read_document(text, name=name)
    assert caught.value.code == code
    assert words in caught.value.detail


NOT_YAML = [
    ("tab", "a:\n\tb: 1", "2:1", "indent with spaces, not tabs"),
    ("tab after a value", "a: b\n\tc: 1", "2:1", "indent with spaces, not tabs"),
    ("colon", "a: b: c", "1:5", "put the value in quotes when it holds ': '"),
    ("deeper", "a: 1\n  b: 2", "2:4", "this line is indented more than the one it belongs beside"),
    ("shallower", "a:\n  b: 1\n c: 2\n", "3:2", "this line is not indented like the others of what begins at line 1 col"),
    ("item", "a:\n - b\n c: 1", "3:2", "not indented like the others of what begins at line 2 column 2"),
    ("double quote", 'a: 1\nb: "x\nc: 1\n', "2:4", "the quote that opens here is not closed"),
    ("single quote", "b: 'x\n\tc: 1\n", "1:4", "the quote that opens here is not closed"),
    ("bracket to the end", "a: [1\n\n", "1:4", "the [ that opens here is not closed"),
    ("brace to the end", "a: {x: 1", "1:4", "the { that opens here is not closed"),
    ("bracket", "a: [1\nb: 2\n", "2:2", "',' or ']' is missing: the [ opened at line 1 column 4 is not closed"),
    ("bracket in a value", "a: {b: $.x[0]}", "1:11", "put a value that holds brackets in quotes"),
    ("no colon", "a: 1\nfoo\nb: 2\n", "2:1", "write 'name: value'"),
    ("at", "a: @x", "1:4", "put the value in quotes: it begins with @"),
    ("star", "a: [*]", "1:5", "put the value in quotes: it begins with *"),
    ("rest", "a: 'it's'", "1:8", "put the whole value in one pair of quotes"),
    ("list", "a: - b", "1:4", "begins on a line of its own"),
]  # fmt: skip


@pytest.mark.parametrize("loader", [yaml.SafeLoader, getattr(yaml, "CSafeLoader", yaml.SafeLoader)])
@pytest.mark.parametrize(("text", "place", "words"), [row[1:] for row in NOT_YAML], ids=[row[0] for row in NOT_YAML])
def test_common_mistakes_in_yaml_are_said_in_plain_words_by_both_parsers(text, place, words, loader, monkeypatch):
    monkeypatch.setattr(source, "_LOADER", loader)
    assert_refused(text, "f.yaml", f"f.yaml:{place}: this is not YAML: ", words)


NOT_JSON = [
    ("empty", " \n", "1:1", "the text is empty"),
    ("open brace", '{"a": {"b": 1}', "1:15", "the { opened at line 1 column 1 is not closed"),
    ("open bracket", '{"a": [1', "1:9", "the [ opened at line 1 column 7 is not closed"),
    ("open quote", '{\n"a": "x', "2:6", "the quote that opens here is not closed"),
    ("no colon", '{"a" 1}', "1:6", "a colon is missing before this"),
    ("no comma", '{"a": 1\n "b": 2}', "2:2", "a comma is missing before this"),
    ("last comma", '{"a": 1,\n}', "1:8", "remove the comma before }"),
    ("last comma of a list", "[1, ]", "1:3", "remove the comma before ]"),
    ("word", '{"a": x}', "1:7", "write text in double quotes"),
    ("single quotes", "{'a': 1}", "1:2", "a key in double quotes is expected"),
    ("line break", '{"a": "x\n"}', "1:9", "write \\n for a line break"),
    ("backslash", '{"a": "\\d"}', "1:8", "a backslash in a text; write \\\\ for one"),
    ("rest", '{"a": 1}}', "1:9", "the document ends before this"),
]  # fmt: skip


@pytest.mark.parametrize(("text", "place", "words"), [row[1:] for row in NOT_JSON], ids=[row[0] for row in NOT_JSON])
def test_common_mistakes_in_json_are_said_in_plain_words(text, place, words):
    assert_refused(text, "f.json", f"f.json:{place}: ", words)


def assert_refused(text, name, start, words):
    with pytest.raises(InvalidJson) as caught:
        read_document(text, name=name)
    assert caught.value.detail.startswith(start)
    assert words in caught.value.detail


def test_white_space_at_the_end_costs_no_time():
    spaces = " " * 400_000
    assert read_document('{"a": 1}' + spaces, name="f.json").locate(("a",)) == (1, 7)
    assert_refused('{"a": [1' + spaces, "f.json", "f.json:1:", "the [ opened at line 1 column 7 is not closed")
