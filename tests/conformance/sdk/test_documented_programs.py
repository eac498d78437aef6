"""The programs on the pages about official clients and providers do what the pages say."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import globus_sdk
import pytest
from flask import Flask

from action_providers.background import Background
from action_providers.blueprint import create_blueprint
from action_providers.registry import by_path
from action_providers.service import Actions
from action_providers.tables import metadata
from action_providers.testing import InProcess, check_provider
from flows_engine.asl.input_schema import check_input
from flows_engine.clock import SystemClock
from flows_engine.store.db import SqlDatabase
from tests.conformance.sdk.documented import executed, programs
from tests.conformance.sdk.flows import CONSENT
from tests.conformance.sdk.server import wait_until
from tests.fakes.authorizer import FakeAuthorizer, person


def test_the_first_program_publishes_a_flow_and_reads_its_log(
    environment: None, capsys: pytest.CaptureFixture[str]
) -> None:
    names = executed(programs("official-clients.md")[0])

    assert "FlowStarted The Flow Instance started execution" in capsys.readouterr().out
    run = wait_until(
        lambda: names["flows"].get_run(names["run"]["run_id"]).data,
        lambda one: one["status"] != "ACTIVE",
        what="an end",
    )
    assert run["details"]["output"]["greeting"]["details"]["hello"] == "Ada"


def test_the_documented_way_to_consent_lets_an_inactive_run_go_on(
    app: globus_sdk.ClientApp, flows: globus_sdk.FlowsClient
) -> None:
    flow = flows.create_flow("Consent", CONSENT, {})
    run_id = globus_sdk.SpecificFlowClient(flow["id"], app=app).run_flow({})["run_id"]
    wait_until(lambda: flows.get_run(run_id)["status"], lambda status: status == "INACTIVE", what="INACTIVE")

    executed(programs("official-clients.md")[1])["consent_and_resume"](app, run_id)

    wait_until(lambda: flows.get_run(run_id)["status"], lambda status: status == "SUCCEEDED", what="its end")


@pytest.fixture
def documented_providers() -> Mapping[str, Any]:
    return executed(programs("providers.md")[0])


@pytest.fixture
def served(documented_providers: Mapping[str, Any], tmp_path: Path) -> Iterator[tuple[Flask, FakeAuthorizer]]:
    """The documented providers, served by the kit."""
    database = SqlDatabase(f"sqlite:///{tmp_path}/kit.db")
    metadata.create_all(database.engine)
    offered: Sequence[Any] = [documented_providers["WordCount"](), documented_providers["Countdown"]()]
    actions = Actions(database, SystemClock(), by_path(offered), check_body=check_input)
    background = Background(actions, threads=2)
    background.start()
    app, authorizer = Flask("documented"), FakeAuthorizer()
    app.register_blueprint(create_blueprint(actions, authorizer), url_prefix="/actions")
    yield app, authorizer
    background.stop()
    database.dispose()


@pytest.mark.parametrize(
    ("path", "bodies"),
    [
        ("word_count", {"body": {"text": "one two"}, "bad_body": {"text": 2}}),
        ("countdown", {"body": {"from": 0}, "slow_body": {"from": 60}, "bad_body": {"from": -1}}),
    ],
)
def test_a_documented_provider_keeps_the_contract(
    served: tuple[Flask, FakeAuthorizer], path: str, bodies: dict[str, Any]
) -> None:
    app, authorizer = served
    scopes = (f"urn:example:{path}",)

    report = check_provider(
        InProcess(app, f"/actions/{path}"),
        token=authorizer.token(person("ada"), scopes),
        other_token=authorizer.token(person("bob"), scopes),
        **bodies,
    )

    assert report.passed, str(report)
