"""Scripted action providers behind the engine's directory, with a ledger that is the judge of every test.

They keep the contract of ``request_id``: the same id gives the same action, another body under it is recorded as a
violation. What they do is decided by the request's body and by a seeded source of faults.
"""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from flows_engine.actions.answers import Answer, Errand, Gone, Reported, Unknown
from flows_engine.actions.local import Order
from schemas.action import ActionStatus
from schemas.json_text import Json, loads
from schemas.ports import Clock


@dataclass
class LedgerEntry:
    """One effect: an action that was really started."""

    request_id: str
    action_id: str
    run_id: str
    body: Json
    text: str
    ends_at: datetime
    canceled: bool = False
    released: bool = False
    resumed: bool = False


@dataclass
class ScriptedProviders:
    """Body members: ``seconds`` the action takes, ``fail`` ends it FAILED, ``inactive`` makes it wait for a resume."""

    clock: Clock
    seed: int = 0
    fault_rate: float = 0.0
    local: bool = True
    ledger: dict[str, LedgerEntry] = field(default_factory=dict)
    violations: list[str] = field(default_factory=list)
    calls: int = 0
    absorbed: int = 0

    def __post_init__(self) -> None:
        self._random = random.Random(self.seed)
        self._actions: dict[str, LedgerEntry] = {}

    def is_local(self, url: str) -> bool:
        return self.local

    def start(self, errand: Errand, request: str, *, waiter: str) -> Answer:
        self.calls += 1
        if self._fault():
            return Unknown("the connection was reset before the request arrived")
        document = loads(request)
        entry = self.ledger.get(document["request_id"])
        if entry is None:
            entry = self._new(errand, document, request)
        elif entry.text != request:
            self.violations.append(f"{entry.request_id} came again with another body")
        else:
            self.absorbed += 1
        if self._fault():
            return Unknown("the connection was reset before the answer arrived")
        return self._report(entry)

    def start_many(self, orders: Sequence[Order]) -> list[Answer]:
        return [self.start(order.errand, order.request, waiter=order.waiter) for order in orders]

    def status(self, errand: Errand, action_id: str) -> Answer:
        self.calls += 1
        if self._fault():
            return Unknown("time-out")
        entry = self._actions.get(action_id)
        return Gone("no such action") if entry is None or entry.released else self._report(entry)

    def cancel(self, errand: Errand, action_id: str) -> Answer:
        if self._fault():
            return Unknown("time-out")
        self._actions[action_id].canceled = True
        return self._report(self._actions[action_id])

    def resume(self, errand: Errand, action_id: str) -> Answer:
        self._actions[action_id].resumed = True
        return self._report(self._actions[action_id])

    def release(self, errand: Errand, action_id: str) -> Answer:
        if self._fault():
            return Unknown("time-out")
        entry = self._actions[action_id]
        if entry.released:
            return Gone("released before")
        entry.released = True
        return self._report(entry)

    def _new(self, errand: Errand, document: Json, text: str) -> LedgerEntry:
        entry = LedgerEntry(
            request_id=document["request_id"],
            action_id=f"action-{len(self.ledger)}",
            run_id=errand.run_id,
            body=document["body"],
            text=text,
            ends_at=self.clock.now() + timedelta(seconds=document["body"].get("seconds", 0)),
        )
        self.ledger[entry.request_id] = self._actions[entry.action_id] = entry
        return entry

    def _report(self, entry: LedgerEntry) -> Answer:
        status, details = "ACTIVE", {"working": True}
        if entry.canceled:
            status, details = "FAILED", {"code": "Canceled"}
        elif entry.body.get("inactive") and not entry.resumed:
            status, details = "INACTIVE", {"code": "ConsentRequired", "required_scope": "some:scope"}
        elif self.clock.now() >= entry.ends_at:
            status = "FAILED" if entry.body.get("fail") else "SUCCEEDED"
            details = {"echo": entry.body.get("echo")}
        document = {"action_id": entry.action_id, "status": status, "details": details}
        return Reported(ActionStatus.from_json(document))

    def _fault(self) -> bool:
        return self.fault_rate > 0 and self._random.random() < self.fault_rate
