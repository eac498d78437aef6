"""Choice: goes to the Next of the first rule that holds. Rules are compiled once; evaluating one changes nothing."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Protocol

from schemas.json_text import Json

from ..comparators import COMPARATORS, TYPE_TESTS, Comparator
from ..dialects import Dialect
from ..errors import EvaluationError
from ..paths import Path, compile_path
from ..run import StateError
from ..scope import Scope
from .base import Context, Done, Outcome, State


class Rule(Protocol):
    def holds(self, scope: Scope) -> bool: ...


class Choice(State):
    has_result = False

    def __init__(self, name: str, body: Mapping[str, Any], dialect: Dialect) -> None:
        super().__init__(name, body, dialect)
        self._rules = tuple(
            (compile_rule(rule, where=f"Choices[{index}]"), str(rule["Next"]))
            for index, rule in enumerate(body["Choices"])
        )
        self._default: str | None = body.get("Default")

    def enter(self, ctx: Context) -> Outcome:
        for rule, target in self._rules:
            if rule.holds(ctx.scope):
                return Done(ctx.value, next=target)
        if self._default is not None:
            return Done(ctx.value, next=self._default)
        return StateError(
            "States.NoChoiceMatched", f"no rule of the Choice state {self.name!r} holds and it has no Default"
        )


def compile_rule(body: Mapping[str, Any], *, where: str) -> Rule:
    """The rule of a JSON body, nested rules included. ``where`` leads to it in messages (``Choices[0].And[1]``)."""
    if "And" in body:
        return _And(_nested(body, "And", where))
    if "Or" in body:
        return _Or(_nested(body, "Or", where))
    if "Not" in body:
        return _Not(compile_rule(body["Not"], where=f"{where}.Not"))
    return _compile_test(body, where)


@dataclass(frozen=True, slots=True)
class _And:
    rules: tuple[Rule, ...]

    def holds(self, scope: Scope) -> bool:
        return all(rule.holds(scope) for rule in self.rules)


@dataclass(frozen=True, slots=True)
class _Or:
    rules: tuple[Rule, ...]

    def holds(self, scope: Scope) -> bool:
        return any(rule.holds(scope) for rule in self.rules)


@dataclass(frozen=True, slots=True)
class _Not:
    rule: Rule

    def holds(self, scope: Scope) -> bool:
        return not self.rule.holds(scope)


@dataclass(frozen=True, slots=True)
class _Operand:
    """A path inside a rule; ``where`` names its field."""

    path: Path
    where: str

    def read(self, scope: Scope) -> Json:
        try:
            return self.path.read(scope)
        except EvaluationError as error:
            raise EvaluationError(f"{self.where}: {error.cause}", error.error) from error


@dataclass(frozen=True, slots=True)
class _LiteralComparison:
    variable: _Operand
    comparator: Comparator
    literal: Any  # as comparator.read_literal gives it

    def holds(self, scope: Scope) -> bool:
        return self.comparator.holds(self.comparator.read(self.variable.read(scope)), self.literal)


@dataclass(frozen=True, slots=True)
class _PathComparison:
    variable: _Operand
    comparator: Comparator
    operand: _Operand

    def holds(self, scope: Scope) -> bool:
        read = self.comparator.read
        return self.comparator.holds(read(self.variable.read(scope)), read(self.operand.read(scope)))


@dataclass(frozen=True, slots=True)
class _TypeTest:
    variable: _Operand
    test: Callable[[Json], bool]
    expected: bool

    def holds(self, scope: Scope) -> bool:
        return self.test(self.variable.read(scope)) is self.expected


@dataclass(frozen=True, slots=True)
class _Presence:
    variable: Path
    expected: bool

    def holds(self, scope: Scope) -> bool:
        return self.variable.is_present(scope) is self.expected


def _nested(body: Mapping[str, Any], field: str, where: str) -> tuple[Rule, ...]:
    return tuple(compile_rule(rule, where=f"{where}.{field}[{index}]") for index, rule in enumerate(body[field]))


def _compile_test(body: Mapping[str, Any], where: str) -> Rule:
    variable = _operand(body, "Variable", where)
    for name, value in body.items():
        if name == "IsPresent":
            return _Presence(variable.path, value)
        if name in TYPE_TESTS:
            return _TypeTest(variable, TYPE_TESTS[name], value)
        if name in COMPARATORS:
            return _LiteralComparison(variable, COMPARATORS[name], COMPARATORS[name].read_literal(value))
        if (plain := name.removesuffix("Path")) != name and plain in COMPARATORS:
            return _PathComparison(variable, COMPARATORS[plain], _operand(body, name, where))
    raise ValueError(f"{where} has no comparator; validation must not let this through")


def _operand(body: Mapping[str, Any], field: str, where: str) -> _Operand:
    return _Operand(compile_path(body[field], extended=True), f"{where}.{field}")
