"""The compute endpoint that ``flows serve`` brings, as a process: what stops it, and who waits for whom."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from compute_agent.sdk import Executor
from tests.e2e.server import PATIENCE_S, ServerProcess

WAITS_FOR_A_FILE = """
def wait(begun, end):
    import pathlib, time
    pathlib.Path(begun).touch()
    while not pathlib.Path(end).exists():
        time.sleep(0.02)
    return "the whole function ran"
"""


@pytest.fixture
def server(tmp_path: Path) -> Iterator[ServerProcess]:
    process = ServerProcess(tmp_path / "data", environ={"FLOWS_COMPUTE_ENDPOINT": "thread"})
    yield process
    process.close()


def test_ctrl_c_at_a_terminal_reaches_the_server_alone_and_no_process_is_left(server: ServerProcess) -> None:
    server.start()
    server.compute_endpoint()
    [agent] = psutil.Process(server.pid).children()

    assert os.getsid(agent.pid) != os.getsid(server.pid)
    assert server.stop() == 0
    agent.wait(PATIENCE_S)


def test_a_function_that_outlasts_its_server_is_waited_for_by_the_next_start(
    server: ServerProcess, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FLOWS_DATA_DIR", str(server.data_dir))
    begun, end = tmp_path / "begun", tmp_path / "end"
    server.start()
    with Executor(server.compute_endpoint()) as executor:
        function = executor.register_source_code(WAITS_FOR_A_FILE, "wait")
        future = executor.submit_to_registered_function(function, [str(begun), str(end)])
        while not begun.exists():
            assert not future.done()
        server.kill()
        server.start()
        end.touch()
        assert future.result(PATIENCE_S) == "the whole function ran"
        server.compute_endpoint()
    assert "functions of the last start still run" in server.log.read_text()
    assert "started anew" not in server.log.read_text()


def test_doctor_names_the_endpoint(server: ServerProcess) -> None:
    server.start()
    endpoint_id = server.compute_endpoint()
    assert f"the built-in endpoint {endpoint_id} is online" in server.command("doctor")
    server.stop()
    server.start(FLOWS_COMPUTE_ENDPOINT="off")
    assert "the server has no built-in endpoint" in server.command("doctor")
