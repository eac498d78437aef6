"""The official ``globus`` command, unmodified, against this server: every command that has a route here.

Each step runs twice in one home, first as text, then as JSON, because a client that remembers tokens and consents meets
another server the second time (spec: "works once, fails the second time").
"""

from __future__ import annotations

import json
import uuid
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import globus_sdk
import pytest

from tests.conformance.sdk.flows import BROKEN, CONSENT, GREETING, GREETING_INPUT, HELLO_SCOPE, NAP, PASS
from tests.conformance.sdk.globus_cli import GlobusCli, leaf_commands
from tests.conformance.sdk.server import Credentials, Server, wait_until

NOWHERE = "00000000-0000-4000-8000-000000000000"

#: Commands about oneself and about flows that no step runs, and why.
NOT_OFFERED = {
    "flows registered-api list": "registered APIs come later",
    "flows registered-api show": "registered APIs come later",
    "flows web-input list": "web inputs come later",
    "flows web-input respond": "web inputs come later",
    "flows web-input show": "web inputs come later",
    "login": "people cannot log in yet; programs are clients, which need no login",
    "session consent": "the CLI refuses it to clients, which are always logged in",
    "session update": "the CLI refuses it to clients, which are always logged in",
}


@dataclass(frozen=True, slots=True)
class Step:
    """A command with ``{names}`` in its arguments, what its text must hold and which members its JSON must have."""

    command: str
    arguments: tuple[str, ...] = ()
    text: tuple[str, ...] = ()
    members: Mapping[str, Any] = field(default_factory=dict)
    is_text_only: bool = False


FLOW_TEXT = ("Flow ID:", "Title:", "Owner:", "{owner}@clients.auth.globus.org", "Run Monitors:")
RUN_TEXT = ("Run ID:", "Flow Title:", "Run Owner:", "{owner}@clients.auth.globus.org")

ONESELF = (
    Step("whoami", (), ("{owner}@clients.auth.globus.org",), {"sub": "{owner}"}),
    Step("whoami", ("--linked-identities", "-v"), ("ID", "{owner}"), {}, is_text_only=True),
    Step("get-identities", ("{owner}", "-v"), ("{owner}@clients.auth.globus.org", "Full Name"), {}),
    Step("get-identities", ("{name}@example.org", "--provision", "-v"), ("{name}@example.org",), {}),
    Step("session show", (), ("Auth Time", "{owner}"), {"authentications": {"{owner}": {}}}),
    Step("api auth", ("GET", "/v2/oauth2/userinfo"), ('"sub":"{owner}"',), {"sub": "{owner}"}),
    Step("api flows", ("GET", "/flows/{flow}"), ('"{flow}"',), {"id": "{flow}", "title": "{name}"}),
    Step("logout", ("--yes",), ("revoked all CLI tokens",), is_text_only=True),
    Step("whoami", (), ("{owner}@clients.auth.globus.org",), is_text_only=True),
)

