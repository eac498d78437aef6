"""Sessions of agents: lost answers, restarts, silence, two agents at once. No task is lost without a word or run twice."""

from __future__ import annotations

import pytest

from compute_agent.wire import TaskState
from flows_engine.store.db import SqlDatabase
from schemas.errors import ServiceError
from tests.conformance.compute.service_world import ALICE, Agent, World, given_back, succeeded

LEASE_S = 75


@pytest.fixture
def world(database: SqlDatabase) -> World:
    return World(database, lease_s=LEASE_S)


def refusal(call) -> tuple[int, str]:
    with pytest.raises(ServiceError) as caught:
        call()
    return caught.value.status, caught.value.code


def test_tasks_whose_answer_was_lost_on_the_way_are_given_again(world: World) -> None:
    agent, function_id = Agent(world), world.function()
    _, (task_id,) = world.submit(agent.endpoint_id, function_id)
    agent.lease(hears=False)
    assert world.state(task_id) == "LEASED"
    (task,) = agent.lease()
    assert task.task_id == task_id
    assert task.fence > 1
    assert agent.lease() == []
    assert world.state(task_id) == "LEASED"


def test_a_task_whose_answer_was_lost_is_given_again_although_a_late_report_says_that_it_runs(world: World) -> None:
    """It means the leasing before, which was given back."""
    agent = Agent(world)
    _, (task_id,) = world.submit(agent.endpoint_id, world.function())
    (task,) = agent.lease()
    agent.report(given_back(task))
    agent.lease(hears=False)
    agent.report(running=[task_id])
    assert [one.task_id for one in agent.lease()] == [task_id]


def test_what_an_agent_never_got_is_not_lost_when_it_leaves(world: World) -> None:
    agent = Agent(world)
    _, (had,) = world.submit(agent.endpoint_id, world.function())
    agent.lease()
    _, (never_got,) = world.submit(agent.endpoint_id, world.function())
    agent.lease(hears=False)
    agent.leave()
    assert (world.state(had), world.state(never_got)) == ("LOST", "QUEUED")


def test_a_restarted_agent_has_not_what_its_journal_holds_of_an_earlier_leasing_alone(world: World) -> None:
    """It was killed after giving the task back, and was to get it again."""
    first = Agent(world, agent={"journal_id": "j", "held": {}})
    _, (task_id,) = world.submit(first.endpoint_id, world.function())
    (task,) = first.lease()
    first.report(given_back(task))
    first.lease(hears=False)
    second = Agent(world, first.endpoint_id, agent={"journal_id": "j", "held": {task_id: task.fence}})
    assert second.report(given_back(task))["accepted"] == [task_id]
    assert [one.task_id for one in second.lease()] == [task_id]


def test_answers_to_lease_carry_rising_numbers_within_a_session(world: World) -> None:
    agent = Agent(world)
    numbers = []
    for _ in range(3):
        agent.lease()
        numbers.append(agent.last["batch"])
    assert numbers == [1, 2, 3]


def test_a_newer_registration_ends_the_session_before(world: World) -> None:
    first, function_id = Agent(world), world.function()
    second = Agent(world, first.endpoint_id)
    world.submit(first.endpoint_id, function_id)
    for call in (first.lease, first.heartbeat, first.report, first.leave):
        assert refusal(call) == (409, "SESSION_ENDED")
    assert len(second.lease()) == 1


def test_what_the_restarted_agent_still_has_stays_with_it(world: World) -> None:
    first, function_id = Agent(world, agent={"journal_id": "j", "held": {}}), world.function()
    _, task_ids = world.submit(first.endpoint_id, function_id, 2)
    kept, never_arrived = first.lease()
    second = Agent(world, first.endpoint_id, agent={"journal_id": "j", "held": {kept.task_id: kept.fence}})
    assert (world.state(kept.task_id), world.state(never_arrived.task_id)) == ("LEASED", "QUEUED")
    assert second.report(succeeded(kept))["accepted"] == [kept.task_id]
    assert [task.task_id for task in second.lease()] == [never_arrived.task_id]
    assert set(task_ids) == {kept.task_id, never_arrived.task_id}


