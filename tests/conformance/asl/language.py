"""Which features of the whole Amazon States Language a definition uses that a dialect does not have.

The answer comes from the definition and the dialect's own table, never from the name of a case. A feature is something
the language has: a field that is wrong everywhere is no feature, and a validator has to refuse it.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any

from flows_engine.asl.dialects import Dialect

_EVERY = frozenset({"Type", "Comment", "QueryLanguage"})
_FLOW = _EVERY | {"Next", "End", "Assign", "Output"}
_PATHS = frozenset({"InputPath", "OutputPath"})
_RESULT = _PATHS | {"Parameters", "ResultPath"}
_WORK = _FLOW | _RESULT | {"ResultSelector", "Retry", "Catch"}

#: Fields of each state type (ASL, "State types"; both query languages).
STATE_FIELDS: Mapping[str, frozenset[str]] = {
    "Task": _WORK
    | {
        "Resource",
        "Arguments",
        "Credentials",
        "TimeoutSeconds",
        "TimeoutSecondsPath",
        "HeartbeatSeconds",
        "HeartbeatSecondsPath",
    },
    "Parallel": _WORK | {"Branches", "Arguments"},
    "Map": _WORK
    | {
        "ItemProcessor",
        "Iterator",
        "ItemSelector",
        "Items",
        "ItemsPath",
        "ItemReader",
        "ItemBatcher",
        "ResultWriter",
        "MaxConcurrency",
        "MaxConcurrencyPath",
        "ToleratedFailureCount",
        "ToleratedFailureCountPath",
        "ToleratedFailurePercentage",
        "ToleratedFailurePercentagePath",
        "Label",
    },
    "Pass": _FLOW | _RESULT | {"Result"},
    "Wait": _FLOW | _PATHS | {"Seconds", "SecondsPath", "Timestamp", "TimestampPath"},
    "Choice": _EVERY | _PATHS | {"Choices", "Default", "Assign", "Output"},
    "Succeed": _EVERY | _PATHS | {"Output"},
    "Fail": _EVERY | {"Error", "ErrorPath", "Cause", "CausePath"},
}

#: Fields of a Choice rule that belong to JSONata or to variables.
_RULE_FEATURES = frozenset({"Condition", "Assign", "Output"})
_TEMPLATES = ("Parameters", "ResultSelector", "ItemSelector", "Assign")
_INTRINSIC = re.compile(r"States\.\w+\s*\(")
_VARIABLE = re.compile(r"\$[^\W\d]")


def missing_features(definition: Any, dialect: Dialect) -> set[str]:
    """Names of the features a definition needs and the dialect lacks."""
    missing: set[str] = set()
    for machine in _machines(definition):
        if machine.get("QueryLanguage") == "JSONata":
            missing.add("JSONata")
        for state in _objects(machine.get("States")):
            missing |= _of_state(state, dialect)
    if getattr(dialect, "intrinsics", False):
        missing.discard("intrinsic functions")
    return missing


def _of_state(state: Mapping[str, Any], dialect: Dialect) -> set[str]:
    kind = state.get("Type")
    if not isinstance(kind, str) or kind not in STATE_FIELDS:
        return set()
    if kind not in dialect.state_fields:
        return {kind}
    allowed = dialect.state_fields[kind] | _EVERY
    missing = {field for field in state if field in STATE_FIELDS[kind] and field not in allowed}
    if state.get("QueryLanguage") == "JSONata":
        missing.add("JSONata")
    for rule in _rules(state.get("Choices")):
        missing |= _RULE_FEATURES & rule.keys() - allowed
    for text in _path_texts(state):
        if _INTRINSIC.match(text):
            missing.add("intrinsic functions")
        elif _VARIABLE.match(text) and "Assign" not in allowed:
            missing.add("variables")
    return missing


def _machines(definition: Any) -> Iterator[Mapping[str, Any]]:
    """The machine and those nested in it."""
    if not isinstance(definition, Mapping):
        return
    yield definition
    for state in _objects(definition.get("States")):
        branches = state.get("Branches")
        nested = [*(branches if isinstance(branches, list) else ()), state.get("ItemProcessor"), state.get("Iterator")]
        for machine in nested:
            yield from _machines(machine)


def _rules(choices: Any) -> Iterator[Mapping[str, Any]]:
    for rule in choices if isinstance(choices, list) else ():
        if isinstance(rule, Mapping):
            yield rule
            yield from _rules([*_list(rule.get("And")), *_list(rule.get("Or")), rule.get("Not")])


def _path_texts(state: Mapping[str, Any]) -> Iterator[str]:
    """Every text of a state that is read as a path: ``...Path`` fields, rules, and ``.$`` keys of templates."""
    for source in (state, *_rules(state.get("Choices"))):
        for field, value in source.items():
            if (field.endswith("Path") or field == "Variable") and isinstance(value, str):
                yield value
    for template in _TEMPLATES:
        yield from _template_paths(state.get(template))


def _template_paths(value: Any) -> Iterator[str]:
    if isinstance(value, Mapping):
        for key, child in value.items():
            if key.endswith(".$") and isinstance(child, str):
                yield child
            else:
                yield from _template_paths(child)
    elif isinstance(value, list):
        for child in value:
            yield from _template_paths(child)


def _objects(value: Any) -> list[Mapping[str, Any]]:
    return [one for one in value.values() if isinstance(one, Mapping)] if isinstance(value, Mapping) else []


def _list(value: Any) -> list[Any]:
    return value if isinstance(value, list) else []