FLOWS = (
    Step(
        "flows validate",
        ("{greeting}",),
        ("Possible State Traversals: 1", HELLO_SCOPE),
        {"scopes": {"User": [HELLO_SCOPE]}},
    ),
    Step(
        "flows create",
        (
            "{name} made",
            "{greeting}",
            *("--input-schema", "{greeting_input}", "--subtitle", "Sub", "--description", "Long text"),
            *("--administrator", "{stranger_urn}", "--starter", "all_authenticated_users", "--viewer", "public"),
            *(
                "--run-manager",
                "{stranger_urn}",
                "--run-monitor",
                "{stranger_urn}",
                "--keyword",
                "k1",
                "--keyword",
                "k2",
            ),
        ),
        (*FLOW_TEXT, "{name} made", "public", "k1, k2", "{stranger}@clients.auth.globus.org"),
        {"title": "{name} made", "flow_viewers": ["public"], "keywords": ["k1", "k2"], "input_schema": GREETING_INPUT},
    ),
    Step("flows list", ("--limit", "1"), ("Flow ID", "Owner"), {}),
    Step(
        "flows list",
        (
            *("--filter-role", "flow_owner", "--filter-role", "flow_viewer", "--filter-fulltext", "{name}"),
            *("--orderby", "title:ASC", "--orderby", "updated_at:DESC", "--limit", "5"),
        ),
        ("{flow}", "{name}"),
    ),
    Step("flows show", ("{flow}",), (*FLOW_TEXT, "{flow}"), {"id": "{flow}", "definition": GREETING}),
    Step(
        "flows update",
        (
            "{flow}",
            *("--title", "{name} new", "--definition", json.dumps(PASS), "--input-schema", "{}"),
            *("--subtitle", "New sub", "--description", "New text", "--keywords", "k3", "--owner", "{owner_urn}"),
            *("--administrators", "{stranger_urn}", "--starters", "", "--viewers", ""),
            *("--run-managers", "", "--run-monitors", "{stranger_urn}"),
        ),
        (*FLOW_TEXT, "{name} new", "New sub", "k3"),
        {"title": "{name} new", "definition": PASS, "flow_starters": [], "run_monitors": ["{stranger_urn}"]},
    ),
    Step("flows delete", ("{flow}",), ("Deleted:", "True", *FLOW_TEXT), {"DELETED": True, "id": "{flow}"}),
)

RUNS = (
    Step(
        "flows start",
        (
            "{flow}",
            *("--input", '{"who": "ada"}', "--label", "From the CLI", "--tag", "t1", "--tag", "t2"),
            *("--manager", "{stranger_urn}", "--monitor", "{stranger_urn}"),
            *("--activity-notification-policy", "INACTIVE,FAILED"),
        ),
        (*RUN_TEXT, "From the CLI", "t1, t2", "{stranger}@clients.auth.globus.org"),
        {"label": "From the CLI", "tags": ["t1", "t2"], "run_managers": ["{stranger_urn}"]},
    ),
    Step("flows run list", (), ("Run ID", "Flow Title")),
    Step(
        "flows run list",
        ("--filter-flow-id", "{flow}", "--filter-flow-id", NOWHERE, "--filter-role", "run_owner", "--limit", "9"),
        ("{done}", "SUCCEEDED"),
    ),
    Step("flows run show", ("{done}",), (*RUN_TEXT, "SUCCEEDED"), {"run_id": "{done}", "status": "SUCCEEDED"}),
    Step(
        "flows run show",
        ("{done}", "--include-flow-description"),
        ("Flow Subtitle:", "Flow Description:"),
        {"flow_description": {"title": "{name}"}},
    ),
    Step("flows run show-logs", ("{done}",), ("FlowStarted", "ActionCompleted", "PassCompleted", "FlowSucceeded")),
    Step("flows run show-logs", ("{done}", "--details"), ("Details:", '"echo_string"'), is_text_only=True),
    Step("flows run show-logs", ("{done}", "--reverse", "--limit", "1"), ("FlowSucceeded",)),
    Step("flows run show-definition", ("{done}",), ('"StartAt": "Greet"',), {"definition": GREETING}),
    Step(
        "flows run update",
        ("{done}", "--label", "Renamed", "--tags", "t3,t4", "--managers", "", "--monitors", "{stranger_urn}"),
        (*RUN_TEXT, "Renamed", "t3, t4"),
        {"label": "Renamed", "tags": ["t3", "t4"], "run_monitors": ["{stranger_urn}"], "run_managers": []},
    ),
    Step("flows run cancel", ("{napping}",), RUN_TEXT, {"run_id": "{napping}"}),
    Step("flows run delete", ("{done}",), (*RUN_TEXT, "SUCCEEDED"), {"run_id": "{done}", "status": "SUCCEEDED"}),
)

AREAS = {"oneself": ONESELF, "flows": FLOWS, "runs": RUNS}


def test_every_command_about_oneself_and_flows_is_run_or_has_a_reason_why_not() -> None:
    ours = ("flows ", "session ", "whoami", "get-identities", "login", "logout", "api auth", "api flows")
    offered = {leaf for leaf in leaf_commands() if leaf.startswith(ours)}
    run = {step.command for steps in AREAS.values() for step in steps} | {"flows run resume"}

    assert offered == run | NOT_OFFERED.keys()
    assert not run & NOT_OFFERED.keys()


