"""Transitions lead to states, every state is reached, and every state has a way to an end."""

from __future__ import annotations

import pytest

from flows_engine.asl.validate import validate

END = {"Type": "Pass", "End": True}


def to(target):
    return {"Type": "Pass", "Next": target}


def choice(*targets, default=None):
    state = {"Type": "Choice", "Choices": [{"Variable": "$.a", "IsNull": True, "Next": one} for one in targets]}
    return state if default is None else state | {"Default": default}


def problems(start, **states):
    return [(found.loc[1:], found.msg) for found in validate({"StartAt": start, "States": states})]


def test_start_at_that_names_no_state_suggests_the_nearest():  # B23
    assert problems("start", Start=END) == [(("StartAt",), "there is no state 'start'; did you mean 'Start'?")]


@pytest.mark.parametrize("start", [None, 3, ["A"]])
def test_start_at_must_be_text(start):
    ((loc, _msg),) = problems(start, A=END)
    assert loc == ("StartAt",)


def test_every_kind_of_transition_is_followed():
    catch = [{"ErrorEquals": ["E"], "Next": "Caugth", "ResultPath": "$.e"}]
    action = {"Type": "Action", "ActionUrl": "https://a.example/", "Parameters": {}, "Next": "Pick", "Catch": catch}
    found = problems("Act", Act=action, Pick=choice("Lef", default="Rigth"), Caught=END, Left=END, Right=END)
    assert found == [
        (("States", "Act", "Catch", 0, "Next"), "there is no state 'Caugth'; did you mean 'Caught'?"),
        (("States", "Pick", "Choices", 0, "Next"), "there is no state 'Lef'; did you mean 'Left'?"),
        (("States", "Pick", "Default"), "there is no state 'Rigth'; did you mean 'Right'?"),
    ]


def test_a_target_unlike_every_state_has_no_suggestion():
    assert problems("A", A=to("Zebra")) == [(("States", "A", "Next"), "there is no state 'Zebra'")]


def test_each_unreachable_state_is_named():  # B25
    assert [loc for loc, _ in problems("A", A=END, B=to("C"), C=END)] == [("States", "B"), ("States", "C")]


def test_states_that_only_lead_to_each_other_are_unreachable():
    found = problems("A", A=END, B=choice("C", default="A"), C=to("B"))
    assert [loc for loc, _ in found] == [("States", "B"), ("States", "C")]


@pytest.mark.parametrize(
    ("states", "way"),
    [
        ({"A": to("A")}, "A -> A"),
        ({"A": to("B"), "B": to("C"), "C": to("B")}, "B -> C -> B"),
        ({"A": choice("B", default="A"), "B": to("A")}, "A -> B -> A"),
    ],
)
def test_a_loop_that_nobody_leaves_is_named(states, way):  # B26
    ((loc, msg),) = problems("A", **states)
    assert loc == ("States", way.split(" ")[0])
    assert f"the run can never end: {way};" in msg


def test_two_closed_loops_are_two_problems():
    found = problems("A", A=choice("B", default="C"), B=to("B"), C=to("C"))
    assert [loc for loc, _ in found] == [("States", "B"), ("States", "C")]


def test_a_loop_behind_a_loop_is_part_of_the_first_problem():
    assert [loc for loc, _ in problems("A", A=choice("A", default="B"), B=to("B"))] == [("States", "A")]


@pytest.mark.parametrize(
    "states",
    [
        {"A": choice("B", default="Done"), "B": to("A"), "Done": END},
        {"A": choice("B"), "B": to("A")},  # no Default: the run fails when nothing matches
        {"A": to("B"), "B": {"Type": "Fail"}},
        {"A": to("B"), "B": {"Type": "Succeed"}},
    ],
)
def test_a_loop_with_a_way_out_is_accepted(states):
    assert problems("A", **states) == []


def test_a_mistyped_target_is_not_also_a_loop_without_end():
    assert [loc for loc, _ in problems("A", A=choice("Zebra", default="A"))] == [("States", "A", "Choices", 0, "Next")]


def test_suggestions_stop_when_a_document_has_very_many_mistakes():
    states = {f"state {i}": END for i in range(500)}
    rules = choice(*[f"state {i}x" for i in range(800)], default="state 0")
    found = problems("A", A=rules, **states)
    suggested = [msg for _, msg in found if "did you mean" in msg]
    assert len([msg for _, msg in found if "there is no state" in msg]) == 800
    assert 0 < len(suggested) < 100


def test_a_closed_ring_of_1000_states_is_one_problem_cut_short():
    found = problems("s0", **{f"s{i}": to(f"s{(i + 1) % 1000}") for i in range(1000)})
    assert len(found) == 1
    assert "s7 -> ... -> s0" in found[0][1]
