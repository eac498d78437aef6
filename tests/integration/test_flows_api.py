"""Flows over HTTP: what is created, shown, listed, changed and deleted, and to whom. On every database."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from flows_engine.store.db import SqlDatabase
from schemas.errors import ServiceError
from schemas.principals import Caller, group_urn
from schemas.scopes import flow_scope
from tests.fakes.authorizer import person
from tests.integration.flows_service import ACT, PASS, WAIT, FlowsService

ANNE, BERT, CLEO = person("anne"), person("bert"), person("cleo")
GROUP = "11111111-2222-4333-8444-555555555555"


@pytest.fixture
def service(database: SqlDatabase) -> Iterator[FlowsService]:
    return FlowsService(database)


def listed(service: FlowsService, who: Caller | None, **query: Any) -> list[str]:
    response = service.call(who, "GET", "/flows", **query)
    assert response.status_code == 200, response.json
    return [flow["title"] for flow in response.json["flows"]]


def problems(response: Any) -> dict[tuple[Any, ...], str]:
    assert response.status_code == 422, response.json
    return {tuple(one["loc"]): one["type"] for one in response.json["error"]["detail"]}


def test_a_created_flow_has_every_member_that_clients_read(service: FlowsService) -> None:
    flow = service.create(
        ANNE,
        subtitle="sub",
        description="two\nlines",
        keywords=["a", "b"],
        flow_viewers=["public"],
        flow_starters=["all_authenticated_users", BERT.urn],
        subscription_id=None,
    )
    assert flow["flow_owner"] == flow["created_by"] == ANNE.urn
    assert flow["flow_starters"] == ["all_authenticated_users", BERT.urn]
    assert flow["user_role"] == "flow_owner"
    assert flow["globus_auth_scope"] == flow_scope(flow["id"])
    assert flow["action_url"] == f"http://localhost:8765/flows/flows/{flow['id']}"
    assert flow["created_at"] == flow["updated_at"] == "2026-01-01T00:00:00.000000+00:00"
    assert flow["visible_to"] == flow["run_managers"] == []
    assert service.call(ANNE, "GET", f"/flows/{flow['id'].upper()}").json == flow


def test_private_parameters_and_role_lists_are_for_administrators(service: FlowsService) -> None:
    flow = service.create(ANNE, ACT, flow_viewers=[BERT.urn], flow_administrators=[CLEO.urn])
    seen = service.call(BERT, "GET", f"/flows/{flow['id']}").json
    assert seen["definition"]["States"]["Act"]["Parameters"] == {"word.$": "$.word"}
    assert seen["flow_viewers"] == seen["flow_administrators"] == []
    assert seen["user_roles"] == ["flow_viewer"]
    assert service.call(CLEO, "GET", f"/flows/{flow['id']}").json["definition"] == ACT


def test_update_changes_what_is_given_and_nothing_else(service: FlowsService) -> None:
    flow = service.create(ANNE, subtitle="old", keywords=["k"], flow_viewers=[BERT.urn])
    service.clock.advance(5)
    body = {"title": "New", "subtitle": None, "keywords": [], "definition": WAIT}
    changed = service.call(ANNE, "PUT", f"/flows/{flow['id']}", body).json
    expected = {"title": "New", "keywords": [], "definition": WAIT, "updated_at": "2026-01-01T00:00:05.000000+00:00"}
    assert changed == flow | expected
    assert listed(service, ANNE, filter_title="new") == ["New"]


def test_an_administrator_takes_a_flow_over_but_nobody_gives_one_away(service: FlowsService) -> None:
    flow = service.create(ANNE, flow_administrators=[BERT.urn])
    path = f"/flows/{flow['id']}"
    assert service.call(ANNE, "PUT", path, {"flow_owner": BERT.urn}).status_code == 403
    taken = service.call(BERT, "PUT", path, {"flow_owner": BERT.urn}).json
    assert (taken["flow_owner"], taken["created_by"]) == (BERT.urn, ANNE.urn)
    assert service.call(ANNE, "GET", path).status_code == 404


def test_an_update_with_a_stale_etag_is_refused(service: FlowsService) -> None:
    flow = service.create(ANNE)
    path = f"/flows/{flow['id']}"
    etag = service.call(ANNE, "GET", path).headers["ETag"]
    assert service.call(ANNE, "PUT", path, {"title": "1"}, headers={"If-Match": etag}).status_code == 200
    stale = service.call(ANNE, "PUT", path, {"title": "2"}, headers={"If-Match": etag})
    assert (stale.status_code, stale.json["error"]["code"]) == (412, "PRECONDITION_FAILED")


def test_a_deleted_flow_is_gone_for_everybody_and_answers_its_last_document(service: FlowsService) -> None:
    flow = service.create(ANNE, flow_viewers=["public"], flow_starters=[BERT.urn])
    gone = service.call(ANNE, "DELETE", f"/flows/{flow['id']}").json
    assert gone["DELETED"] is True
    assert gone["flow_viewers"] == gone["flow_starters"] == []
    assert gone["input_schema"] == {}
    for who in (ANNE, BERT):
        assert service.call(who, "GET", f"/flows/{flow['id']}").status_code == 404
    assert service.run(BERT, flow["id"], {"body": {}}).status_code == 404
    assert service.call(ANNE, "DELETE", f"/flows/{flow['id']}").status_code == 404
    assert listed(service, ANNE) == []


def test_what_a_list_shows_is_what_single_requests_show(service: FlowsService) -> None:
    flows = [
        service.create(ANNE, title="private"),
        service.create(ANNE, title="to bert", flow_viewers=[BERT.urn]),
        service.create(ANNE, title="public", flow_viewers=["public"]),
        service.create(ANNE, title="signed in", flow_starters=["all_authenticated_users"]),
        service.create(ANNE, title="group", run_monitors=[group_urn(GROUP)]),
    ]
    member = person("member", groups=frozenset({GROUP}))
    linked = person("other", identities=frozenset({BERT.identity_id}))
    for who in (None, ANNE, BERT, CLEO, member, linked):
        one_by_one = [
            one["title"] for one in flows if service.call(who, "GET", f"/flows/{one['id']}").status_code == 200
        ]
        assert sorted(listed(service, who)) == sorted(one_by_one)


@pytest.mark.parametrize(
    ("query", "titles"),
    [
        ({}, ["c", "b", "A Ünit"]),
        ({"orderby": "title ASC", "filter_roles": ""}, ["A Ünit", "b", "c"]),
        ({"orderby": "flow_administrators,title DESC"}, ["b", "A Ünit", "c"]),
        ({"orderby": ["flow_owner DESC", "title DESC"]}, ["c", "b", "A Ünit"]),
        ({"filter_title": "üNIT"}, ["A Ünit"]),
        ({"filter_title": "x,B", "filter_keywords": "ey"}, ["b"]),
        ({"filter_title": "100%"}, []),
        ({"filter_subtitle": "sub"}, ["c"]),
        ({"filter_description": "desc"}, ["c"]),
        ({"filter_fulltext": CLEO.identity_id[:12]}, ["c"]),
        ({"filter_scope_string": "FLOW_"}, ["c", "b", "A Ünit"]),
        ({"filter_roles": "flow_viewers,run_manager"}, []),
        ({"filter_roles": "flow_owner"}, ["c", "b", "A Ünit"]),
        ({"filter_role": "flow_administrator"}, []),
    ],
)
def test_lists_are_filtered_and_ordered(service: FlowsService, query: dict[str, Any], titles: list[str]) -> None:
    for title, members in (
        ("A Ünit", {}),
        ("b", {"keywords": ["Key"]}),
        ("c", {"subtitle": "SUBtitle", "description": "A Description", "flow_administrators": [CLEO.urn]}),
    ):
        service.create(ANNE, title=title, **members)
        service.clock.advance(1)
    assert listed(service, ANNE, **query) == titles


@pytest.mark.parametrize("orderby", ["created_at DESC", "title ASC", "flow_owner ASC,title DESC"])
def test_pages_hold_every_flow_once_while_others_are_added(service: FlowsService, orderby: str) -> None:
    for i in range(7):
        service.create(ANNE, title=f"flow {i % 3} {i}")
        service.clock.advance(1)
    seen: list[str] = []
    query: dict[str, Any] = {"per_page": 3, "orderby": orderby}
    while True:
        page = service.call(ANNE, "GET", "/flows", **query).json
        assert page["limit"] == len(page["flows"])
        seen += [flow["title"] for flow in page["flows"]]
        if not page["has_next_page"]:
            assert page["marker"] is None
            break
        service.create(ANNE, title="flow 0 late")
        query = {"marker": page["marker"], "per_page": 50}
        assert len(seen) < 40, "the marker leads nowhere"
    early = [title for title in seen if "late" not in title]
    assert sorted(early) == sorted(f"flow {i % 3} {i}" for i in range(7))


def test_a_page_can_be_asked_for_by_number(service: FlowsService) -> None:
    for title in "abcde":
        service.create(ANNE, title=title)
    assert listed(service, ANNE, orderby="title", per_page=2, page=2) == ["c", "d"]


def test_a_marker_serves_only_the_list_and_the_caller_it_was_made_for(service: FlowsService) -> None:
    for _ in range(2):
        service.create(ANNE, flow_viewers=["public"])
    marker = service.call(ANNE, "GET", "/flows", per_page=1).json["marker"]
    altered = marker[:-2] + ("AA" if marker[-2:] != "AA" else "BB")
    for who, path, text in (
        (BERT, "/flows", marker),
        (None, "/flows", marker),
        (ANNE, "/runs", marker),
        (ANNE, "/flows", altered),
        (ANNE, "/flows", "x" * 20_000),
        (ANNE, "/flows", "not base64!"),
    ):
        response = service.call(who, "GET", path, marker=text)
        assert (response.status_code, response.json["error"]["code"]) == (400, "BAD_REQUEST")


def test_validate_names_scopes_and_counts_ways(service: FlowsService) -> None:
    flow = {
        "StartAt": "One",
        "States": {
            "One": {"Type": "Action", "ActionUrl": "https://a.example.org", "Parameters": {}, "Next": "Two"},
            "Two": ACT["States"]["Act"] | {"RunAs": "Flow"},
        },
    }
    response = service.call(ANNE, "POST", "/flows/validate", {"definition": flow})
    assert response.json == {
        "scopes": {"User": ["urn:example:found"], "Flow": ["urn:example:act"]},
        "analysis": {"number_of_possibilities": 1},
    }
    assert listed(service, ANNE) == []


def test_a_provider_without_a_usable_scope_is_a_conflict_and_nothing_is_stored(database: SqlDatabase) -> None:
    def scope_of(url: str) -> str:
        raise ServiceError(409, "SCOPE_RESOLUTION_FAILED", f"{url} has no scope")

    service = FlowsService(database, scope_of=scope_of)
    action = {"Type": "Action", "ActionUrl": "https://a.example.org", "Parameters": {}, "End": True}
    body = {"title": "t", "definition": {"StartAt": "A", "States": {"A": action}}}
    response = service.call(ANNE, "POST", "/flows", body)
    assert (response.status_code, response.json["error"]["code"]) == (409, "SCOPE_RESOLUTION_FAILED")
    assert listed(service, ANNE) == []


@pytest.mark.parametrize(
    ("members", "loc", "kind"),
    [
        ({"title": None}, ("title",), "value_error.missing"),
        ({"title": "x" * 129}, ("title",), "value_error.any_str.max_length"),
        ({"title": "  "}, ("title",), "value_error.any_str.min_length"),
        ({"title": "a\nb"}, ("title",), "value_error"),
        ({"title": 5}, ("title",), "type_error.str"),
        ({"definition": None}, ("definition",), "type_error.none.not_allowed"),
        ({"definition": []}, ("definition",), "type_error.dict"),
        ({"StartAt": "x"}, ("StartAt",), "value_error.extra"),
        ({"subtitle": "x" * 129}, ("subtitle",), "value_error.any_str.max_length"),
        ({"description": "x" * 4097}, ("description",), "value_error.any_str.max_length"),
        ({"keywords": "abc"}, ("keywords",), "type_error.list"),
        ({"keywords": [1]}, ("keywords", 0), "type_error.str"),
        ({"flow_administrators": ["public"]}, ("flow_administrators", 0), "value_error"),
        ({"flow_starters": ["public"]}, ("flow_starters", 0), "value_error"),
        ({"flow_viewers": ["urn:globus:auth:identity:bert"]}, ("flow_viewers", 0), "value_error"),
        ({"run_managers": [BERT.urn, BERT.urn.upper().replace("URN:GLOBUS:AUTH:IDENTITY", "urn:globus:auth:identity")]},
         ("run_managers", 1), "value_error.list.unique_items"),
        ({"run_monitors": [f"urn:globus:groups:id:{GROUP[:-2]}{i}" for i in range(10, 27)]},
         ("run_monitors",), "value_error.list.max_items"),
        ({"subscription_id": "basic"}, ("subscription_id",), "type_error.uuid"),
        ({"authentication_policy_id": GROUP}, ("authentication_policy_id",), "value_error"),
    ],
)  # fmt: skip
def test_bad_metadata_is_refused_with_its_place(
    service: FlowsService, members: dict[str, Any], loc: tuple[Any, ...], kind: str
) -> None:
    body = {"title": "t", "definition": PASS, "input_schema": {}} | members
    assert problems(service.call(ANNE, "POST", "/flows", body)) == {loc: kind}
    assert listed(service, ANNE) == []


def test_all_problems_are_reported_at_once_in_the_known_wording(service: FlowsService) -> None:
    body = {
        "title": "",
        "definition": {"StartAt": "A", "States": {"A": {"Type": "Pass"}}},
        "flow_administrators": ["x"],
    }
    error = service.call(ANNE, "POST", "/flows", body).json["error"]
    assert error["code"] == "UNPROCESSABLE_ENTITY"
    assert error["message"].startswith("3 validation errors in body. ")
    messages = {one["loc"][0]: one["msg"] for one in error["detail"]}
    assert messages["flow_administrators"] == (
        'Unrecognized principal string: "x". Allowed principal types in role "FlowAdministrator": '
        "[<AuthGroupUrn>, <AuthIdentityUrn>]"
    )
    assert messages["definition"].startswith("A state of type 'Pass' must be defined as either terminal")
