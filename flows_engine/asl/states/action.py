"""Action: start an action at a provider, wait for it to end, take its status document as the result.

Globus Flows, "Performing actions": the result is the whole status document with ``state_name`` added; an action that
ends FAILED raises ``ActionFailedException`` unless ``ExceptionOnActionFailure`` is false.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Any

from schemas.action import ActionStatus, Status
from schemas.json_text import Json, dumps
from schemas.times import from_us, to_us

from ..dialects import Dialect
from ..run import (
    ActionRefused,
    ActionReported,
    ActionTimedOut,
    Event,
    PollAction,
    RunResumed,
    StartAction,
    StateError,
)
from .base import Context, Done, Outcome, State, Wait

#: Seconds an action may take where the definition gives no WaitTime.
DEFAULT_WAIT_TIME_S = 300

#: How often an INACTIVE action is looked at: it may wake by itself once somebody has acted elsewhere.
_INACTIVE_POLL = timedelta(minutes=15)


class Action(State):
    """Memo while it waits: ``{"deadline": us, "action_id": text, "inactive_since": us}``, the last two when known."""

    def __init__(self, name: str, body: Mapping[str, Any], dialect: Dialect) -> None:
        super().__init__(name, body, dialect)
        handler = body.get("Handler")
        if isinstance(handler, Mapping):
            self.url: str = handler["Url"]
            self.scope: str | None = handler.get("Scope")
        else:
            self.url = body["ActionUrl"]
            self.scope = body.get("ActionScope")
        self.run_as: str = body.get("RunAs", "User")
        self.wait_time = timedelta(seconds=body.get("WaitTime", DEFAULT_WAIT_TIME_S))
        self.raises_on_failure: bool = body.get("ExceptionOnActionFailure", True)

    def enter(self, ctx: Context) -> Outcome:
        return self._start(ctx, ctx.at + self.wait_time)

    def _start(self, ctx: Context, deadline: datetime) -> Outcome:
        start = StartAction(
            token=ctx.branch.token,
            due=ctx.at,
            deadline=deadline,
            url=self.url,
            scope=self.scope,
            run_as=self.run_as,
            body=ctx.value,
        )
        return Wait((start,), memo={"deadline": to_us(deadline)})

    def resume(self, ctx: Context, event: Event) -> Outcome:
        match event:
            case ActionReported():
                return self._reported(ctx, event.status)
            case ActionRefused(consent=None):
                return StateError(event.error, event.cause)
            case ActionRefused():
                return self._without_consent(ctx, event)
            case ActionTimedOut():
                last = "null" if event.status is None else dumps(self._result(event.status))
                return StateError("ActionTimeout", last)
            case RunResumed():
                return self._resumed(ctx)
            case _:
                raise AssertionError(f"an Action does not wait for {type(event).__name__}")

    def _reported(self, ctx: Context, status: ActionStatus) -> Outcome:
        match status.status:
            case Status.SUCCEEDED:
                return Done(self._result(status))
            case Status.FAILED if self.raises_on_failure:
                return StateError("ActionFailedException", dumps(self._result(status)))
            case Status.FAILED:
                return Done(self._result(status))
            case Status.INACTIVE:
                return self._inactive(ctx, status)
            case _:
                return self._poll(ctx, status.action_id)

    def _poll(self, ctx: Context, action_id: str) -> Outcome:
        memo = {key: value for key, value in ctx.branch.memo.items() if key != "inactive_since"}
        if since := ctx.branch.memo.get("inactive_since"):
            memo["deadline"] += to_us(ctx.at) - since
        memo["action_id"] = action_id
        return Wait((self._poll_command(ctx, action_id, from_us(memo["deadline"])),), memo=memo)

    def _inactive(self, ctx: Context, status: ActionStatus) -> Outcome:
        memo = {"inactive_since": to_us(ctx.at)} | ctx.branch.memo | {"action_id": status.action_id}
        poll = PollAction(
            token=ctx.branch.token,
            due=ctx.at + _INACTIVE_POLL,
            deadline=None,
            url=self.url,
            scope=self.scope,
            run_as=self.run_as,
            action_id=status.action_id,
        )
        return Wait((poll,), memo=memo, inactive=self._result(status))

    def _without_consent(self, ctx: Context, event: ActionRefused) -> Outcome:
        """No action exists yet: a resume starts it."""
        details = {"code": "ConsentRequired", "description": event.cause, "required_scope": event.consent}
        memo = ctx.branch.memo | {"inactive_since": to_us(ctx.at)}
        return Wait((), memo=memo, inactive={"status": "INACTIVE", "details": details, "state_name": self.name})

    def _resumed(self, ctx: Context) -> Outcome:
        memo = dict(ctx.branch.memo)
        memo["deadline"] += to_us(ctx.at) - memo.pop("inactive_since")
        if "action_id" not in memo:
            return self._start(ctx, from_us(memo["deadline"]))
        poll = self._poll_command(ctx, memo["action_id"], from_us(memo["deadline"]), wake=True)
        return Wait((poll,), memo=memo)

    def _poll_command(self, ctx: Context, action_id: str, deadline: datetime, *, wake: bool = False) -> PollAction:
        return PollAction(
            token=ctx.branch.token,
            due=ctx.at,
            deadline=deadline,
            url=self.url,
            scope=self.scope,
            run_as=self.run_as,
            action_id=action_id,
            wake=wake,
        )

    def _result(self, status: ActionStatus) -> dict[str, Json]:
        return {**status.document, "state_name": self.name}
