"""Pass: does no work, produces a value. ``Result`` is taken literally (a ``.$`` key inside it stays a key)."""

from __future__ import annotations

from .base import Context, Done, Outcome, State


class Pass(State):
    def enter(self, ctx: Context) -> Outcome:
        return Done(self.body.get("Result", ctx.value))
