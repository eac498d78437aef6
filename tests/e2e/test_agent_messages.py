"""What somebody is told whose endpoint, task or client is not right: a sentence that says where, what, and what would be
right. Never a traceback of ours, nothing lost, nothing that hangs; the next good task runs.

A real server and real agents; Parsl where a provider or a container is the point.
"""

from __future__ import annotations

import json
import logging
import os
import re
import subprocess
import sys
import threading
import time
import uuid
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import Future
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from compute_agent.sdk import (
    ApiError,
    Client,
    Executor,
    FramingError,
    NoServerError,
    PayloadTooLargeError,
    SerializationError,
    TaskFailed,
    UnreachableError,
)
from compute_agent.wire import ErrorCode
from tests.e2e.agent import AgentProcess
from tests.e2e.server import ServerProcess

PATIENCE_S = 60.0
NOBODY = str(uuid.UUID(int=5))
#: Lists the functions that may run, and takes a provider and a container from the submitter.
TEMPLATE = """\
{% if only is defined %}
allowed_functions: [{{ only }}]
{% endif %}
engine:
{% if provider is defined or container is defined %}
  type: parsl
  provider: {type: {{ provider|default("LocalProvider") }}}
{% if container is defined %}
  container_type: {{ container }}
  container_uri: image.sif
{% endif %}
{% else %}
  type: process
  max_workers: 1
{% endif %}
"""


@dataclass(frozen=True)
class Said:
    code: int
    error: str


class Installation:
    """A server, and a folder of endpoints of which none is up."""

    def __init__(self, place: Path) -> None:
        self.server = ServerProcess(place / "data", environ={"FLOWS_COMPUTE_HEARTBEAT_MS": "1000"})
        self.server.start()
        self.client = Client(data_dir=self.server.data_dir)
        self.agents = place / "agents"

    def close(self) -> None:
        self.client.close()
        self.server.close()

    def command(self, *arguments: str, environ: Mapping[str, str] | None = None) -> Said:
        """What ``compute-agent`` says on standard error, and its exit code; it must come to its end."""
        inherited = {name: value for name, value in os.environ.items() if not name.startswith("FLOWS_")}
        done = subprocess.run(
            [sys.executable, "-m", "compute_agent.agent.cli", "--config-dir", str(self.agents), *arguments],
            capture_output=True,
            stdin=subprocess.DEVNULL,
            text=True,
            timeout=PATIENCE_S,
            env={**inherited, "FLOWS_DATA_DIR": str(self.server.data_dir), **(environ or {})},
            check=False,
        )
        return Said(done.returncode, done.stderr)

    def new(self) -> Path:
        """The directory of a new endpoint."""
        name = f"e{uuid.uuid4().hex[:8]}"
        assert self.command("configure", name, "--engine", "thread").code == 0
        return self.agents / name

    def stranger(self) -> tuple[str, str]:
        made = json.loads(self.server.command("clients", "create", "Stranger", "--json"))
        return made["client_id"], made["client_secret"]


@pytest.fixture(scope="module")
def installation(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Installation]:
    made = Installation(tmp_path_factory.mktemp("installation"))
    yield made
    made.close()


@pytest.fixture(scope="module")
def agent(installation: Installation) -> Iterator[AgentProcess]:
    made = AgentProcess(installation.agents, installation.server, {})
    (made.folder / "user_config_template.yaml.j2").write_text(TEMPLATE)
    (made.folder / "user_config_schema.json").unlink()
    made.start()
    yield made
    made.close()


def eventually(condition: Callable[[], Any], what: str) -> Any:
    """What the condition gives, once it gives something."""
    deadline = time.monotonic() + PATIENCE_S
    while time.monotonic() < deadline:
        if found := condition():
            return found
        threading.Event().wait(0.05)
    raise AssertionError(f"{what} did not come")


def line_of(agent: AgentProcess, *texts: str) -> str:
    def find() -> str:
        lines = (agent.folder / "endpoint.log").read_text().splitlines()
        return next((line for line in lines if all(text in line for text in texts)), "")

    return str(eventually(find, f"a line with {texts} in the agent's log"))


