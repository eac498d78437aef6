"""What nobody, or not everybody, may see: private parts of run states and of definitions.

A view is the same object when there is nothing to leave out, so that the usual case costs no copy.
"""

from __future__ import annotations

from typing import Final

from schemas.json_text import Json

from .paths import Path

#: Lists the private fields of an object inside ``Parameters`` (Globus Flows, "Protecting secrets").
PRIVATE_PARAMETERS: Final = "__Private_Parameters"

#: Keys of a run's state that begin so are left out of every view of it.
PRIVATE_PREFIX: Final = "_private"

#: Tokens that a run may carry at the top of its state; never shown.
TOKENS: Final = "_tokens"

_CONTAINERS: Final = (dict, list)


def redact_state(value: Json) -> Json:
    """A run's state, input or output as it may be shown: without ``_private...`` keys, and without ``_tokens``."""
    if isinstance(value, dict) and TOKENS in value:
        value = {key: child for key, child in value.items() if key != TOKENS}
    return _without_private_keys(value)


def redact_definition(definition: Json) -> Json:
    """A definition for readers who do not administrate the flow: private parameters are left out, with their list.

    Looks into nested machines too (``Branches``, ``ItemProcessor``, ``Iterator``).
    """
    if not isinstance(definition, dict) or not isinstance(definition.get("States"), dict):
        return definition
    states = _changed(
        definition["States"], {name: _redact_of_state(state) for name, state in definition["States"].items()}
    )
    return _changed(definition, {"States": states})


def bare_name(key: str) -> str:
    """Name of a template's field: ``secret.$`` and ``secret.=`` give ``secret``."""
    return key[:-2] if key.endswith((".$", ".=")) else key


def is_private(path: Path | None) -> bool:
    """Whether what stands at a path is private, because one of its keys is."""
    return path is not None and any(
        isinstance(segment, str) and segment.startswith(PRIVATE_PREFIX) for segment in path.segments
    )


def _without_private_keys(value: Json) -> Json:
    return _copy_without(value) if _holds_private_key(value) else value


def _holds_private_key(value: Json) -> bool:
    """A quick look at everything inside; most states hold nothing private."""
    stack = [value]
    while stack:
        here = stack.pop()
        if isinstance(here, dict):
            if any(key.startswith(PRIVATE_PREFIX) for key in here):
                return True
            stack.extend(child for child in here.values() if child.__class__ in _CONTAINERS)
        elif isinstance(here, list):
            stack.extend(child for child in here if child.__class__ in _CONTAINERS)
    return False


def _copy_without(value: Json) -> Json:
    if isinstance(value, dict):
        return {key: _without_private_keys(child) for key, child in value.items() if not key.startswith(PRIVATE_PREFIX)}
    return [_without_private_keys(child) for child in value]


def _redact_of_state(state: Json) -> Json:
    if not isinstance(state, dict):
        return state
    changes: dict[str, Json] = {}
    if "Parameters" in state:
        changes["Parameters"] = _redact_parameters(state["Parameters"])
    for key in ("ItemProcessor", "Iterator"):
        if key in state:
            changes[key] = redact_definition(state[key])
    if isinstance(state.get("Branches"), list):
        branches = [redact_definition(branch) for branch in state["Branches"]]
        same = all(new is old for new, old in zip(branches, state["Branches"], strict=True))
        changes["Branches"] = state["Branches"] if same else branches
    return _changed(state, changes)


def _redact_parameters(body: Json) -> Json:
    if isinstance(body, list):
        items = [_redact_parameters(item) for item in body]
        return body if all(new is old for new, old in zip(items, body, strict=True)) else items
    if not isinstance(body, dict):
        return body
    names = body.get(PRIVATE_PARAMETERS)
    hidden = {bare_name(name) for name in names if isinstance(name, str)} if isinstance(names, list) else set()
    kept = {
        key: _redact_parameters(child)
        for key, child in body.items()
        if key != PRIVATE_PARAMETERS and bare_name(key) not in hidden
    }
    return _changed(body, kept) if len(kept) == len(body) else kept


def _changed(document: dict[str, Json], changes: dict[str, Json]) -> dict[str, Json]:
    """``document`` with ``changes``; the same object when they change nothing."""
    if all(document[key] is value for key, value in changes.items()):
        return document
    return {**document, **changes}
