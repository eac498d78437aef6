"""ExpressionEval: evaluate Parameters and keep the result; no action is started."""

from __future__ import annotations

from .base import Context, Done, Outcome, State


class ExpressionEval(State):
    def enter(self, ctx: Context) -> Outcome:
        return Done(ctx.value)
