"""``globus_sdk.FlowsClient`` and ``SpecificFlowClient``, unmodified, do against this server what they were made for.

Every method is called that has a route here; a test lists the methods and says why the others are not.
"""

from __future__ import annotations

import uuid
from typing import Any

import globus_sdk
import pytest
from globus_sdk import scopes
from globus_sdk.gare import to_gare
from globus_sdk.services.flows import RunActivityNotificationPolicy

from tests.conformance.sdk.flows import (
    BROKEN,
    CONSENT,
    GREETING,
    GREETING_INPUT,
    HELLO_SCOPE,
    HELLO_URL,
    NAP,
    NESTED_SCOPE,
    PASS,
)
from tests.conformance.sdk.server import Credentials, Server, wait_until

#: Methods of the two clients that no test here calls, and why.
NOT_OFFERED = {
    "get_registered_api": "registered APIs come later",
    "list_registered_apis": "registered APIs come later",
    "list_web_inputs": "web inputs come later",
    "get_web_input": "web inputs come later",
    "respond_to_web_input": "web inputs come later",
}
CALLED = {
    "create_flow",
    "get_flow",
    "list_flows",
    "update_flow",
    "delete_flow",
    "validate_flow",
    "list_runs",
    "get_run_logs",
    "get_run",
    "get_run_definition",
    "cancel_run",
    "update_run",
    "delete_run",
    "run_flow",
    "resume_run",
    "validate_run",
    "add_app_transfer_data_access_scope",
}


def new_flow(flows: globus_sdk.FlowsClient, definition: dict[str, Any] = PASS, **members: Any) -> Any:
    schema = members.pop("input_schema", {})
    return flows.create_flow(members.pop("title", f"Flow {uuid.uuid4()}"), definition, schema, **members).data


def until_ended(flows: globus_sdk.FlowsClient, run_id: str) -> Any:
    return wait_until(lambda: flows.get_run(run_id).data, lambda run: run["status"] != "ACTIVE", what="an end")


def test_every_method_of_the_clients_is_accounted_for() -> None:
    methods = {
        name
        for client in (globus_sdk.FlowsClient, globus_sdk.SpecificFlowClient)
        for name, member in vars(client).items()
        if callable(member) and not name.startswith("_") and not isinstance(member, type)
    }

    assert methods == CALLED | NOT_OFFERED.keys()


def test_a_flow_lives_from_create_to_delete(server: Server, flows: globus_sdk.FlowsClient) -> None:
    people = [server.stranger.urn]
    created = flows.create_flow(
        "Greeting",
        GREETING,
        GREETING_INPUT,
        subtitle="Says hello",
        description="Greets and notes it",
        flow_viewers=["public"],
        flow_starters=["all_authenticated_users"],
        flow_administrators=people,
        run_managers=people,
        run_monitors=people,
        keywords=["hello", "test"],
        subscription_id=None,
    )
    assert created.http_status == 201
    flow_id = created["id"]
    assert created["flow_owner"] == server.owner.urn
    assert created["globus_auth_scope"] == str(scopes.SpecificFlowScopes(flow_id).user)

    shown = flows.get_flow(flow_id).data
    assert shown == created.data
    assert (shown["flow_viewers"], shown["keywords"]) == (["public"], ["hello", "test"])

    updated = flows.update_flow(flow_id, title="Greeting 2", flow_administrators=[], definition=PASS, input_schema={})
    assert (updated["title"], updated["definition"], updated["flow_administrators"]) == ("Greeting 2", PASS, [])
    assert updated["subtitle"] == "Says hello", "what an update does not name stays"
    assert updated["updated_at"] > shown["updated_at"]

    deleted = flows.delete_flow(flow_id)
    assert deleted["DELETED"] is True
    with pytest.raises(globus_sdk.FlowsAPIError) as caught:
        flows.get_flow(flow_id)
    assert (caught.value.http_status, caught.value.code) == (404, "NOT_FOUND")


def test_an_administrator_takes_a_flow_over(
    server: Server, flows: globus_sdk.FlowsClient, strangers_flows: globus_sdk.FlowsClient
) -> None:
    flow = new_flow(flows, flow_administrators=[server.stranger.urn])

    taken = strangers_flows.update_flow(flow["id"], flow_owner=server.stranger.urn)

    assert taken["flow_owner"] == server.stranger.urn


