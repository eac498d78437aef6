"""The runner itself: its wild cards refuse what they must refuse, and it names the features a definition needs."""

from __future__ import annotations

from typing import Any

import pytest

from flows_engine.asl.dialects import ASL
from tests.conformance.asl.language import missing_features
from tests.conformance.asl.matching import difference


@pytest.mark.parametrize(
    ("expected", "actual"),
    [
        ({"a": [1, None, "x"]}, {"a": [1.0, None, "x"]}),
        ({"@any": "date"}, {"anything": True}),
        ({"a": {"@any": "date"}}, {"a": None}),
        ({"@re": r"a\d+"}, "a12"),
        ({"@json": {"a": {"@any": "x"}}}, ' {"a" : 5}'),
        ({"@text": "not JSON"}, "not JSON"),
        ({"a": 1, "b": {"@optional": None}}, {"a": 1}),
        ({"a": 1, "b": {"@optional": None}}, {"a": 1, "b": 2}),
        ({"@any": 1, "other": 2}, {"@any": 1, "other": 2}),
    ],
)
def test_values_that_agree(expected: Any, actual: Any) -> None:
    assert difference(expected, actual) is None


@pytest.mark.parametrize(
    ("expected", "actual", "place"),
    [
        ({"a": 1}, {"a": True}, "$.a"),
        ({"a": 0}, {"a": False}, "$.a"),
        ({"a": None}, {}, "'a' is missing"),
        ({}, {"a": 1}, "unexpected keys"),
        ([1, 2], [2, 1], "$[0]"),
        ([1], [1, 1], "$"),
        ({"a": {"@any": "date"}}, {}, "'a' is missing"),
        ({"@re": r"a\d+"}, "a12b", "$"),
        ({"@json": {"a": 1}}, '{"a": 2}', "$"),
        ({"@json": {"a": 1}}, "no JSON", "$"),
        ({"@json": {"a": 1}}, {"a": 1}, "$"),
        ({"@text": "x"}, "y", "$"),
        ("1", 1, "$"),
        (None, "text", "$"),
    ],
)
def test_values_that_differ(expected: Any, actual: Any, place: str) -> None:
    assert place in str(difference(expected, actual))


def machine(state: dict[str, Any], **fields: Any) -> dict[str, Any]:
    return {"StartAt": "S", "States": {"S": state}, **fields}


@pytest.mark.parametrize(
    ("definition", "missing"),
    [
        (machine({"Type": "Pass", "Result": {"a.$": "States.UUID()"}, "End": True}), set()),
        (machine({"Type": "Pass", "Parameters": {"a": "States.UUID()"}, "End": True}), set()),
        (machine({"Type": "Pass", "Parameters": [{"a.$": "States.UUID()"}]}), {"intrinsic functions"}),
        (machine({"Type": "Fail", "CausePath": "States.Format('{}', $.x)"}), {"intrinsic functions"}),
        (machine({"Type": "Pass", "Assign": {"x": 1}, "OutputPath": "$x"}), {"Assign", "variables"}),
        (machine({"Type": "Choice", "Choices": [{"Not": {"Variable": "$x.a", "IsNull": True}}]}), {"variables"}),
        (machine({"Type": "Choice", "Choices": [{"Condition": True, "Next": "S"}]}), {"Condition"}),
        (machine({"Type": "Wait", "Seconds": 1, "QueryLanguage": "JSONata"}), {"JSONata"}),
        (machine({"Type": "Succeed"}, QueryLanguage="JSONata"), {"JSONata"}),
        (machine({"Type": "Task", "Resource": "arn"}), {"Task"}),
        (machine({"Type": "Parallel", "Branches": [machine({"Type": "Map"})]}), {"Parallel", "Map"}),
        # Wrong everywhere: not a feature that could be missing, so the validator has to refuse it.
        (machine({"Type": "Wait", "Parameters": {}, "Retry": []}), set()),
        (machine({"Type": "NoSuchType"}), set()),
        ({"States": []}, set()),
        ("no object", set()),
    ],
)
def test_the_features_a_definition_needs_are_found_in_it(definition: Any, missing: set[str]) -> None:
    assert missing_features(definition, ASL) == missing
