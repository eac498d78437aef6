"""The Compute providers before the real service and on real databases: submitted once, woken at once, answered in words."""

from __future__ import annotations

import threading
from collections.abc import Mapping
from datetime import timedelta
from typing import Any

import pytest

from action_providers import tables as provider_tables
from action_providers.background import Background
from action_providers.compute import providers
from action_providers.registry import by_path
from action_providers.service import Actions
from compute_agent.framing import pack, source_code
from compute_agent.service import tables as compute_tables
from compute_agent.service.compute import ComputeService
from compute_agent.wire import Outcome, TaskError, TaskState
from flows_engine.asl.input_schema import check_input
from flows_engine.clock import SystemClock
from flows_engine.store.db import SqlDatabase
from schemas.ports import Clock
from schemas.principals import Caller
from tests.fakes.authorizer import person
from tests.fakes.clock import VirtualClock
from tests.fakes.tiny_agent import TinyAgent

ANN, BEN = person("ann"), person("ben")

ADD = "def add(a, b=0):\n    return a + b\n"
FAIL = "def fail():\n    raise ValueError('there is no data')\n"
PAIR = "def pair(*items):\n    return items, {'n': len(items)}\n"
STRANGE = "def strange():\n    class Strange:\n        pass\n    return Strange()\n"


class Died(BaseException):
    """The process ends here: nothing of ours catches it."""


class Workshop:
    """One process: the compute service, its providers, the kit; wired as the house wires them."""

    def __init__(self, db: SqlDatabase, clock: Clock) -> None:
        provider_tables.metadata.create_all(db.engine)
        compute_tables.metadata.create_all(db.engine)
        self.db, self.clock = db, clock
        self.ended = threading.Event()
        self.compute = ComputeService(db, clock, finished=lambda group_ids: self.actions.nudge(group_ids))
        self.actions = Actions(
            db,
            clock,
            by_path(providers(self.compute)),
            check_body=check_input,
            wake=lambda _waiter: self.ended.set(),
            lease=timedelta(seconds=30),
        )
        self.background = Background(self.actions, threads=2)

    def function(self, source: str, owner: Caller = ANN) -> str:
        name = source.removeprefix("def ").partition("(")[0]
        body = {"function_name": name, "function_code": pack([source_code(source, name)])}
        return str(self.compute.register_function(owner, body)["function_uuid"])

    def run(self, body: Mapping[str, Any], *, path: str = "compute", request_id: str = "r", **more: Any) -> Any:
        request = {"request_id": request_id, "body": dict(body), **more}
        return self.actions.run(path, request, ANN, waiter="w")[0]

    def status(self, action: Mapping[str, Any], path: str = "compute") -> Any:
        return self.actions.status(path, action["action_id"], ANN)

    def tasks(self, action: Mapping[str, Any]) -> list[str]:
        """Ids of the tasks of an action, as its group has them."""
        group = self.compute.get_task_group(ANN, action["details"]["task_group_id"])
        return [one["id"] for one in group["tasks"]]


@pytest.fixture
def clock() -> VirtualClock:
    return VirtualClock()


@pytest.fixture
def shop(database: SqlDatabase, clock: VirtualClock) -> Workshop:
    return Workshop(database, clock)


@pytest.fixture
def agent(shop: Workshop) -> TinyAgent:
    return TinyAgent(shop.compute, ANN)


# What comes back


def test_a_call_of_version_2_gives_its_result(shop: Workshop, agent: TinyAgent) -> None:
    body = {"endpoint": agent.endpoint_id, "function": shop.function(ADD), "args": [2], "kwargs": {"b": 3}}

    begun = shop.run(body)
    assert (begun["status"], begun["details"]["tasks"], begun["details"]["finished"]) == ("ACTIVE", 1, 0)
    assert agent.step() == 1
    assert shop.background.work_off() == 1

    ended = shop.status(begun)
    [task_id] = shop.tasks(begun)
    assert ended["status"] == "SUCCEEDED"
    assert ended["details"] == {
        "task_group_id": begun["action_id"],
        "result": [5],
        "results": [{"task_id": task_id, "output": 5}],
    }


def test_results_of_several_functions_and_endpoints_come_in_the_order_of_the_calls(
    shop: Workshop, agent: TinyAgent
) -> None:
    other = TinyAgent(shop.compute, ANN)
    add, pair = shop.function(ADD), shop.function(PAIR)
    calls = [(agent, add, [1]), (other, pair, ["a"]), (agent, pair, []), (other, add, [2]), (agent, add, [3])]
    tasks = [{"endpoint": one.endpoint_id, "function": function, "args": args} for one, function, args in calls]

    begun = shop.run({"tasks": tasks})
    other.step()
    assert shop.background.work_off() == 1
    assert (shop.status(begun)["status"], shop.status(begun)["details"]["finished"]) == ("ACTIVE", 2)
    agent.step()
    assert shop.background.work_off() == 1

    assert shop.status(begun)["details"]["result"] == [1, [["a"], {"n": 1}], [[], {"n": 0}], 2, 3]