def test_validate_finds_the_scopes_and_every_mistake(flows: globus_sdk.FlowsClient) -> None:
    good = flows.validate_flow(GREETING, GREETING_INPUT)
    assert good["scopes"] == {"User": [HELLO_SCOPE]}
    assert good["analysis"]["number_of_possibilities"] == 1

    with pytest.raises(globus_sdk.FlowsAPIError) as caught:
        flows.validate_flow(BROKEN)
    error = caught.value
    assert (error.http_status, error.code) == (422, "UNPROCESSABLE_ENTITY")
    assert len(error.messages) >= 3
    assert any("Teleport" in message for message in error.messages), error.messages
    assert uuid.UUID(error.raw_json["debug_id"])


def test_flows_are_listed_by_filter_and_order_page_by_page(
    requests: list[str], server: Server, flows: globus_sdk.FlowsClient
) -> None:
    mark = uuid.uuid4().hex
    ids = {title: new_flow(flows, title=f"{mark} {title}")["id"] for title in ("b", "a", "c")}
    new_flow(flows, title=f"{mark} a")

    def titles(**options: Any) -> list[str]:
        return [flow["title"].removeprefix(f"{mark} ") for flow in flows.list_flows(filter_fulltext=mark, **options)]

    assert titles(orderby="title ASC") == ["a", "a", "b", "c"]
    assert titles(orderby=["title DESC", "updated_at ASC"], filter_roles=["flow_owner", "flow_viewer"]) == [*"cbaa"]
    assert titles(filter_roles="flow_owner", query_params={"filter_title": f"{mark} b"}) == ["b"]
    assert [flow["id"] for flow in flows.list_flows(filter_fulltext=ids["c"])] == [ids["c"]]

    requests.clear()
    pages = list(
        flows.paginated.list_flows(
            filter_fulltext=mark, orderby=["title ASC", "created_at DESC"], query_params={"per_page": 1}
        )
    )
    assert [len(page["flows"]) for page in pages] == [1, 1, 1, 1]
    found = [flow["id"] for page in pages for flow in page]
    assert len(set(found)) == 4
    assert found[2:] == [ids["b"], ids["c"]]
    assert [page["has_next_page"] for page in pages] == [True, True, True, False]
    assert requests == ["GET /flows/flows"] * 4


def test_a_run_lives_from_start_to_release(app: globus_sdk.ClientApp, flows: globus_sdk.FlowsClient) -> None:
    flow = new_flow(flows, GREETING, input_schema=GREETING_INPUT, keywords=["k"], subtitle="s")
    mine = globus_sdk.SpecificFlowClient(flow["id"], app=app)
    assert mine.validate_run({"who": "ada"}).data == {"message": "validation successful"}

    started = mine.run_flow(
        {"who": "ada"},
        label="First",
        tags=["one", "two"],
        activity_notification_policy=RunActivityNotificationPolicy(["FAILED", "INACTIVE"]),
    )
    assert started.http_status == 201
    run_id = started["run_id"]
    run = until_ended(flows, run_id)

    assert run["status"] == "SUCCEEDED", run["details"]
    assert run["details"]["output"]["note"] == {"noted": "ada"}
    assert (run["label"], run["tags"]) == ("First", ["one", "two"])
    assert sorted(run["activity_notification_policy"]["status"]) == ["FAILED", "INACTIVE"]
    described = flows.get_run(run_id, include_flow_description=True)["flow_description"]
    assert (described["title"], described["keywords"]) == (flow["title"], ["k"])
    assert "flow_description" not in flows.get_run(run_id, include_flow_description=False).data
    definition = flows.get_run_definition(run_id)
    assert (definition["flow_id"], definition["definition"]) == (flow["id"], GREETING)
    assert definition["input_schema"] == GREETING_INPUT

    assert flows.update_run(run_id, label="Renamed", tags=[])["tags"] == []
    assert flows.get_run(run_id)["label"] == "Renamed"
    assert flows.delete_run(run_id)["run_id"] == run_id
    with pytest.raises(globus_sdk.FlowsAPIError, match="404"):
        flows.get_run(run_id)


