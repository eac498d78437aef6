"""``flows serve`` and interrupted commands as real processes: start, stop, being killed, being two."""

from __future__ import annotations

import json
import os
import signal
import socket
import stat
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
import requests

from flows_engine.local import find_server
from tests.e2e.server import PATIENCE_S, ServerProcess
from tests.postgres import PostgresServer

NAP = {"StartAt": "Nap", "States": {"Nap": {"Type": "Wait", "Seconds": 2, "End": True}}}
LONG_NAP = {"StartAt": "Nap", "States": {"Nap": {"Type": "Wait", "Seconds": 3600, "End": True}}}


@pytest.fixture
def server(tmp_path: Path) -> Iterator[ServerProcess]:
    made = ServerProcess(tmp_path / "data")
    yield made
    made.close()


def flows(data_dir: Path, *arguments: str) -> subprocess.Popen[str]:
    command = [sys.executable, "-m", "flows_engine.cli", *arguments, "--data-dir", str(data_dir)]
    environ = {name: value for name, value in os.environ.items() if not name.startswith("FLOWS_")}
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environ)


def ended(process: subprocess.Popen[str]) -> tuple[int, str, str]:
    out, err = process.communicate(timeout=PATIENCE_S)
    return process.returncode, out, err


def test_a_server_says_where_it_is_and_stops_in_order(server: ServerProcess) -> None:
    server.start()
    file = server.data_dir / "server.json"
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    found = find_server(server.data_dir)
    assert found is not None
    assert found.url == server.url
    with requests.Session() as kept_open:
        assert kept_open.get(f"{server.url}/healthz", timeout=5).json() == {"status": "ok"}
        begun = time.monotonic()
        assert server.stop() == 0
        assert time.monotonic() - begun < 15
    assert not file.exists()
    log = server.log.read_text()
    assert "Traceback" not in log
    assert log.splitlines()[-1].endswith("INFO flows_engine.cli.serve: stopped")


def test_the_first_start_names_the_secrets_file_and_not_the_secret(tmp_path: Path) -> None:
    process = flows(tmp_path / "data", "serve", "--port", "0")
    assert process.stdout is not None
    said = []
    for line in process.stdout:
        said.append(line)
        if line.startswith("Stop with"):
            break
    process.send_signal(signal.SIGINT)
    code, _, err = ended(process)
    assert code == 0
    text = "".join(said)
    secret = json.loads((tmp_path / "data" / "client.json").read_text())["client_secret"]
    assert secret not in text + err
    assert str(tmp_path / "data" / "client.json") in text
    assert 'eval "$(flows env)"' in text


def test_a_second_server_on_the_same_data_exits_with_75(server: ServerProcess) -> None:
    server.start()
    code, out, err = ended(flows(server.data_dir, "serve", "--port", "0"))
    assert (code, out) == (75, "")
    assert "owns this database" in err
    assert requests.get(f"{server.url}/healthz", timeout=5).ok


def test_a_data_directory_on_postgresql_has_one_server_and_one_database(
    tmp_path: Path, postgres: PostgresServer
) -> None:
    url = postgres.new_database()
    server = ServerProcess(tmp_path / "data", database_url=url.replace("flows@", "flows:s3cret@"))
    try:
        server.start()
        document = json.loads((server.data_dir / "server.json").read_text())
        assert document["database"] == url.replace("flows@", "flows:***@")
        assert ended(flows(server.data_dir, "list"))[0] == 0
        assert ended(flows(server.data_dir, "list", "--database-url", url))[0] == 0
        code, out, err = ended(flows(server.data_dir, "list", "--database-url", postgres.new_database()))
        assert (code, out) == (2, "")
        assert f"the server at {server.url}" in err.lower()
        code, out, err = ended(flows(server.data_dir, "serve", "--port", "0", "--database-url", url))
        assert (code, out) == (75, "")
        assert f"at {server.url}) uses the data directory {server.data_dir}; stop it first, or" in err
        assert json.loads((server.data_dir / "server.json").read_text()) == document
        assert not (server.data_dir / "flows.db").exists()
    finally:
        server.close()


def test_a_port_that_is_taken_is_said_in_one_sentence(tmp_path: Path) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        code, _, err = ended(flows(tmp_path / "data", "serve", "--port", str(taken.getsockname()[1])))
    assert code == 1
    assert "Address already in use; stop what listens there, or choose another port with --port" in err


def test_a_killed_server_is_not_missed_and_starts_again(server: ServerProcess) -> None:
    server.start()
    with server.client() as client:
        flow_id = client.create_flow("Nap", NAP)["id"]
        run = client.run_flow(flow_id)
        server.kill()
        assert find_server(server.data_dir) is None
        assert json.loads(server.command("runs", "show", run.run_id, "--json"))["status"] == "ACTIVE"
        server.start()
        assert run.wait(timeout_s=PATIENCE_S).status == "SUCCEEDED"


def test_commands_use_the_server_that_is_up(server: ServerProcess) -> None:
    server.start()
    definition = server.data_dir.with_name("nap.json")
    definition.write_text(json.dumps(LONG_NAP))
    server.command("deploy", str(definition), "--title", "Nap")
    run_id = server.command("start", "Nap").strip()
    assert json.loads(server.command("runs", "cancel", run_id, "--json"))["run_id"] == run_id
    collection_id = server.command("collections", "add", "mine", str(server.data_dir.parent)).strip()
    assert collection_id in server.command("collections", "list")
    assert server.url in server.command("env")
    assert f"at {server.url} answers" in server.command("doctor")


def test_a_second_signal_ends_the_server_at_once(server: ServerProcess) -> None:
    server.start()
    found = find_server(server.data_dir)
    assert found is not None
    os.kill(found.pid, signal.SIGSTOP)  # both signals are there when it looks
    os.kill(found.pid, signal.SIGTERM)
    os.kill(found.pid, signal.SIGINT)
    os.kill(found.pid, signal.SIGCONT)
    assert server.ended() in (128 + signal.SIGINT, 128 + signal.SIGTERM)
    assert not (server.data_dir / "server.json").exists()


def test_an_interrupted_run_is_kept_and_can_be_gone_on_with(tmp_path: Path) -> None:
    definition = tmp_path / "nap.json"
    definition.write_text(json.dumps(NAP))
    process = flows(tmp_path / "data", "run", str(definition))
    assert process.stderr is not None
    for line in process.stderr:
        if "WaitStarted" in line:
            break
    process.send_signal(signal.SIGINT)
    code, out, err = ended(process)
    assert (code, out) == (130, "")
    assert "Traceback" not in err
    advice = err.splitlines()[-1]
    assert "is kept as it stands" in advice
    arguments = advice.partition("Go on with: flows ")[2].partition("   ")[0].split()
    code, out, _ = ended(flows(tmp_path / "data", *arguments))
    assert code == 0
    assert out.splitlines()[-1].split()[1] == "FlowSucceeded"


def test_while_a_command_is_the_engine_another_one_says_so(tmp_path: Path) -> None:
    definition = tmp_path / "nap.json"
    definition.write_text(json.dumps(LONG_NAP))
    process = flows(tmp_path / "data", "run", str(definition))
    assert process.stderr is not None
    for line in process.stderr:
        if "WaitStarted" in line:
            break
    code, _, err = ended(flows(tmp_path / "data", "runs", "list"))
    assert code == 75
    assert f"process {process.pid}" in err
    process.send_signal(signal.SIGINT)
    assert ended(process)[0] == 130