def refused_start(installation: Installation, folder: Path, code: int, says: str) -> None:
    """One sentence on standard error, and the same in the endpoint's log."""
    said = installation.command("start", folder.name)
    assert (said.code, said.error.count("\n")) == (code, 1), said.error
    assert said.error.startswith("Error: ")
    assert re.search(says, said.error), said.error
    logged = (folder / "endpoint.log").read_text()
    assert "the endpoint was not started" in logged
    assert re.search(says, logged), logged
    assert "Traceback" not in logged + said.error


CONFIG, TEMPLATE_FILE, SCHEMA = "config.yaml", "user_config_template.yaml.j2", "user_config_schema.json"
PARSL = "engine:\n  type: parsl\n"


@pytest.mark.parametrize(
    ("name", "text", "says"),
    [
        (CONFIG, "engine:\n\ttype: thread\n", r"config\.yaml, line 2, column 1: .* a tab .* indented with spaces"),
        (CONFIG, "public: true\npublic: false\n", r"line 2: public is there already, in line 1; remove one"),
        (CONFIG, "public: maybe\n", r"line 1: public is 'maybe'; it must be true or false"),
        (CONFIG, "displayname: x\n", r"line 1: displayname is not a key .*; did you mean 'display_name'\?"),
        (CONFIG, "display_name: x\n", r"has no 'engine', and there is no user_config_template.yaml.j2"),
        (
            CONFIG,
            "engine: thread\n",
            r"line 1: engine must be a block with at least a 'type', such as \{type: thread\}",
        ),
        (CONFIG, "engine: {type: thred}\n", r'there is no engine "thred"; did you mean "thread"\?'),
        (
            CONFIG,
            "engine: {type: thread, max_workers: two}\n",
            r"max_workers: 'two' cannot be used, it must be a whole",
        ),
        (CONFIG, f"{PARSL}  provider: {{type: SlurmProvder}}\n", r'no "SlurmProvder"; did you mean "SlurmProvider"\?'),
        (
            CONFIG,
            f"{PARSL}  container_type: apptainer\n  container_uri: image.sif\n",
            r'there is no command "apptainer" on this machine\'s PATH; install apptainer, or',
        ),
        (
            TEMPLATE_FILE,
            "engine:\n  type: {% if %}\n",
            r"user_config_template\.yaml\.j2, line 2: Expected an expression",
        ),
        (TEMPLATE_FILE, "engine:\n  type: {{ 'thread'|nope }}\n", r"line 2: No filter named 'nope'"),
        (TEMPLATE_FILE, "", r"as rendered has no 'engine'; it needs one, such as"),
        (SCHEMA, "{type: object}", r"user_config_schema\.json is not JSON: .* at line 1 column 2"),
        (SCHEMA, '{"type": "objekt"}', r"user_config_schema\.json is not a JSON Schema: at /type: 'objekt'"),
        ("user_environment.yaml", "A: [1]\n", r"user_environment\.yaml, line 1: A is \[1\]; it must be text"),
        (
            "endpoint.json",
            "{}",
            r'endpoint\.json must hold \{"endpoint_id": "<uuid>"\}; restore it, or delete the file',
        ),
    ],
)
def test_a_wrong_file_is_named_with_its_line_and_what_would_be_right(
    installation: Installation, name: str, text: str, says: str
) -> None:
    folder = installation.new()
    if name == CONFIG:
        (folder / TEMPLATE_FILE).unlink()
    (folder / name).write_text(text)
    refused_start(installation, folder, 65, says)


def test_a_template_that_cannot_do_without_a_value_says_which_when_it_is_warmed(installation: Installation) -> None:
    folder = installation.new()
    (folder / TEMPLATE_FILE).write_text("engine:\n  type: thread\n  max_workers: {{ workers }}\n")
    (folder / CONFIG).write_text("warm_start: true\n")
    said = installation.command("start", folder.name)
    assert said.code == 65
    assert "warm_start needs an engine that needs no user_endpoint_config: " in said.error
    assert "'workers' is undefined" in said.error


