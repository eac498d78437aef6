"""The ``flows`` command without a server: each command opens the installation, does its work and closes it again."""

from __future__ import annotations

import json
import os
import stat
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from flows_engine import local, settings
from flows_engine.app import build
from flows_engine.cli.main import flows
from flows_engine.local import RunningServer, ServerFile
from flows_engine.sdk import Client
from tests.postgres import PostgresServer

HELLO = """\
# Greets whoever is named.
StartAt: Greet
States:
  Greet:
    Type: Action
    ActionUrl: https://actions.globus.org/hello_world
    Parameters:
      echo_string.$: $.name
    ResultPath: $.greeting
    Next: Done
  Done:
    Type: Pass
    End: true
"""
WAIT = '{"StartAt": "Nap", "States": {"Nap": {"Type": "Wait", "Seconds": 3600, "End": true}}}'
FAIL = '{"StartAt": "No", "States": {"No": {"Type": "Fail", "Error": "Nope", "Cause": "because"}}}'
NEEDS_CONSENT = json.dumps(
    {
        "StartAt": "Ask",
        "States": {
            "Ask": {
                "Type": "Action",
                "ActionUrl": "https://actions.globus.org/hello_world",
                "Parameters": {"required_dependent_scope": "urn:example:scope"},
                "End": True,
            }
        },
    }
)
BROKEN = """\
StartAt: Greet
States:
  Greet:
    Type: Pass
    Nxt: Done
    Next: Dne
  Done:
    Type: Fial
"""
UNKNOWN_ID = "6b63ebe4-0f4c-4b5c-a1fb-7c5d1f3f4f51"


