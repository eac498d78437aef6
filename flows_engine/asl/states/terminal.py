"""The states that end a run: Succeed, and Fail with its error name and cause."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ..dialects import Dialect
from ..errors import EvaluationError
from ..paths import Path, compile_path, kind_of
from ..run import StateError
from ..scope import Scope
from .base import Context, Done, Outcome, State


class Succeed(State):
    has_result = False

    def enter(self, ctx: Context) -> Outcome:
        return Done(ctx.value)


class Fail(State):
    """Ends the run FAILED with ``Error`` and ``Cause``, each literal, read by its ``...Path`` twin, or absent."""

    def __init__(self, name: str, body: Mapping[str, Any], dialect: Dialect) -> None:
        super().__init__(name, body, dialect)
        self._error = _Text(body, "Error")
        self._cause = _Text(body, "Cause")

    def enter(self, ctx: Context) -> Outcome:
        return StateError(self._error.read(ctx.scope), self._cause.read(ctx.scope))


class _Text:
    """A string field or its path twin."""

    def __init__(self, body: Mapping[str, Any], field: str) -> None:
        self._literal: str | None = body.get(field)
        self._field = f"{field}Path"
        self._path: Path | None = compile_path(body[self._field], extended=True) if self._field in body else None

    def read(self, scope: Scope) -> str | None:
        if self._path is None:
            return self._literal
        value = self._path.read(scope)
        if not isinstance(value, str):
            raise EvaluationError(f"{self._field} must lead to a string, not to {kind_of(value)}")
        return value
