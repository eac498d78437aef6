"""What can be said about a definition without running it: its transitions, its ways to an end, what it calls.

Only ``transitions`` must bear a malformed definition (validation uses it); the rest reads definitions that
``validate`` accepted. Nothing here recurses along transitions: a definition may be a chain of 1,000 states.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from schemas.json_text import Json

#: Where counting of possibilities stops: beyond it the number tells nobody anything.
MAX_POSSIBILITIES = 10**6

DEFAULT_RUN_AS = "User"


@dataclass(frozen=True, slots=True, kw_only=True)
class ActionTarget:
    """What an Action state calls: ``scope`` is None when it must be discovered, ``run_as`` as in the definition."""

    state: str
    url: str
    scope: str | None
    run_as: str


@dataclass(frozen=True, slots=True)
class Transition:
    """One place where a state names its successor; ``loc`` leads there from the state (``("Choices", 0, "Next")``)."""

    loc: tuple[str | int, ...]
    target: str


def transitions(state: Json) -> Iterator[Transition]:
    """The successors a state names, in document order of Next, Choices, Default, Catch; malformed parts are skipped."""
    if not isinstance(state, dict):
        return
    if state.get("Type") == "Choice":
        yield from _rules(state, "Choices")
        if isinstance(default := state.get("Default"), str):
            yield Transition(("Default",), default)
    elif isinstance(following := state.get("Next"), str):
        yield Transition(("Next",), following)
    yield from _rules(state, "Catch")


def number_of_possibilities(document: Json) -> int:
    """Number of distinct sequences of states from StartAt to an end, each loop passed once, at most 10**6.

    Counted on the graph without the edges that close a loop, so the time is linear in its size.
    """
    states = document["States"]
    order, edges = _acyclic(states, document["StartAt"])
    ways: dict[str, int] = {}
    for name in order:
        following = edges[name]
        total = sum(ways[target] for target in following) if following else int(_may_end(states[name]))
        ways[name] = min(total, MAX_POSSIBILITIES)
    return ways[document["StartAt"]]


def action_targets(document: Json) -> list[ActionTarget]:
    """What the Action states call, in document order, one entry per state."""
    targets: list[ActionTarget] = []
    for name, state in document["States"].items():
        if state.get("Type") != "Action":
            continue
        run_as = state.get("RunAs", DEFAULT_RUN_AS)
        handler = state.get("Handler")
        if isinstance(handler, dict):
            url, scope = handler.get("Url"), handler.get("Scope", state.get("ActionScope"))
        else:
            url, scope = state.get("ActionUrl"), state.get("ActionScope")
        if url is not None:  # a registered API has no address of its own
            targets.append(ActionTarget(state=name, url=url, scope=scope, run_as=run_as))
    return targets


def _rules(state: dict[str, Json], field: str) -> Iterator[Transition]:
    rules = state.get(field)
    for index, rule in enumerate(rules if isinstance(rules, list) else ()):
        if isinstance(rule, dict) and isinstance(target := rule.get("Next"), str):
            yield Transition((field, index, "Next"), target)


def _may_end(state: Json) -> bool:
    return state.get("Type") in ("Fail", "Succeed") or state.get("End") is True


def _acyclic(states: dict[str, Json], start: str) -> tuple[list[str], dict[str, list[str]]]:
    """States reachable from ``start``, successors first, and their edges without those that close a loop."""
    edges: dict[str, list[str]] = {start: []}
    order: list[str] = []
    path = {start}
    stack = [(start, _targets(states, start))]
    while stack:
        name, remaining = stack[-1]
        target = next(remaining, None)
        if target is None:
            stack.pop()
            path.discard(name)
            order.append(name)
        elif target not in path:
            edges[name].append(target)
            if target not in edges:
                edges[target] = []
                path.add(target)
                stack.append((target, _targets(states, target)))
    return order, edges


def _targets(states: dict[str, Json], name: str) -> Iterator[str]:
    return iter(dict.fromkeys(transition.target for transition in transitions(states[name])))
