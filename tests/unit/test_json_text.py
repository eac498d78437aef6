"""Strict JSON: what its options let pass, and that a long text costs no more than reading it."""

from __future__ import annotations

import json
import time

import pytest

from schemas.errors import InvalidJson
from schemas.json_text import MAX_TEXT_CHARS, loads

MIB = 1024 * 1024
LONG = "x" * (MAX_TEXT_CHARS + 1)


def test_a_long_text_passes_where_it_is_expected_and_nowhere_else() -> None:
    raw = json.dumps({"code": [LONG]})
    with pytest.raises(InvalidJson, match=rf"the text at \$.code\[0\] has {len(LONG)} characters; the limit is"):
        loads(raw)
    assert loads(raw, max_text_chars=len(LONG)) == {"code": [LONG]}
    with pytest.raises(InvalidJson, match="the key 'xxxx"):
        loads(json.dumps({LONG: 1}), max_text_chars=len(LONG))


@pytest.mark.parametrize("text", ["a\0b", "\ud800"])
def test_odd_characters_pass_where_somebody_deals_with_them(text: str) -> None:
    raw = json.dumps({"result": text})
    with pytest.raises(InvalidJson, match=r"the text at \$.result holds"):
        loads(raw)
    assert loads(raw, odd_characters=True) == {"result": text}
    with pytest.raises(InvalidJson, match="the limit is 2"):
        loads(json.dumps({"r": "abc"}), odd_characters=True, max_text_chars=2)


def test_every_bracket_outside_of_texts_counts_and_none_inside() -> None:
    inside = '"' + '\\"[{' * 100 + '\\\\"'
    assert loads(f'{{"a": {inside}}}', max_depth=1)["a"] == '"[{' * 100 + "\\"
    with pytest.raises(InvalidJson, match="more than 2 levels"):
        loads(f'{{"a": {inside}, "b": [[]]}}', max_depth=2)
    with pytest.raises(InvalidJson, match="more than 2 levels"):
        loads('{"a": ' + "[" * 5 + '"never closed', max_depth=2)


@pytest.mark.parametrize(
    "text",
    ["a" * 10 * MIB, '{"a":' * 2 * MIB, "\\" * 5 * MIB, "é" * 5 * MIB, "x = [1]\n" * MIB],
    ids=["plain", "quotes", "backslashes", "letters", "lines"],
)
def test_ten_mebibytes_are_read_in_well_under_a_second(text: str) -> None:
    raw = json.dumps({"tasks": {"f": [text]}}, ensure_ascii=False).encode()
    began = time.process_time()
    assert loads(raw, max_text_chars=24 * MIB)["tasks"]["f"] == [text]
    assert time.process_time() - began < 0.6
