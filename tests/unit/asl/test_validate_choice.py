"""Rules of a Choice state: one operator each, an operand of its type, no Next inside."""

from __future__ import annotations

import pytest

from flows_engine.asl.dialects import ASL, GLOBUS
from flows_engine.asl.validate import validate
from flows_engine.asl.validate_choice import COMPARATORS

NULL = {"Variable": "$.a", "IsNull": True}


def choice(*rules, **fields):
    state = {"Type": "Choice", "Choices": list(rules), "Default": "Done"} | fields
    return {"StartAt": "S", "States": {"S": state, "Done": {"Type": "Pass", "End": True}}}


def ruled(**rule):
    return choice({"Next": "Done"} | rule)


def problems(document, dialect=GLOBUS):
    return [(found.loc[4:], found.msg) for found in validate(document, dialect)]


BAD = [  # (id, rule, rest of the location, words)
    ("B32 two", {"Variable": "$.a", "IsNull": True, "IsString": True}, (), "exactly one operator, this one has 2"),
    ("none", {"Variable": "$.a"}, (), "needs an operator"),
    ("B32 And", {"And": []}, ("And",), "at least 1 items"),
    ("Or object", {"Or": {}}, ("Or",), "value is not a valid list"),
    ("Not list", {"Not": []}, ("Not",), "value is not a valid dict"),
    ("nested text", {"And": ["x"]}, ("And", 0), "value is not a valid dict"),
    ("nested Next", {"And": [NULL | {"Next": "Done"}]}, ("And", 0, "Next"), "has no Next of its own"),
    ("nested Not Next", {"Not": NULL | {"Next": "Done"}}, ("Not", "Next"), "has no Next of its own"),
    ("nested bad", {"Or": [{"Not": {"Variable": "$.a", "BooleanEquals": 1}}]}, ("Or", 0, "Not", "BooleanEquals"),
     "value is not a valid boolean"),
    ("And Variable", {"And": [NULL], "Variable": "$.a"}, ("Variable",), "no Variable of its own"),
    ("unknown", {"Variable": "$.a", "StringEqual": "x"}, ("StringEqual",), "extra fields not permitted"),
    ("B34", {"Variable": "a.b", "IsNull": True}, ("Variable",), "begin with '$'"),
    ("no Variable", {"IsNull": True}, ("Variable",), "field required"),
    ("string", {"Variable": "$.a", "StringEquals": 1}, ("StringEquals",), "str type expected"),
    ("number text", {"Variable": "$.a", "NumericLessThan": "1"}, ("NumericLessThan",), "not a valid float"),
    ("number true", {"Variable": "$.a", "NumericEquals": True}, ("NumericEquals",), "not a valid float"),
    ("flag", {"Variable": "$.a", "IsPresent": "yes"}, ("IsPresent",), "not a valid boolean"),
    ("flag null", {"Variable": "$.a", "IsPresent": None}, ("IsPresent",), "none is not an allowed value"),
    ("time", {"Variable": "$.a", "TimestampEquals": "2026-01-01"}, ("TimestampEquals",), "RFC 3339"),
    ("twin", {"Variable": "$.a", "NumericEqualsPath": 3}, ("NumericEqualsPath",), "str type expected"),
    ("twin path", {"Variable": "$.a", "StringEqualsPath": "b"}, ("StringEqualsPath",), "begin with '$'"),
    ("no path twin", {"Variable": "$.a", "StringMatchesPath": "$.b"}, ("StringMatchesPath",), "extra fields"),
]  # fmt: skip


@pytest.mark.parametrize(("rule", "loc", "words"), [row[1:] for row in BAD], ids=[row[0] for row in BAD])
def test_a_rule_with_one_thing_wrong_has_one_problem_at_its_place(rule, loc, words):
    ((place, msg),) = problems(ruled(**rule))
    assert place == (0, *loc)
    assert words in msg


def test_there_are_39_comparison_operators():
    assert len(COMPARATORS) == 2 * 16 + 1 + 6
    assert {"BooleanEqualsPath", "TimestampGreaterThanEqualsPath", "StringMatches", "IsTimestamp"} <= set(COMPARATORS)


@pytest.mark.parametrize("operator", sorted(COMPARATORS))
def test_every_operator_accepts_an_operand_of_its_type(operator):
    operand: object = True
    if operator.endswith("Path"):
        operand = "$.b"
    elif operator.startswith("String"):
        operand = "x*"
    elif operator.startswith("Numeric"):
        operand = 1.5
    elif operator.startswith("Timestamp"):
        operand = "2026-01-31T12:00:00Z"
    assert problems(ruled(Variable="$.a", **{operator: operand})) == []


def test_rules_nest():
    assert problems(ruled(And=[{"Or": [NULL, {"Not": NULL}]}, {"Not": {"And": [NULL]}}])) == []


@pytest.mark.parametrize(
    ("document", "loc", "words"),
    [
        (choice(), (), "at least 1 items"),
        (choice("x"), (0,), "value is not a valid dict"),
        (choice(NULL), (0, "Next"), "field required"),
        (choice(NULL | {"Next": 3}), (0, "Next"), "str type expected"),
        (choice(NULL | {"Next": "done"}), (0, "Next"), "there is no state 'done'; did you mean 'Done'?"),
    ],
)
def test_choices_are_a_list_of_rules_that_lead_somewhere(document, loc, words):
    ((place, msg),) = problems(document)
    assert place == loc
    assert words in msg


def test_a_choice_needs_choices():
    document = choice()
    del document["States"]["S"]["Choices"]
    assert [(found.loc[3:], found.msg) for found in validate(document)] == [(("Choices",), "field required")]


def test_a_comment_in_a_rule_is_asl_only():
    assert problems(ruled(**NULL, Comment="why"), ASL) == []
    assert problems(ruled(**NULL, Comment="why"), GLOBUS) == [((0, "Comment"), "extra fields not permitted")]
