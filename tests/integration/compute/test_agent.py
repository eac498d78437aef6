"""An agent at a scripted service: what it does with tasks, with faults of engines, networks and disks, and at its end."""

from __future__ import annotations

import contextlib
import os
import resource
import threading
import uuid
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest

from compute_agent.agent.config import read_config
from compute_agent.agent.desk import Ending
from compute_agent.agent.engine_blocks import EngineBlocks
from compute_agent.agent.journal import Journal
from compute_agent.agent.loop import Agent, Pace
from compute_agent.agent.markers import Markers
from compute_agent.agent.templates import UserTemplate
from compute_agent.connection import Http
from compute_agent.engines.base import Engine, EngineConfigError, EngineFault
from compute_agent.engines.catalog import make_engine
from compute_agent.wire import ErrorCode
from tests.fakes.compute_service import ScriptedService
from tests.fakes.scripted_engine import ScriptedEngine

ENDPOINT = "22222222-0000-4000-8000-000000000002"
DOUBLE = "def f(x):\n    return 2 * x\n"
SCRIPTED = "engine: {type: scripted}\ngrace_period: 0.3\n"
THREADS = "engine: {type: thread, max_workers: 2}\n"
PATIENCE_S = 15.0


class Running:
    """An agent in a thread, with the engines it made."""

    def __init__(self, directory: Path, service: ScriptedService, config: str, template: str | None = None) -> None:
        self.directory = directory
        self.service = service
        self.engines: list[ScriptedEngine] = []
        self.prepare_engine: Callable[[ScriptedEngine], None] = lambda _: None
        self.ending: Ending | None = None
        read = read_config(config)
        self.journal = Journal(directory / "journal.db", circumstances="same")
        self.agent = Agent(
            Http(service.url, token="t" * 20),
            config=read,
            blocks=EngineBlocks(read, None if template is None else UserTemplate(template)),
            journal=self.journal,
            markers=Markers(directory / "starts", is_used=read.start_markers),
            make_engine=self._make,
            run_dir=directory,
            document={"endpoint_name": "lab"},
            endpoint_id=ENDPOINT,
            pace=Pace(
                announce_after_s=0.02, disk_probe_s=0.02, last_upload_s=1.0, lease_wait_s=1.0, cancels_every_s=0.05
            ),
        )
        self._thread = threading.Thread(target=self._run)

    def __enter__(self) -> Running:
        self.agent.begin()
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()
        self.journal.close()

    def stop(self) -> Ending:
        if self._thread.is_alive() and self.ending is None:
            self.agent.end(Ending("the test is over"))
        return self.wait()

    def wait(self) -> Ending:
        self._thread.join(PATIENCE_S)
        assert self.ending is not None, "the agent did not end"
        return self.ending

    @property
    def engine(self) -> ScriptedEngine:
        self.service.until(lambda: self.engines, "an engine")
        return self.engines[-1]

    def held(self) -> list[str]:
        return [entry.held.task_id for entry in self.journal.entries()]

    def _run(self) -> None:
        self.ending = self.agent.wait()

    def _make(self, block: Mapping[str, Any], *, run_dir: Path) -> Engine:
        if block["type"] != "scripted":
            return make_engine(block, run_dir=run_dir)
        engine = ScriptedEngine(block, run_dir=run_dir)
        self.prepare_engine(engine)
        with self.service.changed:
            self.engines.append(engine)
            self.service.changed.notify_all()
        return engine


@pytest.fixture
def service() -> Iterator[ScriptedService]:
    with ScriptedService() as service:
        yield service


def crash(running: Running) -> None:
    """What is left of an agent that was killed: its files. Nobody speaks for it."""
    running.service.end_session()
    running.agent.end(Ending("killed", settles=False))
    running.wait()


# tasks


def test_tasks_run_on_real_threads_and_their_results_arrive(service: ScriptedService, tmp_path: Path) -> None:
    function = service.function(DOUBLE)
    with Running(tmp_path, service, THREADS) as running:
        ids = service.queue_all([(function, (number,), {}) for number in range(40)])
        found = [service.outcome(one) for one in ids]
        assert [one["result"] for one in found] == [f"11\n{2 * number}" for number in range(40)]
        assert {one["state"] for one in found} == {"SUCCEEDED"}
        service.until(lambda: not running.held(), "an empty journal")
    assert list((tmp_path / "starts").iterdir()) == []
    assert service.has_left
    assert service.left_after > 0, "what is leased to it after that was never taken"


