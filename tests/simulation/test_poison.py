"""Work that can never be done: whatever it does to its worker, its run is set aside and no other run pays for it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest
from sqlalchemy import select, update

from flows_engine.actions.answers import Answer, Errand, Reported
from flows_engine.actions.local import Order
from flows_engine.store.db import SqlDatabase
from flows_engine.store.tables import runs, work
from schemas.action import ActionStatus, Status
from schemas.json_text import loads
from tests.fakes.providers import ScriptedProviders
from tests.simulation.shapes import SHAPES, action
from tests.simulation.world import SimulatedCrash, World

_NEIGHBOURS = 5
_MAX_TRIES = 5

#: A flow that never waits and never ends by itself.
_RESTLESS = {"StartAt": "P", "States": {"P": {"Type": "Pass", "Next": "P"}}}


class VenomousProviders(ScriptedProviders):
    """A body with ``poison`` does harm as long as there is no antidote:

    ``crash``: the process dies; ``raise``: the client fails; ``answer``: the answer is nothing that can be stored.
    """

    antidote = False
    bites = 0

    def start(self, errand: Errand, request: str, *, waiter: str) -> Answer:
        poison = loads(request)["body"].get("poison")
        if poison is None or self.antidote:
            return super().start(errand, request, waiter=waiter)
        self.bites += 1
        if poison == "crash":
            raise SimulatedCrash("a provider's library crashed the process")
        if poison == "raise":
            raise ValueError("a client that cannot be called like this")
        started = super().start(errand, request, waiter=waiter)
        assert isinstance(started, Reported)
        document = {**started.status.document, "details": {"not JSON": object()}}
        return Reported(ActionStatus(started.status.action_id, Status.SUCCEEDED, document))

    def start_many(self, orders: Sequence[Order]) -> list[Answer]:
        return [self.start(order.errand, order.request, waiter=order.waiter) for order in orders]


class VenomousWorld(World):
    providers: VenomousProviders

    def _boot(self) -> None:
        if not isinstance(self.providers, VenomousProviders):
            self.providers = VenomousProviders(self.clock)
        super()._boot()

    def deploy_action(self, **body: Any) -> int:
        return self.deploy({"StartAt": "A", "States": {"A": action(body=body)}})

    def status(self, run_id: str) -> str:
        return str(self.run(run_id)["status"])


@pytest.fixture
def world(database: SqlDatabase) -> VenomousWorld:
    return VenomousWorld(database, seed=1)


@pytest.mark.parametrize("local", [True, False], ids=["built-in", "remote"])
@pytest.mark.parametrize("poison", ["crash", "raise", "answer"])
def test_the_run_is_set_aside_and_its_neighbours_finish(world: VenomousWorld, poison: str, local: bool) -> None:
    world.providers.local = local
    healthy, venomous = world.deploy_action(echo=1), world.deploy_action(poison=poison)
    neighbours = [world.start(healthy, {}) for _ in range(_NEIGHBOURS // 2)]
    victim = world.start(venomous, {})
    neighbours += [world.start(healthy, {}) for _ in range(_NEIGHBOURS - len(neighbours))]
    world.settle()
    assert [world.status(run_id) for run_id in neighbours] == ["SUCCEEDED"] * _NEIGHBOURS
    assert world.status(victim) == "INACTIVE"
    assert world.run(victim)["details"]["code"] == "EngineQuarantine"
    # What fails in company is tried once more alone in the same round, and only where that can be told apart.
    assert _MAX_TRIES <= world.providers.bites <= 2 * _MAX_TRIES
    world.check()

    world.providers.antidote = True
    world.resume(victim)
    world.settle()
    assert world.status(victim) == "SUCCEEDED"
    assert len(world.providers.ledger) == _NEIGHBOURS + 1
    world.check()


@pytest.mark.parametrize("poison", ["raise", "answer"])
def test_neighbours_do_not_even_wait_for_a_failure_that_kills_nobody(world: VenomousWorld, poison: str) -> None:
    healthy, venomous = world.deploy_action(echo=1), world.deploy_action(poison=poison)
    started = world.clock.now()
    world.start(venomous, {})
    neighbours = [world.start(healthy, {}) for _ in range(_NEIGHBOURS)]
    while world.round():
        pass
    assert world.clock.now() == started
    assert [world.status(run_id) for run_id in neighbours] == ["SUCCEEDED"] * _NEIGHBOURS


def test_a_run_that_was_set_aside_can_be_cancelled(world: VenomousWorld) -> None:
    victim = world.start(world.deploy_action(poison="crash"), {})
    world.settle()
    world.cancel(victim)
    world.settle()
    assert world.status(victim) == "FAILED"
    assert world.run(victim)["details"]["code"] == "FlowCanceled"
    world.check()


def test_a_run_whose_state_cannot_be_read_is_set_aside_too(world: VenomousWorld) -> None:
    healthy = world.deploy_action(echo=1)
    victim = world.start(world.deploy_action(seconds=5), {})
    neighbours = [world.start(healthy, {}) for _ in range(_NEIGHBOURS)]
    with world.db.begin() as tx:
        tx.execute(update(runs).where(runs.c.run_id == victim).values(state='{"from": "another time"}'))
    world.settle()
    assert [world.status(run_id) for run_id in neighbours] == ["SUCCEEDED"] * _NEIGHBOURS
    assert world.status(victim) == "INACTIVE"
    assert world.run(victim)["details"]["code"] == "EngineQuarantine"


def test_runs_that_never_rest_do_not_starve_the_others(world: VenomousWorld) -> None:
    restless = world.deploy(_RESTLESS)
    for _ in range(10):  # more than the worker takes in hand at once
        world.start(restless, {})
    for _ in range(5):
        world.round()
    patient = world.start(world.deploy(SHAPES["five in line"].definition), {})
    for _ in range(60):
        world.round()
    assert world.status(patient) == "SUCCEEDED"


def test_nothing_is_started_for_a_run_that_ends_in_the_same_batch(world: VenomousWorld) -> None:
    # One round brings both: the first action has succeeded, so that the second is due, and the whole run is too late.
    definition = SHAPES["five in line"].definition | {"TimeoutSeconds": 60}
    run_id = world.start(world.deploy(definition), {})
    world.clock.advance(61)
    while world.round():
        pass
    assert world.status(run_id) == "FAILED"
    assert len(world.providers.ledger) == 1
    world.check()


def test_a_cancel_is_carried_out_although_its_run_is_released_at_once(world: VenomousWorld) -> None:
    run_id = world.start(world.deploy_action(seconds=1000), {})
    world.round()
    world.cancel(run_id)
    with world.db.begin() as tx:
        world.advance.delete(tx, run_id)
    world.settle()
    assert [entry.canceled for entry in world.providers.ledger.values()] == [True]
    with world.db.read() as tx:
        assert tx.execute(select(work)).all() == []


def test_an_action_that_was_being_started_while_its_run_was_released_is_cancelled(world: VenomousWorld) -> None:
    run_id = world.start(world.deploy_action(seconds=1000), {})
    world.crash_at = "action.after_start"  # the action exists, and nobody here knows
    world.round()
    world.cancel(run_id)
    with world.db.begin() as tx:
        world.advance.delete(tx, run_id)
    world.settle()
    assert [entry.canceled for entry in world.providers.ledger.values()] == [True]
    with world.db.read() as tx:
        assert tx.execute(select(work)).all() == []