@pytest.mark.parametrize("said", [{}, {"agent": {"journal_id": "other", "held": {}}}], ids=["no journal", "another"])
def test_without_its_journal_a_restarted_agent_has_lost_its_tasks(world: World, said: dict) -> None:
    first = Agent(world, agent={"journal_id": "j", "held": {}})
    _, (reported,) = world.submit(first.endpoint_id, world.function())
    _, (queued_again,) = world.submit(first.endpoint_id, world.function(on_loss="requeue"))
    first.lease()
    Agent(world, first.endpoint_id, **said)
    assert world.service.get_task(ALICE, reported)["error"]["code"] == "AgentLost"
    assert world.state(queued_again) == "QUEUED"


def test_an_agent_that_falls_silent_loses_its_tasks_when_their_lease_runs_out(world: World) -> None:
    agent = Agent(world)
    group_id, (reported,) = world.submit(agent.endpoint_id, world.function())
    _, (queued_again,) = world.submit(agent.endpoint_id, world.function(on_loss="requeue"))
    agent.lease()
    world.clock.advance(LEASE_S - 1)
    assert world.service.sweep() == 0
    world.clock.advance(1)
    assert world.service.sweep() == 2
    assert world.service.get_task(ALICE, reported)["state"] == "LOST"
    assert "75 s" in world.service.get_task(ALICE, reported)["exception"]
    assert world.finished == [group_id]
    assert world.state(queued_again) == "QUEUED"
    (task,) = agent.lease()
    assert (task.task_id, task.fence) == (queued_again, 3)


def test_heartbeats_keep_what_they_name_and_lose_what_they_do_not(world: World) -> None:
    agent = Agent(world)
    _, (named, unnamed) = world.submit(agent.endpoint_id, world.function(), 2)
    agent.lease()
    for _ in range(4):
        agent.heartbeat([named])
        world.clock.advance(30)
        world.service.sweep()
    assert (world.state(named), world.state(unnamed)) == ("LEASED", "LOST")


def test_a_task_that_one_heartbeat_missed_is_kept_when_the_next_names_it(world: World) -> None:
    agent = Agent(world)
    _, (task_id,) = world.submit(agent.endpoint_id, world.function())
    agent.lease()
    for held in ([task_id], [], [task_id], [], [task_id]):
        agent.heartbeat(held)
        world.clock.advance(LEASE_S - 1)
        world.service.sweep()
    assert world.state(task_id) == "LEASED"


def test_leasing_alone_renews_no_lease(world: World) -> None:
    agent = Agent(world)
    _, (task_id,) = world.submit(agent.endpoint_id, world.function())
    for _ in range(4):
        agent.lease()
        world.clock.advance(30)
    world.service.sweep()
    assert world.state(task_id) == "LOST"


def test_a_heartbeat_hears_which_of_its_tasks_are_not_its_own(world: World) -> None:
    agent = Agent(world)
    _, (lost, cancelled, held) = world.submit(agent.endpoint_id, world.function(), 3)
    agent.lease()
    world.clock.advance(LEASE_S)
    agent.heartbeat([cancelled, held])
    world.service.cancel_tasks(ALICE, [cancelled])
    answer = agent.heartbeat([lost, cancelled, held])
    assert answer == {"cancel": [cancelled], "unknown": [lost], "stop": False}


def test_after_the_service_was_away_agents_have_their_time_again(world: World) -> None:
    agent = Agent(world)
    _, (task_id,) = world.submit(agent.endpoint_id, world.function())
    (task,) = agent.lease()
    world.clock.advance(10 * LEASE_S)
    world.service.on_start()
    assert world.service.sweep() == 0
    agent.heartbeat([task_id])
    assert agent.report(succeeded(task))["accepted"] == [task_id]


def test_an_agent_that_leaves_in_order_settles_what_it_still_holds(world: World) -> None:
    agent = Agent(world)
    _, (reported,) = world.submit(agent.endpoint_id, world.function())
    _, (queued_again,) = world.submit(agent.endpoint_id, world.function(on_loss="requeue"))
    agent.lease()
    agent.leave()
    agent.leave()  # its answer may have been lost
    assert (world.state(reported), world.state(queued_again)) == ("LOST", "QUEUED")
    assert refusal(agent.lease) == (409, "SESSION_ENDED")
    assert refusal(lambda: world.submit(agent.endpoint_id, world.function())) == (409, "ENDPOINT_STOPPED")
    assert len(Agent(world, agent.endpoint_id).lease()) == 1


