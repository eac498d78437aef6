"""Cancelling, and the calls that wait: woken at once by what concerns them, and by nothing else."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from concurrent import futures
from concurrent.futures import Future, ThreadPoolExecutor

import pytest

from compute_agent.service.desk import endpoint_topic, group_topic
from flows_engine.store.db import SqlDatabase
from schemas.errors import ServiceError
from tests.conformance.compute.service_world import ALICE, Agent, World, given_back, succeeded

#: The longest wait that a test asks for; a test that needed it has failed.
LONG_S = 20.0


@pytest.fixture
def world(database: SqlDatabase) -> Iterator[World]:
    world = World(database)
    yield world
    world.service.news.close()


@pytest.fixture
def threads(world: World) -> Iterator[ThreadPoolExecutor]:
    with ThreadPoolExecutor(8) as pool:
        yield pool
        world.service.news.close()


def waiting(world: World, topic: str, pool: ThreadPoolExecutor, call: Callable[[], object]) -> Future:
    """The call's future, once it waits for the topic."""
    future = pool.submit(call)
    until = time.monotonic() + LONG_S
    while world.service.news.listeners(topic) == 0:
        assert time.monotonic() < until
        futures.wait([future], timeout=0.002)
        assert not future.done(), future.result()
    return future


def prompt(future: Future):
    """What the call gives, without waiting out its time."""
    return future.result(LONG_S / 4)


def test_a_submission_wakes_the_agent_that_waits(world: World, threads: ThreadPoolExecutor) -> None:
    agent, function_id = Agent(world), world.function()
    call = waiting(world, endpoint_topic(agent.endpoint_id), threads, lambda: agent.lease(wait=LONG_S))
    _, (task_id,) = world.submit(agent.endpoint_id, function_id)
    assert [task.task_id for task in prompt(call)] == [task_id]


def test_an_outcome_wakes_those_who_wait_for_results(world: World, threads: ThreadPoolExecutor) -> None:
    agent, function_id = Agent(world), world.function()
    group_id, (first, second) = world.submit(agent.endpoint_id, function_id, 2)
    tasks = agent.lease()
    agent.report(succeeded(tasks[0]))
    found = world.service.wait_for_results(ALICE, group_id, wait_s=LONG_S)
    assert [one["task_id"] for one in found["results"]] == [first]
    call = waiting(
        world,
        group_topic(group_id),
        threads,
        lambda: world.service.wait_for_results(ALICE, group_id, after=found["marker"], wait_s=LONG_S),
    )
    agent.report(succeeded(tasks[1]))
    assert [one["task_id"] for one in prompt(call)["results"]] == [second]
    # Nothing is unfinished any more, so there is nothing to wait for.
    marker = call.result()["marker"]
    assert world.service.wait_for_results(ALICE, group_id, after=marker, wait_s=LONG_S)["results"] == []


def test_what_is_given_back_wakes_the_agent(world: World, threads: ThreadPoolExecutor) -> None:
    agent, function_id = Agent(world), world.function()
    world.submit(agent.endpoint_id, function_id)
    (task,) = agent.lease()
    call = waiting(world, endpoint_topic(agent.endpoint_id), threads, lambda: agent.lease(wait=LONG_S))
    agent.report(given_back(task))
    assert [one.task_id for one in prompt(call)] == [task.task_id]


def test_a_newer_session_ends_the_wait_of_the_older(world: World, threads: ThreadPoolExecutor) -> None:
    agent = Agent(world)
    call = waiting(world, endpoint_topic(agent.endpoint_id), threads, lambda: agent.lease(wait=LONG_S))
    Agent(world, agent.endpoint_id)
    with pytest.raises(ServiceError, match="another agent took over"):
        prompt(call)


def test_a_repeated_lease_takes_the_place_of_the_one_that_nobody_hears(
    world: World, threads: ThreadPoolExecutor
) -> None:
    agent, function_id = Agent(world), world.function()
    unheard = waiting(world, endpoint_topic(agent.endpoint_id), threads, lambda: agent.lease(wait=LONG_S, hears=False))
    agent.lease()
    world.submit(agent.endpoint_id, function_id)
    prompt(unheard)
    assert len(agent.lease()) == 1


