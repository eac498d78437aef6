"""The eight shapes of flow that the crash tests drive, each with its input, its end and the actions it must start."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

URL = "https://provider.example.org/do"


def action(next_state: str | None = None, **extra: Any) -> dict[str, Any]:
    body: dict[str, Any] = {"Type": "Action", "ActionUrl": URL, "Parameters": extra.pop("body", {"echo": 1})}
    body |= {"ResultPath": "$.result", "WaitTime": 86_400} | extra
    return body | ({"Next": next_state} if next_state else {"End": True})


@dataclass(frozen=True)
class Shape:
    """``actions`` is how many actions the flow starts, each exactly once; None where the moment of a cancel decides."""

    definition: dict[str, Any]
    status: str
    actions: int | None
    input: Any = None


SHAPES = {
    "one action": Shape({"StartAt": "A", "States": {"A": action(body={"seconds": 5})}}, "SUCCEEDED", 1),
    "five in line": Shape(
        {"StartAt": "A0", "States": {f"A{i}": action(f"A{i + 1}" if i < 4 else None) for i in range(5)}}, "SUCCEEDED", 5
    ),
    "loop of ten": Shape(
        {
            "StartAt": "Init",
            "States": {
                "Init": {"Type": "Pass", "Result": {"n": 0}, "ResultPath": "$.loop", "Next": "Do"},
                "Do": action("Count", body={"echo.$": "$.loop.n"}),
                "Count": {
                    "Type": "ExpressionEval",
                    "Parameters": {"n.=": "loop.n + 1"},
                    "ResultPath": "$.loop",
                    "Next": "More",
                },
                "More": {
                    "Type": "Choice",
                    "Choices": [{"Variable": "$.loop.n", "NumericLessThan": 10, "Next": "Do"}],
                    "Default": "Out",
                },
                "Out": {"Type": "Pass", "End": True},
            },
        },
        "SUCCEEDED",
        10,
    ),
    "catch, then another": Shape(
        {
            "StartAt": "A",
            "States": {
                "A": action(
                    "Never",
                    body={"fail": True, "seconds": 2},
                    Catch=[{"ErrorEquals": ["ActionFailedException"], "Next": "B", "ResultPath": "$.error"}],
                ),
                "Never": {"Type": "Fail", "Error": "NotCaught"},
                "B": action(),
            },
        },
        "SUCCEEDED",
        2,
    ),
    "wait, then action": Shape(
        {"StartAt": "W", "States": {"W": {"Type": "Wait", "Seconds": 3600, "Next": "A"}, "A": action()}}, "SUCCEEDED", 1
    ),
    "failing action": Shape({"StartAt": "A", "States": {"A": action(body={"fail": True})}}, "FAILED", 1),
    "choice": Shape(
        {
            "StartAt": "C",
            "States": {
                "C": {
                    "Type": "Choice",
                    "Choices": [{"Variable": "$.x", "NumericEquals": 2, "Next": "B"}],
                    "Default": "A",
                },
                "A": {"Type": "Fail", "Error": "WrongWay", "Cause": "x is not 2"},
                "B": action(),
            },
        },
        "SUCCEEDED",
        1,
        {"x": 2},
    ),
    "cancel in the middle": Shape(
        {"StartAt": "A", "States": {"A": action("B", body={"seconds": 100}), "B": action()}}, "FAILED", None
    ),
}