def test_an_exception_comes_back_as_its_traceback(service: ScriptedService, tmp_path: Path) -> None:
    function = service.function("def f():\n    raise ValueError('half\\0way')\n")
    with Running(tmp_path, service, THREADS):
        error = service.outcome(service.queue(function))["error"]
    assert error["code"] == "RemoteExecutionError"
    assert "ValueError: half\\" in error["message"]


def test_code_is_sent_once(service: ScriptedService, tmp_path: Path) -> None:
    function = service.function(DOUBLE)
    with Running(tmp_path, service, THREADS):
        service.outcome(service.queue(function, 1))
        service.outcome(service.queue(function, 2))
        assert service.leases[-1]["functions_known"] == [function]


def test_many_outcomes_share_an_upload(service: ScriptedService, tmp_path: Path) -> None:
    function = service.function(DOUBLE)
    with Running(tmp_path, service, THREADS):
        ids = service.queue_all([(function, (1,), {}) for _ in range(300)])
        for one in ids:
            service.outcome(one)
    assert len(service.reports) < 150


def test_code_that_differs_from_what_was_registered_is_not_run(service: ScriptedService, tmp_path: Path) -> None:
    function = service.function(DOUBLE, sha256="0" * 64)
    with Running(tmp_path, service, THREADS):
        error = service.outcome(service.queue(function, 1))["error"]
    assert error["code"] == "CouldNotExecuteUserTaskError"
    assert "SHA-256" in error["message"]


def test_a_function_that_is_not_listed_is_refused_with_both_ids(service: ScriptedService, tmp_path: Path) -> None:
    function, other = service.function(DOUBLE), str(uuid.uuid4())
    with Running(tmp_path, service, f"{THREADS}allowed_functions: [{other}]\n"):
        error = service.outcome(service.queue(function, 1))["error"]
    assert error["code"] == "FUNCTION_NOT_ALLOWED"
    assert function in error["message"]
    assert ENDPOINT in error["message"]


def test_each_user_configuration_has_an_engine_of_its_own(service: ScriptedService, tmp_path: Path) -> None:
    function = service.function(DOUBLE)
    template = "engine: {type: scripted, size: {{ size|default(5) }}, name: {{ name|default('\"x\"') }}}\n"
    with Running(tmp_path, service, "", template) as running:
        first = service.queue(function, 1)
        second = service.queue(function, 1, user_endpoint_config={"name": "gpu\n- {{ 7 }}: &a"})
        third = service.queue(function, 1, user_endpoint_config={"size": 5})
        service.until(lambda: len(running.engines) == 2 and sum(len(one.tasks) for one in running.engines) == 3)
        by_name = {engine.options["name"]: engine for engine in running.engines}
        assert set(by_name["x"].tasks) == {first, third}
        assert set(by_name["gpu\n- {{ 7 }}: &a"].tasks) == {second}
        for engine in running.engines:
            for one in list(engine.tasks):
                engine.succeed(one)


def test_what_the_template_refuses_reaches_the_submitter(service: ScriptedService, tmp_path: Path) -> None:
    function = service.function(DOUBLE)
    with Running(tmp_path, service, "", "engine: {type: thread, max_workers: {{ workers }}}\n"):
        error = service.outcome(service.queue(function, 1))["error"]
    assert error["code"] == "UserEndpointConfigRefused"
    assert "'workers' is undefined" in error["message"]


def test_a_task_that_runs_for_long_is_said_to_run(service: ScriptedService, tmp_path: Path) -> None:
    function = service.function(DOUBLE)
    with Running(tmp_path, service, SCRIPTED) as running:
        task = service.queue(function, 1)
        running.engine.wait_for(task)
        service.until(lambda: any(task in one["running"] for one in service.reports), "RUNNING")
        running.engine.succeed(task)


# cancelling