@pytest.fixture
def cli(server: Server, tmp_path: Path) -> GlobusCli:
    return GlobusCli(tmp_path, server.environment, server.owner)


@pytest.fixture
def prepare(
    server: Server, app: globus_sdk.ClientApp, flows: globus_sdk.FlowsClient, tmp_path: Path
) -> Callable[[], dict[str, str]]:
    """Makes a flow, a run of it that has ended and a run that waits; returns the names for steps."""
    (tmp_path / "greeting.json").write_text(json.dumps(GREETING))
    (tmp_path / "greeting_input.json").write_text(json.dumps(GREETING_INPUT))

    def start(flow_id: str, body: dict[str, Any]) -> str:
        with globus_sdk.SpecificFlowClient(flow_id, app=app) as client:
            return str(client.run_flow(body)["run_id"])

    def make() -> dict[str, str]:
        name = f"flow-{uuid.uuid4()}"
        flow_id = flows.create_flow(name, GREETING, GREETING_INPUT)["id"]
        nap_id = flows.create_flow(f"{name} nap", NAP, {})["id"]
        done = start(flow_id, {"who": "ada"})
        wait_until(lambda: flows.get_run(done)["status"], lambda status: status == "SUCCEEDED", what="its end")
        return {
            "name": name,
            "flow": flow_id,
            "done": done,
            "napping": start(nap_id, {}),
            "owner": server.owner.client_id,
            "owner_urn": server.owner.urn,
            "stranger": server.stranger.client_id,
            "stranger_urn": server.stranger.urn,
            "greeting": str(tmp_path / "greeting.json"),
            "greeting_input": str(tmp_path / "greeting_input.json"),
        }

    return make


@pytest.mark.parametrize("area", AREAS)
def test_commands_work_as_text_and_as_json(area: str, cli: GlobusCli, prepare: Callable[[], dict[str, str]]) -> None:
    as_text, as_json = prepare(), prepare()

    for step in AREAS[area]:
        run_as_text(cli, step, as_text)
        if not step.is_text_only:
            run_as_json(cli, step, as_json)


def run_as_text(cli: GlobusCli, step: Step, names: Mapping[str, str]) -> None:
    outcome = cli(*step.command.split(), *(filled(one, names) for one in step.arguments))
    for expected in step.text:
        assert filled(expected, names) in outcome.stdout, f"{filled(expected, names)!r} is missing\n{outcome}"


def run_as_json(cli: GlobusCli, step: Step, names: Mapping[str, str]) -> None:
    outcome = cli(*step.command.split(), *(filled(one, names) for one in step.arguments), "-F", "json")
    assert_holds(outcome.document, filled(step.members, names), str(outcome))


def assert_holds(document: Any, expected: Any, context: str) -> None:
    """Objects may have further members; everything else must be equal."""
    if not isinstance(expected, Mapping):
        assert document == expected, context
        return
    assert isinstance(document, Mapping), context
    for name, value in expected.items():
        assert name in document, f"{name} is missing\n{context}"
        assert_holds(document[name], value, context)


def filled(value: Any, names: Mapping[str, str]) -> Any:
    """The value with every ``{name}`` in its texts replaced."""
    if isinstance(value, str):
        for name, text in names.items():
            value = value.replace("{" + name + "}", text)
        return value
    if isinstance(value, Mapping):
        return {filled(name, names): filled(member, names) for name, member in value.items()}
    return [filled(member, names) for member in value] if isinstance(value, list) else value


