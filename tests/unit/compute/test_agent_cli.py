"""The command ``compute-agent``: files it writes, names it takes, and real processes that start, stop and fail to."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from compute_agent.agent.cli import compute_agent
from compute_agent.agent.directory import EndpointDirectory
from tests.fakes.compute_service import ScriptedService

LIMIT_S = 30
SECRET = "a-secret-that-nobody-may-see"
DOUBLE = "def f(x):\n    return 2 * x\n"


def run(directory: Path, *arguments: str, **more: Any) -> Result:
    return CliRunner().invoke(compute_agent, ["-c", str(directory), *arguments], **more)


class Command:
    """The command as a process of its own."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self._command = [sys.executable, "-m", "compute_agent.agent.cli", "-c", str(directory)]
        self._started: list[subprocess.Popen[str]] = []
        self._environ = {**os.environ, "FLOWS_DATA_DIR": str(directory / "no-data")}

    def run(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [*self._command, *arguments], env=self._environ, capture_output=True, text=True, timeout=LIMIT_S
        )

    def start(self, *arguments: str) -> subprocess.Popen[str]:
        process = subprocess.Popen(
            [*self._command, *arguments],
            env=self._environ,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        self._started.append(process)
        return process

    def end_all(self) -> None:
        """Also what a failed test left running."""
        for process in self._started:
            process.kill()
            process.communicate()
        if (pid := EndpointDirectory(self.directory / "lab").agent_pid()) is not None:
            os.kill(pid, signal.SIGKILL)


@pytest.fixture
def service() -> Iterator[ScriptedService]:
    with ScriptedService() as service:
        yield service


@pytest.fixture
def lab(service: ScriptedService, tmp_path: Path) -> Iterator[Command]:
    """An endpoint ``lab`` on threads at the scripted service."""
    made = run(
        tmp_path,
        *("configure", "lab", "--engine", "thread", "--url", service.url, "--client-id", "me"),
        env={"FLOWS_CLIENT_SECRET": SECRET},
    )
    assert made.exit_code == 0, made.output
    command = Command(tmp_path)
    yield command
    command.end_all()


def test_configure_writes_the_published_files_for_their_owner_alone(tmp_path: Path) -> None:
    assert run(tmp_path / "all", "configure", "lab").exit_code == 0
    directory = tmp_path / "all" / "lab"
    assert sorted(one.name for one in directory.iterdir()) == [
        "config.yaml",
        "user_config_schema.json",
        "user_config_template.yaml.j2",
        "user_environment.yaml",
    ]
    assert (directory.stat().st_mode & 0o777, directory.parent.stat().st_mode & 0o777) == (0o700, 0o700)
    assert {one.stat().st_mode & 0o777 for one in directory.iterdir()} == {0o600}


@pytest.mark.parametrize("engine", ["thread", "process", "parsl"])
def test_what_configure_writes_can_be_used(tmp_path: Path, engine: str) -> None:
    from compute_agent.agent.prepare import prepare
    from compute_agent.engines.catalog import make_engine

    run(tmp_path, "configure", "lab", "--engine", engine, "--display-name", 'The "lab": & more')
    environ: dict[str, str] = {}
    prepared = prepare(EndpointDirectory(tmp_path / "lab"), make_engine, environ=environ)
    assert prepared.default_engine == engine
    assert prepared.document["display_name"] == 'The "lab": & more'
    assert prepared.blocks.for_task({"max_workers": 3}, owner="").block["type"] == engine
    assert prepared.notes == ()


@pytest.mark.parametrize("name", ["", ".x", "a b", "a/b", "a'b", 'a"b', "a\\b", "x" * 129, "a\nb"])
def test_names_that_are_not_allowed(tmp_path: Path, name: str) -> None:
    result = run(tmp_path, "configure", name)
    assert result.exit_code == 2
    assert "cannot be the name" in result.output
    assert list(tmp_path.iterdir()) == []


def test_a_secret_comes_from_standard_input_and_only_its_owner_may_read_it(tmp_path: Path) -> None:
    made = run(tmp_path, "configure", "lab", "--url", "http://127.0.0.1:1", "--client-id", "me", input=f"{SECRET}\n")
    assert made.exit_code == 0
    assert SECRET not in made.output
    path = tmp_path / "lab" / "credentials.json"
    assert json.loads(path.read_text())["client_secret"] == SECRET
    assert path.stat().st_mode & 0o777 == 0o600


def test_configure_again_changes_credentials_alone(tmp_path: Path) -> None:
    run(tmp_path, "configure", "lab")
    (tmp_path / "lab" / "config.yaml").write_text("display_name: mine\n")
    assert run(tmp_path, "configure", "lab").exit_code == 1
    made = run(tmp_path, "configure", "lab", "--url", "http://127.0.0.1:1", env={"FLOWS_TOKEN": "t" * 20})
    assert made.exit_code == 0
    assert (tmp_path / "lab" / "config.yaml").read_text() == "display_name: mine\n"
    assert json.loads((tmp_path / "lab" / "credentials.json").read_text()) == {
        "url": "http://127.0.0.1:1",
        "token": "t" * 20,
    }


def test_an_endpoint_that_is_not_there(tmp_path: Path) -> None:
    for arguments in (["start", "x"], ["stop", "x"], ["status", "x"], ["logs", "x"], ["delete", "x", "--yes"]):
        result = run(tmp_path, *arguments)
        assert result.exit_code == 3
        assert "'compute-agent configure x' makes one" in result.output


def test_it_starts_runs_a_task_and_stops_when_its_input_closes(lab: Command, service: ScriptedService) -> None:
    config = lab.directory / "lab" / "config.yaml"
    config.write_text("warm_start: true\n")
    process = lab.start("start", "lab", "--until-stdin-closes", "--print-ready")
    assert process.stdout is not None
    ready = json.loads(process.stdout.readline())
    assert ready["name"] == "lab"
    assert (ready["engine"], ready["workers"]) == ("thread", 4)
    function = service.function("import os\ndef f(x):\n    return [2 * x, os.environ.get('FLOWS_CLIENT_SECRET')]\n")
    task = service.queue(function, 21)
    assert service.outcome(task)["result"] == "11\n[42,null]"
    second = lab.run("start", "lab", "--json")
    assert second.returncode == 73
    assert f"by process {process.pid}" in json.loads(second.stderr)["error"]
    listed = json.loads(lab.run("list", "--json").stdout)
    assert listed == [
        {
            "name": "lab",
            "status": "Running",
            "engine": "thread",
            "endpoint_id": ready["endpoint_id"],
            "pid": process.pid,
            "directory": str(lab.directory / "lab"),
        }
    ]
    process.communicate(timeout=LIMIT_S)
    assert process.returncode == 0
    assert service.has_left
    log = (lab.directory / "lab" / "endpoint.log").read_text()
    assert task in log
    assert SECRET not in log
    assert "return [2" not in log
    assert "42" not in [part.partition("=")[2] for part in log.split()]


def test_a_detached_start_returns_when_the_endpoint_is_registered(lab: Command, service: ScriptedService) -> None:
    started = lab.run("start", "lab", "--detach", "--json")
    assert started.returncode == 0, started.stderr
    said = json.loads(started.stdout)
    assert len(service.registrations) == 1
    assert json.loads((lab.directory / "lab" / "endpoint.json").read_text())["endpoint_id"] == said["endpoint_id"]
    status = json.loads(lab.run("status", "lab", "--json").stdout)
    assert (status["status"], status["pid"], status["service"]["status"]) == ("Running", said["pid"], "online")
    assert json.loads(lab.run("stop", "lab", "--json").stdout) == {"name": "lab", "was_running": True}
    assert service.has_left
    assert "stopped" in lab.run("logs", "lab").stdout
    again = lab.run("start", "lab", "--detach", "--json")
    assert json.loads(again.stdout)["endpoint_id"] == said["endpoint_id"]
    lab.run("stop", "lab")


@pytest.mark.parametrize(
    ("answer", "code"),
    [((422, "SEMANTICALLY_INVALID"), 65), ((423, "ENDPOINT_LOCKED"), 69), ((403, "FORBIDDEN"), 77), (None, 75)],
)
def test_a_registration_that_fails_is_told_by_the_detached_start(
    lab: Command, service: ScriptedService, answer: tuple[int, str] | None, code: int
) -> None:
    service.fail("put", *[answer] * (5 if answer is None else 1))
    started = lab.run("start", "lab", "--detach")
    assert started.returncode == code
    assert started.stderr.startswith("Error: ")
    assert started.stderr.count("\n") == 1
    assert "Traceback" not in (lab.directory / "lab" / "endpoint.log").read_text()


@pytest.mark.parametrize(
    ("file", "text", "sentence"),
    [
        ("config.yaml", "displai_name: x\n", "config.yaml, line 1: displai_name"),
        ("user_config_template.yaml.j2", "engine:\n  type: thread\n  max_workrs: 2\n", "max_workrs"),
        ("user_config_template.yaml.j2", "engine: {type: thread\n", "this is not YAML"),
        ("user_config_schema.json", "{", "user_config_schema.json is not JSON"),
        ("user_environment.yaml", "A: [1]\n", "user_environment.yaml, line 1: A is [1]"),
        ("credentials.json", "{}", "credentials.json must hold"),
        ("config.yaml", "engine: {type: thread}\n", "if the engine is to be the same for everybody"),
    ],
)
def test_a_wrong_file_is_found_before_anything_is_registered(
    lab: Command, service: ScriptedService, file: str, text: str, sentence: str
) -> None:
    (lab.directory / "lab" / file).write_text(text)
    result = run(lab.directory, "start", "lab")
    assert result.exit_code == 65
    assert sentence in result.output
    assert not service.calls


def test_credentials_that_others_may_read_are_refused(lab: Command) -> None:
    (lab.directory / "lab" / "credentials.json").chmod(0o644)
    result = run(lab.directory, "start", "lab")
    assert result.exit_code == 77
    assert "chmod 600" in result.output


def test_without_credentials_and_without_a_server_it_says_what_to_do(tmp_path: Path) -> None:
    run(tmp_path, "configure", "lab", "--engine", "thread")
    result = run(tmp_path, "start", "lab", env={"FLOWS_DATA_DIR": str(tmp_path / "no-data")})
    assert result.exit_code == 75
    assert "'flows serve'" in result.output


def test_an_agent_that_was_killed_leaves_no_lock_and_its_tasks_are_spoken_for(
    lab: Command, service: ScriptedService
) -> None:
    process = lab.start("start", "lab", "--print-ready")
    assert process.stdout is not None
    process.stdout.readline()
    function = service.function("import threading\ndef f():\n    threading.Event().wait()\n")
    task = service.queue(function)
    service.until(lambda: any(task in one["running"] for one in service.reports), "RUNNING")
    process.send_signal(signal.SIGKILL)
    process.communicate(timeout=LIMIT_S)
    assert json.loads(lab.run("list", "--json").stdout)[0]["status"] == "Stopped"
    assert lab.run("start", "lab", "--detach").returncode == 0
    assert service.outcome(task)["state"] == "LOST"
    lab.run("stop", "lab")


def test_delete_removes_the_endpoint_at_both_ends(lab: Command, service: ScriptedService) -> None:
    lab.run("start", "lab", "--detach")
    assert lab.run("delete", "lab", "--yes").returncode == 73
    lab.run("stop", "lab")
    with service.failing("delete", 500, "BROKEN"):
        assert run(lab.directory, "delete", "lab", "--yes").exit_code == 75
    assert (lab.directory / "lab").exists()
    assert run(lab.directory, "delete", "lab", "--yes").exit_code == 0
    assert not (lab.directory / "lab").exists()
    assert service.calls["delete"] == 2


def test_delete_asks_first(tmp_path: Path) -> None:
    run(tmp_path, "configure", "lab")
    assert run(tmp_path, "delete", "lab", input="n\n").exit_code == 1
    assert (tmp_path / "lab").exists()


def test_the_agent_loads_no_web_framework_and_no_database_toolkit() -> None:
    script = (
        "import sys, compute_agent.agent.cli, compute_agent.agent.process;"
        "print([m for m in ('flask', 'sqlalchemy', 'alembic', 'waitress', 'flows_engine') if m in sys.modules])"
    )
    found = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=LIMIT_S, check=True)
    assert found.stdout.strip() == "[]"


