"""Expressions compute plain JSON values from a run's state, or fail in a sentence with the column."""

from __future__ import annotations

import copy
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from flows_engine.asl.errors import EvaluationError, ExpressionSyntaxError
from flows_engine.asl.expression import compile_expression, evaluate_with
from flows_engine.asl.expression_values import MAX_ITEMS, MAX_TEXT_CHARS
from flows_engine.asl.scope import Scope

STATE = {
    "n": 5,
    "price": 2.5,
    "name": "Ann",
    "yes": True,
    "nothing": None,
    "src": "/~/data/",
    "sp": "/a/b/c",
    "l": [3, 1, 2],
    "words": ["b", "a"],
    "d": {"a": 1, "items": [1], "x y": 2, "_private": 3, "keys": "k"},
    "ls": {"details": {"DATA": [{"name": "x", "size": 1}, {"name": "y", "size": 20}]}},
    "_run": {"Get": {"details": {"type": "dir"}}},
    "counter": {"n": 41},
    "größe": 7,
}
SCOPE = Scope(document=STATE, context={"run_id": "R", "flow_id": "F"}, variables={"v": [1, 2]})


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        # names, keys, items
        ("n", 5),
        ("nothing", None),
        ("d.a", 1),
        ("d['a']", 1),
        ("d['x y']", 2),
        ("d['a' + '']", 1),
        ("d._private", 3),
        ("d.items", [1]),
        ("d.keys", "k"),
        ("ls.details.DATA[0].name", "x"),
        ("ls.details.DATA[-1]['name']", "y"),
        ("größe + 1", 8),
        ("_context.run_id", "R"),
        ("name[0]", "A"),
        ("l[1:]", [1, 2]),
        ("l[:-1]", [3, 1]),
        ("l[0:0]", []),
        ("l[5:]", []),
        ("l[::-1]", [2, 1, 3]),
        ("name[1:]", "nn"),
        # paths between backticks
        ("`$._context.flow_id` + '_'  + `$._context.run_id`", "F_R"),
        ("'x' + `$._context.run_id` + '_deny'", "xR_deny"),
        ("[`$.sp`]", ["/a/b/c"]),
        ("`$.d`.a + `$.l[0]`", 4),
        ("`$.d`['a']", 1),
        ("`$.ls.details.DATA[*].name`", ["x", "y"]),
        ("`$['x y']` if is_present(\"['x y']\") else 0", 0),
        ("`$v`[1]", 2),
        ("'`$.n`'", "`$.n`"),
        ("(n +\n `$.n`)", 10),
        ("n+`$.n`", 10),
        ("[größe, `$.n`, 'ü', `$.d.a`]", [7, 5, "ü", 1]),
        # literals
        ("1", 1),
        ("-1", -1),
        ("-9223372036854775808", -(2**63)),
        ("1.5", 1.5),
        ("1e3", 1000.0),
        ("'a' \"b\"", "ab"),
        ("'it\\'s'", "it's"),
        ("[True, False, None]", [True, False, None]),
        ("[true, false, null]", [True, False, None]),
        ("{'a': 1, 'b': [n]}", {"a": 1, "b": [5]}),
        ("(1, 2)", [1, 2]),
        ("()", []),
        ("f'{n} of {name}: {d.a + 1}{{}}'", "5 of Ann: 2{}"),
        ("f'{yes} {nothing} {price} {words}'", "True None 2.5 ['b', 'a']"),
        # operators
        ("n + 1", 6),
        ("counter.n + 1", 42),
        ("n - 1.5", 3.5),
        ("n * 2", 10),
        ("n / 2", 2.5),
        ("4 / 2", 2.0),
        ("n // 2", 2),
        ("n % 3", 2),
        ("2 ** 10", 1024),
        ("2 ** -1", 0.5),
        ("2 ** 62 + (2 ** 62 - 1)", 2**63 - 1),
        ("(-1) ** 3", -1),
        ("0 ** 0", 1),
        ("-n", -5),
        ("+n", 5),
        ("'a' + 'b'", "ab"),
        ("'ab' * 2", "abab"),
        ("2 * 'ab'", "abab"),
        ("'ab' * -1", ""),
        ("[0] * 3", [0, 0, 0]),
        ("l + [4]", [3, 1, 2, 4]),
        ("1 < n <= 5", True),
        ("1 < n < 5", False),
        ("n == 5.0", True),
        ("d == {'a': 1}", False),
        ("'a' < 'b'", True),
        ("name != 'Ann'", False),
        ("n in l", False),
        ("3 in l", True),
        ("'n' in name", True),
        ("'a' in d and d.a == 1", True),
        ("'code' not in d or d.code != 'NotFound'", True),
        ("'type' in _run.Get.details and _run.Get.details.type == 'dir'", True),
        ("1 in d", False),
        ("not n", False),
        ("not []", True),
        ("0 or 'x'", "x"),
        ("n and name", "Ann"),
        ("nope if False else 1", 1),
        ("'big' if n > 4 else 'small'", "big"),
        ("nothing is None", True),
        ("n is not None", True),
        ("yes is True", True),
        # comprehensions
        (
            "[{'p': src.rstrip('/') + '/' + i.name} for i in ls.details.DATA]",
            [{"p": "/~/data/x"}, {"p": "/~/data/y"}],
        ),
        ("[i.name for i in ls.details.DATA if i.size > 5]", ["y"]),
        ("[x * y for x in [1, 2] for y in [10, 20] if x < y]", [10, 20, 20, 40]),
        ("[[x, y] for x in [1] for y in [x + 1]]", [[1, 2]]),
        ("[[y for y in [x, x]] for x in l]", [[3, 3], [1, 1], [2, 2]]),
        ("[n for n in l] + [n]", [3, 1, 2, 5]),
        ("[x for x in 'abc']", ["a", "b", "c"]),
        ("[k for k in d if k.startswith('i')]", ["items"]),
        ("{k: v for k, v in d.items() if k == 'a'}", {"a": 1}),
        # functions
        ("pathsplit('/foo/bar/blech')", ["/foo/bar", "blech"]),
        ("pathsplit('/~/path')", ["/~/", "path"]),
        ("pathsplit('/~/a/b')", ["/~/a", "b"]),
        ("pathsplit('/~/')", ["/~/", ""]),
        ("pathsplit('/foo')", ["/", "foo"]),
        ("pathsplit('/foo/')", ["/foo", ""]),
        ("pathsplit('foo')", ["", "foo"]),
        ("pathsplit(sp)[1]", "c"),
        ("is_present('d.a')", True),
        ("is_present('nothing')", True),
        ("is_present('d.b[0].c')", False),
        ("is_present('ls.details.DATA[1].name')", True),
        ("is_present('_context.run_id')", True),
        ("is_present('$.d.a')", True),
        ("getattr('d.a', 0)", 1),
        ("getattr('d.z', 'u-' + _context.run_id)", "u-R"),
        ("getattr('d.z')", None),
        ("getattr('d.' + words[1])", 1),
        ("len(l) + len(name) + len(d)", 11),
        ("str(n) + str(price) + str(yes) + str(nothing) + str()", "52.5TrueNone"),
        ("str(d)", "{'a': 1, 'items': [1], 'x y': 2, '_private': 3, 'keys': 'k'}"),
        ("int('12') + int(3.9) + int(True) + int()", 16),
        ("float('1.5') + float(1)", 2.5),
        ("[bool(0), bool('x'), bool()]", [False, True, False]),
        ("list('ab') + list(l) + list({'k': 1}) + list()", ["a", "b", 3, 1, 2, "k"]),
        ("[min(l), max(l), min(2, 1), max('a', 'b')]", [1, 3, 1, "b"]),
        ("sum(l) + abs(-2)", 8),
        ("sum([x.size for x in ls.details.DATA])", 21),
        ("[round(2.567, 1), round(2.5), round(15, -1)]", [2.6, 2, 20]),
        ("sorted(l) + sorted(words)[::-1] + sorted([])", [1, 2, 3, "b", "a"]),
        ("range(3) + range(1, 6, 2)", [0, 1, 2, 1, 3, 5]),
        # methods
        ("' aB '.strip().upper() + 'aB'.lower()", "ABab"),
        ("'a,b,c'.split(',', 1) + 'a b'.split() + 'a b'.rsplit(None, 1)", ["a", "b,c", "a", "b", "a", "b"]),
        ("'-'.join([str(x) for x in l])", "3-1-2"),
        ("'a.b'.replace('.', '/').removesuffix('b').removeprefix('a')", "/"),
        ("'7'.zfill(3) + 'x'.ljust(2) + 'x'.rjust(2, '.')", "007x .x"),
        ("'a\\nb'.splitlines()", ["a", "b"]),
        ("[name.startswith('A'), name.endswith('A'), name.find('n'), name.count('n')]", [True, False, 1, 2]),
        ("['1'.isdigit(), 'a'.isalpha(), 'a1'.isalnum()]", [True, True, True]),
        ("'ab cd'.title() + 'ab'.capitalize()", "Ab CdAb"),
        ("d.get('a') + d.get('zz', 10) + l.count(3)", 12),
        ("[d.keys()[0], d.values()[0], d.items()[0]]", ["a", 1, ["a", 1]]),
        ("  n  ", 5),
    ],
)
def test_an_expression_has_this_value(text, expected):
    value = compile_expression(text).evaluate(SCOPE)
    assert value == expected
    assert type(value) is type(expected)


