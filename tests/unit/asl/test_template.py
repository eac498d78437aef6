"""Templates build values from a run's state, and a second value without what is private."""

from __future__ import annotations

import copy

import pytest

from flows_engine.asl.errors import EvaluationError, ExpressionSyntaxError, PathSyntaxError
from flows_engine.asl.scope import Scope
from flows_engine.asl.template import compile_template, template_problems

STATE = {"a": {"b": 1}, "items": [1, 2], "secret": "s3cret", "nothing": None}
SCOPE = Scope(document=STATE, context={"run_id": "R"}, machine={"State": {"Name": "S"}}, variables={"v": 9})


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        ({}, {}),
        ("text", "text"),
        (None, None),
        ({"x": 1, "y": [True, None]}, {"x": 1, "y": [True, None]}),
        ({"x.$": "$.a.b"}, {"x": 1}),
        ({"x.$": "$"}, {"x": STATE}),
        ({"x.$": "$.nothing"}, {"x": None}),
        ({"x.$": "$.items[1:]"}, {"x": [2]}),
        ({"x.$": "$.nope[*]"}, {"x": []}),
        ({"x.$": "$._context.run_id", "y.$": "$$.State.Name", "z.$": "$v"}, {"x": "R", "y": "S", "z": 9}),
        ({"x.=": "a.b + 1"}, {"x": 2}),
        ({"x.=": "`$._context.run_id` + '!'"}, {"x": "R!"}),
        (
            {"deep": {"list": [{"x.$": "$.a.b"}, [{"y.=": "items"}], 5]}},
            {"deep": {"list": [{"x": 1}, [{"y": [1, 2]}], 5]}},
        ),
        ({"x": "$.a", "y.x": 1, "$": 2}, {"x": "$.a", "y.x": 1, "$": 2}),
        ({"x": {"value.$.z": "$.a"}}, {"x": {"value.$.z": "$.a"}}),
    ],
)
def test_a_template_renders_to_this_value(body, expected):
    before = copy.deepcopy(STATE)
    template = compile_template(body, expressions=True)
    assert template.render(SCOPE) == expected
    assert template.private_render(SCOPE) == (expected, expected)
    assert before == STATE


def test_members_keep_the_order_of_their_author():
    body = {"z": 1, "b.$": "$.a.b", "y.=": "1", "a": 2}
    assert list(compile_template(body, expressions=True).render(SCOPE)) == ["z", "b", "y", "a"]


def test_a_template_without_dynamic_parts_is_a_constant():
    body = {"x": [{"y": 1}], "z": "text"}
    template = compile_template(body, expressions=True)
    assert template.render(SCOPE) is body
    value, shown = template.private_render(SCOPE)
    assert value is body
    assert shown is body


def test_where_expressions_are_unknown_their_keys_are_plain():
    body = {"x.=": "1 +", "y.=": 5}
    assert compile_template(body, expressions=False).render(SCOPE) == body


def test_extended_paths_are_read_only_where_they_are_admitted():
    body = {"x.$": "$.list[?(@.n == 1)]"}
    scope = Scope(document={"list": [{"n": 0}, {"n": 1}]})
    assert compile_template(body, expressions=False, extended=True).render(scope) == {"x": [{"n": 1}]}
    with pytest.raises(PathSyntaxError, match=r"the field 'x\.\$': this form of path is not supported"):
        compile_template(body, expressions=False)


@pytest.mark.parametrize(
    ("body", "full", "shown"),
    [
        (
            {"__Private_Parameters": ["token"], "token.$": "$.secret", "open": 1},
            {"token": "s3cret", "open": 1},
            {"open": 1},
        ),
        (
            {"__Private_Parameters": ["token"], "token.=": "secret + '!'", "n.$": "$.a.b"},
            {"token": "s3cret!", "n": 1},
            {"n": 1},
        ),
        ({"__Private_Parameters": ["token.$"], "token.$": "$.secret"}, {"token": "s3cret"}, {}),
        ({"__Private_Parameters": ["token"], "token": "constant"}, {"token": "constant"}, {}),
        ({"__Private_Parameters": [], "open": 1}, {"open": 1}, {"open": 1}),
        (
            {"l": [{"__Private_Parameters": ["k"], "k": 1, "o": 2}, 3], "x.$": "$.a.b"},
            {"l": [{"k": 1, "o": 2}, 3], "x": 1},
            {"l": [{"o": 2}, 3], "x": 1},
        ),
        (
            {"l": [{"__Private_Parameters": ["k"], "k.$": "$.secret", "o": 2}]},
            {"l": [{"k": "s3cret", "o": 2}]},
            {"l": [{"o": 2}]},
        ),
        (
            {
                "__Private_Parameters": ["box"],
                "box": {"inner.$": "$.secret"},
                "o": {"__Private_Parameters": ["p"], "p": 1},
            },
            {"box": {"inner": "s3cret"}, "o": {"p": 1}},
            {"o": {}},
        ),
    ],
)
def test_private_fields_are_rendered_but_not_shown(body, full, shown):
    original = copy.deepcopy(body)
    template = compile_template(body, expressions=True)
    assert template.render(SCOPE) == full
    assert template.private_render(SCOPE) == (full, shown)
    assert template.hides is (full != shown)
    assert body == original


