"""Providers that do what the body says, and a house of them on a real database."""

from __future__ import annotations

import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from typing import Any, ClassVar

import jsonschema

from action_providers.background import Background
from action_providers.hello_world import HelloWorld
from action_providers.provider import (
    Action,
    ActionProvider,
    Active,
    Description,
    Failed,
    Inactive,
    Outcome,
    Succeeded,
    Work,
)
from action_providers.service import Actions
from schemas.errors import Problem
from schemas.json_text import Json
from schemas.ports import Clock, Database
from schemas.principals import Caller, group_urn

ALICE = Caller(
    identity_id="aaaaaaaa-0000-4000-8000-000000000001", username="alice@example.org", scopes=frozenset({"scripted"})
)
BOB = Caller(
    identity_id="bbbbbbbb-0000-4000-8000-000000000002", username="bob@example.org", scopes=frozenset({"scripted"})
)
STAFF = "cccccccc-0000-4000-8000-000000000003"
CAROL = Caller(
    identity_id="dddddddd-0000-4000-8000-000000000004", username="carol@example.org", groups=frozenset({STAFF})
)


class Scripted(ActionProvider):
    """``{"run": what, "advance": what}`` with what: done, fail, active, inactive, raise, garbage. ``calls`` is the
    ledger of effects; ``gate`` holds a named method up until it is set."""

    description: ClassVar[Description] = Description(
        path="lab/scripted",
        title="Scripted",
        scope="scripted",
        synchronous=False,
        input_schema={"type": "object", "properties": {"run": {"type": "string"}}},
    )

    def __init__(self, clock: Clock) -> None:
        self.clock = clock
        self.calls: list[tuple[str, str]] = []
        self.seen_groups: list[frozenset[str]] = []
        self.gates: dict[str, threading.Event] = {}
        self.entered: dict[str, threading.Event] = {}
        self.reported: list[bool] = []

    def adapt(self, body: Json) -> Json:
        if "old_run" in body:
            return {"run": body["old_run"]}
        return body

    def run(self, action: Action, now: datetime) -> Outcome:
        return self._do("run", action)

    def advance(self, action: Action, work: Work) -> Outcome:
        outcome = self._do("advance", action)
        if action.body.get("report"):
            work.report({"progress": 50})
            self.reported.append(True)
        return outcome

    def resume(self, action: Action, now: datetime) -> Outcome:
        self.calls.append(("resume", action.action_id))
        return Succeeded({"resumed_by_scopes": sorted(action.caller.scopes)})

    def cancel(self, action: Action, now: datetime) -> Outcome:
        self.calls.append(("cancel", action.action_id))
        return super().cancel(action, now)

    def count(self, method: str) -> int:
        return sum(1 for name, _ in self.calls if name == method)

    def _do(self, method: str, action: Action) -> Outcome:
        self.calls.append((method, action.action_id))
        self.seen_groups.append(action.caller.groups)
        if method in self.entered:
            self.entered[method].set()
        if method in self.gates:
            assert self.gates[method].wait(10)
        match action.body.get(method, "done"):
            case "done":
                return Succeeded({"did": method, "state": action.state})
            case "fail":
                return Failed({"code": "Scripted", "description": "as asked"})
            case "active":
                wait = timedelta(seconds=action.body.get("wait", 0))
                return Active({"did": method}, due=self.clock.now() + wait, state={"from": method})
            case "inactive":
                return Inactive({"code": "ConsentRequired", "description": "as asked"})
            case "too large":
                return Succeeded({"text": "x" * 1_100_000})
            case "garbage":
                return Succeeded({"text": {1, 2}})  # type: ignore[dict-item] - what a broken provider might do
            case "nothing":
                return None  # type: ignore[return-value] - what a broken provider might do
            case _:
                raise RuntimeError("secret of the provider")


class PureScripted(Scripted):
    pure = True
    description = replace(Scripted.description, path="lab/pure")


class StaffOnly(Scripted):
    description = replace(
        Scripted.description,
        path="lab/staff",
        visible_to=(group_urn(STAFF),),
        runnable_by=(group_urn(STAFF),),
    )


def check_with_jsonschema(schema: Mapping[str, Any], body: Json) -> Sequence[Problem]:
    errors = jsonschema.Draft202012Validator(schema).iter_errors(body)
    return [Problem(tuple(error.absolute_path), error.message, str(error.validator)) for error in errors]


@dataclass
class Lab:
    """One process's worth of the kit: its own Actions and Background on a shared database."""

    database: Database
    clock: Clock
    wakes: list[str] = field(default_factory=list)
    lease: timedelta = timedelta(seconds=30)

    def __post_init__(self) -> None:
        self.scripted = Scripted(self.clock)
        self.pure = PureScripted(self.clock)
        self.staff = StaffOnly(self.clock)
        providers = [self.scripted, self.pure, self.staff, HelloWorld()]
        self.actions = Actions(
            self.database,
            self.clock,
            {one.description.path: one for one in providers},
            check_body=check_with_jsonschema,
            wake=self.wakes.append,
            lease=self.lease,
        )
        self.background = Background(self.actions, threads=4)

    def run(
        self, body: Json, *, request_id: str = "r-1", caller: Caller = ALICE, waiter: str = "", **members: Any
    ) -> Any:
        path = members.pop("path", "lab/scripted")
        request = {"request_id": request_id, "body": body} | members
        return self.actions.run(path, request, caller, waiter=waiter)[0]

    def status(self, action_id: str, caller: Caller = ALICE, path: str = "lab/scripted") -> Any:
        return self.actions.status(path, action_id, caller)
