"""Both Compute providers keep the contract, over real HTTP, with a service and an agent behind them."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from flask import Flask
from werkzeug.serving import make_server

from action_providers import tables as provider_tables
from action_providers.background import Background
from action_providers.blueprint import create_blueprint
from action_providers.compute import providers
from action_providers.compute.documents import SCOPE
from action_providers.registry import by_path
from action_providers.service import Actions
from action_providers.testing import check_provider
from compute_agent.service import tables as compute_tables
from compute_agent.service.compute import ComputeService
from flows_engine.asl.input_schema import check_input
from flows_engine.clock import SystemClock
from flows_engine.store.db import SqlDatabase
from tests.fakes.authorizer import FakeAuthorizer, person
from tests.fakes.tiny_agent import TinyAgent

ANN, BEN = person("ann"), person("ben")
ECHO = "def echo(value):\n    return value\n"


class Site:
    """Where both providers are. ``busy`` has an agent at work; at ``asleep`` nobody takes anything."""

    def __init__(self, base_url: str, compute: ComputeService, authorizer: FakeAuthorizer, busy: TinyAgent) -> None:
        self.base_url = base_url
        self.token, self.other_token = (authorizer.token(one, [SCOPE]) for one in (ANN, BEN))
        body = {"function_name": "echo", "function_code": ECHO, "serialized": False}
        self.function_id = compute.register_function(ANN, body)["function_uuid"]
        self.busy, self.asleep = busy.endpoint_id, TinyAgent(compute, ANN).endpoint_id


@pytest.fixture
def site(tmp_path: Path) -> Iterator[Site]:
    db = SqlDatabase(f"sqlite:///{tmp_path}/kit.db")
    for one in (provider_tables.metadata, compute_tables.metadata):
        one.create_all(db.engine)
    clock, authorizer = SystemClock(), FakeAuthorizer()
    compute = ComputeService(db, clock, finished=lambda group_ids: actions.nudge(group_ids))
    actions = Actions(db, clock, by_path(providers(compute)), check_body=check_input)
    agent, background = TinyAgent(compute, ANN).start(), Background(actions, threads=2)
    background.start()
    app = Flask("conformance")
    app.register_blueprint(create_blueprint(actions, authorizer), url_prefix="/actions")
    server = make_server("127.0.0.1", 0, app, threaded=True)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    yield Site(f"http://127.0.0.1:{server.server_port}/actions", compute, authorizer, agent)
    server.shutdown()
    thread.join()
    server.server_close()
    agent.stop()
    background.stop()
    db.dispose()


def bodies(path: str, site: Site) -> dict[str, Any]:
    if path == "compute":
        body = {"endpoint": site.busy, "function": site.function_id, "kwargs": {"value": [1]}}
        return {"body": body, "slow_body": body | {"endpoint": site.asleep}, "bad_body": {"endpoint": site.busy}}
    body = {"endpoint_id": site.busy, "tasks": [{"function_id": site.function_id, "args": ["a"]}] * 2}
    return {"body": body, "slow_body": body | {"endpoint_id": site.asleep}, "bad_body": body | {"tasks": []}}


@pytest.mark.parametrize("path", ["compute", "compute/v3"])
def test_a_compute_provider_keeps_every_rule(path: str, site: Site) -> None:
    report = check_provider(
        f"{site.base_url}/{path}", token=site.token, other_token=site.other_token, **bodies(path, site)
    )

    print(report)
    assert report.passed, report.failures
    assert [one.name for one in report.skipped] == ["a synchronous provider answers run with a final status"]