def test_credentials_that_are_not_right_are_named_with_their_file(installation: Installation) -> None:
    url, folder = installation.server.url, installation.new()
    file = folder / "credentials.json"

    def refused(document: Any, code: int, says: str, mode: int = 0o600) -> None:
        file.write_text(document if isinstance(document, str) else json.dumps(document))
        file.chmod(mode)
        refused_start(installation, folder, code, says)

    refused({"url": url, "token": "x"}, 77, rf"may be read by others \(mode 0644\); run: chmod 600 {file}", 0o644)
    refused("{", 65, r'credentials\.json must hold \{"url", "client_id", "client_secret"\} or')
    refused({"url": url, "token": 1}, 65, "the value of token must be text")
    refused(
        {"url": "here", "token": "x"}, 65, r"credentials\.json: 'here' is not the address of a server; it looks like"
    )
    refused(
        {"url": url, "token": "x"}, 77, rf"Bearer token\. The credentials are those of {file}; 'compute-agent configure"
    )
    wrong = {"url": url, "client_id": NOBODY, "client_secret": "x"}
    refused(wrong, 77, rf"the client secret is wrong\. The credentials are those of {file}; 'compute-agent configure")
    refused({"url": f"{url}/there", "token": "x"}, 69, "it should be the server's, without a path")
    away = {"url": "http://127.0.0.1:1", "token": "x"}
    refused(
        away,
        75,
        rf"127\.0\.0\.1:1 gave no answer: .* The address is that of {file}; see whether the server there is up",
    )


@pytest.mark.parametrize(
    ("arguments", "code", "says"),
    [
        (["start", "nobody"], 3, "there is no endpoint 'nobody' in .*; 'compute-agent configure nobody' makes one"),
        (["start", "../x"], 3, "'../x' cannot be the name of an endpoint: a name does not begin with a dot"),
        (["configure", "a b"], 2, "'a b' cannot be the name of an endpoint: a name holds no whitespace"),
        (["configure", "x", "--url", "http://127.0.0.1:1", "--client-id", "u"], 2, "the secret of client u is empty"),
        (["strat", "x"], 2, r"No such command 'strat'"),
    ],
)
def test_a_wrong_command_is_told_what_would_be_right(
    installation: Installation, arguments: list[str], code: int, says: str
) -> None:
    said = installation.command(*arguments)
    assert said.code == code
    assert re.search(says, said.error), said.error


def test_without_a_server_the_agent_says_how_to_get_one(installation: Installation, tmp_path: Path) -> None:
    said = installation.command("start", installation.new().name, environ={"FLOWS_DATA_DIR": str(tmp_path)})
    assert said.code == 75
    assert f"no server of {tmp_path} is up: start it with 'flows serve', or name another server" in said.error


def test_an_endpoint_of_somebody_else_is_not_served(installation: Installation, agent: AgentProcess) -> None:
    client_id, secret = installation.stranger()
    folder = installation.new()
    document = {"url": installation.server.url, "client_id": client_id, "client_secret": secret}
    (folder / "credentials.json").write_text(json.dumps(document))
    (folder / "credentials.json").chmod(0o600)
    (folder / "endpoint.json").write_text(json.dumps({"endpoint_id": agent.endpoint_id}))
    says = f"{agent.endpoint_id} was registered by another user; .* delete {folder / 'endpoint.json'} to do so"
    refused_start(installation, folder, 77, says)
    with Client(installation.server.url, client_id=client_id, client_secret=secret) as theirs:
        function_id = theirs.register_source_code("def f():\n    return 1\n", "f")
        future = Executor(agent.endpoint_id, client=theirs).submit_to_registered_function(function_id)
        refused(future, 404, "ENDPOINT_NOT_FOUND", f"there is no endpoint {agent.endpoint_id} that you may see")


def refused(future: Future[Any], status: int, code: str, says: str) -> None:
    with pytest.raises(ApiError, match=says) as failed:
        future.result(PATIENCE_S)
    assert (failed.value.status, failed.value.code) == (status, code)


