"""Checks of a machine as a graph: names, targets of transitions, states nobody reaches, loops nobody leaves.

Everything is iterative: a machine may be a chain of 1,000 states.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Callable, Mapping

from schemas.json_text import Json

from .analysis import transitions
from .validate_fields import Findings, Loc, check_name, did_you_mean, shown

_MAX_NAMED = 8


def check_names(findings: Findings, loc: Loc, states: Mapping[str, Json]) -> None:
    seen: dict[str, str] = {}
    for name in states:
        check_name(findings, (*loc, name), name)
        first = seen.setdefault(unicodedata.normalize("NFC", name), name)
        if first != name:
            findings.add((*loc, name), f"two states have names that look the same: {shown(name)}; rename one of them")


def check_graph(findings: Findings, loc: Loc, states: Mapping[str, Json], start: Json) -> None:
    """``loc`` leads to the machine; ``start`` is its StartAt, which may be anything."""
    start_loc, states_loc = (*loc, "StartAt"), (*loc, "States")
    entry = None
    if isinstance(start, str):
        entry = _target(findings, start_loc, start, states)
    edges: dict[str, list[str | None]] = {}
    for name, state in states.items():
        edges[name] = _targets(findings, (*states_loc, name), state, states)
    if entry is not None:
        reached = _reached(entry, edges)
        for name in states:
            if name not in reached:
                findings.add(
                    (*states_loc, name), f"the state {shown(name)} is never reached: nothing leads to it from StartAt"
                )
    _check_ends(findings, states_loc, states, edges)


def loops(states: Mapping[str, Json], inside: Callable[[Json], bool]) -> list[list[str]]:
    """One loop, as the names passed in order, of each set of states that only passes states with ``inside``."""
    edges: dict[str, list[str | None]] = {
        name: [found.target for found in transitions(state) if found.target in states and inside(states[found.target])]
        for name, state in states.items()
        if inside(state)
    }
    return _loops(edges)


def format_loop(loop: list[str]) -> str:
    """``A -> B -> A``, cut when long."""
    return " -> ".join([*loop[:_MAX_NAMED], *(["..."] if len(loop) > _MAX_NAMED else []), loop[0]])


def _targets(findings: Findings, loc: Loc, state: Json, states: Mapping[str, Json]) -> list[str | None]:
    """Where the state leads; a misspelled field leads where it is meant to, and its spelling alone is the problem."""
    targets = [_target(findings, (*loc, *found.loc), found.target, states) for found in transitions(state)]
    written = {found.loc for found in transitions(state)}
    for found in transitions(_as_meant(findings, loc, state)):
        if found.loc not in written:
            targets.append(found.target if found.target in states else findings.nearest(found.target, states))
    return targets


def _as_meant(findings: Findings, loc: Loc, value: Json) -> Json:
    """The state, its rules and its catchers with the names that their unknown keys stand for."""
    if not findings.meant:
        return value
    if isinstance(value, list):
        return [_as_meant(findings, (*loc, index), item) for index, item in enumerate(value)]
    if not isinstance(value, dict):
        return value
    meant = findings.meant.get(loc, {})
    members = {name: value[name] for name in value if name not in meant.values()}
    members |= {name: value[key] for name, key in meant.items()}
    return {name: _as_meant(findings, (*loc, meant.get(name, name)), item) for name, item in members.items()}


def _target(findings: Findings, loc: Loc, target: str, states: Mapping[str, Json]) -> str | None:
    """The state that is meant; a problem when there is none of exactly that name."""
    if target in states:
        return target
    near = findings.nearest(target, states)
    findings.add(loc, f"there is no state {shown(target)}{did_you_mean(near)}")
    return near


def _reached(entry: str, edges: Mapping[str, list[str | None]]) -> set[str]:
    reached = {entry}
    waiting = [entry]
    while waiting:
        for target in edges[waiting.pop()]:
            if target is not None and target not in reached:
                reached.add(target)
                waiting.append(target)
    return reached


def _check_ends(
    findings: Findings, loc: Loc, states: Mapping[str, Json], edges: Mapping[str, list[str | None]]
) -> None:
    """Every state must have a way to an end; each closed set of states without one is one problem."""
    sources: dict[str, list[str]] = {name: [] for name in states}
    for name, targets in edges.items():
        for target in targets:
            if target is not None:
                sources[target].append(name)
    leaving = [name for name, state in states.items() if _may_stop(state) or not edges[name] or None in edges[name]]
    ending = set(leaving)
    while leaving:
        for source in sources[leaving.pop()]:
            if source not in ending:
                ending.add(source)
                leaving.append(source)
    trapped = {name: edges[name] for name in states if name not in ending}
    for loop in _loops(trapped):
        way = format_loop(loop)
        findings.add(
            (*loc, loop[0]), f'the run can never end: {way}; let a state of this loop lead out or set "End": true'
        )


def _may_stop(state: Json) -> bool:
    """Whether a run may stop in the state, so far as the definition tells: a Choice may find no match."""
    if not isinstance(state, dict):
        return True
    if state.get("Type") == "Choice":
        return "Default" not in state
    return state.get("Type") in ("Fail", "Succeed") or state.get("End") is True


def _loops(edges: Mapping[str, list[str | None]]) -> list[list[str]]:
    """Loops that no path from one of them to another joins, in the order their first states stand in."""
    found: list[list[str]] = []
    seen: set[str] = set()
    for name in edges:
        while name not in seen and (loop := _loop_from(name, edges, seen)):
            found.append(loop)
            seen |= _reached(loop[0], edges)
    return found


def _loop_from(name: str, edges: Mapping[str, list[str | None]], seen: set[str]) -> list[str]:
    """A loop that is reached depth first from ``name``, or nothing. ``seen`` grows by the states that lead to none."""
    path = [name]
    on_path = {name: 0}
    stack = [iter(edges[name])]
    while stack:
        target = next(stack[-1], _EXHAUSTED)
        if target is _EXHAUSTED:
            stack.pop()
            last = path.pop()
            del on_path[last]
            seen.add(last)
        elif isinstance(target, str) and target in on_path:
            return path[on_path[target] :]
        elif isinstance(target, str) and target not in seen:
            on_path[target] = len(path)
            path.append(target)
            stack.append(iter(edges[target]))
    return []


_EXHAUSTED = object()
