"""A crash at any named point, on both databases: every run ends as it must, every action is started once."""

from __future__ import annotations

import pytest

from flows_engine.crashpoints import POINTS
from flows_engine.store.db import SqlDatabase
from tests.simulation.shapes import SHAPES, Shape
from tests.simulation.world import World

#: Points that only a real process passes; the end-to-end test kills it there.
_ONLY_IN_A_PROCESS = {
    "lease.before_renew",
    "lease.after_renew",
    "stop.before_give_back",
    "stop.after_give_back",
    "start_run.after_commit",
    "cancel.after_commit",
    "resume.after_commit",
}

_IN_PROCESS = [point for point in POINTS if point not in _ONLY_IN_A_PROCESS]


def _drive(world: World, shape: Shape, point: str | None) -> str | None:
    """Run the shape with one crash at ``point``; None when the run never came to be."""
    version = world.deploy(shape.definition)
    world.crash_at = point
    run_id = world.start(version, shape.input or {})
    if not world.exists(run_id):
        return None
    if shape.actions is None:
        world.round()
        world.round()
        world.clock.advance(50)
        world.cancel(run_id)
        if world.run(run_id)["status"] != "FAILED":
            world.cancel(run_id)  # the first request died before its commit; its sender would ask again
    world.settle()
    return run_id


@pytest.mark.parametrize("shape", SHAPES.values(), ids=SHAPES)
def test_a_crash_at_any_point_loses_nothing_and_repeats_nothing(database: SqlDatabase, shape: Shape) -> None:
    for seed, point in enumerate([None, *_IN_PROCESS]):
        world = World(database, seed)
        run_id = _drive(world, shape, point)
        if run_id is None:
            assert world.providers.ledger == {}, point
            continue
        assert world.run(run_id)["status"] == shape.status, point
        mine = [entry for entry in world.providers.ledger.values() if entry.run_id == run_id]
        if shape.actions is None:
            assert all(entry.canceled for entry in mine), point
        else:
            assert len(mine) == shape.actions, point
        world.check()


def test_the_sweep_passes_every_point(tmp_path: object) -> None:
    world = World(SqlDatabase("sqlite:///:memory:"), seed=2)
    for shape in SHAPES.values():
        _drive(world, shape, None)
    inactive = world.deploy(
        {
            "StartAt": "A",
            "States": {"A": SHAPES["one action"].definition["States"]["A"] | {"Parameters": {"inactive": True}}},
        }
    )
    run_id = world.start(inactive, {})
    world.settle(until_s=3600)
    assert world.run(run_id)["status"] == "INACTIVE"
    world.resume(run_id)
    world.settle()
    assert world.run(run_id)["status"] == "SUCCEEDED"
    assert world.passed == set(_IN_PROCESS)
    world.check()
