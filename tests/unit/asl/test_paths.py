"""Paths read and write one place of a document, or say in a sentence why they cannot."""

from __future__ import annotations

import copy

import pytest
from hypothesis import given
from hypothesis import strategies as st

from flows_engine.asl.errors import EvaluationError, PathSyntaxError
from flows_engine.asl.path_syntax import format_path
from flows_engine.asl.paths import MAX_VISITED, MISSING, compile_path
from flows_engine.asl.scope import Scope

DOCUMENT = {
    "n": 3,
    "text": "abc",
    "nothing": None,
    "no": False,
    "submitting-user-id": "u",
    "naïve": 1,
    "@id": "i",
    "dc:title": "t",
    "a": {"b": [1, 2, {"x y": 5, "it's": 6}], "c": {"d": "deep"}},
    "users": [{"status": 0, "name": "ann"}, {"status": 1}, {"name": "bob"}],
}
SCOPE = Scope(
    document=DOCUMENT,
    context={"run_id": "r-1", "token_info": {"exp": 7}},
    machine={"Execution": {"Id": "e-1"}},
    variables={"v": {"w": [1, 2]}, "flag": False},
)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("$", DOCUMENT),
        ("$.n", 3),
        ("$.nothing", None),
        ("$.no", False),
        ("$.submitting-user-id", "u"),
        ("$.naïve", 1),
        ("$.@id", "i"),
        ("$.dc:title", "t"),
        ("$.a.c.d", "deep"),
        ("$['a']['c'][\"d\"]", "deep"),
        ("$.a.b[0]", 1),
        ("$.a.b[-1]['x y']", 5),
        ("$.a.b[2]['it\\'s']", 6),
        ("$.a.b[ 2 ][ 'x y' ]", 5),
        ("$.a.b[0:2]", [1, 2]),
        ("$.a.b[1:]", [2, {"x y": 5, "it's": 6}]),
        ("$.a.b[:1]", [1]),
        ("$.a.b[0:0]", []),
        ("$.a.b[-2:]", [2, {"x y": 5, "it's": 6}]),
        ("$.users[*].status", [0, 1]),
        ("$.users[0:1].name", ["ann"]),
        ("$.users[*][0]", []),
        ("$.a.c.*", ["deep"]),
        ("$.a.c[*]", ["deep"]),
        ("$.item.items[*]", []),
        ("$.item.items[1:5]", []),
        ("$.n[*]", []),
        ("$._context.run_id", "r-1"),
        ("$['_context'].token_info.exp", 7),
        ("$._context", {"run_id": "r-1", "token_info": {"exp": 7}}),
        ("$$.Execution.Id", "e-1"),
        ("$$", {"Execution": {"Id": "e-1"}}),
        ("$v.w[1]", 2),
        ("$flag", False),
    ],
)
def test_a_path_reads_what_it_names(text, expected):
    assert compile_path(text).read(SCOPE) == expected


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("$.users[?(@.status == 0)]", [{"status": 0, "name": "ann"}]),
        ("$.users[?(@.status >= 0)].status", [0, 1]),
        ("$.users[?(@.name == 'ann' && @.status == 0)].name", ["ann"]),
        ("$.users[?(@.name == 'a]b')]", []),
        ("$.n[?(@.x)]", []),
        ("$..name", ["ann", "bob"]),
        ("$.a..d", ["deep"]),
        ("$.a..[0]", [1]),
        ("$.users[0,2].name", ["ann", "bob"]),
        ("$['n','text','nope']", [3, "abc"]),
        ("$['n','n']", [3]),
        ("$v.w[0,1]", [1, 2]),
    ],
)
def test_extended_forms_read_lists(text, expected):
    assert compile_path(text, extended=True).read(SCOPE) == expected


@pytest.mark.parametrize("text", ["$..name", "$.users[?(@.status == 0)]", "$['n','text']", "$.users[0,1]"])
def test_extended_forms_are_refused_unless_asked_for(text):
    with pytest.raises(PathSyntaxError, match="this form of path is not supported"):
        compile_path(text)


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("", "must begin with '\\$'"),
        ("foo", "write '\\$.foo'"),
        ("foo.bar", "write '\\$.foo.bar'"),
        ("States.Format('x')", "intrinsic functions"),
        ("$.", "a name is expected at column 3"),
        ("$.a.", "a name is expected at column 5"),
        ("$..a", "not available here"),
        ("$[?(@.x)]", "filters"),
        ("$.a[", "after '\\[' at column 4"),
        ("$.a['b'", "',' or '\\]' is expected at column 8"),
        ("$.a[]", "after '\\[' at column 4"),
        ("$.a[b]", "after '\\[' at column 4"),
        ("$.a[1:2:3]", "is expected at column 6"),
        ("$[-999999999999]", "out of range"),
        ("$[" + "9" * 900 + "]", "out of range"),
        ("$[1000000001]", "out of range"),
        ("$." + "a" * 10_000, "10002 characters; the limit is 1024"),
        ("$" + ".a" * 65, "65 parts; the limit is 64"),
        ("$.a b", "column 4"),
        ("$ .a", "column 2"),
        ("$.a ", "column 4"),
        ("$.a\n", "column 4"),
        ("$.a.length()", "column 11"),
        ("$.a + $.b", "column 4"),
        ("$.a`len`", "column 4"),
        ("$$23", "column 3"),
        ("$1", "column 2"),
    ],
)
def test_other_text_is_refused_with_a_reason(text, reason):
    with pytest.raises(PathSyntaxError, match=reason):
        compile_path(text)


