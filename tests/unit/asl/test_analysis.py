"""Counting the ways through a definition, and listing what it calls."""

from __future__ import annotations

import pytest

from flows_engine.asl.analysis import ActionTarget, action_targets, number_of_possibilities

END = {"Type": "Pass", "End": True}
URL = "https://a.example/x"


def to(target):
    return {"Type": "Pass", "Next": target}


def choice(*targets, default=None):
    rules = [{"Variable": "$.a", "IsNull": True, "Next": target} for target in targets]
    return {"Type": "Choice", "Choices": rules} | ({} if default is None else {"Default": default})


def flow(**states):
    return {"StartAt": "A", "States": states}


CATCHING = {"Type": "Action", "ActionUrl": URL, "Parameters": {}, "Next": "B"}


@pytest.mark.parametrize(
    ("document", "number"),
    [
        (flow(A=END), 1),
        (flow(A={"Type": "Fail"}), 1),
        (flow(A={"Type": "Succeed"}), 1),
        (flow(A=to("B"), B=END), 1),
        (flow(A=choice("B", default="C"), B=END, C=END), 2),
        (flow(A=choice("B", "B", default="C"), B=END, C=END), 2),
        (flow(A=choice("B", default="C"), B=to("D"), C=to("D"), D=choice("E", default="F"), E=END, F=END), 4),
        (flow(A=CATCHING | {"Catch": [{"ErrorEquals": ["E"], "Next": "C"}]}, B=END, C={"Type": "Fail"}), 2),
        (flow(A=choice("B", default="C"), B=to("A"), C=END), 1),
    ],
)
def test_ways_to_an_end_are_counted_with_loops_passed_once(document, number):
    assert number_of_possibilities(document) == number


def test_counting_takes_no_exponential_time_and_stops_at_a_million():
    diamonds = {}
    for i in range(300):
        diamonds[f"s{i}"] = choice(f"l{i}", default=f"r{i}")
        diamonds[f"l{i}"] = diamonds[f"r{i}"] = to(f"s{i + 1}")
    document = {"StartAt": "s0", "States": diamonds | {"s300": END}}
    assert number_of_possibilities(document) == 10**6


def test_a_chain_of_1000_states_is_counted():
    states = {f"s{i}": to(f"s{i + 1}") for i in range(999)} | {"s999": END}
    assert number_of_possibilities({"StartAt": "s0", "States": states}) == 1


def test_action_targets_are_listed_in_document_order():
    handler = {"Type": "ActionProvider", "Url": "https://b.example/", "Scope": "s"}
    document = flow(
        A={"Type": "Action", "ActionUrl": URL, "Parameters": {}, "Next": "B"},
        B={"Type": "Action", "Handler": handler, "RunAs": "Curator", "Parameters": {}, "Next": "C"},
        C={"Type": "Action", "ActionUrl": URL, "ActionScope": "t", "RunAs": "Flow", "Parameters": {}, "Next": "D"},
        D=END,
    )
    assert action_targets(document) == [
        ActionTarget(state="A", url=URL, scope=None, run_as="User"),
        ActionTarget(state="B", url="https://b.example/", scope="s", run_as="Curator"),
        ActionTarget(state="C", url=URL, scope="t", run_as="Flow"),
    ]