@pytest.mark.parametrize(
    ("text", "cause"),
    [
        ("zz", "no value named 'zz'; available: n, price, name"),
        ("n + zz", "no value named 'zz'; available: n, price"),
        ("getattr", "'getattr' is a function; it is called as getattr(...) (column 1)"),
        ("d.zz", "the object has no key 'zz'; the keys there are 'a', 'items', 'x y', 'keys' (column 1)"),
        ("[1, d['zz']]", "the object has no key 'zz'"),
        ("name.upper", "text has no keys, so 'upper' cannot be read from it (column 1)"),
        ("l.name", "an array has no keys"),
        ("nothing.x", "null has no keys"),
        ("l[3]", "there is no item 3: an array of length 3 (column 1)"),
        ("l['a']", "an array is read with a whole number, not with text"),
        ("l[True]", "not with true or false"),
        ("d[0]", "an object is read with a text key, not with a number"),
        ("n[0]", "a number has no items"),
        ("n[0:1]", "a number cannot be sliced"),
        ("l[::0]", "the step of a slice cannot be 0"),
        ("l['a':]", "the bounds of a slice are whole numbers"),
        ("1 + n / 0", "division by zero (column 5)"),
        ("n // 0.0", "division by zero"),
        ("n % 0", "division by zero"),
        ("0 ** -1", "division by zero"),
        ("1 + 'a'", "'+' cannot join a number and text; str(...) makes text of a value (column 1)"),
        ("l + 1", "'+' cannot join an array and a number (column 1)"),
        ("'a' - 'b'", "'-' needs two numbers, not text and text"),
        ("'a' * 'b'", "'*' cannot multiply text and text"),
        ("'%s' % n", "'%' does not format text"),
        ("-name", "'-' needs a number, not text"),
        ("+name", "'+' needs a number, not text"),
        ("1 < 'a'", "'<' cannot compare a number and text"),
        ("l < l", "'<' cannot compare an array and an array"),
        ("1 in 'a'", "'in' looks for text inside text, not for a number"),
        ("1 in n", "'in' needs an array, an object or text, not a number"),
        ("{1: 2}", "the keys of an object are text, not a number"),
        ("[x for x in n]", "a number has no items to go through"),
        ("[a for a, b in l]", "'for' expects arrays of 2 items"),
        ("`$.zz.y`", "the path '$.zz.y' could not be found: '$' has no key 'zz'"),
        ("is_present(n)", "the path must be text such as 'a.b[0].c', not a number"),
        ("is_present(name + '[')", "this form of path is not supported"),
        ("pathsplit(n)", "pathsplit() needs text, not a number"),
        ("len(n)", "a number has no length"),
        ("int('x')", "int() cannot read the text as a whole number"),
        ("float(l)", "float() needs a number or text, not an array"),
        ("min([])", "min() of an empty array has no value"),
        ("max(1, 'a')", "max() needs only numbers or only texts"),
        ("max(1)", "max() needs an array or several values, not a number"),
        ("sum(words)", "sum() needs a number, not text"),
        ("sum(n)", "sum() needs an array of numbers"),
        ("abs(name)", "abs() needs a number"),
        ("round(1.5, 99)", "round() takes a whole number of digits"),
        ("range('a')", "range() takes whole numbers"),
        ("range(1, 2, 0)", "the step of range() cannot be 0"),
        ("n.upper()", "a number has no method 'upper'"),
        ("d.upper()", "an object has no method 'upper'"),
        ("name.upper(1)", "upper() of a text takes no arguments, not 1"),
        ("name.replace('a')", "replace() of a text takes 2 to 3 arguments, not 1"),
        ("d.get()", "get() takes 1 to 2 arguments, not 0"),
        ("name.split('')", "split() cannot split at empty text"),
        ("name.split(1)", "split() takes text, not a number"),
        ("name.zfill('a')", "zfill() takes a whole number, not text"),
        ("name.ljust(9, 'ab')", "ljust() fills with exactly one character"),
        ("','.join(l)", "join() takes an array of texts"),
        ("','.join(name)", "join() takes an array of texts, not text"),
        ("name.strip('x' * 300)", "strip() takes at most 256 characters"),
        ("(n +\n zz)", "(line 2, column 2)"),
        ("  zz", "(column 3)"),
        ("'ü' + größe + zz", "(column 1)"),
        ("[größe, zz]", "(column 9)"),
    ],
)
def test_a_failing_expression_says_what_and_where(text, cause):
    with pytest.raises(EvaluationError) as raised:
        compile_expression(text).evaluate(SCOPE)
    assert cause in raised.value.cause
    assert "column" in raised.value.cause
    assert raised.value.error == "States.Runtime"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "the expression is empty (column 1)"),
        ("  ", "the expression is empty (column 1)"),
        ("1 +" + " " * 5000, "the expression has 5003 characters; the limit is 4096"),
        ("1 +", "column 4"),
        (")", "column 1"),
        ("(1", "column 1"),
        ("n = 5", "column 3"),
        ("1; 2", "column 2"),
        ("'abc", "the text has no closing ' (column 1)"),
        ("n + `$.x", "the path after '`' has no closing '`' (column 5)"),
        ("n + `x`", "a path must begin with '$': 'x'; write '$.x' (column 5)"),
        ("n + `$..x`", "this form of path is not supported"),
        ("is_present('a[')", "this form of path is not supported"),
        ("foo(1)", "there is no function 'foo'; the functions are pathsplit, is_present, getattr"),
        ("rand()", "there is no function 'rand'"),
        ("len()", "len() takes 1 argument, not 0 (column 1)"),
        ("getattr(d, 'a', 1)", "getattr() takes 1 to 2 arguments, not 3"),
        ("name.encode()", "there is no method 'encode'; the methods are"),
        ("n()()", "this is no function"),
        ("lambda: 1", "functions cannot be defined"),
        ("(x for x in l)", "write [ ] around"),
        ("{1, 2}", "sets are not JSON"),
        ("n | 1", "bit operators are not part"),
        ("n is 5", "use '=='"),
        ("len(x=1)", "arguments are given by place"),
        ("f'{n:3}'", "formats are not part"),
        ("b'x'", "only JSON values can be written"),
        ("9223372036854775808", "does not fit 64 bits"),
        ("1e400", "not a finite number"),
        ("[1 for a in l for b in l for c in l for e in l]", "'for' is nested more than 3 deep"),
        ("[" * 41 + "]" * 41, "brackets are nested more than 40 deep (column 41)"),
        ("not " * 41 + "n", "nested more than 40 deep"),
        ("[" + "1," * 500 + "]", "more than 500 parts"),
        ("n\x07", "a control character cannot stand in an expression (column 2)"),
        ("[x for x.y in l]", "'for' takes a name"),
    ],
)
def test_text_of_no_expression_is_refused_with_its_column(text, message):
    with pytest.raises(ExpressionSyntaxError) as raised:
        compile_expression(text)
    assert message in str(raised.value)
    assert "column" in str(raised.value)


