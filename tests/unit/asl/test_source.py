"""JSON and YAML give the same documents, the same places, and complaints that name line and column."""

from __future__ import annotations

import pytest

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
    ("B10 json", '{"a": 1,\n "a": 2}', "f.json", "DUPLICATE_KEY", "f.json, line 2 column 7: the key 'a' appears twice"),
    ("B01", '{"a" 1}', "f.json", "BAD_JSON", "at line 1 column 6"),
    ("B06", '{"a":\n NaN}', "f.json", "BAD_NUMBER", "f.json, line 2 column 2: NaN is not a JSON number"),
    ("B07", '{"a": 1e400}', "f.json", "BAD_NUMBER", "f.json, line 1 column 7: the number 1e400 is too large"),
    ("B13", "[" * 70 + "]" * 70, "f.json", "TOO_DEEP", "line 1 column 65"),
    ("alias", "a: 1\nb: *a", "f.yaml", "BAD_YAML", "f.yaml, line 2 column 4: aliases (*a) are not supported"),
    ("anchor", "a: &x 1", "f.yaml", "BAD_YAML", "f.yaml, line 1 column 4: anchors (&x) are not supported"),
    ("tag", "a: !!python/object:os.system x", "f.yaml", "BAD_YAML", "line 1 column 4: tags"),
    ("own tag", "a: !x [1]", "f.yaml", "BAD_YAML", "line 1 column 4: tags (!x) are not supported"),
    ("merge", "<<: {a: 1}", "f.yaml", "BAD_YAML", "line 1 column 1: merge keys"),
    ("B79 twice", "a: 1\nb: 2\na: 3", "f.yaml", "DUPLICATE_KEY", "f.yaml, line 3 column 1: the key 'a' appears twice"),
    ("B79 tab", "a:\n\tb: 1", "f.yaml", "BAD_YAML", "line 2 column 1"),
    ("open", "a: [1", "f.yaml", "BAD_YAML", "this is not YAML"),
    ("list key", "? [a]\n: 1", "f.yaml", "BAD_YAML", "line 1 column 3: a key must be text"),
    ("two", "a: 1\n---\nb: 2", "f.yaml", "BAD_YAML", "line 2 column 1: one document is expected"),
    ("empty", "", "f.yaml", "BAD_YAML", "line 1 column 1: the text is empty"),
    ("control", "a: \x07", "f.yaml", "BAD_YAML", "this is not YAML"),
    ("integer", "a: 99999999999999999999", "f.yaml", "BAD_NUMBER", "line 1 column 4: the integer"),
    ("deep", "[" * 70 + "]" * 70, "f.yaml", "TOO_DEEP", "line 1 column 65"),
    ("NUL", 'a: "\\0"', "f.yaml", "BAD_TEXT", "NUL"),
    ("bytes", b"a: b\nc: \xff", "f.yaml", "BAD_TEXT", "f.yaml, line 2 column 4: this is not UTF-8"),
    ("size", "x" * 524_289, "f.yaml", "TOO_LARGE", "the limit is 524288"),
    ("B80", BOMB, "f.yaml", "BAD_YAML", "line 1 column 4: anchors"),
]  # fmt: skip


@pytest.mark.parametrize(("text", "name", "code", "words"), [row[1:] for row in BAD], ids=[row[0] for row in BAD])
def test_what_is_not_one_plain_document_is_refused_with_its_place(text, name, code, words):
    with pytest.raises(InvalidJson) as caught:
        read_document(text, name=name)
    assert caught.value.code == code
    assert words in caught.value.detail