def test_version_3_joins_the_callers_group_and_answers_for_its_own_tasks(
    shop: Workshop, agent: TinyAgent, clock: VirtualClock
) -> None:
    add = shop.function(ADD)
    group_id = "c1c1c1c1-0000-4000-8000-000000000000"

    def body(*numbers: int) -> dict[str, Any]:
        tasks = [{"function_id": add, "args": [n]} for n in numbers]
        return {"endpoint_id": agent.endpoint_id, "tasks": tasks, "task_group_id": group_id}

    first = shop.run(body(1, 2), path="compute/v3", request_id="1")
    agent.step()
    second = shop.run(body(3), path="compute/v3", request_id="2")
    clock.advance(2)
    shop.background.work_off()

    done, waiting = shop.status(first, "compute/v3"), shop.status(second, "compute/v3")
    assert (done["details"]["task_group_id"], done["details"]["result"]) == (group_id, [1, 2])
    assert (waiting["status"], waiting["details"]["finished"]) == ("ACTIVE", 0)
    agent.step()
    clock.advance(2)
    shop.background.work_off()
    assert shop.status(second, "compute/v3")["details"]["result"] == [3]


def test_a_function_that_raises_fails_the_action_with_its_traceback(shop: Workshop, agent: TinyAgent) -> None:
    add, fail = shop.function(ADD), shop.function(FAIL)
    tasks = [{"endpoint": agent.endpoint_id, "function": add, "args": [1]}]
    begun = shop.run({"tasks": [*tasks, {"endpoint": agent.endpoint_id, "function": fail}]})
    agent.step()
    shop.background.work_off()

    ended = shop.status(begun)
    assert (ended["status"], ended["details"]["code"]) == ("FAILED", "RemoteExecutionError")
    assert f"the function fail ({fail})" in ended["details"]["description"]
    assert "ValueError: there is no data" in ended["details"]["description"]
    good, bad = ended["details"]["results"]
    assert good["output"] == 1
    assert "Traceback" in bad["exception"]


def test_a_result_that_only_python_can_read_fails_the_action_and_names_the_function(
    shop: Workshop, agent: TinyAgent
) -> None:
    strange = shop.function(STRANGE)
    begun = shop.run({"endpoint": agent.endpoint_id, "function": strange})
    agent.step()
    shop.background.work_off()

    details = shop.status(begun)["details"]
    assert details["code"] in ("ResultNotJson", "ResultNotSerializable")
    assert f"the function strange ({strange})" in details["description"]


def test_a_lost_task_fails_the_action_with_what_was_lost(shop: Workshop, agent: TinyAgent) -> None:
    begun = shop.run({"endpoint": agent.endpoint_id, "function": shop.function(ADD), "args": [1]})
    [task] = agent.lease()
    error = TaskError("WorkerLost", "The worker was killed: out of memory")
    agent.report([Outcome(task_id=task.task_id, fence=task.fence, state=TaskState.LOST, error=error)])
    shop.background.work_off()

    ended = shop.status(begun)
    assert (ended["status"], ended["details"]["code"]) == ("FAILED", "WorkerLost")
    assert "out of memory" in ended["details"]["description"]


# What is refused


def test_what_the_service_refuses_fails_the_action_in_its_words(shop: Workshop, agent: TinyAgent) -> None:
    add = shop.function(ADD)
    unknown = "d1d1d1d1-0000-4000-8000-000000000000"
    foreign, stopped = TinyAgent(shop.compute, BEN), TinyAgent(shop.compute, ANN)
    seen = TinyAgent(shop.compute, BEN, public=True)
    stopped.leave()
    cases = {
        "unknown function": ({"endpoint": agent.endpoint_id, "function": unknown}, "FUNCTION_NOT_FOUND", unknown),
        "unknown endpoint": ({"endpoint": unknown, "function": add}, "ENDPOINT_NOT_FOUND", unknown),
        "foreign endpoint": ({"endpoint": foreign.endpoint_id, "function": add}, "ENDPOINT_", foreign.endpoint_id),
        "seen endpoint": ({"endpoint": seen.endpoint_id, "function": add}, "ENDPOINT_ACCESS_FORBIDDEN", ""),
        "stopped endpoint": ({"endpoint": stopped.endpoint_id, "function": add}, "ENDPOINT_STOPPED", ""),
    }

    for name, (body, code, words) in cases.items():
        ended = shop.run(body, request_id=name)
        assert ended["status"] == "FAILED", name
        assert ended["details"]["code"].startswith(code), name
        assert words in ended["details"]["description"], name


def test_when_one_endpoint_refuses_the_tasks_of_the_others_are_cancelled(shop: Workshop, agent: TinyAgent) -> None:
    add = shop.function(ADD)
    stopped = TinyAgent(shop.compute, ANN)
    stopped.leave()
    tasks = [{"endpoint": one.endpoint_id, "function": add, "args": [1]} for one in (agent, stopped)]

    ended = shop.run({"tasks": tasks})

    assert (ended["status"], ended["details"]["code"]) == ("FAILED", "ENDPOINT_STOPPED")
    assert agent.step() == 0
    assert [one["state"] for one in shop.compute.list_tasks(ANN)["tasks"]] == ["CANCELLED"]