def test_a_cancelled_task_that_waits_in_the_engine_never_begins(service: ScriptedService, tmp_path: Path) -> None:
    function = service.function(DOUBLE)
    with Running(tmp_path, service, SCRIPTED) as running:
        task = service.queue(function, 1)
        running.engine.wait_for(task)
        service.tell_cancel(task)
        assert service.outcome(task)["state"] == "CANCELLED"
        assert not running.engine.begin(task)
    assert len(service.outcomes[task]) == 1


def test_a_cancelled_task_that_runs_is_left_to_run(service: ScriptedService, tmp_path: Path) -> None:
    function = service.function(DOUBLE)
    with Running(tmp_path, service, SCRIPTED) as running:
        task = service.queue(function, 1)
        assert running.engine.begin(task)
        service.tell_cancel(task)
        service.until(lambda: not service.cancel)
        running.engine.succeed(task)
        assert service.outcome(task)["state"] == "SUCCEEDED"


def test_cancels_arrive_while_there_is_no_room(service: ScriptedService, tmp_path: Path) -> None:
    function = service.function(DOUBLE)
    with Running(
        tmp_path, service, "engine: {type: scripted, size: 1}\ngrace_period: 0\nwarm_start: true\n"
    ) as running:
        running.agent.warm()
        first = service.queue(function, 1)
        running.engine.wait_for(first)
        service.until(lambda: service.leases[-1]["limit"] == 0, "a call for cancels alone")
        service.tell_cancel(first)
        assert service.outcome(first)["state"] == "CANCELLED"


# engines


def test_tasks_wait_for_their_engine_in_order(service: ScriptedService, tmp_path: Path) -> None:
    function = service.function(DOUBLE)
    running = Running(tmp_path, service, SCRIPTED)
    running.prepare_engine = lambda engine: engine.may_start.clear()
    with running:
        ids = service.queue_all([(function, (number,), {}) for number in range(20)])
        service.until(lambda: len(running.held()) == 20, "journaled tasks")
        assert running.engine.order == []
        running.engine.may_start.set()
        for one in ids:
            running.engine.succeed(one)
        assert running.engine.order == ids
        for one in ids:
            service.outcome(one)


@pytest.mark.parametrize(
    "error", [EngineFault(ErrorCode.ENGINE_FAILED, "sbatch is missing"), EngineConfigError("sbatch is missing")]
)
def test_an_engine_that_cannot_start_fails_its_tasks_with_the_reason(
    service: ScriptedService, tmp_path: Path, error: Exception
) -> None:
    function = service.function(DOUBLE)
    running = Running(tmp_path, service, SCRIPTED)
    running.prepare_engine = lambda engine: setattr(engine, "start_fault", error)
    with running:
        found = service.outcome(service.queue(function, 1))
        assert found["state"] == "FAILED"
        assert found["error"]["code"] == "EngineFailed"
        assert "sbatch is missing" in found["error"]["message"]
        running.prepare_engine = lambda _: None
        again = service.queue(function, 1)
        service.until(lambda: len(running.engines) == 2, "another try")
        running.engine.succeed(again)
        assert service.outcome(again)["state"] == "SUCCEEDED"


def test_a_lost_task_that_began_is_lost_and_one_that_did_not_is_given_back(
    service: ScriptedService, tmp_path: Path
) -> None:
    function = service.function(DOUBLE)
    with Running(tmp_path, service, SCRIPTED) as running:
        began, waited = service.queue(function, 1), service.queue(function, 1)
        running.engine.begin(began)
        for one in (began, waited):
            running.engine.fault(one, ErrorCode.NODE_LOST, "job 77 ended: walltime")
        assert service.outcome(began)["state"] == "LOST"
        assert service.outcome(began)["error"] == {"code": "NodeLost", "message": "job 77 ended: walltime"}
        assert service.outcome(waited)["state"] == "QUEUED"


def test_a_task_is_not_given_back_for_ever(service: ScriptedService, tmp_path: Path) -> None:
    function = service.function(DOUBLE)
    task = str(uuid.uuid4())
    with Running(tmp_path, service, SCRIPTED) as running:
        for fence in range(1, 12):
            service.queue(function, 1, task_id=task, fence=fence)
            service.until(lambda: len(running.engine.order) == fence)  # noqa: B023 - called within the turn
            running.engine.fault(task, ErrorCode.NODE_LOST, "again", may_have_run=False)
            service.until(lambda: len(service.outcomes.get(task, [])) == fence)  # noqa: B023 - called within the turn
    assert [one["state"] for one in service.outcomes[task]] == ["QUEUED"] * 10 + ["FAILED"]


