"""The Flows API over a real database and the real engine, without a worker: what tests of the API start from."""

from __future__ import annotations

import uuid
from typing import Any

from flask import Flask
from werkzeug.test import TestResponse

from flows_engine import policy
from flows_engine.api.flows_api import create_blueprint
from flows_engine.asl.dialects import UNION
from flows_engine.asl.run import ActionReported
from flows_engine.engine.advance import Advance, Result
from flows_engine.engine.flows import Flows
from flows_engine.engine.limits import Limits
from flows_engine.engine.runs import Runs
from flows_engine.store import work_queue
from flows_engine.store.db import SqlDatabase
from flows_engine.store.tables import metadata
from schemas.action import ActionStatus
from schemas.principals import Caller
from schemas.scopes import flow_scope
from schemas.times import to_us
from tests.fakes.authorizer import FakeAuthorizer
from tests.fakes.clock import VirtualClock

URL = "https://provider.example.org/act"
PASS = {"StartAt": "Done", "States": {"Done": {"Type": "Pass", "End": True}}}
WAIT = {"StartAt": "Nap", "States": {"Nap": {"Type": "Wait", "Seconds": 3600, "End": True}}}
ACT = {
    "StartAt": "Act",
    "States": {
        "Act": {
            "Type": "Action",
            "ActionUrl": URL,
            "ActionScope": "urn:example:act",
            "Parameters": {"word.$": "$.word", "password": "hunter2", "__Private_Parameters": ["password"]},
            "ResultPath": "$.Act",
            "End": True,
        }
    },
}


class FlowsService:
    """``announced`` counts how often the worker was woken."""

    def __init__(self, database: SqlDatabase, *, limits: Limits | None = None, scope_of: Any = None) -> None:
        metadata.create_all(database.engine)
        self.database = database
        self.clock = VirtualClock()
        self.authorizer = FakeAuthorizer()
        self.announced = 0
        self.advance = Advance(
            namespace=uuid.UUID(int=7),
            dialect=UNION,
            clock=self.clock,
            releases=lambda _url: False,
            notify=self._announce,
        )
        self.flows = Flows(
            database=database,
            clock=self.clock,
            base_url="http://localhost:8765/flows",
            scope_of=scope_of or (lambda _url: "urn:example:found"),
            limits=limits,
        )
        self.runs = Runs(database=database, clock=self.clock, advance=self.advance, limits=limits)
        self.app = Flask("flows")
        self.app.register_blueprint(create_blueprint(self.flows, self.runs, self.authorizer))
        self.client = self.app.test_client()

    def _announce(self) -> None:
        self.announced += 1

    def call(
        self,
        who: Caller | None,
        method: str,
        path: str,
        body: Any = None,
        *,
        scopes: tuple[str, ...] = (policy.ALL,),
        headers: dict[str, str] | None = None,
        **query: Any,
    ) -> TestResponse:
        """One request as somebody, with a token of these scopes; ``None`` sends no token."""
        headers = dict(headers or {})
        if who is not None:
            headers["Authorization"] = f"Bearer {self.authorizer.token(who, scopes)}"
        more = {} if body is None else {"json": body}
        return self.client.open(f"/flows{path}", method=method, headers=headers, query_string=query, **more)

    def create(self, owner: Caller, definition: Any = None, **members: Any) -> dict[str, Any]:
        body = {"title": "A flow", "definition": definition or PASS, "input_schema": {}} | members
        response = self.call(owner, "POST", "/flows", body)
        assert response.status_code == 201, response.json
        return response.json

    def start(self, who: Caller, flow: dict[str, Any], body: Any = None, **members: Any) -> dict[str, Any]:
        response = self.run(who, flow["id"], {"body": body or {}} | members)
        assert response.status_code == 201, response.json
        return response.json

    def run(self, who: Caller, flow_id: str, body: Any, **more: Any) -> TestResponse:
        """``POST /flows/{id}/run`` with a token for that flow."""
        return self.call(who, "POST", f"/flows/{flow_id}/run", body, scopes=(flow_scope(flow_id),), **more)

    def report(self, status: str, details: Any) -> None:
        """Let the provider of the one action that is due answer."""
        owner = str(uuid.uuid4())
        now = to_us(self.clock.now())
        with self.database.begin() as tx:
            items = work_queue.claim(tx, owner=owner, now=now, lease_until=now + 60_000_000, limit=1)
        document = {"action_id": "a-1", "status": status, "details": details}
        item = items[0]
        event = ActionReported(
            at=self.clock.now(),
            token=item.token,
            url=URL,
            scope=None,
            run_as="User",
            status=ActionStatus.from_json(document),
        )
        with self.database.begin() as tx:
            self.advance.feed(tx, owner=owner, results=[Result(item=item, event=event)])
        self.advance.confirm()