def test_a_missing_value_is_told_in_the_words_of_the_hosted_service():
    template = compile_template({"deep": [{"x.$": "$.a.c"}]}, expressions=True)
    with pytest.raises(EvaluationError) as raised:
        template.render(SCOPE)
    assert raised.value.error == "States.Runtime"
    assert raised.value.cause == (
        "The path '$.a.c' specified for the field 'x.$' could not be found in the state input. "
        "'$.a' has no key 'c'; the keys there are 'b'."
    )


def test_a_failing_expression_is_told_with_its_field_and_column():
    template = compile_template({"x.=": "1 + nope"}, expressions=True)
    with pytest.raises(EvaluationError) as raised:
        template.private_render(SCOPE)
    assert raised.value.error == "States.Runtime"
    assert raised.value.cause == (
        "The expression specified for the field 'x.=' could not be evaluated: no value named 'nope'; "
        "available: a, items, secret, nothing, _context (column 5)."
    )


@pytest.mark.parametrize(
    ("body", "loc", "message"),
    [
        ({"x.$": 23}, ("x.$",), "the field 'x.$': a path must be text that begins with '$', not a number"),
        ({"x.$": "a.b"}, ("x.$",), "the field 'x.$': a path must begin with '$': 'a.b'; write '$.a.b'"),
        ({"x.$": "$$23"}, ("x.$",), "column 3"),
        ({"x.$": {"y": 1}}, ("x.$",), "not an object"),
        ({"l": [0, {"x.$": "$."}]}, ("l", 1, "x.$"), "the field 'l[1].x.$': this form of path is not supported"),
        ({"x.=": 5}, ("x.=",), "the field 'x.=': an expression must be text, not a number"),
        ({"o": {"x.=": "1 +"}}, ("o", "x.="), "the field 'o.x.=': the expression cannot be read"),
        ({"x": 1, "x.$": "$.a"}, ("x.$",), "more than one value for 'x'"),
        ({"x.=": "1", "x.$": "$.a"}, ("x.$",), "more than one value for 'x'"),
        ({"__Private_Parameters": "x", "x": 1}, ("__Private_Parameters",), "an array of texts, not text"),
        ({"__Private_Parameters": [1], "x": 1}, ("__Private_Parameters",), "an array of texts"),
        ({"__Private_Parameters": ["y"], "x": 1}, ("__Private_Parameters",), "there is no field 'y' beside it"),
    ],
)
def test_a_wrong_template_is_refused_with_the_field_named(body, loc, message):
    with pytest.raises((PathSyntaxError, ExpressionSyntaxError)) as raised:
        compile_template(body, expressions=True)
    assert message in str(raised.value)
    (problem,) = template_problems(body, expressions=True)
    assert problem.loc == loc
    assert problem.msg == str(raised.value)


def test_all_problems_of_a_template_are_found_at_once():
    body = {"x": 1, "x.$": "$.a", "x.=": ")", "y": [{"z.$": "nope"}]}
    assert [problem.loc for problem in template_problems(body, expressions=True)] == [
        ("x.$",),
        ("x.=",),
        ("x.=",),
        ("y", 0, "z.$"),
    ]
    assert template_problems({"x.$": "$.a", "y.=": "a"}, expressions=True) == []


def test_what_a_template_reads_is_listed_with_its_place():
    template = compile_template({"x": [{"p.$": "$.a.b"}], "e.=": "items[0]", "c": 1}, expressions=True)
    assert [(loc, source.text) for loc, source in template.sources] == [
        (("x", 0, "p.$"), "$.a.b"),
        (("e.=",), "items[0]"),
    ]