@pytest.mark.parametrize("value", [None, 23, ["$.a"], {"$": 1}, True])
def test_only_text_is_a_path(value):
    with pytest.raises(PathSyntaxError, match="must be text"):
        compile_path(value)


@pytest.mark.parametrize(
    "text",
    [
        "$.a[?(@.b =~ '(a+)+$')]",
        "$.a[?(@.`len` > 3)]",
        "$.a[?(@..b)]",
        "$.a[?(@.b[?(@.c)])]",
        "$.a[?(@.b ==",
        "$.a[?(@.b == 1",
        "$.a[?()]",
        "$..a..b..c",
        "$..",
        "$...a",
    ],
)
def test_costly_or_broken_extended_forms_are_refused(text):
    with pytest.raises(PathSyntaxError, match="this form of path is not supported"):
        compile_path(text, extended=True)


@pytest.mark.parametrize(
    ("text", "cause"),
    [
        ("$.m", "'$' has no key 'm'; the keys there are 'n', 'text'"),
        ("$.a.c.x", "'$.a.c' has no key 'x'; the keys there are 'd'."),
        ("$.a.b[7]", "'$.a.b' is an array of 3 items and has no item 7."),
        ("$.n.x", "'$.n' is a number, not an object."),
        ("$.nothing.x", "'$.nothing' is null, not an object."),
        ("$.a.b.x", "'$.a.b' is an array, not an object."),
        ("$.text[0]", "'$.text' is text, not an array."),
        ("$.a.b[2]['x y'].z", "'$.a.b[2]['x y']' is a number, not an object."),
        ("$._context.nope", "'$._context' has no key 'nope'; the keys there are 'run_id', 'token_info'."),
        ("$$.Task", "'$$' has no key 'Task'; the keys there are 'Execution'."),
        ("$w", "there is no variable '$w'; there are '$v', '$flag'."),
    ],
)
def test_a_missing_value_is_explained_without_values(text, cause):
    with pytest.raises(EvaluationError) as raised:
        compile_path(text).read(SCOPE)
    assert raised.value.error == "States.Runtime"
    assert raised.value.cause.startswith(f"The path '{text}' could not be found in the state input: {cause}")
    assert not compile_path(text).is_present(SCOPE)
    assert compile_path(text).find(SCOPE) is MISSING


def test_the_keys_shown_are_few_and_never_private():
    document = {"_private_key": 1, "_tokens": 2, "k" * 90: 3} | {f"k{i}": i for i in range(50)}
    with pytest.raises(EvaluationError) as raised:
        compile_path("$.x").read(Scope(document=document))
    assert raised.value.cause.endswith("'k6', 'k7', 'k8' and 41 more.")
    assert "_private" not in raised.value.cause
    assert "_tokens" not in raised.value.cause
    assert len(raised.value.cause) < 300


def test_without_context_object_and_variables_the_sentence_says_so():
    with pytest.raises(EvaluationError, match="there is no Context Object"):
        compile_path("$$.Execution").read(Scope(document={}))
    with pytest.raises(EvaluationError, match="none has been assigned"):
        compile_path("$x").read(Scope(document={}))
    with pytest.raises(EvaluationError, match="it has no keys"):
        compile_path("$.x").read(Scope(document={}))


def test_the_run_context_hides_a_key_of_the_state_with_its_name():
    document = {"_context": {"run_id": "forged"}}
    path = compile_path("$._context.run_id")
    assert path.read(Scope(document=document, context={"run_id": "true"})) == "true"
    assert path.read(Scope(document=document, context=None)) == "forged"


@pytest.mark.parametrize(
    ("text", "present"),
    [("$.nothing", True), ("$.nope", False), ("$.users[*]", True), ("$.nope[*]", False), ("$.a.b[0:0]", False)],
)
def test_presence_is_about_existing_not_about_truth(text, present):
    assert compile_path(text).is_present(SCOPE) is present


def test_many_matches_are_stopped():
    document = {"a": [[0] * 1000] * 1000}
    with pytest.raises(EvaluationError, match=f"more than {MAX_VISITED}"):
        compile_path("$.a[*][*]").read(Scope(document=document))


