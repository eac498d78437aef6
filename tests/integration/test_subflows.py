"""A flow as an action of another flow, and of itself."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from flows_engine.app import House, build
from flows_engine.settings import load
from schemas.json_text import Json
from schemas.principals import Caller
from schemas.scopes import flow_scope
from tests.fakes.clock import VirtualClock

ALL = "https://auth.globus.org/scopes/eec9b274-0c81-4334-bdc2-54e90e689b9a/all"


@pytest.fixture
def clock() -> VirtualClock:
    return VirtualClock()


@pytest.fixture
def house(tmp_path: Path, clock: VirtualClock) -> Iterator[House]:
    built = build(load(data_dir=tmp_path, environ={}), clock)
    yield built
    built.close(started=False)


def caller(house: House, *flow_ids: str) -> Caller:
    scopes = {ALL, *(flow_scope(one) for one in flow_ids)}
    return house.auth.caller_for_identity(house.installation.client_id, scopes)


def deploy(house: House, **states: dict[str, Any]) -> str:
    definition = {"StartAt": next(iter(states)), "States": states}
    body = {"title": "a flow", "definition": definition, "input_schema": {}}
    return str(house.flows.create(caller(house), body)["id"])


def calling(flow_id: str, **fields: Any) -> dict[str, Any]:
    url = f"https://flows.globus.org/flows/{flow_id}"
    return {"Type": "Action", "ActionUrl": url, "InputPath": "$.child", "ResultPath": "$.sub", "End": True} | fields


def finish(house: House, clock: VirtualClock, flow_id: str, value: Json) -> Json:
    run_id = house.runs.start(caller(house, flow_id), flow_id, {"body": value}).document["run_id"]
    for _ in range(200):
        if not house.worker.turn():
            clock.advance(1)
        run = house.runs.get(caller(house), run_id)
        if run["status"] != "ACTIVE":
            return run
    raise AssertionError("the run does not end")


def test_the_result_of_a_sub_flow_is_its_run(house: House, clock: VirtualClock) -> None:
    child = deploy(
        house,
        W={"Type": "Wait", "Seconds": 5, "Next": "C"},
        C={"Type": "ExpressionEval", "Parameters": {"x.=": "n * 2"}, "ResultPath": "$.double", "End": True},
    )
    parent = deploy(house, Sub=calling(child))
    run = finish(house, clock, parent, {"child": {"n": 21}})
    assert run["status"] == "SUCCEEDED"
    assert run["details"]["output"]["sub"]["details"]["output"]["double"] == {"x": 42}
    assert run["details"]["output"]["sub"]["flow_id"] == child


def test_a_failing_sub_flow_fails_the_state_that_called_it(house: House, clock: VirtualClock) -> None:
    child = deploy(house, F={"Type": "Fail", "Error": "Broken", "Cause": "on purpose"})
    parent = deploy(house, Sub=calling(child))
    run = finish(house, clock, parent, {"child": {}})
    assert run["status"] == "FAILED"
    assert run["details"]["details"]["exception"] == "ActionFailedException"
    assert "on purpose" in run["details"]["details"]["cause"]


def test_a_flow_that_is_not_there_is_refused_by_name(house: House, clock: VirtualClock) -> None:
    missing = "11111111-2222-4333-8444-555555555555"
    parent = deploy(house, Sub=calling(missing))
    run = finish(house, clock, parent, {"child": {}})
    assert run["status"] == "FAILED"
    assert run["details"]["details"]["exception"] == "ActionUnableToRun"
    assert missing in run["details"]["details"]["cause"]


def test_cancelling_the_caller_cancels_the_sub_flow(house: House, clock: VirtualClock) -> None:
    child = deploy(house, W={"Type": "Wait", "Seconds": 3600, "End": True})
    parent = deploy(house, Sub=calling(child))
    run_id = house.runs.start(caller(house, parent), parent, {"body": {"child": {}}}).document["run_id"]
    while house.worker.turn():
        pass
    house.runs.cancel(caller(house), run_id)
    while house.worker.turn():
        pass
    (sub,) = house.runs.list(caller(house), {}, flow_id=child)["runs"]
    assert sub["details"]["code"] == "FlowCanceled"