def test_the_log_is_read_forwards_backwards_and_page_by_page(
    requests: list[str], server: Server, app: globus_sdk.ClientApp, flows: globus_sdk.FlowsClient
) -> None:
    flow = new_flow(flows, GREETING)
    run_id = globus_sdk.SpecificFlowClient(flow["id"], app=app).run_flow({"who": "ada"})["run_id"]
    until_ended(flows, run_id)

    entries = list(flows.get_run_logs(run_id, limit=100))
    codes = [entry["code"] for entry in entries]
    assert (codes[0], codes[-1]) == ("FlowStarted", "FlowSucceeded")
    assert {"ActionStarted", "ActionCompleted", "PassStarted", "PassCompleted"} <= set(codes)
    assert all(isinstance(entry["details"], dict) for entry in entries)
    assert [entry["code"] for entry in flows.get_run_logs(run_id, limit=100, reverse_order=True)] == codes[::-1]

    requests.clear()
    paged = flows.paginated.get_run_logs(run_id, limit=1, reverse_order=True)
    assert [entry["code"] for page in paged for entry in page] == codes[::-1]
    assert len(requests) == len(codes)


def test_runs_are_listed_by_filter_page_by_page(app: globus_sdk.ClientApp, flows: globus_sdk.FlowsClient) -> None:
    first, second = new_flow(flows), new_flow(flows)
    runs = [
        globus_sdk.SpecificFlowClient(flow["id"], app=app).run_flow({}, label=label)["run_id"]
        for flow, label in ((first, "a"), (first, "b"), (second, "c"))
    ]
    for run_id in runs:
        until_ended(flows, run_id)

    def listed(**options: Any) -> set[str]:
        return {run["run_id"] for run in flows.list_runs(**options)}

    assert listed(filter_flow_id=first["id"]) == set(runs[:2])
    assert listed(filter_flow_id=[first["id"], second["id"]], filter_roles=["run_owner"]) == set(runs)
    assert listed(filter_flow_id=second["id"], filter_roles="run_monitor") == set()
    both = {"filter_flow_id": [first["id"], second["id"]]}
    assert listed(**both, query_params={"filter_status": "ACTIVE,SUCCEEDED", "filter_label": "b"}) == {runs[1]}
    pages = list(flows.paginated.list_runs(**both, query_params={"per_page": 1, "orderby": "label DESC"}))
    assert [run["label"] for page in pages for run in page] == ["c", "b", "a"]
    assert [len(page["runs"]) for page in pages] == [1, 1, 1]


def test_a_cancelled_run_ends_at_once_and_an_active_one_cannot_be_released(
    app: globus_sdk.ClientApp, flows: globus_sdk.FlowsClient
) -> None:
    flow = new_flow(flows, NAP)
    run_id = globus_sdk.SpecificFlowClient(flow["id"], app=app).run_flow({})["run_id"]
    with pytest.raises(globus_sdk.FlowsAPIError) as caught:
        flows.delete_run(run_id)
    assert (caught.value.http_status, caught.value.code) == (409, "STATE_CONFLICT")
    assert "must have status in" in str(caught.value.message)

    cancelled = flows.cancel_run(run_id)

    assert cancelled.http_status == 202
    ended = until_ended(flows, run_id)
    assert (ended["status"], ended["details"]["code"]) == ("FAILED", "FlowCanceled")
    assert [entry["code"] for entry in flows.get_run_logs(run_id)][-1] == "FlowCanceled"
    assert flows.delete_run(run_id)["status"] == "FAILED"


def test_an_inactive_run_goes_on_after_the_consent_it_asks_for(
    server: Server, app: globus_sdk.ClientApp, flows: globus_sdk.FlowsClient
) -> None:
    flow = new_flow(flows, CONSENT)
    mine = globus_sdk.SpecificFlowClient(flow["id"], app=app)
    run_id = mine.run_flow({})["run_id"]
    run = until_ended(flows, run_id)
    assert run["status"] == "INACTIVE", run["details"]
    gare = to_gare(run["details"])
    assert gare is not None
    (required,) = gare.authorization_parameters.required_scopes or []
    assert required == f"{flow['globus_auth_scope']}[{NESTED_SCOPE}]"

    still = mine.resume_run(run_id)
    assert still["status"] in ("ACTIVE", "INACTIVE")
    assert until_ended(flows, run_id)["status"] == "INACTIVE", "nothing was consented to yet"
    app.login(auth_params=gare.authorization_parameters)
    mine.resume_run(run_id)

    run = until_ended(flows, run_id)
    assert run["status"] == "SUCCEEDED", run["details"]
    assert run["details"]["output"]["answer"]["details"]["hello"] == "thanks"
    again = mine.run_flow({})["run_id"]
    assert until_ended(flows, again)["status"] == "SUCCEEDED", "a consent holds for later runs, too"