@pytest.mark.parametrize(
    ("user_config", "code", "says"),
    [
        ({"provider": "SlurmProvder"}, ErrorCode.ENGINE_FAILED, 'no "SlurmProvder"; did you mean "SlurmProvider"?'),
        (
            {"container": "apptainer"},
            ErrorCode.ENGINE_FAILED,
            'engine.container_type apptainer: there is no command "apptainer" on this machine\'s PATH; install apptainer',
        ),
        ({"container": "dcoker"}, ErrorCode.ENGINE_FAILED, 'did you mean "docker"?'),
        ({"only": NOBODY}, ErrorCode.FUNCTION_NOT_ALLOWED, "its owner lists what is"),
        ({"only": "x"}, ErrorCode.USER_CONFIG_REFUSED, "allowed_functions.0 is 'x'; it must be the UUID of a function"),
        ({"_GC": 1}, ErrorCode.USER_CONFIG_REFUSED, "user_endpoint_config may not set '_GC': the name is reserved"),
    ],
)
def test_a_task_that_the_agent_cannot_run_says_so_to_its_submitter_and_in_the_log(
    installation: Installation, agent: AgentProcess, user_config: dict[str, Any], code: ErrorCode, says: str
) -> None:
    executor = Executor(agent.endpoint_id, client=installation.client, user_endpoint_config=user_config)
    with pytest.raises(TaskFailed) as failed:
        executor.submit(abs, -1).result(PATIENCE_S)
    assert failed.value.code == code
    assert says in str(failed.value)
    assert says in line_of(agent, failed.value.task_id, f"code={code}")
    executor.user_endpoint_config = None
    assert executor.submit(abs, -2).result(PATIENCE_S) == 2


def test_a_function_that_the_endpoint_does_not_list_is_refused_when_it_is_submitted(installation: Installation) -> None:
    allowed = installation.client.register_source_code("def f():\n    return 1\n", "f")
    config = {"engine": {"type": "thread"}, "allowed_functions": [allowed]}
    agent = AgentProcess(installation.agents, installation.server, config, name="listed")
    try:
        agent.start()
        executor = Executor(agent.endpoint_id, client=installation.client)
        says = f"{agent.endpoint_id} runs certain functions only, and .* is not one of them"
        refused(executor.submit(abs, -1), 403, "FUNCTION_NOT_PERMITTED", says)
        assert executor.submit_to_registered_function(allowed).result(PATIENCE_S) == 1
    finally:
        agent.close()


def test_an_endpoint_that_is_offline_stopped_locked_or_deleted_says_so(
    installation: Installation, caplog: pytest.LogCaptureFixture
) -> None:
    agent = AgentProcess(installation.agents, installation.server, {"engine": {"type": "thread"}}, name="gone")
    client, executor = installation.client, None
    try:
        agent.start()
        executor = Executor(agent.endpoint_id, client=client)
        agent.kill()
        eventually(lambda: client.get_endpoint_status(agent.endpoint_id)["status"] == "offline", "the end of its life")
        with caplog.at_level(logging.WARNING, "compute_agent.sdk"):
            waiting = executor.submit(abs, -7)
            says = rf"task {uuid_of(waiting)} has not ended within 0\.2 s; .*get_endpoint_status tells whether"
            with pytest.raises(TimeoutError, match=says):
                waiting.result(0.2)
        assert f"endpoint {agent.endpoint_id} is offline: its tasks wait at the service" in caplog.text
        agent.start()
        assert waiting.result(PATIENCE_S) == 7
        agent.stop()
        refused(executor.submit(abs, -1), 409, "ENDPOINT_STOPPED", "can start it again with: compute-agent start NAME")
        agent.start()
        client.stop_endpoint(agent.endpoint_id)
        says = "can start it again after 20.* with: compute-agent start NAME"
        refused(executor.submit(abs, -1), 409, "ENDPOINT_STOPPED", says)
        assert agent.ended() == 69
        refused_start(installation, agent.folder, 69, "the endpoint was stopped from afar; start it after 20")
        client.delete_endpoint(agent.endpoint_id)
        refused(executor.submit(abs, -1), 404, "ENDPOINT_NOT_FOUND", f"there is no endpoint {agent.endpoint_id}")
        says = rf"was deleted; register a new one, without an id: delete {agent.folder}/endpoint\.json to do so"
        refused_start(installation, agent.folder, 69, says)
    finally:
        agent.close()


def uuid_of(future: Any) -> str:
    return str(eventually(lambda: future.task_id, "the task's id"))