@pytest.mark.parametrize("value", [None, 5, ["n"], {"n": 1}, True])
def test_only_text_is_an_expression(value):
    with pytest.raises(ExpressionSyntaxError, match="must be text"):
        compile_expression(value)


def test_names_and_paths_are_known_without_evaluating():
    expression = compile_expression("a.b + [x.c + z for x in y if is_present('q') and true][0] + `$.w[0]` + _context.e")
    assert expression.names == {"a", "y", "z", "_context"}
    assert [path.text for path in expression.paths] == ["$.w[0]"]


def test_the_run_context_cannot_be_forged_by_the_state():
    expression = compile_expression("_context.run_id")
    document = {"_context": {"run_id": "forged"}}
    assert expression.evaluate(Scope(document=document, context={"run_id": "true"})) == "true"


def test_a_key_of_the_state_named_as_a_word_comes_first():
    assert compile_expression("[null, len('x')]").evaluate(Scope(document={"null": 1, "len": 2})) == [1, 1]


def test_without_an_object_as_state_there_are_no_names():
    with pytest.raises(EvaluationError, match="no value named 'a'; available: nothing"):
        compile_expression("a").evaluate(Scope(document=[1]))


def test_private_keys_are_not_listed_in_messages():
    with pytest.raises(EvaluationError) as raised:
        compile_expression("zz").evaluate(Scope(document={"_private_token": "s3cret", "open": 1}))
    assert "available: open (column 1)" in raised.value.cause


