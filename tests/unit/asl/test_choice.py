"""Choice: which rule wins, and what each comparator makes of operands of every type."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest

from flows_engine.asl.comparators import TYPE_TESTS, Glob
from flows_engine.asl.dialects import ASL
from flows_engine.asl.errors import EvaluationError
from flows_engine.asl.run import Branch, StateError
from flows_engine.asl.scope import Scope
from flows_engine.asl.states.base import Context, Done
from flows_engine.asl.states.choice import Choice, compile_rule

AT = datetime(2026, 7, 1, tzinfo=UTC)


def context(data: Any) -> Context:
    return Context(at=AT, branch=Branch(id="0", state="Choose", input=data), value=data, scope=Scope(data))


def choice(*rules: dict[str, Any], default: str | None = None) -> Choice:
    body: dict[str, Any] = {"Type": "Choice", "Choices": list(rules)}
    if default is not None:
        body["Default"] = default
    return Choice("Choose", body, ASL)


def holds(rule: dict[str, Any], data: Any) -> bool:
    return compile_rule(rule, where="Choices[0]").holds(Scope(data))


def test_the_first_rule_that_holds_wins_and_the_input_goes_on_unchanged() -> None:
    data = {"n": 5}
    state = choice(
        {"Variable": "$.n", "NumericGreaterThan": 9, "Next": "Large"},
        {"Variable": "$.n", "NumericGreaterThan": 4, "Next": "Medium"},
        {"Variable": "$.n", "NumericGreaterThan": 1, "Next": "Small"},
        default="Other",
    )
    outcome = state.enter(context(data))
    assert isinstance(outcome, Done)
    assert outcome.next == "Medium"
    assert outcome.result is data


def test_the_default_is_taken_when_no_rule_holds() -> None:
    state = choice({"Variable": "$.n", "NumericEquals": 1, "Next": "One"}, default="Other")
    assert state.enter(context({"n": 2})) == Done({"n": 2}, next="Other")


def test_no_match_without_a_default_is_an_error_of_the_run() -> None:
    outcome = choice({"Variable": "$.n", "NumericEquals": 1, "Next": "One"}).enter(context({"n": 2}))
    assert isinstance(outcome, StateError)
    assert outcome.error == "States.NoChoiceMatched"
    assert "'Choose'" in str(outcome.cause)


@pytest.mark.parametrize("operator", ["StringEquals", "IsNull", "StringMatches"])
def test_a_missing_variable_is_an_error_that_names_the_rule(operator: str) -> None:
    value = True if operator == "IsNull" else "x"
    with pytest.raises(EvaluationError, match=r"Choices\[0\]\.Variable") as caught:
        holds({"Variable": "$.absent", operator: value}, {"n": 1})
    assert caught.value.error == "States.Runtime"


def test_a_missing_second_operand_is_an_error_that_names_its_field() -> None:
    with pytest.raises(EvaluationError, match=r"Choices\[0\]\.NumericEqualsPath"):
        holds({"Variable": "$.n", "NumericEqualsPath": "$.absent"}, {"n": 1})


@pytest.mark.parametrize(
    ("data", "expected"),
    [({"a": {"b": 1}}, True), ({"a": {"b": None}}, True), ({"a": {}}, False), ({}, False), ({"a": 3}, False)],
)
def test_is_present_asks_for_the_path_and_not_for_its_value(data: Any, expected: bool) -> None:
    assert holds({"Variable": "$.a.b", "IsPresent": True}, data) is expected
    assert holds({"Variable": "$.a.b", "IsPresent": False}, data) is not expected


TYPES: dict[str, list[Any]] = {
    "IsNull": [None],
    "IsBoolean": [True, False],
    "IsNumeric": [0, -1, 1.5],
    "IsString": ["", "text", "2026-01-31T12:00:00Z"],
    "IsTimestamp": ["2026-01-31T12:00:00Z", "2026-01-31T12:00:00.123456789+02:00"],
}
OTHER_VALUES = [[], {}, [1], {"a": 1}, "2026-01-31", "2026-01-31T12:00:00", "2026-13-31T12:00:00Z"]


@pytest.mark.parametrize("operator", TYPES)
def test_a_type_test_holds_for_its_type_alone(operator: str) -> None:
    every = [value for values in TYPES.values() for value in values] + OTHER_VALUES
    for value in every:
        # Lists compare true with 1, so membership is asked by type and text.
        expected = repr(value) in map(repr, TYPES[operator]) or (operator == "IsString" and isinstance(value, str))
        assert holds({"Variable": "$.v", operator: True}, {"v": value}) is expected, value
        assert holds({"Variable": "$.v", operator: False}, {"v": value}) is not expected, value


def test_every_type_test_is_covered() -> None:
    assert TYPES.keys() == TYPE_TESTS.keys()


LOW_HIGH: dict[str, tuple[Any, Any]] = {
    "String": ("A", "AB"),
    "Numeric": (1, 1.5),
    "Timestamp": ("2026-01-31T12:00:00+02:00", "2026-01-31T11:00:00Z"),
}
ORDER = {
    "Equals": (False, True, False),
    "LessThan": (True, False, False),
    "LessThanEquals": (True, True, False),
    "GreaterThan": (False, False, True),
    "GreaterThanEquals": (False, True, True),
}


@pytest.mark.parametrize("family", LOW_HIGH)
@pytest.mark.parametrize("relation", ORDER)
def test_ordered_comparators_compare_literals_and_paths_alike(family: str, relation: str) -> None:
    low, high = LOW_HIGH[family]
    for (left, right), expected in zip([(low, high), (low, low), (high, low)], ORDER[relation], strict=True):
        assert holds({"Variable": "$.v", family + relation: right}, {"v": left}) is expected
        rule = {"Variable": "$.v", f"{family}{relation}Path": "$.w"}
        assert holds(rule, {"v": left, "w": right}) is expected


@pytest.mark.parametrize(
    ("operator", "literal"),
    [
        ("StringEquals", "1"),
        ("StringLessThan", "zzz"),
        ("NumericEquals", 1),
        ("NumericGreaterThan", -1),
        ("BooleanEquals", False),
        ("TimestampLessThan", "2099-01-01T00:00:00Z"),
        ("StringMatches", "*"),
    ],
)
def test_an_operand_of_another_type_makes_a_comparison_false(operator: str, literal: Any) -> None:
    families = {"String": str, "Numeric": (int, float), "Boolean": bool, "Timestamp": ()}
    own = next(kinds for name, kinds in families.items() if operator.startswith(name))
    for value in (None, True, 1, 1.0, "1", [], {}, [literal], {"a": literal}):
        is_own = isinstance(value, own) and (own is bool or not isinstance(value, bool))
        if not is_own:
            assert holds({"Variable": "$.v", operator: literal}, {"v": value}) is False, value
            if operator != "StringMatches":
                rule = {"Variable": "$.v", f"{operator}Path": "$.w"}
                assert holds(rule, {"v": literal, "w": value}) is False, value


@pytest.mark.parametrize(("left", "right"), [(1, 1.0), (0, -0.0), (2**53, float(2**53))])
def test_numbers_are_equal_by_value(left: float, right: float) -> None:
    assert holds({"Variable": "$.v", "NumericEquals": left}, {"v": right})


def test_times_are_compared_as_instants() -> None:
    rule = {"Variable": "$.v", "TimestampEquals": "2026-01-31T12:00:00Z"}
    assert holds(rule, {"v": "2026-01-31T14:00:00.000+02:00"})
    assert not holds(rule, {"v": "2026-01-31T12:00:00+02:00"})


TRUE = {"Variable": "$.n", "NumericEquals": 1}
FALSE = {"Variable": "$.n", "NumericEquals": 2}
BROKEN = {"Variable": "$.absent", "NumericEquals": 2}


@pytest.mark.parametrize(
    ("rule", "expected"),
    [
        ({"And": [TRUE]}, True),
        ({"And": [TRUE, FALSE]}, False),
        ({"Or": [FALSE, TRUE]}, True),
        ({"Or": [FALSE]}, False),
        ({"Not": FALSE}, True),
        ({"Not": {"And": [TRUE, {"Or": [FALSE, {"Not": TRUE}]}]}}, True),
        ({"And": [FALSE, BROKEN]}, False),
        ({"Or": [TRUE, BROKEN]}, True),
        ({"And": [{"Variable": "$.absent", "IsPresent": True}, BROKEN]}, False),
    ],
)
def test_combined_rules_stop_at_the_first_answer(rule: dict[str, Any], expected: bool) -> None:
    assert holds(rule, {"n": 1}) is expected


def test_an_error_in_a_nested_rule_names_its_place() -> None:
    with pytest.raises(EvaluationError, match=r"Choices\[0\]\.And\[1\]\.Not\.Variable"):
        holds({"And": [TRUE, {"Not": BROKEN}]}, {"n": 1})


@pytest.mark.parametrize(
    ("pattern", "text", "expected"),
    [
        ("log-*.txt", "log-1.txt", True),
        ("log-*.txt", "log-.txt", True),
        ("log-*.txt", "log-1.txt.gz", False),
        ("*", "", True),
        ("", "", True),
        ("", "x", False),
        ("*a*b*", "xxaxxbxx", True),
        ("*a*b*", "xxbxxa", False),
        ("a*a", "a", False),
        ("a*a", "aa", True),
        ("*ab", "abab", True),
        ("*aab*ab", "aaab", False),
        ("a.c", "abc", False),
        ("a?c", "a?c", True),
        ("*", "line\nline", True),
        (r"\*", "*", True),
        (r"\*", "x", False),
        (r"\\", "\\", True),
        (r"\\*", "\\anything", True),
        (r"\\\*", "\\*", True),
        (r"\\\*", "\\x", False),
        (r"\d", r"\d", True),
        ("a\\", "a\\", True),
        ("**", "anything", True),
    ],
)
def test_string_matches_knows_stars_and_escapes_only(pattern: str, text: str, expected: bool) -> None:
    assert holds({"Variable": "$.v", "StringMatches": pattern}, {"v": text}) is expected


def test_a_hostile_pattern_takes_no_more_than_one_look_at_the_text() -> None:
    # A backtracking matcher needs more steps for this than there are atoms.
    assert Glob.compile("*a" * 2_000 + "*b").matches("a" * 100_000) is False
