"""Wait: sleeps for a number of seconds or until a time, then passes its input on. Time enters with the events."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Any

from schemas.json_text import Json
from schemas.times import parse_rfc3339

from ..dialects import Dialect
from ..errors import EvaluationError
from ..paths import compile_path
from ..run import Event, FireTimer, TimerFired
from .base import Context, Done, Outcome, State
from .base import Wait as Sleep

_VALUES_SHOWN_CHARS = 80


class Wait(State):
    """Exactly one of ``Seconds``, ``Timestamp`` and their path twins; a time that has passed is no wait at all."""

    has_result = False

    def __init__(self, name: str, body: Mapping[str, Any], dialect: Dialect) -> None:
        super().__init__(name, body, dialect)
        self._longest = timedelta(seconds=dialect.max_wait_s)
        self._field = next(field for field in ("Seconds", "SecondsPath", "Timestamp", "TimestampPath") if field in body)
        self._operand: Json = body[self._field]
        self._path = compile_path(self._operand, extended=True) if self._field.endswith("Path") else None

    def enter(self, ctx: Context) -> Outcome:
        due = self._due(ctx)
        if due <= ctx.at:
            return Done(ctx.value)
        return Sleep((FireTimer(token=ctx.branch.token, due=due),))

    def resume(self, ctx: Context, event: Event) -> Outcome:
        if not isinstance(event, TimerFired):
            raise TypeError(f"the Wait state {self.name!r} cannot go on with {type(event).__name__}")
        return Done(ctx.value)

    def _due(self, ctx: Context) -> datetime:
        value = self._operand if self._path is None else self._path.read(ctx.scope)
        if self._field.startswith("Seconds"):
            delay = timedelta(seconds=min(self._seconds(value), self._longest.total_seconds() + 1))
        else:
            delay = self._time(value) - ctx.at
        if delay > self._longest:
            raise EvaluationError(
                f"the Wait state's delay is too long: {self._says(value)} is more than "
                f"{self._longest.days} days ahead, the longest wait"
            )
        return ctx.at + delay

    def _seconds(self, value: Json) -> int:
        # 60.0 is the same JSON number as 60, and what an expression such as 120 / 2 gives.
        is_whole = isinstance(value, int) or (isinstance(value, float) and value.is_integer())
        if isinstance(value, bool) or not is_whole:
            raise EvaluationError(f"{self._says(value)} is not a whole number of seconds")
        if value < 0:
            raise EvaluationError(f"{self._says(value)} is negative; the number of seconds must be 0 or more")
        return int(value)

    def _time(self, value: Json) -> datetime:
        if not isinstance(value, str):
            raise EvaluationError(f"{self._says(value)} is not a string holding a time such as 2026-01-31T12:00:00Z")
        try:
            return parse_rfc3339(value)
        except ValueError as error:
            raise EvaluationError(f"{self._says(value)} is not a timestamp: {error}") from error

    def _says(self, value: Json) -> str:
        shown = repr(value)
        if len(shown) > _VALUES_SHOWN_CHARS:
            shown = shown[:_VALUES_SHOWN_CHARS] + "..."
        return f"{self._field} {self._operand} == {shown}" if self._path is not None else f"{self._field} {shown}"
