"""Expected values of the corpus and their wild cards (``@any``, ``@re``, ``@json``, ``@text``, ``@optional``)."""

from __future__ import annotations

import json
import re
from typing import Any

_MATCHERS = ("@any", "@re", "@json", "@text", "@optional")


def difference(expected: Any, actual: Any, at: str = "$") -> str | None:
    """A sentence about the first place where the values differ, None when they agree."""
    name, operand = _matcher(expected)
    if name is not None:
        return None if _matches(name, operand, actual) else f"at {at}: {actual!r:.500} does not match {expected!r:.500}"
    if isinstance(expected, dict) and isinstance(actual, dict):
        return _object_difference(expected, actual, at)
    if isinstance(expected, list) and isinstance(actual, list) and len(expected) == len(actual):
        found = (
            difference(one, other, f"{at}[{i}]") for i, (one, other) in enumerate(zip(expected, actual, strict=True))
        )
        return next((text for text in found if text is not None), None)
    same = _kind(expected) == _kind(actual) and expected == actual
    return None if same else f"at {at}: expected {expected!r:.500}, not {actual!r:.500}"


def sample(value: Any) -> Any:
    """A value of an input with ``{"@text": t}`` replaced by the text it stands for."""
    name, operand = _matcher(value)
    if name == "@text":
        return operand
    if isinstance(value, dict):
        return {key: sample(child) for key, child in value.items()}
    return [sample(child) for child in value] if isinstance(value, list) else value


def _object_difference(expected: dict[str, Any], actual: dict[str, Any], at: str) -> str | None:
    for key, child in expected.items():
        if _matcher(child)[0] == "@optional":
            continue
        if key not in actual:
            return f"at {at}: the key {key!r} is missing"
        if (text := difference(child, actual[key], f"{at}.{key}")) is not None:
            return text
    extra = actual.keys() - expected.keys()
    return f"at {at}: unexpected keys {sorted(extra)}" if extra else None


def _matcher(value: Any) -> tuple[str | None, Any]:
    if isinstance(value, dict) and len(value) == 1:
        ((name, operand),) = value.items()
        if name in _MATCHERS:
            return name, operand
    return None, None


def _matches(name: str, operand: Any, actual: Any) -> bool:
    match name:
        case "@any" | "@optional":
            return True
        case "@re":
            return isinstance(actual, str) and re.fullmatch(operand, actual) is not None
        case "@text":
            return bool(actual == operand)
        case _:
            try:
                return difference(operand, json.loads(actual)) is None
            except (TypeError, ValueError):
                return False


def _kind(value: Any) -> str:
    """JSON type of a value: true is not 1, while 1 and 1.0 are the same number."""
    if isinstance(value, bool):
        return "boolean"
    return "number" if isinstance(value, int | float) else type(value).__name__
