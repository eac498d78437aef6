"""A provider built by somebody else with the official toolkit serves the actions of our flows, and checks our tokens."""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import globus_sdk
import pytest

from action_providers.testing import check_provider
from tests.conformance.sdk.server import Credentials, Server, wait_until
from tests.conformance.toolkit.conftest import Provider

FINAL = ("SUCCEEDED", "FAILED")


@pytest.fixture
def app(server: Server, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[globus_sdk.ClientApp]:
    for name, value in server.environment.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("HOME", str(tmp_path))
    with globus_sdk.ClientApp(
        "toolkit", client_id=server.owner.client_id, client_secret=server.owner.client_secret
    ) as made:
        yield made


@pytest.fixture
def flows(app: globus_sdk.ClientApp) -> Iterator[globus_sdk.FlowsClient]:
    with globus_sdk.FlowsClient(app=app) as client:
        yield client


def act(url: str, parameters: dict[str, Any], **members: Any) -> dict[str, Any]:
    """A flow of one action; ``members`` are further ones of its state. What it catches goes to ``$.caught``."""
    state = {"Type": "Action", "ActionUrl": url, "Parameters": parameters, "ResultPath": "$.result", "End": True}
    states: dict[str, Any] = {"Act": state | members}
    if error := members.pop("catches", None):
        states["Act"].pop("catches")
        states["Act"]["Catch"] = [{"ErrorEquals": [error], "ResultPath": "$.caught", "Next": "Recover"}]
        states["Recover"] = {"Type": "Pass", "End": True}
    return {"StartAt": "Act", "States": states}


def run(
    app: globus_sdk.ClientApp, flows: globus_sdk.FlowsClient, definition: dict[str, Any], body: dict[str, Any]
) -> tuple[str, str]:
    """Publish the flow and start it; returns the ids of flow and run."""
    flow_id = flows.create_flow(f"Toolkit {uuid.uuid4()}", definition, {})["id"]
    with globus_sdk.SpecificFlowClient(flow_id, app=app) as mine:
        return flow_id, mine.run_flow(body)["run_id"]


def ended(flows: globus_sdk.FlowsClient, run_id: str) -> Any:
    return wait_until(
        lambda: flows.get_run(run_id).data, lambda one: one["status"] in FINAL, what=f"the end of {run_id}"
    )


def output_of(flows: globus_sdk.FlowsClient, run_id: str) -> Any:
    document = ended(flows, run_id)
    assert document["status"] == "SUCCEEDED", document["details"]
    return document["details"]["output"]


@pytest.mark.parametrize(("name", "seconds"), [("echo", 0), ("slow", 0), ("slow", 0.5)])
def test_an_action_runs_to_its_end_on_behalf_of_who_started_the_run(
    provider: Provider,
    server: Server,
    app: globus_sdk.ClientApp,
    flows: globus_sdk.FlowsClient,
    name: str,
    seconds: float,
) -> None:
    definition = act(f"{provider.url}/{name}", {"echo.$": "$.echo", "seconds": seconds})

    _, run_id = run(app, flows, definition, {"echo": {"deep": [1, None]}})

    result = output_of(flows, run_id)["result"]
    assert (result["status"], result["details"]["echo"]) == ("SUCCEEDED", {"deep": [1, None]})
    assert result["creator_id"] == server.owner.urn
    assert server.owner.urn in result["details"]["identities"]


def test_an_action_that_runs_as_the_flow_has_the_flow_for_its_creator(
    provider: Provider, app: globus_sdk.ClientApp, flows: globus_sdk.FlowsClient
) -> None:
    flow_id, run_id = run(app, flows, act(f"{provider.url}/echo", {}, RunAs="Flow"), {})

    assert output_of(flows, run_id)["result"]["creator_id"] == f"urn:globus:auth:identity:{flow_id}"


def test_the_scope_is_discovered_by_asking_the_provider(provider: Provider, flows: globus_sdk.FlowsClient) -> None:
    checked = flows.validate_flow(act(f"{provider.url}/slow", {}))

    assert checked["scopes"] == {"User": [provider.scope("slow")]}


def test_a_flow_whose_provider_is_not_one_is_refused(provider: Provider, flows: globus_sdk.FlowsClient) -> None:
    with pytest.raises(globus_sdk.FlowsAPIError) as caught:
        flows.create_flow("Nothing there", act(f"{provider.url}/journal", {}), {})

    assert (caught.value.http_status, caught.value.code) == (409, "SCOPE_RESOLUTION_FAILED")


@pytest.mark.parametrize(
    ("parameters", "error", "says"),
    [
        ({"fail": True, "seconds": 0.2}, "ActionFailedException", "it was asked to fail"),
        ({"seconds": "long"}, "ActionUnableToRun", "RequestValidationError"),
    ],
)
def test_what_goes_wrong_at_the_provider_can_be_caught(
    provider: Provider,
    app: globus_sdk.ClientApp,
    flows: globus_sdk.FlowsClient,
    parameters: dict[str, Any],
    error: str,
    says: str,
) -> None:
    definition = act(f"{provider.url}/slow", parameters, ExceptionOnActionFailure=True, catches=error)

    _, run_id = run(app, flows, definition, {})

    caught = output_of(flows, run_id)["caught"]
    assert caught["Error"] == error
    assert says in str(caught)


def test_an_action_that_fails_ends_the_run_when_nobody_catches(
    provider: Provider, app: globus_sdk.ClientApp, flows: globus_sdk.FlowsClient
) -> None:
    definition = act(f"{provider.url}/slow", {"fail": True}, ExceptionOnActionFailure=True)

    _, run_id = run(app, flows, definition, {})

    document = ended(flows, run_id)
    assert document["status"] == "FAILED"
    assert "it was asked to fail" in str(document["details"])


def asked_for(provider: Provider, since: int, *wanted: str) -> None:
    """Waits until the provider's journal goes on from there with exactly these words."""
    journal = wait_until(
        lambda: provider.journal()[since:], lambda now: len(now) >= len(wanted), what=f"{wanted} in the journal"
    )
    assert tuple(journal[: len(wanted)]) == wanted


def test_cancelling_a_run_cancels_its_action(
    provider: Provider, app: globus_sdk.ClientApp, flows: globus_sdk.FlowsClient
) -> None:
    since = len(provider.journal())
    _, run_id = run(app, flows, act(f"{provider.url}/slow", {"seconds": 600}), {})
    asked_for(provider, since, "slow run")

    flows.cancel_run(run_id)

    assert ended(flows, run_id)["details"]["code"] == "FlowCanceled"
    asked_for(provider, since, "slow run", "slow cancel")


def test_an_action_that_exceeds_its_wait_time_is_cancelled_and_caught(
    provider: Provider, app: globus_sdk.ClientApp, flows: globus_sdk.FlowsClient
) -> None:
    since = len(provider.journal())
    definition = act(f"{provider.url}/slow", {"seconds": 600}, WaitTime=1, catches="ActionTimeout")

    _, run_id = run(app, flows, definition, {})

    assert output_of(flows, run_id)["caught"]["Error"] == "ActionTimeout"
    asked_for(provider, since, "slow run", "slow cancel")


def test_an_action_that_has_ended_is_released(
    provider: Provider, app: globus_sdk.ClientApp, flows: globus_sdk.FlowsClient
) -> None:
    since = len(provider.journal())

    _, run_id = run(app, flows, act(f"{provider.url}/echo", {}), {})

    assert ended(flows, run_id)["status"] == "SUCCEEDED"
    asked_for(provider, since, "echo run", "echo release")


def token_for(who: Credentials, scope: str) -> str:
    with globus_sdk.ConfidentialAppAuthClient(who.client_id, who.client_secret) as client:
        return str(client.oauth2_client_credentials_tokens(requested_scopes=scope)["access_token"])


#: Rules of our contract that the toolkit (0.21) breaks by itself, and what it does instead.
BROKEN_BY_THE_TOOLKIT = {
    "a request with an unknown member is refused": "unknown members are dropped",
    "a request_id that is not text is refused": "numbers are turned into text",
    "a monitor that is no principal is refused": "500: it fails while it writes the error message",
    "resume of a finished action is refused": "404 in HTML, when the provider has no resume",
    "log is answered when it is supported, else refused": "404 in HTML, when the provider has no log",
}


@pytest.mark.parametrize("name", ["slow", "echo"])
def test_the_toolkit_keeps_our_contract_but_for_the_rules_listed(
    provider: Provider, server: Server, app: globus_sdk.ClientApp, name: str
) -> None:
    report = check_provider(
        f"{provider.url}/{name}",
        token=token_for(server.owner, provider.scope(name)),
        other_token=token_for(server.stranger, provider.scope(name)),
        body={"echo": "hi"},
        slow_body={"seconds": 60} if name == "slow" else None,
        bad_body={"seconds": "long"},
    )

    assert {check.name for check in report.failures} == BROKEN_BY_THE_TOOLKIT.keys(), str(report)
    assert len(report.skipped) <= 3, str(report)