def test_arguments_can_be_given_by_hand():
    assert evaluate_with("a + b", {"a": 1, "b": 2}) == 3
    with pytest.raises(EvaluationError, match="no value named '_context'; available: a"):
        evaluate_with("_context", {"a": 1})


def test_values_of_the_state_are_passed_on_however_large_they_are():
    text, items = "x" * (MAX_TEXT_CHARS * 2), [0] * (MAX_ITEMS * 2)
    scope = Scope(document={"text": text, "deep": {"items": items}})
    assert compile_expression("text").evaluate(scope) is text
    assert compile_expression("deep['items']").evaluate(scope) is items
    assert compile_expression("len(text)").evaluate(scope) == len(text)
    assert compile_expression("text.startswith('xx')").evaluate(scope) is True
    for made in ("text + 'x'", "deep.items + [1]", "text.upper()", "f'{text}'"):
        with pytest.raises(EvaluationError, match=r"longer than 65536 characters|more than 10000 items"):
            compile_expression(made).evaluate(scope)


def test_a_listing_of_two_thousand_files_can_be_mapped():
    files = [{"name": f"file-{number}", "size": number} for number in range(2000)]
    scope = Scope(document={"ls": {"DATA": files}, "base": "/data/"})
    pairs = compile_expression("[{'source': base.rstrip('/') + '/' + i.name} for i in ls.DATA]").evaluate(scope)
    assert pairs[1999] == {"source": "/data/file-1999"}