def test_a_program_that_asks_for_what_is_not_there_is_told(installation: Installation, agent: AgentProcess) -> None:
    client, executor = installation.client, Executor(agent.endpoint_id, client=installation.client)
    unknown = Executor(NOBODY, client=client)
    with pytest.raises(ApiError, match=f"there is no endpoint {NOBODY} that you may see"):
        unknown.submit(abs, -1).result(PATIENCE_S)
    refused(executor.submit_to_registered_function(NOBODY), 404, "FUNCTION_NOT_FOUND", f"there is no function {NOBODY}")
    with pytest.raises(ApiError, match=r"must be a UUID such as .*, not 'mine'"):
        Executor("mine", client=client).submit(abs, -1).result(PATIENCE_S)
    with pytest.raises(FramingError, match=r"the source is not Python: .* \(line 2\)"):
        client.register_source_code("def f():\n  return (\n", "f")
    with pytest.raises(FramingError, match="the source does not define f at its top level; it defines g"):
        client.register_source_code("def g(): pass\n", "f")
    with pytest.raises(NoServerError, match="'here' is not the address of a server; it looks like http"):
        Client("here", token="x")
    lock = threading.Lock()
    with pytest.raises(
        SerializationError, match=r"<lambda> cannot be sent: _thread.lock at value.lock .*; make it inside"
    ):
        executor.submit(lambda: lock)
    with pytest.raises(
        PayloadTooLargeError, match=r"the arguments are 19\.1 MiB .* a task takes 10 MiB; pass the path"
    ):
        executor.submit(len, "x" * 20_000_000)
    away = Client("http://127.0.0.1:1", token="x", pause=lambda _: None)
    with pytest.raises(UnreachableError, match=r"127\.0\.0\.1:1 gave no answer: nothing listens there"):
        away.get_endpoints()
    assert executor.submit(abs, -1).result(PATIENCE_S) == 1


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    if os.geteuid() != 0:
        pytest.skip("A FULL DISK IS NOT TESTED: only root can mount a small one")
    disk = tmp_path / "disk"
    disk.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=16m", "tmpfs", str(disk)],
        capture_output=True,
        text=True,
        check=False,
    )
    if mounted.returncode != 0:
        pytest.skip(f"A FULL DISK IS NOT TESTED: a small one cannot be mounted here: {mounted.stderr.strip()}")
    yield disk
    subprocess.run(["umount", "--lazy", str(disk)], check=True)


def fill(disk: Path) -> Path:
    ballast = disk / "ballast"
    with ballast.open("wb", buffering=0) as file:
        try:
            while file.write(bytes(4096)):
                pass
        except OSError:
            return ballast
    raise AssertionError("the disk took everything")


def test_tasks_wait_while_the_agents_disk_is_full_and_run_when_it_has_room(
    installation: Installation, small_disk: Path, tmp_path: Path
) -> None:
    config = {"engine": {"type": "process", "max_workers": 1}}
    agent = AgentProcess(small_disk / "agents", installation.server, config)
    agent.log = tmp_path / "standard_error"
    client = installation.client

    def problem() -> str:
        return str(client.get_endpoint_status(agent.endpoint_id)["details"].get("problem", ""))

    try:
        agent.start()
        executor = Executor(agent.endpoint_id, client=client)
        assert executor.submit(abs, -1).result(PATIENCE_S) == 1
        ballast = fill(small_disk)
        waiting = [executor.submit(abs, number) for number in range(-20, 0)]
        says = f"nothing can be written to {agent.folder / 'journal.db'}"
        assert says in eventually(problem, "word of the full disk in the endpoint's status")
        assert "make room on its disk" in problem()
        told = agent.log.read_text()  # standard error, since the log's own disk is the full one
        assert "the disk takes nothing; no more tasks are leased until it does" in told
        assert uuid_of(waiting[0]) in told
        assert "Traceback" not in told
        assert "make room on its disk" in agent.command("status", agent.name)
        assert not any(future.done() for future in waiting)
        ballast.unlink()
        assert [future.result(PATIENCE_S) for future in waiting] == list(range(20, 0, -1))
        eventually(lambda: not problem(), "the end of the trouble")
        assert executor.submit(abs, -1).result(PATIENCE_S) == 1

        agent.stop()
        fill(small_disk)
        said = installation.command("-c", str(small_disk / "agents"), "start", agent.name)
        assert (said.code, said.error.count("\n")) == (1, 1), said.error
        assert f"Error: {agent.folder}" in said.error
        assert "cannot be used: No space left on device; make room on its disk" in said.error
    finally:
        agent.close()