def test_closing_ends_every_wait(world: World, threads: ThreadPoolExecutor) -> None:
    agent = Agent(world)
    call = waiting(world, endpoint_topic(agent.endpoint_id), threads, lambda: agent.lease(wait=LONG_S))
    world.service.news.close()
    assert prompt(call) == []
    assert agent.lease(wait=LONG_S) == []


def test_a_cancelled_task_that_nobody_has_ends_at_once(world: World) -> None:
    agent, function_id = Agent(world), world.function()
    group_id, (first, second) = world.submit(agent.endpoint_id, function_id, 2)
    assert world.service.cancel_tasks(ALICE, [first]) == {first: "CANCELLED"}
    document = world.service.get_task(ALICE, first)
    assert (document["status"], document["error"]["code"]) == ("failed", "Cancelled")
    assert [task.task_id for task in agent.lease()] == [second]
    assert agent.last["cancel"] == []
    assert world.finished == [group_id]


def test_the_agent_that_has_a_cancelled_task_hears_of_it_and_its_outcome_is_refused(
    world: World, threads: ThreadPoolExecutor
) -> None:
    agent, function_id = Agent(world), world.function()
    _, (task_id,) = world.submit(agent.endpoint_id, function_id)
    (task,) = agent.lease()
    agent.report(running=[task_id])
    call = waiting(world, endpoint_topic(agent.endpoint_id), threads, lambda: agent.lease(wait=LONG_S))
    assert world.service.cancel_tasks(ALICE, [task_id]) == {task_id: "CANCELLED"}
    prompt(call)
    assert agent.last["cancel"] == [task_id]
    assert agent.heartbeat([task_id])["cancel"] == [task_id]
    assert agent.report(succeeded(task))["refused"] == {task_id: "the task was cancelled"}
    agent.lease()
    assert agent.last["cancel"] == []


def test_a_cancel_is_told_again_when_its_answer_was_lost(world: World) -> None:
    agent, function_id = Agent(world), world.function()
    _, (task_id,) = world.submit(agent.endpoint_id, function_id)
    agent.lease()
    world.service.cancel_tasks(ALICE, [task_id])
    agent.lease(hears=False)
    agent.lease()
    assert agent.last["cancel"] == [task_id]


def test_cancelling_a_group_spares_what_has_ended(world: World) -> None:
    agent, function_id = Agent(world), world.function()
    group_id, (done, leased, queued) = world.submit(agent.endpoint_id, function_id, 3)
    first, _ = agent.lease(2)
    agent.report(succeeded(first))
    assert world.service.cancel_group(ALICE, group_id) == {leased: "CANCELLED", queued: "CANCELLED"}
    assert world.service.cancel_group(ALICE, group_id) == {}
    assert world.service.cancel_tasks(ALICE, [done, leased]) == {done: "SUCCEEDED", leased: "CANCELLED"}
    found = world.service.results(ALICE, group_id)
    assert ([one["state"] for one in found["results"]], found["unfinished"]) == (
        ["SUCCEEDED", "CANCELLED", "CANCELLED"],
        0,
    )


def test_results_are_forgotten_after_their_time_and_quotas_stay_right(world: World) -> None:
    agent, function_id = Agent(world), world.function()
    group_id, (old, new) = world.submit(agent.endpoint_id, function_id, 2)
    first, second = agent.lease()
    agent.report(succeeded(first))
    world.clock.advance(world.service.settings.results_kept_s)
    agent.heartbeat([new])
    agent.report(succeeded(second))
    world.clock.advance(1)
    assert world.service.sweep() == 1
    assert [one["task_id"] for one in world.service.results(ALICE, group_id)["results"]] == [new]
    world.clock.advance(world.service.settings.results_kept_s)
    assert world.service.sweep() == 1
    with pytest.raises(ServiceError, match=group_id):
        world.service.results(ALICE, group_id)
    assert world.service.get_tasks(ALICE, [old])[old]["reason"] == "TASK_NOT_FOUND"