ATOMS = st.sampled_from(
    ["n", "l", "d", "name", "d.a", "1", "-2.5", "'x'", "None", "true", "[1, 'a']", "`$.l[*]`", "zz"]
)
OPERATORS = st.sampled_from(["+", "-", "*", "/", "//", "%", "**", "<", "==", "in", "not in", "and", "or"])
CALLS = st.sampled_from(
    ["len", "str", "int", "list", "sorted", "max", "sum", "bool", "is_present", "pathsplit", "range"]
)
METHODS = st.sampled_from(
    [".upper()", ".items()", ".split('x')", ".get('a')", "[0]", "[1:]", "['a']", ".a", ".values()"]
)


def _grow(inner: st.SearchStrategy[str]) -> st.SearchStrategy[str]:
    return st.one_of(
        st.tuples(inner, OPERATORS, inner).map(lambda parts: f"({parts[0]} {parts[1]} {parts[2]})"),
        st.tuples(CALLS, inner).map(lambda parts: f"{parts[0]}({parts[1]})"),
        st.tuples(inner, METHODS).map(lambda parts: f"({parts[0]}){parts[1]}"),
        st.tuples(inner, inner).map(lambda parts: f"[{parts[0]} for n in {parts[1]}]"),
        st.tuples(inner, inner, inner).map(lambda parts: f"({parts[0]} if {parts[1]} else {parts[2]})"),
        st.tuples(inner, inner).map(lambda parts: f"{{str({parts[0]}): {parts[1]}}}"),
    )


@given(text=st.recursive(ATOMS, _grow, max_leaves=12) | st.text(max_size=40))
def test_evaluation_never_changes_the_scope_and_gives_json_or_a_sentence(text):
    state, context = copy.deepcopy(STATE), {"run_id": "R"}
    try:
        outcome = compile_expression(text).evaluate(Scope(document=state, context=context))
    except (EvaluationError, ExpressionSyntaxError) as error:
        outcome = str(error)
        was_refused = True
    else:
        was_refused = False
    assert json.loads(json.dumps(outcome, allow_nan=False)) == outcome
    assert not was_refused or "column" in outcome
    assert state == STATE
    assert context == {"run_id": "R"}