# Once, and at once


def test_an_action_ends_as_soon_as_its_last_task_does(database: SqlDatabase) -> None:
    shop = Workshop(database, SystemClock())
    agent = TinyAgent(shop.compute, ANN).start()
    shop.background.start()
    try:
        begun = shop.run({"endpoint": agent.endpoint_id, "function": shop.function(ADD), "args": [1]})
        assert shop.ended.wait(8)  # by itself it would look after ten seconds
        assert shop.status(begun)["details"]["result"] == [1]
    finally:
        agent.stop()
        shop.background.stop()


def test_tasks_that_end_before_run_is_recorded_wake_the_action_all_the_same(
    shop: Workshop, agent: TinyAgent, clock: VirtualClock
) -> None:
    keep = shop.actions.carrier.keep

    def quick(*arguments: Any, **options: Any) -> Any:
        agent.step()
        return keep(*arguments, **options)

    shop.actions.carrier.keep = quick  # type: ignore[method-assign]  # the agent is faster than our commit
    begun = shop.run({"endpoint": agent.endpoint_id, "function": shop.function(ADD), "args": [1]})
    shop.actions.carrier.keep = keep  # type: ignore[method-assign]

    assert shop.background.work_off() == 1
    assert shop.status(begun)["details"]["result"] == [1]


def test_a_run_that_is_repeated_after_a_crash_submits_nothing_twice(
    shop: Workshop, agent: TinyAgent, database: SqlDatabase, clock: VirtualClock
) -> None:
    other = TinyAgent(shop.compute, ANN)
    add = shop.function(ADD)
    tasks = [{"endpoint": one.endpoint_id, "function": add, "args": [1]} for one in (agent, other)]

    def dies(*_arguments: Any, **_options: Any) -> Any:
        raise Died

    shop.actions.carrier.keep = dies  # type: ignore[method-assign]  # the process ends before it can commit
    with pytest.raises(Died):
        shop.run({"tasks": tasks})
    clock.advance(31)
    after = Workshop(database, clock)
    assert after.background.work_off() == 1

    begun = after.run({"tasks": tasks})
    assert len(after.tasks(begun)) == 2
    assert (agent.step(), other.step()) == (1, 1)
    after.background.work_off()
    assert after.status(begun)["details"]["result"] == [1, 1]


def test_news_that_nobody_heard_is_found_later(shop: Workshop, agent: TinyAgent, clock: VirtualClock) -> None:
    begun = shop.run({"endpoint": agent.endpoint_id, "function": shop.function(ADD), "args": [1]})
    shop.actions.nudge = lambda _ids: None  # type: ignore[method-assign]  # the process died between commit and nudge
    agent.step()
    assert shop.background.work_off() == 0

    clock.advance(10)

    assert shop.background.work_off() == 1
    assert shop.status(begun)["status"] == "SUCCEEDED"


# Ending it early


def test_cancel_cancels_the_tasks(shop: Workshop, agent: TinyAgent) -> None:
    begun = shop.run({"endpoint": agent.endpoint_id, "function": shop.function(ADD), "args": [1]})

    ended = shop.actions.cancel("compute", begun["action_id"], ANN)

    assert (ended["status"], ended["details"]["code"]) == ("FAILED", "Canceled")
    [task_id] = shop.tasks(begun)
    assert shop.compute.get_task(ANN, task_id)["state"] == "CANCELLED"
    assert agent.step() == 0
    assert shop.background.work_off() == 0


def test_a_deadline_cancels_the_tasks(shop: Workshop, agent: TinyAgent, clock: VirtualClock) -> None:
    body = {"endpoint": agent.endpoint_id, "function": shop.function(ADD), "args": [1]}
    begun = shop.run(body, deadline="2026-01-01T00:01:00Z")
    clock.advance(60)
    shop.background.work_off()

    assert shop.status(begun)["details"]["code"] == "DeadlineExceeded"
    assert [one["state"] for one in shop.compute.list_tasks(ANN)["tasks"]] == ["CANCELLED"]


def test_tasks_that_are_cancelled_at_the_service_end_the_action(shop: Workshop, agent: TinyAgent) -> None:
    begun = shop.run({"endpoint": agent.endpoint_id, "function": shop.function(ADD), "args": [1]})

    shop.compute.cancel_group(ANN, begun["details"]["task_group_id"])

    assert shop.background.work_off() == 1
    assert (shop.status(begun)["status"], shop.status(begun)["details"]["code"]) == ("FAILED", "Cancelled")


def test_an_endpoint_that_is_deleted_ends_the_action(shop: Workshop, agent: TinyAgent) -> None:
    begun = shop.run({"endpoint": agent.endpoint_id, "function": shop.function(ADD), "args": [1]})

    shop.compute.delete_endpoint(ANN, agent.endpoint_id)
    shop.compute.sweep()

    assert shop.background.work_off() == 1
    assert (shop.status(begun)["status"], shop.status(begun)["details"]["code"]) == ("FAILED", "EndpointDeleted")
