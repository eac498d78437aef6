"""Runs over HTTP: started, followed, steered, listed, removed. On every database, with the real engine, no worker."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta
from typing import Any

import pytest

from flows_engine.engine.limits import Limits
from flows_engine.store.db import SqlDatabase
from schemas.principals import Caller, group_urn
from schemas.scopes import flow_scope
from tests.fakes.authorizer import person
from tests.integration.flows_service import ACT, PASS, WAIT, FlowsService

ANNE, BERT, CLEO = person("anne"), person("bert"), person("cleo")
GROUP = "11111111-2222-4333-8444-555555555555"
SCHEMA = {"type": "object", "required": ["word"], "properties": {"word": {"type": "string", "title": "A word"}}}


@pytest.fixture
def service(database: SqlDatabase) -> Iterator[FlowsService]:
    return FlowsService(database)


def ids(service: FlowsService, who: Caller, **query: Any) -> list[str]:
    response = service.call(who, "GET", "/runs", **query)
    assert response.status_code == 200, response.json
    return [run["run_id"] for run in response.json["runs"]]


def test_a_run_that_needs_no_work_is_finished_when_the_start_is_answered(service: FlowsService) -> None:
    flow = service.create(ANNE, PASS, title="Copy")
    run = service.start(ANNE, flow, {"a": 1}, label="  first ", tags=[" x  y ", ""], run_managers=[], run_monitors=[])
    assert run["status"] == run["display_status"] == "SUCCEEDED"
    assert run["details"]["code"] == "FlowSucceeded"
    assert run["details"]["output"] == {"a": 1}
    assert (run["label"], run["tags"]) == ("first", ["x y"])
    assert run["run_id"] == run["action_id"]
    assert (run["flow_id"], run["flow_title"], run["flow_last_updated"]) == (flow["id"], "Copy", flow["updated_at"])
    assert run["run_owner"] == run["created_by"] == ANNE.urn
    assert (run["user_role"], run["user_roles"]) == ("run_owner", ["run_owner", "flow_run_manager"])
    assert run["activity_notification_policy"] == {"status": ["INACTIVE"]}
    assert run["completion_time"] == "2026-01-01T00:00:00.000000+00:00"
    assert service.call(ANNE, "GET", f"/runs/{run['run_id']}").json == run
    assert service.announced == 1


def test_input_is_checked_against_the_schema_before_anything_starts(service: FlowsService) -> None:
    flow = service.create(ANNE, PASS, input_schema=SCHEMA)
    for path in ("run", "validate_run"):
        scopes = (flow_scope(flow["id"]),)
        response = service.call(ANNE, "POST", f"/flows/{flow['id']}/{path}", {"body": {"word": 1}}, scopes=scopes)
        error = response.json["error"]
        assert (response.status_code, error["code"]) == (400, "FLOW_INPUT_ERROR")
        assert error["message"] == "Input failed schema validation with 1 error."
        assert error["detail"][0]["loc"] == ["$.word"]
        assert error["detail"][0]["type"] == "InvalidActionInput"
    assert ids(service, ANNE) == []
    good = service.call(ANNE, "POST", f"/flows/{flow['id']}/validate_run", {"body": {"word": "w"}}, scopes=scopes)
    assert good.json == {"message": "validation successful"}
    assert ids(service, ANNE) == []


def test_a_run_keeps_the_definition_and_title_it_started_with(service: FlowsService) -> None:
    flow = service.create(ANNE, ACT, title="Old", run_monitors=[BERT.urn])
    run = service.start(ANNE, flow, {"word": "w"})
    service.call(ANNE, "PUT", f"/flows/{flow['id']}", {"title": "New", "definition": PASS})
    path = f"/runs/{run['run_id']}"
    assert service.call(ANNE, "GET", path).json["flow_title"] == "Old"
    pinned = {"flow_id": flow["id"], "definition": ACT, "input_schema": {}}
    assert service.call(ANNE, "GET", f"{path}/definition").json == pinned
    censored = service.call(BERT, "GET", f"{path}/definition").json["definition"]
    assert "hunter2" not in str(censored)
    described = service.call(BERT, "GET", path, include_flow_description="True").json["flow_description"]
    assert (described["title"], described["deleted_at"]) == ("New", None)
    assert "flow_description" not in service.call(BERT, "GET", path, include_flow_description="False").json


def test_runs_of_a_deleted_flow_stay_with_their_people(service: FlowsService) -> None:
    flow = service.create(ANNE, WAIT, flow_starters=[BERT.urn])
    run = service.start(BERT, flow)
    service.call(ANNE, "DELETE", f"/flows/{flow['id']}")
    path = f"/runs/{run['run_id']}"
    shown = service.call(BERT, "GET", path, include_flow_description="true").json
    assert shown["flow_description"]["deleted_at"] is not None
    assert service.call(ANNE, "POST", f"{path}/cancel").status_code == 202
    assert service.call(BERT, "GET", path).json["details"]["code"] == "FlowCanceled"


def test_the_log_is_paged_in_both_directions_without_gaps(service: FlowsService) -> None:
    states = {f"S{i}": {"Type": "Pass", "Next": f"S{i + 1}"} for i in range(6)}
    flow = service.create(
        ANNE, {"StartAt": "S0", "States": states | {"S6": {"Type": "Wait", "Seconds": 9, "End": True}}}
    )
    run = service.start(ANNE, flow)
    service.call(ANNE, "POST", f"/runs/{run['run_id']}/cancel")
    path = f"/runs/{run['run_id']}/log"
    whole = service.call(ANNE, "GET", path, limit=100).json
    assert whole["has_next_page"] is False
    assert whole["entries"][0]["code"] == "FlowStarted"
    assert whole["entries"][-1]["code"] == "FlowCanceled"
    assert all(set(entry) == {"time", "code", "description", "details"} for entry in whole["entries"])
    assert service.call(ANNE, "GET", path).json["limit"] == 10
    for reverse in ("False", "True"):
        seen: list[Any] = []
        query: dict[str, Any] = {"limit": 4, "reverse_order": reverse}
        while query:
            page = service.call(ANNE, "GET", path, **query).json
            seen += page["entries"]
            query = {"pagination_token": page["marker"]} if page["has_next_page"] else {}
        assert seen == (whole["entries"] if reverse == "False" else whole["entries"][::-1])


def test_cancel_is_accepted_once_and_again_and_wakes_the_worker(service: FlowsService) -> None:
    run = service.start(ANNE, service.create(ANNE, WAIT))
    assert run["status"] == "ACTIVE"
    assert run["completion_time"] is None
    first = service.call(ANNE, "POST", f"/runs/{run['run_id']}/cancel")
    assert (first.status_code, first.json["status"], first.json["details"]["code"]) == (202, "FAILED", "FlowCanceled")
    again = service.call(ANNE, "POST", f"/runs/{run['run_id']}/cancel")
    assert (again.status_code, again.json) == (202, first.json)
    assert service.announced == 3


def test_only_a_run_that_has_ended_is_released_and_then_it_is_gone(service: FlowsService) -> None:
    run = service.start(ANNE, service.create(ANNE, WAIT))
    path = f"/runs/{run['run_id']}"
    refused = service.call(ANNE, "POST", f"{path}/release")
    assert (refused.status_code, refused.json["error"]["code"]) == (409, "STATE_CONFLICT")
    assert f"Run {run['run_id']} has status 'ACTIVE' but must have status in" in refused.json["error"]["detail"]
    last = service.call(ANNE, "POST", f"{path}/cancel").json
    assert service.call(ANNE, "POST", f"{path}/release").json == last
    assert service.call(ANNE, "GET", path).status_code == 404
    assert service.call(ANNE, "GET", f"{path}/log").status_code == 404


def test_an_inactive_run_goes_on_when_its_owner_resumes_it(service: FlowsService) -> None:
    flow = service.create(ANNE, ACT)
    run = service.start(ANNE, flow, {"word": "w"})
    service.report("INACTIVE", {"code": "ConsentRequired", "required_scope": "s", "description": "d"})
    path = f"/runs/{run['run_id']}"
    assert service.call(ANNE, "GET", path).json["status"] == "INACTIVE"
    missing = service.call(ANNE, "POST", f"{path}/resume")
    assert missing.json["error"]["detail"] == f"This action requires the following scope: {flow_scope(flow['id'])}"
    resumed = service.call(ANNE, "POST", f"{path}/resume", scopes=(flow_scope(flow["id"]),))
    assert (resumed.status_code, resumed.json["status"]) == (200, "ACTIVE")
    service.call(ANNE, "POST", f"{path}/cancel")
    late = service.call(ANNE, "POST", f"{path}/resume", scopes=(flow_scope(flow["id"]),))
    assert (late.status_code, late.json["status"]) == (200, "FAILED")


def test_metadata_is_changed_and_lists_are_replaced(service: FlowsService) -> None:
    run = service.start(ANNE, service.create(ANNE, WAIT), label="l", tags=["t"], run_monitors=[BERT.urn])
    path = f"/runs/{run['run_id']}"
    changed = service.call(ANNE, "PUT", path, {"label": None, "run_monitors": [], "run_managers": [CLEO.urn]}).json
    assert (changed["label"], changed["tags"], changed["run_monitors"]) == ("l", ["t"], [])
    assert changed["run_managers"] == changed["manage_by"] == [CLEO.urn]
    assert service.call(BERT, "GET", path).status_code == 404
    assert service.call(CLEO, "PUT", path, {"label": "mine"}).json["label"] == "mine"
    assert ids(service, CLEO, filter_label="MIN") == [run["run_id"]]


@pytest.mark.parametrize("label", ["", "x" * 65, "two\nlines", 5])
def test_a_bad_label_is_refused(service: FlowsService, label: Any) -> None:
    flow = service.create(ANNE, WAIT)
    response = service.run(ANNE, flow["id"], {"body": {}, "label": label})
    assert response.status_code == 422
    assert [one["loc"] for one in response.json["error"]["detail"]] == [["label"]]
    assert service.run(ANNE, flow["id"], {"body": {}, "label": "<b>é 🚀</b>"}).json["label"] == "<b>é 🚀</b>"


def test_the_same_idempotency_key_gives_the_same_run(service: FlowsService) -> None:
    flow = service.create(ANNE, WAIT, flow_starters=[BERT.urn])
    key = {"Idempotency-Key": "abc"}
    first = service.run(ANNE, flow["id"], {"body": {"a": 1, "b": 2}}, headers=key)
    again = service.run(ANNE, flow["id"], {"body": {"b": 2, "a": 1}}, headers=key)
    assert (first.status_code, again.status_code) == (201, 200)
    assert first.json == again.json
    other = service.run(ANNE, flow["id"], {"body": {"a": 2}}, headers=key)
    assert (other.status_code, other.json["error"]["code"]) == (409, "IDEMPOTENCY_CONFLICT")
    assert service.run(BERT, flow["id"], {"body": {"a": 2}}, headers=key).status_code == 201
    service.clock.at += timedelta(hours=25)
    assert service.run(ANNE, flow["id"], {"body": {"a": 2}}, headers=key).status_code == 201
    assert service.run(ANNE, flow["id"], {"body": {}}, headers={"Idempotency-Key": ""}).status_code == 400


def test_a_flow_is_an_action_provider(service: FlowsService) -> None:
    flow, other = service.create(ANNE, WAIT), service.create(ANNE, WAIT)
    body = {"request_id": "r-1", "body": {}, "label": "l", "monitor_by": [BERT.urn], "manage_by": [], "deadline": "x"}
    run = service.run(ANNE, flow["id"], body)
    assert (run.status_code, run.json["monitor_by"]) == (201, [BERT.urn])
    replayed = service.run(ANNE, flow["id"], body)
    assert (replayed.status_code, replayed.json) == (200, run.json)
    assert service.run(ANNE, flow["id"], body | {"label": "m"}).status_code == 409
    scopes = (flow_scope(flow["id"]),)
    path = f"/flows/{flow['id']}/{run.json['run_id']}"
    assert service.call(ANNE, "GET", f"{path}/status", scopes=scopes).json == run.json
    assert service.call(ANNE, "GET", f"{path}/log", scopes=scopes).json["entries"]
    assert service.call(ANNE, "GET", f"/flows/{flow['id']}/runs/{run.json['run_id']}/log", scopes=scopes).json["limit"]
    wrong = f"/flows/{other['id']}/{run.json['run_id']}/status"
    assert service.call(ANNE, "GET", wrong).status_code == 404
    assert service.call(ANNE, "POST", f"{path}/resume", scopes=scopes).json["status"] == "ACTIVE"
    assert service.call(ANNE, "POST", f"{path}/cancel", scopes=scopes).json["status"] == "FAILED"
    assert service.call(ANNE, "POST", f"{path}/release", scopes=scopes).status_code == 200
    assert service.call(ANNE, "GET", f"{path}/status", scopes=scopes).status_code == 404


def test_a_request_id_whose_run_was_released_does_not_start_another(service: FlowsService) -> None:
    flow = service.create(ANNE, PASS)
    body = {"request_id": "r-1", "body": {}}
    run = service.run(ANNE, flow["id"], body).json
    assert service.call(ANNE, "POST", f"/runs/{run['run_id']}/release").status_code == 200
    late = service.run(ANNE, flow["id"], body)
    assert late.status_code == 409
    assert late.json["error"]["code"] == "IDEMPOTENCY_CONFLICT"


def test_the_run_that_is_one_too_many_is_refused_before_it_starts(database: SqlDatabase) -> None:
    service = FlowsService(database, limits=Limits(max_active_runs=2))
    flow = service.create(ANNE, WAIT, flow_starters=[BERT.urn])
    runs = [service.start(ANNE, flow) for _ in range(2)]
    refused = service.run(ANNE, flow["id"], {"body": {}})
    assert (refused.status_code, refused.headers["Retry-After"]) == (429, "10")
    assert len(ids(service, ANNE)) == 2
    service.start(BERT, flow)
    service.call(ANNE, "POST", f"/runs/{runs[0]['run_id']}/cancel")
    service.start(ANNE, flow)


def test_a_list_shows_the_runs_on_which_one_has_a_role(service: FlowsService) -> None:
    member = person("member", groups=frozenset({GROUP}))
    flow = service.create(ANNE, WAIT, flow_starters=[BERT.urn], run_monitors=[group_urn(GROUP)])
    other = service.create(CLEO, WAIT, flow_starters=["all_authenticated_users"])
    mine = service.start(BERT, flow)["run_id"]
    watched = service.start(CLEO, other, run_monitors=[BERT.urn])["run_id"]
    assert set(ids(service, BERT, filter_flow_id="", filter_roles="")) == {mine, watched}
    assert ids(service, BERT, filter_roles="run_owner") == [mine]
    assert ids(service, BERT, filter_roles="run_monitors,run_manager") == [watched]
    assert ids(service, BERT, filter_role="run_manager") == [watched]
    assert ids(service, ANNE) == ids(service, ANNE, filter_roles="flow_run_manager") == [mine]
    assert ids(service, member) == ids(service, member, filter_roles="flow_run_monitor") == [mine]
    assert ids(service, BERT, filter_flow_id=other["id"].upper()) == [watched]
    assert ids(service, person("stranger")) == []
    of_flow = service.call(BERT, "GET", f"/flows/{flow['id']}/runs").json
    assert [run["run_id"] for run in of_flow["runs"]] == [mine]


def test_lists_of_runs_are_filtered_and_ordered(service: FlowsService) -> None:
    wait, done = service.create(ANNE, WAIT, title="Ümlaut"), service.create(ANNE, PASS)
    a = service.start(ANNE, wait, label="b")["run_id"]
    service.clock.advance(10)
    b = service.start(ANNE, done, label="A")["run_id"]
    service.clock.advance(10)
    c = service.start(ANNE, wait)["run_id"]
    service.call(ANNE, "POST", f"/runs/{c}/cancel")
    for query, expected in (
        ({}, [c, b, a]),
        ({"orderby": "start_time"}, [a, b, c]),
        ({"orderby": "completion_time ASC"}, [b, c, a]),
        ({"orderby": "status DESC,start_time ASC"}, [b, c, a]),
        ({"orderby": "label DESC"}, [a, b, c]),
        ({"filter_status": "active,FAILED"}, [c, a]),
        ({"filter_flow_title": "ümL"}, [c, a]),
        ({"filter_start_time": "2026-01-01T00:00:10Z"}, [c, b]),
        ({"filter_start_time": "2026-01-01T00:00:10+00:00,2026-01-01T00:00:20Z"}, [b]),
        ({"filter_start_time": ",2026-01-01T00:00:10 00:00"}, [a]),
        ({"filter_completion_time": "2026-01-01T00:00:11Z,"}, [c]),
    ):
        assert ids(service, ANNE, **query) == expected, query


def test_many_runs_are_changed_together_or_not_at_all(service: FlowsService) -> None:
    flow = service.create(ANNE, WAIT, flow_starters=[BERT.urn])
    mine = [service.start(ANNE, flow, tags=["a", "b"])["run_id"] for _ in range(2)]
    foreign = service.start(BERT, service.create(BERT, WAIT))["run_id"]
    change = {"add": {"tags": ["c"]}, "remove": {"tags": ["a"]}, "set": {"run_monitors": [CLEO.urn]}}
    response = service.call(ANNE, "POST", "/batch/runs", {"filters": {"run_ids": mine}} | change)
    assert response.status_code == 202
    assert [run["run_id"] for run in response.json["runs"]] == mine
    assert all(run["tags"] == ["b", "c"] for run in response.json["runs"])
    assert sorted(ids(service, CLEO)) == sorted(mine)
    body = {"filters": {"run_ids": [*mine, foreign]}, "set": {"status": "cancel", "tags": []}}
    assert service.call(ANNE, "POST", "/batch/runs", body).status_code == 404
    assert ids(service, ANNE, filter_status="FAILED") == []
    body["filters"]["run_ids"] = mine
    ended = service.call(ANNE, "POST", "/batch/runs", body).json["runs"]
    assert [(run["status"], run["tags"]) for run in ended] == [("FAILED", [])] * 2
    assert service.call(CLEO, "POST", "/batch/runs", body).status_code == 403


def test_a_service_administrator_sees_that_a_run_exists_and_stops_it_but_does_not_read_it(
    service: FlowsService,
) -> None:
    operator = person("operator", is_service_administrator=True)
    run = service.start(ANNE, service.create(ANNE, WAIT), {"secret": "s3cret"}, run_monitors=[BERT.urn])
    path = f"/runs/{run['run_id']}"
    seen = service.call(operator, "GET", path)
    assert "s3cret" not in seen.text
    assert seen.json["details"]["description"]
    assert seen.json["run_monitors"] == []
    assert service.call(operator, "GET", f"{path}/log").status_code == 403
    assert service.call(operator, "POST", f"{path}/release").status_code == 403
    assert service.call(operator, "POST", f"{path}/cancel").status_code == 202
