"""Everybody at once: no deadlock, no task lost or ended twice, and no reader who misses a result."""

from __future__ import annotations

import random
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest
from sqlalchemy import func, select

from compute_agent.service.tables import payloads, task_groups, tasks, users
from flows_engine.store.db import SqlDatabase
from schemas.errors import ServiceError
from tests.conformance.compute.service_world import ALICE, BOB, Agent, World, given_back, lost, succeeded

ROUNDS = 12
BATCH = 8


@pytest.fixture
def world(database: SqlDatabase) -> Iterator[World]:
    world = World(database)
    yield world
    world.service.news.close()


def test_submitting_leasing_reporting_and_cancelling_at_once_loses_nothing(world: World) -> None:
    agents = [Agent(world, users=[BOB.urn]), Agent(world, users=[BOB.urn])]
    functions = [world.function(public=True), world.function(public=True, on_loss="requeue", max_requeues=1)]
    # Both endpoints work for both groups, and both people for both endpoints: every pair of locks is contended.
    people = {world.submit(agents[0].endpoint_id, functions[0], caller=caller)[0]: caller for caller in (ALICE, BOB)}
    stopped = threading.Event()
    held: dict[str, list[str]] = {agent.endpoint_id: [] for agent in agents}
    submitted: dict[str, list[str]] = {group_id: [] for group_id in people}

    def submit(group_id: str, seed: int) -> None:
        chance = random.Random(seed)
        for _ in range(ROUNDS):
            endpoint_id, function_id = chance.choice(agents).endpoint_id, chance.choice(functions)
            _, ids = world.submit(endpoint_id, function_id, BATCH, caller=people[group_id], task_group_id=group_id)
            submitted[group_id] += ids

    def serve(agent: Agent, seed: int) -> None:
        chance = random.Random(seed)
        while not stopped.is_set():
            leased = agent.lease(BATCH, wait=0.2, hears=chance.random() > 0.1)
            held[agent.endpoint_id] = [task.task_id for task in leased]
            agent.report(running=held[agent.endpoint_id][::2])
            outcomes = [chance.choice([succeeded, succeeded, lost, given_back])(task) for task in leased]
            agent.report(*outcomes)
            agent.report(*outcomes)

    def beat(agent: Agent) -> None:
        agent.heartbeat(held[agent.endpoint_id])

    def cancel(group_id: str, seed: int) -> None:
        ids = submitted[group_id]
        if ids:
            world.service.cancel_tasks(people[group_id], random.Random(seed).sample(ids, min(3, len(ids))))

    def read(group_id: str) -> None:
        after = 0
        while True:
            found = world.service.wait_for_results(people[group_id], group_id, after=after, limit=7, wait_s=0.2)
            seen[group_id] += [one["task_id"] for one in found["results"]]
            after = found["marker"]
            if stopped.is_set() and not found["results"]:
                return

    def until_stopped(chore: Callable[[], object]) -> None:
        while not stopped.wait(0.005):
            chore()

    seen: dict[str, list[str]] = {group_id: [] for group_id in people}
    with ThreadPoolExecutor(16) as pool:
        try:
            submitting = [pool.submit(submit, group_id, seed) for seed, group_id in enumerate([*people, *people])]
            working = [pool.submit(serve, agent, seed) for seed, agent in enumerate(agents)]
            working += [pool.submit(until_stopped, lambda agent=agent: beat(agent)) for agent in agents]
            working += [
                pool.submit(until_stopped, lambda group_id=group_id: cancel(group_id, len(seen[group_id])))
                for group_id in people
            ]
            working += [pool.submit(until_stopped, world.service.sweep)]
            working += [pool.submit(read, group_id) for group_id in people]
            for one in submitting:
                one.result(60)
            for group_id, caller in people.items():
                after = 0
                while (found := world.service.wait_for_results(caller, group_id, after=after, wait_s=5))["unfinished"]:
                    after = found["marker"]
                    assert not any(one.done() for one in working), [one for one in working if one.done()]
        finally:
            stopped.set()
        for one in working:
            one.result(60)
    for group_id, caller in people.items():
        everything = [one["id"] for one in world.service.get_task_group(caller, group_id)["tasks"]]
        assert set(submitted[group_id]) < set(everything)
        assert Counter(seen[group_id]) == Counter(everything)
    assert_counts_are_right(world)


def test_deleting_an_endpoint_while_others_use_it_ends_every_task(world: World) -> None:
    agent, function_id = Agent(world), world.function()
    group_id, _ = world.submit(agent.endpoint_id, function_id)
    begun = threading.Barrier(4)

    def until_gone(call: Callable[[], object]) -> str:
        begun.wait(10)
        while True:
            try:
                call()
            except ServiceError as error:
                return error.code

    with ThreadPoolExecutor(4) as pool:
        users_ = [
            pool.submit(until_gone, lambda: world.submit(agent.endpoint_id, function_id, 4, task_group_id=group_id)),
            pool.submit(until_gone, lambda: agent.report(*map(succeeded, agent.lease(3)))),
            pool.submit(until_gone, agent.heartbeat),
        ]
        begun.wait(10)
        world.service.wait_for_results(ALICE, group_id, wait_s=5)
        world.service.delete_endpoint(ALICE, agent.endpoint_id)
        assert {one.result(30) for one in users_} == {"ENDPOINT_NOT_FOUND"}
    assert world.service.results(ALICE, group_id)["unfinished"] == 0
    assert_counts_are_right(world)


def assert_counts_are_right(world: World) -> None:
    with world.db.read() as tx:
        assert tx.scalar(select(func.sum(users.c.unfinished))) == 0
        assert tx.scalar(select(func.sum(task_groups.c.unfinished))) == 0
        assert tx.scalar(select(func.count()).select_from(payloads)) == 0
        assert tx.scalar(select(func.count()).where(tasks.c.held_by.is_not(None))) == 0
        for group_no, finished_no in tx.execute(select(task_groups.c.group_no, task_groups.c.finished_no)).all():
            numbers = select(tasks.c.finish_no).where(tasks.c.group_no == group_no).order_by(tasks.c.finish_no)
            assert list(tx.scalars(numbers)) == list(range(1, finished_no + 1))