@pytest.mark.parametrize("code", [ErrorCode.ENGINE_FAILED, ErrorCode.RESOURCES_REFUSED])
def test_a_fault_that_would_only_come_again_fails_the_task(
    service: ScriptedService, tmp_path: Path, code: ErrorCode
) -> None:
    function = service.function(DOUBLE)
    with Running(tmp_path, service, SCRIPTED) as running:
        task = service.queue(function, 1)
        running.engine.fault(task, code, may_have_run=False)
        assert service.outcome(task)["state"] == "FAILED"


def test_without_markers_a_lost_task_may_have_begun(service: ScriptedService, tmp_path: Path) -> None:
    function = service.function(DOUBLE)
    with Running(tmp_path, service, f"{SCRIPTED}start_markers: false\n") as running:
        task = service.queue(function, 1)
        assert running.engine.wait_for(task).marker == ""
        running.engine.fault(task, ErrorCode.NODE_LOST)
        assert service.outcome(task)["state"] == "LOST"


def test_an_engine_without_work_is_ended(service: ScriptedService, tmp_path: Path) -> None:
    service.heartbeat_s = 0.05
    function = service.function(DOUBLE)
    with Running(tmp_path, service, f"{SCRIPTED}idle_heartbeats_soft: 1\n") as running:
        task = service.queue(function, 1)
        first = running.engine
        first.wait_for(task)
        beats = len(service.heartbeats)
        service.until(lambda: len(service.heartbeats) > beats + 4)
        assert not first.stopped.is_set()
        first.succeed(task)
        assert first.stopped.wait(PATIENCE_S)
        again = service.queue(function, 1)
        service.until(lambda: len(running.engines) == 2)
        running.engine.succeed(again)
        service.outcome(again)


# the service and the network


def test_results_survive_a_service_that_is_away(service: ScriptedService, tmp_path: Path) -> None:
    function = service.function(DOUBLE)
    with Running(tmp_path, service, SCRIPTED) as running:
        service.fail("report", None, (503, "AWAY"), None)
        task = service.queue(function, 1)
        running.engine.succeed(task)
        assert service.outcome(task)["state"] == "SUCCEEDED"
        assert len(service.registrations) == 1
    assert len(service.outcomes[task]) == 1


def test_leases_go_on_after_a_service_that_was_away(service: ScriptedService, tmp_path: Path) -> None:
    function = service.function(DOUBLE)
    service.fail("lease", None, (503, "AWAY"))
    with Running(tmp_path, service, THREADS):
        assert service.outcome(service.queue(function, 4))["result"] == "11\n8"


def test_another_agent_ends_this_one_without_a_word_about_its_tasks(service: ScriptedService, tmp_path: Path) -> None:
    function = service.function(DOUBLE)
    with Running(tmp_path, service, SCRIPTED) as running:
        task = service.queue(function, 1)
        running.engine.wait_for(task)
        (tmp_path / "other").mkdir()
        with Running(tmp_path / "other", service, SCRIPTED):
            ending = running.wait()
        assert ending.exit_code == 69
        assert not ending.settles
        assert "another agent" in ending.reason
        assert running.held() == [task]
    assert task not in service.outcomes


@pytest.mark.parametrize(("status", "code"), [(423, "ENDPOINT_LOCKED"), (409, "ENDPOINT_STOPPED")])
def test_a_stop_at_the_service_stops_the_agent_in_order(
    service: ScriptedService, tmp_path: Path, status: int, code: str
) -> None:
    with Running(tmp_path, service, SCRIPTED) as running:
        service.fail("lease", (status, code))
        service.tell_cancel(str(uuid.uuid4()))
        assert running.wait().exit_code == 69
    assert service.has_left


def test_a_heartbeat_that_is_answered_with_stop_stops_the_agent(service: ScriptedService, tmp_path: Path) -> None:
    service.verdict = {"stop": True}
    with Running(tmp_path, service, SCRIPTED) as running:
        assert running.wait().exit_code == 69