def test_a_state_that_runs_as_the_flow_acts_with_an_identity_that_can_be_looked_up(
    app: globus_sdk.ClientApp, flows: globus_sdk.FlowsClient
) -> None:
    state = {"Type": "Action", "ActionUrl": HELLO_URL, "Parameters": {}, "RunAs": "Flow", "End": True}
    flow = new_flow(flows, {"StartAt": "Act", "States": {"Act": state | {"ResultPath": "$.act"}}})
    run_id = globus_sdk.SpecificFlowClient(flow["id"], app=app).run_flow({})["run_id"]

    run = until_ended(flows, run_id)

    assert run["status"] == "SUCCEEDED", run["details"]
    assert run["details"]["output"]["act"]["creator_id"] == flow["principal_urn"]
    with globus_sdk.AuthClient(app=app) as auth:
        auth.add_app_scope(scopes.AuthScopes.view_identities)
        found = auth.get_identities(ids=flow["id"])["identities"]
    assert [one["username"] for one in found] == [flow["globus_auth_username"]]
    assert [one["name"] for one in found] == [flow["title"]]


def test_data_access_is_asked_for_below_the_scope_of_the_flow(
    server: Server, app: globus_sdk.ClientApp, flows: globus_sdk.FlowsClient
) -> None:
    flow = new_flow(flows)
    collection = str(uuid.uuid4())
    mine = globus_sdk.SpecificFlowClient(flow["id"], app=app)
    mine.add_app_transfer_data_access_scope(collection)

    with pytest.raises(globus_sdk.AuthAPIError) as caught:
        mine.run_flow({})
    assert (caught.value.http_status, caught.value.code) == (400, "UNKNOWN_SCOPE")
    assert collection in str(caught.value)


@pytest.mark.parametrize("kind", ["access token", "client credentials", "app"])
def test_every_kind_of_authorizer_is_admitted(server: Server, environment: None, kind: str) -> None:
    wanted = scopes.FlowsScopes.all
    confidential = globus_sdk.ConfidentialAppAuthClient(server.owner.client_id, server.owner.client_secret)
    match kind:
        case "access token":
            answer = confidential.oauth2_client_credentials_tokens(requested_scopes=wanted)
            token = answer.by_resource_server["flows.globus.org"]["access_token"]
            client = globus_sdk.FlowsClient(authorizer=globus_sdk.AccessTokenAuthorizer(token))
        case "client credentials":
            client = globus_sdk.FlowsClient(authorizer=globus_sdk.ClientCredentialsAuthorizer(confidential, wanted))
        case _:
            app = globus_sdk.ClientApp(
                "conformance", client_id=server.owner.client_id, client_secret=server.owner.client_secret
            )
            client = globus_sdk.FlowsClient(app=app)

    assert new_flow(client)["flow_owner"] == server.owner.urn


def test_a_token_that_ended_is_replaced_and_the_call_repeated_once(
    requests: list[str], server: Server, environment: None
) -> None:
    confidential = globus_sdk.ConfidentialAppAuthClient(server.owner.client_id, server.owner.client_secret)
    authorizer = globus_sdk.ClientCredentialsAuthorizer(confidential, scopes.FlowsScopes.all)
    client = globus_sdk.FlowsClient(authorizer=authorizer)
    confidential.oauth2_revoke_token(authorizer.access_token)
    requests.clear()

    client.list_flows()

    assert requests == ["GET /flows/flows", "POST /auth/v2/oauth2/token", "GET /flows/flows"]


NOWHERE = "00000000-0000-4000-8000-000000000000"


