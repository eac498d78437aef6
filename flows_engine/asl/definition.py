"""Parsed flow definitions: every state of every machine, by JSON Pointer. Parse what ``validate`` has accepted."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from schemas.json_text import Json, dumps

from .dialects import UNION, Dialect
from .states import STATE_TYPES
from .states.base import State


@dataclass(frozen=True, slots=True)
class Machine:
    """One state machine: the flow itself, later also the machine of a Parallel branch or a Map."""

    start_at: str
    states: Mapping[str, State]


@dataclass(frozen=True, slots=True)
class Definition:
    """``machines[""]`` is the flow; nested machines are keyed by their JSON Pointer.

    ``timeout_s`` bounds a whole run (ASL ``TimeoutSeconds``). ``reads_context_object`` is false when no text in the
    definition could refer to ``$$``, so that it need not be built.
    """

    machines: Mapping[str, Machine]
    dialect: Dialect
    timeout_s: int | None
    reads_context_object: bool

    def state(self, scope: str, name: str) -> State:
        return self.machines[scope].states[name]


def parse(document: Json, dialect: Dialect = UNION) -> Definition:
    """Compile a valid definition: paths, templates and expressions are parsed here, once."""
    states = {name: STATE_TYPES[body["Type"]](name, body, dialect) for name, body in document["States"].items()}
    return Definition(
        machines={"": Machine(document["StartAt"], states)},
        dialect=dialect,
        timeout_s=document.get("TimeoutSeconds"),
        reads_context_object=dialect.context_object and "$$" in dumps(document),
    )