def test_tasks_that_the_service_took_away_are_dropped(service: ScriptedService, tmp_path: Path) -> None:
    service.heartbeat_s = 0.05
    function = service.function(DOUBLE)
    with Running(tmp_path, service, SCRIPTED) as running:
        task = service.queue(function, 1)
        running.engine.wait_for(task)
        service.verdict = {"unknown": [task]}
        service.until(lambda: service.heartbeats[-1]["held"] == [] and len(service.heartbeats) > 2)
        assert not running.engine.begin(task)
        assert running.held() == []
    assert task not in service.outcomes


def test_a_task_that_is_leased_anew_runs_anew(service: ScriptedService, tmp_path: Path) -> None:
    function, task = service.function(DOUBLE), str(uuid.uuid4())
    with Running(tmp_path, service, SCRIPTED) as running:
        service.queue(function, 1, task_id=task, fence=1)
        running.engine.wait_for(task)
        old = running.engine.futures[task]
        service.queue(function, 1, task_id=task, fence=3)
        service.until(lambda: len(running.engine.order) == 2)
        if not old.done():
            old.set_result({"status": "success", "result": "11\n1"})
        running.engine.succeed(task, "11\n3")
        found = service.outcome(task)
        assert (found["fence"], found["result"]) == (3, "11\n3")


@pytest.mark.parametrize("status", [413, 422])
def test_an_outcome_that_the_service_cannot_take_does_not_hold_up_others(
    service: ScriptedService, tmp_path: Path, status: int
) -> None:
    function = service.function(DOUBLE)
    with Running(tmp_path, service, SCRIPTED) as running:
        ids = service.queue_all([(function, (1,), {}) for _ in range(3)])
        for one in ids:
            running.engine.wait_for(one)
        with service.failing("report", 503, "AWAY"):
            for one in ids:
                running.engine.succeed(one)
            before = service.calls["report"]
            service.until(lambda: service.calls["report"] > before + 1)
            # all three, then the first alone, which is refused itself
            service.fail("report", *[(status, "TOO_LARGE")] * 2)
        states = {one: service.outcome(one) for one in ids}
    assert sorted(one["state"] for one in states.values()) == ["FAILED", "SUCCEEDED", "SUCCEEDED"]
    refused = next(one for one in states.values() if one["state"] == "FAILED")
    assert "could not be sent" in refused["error"]["message"]


# crashes and starts


def test_after_a_crash_every_task_is_spoken_for(service: ScriptedService, tmp_path: Path) -> None:
    function = service.function(DOUBLE)
    running = Running(tmp_path, service, SCRIPTED)
    with contextlib.ExitStack() as stack:
        stack.enter_context(running)
        began, waited, done = (service.queue(function, 1) for _ in range(3))
        running.engine.begin(began)
        running.engine.wait_for(waited)
        with service.failing("report", 503, "AWAY"):
            running.engine.succeed(done)
            before = service.calls["report"]
            service.until(lambda: service.calls["report"] > before)
            crash(running)
    assert not service.outcomes
    with Running(tmp_path, service, SCRIPTED):
        agent = service.registrations[-1]["agent"]
        assert agent["journal_id"] == service.registrations[0]["agent"]["journal_id"]
        assert set(agent["held"]) == {began, waited, done}
        assert service.outcome(done)["state"] == "SUCCEEDED"
        assert service.outcome(waited)["state"] == "QUEUED"
        lost = service.outcome(began)
        assert (lost["state"], lost["error"]["code"]) == ("LOST", "AgentLost")
    assert not running.engine.begin(waited), "a worker that lived on would have run it twice"


def test_after_a_restart_of_the_machine_a_missing_marker_proves_nothing(
    service: ScriptedService, tmp_path: Path
) -> None:
    function = service.function(DOUBLE)
    with Running(tmp_path, service, SCRIPTED) as running:
        task = service.queue(function, 1)
        running.engine.wait_for(task)
        crash(running)
    Journal(tmp_path / "journal.db", circumstances="another boot").close()
    with Running(tmp_path, service, SCRIPTED):
        assert service.outcome(task)["state"] == "LOST"


# stopping