@pytest.mark.parametrize(
    ("call", "status", "code", "says"),
    [
        (lambda flows: flows.get_flow(NOWHERE), 404, "NOT_FOUND", NOWHERE),
        (lambda flows: flows.get_run(NOWHERE), 404, "NOT_FOUND", NOWHERE),
        (lambda flows: flows.get_run("no uuid"), 404, "NOT_FOUND", "no uuid"),
        (lambda flows: flows.get("/no/such/route"), 404, "NOT_FOUND", "/no/such/route"),
        (lambda flows: flows.put("/flows"), 405, "METHOD_NOT_ALLOWED", "PUT"),
        (lambda flows: flows.create_flow("", PASS, {}), 422, "UNPROCESSABLE_ENTITY", "title"),
        (lambda flows: flows.create_flow("x", BROKEN, {}), 422, "UNPROCESSABLE_ENTITY", "Teleport"),
        (lambda flows: flows.create_flow("x", PASS, {}, additional_fields={"y": 1}), 422, "UNPROCESSABLE_ENTITY", "y"),
        (lambda flows: flows.list_flows(orderby="colour ASC"), 400, "BAD_REQUEST", "colour"),
        (
            lambda flows: flows.post("/flows", data="{", headers={"Content-Type": "application/json"}),
            400,
            "BAD_JSON",
            "",
        ),
    ],
)
def test_errors_reach_the_user_with_code_detail_and_debug_id_and_are_not_retried(
    requests: list[str], server: Server, flows: globus_sdk.FlowsClient, call: Any, status: int, code: str, says: str
) -> None:
    flows.list_flows()
    requests.clear()

    with pytest.raises(globus_sdk.FlowsAPIError) as caught:
        call(flows)

    error = caught.value
    assert (error.http_status, error.code) == (status, code), error.text
    assert says in error.text, error.text
    assert error.raw_json["error"]["detail"]
    assert uuid.UUID(error.raw_json["debug_id"])
    assert len(requests) == 1, "the client tried again"


def test_input_that_breaks_the_schema_is_refused_with_every_place(
    server: Server, app: globus_sdk.ClientApp, flows: globus_sdk.FlowsClient
) -> None:
    flow = new_flow(flows, GREETING, input_schema=GREETING_INPUT)
    mine = globus_sdk.SpecificFlowClient(flow["id"], app=app)

    for call in (mine.run_flow, mine.validate_run):
        with pytest.raises(globus_sdk.FlowsAPIError) as caught:
            call({"who": 7, "more": 1})
        assert (caught.value.http_status, caught.value.code) == (400, "FLOW_INPUT_ERROR")
        assert len(caught.value.messages) == 2, caught.value.text


def test_a_stranger_sees_nothing_a_viewer_only_looks(
    server: Server, environment: None, app: globus_sdk.ClientApp, flows: globus_sdk.FlowsClient
) -> None:
    hidden, shown = new_flow(flows, NAP), new_flow(flows, NAP, flow_viewers=[server.stranger.urn])
    run_id = globus_sdk.SpecificFlowClient(shown["id"], app=app).run_flow({})["run_id"]
    stranger = app_of(server.stranger)
    theirs = globus_sdk.FlowsClient(app=stranger)

    for call, status in (
        (lambda: theirs.get_flow(hidden["id"]), 404),
        (lambda: theirs.update_flow(shown["id"], title="Mine"), 403),
        (lambda: theirs.delete_flow(shown["id"]), 403),
        (lambda: theirs.get_run(run_id), 404),
        (lambda: theirs.cancel_run(run_id), 404),
        (lambda: globus_sdk.SpecificFlowClient(shown["id"], app=stranger).run_flow({}), 403),
        (lambda: globus_sdk.SpecificFlowClient(shown["id"], app=stranger).resume_run(run_id), 404),
    ):
        with pytest.raises(globus_sdk.FlowsAPIError) as caught:
            call()
        assert caught.value.http_status == status, caught.value.text
    assert theirs.get_flow(shown["id"])["definition"] == NAP
    assert theirs.get_flow(shown["id"])["flow_viewers"] == []
    flows.cancel_run(run_id)


def app_of(who: Credentials) -> globus_sdk.ClientApp:
    return globus_sdk.ClientApp("another", client_id=who.client_id, client_secret=who.client_secret)


def test_a_token_for_one_flow_opens_nothing_else(
    server: Server, app: globus_sdk.ClientApp, flows: globus_sdk.FlowsClient
) -> None:
    one, other = new_flow(flows), new_flow(flows)
    confidential = globus_sdk.ConfidentialAppAuthClient(server.owner.client_id, server.owner.client_secret)
    answer = confidential.oauth2_client_credentials_tokens(requested_scopes=one["globus_auth_scope"])
    authorizer = globus_sdk.AccessTokenAuthorizer(answer.by_resource_server[one["id"]]["access_token"])

    assert globus_sdk.SpecificFlowClient(one["id"], authorizer=authorizer).run_flow({})["status"]
    for call in (
        lambda: globus_sdk.SpecificFlowClient(other["id"], authorizer=authorizer).run_flow({}),
        lambda: globus_sdk.FlowsClient(authorizer=authorizer).list_flows(),
    ):
        with pytest.raises(globus_sdk.FlowsAPIError) as caught:
            call()
        assert (caught.value.http_status, caught.value.code) == (403, "MISSING_SCOPE")
