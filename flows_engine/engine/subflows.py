"""A flow used as an action of another: its run is the action, started and asked about in this process.

Globus Flows, "A flow as an action provider". The run belongs to whom the calling state acts for, and a repeated
``request_id`` gives the same run. Its record is kept: releasing is for the people who look at it.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from flows_engine.actions.answers import Answer, Errand, Gone, Refused, Reported, Unknown
from flows_engine.policy import ALL
from schemas.action import ActionStatus, Status
from schemas.errors import ServiceError
from schemas.json_text import Json, dumps, loads_trusted
from schemas.principals import Caller
from schemas.scopes import flow_scope

from .runs import Runs


class FlowActionClient:
    """See ``answers.ActionClient``; here ``Errand.url`` is the id of the flow that is called."""

    def __init__(self, runs: Runs) -> None:
        self._runs = runs

    def start(self, errand: Errand, request: str, *, waiter: str) -> Answer:  # noqa: ARG002 - the run's end is polled for
        caller = _acting(errand)
        return _answer(lambda: self._runs.start(caller, errand.url, loads_trusted(request)).document)

    def status(self, errand: Errand, action_id: str) -> Answer:
        return _answer(lambda: self._runs.get(_acting(errand), action_id), started=True)

    def cancel(self, errand: Errand, action_id: str) -> Answer:
        return _answer(lambda: self._runs.cancel(_acting(errand), action_id), started=True)

    def resume(self, errand: Errand, action_id: str) -> Answer:
        return _answer(lambda: self._runs.resume(_acting(errand), action_id), started=True)

    def release(self, errand: Errand, action_id: str) -> Answer:
        return self.status(errand, action_id)


def _acting(errand: Errand) -> Caller:
    return replace(errand.caller, scopes=errand.caller.scopes | {flow_scope(errand.url), ALL})


def _answer(ask: Callable[[], Json], *, started: bool = False) -> Answer:
    try:
        document = ask()
    except ServiceError as error:
        cause = dumps({"code": error.code, "description": str(error)})
        if error.status == 404 and started:
            return Gone(cause)
        if error.status in (429, 500, 503):
            return Unknown(cause)
        return Refused(cause)
    if document["status"] == Status.ENDED:
        document = document | {"status": "FAILED"}
    return Reported(ActionStatus.from_json(document))