@pytest.mark.parametrize(
    ("text", "before", "after"),
    [
        ("$", {"a": 1}, "new"),
        ("$", None, "new"),
        ("$.a", {}, {"a": "new"}),
        ("$.a", {"a": 1, "b": 2}, {"a": "new", "b": 2}),
        ("$._run.Step", {"b": 2}, {"b": 2, "_run": {"Step": "new"}}),
        ("$.a.b.c", {"a": {"x": 1}}, {"a": {"x": 1, "b": {"c": "new"}}}),
        ("$['x y'].z", {}, {"x y": {"z": "new"}}),
        ("$.a[1]", {"a": [1, 2, 3]}, {"a": [1, "new", 3]}),
        ("$.a[-1].b", {"a": [1, {"c": 2}]}, {"a": [1, {"c": 2, "b": "new"}]}),
    ],
)
def test_writing_gives_a_new_document(text, before, after):
    original = copy.deepcopy(before)
    assert compile_path(text, reference=True).write(before, "new") == after
    assert before == original


def test_writing_shares_what_it_does_not_touch():
    before = {"a": {"x": [1]}, "big": [1, 2, 3]}
    after = compile_path("$.a.y", reference=True).write(before, 1)
    assert after["big"] is before["big"]
    assert after["a"]["x"] is before["a"]["x"]


@pytest.mark.parametrize(
    ("text", "document", "reason"),
    [
        ("$.n.x", {"n": 3}, "'$.n' is a number, not an object"),
        ("$.n.x.y", {"n": None}, "'$.n' is null, not an object"),
        ("$.a.b", {"a": [1]}, "'$.a' is an array, not an object"),
        ("$.a", [1], "'$' is an array, not an object"),
        ("$.a", "text", "'$' is text, not an object"),
        ("$.a[3]", {"a": [1]}, "'$.a' has 1 items: there is no item 3"),
        ("$.a[0]", {"a": {}}, "'$.a' is an object, not an array"),
        ("$.q[0]", {}, "'$.q' does not exist, and arrays are not made"),
        ("$.q.r[0]", {}, "'$.q.r' does not exist, and arrays are not made"),
    ],
)
def test_a_result_is_not_written_through_anything_else(text, document, reason):
    with pytest.raises(EvaluationError) as raised:
        compile_path(text, reference=True).write(document, 1)
    assert raised.value.error == "States.ResultPathMatchFailure"
    assert raised.value.cause == f"The result cannot be written to the path '{text}': {reason}."


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("$._context", "reserved"),
        ("$._context.run_id", "reserved"),
        ("$['_context'].x", "reserved"),
        ("$$.Execution", "must begin with"),
        ("$v", "must begin with"),
        ("$.a[*]", "name one place"),
        ("$.a[0:1]", "name one place"),
        ("$.*", "name one place"),
    ],
)
def test_only_one_place_in_the_state_can_be_written(text, reason):
    with pytest.raises(PathSyntaxError, match=reason):
        compile_path(text, reference=True)
    assert not compile_path(text).is_reference


def test_equal_texts_share_one_compiled_path():
    assert compile_path("$.shared.path") is compile_path("$.shared.path")
    assert compile_path("$.shared.path", reference=True).is_reference


KEYS = st.sampled_from(["a", "b", "x y"]) | st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=8)
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**63), 2**63 - 1) | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(KEYS, inner, max_size=3),
    max_leaves=10,
)
DOCUMENTS = st.dictionaries(KEYS, VALUES, max_size=3) | VALUES.map(lambda value: {"root": value})


@given(keys=st.lists(KEYS, max_size=5), document=DOCUMENTS, value=VALUES)
def test_what_was_written_is_read_again_and_nothing_else_changes(keys, document, value):
    path = compile_path(format_path("$", ("root", *keys)), reference=True)
    before = copy.deepcopy(document)
    if _something_else_is_in_the_way(document, ["root", *keys]):
        with pytest.raises(EvaluationError):
            path.write(document, value)
    else:
        after = path.write(document, value)
        assert path.read(Scope(document=after)) == value
        assert {**after, "root": None} == {**before, "root": None}
    assert document == before


def _something_else_is_in_the_way(document, keys):
    for key in keys:
        if not isinstance(document, dict):
            return True
        if key not in document:
            return False
        document = document[key]
    return False


@given(text=st.text(max_size=30) | st.text("$.[]'\"*:0a-1?@,() \\", max_size=30).map(lambda rest: "$" + rest))
def test_any_text_is_a_path_or_refused_in_a_sentence(text):
    for extended in (False, True):
        try:
            outcome = compile_path(text, extended=extended).is_present(SCOPE)
        except PathSyntaxError as error:
            outcome = str(error)
        assert outcome in (True, False) or "path" in outcome


@given(segments=st.lists(KEYS | st.integers(-9, 9), max_size=6))
def test_a_printed_path_means_the_same(segments):
    assert compile_path(format_path("$", tuple(segments))).segments == tuple(segments)