def test_an_inactive_run_is_resumed_once_the_consent_is_there(
    cli: GlobusCli, app: globus_sdk.ClientApp, flows: globus_sdk.FlowsClient
) -> None:
    flow = flows.create_flow("Consent", CONSENT, {})
    with globus_sdk.SpecificFlowClient(flow["id"], app=app) as mine:
        run_id = mine.run_flow({})["run_id"]

    def status(*wanted: str) -> Any:
        return wait_until(lambda: flows.get_run(run_id).data, lambda run: run["status"] in wanted, what=str(wanted))

    required = status("INACTIVE")["details"]["required_scope"]
    refused = cli("flows", "run", "resume", run_id, code=4)
    assert f"globus session consent '{required}'" in refused.stdout + refused.stderr
    cli("flows", "run", "resume", "--skip-inactive-reason-check", run_id)
    status("INACTIVE")

    # A client gives a consent by asking for a token with the nested scope; any client with this id may do it.
    app.login(auth_params=globus_sdk.gare.GlobusAuthorizationParameters(required_scopes=[required]))
    assert "Run ID:" in cli("flows", "run", "resume", run_id).stdout

    assert status("SUCCEEDED", "FAILED")["status"] == "SUCCEEDED"
    assert cli("flows", "run", "resume", run_id, "-F", "json").document["status"] == "SUCCEEDED"


@dataclass(frozen=True, slots=True)
class Failing:
    """A command that must end with this exit code and say these things to standard error."""

    arguments: tuple[str, ...]
    says: tuple[str, ...]
    code: int = 1
    as_stranger: bool = False


FAILURES = (
    Failing(("flows", "show", NOWHERE), ("404", "NOT_FOUND", f"No Flow exists with id value {NOWHERE}")),
    Failing(("flows", "run", "show", NOWHERE), ("404", "NOT_FOUND", f"No Run exists with id value {NOWHERE}")),
    Failing(
        ("flows", "create", "Broken", json.dumps(BROKEN)),
        (
            *("422", "UNPROCESSABLE_ENTITY", "3 validation errors"),
            *("$.definition.States.Second", "Teleport", "$.definition.StartAt", "Begin"),
            *("$.definition.States.First.Next", "Nowhere"),
        ),
    ),
    Failing(
        ("flows", "start", "{flow}", "--input", '{"who": 7, "more": 1}'),
        ("400", "FLOW_INPUT_ERROR", "2 errors", "7 is not of type 'string'", "'more' was unexpected"),
    ),
    Failing(("flows", "run", "delete", "{napping}"), ("409", "STATE_CONFLICT", "must have status in")),
    Failing(("flows", "update", "{shown}", "--title", "Mine"), ("403", "FORBIDDEN", "{shown}"), as_stranger=True),
    Failing(("flows", "start", "{shown}"), ("403", "FORBIDDEN", "RUN"), as_stranger=True),
    Failing(("flows", "show", "{flow}"), ("404", "NOT_FOUND"), as_stranger=True),
    Failing(("flows", "run", "cancel", "{napping}"), ("404", "NOT_FOUND"), as_stranger=True),
    Failing(("api", "flows", "GET", "/no/such"), ("404", "NOT_FOUND", "/no/such")),
    Failing(("api", "auth", "GET", "/v2/no/such"), ("404", "NOT_FOUND")),
)


def test_failures_have_an_exit_code_and_say_what_is_wrong(
    server: Server, cli: GlobusCli, prepare: Callable[[], dict[str, str]], flows: globus_sdk.FlowsClient, tmp_path: Path
) -> None:
    names = prepare()
    names["shown"] = flows.create_flow("Shown", NAP, {}, flow_viewers=[server.stranger.urn])["id"]
    strangers_home = tmp_path / "stranger"
    strangers_home.mkdir()
    strangers = GlobusCli(strangers_home, server.environment, server.stranger)

    for case in FAILURES:
        command = strangers if case.as_stranger else cli
        outcome = command(*(filled(one, names) for one in case.arguments), code=case.code)
        for text in case.says:
            assert filled(text, names) in " ".join(outcome.stderr.split()), (
                f"{filled(text, names)!r} is missing\n{outcome}"
            )


def test_a_wrong_secret_is_named_as_such(server: Server, tmp_path: Path) -> None:
    wrong = Credentials(server.owner.client_id, "x" * 44)

    outcome = GlobusCli(tmp_path, server.environment, wrong)("flows", "list", code=1)

    assert "do not appear to be valid client credentials" in outcome.stderr
