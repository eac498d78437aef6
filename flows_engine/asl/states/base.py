"""What a state type may say. Everything common to all states (paths, results, Catch, Next) lives in the interpreter.

A state is parsed once from its JSON body; ``enter`` and ``resume`` are pure and answer with an Outcome.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, TypeAlias

from schemas.json_text import Json

from ..dialects import Dialect
from ..paths import Path, compile_path
from ..run import Branch, Command, Event, StateError
from ..scope import Scope
from ..template import Template, compile_template


@dataclass(frozen=True, slots=True)
class Done:
    """The state is finished with ``result``; ``next`` overrides the definition's Next."""

    result: Json
    next: str | None = None


@dataclass(frozen=True, slots=True)
class Wait:
    """Sleep until an event with the branch's token comes. ``inactive`` is the reason a person must act on, if any."""

    commands: tuple[Command, ...]
    memo: Json = None
    inactive: Mapping[str, Json] | None = None


Outcome: TypeAlias = Done | Wait | StateError


@dataclass(frozen=True, slots=True)
class Context:
    """Everything a state may look at. ``value`` is the input after InputPath and Parameters; ``scope`` reads the
    state's raw input after InputPath."""

    at: datetime
    branch: Branch
    value: Json
    scope: Scope


@dataclass(frozen=True, slots=True)
class Catcher:
    errors: frozenset[str]
    next: str
    result_path: Path | None


class State:
    """A state of one type, parsed from ``body`` (which validation has accepted)."""

    #: False for states that pass their input on unchanged (Choice, Wait).
    has_result = True

    def __init__(self, name: str, body: Mapping[str, Any], dialect: Dialect) -> None:
        self.name = name
        self.type: str = body["Type"]
        self.body = body
        self.next: str | None = body.get("Next")
        self.input_path = _path(body, "InputPath", extended=dialect.extended_paths)
        self.output_path = _path(body, "OutputPath", extended=dialect.extended_paths)
        self.result_path = _path(body, "ResultPath", reference=True)
        self.parameters: Template | None = None
        if "Parameters" in body:
            self.parameters = compile_template(
                body["Parameters"], expressions=dialect.expressions, extended=dialect.extended_paths
            )
        self.catchers = tuple(
            Catcher(
                errors=frozenset(catcher["ErrorEquals"]),
                next=catcher["Next"],
                result_path=_path(catcher, "ResultPath", reference=True),
            )
            for catcher in body.get("Catch", ())
        )

    def enter(self, ctx: Context) -> Outcome:
        raise NotImplementedError

    def resume(self, ctx: Context, event: Event) -> Outcome:
        raise NotImplementedError(f"{self.type} never waits")


def _path(body: Mapping[str, Any], field: str, *, reference: bool = False, extended: bool = False) -> Path | None:
    """The compiled path of a field; None when it is ``null`` (ASL: no value). Absent means ``$``."""
    text = body.get(field, "$")
    return None if text is None else compile_path(text, reference=reference, extended=extended)