def test_stopping_gives_back_what_has_not_begun_and_waits_for_what_runs(
    service: ScriptedService, tmp_path: Path
) -> None:
    function = service.function(DOUBLE)
    with Running(tmp_path, service, "engine: {type: scripted}\ngrace_period: 20\n") as running:
        runs, waits = service.queue(function, 1), service.queue(function, 1)
        assert running.engine.begin(runs)
        running.engine.wait_for(waits)
        running.agent.end(Ending("enough"))
        assert service.outcome(waits)["state"] == "QUEUED"
        assert not service.has_left
        running.engine.succeed(runs)
        assert service.outcome(runs)["state"] == "SUCCEEDED"
        assert running.wait().exit_code == 0
    assert service.has_left


def test_what_runs_longer_than_the_grace_time_is_lost(service: ScriptedService, tmp_path: Path) -> None:
    function = service.function(DOUBLE)
    with Running(tmp_path, service, SCRIPTED) as running:
        task = service.queue(function, 1)
        running.engine.begin(task)
        running.stop()
        found = service.outcome(task)
        assert (found["state"], found["error"]["code"]) == ("LOST", "AgentLost")
    assert running.engine.stopped.is_set()


def test_a_second_wish_to_stop_does_not_wait(service: ScriptedService, tmp_path: Path) -> None:
    function = service.function(DOUBLE)
    with Running(tmp_path, service, "engine: {type: scripted}\ngrace_period: 3600\n") as running:
        task = service.queue(function, 1)
        running.engine.begin(task)
        running.agent.end(Ending("please"))
        running.agent.end(Ending("now"))
        running.wait()
        assert service.outcome(task)["state"] == "LOST"


def test_tasks_that_arrive_while_it_stops_are_given_back(service: ScriptedService, tmp_path: Path) -> None:
    function = service.function(DOUBLE)
    with Running(tmp_path, service, "engine: {type: scripted}\ngrace_period: 20\n") as running:
        runs = service.queue(function, 1)
        running.engine.begin(runs)
        service.until(lambda: service.calls["lease"] >= 2, "the next lease")
        running.agent.end(Ending("enough"))
        late = service.queue(function, 1)
        assert service.outcome(late)["state"] == "QUEUED"
        running.engine.succeed(runs)


def test_what_cannot_be_uploaded_at_the_end_is_kept(service: ScriptedService, tmp_path: Path) -> None:
    function = service.function(DOUBLE)
    running = Running(tmp_path, service, SCRIPTED)
    with running, service.failing("report", 503, "AWAY"):
        task = service.queue(function, 1)
        running.engine.succeed(task)
        before = service.calls["report"]
        service.until(lambda: service.calls["report"] > before)
        running.stop()
        assert running.held() == [task]
    assert not service.has_left
    with Running(tmp_path, service, SCRIPTED):
        assert service.outcome(task)["state"] == "SUCCEEDED"


# disks


@contextlib.contextmanager
def no_file_grows_beyond(size: int) -> Iterator[None]:
    """What a full disk does to a journal, for this process alone."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


def test_on_a_full_disk_nothing_starts_and_leasing_resumes_when_there_is_room(
    service: ScriptedService, tmp_path: Path
) -> None:
    function = service.function(DOUBLE)
    with Running(tmp_path, service, THREADS) as running:
        service.outcome(service.queue(function, 1))
        wal = os.path.getsize(tmp_path / "journal.db-wal")
        with no_file_grows_beyond(wal // 2):
            refused = service.queue(function, 2)
            given_back = service.outcome(refused)
            assert given_back["state"] == "QUEUED"
            assert "make room" in given_back["details"]["reason"]
            service.until(
                lambda: "make room" in service.heartbeats[-1]["status"]["problem"], "the reason in the status"
            )
        service.until(lambda: service.heartbeats[-1]["status"]["problem"] == "", "room again")
        assert refused not in running.held()
        assert service.outcome(service.queue(function, 3))["result"] == "11\n6"


def test_results_go_up_although_the_disk_is_full(service: ScriptedService, tmp_path: Path) -> None:
    function = service.function(DOUBLE)
    with Running(tmp_path, service, SCRIPTED) as running:
        task = service.queue(function, 1)
        running.engine.begin(task)
        wal = os.path.getsize(tmp_path / "journal.db-wal")
        with no_file_grows_beyond(wal // 2):
            running.engine.succeed(task)
            assert service.outcome(task)["state"] == "SUCCEEDED"
        service.until(lambda: not running.held(), "a journal that is emptied once there is room")
