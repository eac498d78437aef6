"""Between the interpreter's commands and the rows of the work queue. Pure.

A payload carries everything the worker needs to act without reading the run again, the exact request text included:
a repeated start must send the very same bytes.
"""

from __future__ import annotations

import uuid
from collections.abc import Mapping
from dataclasses import dataclass
from typing import assert_never

from flows_engine.asl.run import CancelAction, Command, FireTimer, PollAction, ReleaseAction, StartAction
from flows_engine.store.runs import RunRow
from flows_engine.store.work_queue import Kind, NewWork, WorkItem
from schemas.action import ActionRequest
from schemas.json_text import Json, dumps
from schemas.principals import identity_of
from schemas.times import to_us

#: Longest label the Action Provider API takes.
_LABEL_CHARS = 64


def request_id(namespace: uuid.UUID, run_id: str, token: str) -> str:
    """Idempotency key of a start: the same for ever for one state entry of one run of one installation."""
    return str(uuid.uuid5(namespace, f"{run_id}:{token}"))


def farewell_to(item: WorkItem, action_id: str, *, due: int) -> NewWork:
    """The cancel of an action that ``item`` started or asked about, when there is no run left to say so."""
    errand = {name: item.payload[name] for name in ("url", "scope", "run_as", "owner", "flow_id", "run_id")}
    payload = errand | {"action_id": action_id}
    return NewWork(run_no=item.run_no, kind="cancel", token=item.token, due=due, payload=payload)


@dataclass(frozen=True, slots=True)
class Envelope:
    """Who and what a run's actions are asked for, taken from its row."""

    namespace: uuid.UUID
    run: RunRow

    def to_work(self, command: Command) -> NewWork:
        """The queue row of a command."""
        kind, payload = self._payload(command)
        return NewWork(run_no=self.run.run_no, kind=kind, token=command.token, due=to_us(command.due), payload=payload)

    def _payload(self, command: Command) -> tuple[Kind, Json]:
        match command:
            case StartAction():
                return "start", self._errand(command) | {
                    "begun": to_us(command.due),
                    "deadline": to_us(command.deadline),
                    "request": self._request(command),
                }
            case PollAction():
                deadline = None if command.deadline is None else to_us(command.deadline)
                return "poll", self._errand(command) | {
                    "deadline": deadline,
                    "action_id": command.action_id,
                    "wake": command.wake,
                }
            case CancelAction():
                return "cancel", self._errand(command) | {"action_id": command.action_id}
            case ReleaseAction():
                return "release", self._errand(command) | {"action_id": command.action_id}
            case FireTimer():
                return "timer", {}
            case _:
                assert_never(command)

    def _errand(self, command: StartAction | PollAction | CancelAction | ReleaseAction) -> dict[str, Json]:
        return {
            "url": command.url,
            "scope": command.scope,
            "run_as": command.run_as,
            "owner": identity_of(self.run.run_owner),
            "flow_id": self.run.flow_id,
            "run_id": self.run.run_id,
        }

    def _request(self, command: StartAction) -> str:
        document: Mapping[str, Json] = self.run.document
        request = ActionRequest(
            request_id=request_id(self.namespace, self.run.run_id, command.token),
            body=command.body,
            label=(self.run.label or "")[:_LABEL_CHARS] or None,
            monitor_by=tuple(document.get("run_monitors", ())),
            manage_by=tuple(document.get("run_managers", ())),
        )
        return dumps(request.to_json())
