"""Private parts of states and definitions are left out of what others see; the rest is passed on as it is."""

from __future__ import annotations

import copy

import pytest

from flows_engine.asl.private import redact_definition, redact_state


@pytest.mark.parametrize(
    ("state", "shown"),
    [
        ({"_private": 1, "a": 2}, {"a": 2}),
        ({"_private_token": {"x": 1}, "_privateer": 1, "a": 2}, {"a": 2}),
        ({"a": {"b": [{"_private_x": 1, "c": 2}, [{"_private": 1}]]}}, {"a": {"b": [{"c": 2}, [{}]]}}),
        ([{"_private": 1}], [{}]),
        ({"_tokens": {"User": "t"}, "a": 2}, {"a": 2}),
        ({"_tokens": 1, "a": {"_private": 1}}, {"a": {}}),
        ({"a": {"_tokens": 1}}, {"a": {"_tokens": 1}}),
        ({"_run": {"x": 1}, "private": 1}, {"_run": {"x": 1}, "private": 1}),
        ("_private", "_private"),
        (None, None),
    ],
)
def test_private_keys_of_a_state_are_not_shown(state, shown):
    original = copy.deepcopy(state)
    assert redact_state(state) == shown
    assert state == original


def test_a_state_without_private_keys_is_not_copied():
    state = {"a": [{"b": {"c": 1}}], "d": []}
    assert redact_state(state) is state


def test_only_the_way_to_a_private_key_is_copied():
    state = {"a": {"_private": 1}, "big": {"x": [1, 2]}}
    assert redact_state(state)["big"] is state["big"]


def _action(parameters):
    return {"Type": "Action", "ActionUrl": "https://example.org", "Parameters": parameters, "End": True}


SECRETS = {
    "__Private_Parameters": ["token", "n", "e"],
    "token": "t",
    "n.$": "$.n",
    "e.=": "a",
    "open": {"__Private_Parameters": ["deep"], "deep": 1, "kept": [{"__Private_Parameters": [], "x": 1}]},
}
SHOWN = {"open": {"kept": [{"x": 1}]}}


def test_a_definition_is_shown_without_private_parameters_in_all_states():
    machine = {"StartAt": "A", "States": {"A": _action(SECRETS)}}
    definition = {
        "StartAt": "A",
        "States": {
            "A": _action(SECRETS),
            "B": {"Type": "Parallel", "Branches": [machine, {"StartAt": "W", "States": {"W": {"Type": "Wait"}}}]},
            "C": {"Type": "Map", "ItemProcessor": machine, "Iterator": machine},
            "D": {"Type": "Choice", "Choices": [{"Variable": "$.token", "IsPresent": True, "Next": "A"}]},
        },
    }
    original = copy.deepcopy(definition)

    shown = redact_definition(definition)

    assert definition == original
    assert shown["States"]["A"] == _action(SHOWN)
    assert shown["States"]["B"]["Branches"][0]["States"]["A"]["Parameters"] == SHOWN
    assert shown["States"]["B"]["Branches"][1] is definition["States"]["B"]["Branches"][1]
    assert shown["States"]["C"]["ItemProcessor"]["States"]["A"]["Parameters"] == SHOWN
    assert shown["States"]["C"]["Iterator"]["States"]["A"]["Parameters"] == SHOWN
    assert shown["States"]["D"] is definition["States"]["D"]


def test_a_definition_without_private_parameters_is_not_copied():
    definition = {"StartAt": "A", "States": {"A": _action({"token": "t", "l": [{"x.$": "$.y"}]})}}
    assert redact_definition(definition) is definition


@pytest.mark.parametrize(
    "definition",
    [None, [], {"States": []}, {"States": {"A": None, "B": {"Parameters": 5, "Branches": "no", "Iterator": None}}}],
)
def test_what_is_no_definition_is_passed_on(definition):
    assert redact_definition(definition) is definition


def test_a_malformed_list_of_private_parameters_is_left_out_too():
    definition = {"States": {"A": {"Parameters": {"__Private_Parameters": "x", "x": 1}}}}
    assert redact_definition(definition) == {"States": {"A": {"Parameters": {"x": 1}}}}