def test_looking_at_endpoints_loads_no_engine() -> None:
    script = "import sys, compute_agent.agent.cli; print('parsl' in sys.modules, 'jinja2' in sys.modules)"
    found = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=LIMIT_S, check=True)
    assert found.stdout.strip() == "False False"


def test_list_names_the_engine_of_the_template_or_of_the_configuration(tmp_path: Path) -> None:
    run(tmp_path, "configure", "a", "--engine", "process")
    run(tmp_path, "configure", "b")
    (tmp_path / "b" / "config.yaml").write_text("engine:\n  type: ThreadPoolEngine\n")
    lines = [line.split() for line in run(tmp_path, "list").output.splitlines()]
    assert lines[1:] == [["a", "Initialized", "process", "-", "-"], ["b", "Initialized", "ThreadPoolEngine", "-", "-"]]


def test_an_empty_list_says_how_to_begin(tmp_path: Path) -> None:
    assert "'compute-agent configure NAME' makes one" in run(tmp_path, "list").stderr


def test_status_says_how_the_endpoint_is_here_and_at_the_service(lab: Command) -> None:
    assert "none before the first start" in lab.run("status", "lab").stdout
    lab.run("start", "lab", "--detach")
    said = lab.run("status", "lab").stdout
    assert "here      lab: Running, process " in said
    assert "engine    thread" in said
    assert "service   online" in said
    assert "workers   2" in said
    lab.run("stop", "lab")


def test_an_agent_without_its_extra_says_what_to_install(tmp_path: Path) -> None:
    run(tmp_path, "configure", "lab")
    program = (
        "import sys; sys.modules['jinja2'] = None; "
        f"sys.argv[1:] = ['-c', {str(tmp_path)!r}, 'start', 'lab']; "
        "from compute_agent.agent.cli import main; main()"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=LIMIT_S)
    assert done.returncode == 1
    assert done.stderr == (
        "Error: this needs the module 'jinja2', which is not installed: pip install 'flows-engine[agent]'\n"
    )