def test_a_session_knows_no_tasks_of_other_endpoints(world: World) -> None:
    mine, other = Agent(world), Agent(world)
    _, (task_id,) = world.submit(other.endpoint_id, world.function())
    (task,) = other.lease()
    assert list(mine.report(succeeded(task), running=[task_id])["refused"]) == [task_id]
    assert mine.heartbeat([task_id])["unknown"] == [task_id]
    assert world.state(task_id) == TaskState.LEASED


def test_an_endpoint_is_online_while_its_agent_is_heard(world: World) -> None:
    agent = Agent(world)
    agent.heartbeat(total_workers=4, idle_workers=1)
    status = world.service.endpoint_status(ALICE, agent.endpoint_id)
    assert status["status"] == "online"
    assert (status["details"]["total_workers"], status["details"]["managers"]) == (4, 0)
    world.clock.advance(76)
    assert world.service.endpoint_status(ALICE, agent.endpoint_id)["status"] == "offline"
    world.submit(agent.endpoint_id, world.function())  # an agent that is merely away will find it
    agent.lease()
    assert world.service.endpoint_status(ALICE, agent.endpoint_id)["status"] == "online"


def test_a_locked_endpoint_is_told_to_stop_and_takes_no_other_agent_for_a_while(world: World) -> None:
    agent, function_id = Agent(world), world.function()
    _, (running, waiting) = world.submit(agent.endpoint_id, function_id, 2)
    (task,) = agent.lease(1)
    answer = world.service.lock_endpoint(ALICE, agent.endpoint_id)
    assert answer["lock_expiration_timestamp"].startswith("2026-01-01T00:01:00")
    assert agent.heartbeat([running])["stop"] is True
    assert agent.lease() == []
    assert agent.report(succeeded(task))["accepted"] == [running]
    assert refusal(lambda: Agent(world, agent.endpoint_id)) == (423, "ENDPOINT_LOCKED")
    assert refusal(lambda: world.submit(agent.endpoint_id, function_id)) == (409, "ENDPOINT_STOPPED")
    agent.leave()
    world.clock.advance(60)
    assert [one.task_id for one in Agent(world, agent.endpoint_id).lease()] == [waiting]


def test_a_deleted_endpoint_ends_its_tasks_and_is_gone(world: World) -> None:
    agent, function_id = Agent(world), world.function()
    group_id, task_ids = world.submit(agent.endpoint_id, function_id, 3)
    agent.lease(1)
    assert world.service.delete_endpoint(ALICE, agent.endpoint_id) == {"result": 302}
    documents = world.service.get_tasks(ALICE, task_ids)
    assert {one["error"]["code"] for one in documents.values()} == {"EndpointDeleted"}
    assert {one["endpoint_id"] for one in documents.values()} == {agent.endpoint_id}
    assert world.service.results(ALICE, group_id)["unfinished"] == 0
    assert world.service.list_endpoints(ALICE) == []
    for call in (agent.lease, agent.heartbeat, lambda: Agent(world, agent.endpoint_id)):
        assert refusal(call) == (404, "ENDPOINT_NOT_FOUND")
    assert refusal(lambda: world.submit(agent.endpoint_id, function_id)) == (404, "ENDPOINT_NOT_FOUND")


def test_lease_call_that_was_held_up_on_the_way_takes_nothing_back(world: World) -> None:
    """Its tasks were leased by the call after it, whose answer arrived."""
    agent = Agent(world)
    world.submit(agent.endpoint_id, world.function())
    late = {"session": agent.session, "call": 1, "limit": 1, "received": 0}
    (task,) = agent.lease(call=2)

    with pytest.raises(ServiceError) as refused:
        world.service.lease(agent.caller, agent.endpoint_id, late)

    assert (refused.value.status, refused.value.code) == (409, "STALE_CALL")
    assert agent.report(succeeded(task))["accepted"] == [task.task_id]