class Desk:
    """Where a user sits: a folder with files, an installation, a command line."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.data_dir = folder / "data"

    def file(self, name: str, content: str) -> str:
        (self.folder / name).write_text(content)
        return str(self.folder / name)

    def flows(self, *arguments: str, stdin: str | None = None, code: int = 0) -> Result:
        """What the command answers; it must end with ``code``, and never with a traceback."""
        where = ["--data-dir", str(self.data_dir)]
        result = CliRunner().invoke(flows, [*arguments, *where], input=stdin, prog_name="flows")
        assert result.exit_code == code, f"{result.output}\n{result.exception!r}"
        assert "Traceback" not in result.output
        return result

    def json(self, *arguments: str, code: int = 0) -> Any:
        return json.loads(self.flows(*arguments, "--json", code=code).stdout)


def a_server(database: str) -> RunningServer:
    """One that would not answer."""
    url = "http://127.0.0.1:9"
    return RunningServer(
        url=url, public_url=url, pid=1, started="2026-01-01T00:00:00Z", operator_key="k", database=database
    )


@pytest.fixture
def desk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Desk:
    for name in [name for name in os.environ if name.startswith("FLOWS_")]:
        monkeypatch.delenv(name)
    return Desk(tmp_path)


# flows run


def test_a_yaml_definition_runs_to_its_output(desk: Desk) -> None:
    result = desk.flows("run", desk.file("hello.yaml", HELLO), "--input", desk.file("in.yaml", "name: Ada\n"))
    assert json.loads(result.stdout)["greeting"]["details"] == {"Hello": "World", "hello": "Ada"}
    codes = [line.split()[1] for line in result.stderr.splitlines()[1:]]
    assert codes == [
        "FlowStarted",
        "ActionStarted",
        "ActionCompleted",
        "PassStarted",
        "PassCompleted",
        "FlowSucceeded",
    ]


def test_the_input_may_come_from_standard_input(desk: Desk) -> None:
    result = desk.flows("run", desk.file("hello.yaml", HELLO), "--input", "-", stdin='{"name": "Bo"}')
    assert json.loads(result.stdout)["greeting"]["details"]["hello"] == "Bo"


def test_running_a_file_again_changes_its_flow_instead_of_making_another(desk: Desk) -> None:
    desk.flows("run", desk.file("flow.json", FAIL), code=1)
    desk.flows("run", desk.file("flow.json", FAIL), code=1)
    before = desk.json("list")
    desk.flows("run", desk.file("flow.json", FAIL.replace("Nope", "Other")), code=1)
    after = desk.json("list")
    assert [one["id"] for one in before] == [one["id"] for one in after]
    assert after[0]["definition"]["States"]["No"]["Error"] == "Other"
    assert len(desk.json("runs", "list", "--flow", after[0]["id"])) == 3


def test_a_run_that_fails_says_where_and_why_and_exits_with_1(desk: Desk) -> None:
    result = desk.flows("run", desk.file("flow.json", FAIL), code=1)
    assert result.stdout == ""
    assert result.stderr.splitlines()[-1].endswith("failed in state No: Nope: because")


def test_programs_get_the_run_as_one_document(desk: Desk) -> None:
    run = desk.json("run", desk.file("failing.json", FAIL), code=1)
    assert (run["status"], run["flow_title"]) == ("FAILED", "failing")


def test_a_file_named_after_what_it_is_lends_the_flow_its_folders_name(desk: Desk) -> None:
    (desk.folder / "greet").mkdir()
    run = desk.json("run", desk.file("greet/definition.json", FAIL), code=1)
    assert run["flow_title"] == "greet"


def test_a_run_that_needs_somebody_says_how_to_go_on(desk: Desk) -> None:
    result = desk.flows("run", desk.file("flow.json", NEEDS_CONSENT), code=1)
    run_id = result.stderr.splitlines()[0].split()[1]
    last = result.stderr.splitlines()[-1]
    assert "urn:example:scope" in last
    assert last.endswith(f"flows runs resume {run_id}")
    assert desk.json("runs", "show", run_id)["status"] == "INACTIVE"
    assert "Resumed run" in desk.flows("runs", "resume", run_id).stderr


def test_input_is_checked_against_the_schema(desk: Desk) -> None:
    schema = desk.file("schema.json", '{"type": "object", "required": ["name"]}')
    result = desk.flows("run", desk.file("hello.yaml", HELLO), "--input-schema", schema, code=1)
    assert "'name' is a required property" in result.stderr


# flows validate


def test_every_problem_is_shown_in_its_place(desk: Desk) -> None:
    path = desk.file("broken.yaml", BROKEN)
    lines = desk.flows("validate", path, code=1).stdout.splitlines()
    assert [line.removeprefix(path).split(": ")[0] for line in lines] == [":5:10", ":6:11", ":8:5"]
    assert "there is no state 'Dne'; did you mean 'Done'?" in lines[1]
    document = desk.json("validate", path, code=1)
    assert [(one["line"], one["column"]) for one in document["problems"]] == [(5, 10), (6, 11), (8, 5)]
    assert not desk.data_dir.exists()


def test_a_good_definition_is_said_to_be_good(desk: Desk) -> None:
    result = desk.flows("validate", desk.file("hello.yaml", HELLO))
    assert result.stdout == ""
    assert "is valid in the union dialect: 2 states" in result.stderr


def test_what_is_suspicious_is_a_warning(desk: Desk) -> None:
    choice = (
        '{"StartAt": "C", "States": {"C": {"Type": "Choice", "Choices": '
        '[{"Variable": "$.x", "IsPresent": true, "Next": "D"}]}, "D": {"Type": "Pass", "End": true}}}'
    )
    result = desk.flows("validate", desk.file("c.json", choice))
    assert ":1:34: warning: without a Default" in result.stdout


def test_a_dialect_may_be_chosen(desk: Desk) -> None:
    succeed = desk.file("s.json", '{"StartAt": "S", "States": {"S": {"Type": "Succeed"}}}')
    desk.flows("validate", succeed, "--dialect", "asl")
    assert "Globus Flows has no Succeed" in desk.flows("validate", succeed, "--dialect", "globus", code=1).stdout


def test_an_input_schema_is_checked_too(desk: Desk) -> None:
    schema = desk.file("schema.json", '{\n  "type": "objekt"\n}')
    result = desk.flows("validate", desk.file("hello.yaml", HELLO), "--input-schema", schema, code=1)
    assert result.stdout.startswith(f"{schema}:2:11: ")


def test_a_file_that_is_no_document_fails_the_check(desk: Desk) -> None:
    path = desk.file("x.json", '{"StartAt": ')
    assert f"{path}:1:13: this is not JSON" in desk.flows("validate", path, code=1).stdout
    assert desk.json("validate", path, code=1)["valid"] is False
    desk.flows("validate", str(desk.folder / "missing.json"), code=2)


# flows deploy, start, list, show, delete


def test_a_flow_is_published_shown_changed_and_withdrawn(desk: Desk) -> None:
    flow_id = desk.flows("deploy", desk.file("hello.yaml", HELLO), "--title", "Greet, politely").stdout.strip()
    assert desk.json("show", "greet, POLITELY")["id"] == flow_id
    assert "starts at   Greet" in desk.flows("show", flow_id).stdout
    assert flow_id in desk.flows("list").stdout
    desk.flows("deploy", desk.file("wait.json", WAIT), "--flow-id", flow_id, "--keyword", "nap", "--viewer", "public")
    shown = desk.json("show", flow_id)
    assert (shown["title"], shown["keywords"], shown["flow_viewers"]) == ("Greet, politely", ["nap"], ["public"])
    assert desk.json("show", flow_id, "--definition")["StartAt"] == "Nap"
    desk.flows("delete", flow_id, "--yes")
    assert "No flows" in desk.flows("list").stderr


def test_a_definition_that_is_refused_is_shown_in_its_place(desk: Desk) -> None:
    path = desk.file("broken.yaml", BROKEN)
    error = desk.flows("deploy", path, "--title", "x", code=1).stderr
    assert error.startswith("Error: 3 problems:")
    assert f"{path}:6:11: there is no state 'Dne'" in error
    assert "No flows" in desk.flows("list").stderr


def test_a_run_waits_for_an_engine_when_nobody_waits_for_it(desk: Desk) -> None:
    desk.flows("deploy", desk.file("hello.yaml", HELLO), "--title", "Greet")
    started = desk.flows("start", "Greet", "--input", desk.file("in.json", '{"name": "Cy"}'), "--label", "mine")
    run_id = started.stdout.strip()
    assert "No server is running" in started.stderr
    assert desk.json("runs", "show", run_id)["status"] == "ACTIVE"
    followed = desk.flows("runs", "log", run_id, "--follow", "--json").stdout.splitlines()
    assert [json.loads(line)["code"] for line in followed][-1] == "FlowSucceeded"
    assert "Cy" in desk.flows("runs", "show", run_id).stdout


def test_a_run_may_be_waited_for(desk: Desk) -> None:
    desk.flows("deploy", desk.file("flow.json", FAIL), "--title", "Fails")
    assert "failed in state No" in desk.flows("start", "Fails", "--wait", code=1).stderr


def test_the_same_key_gives_the_same_run(desk: Desk) -> None:
    desk.flows("deploy", desk.file("wait.json", WAIT), "--title", "Nap")
    first = desk.flows("start", "Nap", "--idempotency-key", "monday").stdout
    assert desk.flows("start", "Nap", "--idempotency-key", "monday").stdout == first


def test_a_title_that_two_flows_have_is_not_enough(desk: Desk) -> None:
    ids = {desk.flows("deploy", desk.file("w.json", WAIT), "--title", "Nap").stdout.strip() for _ in range(2)}
    error = desk.flows("start", "Nap", code=2).stderr
    assert "2 flows have the title 'Nap'" in error
    assert all(one in error for one in ids)


# flows runs


def test_a_run_is_cancelled_and_removed(desk: Desk) -> None:
    desk.flows("deploy", desk.file("wait.json", WAIT), "--title", "Nap")
    run_id = desk.flows("start", "Nap", "--label", "long").stdout.strip()
    assert "must have status in" in desk.flows("runs", "release", run_id, "--yes", code=1).stderr
    assert "Cancelled run" in desk.flows("runs", "cancel", run_id).stderr
    assert "was cancelled; it had ended before" in desk.flows("runs", "cancel", run_id).stderr
    assert "does not stand still: it is FAILED" in desk.flows("runs", "resume", run_id).stderr
    assert "was cancelled" in desk.flows("runs", "log", run_id, "--follow", code=1).stderr
    assert [one["run_id"] for one in desk.json("runs", "list", "--status", "failed")] == [run_id]
    assert desk.json("runs", "list", "--status", "active") == []
    assert "FlowCanceled" in desk.flows("runs", "log", run_id).stdout
    desk.flows("runs", "release", run_id, "--yes")
    desk.flows("runs", "show", run_id, code=3)


# flows collections, clients, env, doctor


def test_a_directory_is_offered_and_withdrawn(desk: Desk) -> None:
    folder = desk.folder / "files"
    folder.mkdir()
    collection_id = desk.flows("collections", "add", "mine", str(folder), "--read-only").stdout.strip()
    listed = desk.json("collections", "list")
    assert [(one["id"], one["path"], one["read_only"]) for one in listed] == [(collection_id, str(folder), True)]
    again = desk.flows("collections", "add", "mine", str(folder), "--id", collection_id, code=1)
    assert "exists already" in again.stderr
    desk.flows("collections", "remove", "mine")
    assert desk.json("collections", "list") == []
    assert folder.is_dir()


def test_a_name_of_a_collection_that_is_taken_is_warned_of(desk: Desk) -> None:
    first = desk.flows("collections", "add", "mine", str(desk.folder))
    assert "Warning" not in first.stderr
    second = desk.flows("collections", "add", "mine", str(desk.folder))
    assert f"Warning: the name 'mine' is taken by {first.stdout.strip()} as well" in second.stderr
    assert len(desk.json("collections", "list")) == 2


@pytest.mark.parametrize(("schema", "is_hinted"), [({"format": "uuid"}, True), ({"maxLength": 2}, False)])
def test_the_name_of_a_collection_in_an_input_gets_a_hint(desk: Desk, schema: dict[str, Any], is_hinted: bool) -> None:
    schema_file = desk.file("schema.json", json.dumps({"properties": {"to": {"type": "string", **schema}}}))
    given = ["--input", desk.file("in.json", '{"to": "arch"}'), "--input-schema", schema_file]
    result = desk.flows("run", desk.file("flow.json", FAIL), *given, code=1)
    assert "'arch'" in result.stderr
    assert ("flows collections list" in result.stderr) is is_hinted


def test_a_client_is_registered_given_a_new_secret_and_removed(desk: Desk) -> None:
    made = desk.json("clients", "create", "provider", "--scope", "action_all", "--audience", "localhost:9000")
    assert made["scopes"] == [f"https://auth.globus.org/scopes/{made['client_id']}/action_all"]
    rotated = desk.json("clients", "rotate", made["client_id"])
    assert rotated["client_secret"] != made["client_secret"]
    assert (
        "is the audience of another client"
        in desk.flows("clients", "create", "other", "--audience", "localhost:9000", code=1).stderr
    )
    desk.flows("clients", "delete", made["client_id"], "--yes")
    assert len(desk.json("clients", "list")) == 1


def test_the_installation_gets_a_new_secret_even_when_the_old_one_is_lost(desk: Desk) -> None:
    own = desk.json("clients", "list")[0]["client_id"]
    before = desk.json("env")["GLOBUS_CLI_CLIENT_SECRET"]
    (desk.data_dir / "client.json").unlink()
    assert "client.json" in desk.flows("list", code=4).stderr
    assert "client_secret" not in desk.flows("clients", "rotate", own).output
    assert desk.json("env")["GLOBUS_CLI_CLIENT_SECRET"] != before
    desk.flows("list")
    assert "cannot be removed" in desk.flows("clients", "delete", own, "--yes", code=1).stderr


def test_the_environment_of_the_official_clients_is_our_own(desk: Desk) -> None:
    assert "flows serve" in desk.flows("env", code=4).stderr
    desk.flows("list")
    lines = desk.flows("env").stdout.splitlines()
    assert all(line.startswith("export GLOBUS_") for line in lines)
    values = desk.json("env")
    assert values["GLOBUS_SDK_ENVIRONMENT"] == f"flows-engine-{values['GLOBUS_CLI_CLIENT_ID'][:8]}"
    assert values["GLOBUS_SDK_SERVICE_URL_AUTH"] == "http://127.0.0.1:8765/auth/"


def test_a_new_and_a_used_installation_are_sound(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FLOWS_PORT", "0")  # somebody's server may be up on the usual one
    assert desk.flows("doctor").output.count(" BAD ") == 0
    desk.flows("run", desk.file("flow.json", FAIL), code=1)
    checks = {one["check"]: one["grade"] for one in desk.json("doctor")["findings"]}
    assert checks["runs"] == checks["schema"] == checks["files"] == "good"


def test_what_is_not_sound_is_named_with_its_cure(desk: Desk) -> None:
    desk.flows("list")
    (desk.data_dir / "client.json").chmod(0o644)
    result = desk.flows("doctor", code=1)
    assert f"chmod 600 {desk.data_dir / 'client.json'}" in result.stdout
    assert "may be read by others" in desk.flows("list", code=1).stderr


def test_a_client_file_that_cannot_be_read_is_found(desk: Desk) -> None:
    desk.flows("list")
    (desk.data_dir / "client.json").write_text("{")
    assert "client.json does not hold a client_id and a client_secret" in desk.flows("doctor", code=1).stdout


def test_the_database_of_a_server_is_not_taken_for_the_one_in_the_data_directory(desk: Desk) -> None:
    desk.data_dir.mkdir(mode=0o700)
    file = ServerFile(desk.data_dir)
    file.publish(a_server("postgresql://db/flows"))
    findings = {one["check"]: one["text"] for one in desk.json("doctor", code=1)["findings"]}
    refused = desk.flows("list", code=2).stderr
    file.withdraw()
    said = (
        f"uses the database postgresql://db/flows, not sqlite:///{desk.data_dir / 'flows.db'}; leave out --database-url"
    )
    assert said in findings["database"]
    assert said in refused
    assert not (desk.data_dir / "flows.db").exists()


def test_a_damaged_run_is_found(desk: Desk) -> None:
    desk.flows("run", desk.file("flow.json", FAIL), code=1)
    house = build(settings.load(data_dir=desk.data_dir, environ={}))
    with house.database.begin() as tx:
        tx.exec_driver_sql("UPDATE runs SET status = 'SUCCEEDED'")
    house.close(started=False)
    assert "the row says SUCCEEDED, its state FAILED" in desk.flows("doctor", code=1).stdout


# What cannot be done


@pytest.mark.parametrize(
    ("arguments", "code", "sentence"),
    [
        (["show", "Nothing"], 3, "No flow has the id or title 'Nothing'"),
        (["show", UNKNOWN_ID], 3, "No Flow exists"),
        (["show", ""], 2, "An id or a title"),
        (["show", ","], 3, "No flow has the id or title ','"),
        (["start", "Nothing"], 3, "No flow has the id or title"),
        (["delete", "Nothing"], 3, "No flow has the id or title"),
        (["runs", "show", UNKNOWN_ID], 3, "No Run exists"),
        (["runs", "show", "../flows"], 2, "is not the id of a run"),
        (["runs", "log", UNKNOWN_ID], 3, "No Run exists"),
        (["runs", "log", UNKNOWN_ID, "--follow"], 3, "No Run exists"),
        (["runs", "cancel", UNKNOWN_ID], 3, "No Run exists"),
        (["runs", "resume", UNKNOWN_ID], 3, "No Run exists"),
        (["runs", "release", UNKNOWN_ID, "--yes"], 3, "No Run exists"),
        (["runs", "list", "--flow", "Nothing"], 3, "No flow has the id or title"),
        (["runs", "list", "--status", "LOST"], 2, "LOST"),
        (["collections", "remove", "Nothing"], 3, "No collection has the id or name"),
        (["collections", "add", "x", "/nowhere/at/all"], 1, "does not exist or is not a directory"),
        (["collections", "add", "x", "/"], 1, "cannot be offered"),
        (["collections", "add", "x", "/tmp", "--id", "x"], 1, "is not a UUID"),
        (["clients", "delete", UNKNOWN_ID, "--yes"], 3, "No client exists"),
        (["clients", "rotate", UNKNOWN_ID], 3, "No client exists"),
        (["clients", "create", ""], 1, "Error: name: a text is required"),
        (["clients", "create", "x", "--scope", "no spaces"], 1, "is not the end of a scope"),
        (["deploy", "missing.json", "--title", "x"], 2, "missing.json cannot be read"),
        (["deploy", "missing.json"], 2, "needs a --title"),
        (["run", "missing.json"], 2, "missing.json cannot be read"),
        (["deploy", "-", "--title", "x", "--input-schema", "-"], 2, "only one file can come from standard input"),
        (["run", "-", "--input", "-"], 2, "only one file can come from standard input"),
        (["serve", "--host", "0.0.0.0"], 2, "FLOWS_PUBLIC_URL"),
        (["serve", "--port", "70000"], 2, "70000"),
        (["list", "--database-url", "mysql://x/y"], 1, "is not supported; use sqlite:/// or postgresql://"),
        (["list", "--database-url", "nonsense"], 1, "database address cannot be used"),
        (["list", "--database-url", "postgresql://nobody@127.0.0.1:1/x"], 1, "The database cannot be used"),
        (["nothing"], 2, "No such command"),
        (["statr"], 2, "No such command 'statr'. Did you mean 'start'?"),
        (["runs", "lsit"], 2, "No such command 'lsit'. Did you mean 'list'?"),
    ],
)
def test_what_cannot_be_done_is_one_sentence_and_an_exit_code(
    desk: Desk, arguments: list[str], code: int, sentence: str
) -> None:
    result = desk.flows(*arguments, code=code)
    assert sentence in result.stderr
    assert result.stdout == ""


def test_an_unknown_flow_is_an_error_document_for_programs(desk: Desk) -> None:
    result = desk.flows("show", "Nothing", "--json", code=3)
    error = json.loads(result.stderr)
    assert (error["error"]["code"], error["exit_code"]) == ("NOT_FOUND", 3)


def test_a_setting_that_is_wrong_is_named(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FLOWS_PORT", "many")
    assert "FLOWS_PORT is 'many'; it must be" in desk.flows("list", code=2).stderr


def test_an_engine_elsewhere_is_not_disturbed(desk: Desk) -> None:
    house = build(settings.load(data_dir=desk.data_dir, environ={}))
    error = desk.flows("list", code=75).stderr
    house.close(started=False)
    assert f"another engine (process {os.getpid()}) owns this database" in error.lower()
    desk.flows("list")


def test_a_free_port_is_no_concern_of_a_command_without_a_server(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FLOWS_PORT", "0")
    result = desk.flows("run", desk.file("hello.yaml", HELLO), "--input", desk.file("in.json", '{"name": "Ed"}'))
    assert json.loads(result.stdout)["greeting"]["details"]["hello"] == "Ed"


def test_the_database_is_for_its_owner_alone(desk: Desk) -> None:
    house = build(settings.load(data_dir=desk.data_dir, environ={}))
    modes = {path.name: stat.S_IMODE(path.stat().st_mode) for path in desk.data_dir.glob("*.*")}
    house.close(started=False)
    assert {"flows.db", "flows.db-wal", "flows.db-shm", "database.json"} <= modes.keys()
    assert set(modes.values()) == {0o600}


def test_a_data_directory_is_used_with_one_database(desk: Desk) -> None:
    desk.flows("list")
    other = f"sqlite:///{desk.folder / 'other.db'}"
    for command in (["list"], ["serve", "--port", "0"]):
        refused = desk.flows(*command, "--database-url", other, code=2).stderr
        assert f"belongs to the database sqlite:///{desk.data_dir / 'flows.db'}, not to {other}; give" in refused
    checks = {one["check"]: one for one in desk.json("doctor", "--database-url", other, code=1)["findings"]}
    assert other in checks["database"]["text"]
    assert not (desk.folder / "other.db").exists()


# The Python way


def test_a_client_in_python_needs_no_server(desk: Desk) -> None:
    with local.open_client(desk.data_dir, f"sqlite:///{desk.folder / 'other.db'}") as client:
        assert isinstance(client, Client)
        definition = {"StartAt": "Done", "States": {"Done": {"Type": "Pass", "End": True}}}
        flow = client.create_flow("Nothing much", definition)
        run = client.run_flow(flow["id"], {"x": 1}, label="first").wait(timeout_s=30)
        assert (run.status, run.output) == ("SUCCEEDED", {"x": 1})
        assert [one["run_id"] for one in client.list_runs(filter_label="first")] == [run.run_id]
        assert next(iter(run.log(newest_first=True)))["code"] == "FlowSucceeded"
        assert run.update(tags=["a"]).document["tags"] == ["a"]
        assert client.validate_flow(definition)["analysis"] == {"number_of_possibilities": 1}
        assert client.validate_run(flow["id"], {}) == {"message": "validation successful"}
        assert run.release()["run_id"] == run.run_id


def test_the_operators_routes_open_for_the_operator_alone(desk: Desk) -> None:
    house = build(settings.load(data_dir=desk.data_dir, environ={}))
    key = local.install_operator(house)
    web = house.web.test_client()
    base = "http://127.0.0.1:8765"
    for credential in (None, "Operator ", "Operator x", f"Bearer {key}", f"operator {key}"):
        headers = {} if credential is None else {"Authorization": credential}
        answer = web.get("/operator/collections", base_url=base, headers=headers)
        assert answer.status_code == 401, credential
        assert answer.json["error"]["code"] == "AUTHENTICATION_ERROR"
    assert (
        web.get("/operator/collections", base_url=base, headers={"Authorization": f"Operator {key}"}).status_code == 200
    )
    for body in (
        "[]",
        "{}",
        '{"display_name": 1, "path": "/tmp"}',
        '{"display_name": "x", "path": "/tmp", "public": 1}',
    ):
        answer = web.post(
            "/operator/collections",
            base_url=base,
            data=body,
            headers={"Authorization": f"Operator {key}", "Content-Type": "application/json"},
        )
        assert answer.status_code == 422, body
    house.close(started=False)


def test_a_postgresql_database_serves_as_well(
    desk: Desk, postgres: PostgresServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    where = ["--database-url", postgres.new_database()]
    result = desk.flows(
        "run", desk.file("hello.yaml", HELLO), "--input", desk.file("in.json", '{"name": "Di"}'), *where
    )
    assert json.loads(result.stdout)["greeting"]["details"]["hello"] == "Di"
    monkeypatch.setenv("FLOWS_PORT", "0")  # somebody's server may be up on the usual one
    checks = {one["check"]: one["grade"] for one in desk.json("doctor", *where)["findings"]}
    assert {checks[name] for name in ("database", "schema", "clock", "backlog", "runs")} == {"good"}


def test_a_postgresql_database_that_needs_no_password_is_named_once(desk: Desk, postgres: PostgresServer) -> None:
    desk.flows("run", desk.file("flow.json", FAIL), "--database-url", postgres.new_database(), code=1)
    assert len(desk.json("runs", "list")) == 1
    assert not (desk.data_dir / "flows.db").exists()


def test_a_password_is_not_kept_and_asked_for(desk: Desk, postgres: PostgresServer) -> None:
    url = postgres.new_database().replace("flows@", "flows:s3cret@")
    desk.flows("list", "--database-url", url)
    assert "s3cret" not in (desk.data_dir / "database.json").read_text()
    assert "whose password is not kept; give the whole address" in desk.flows("list", code=2).stderr
    assert not (desk.data_dir / "flows.db").exists()
    desk.flows("list", "--database-url", url)


def test_the_example_of_the_sdk_page_runs(
    desk: Desk, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    page = (Path(__file__).parents[2] / "docs" / "sdk.md").read_text()
    example = page.partition("```python\n")[2].partition("```")[0]
    monkeypatch.setenv("FLOWS_DATA_DIR", str(desk.data_dir))
    exec(compile(example, "sdk.md", "exec"), {})
    assert capsys.readouterr().out == "SUCCEEDED {'Hello': 'World', 'hello': 'Ada'}\n"
