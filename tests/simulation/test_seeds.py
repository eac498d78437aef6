"""Many worlds, each from one seed: random crashes and provider faults, several runs at once, cancels and resumes.

A seed that ever failed is kept in seeds.txt and runs for ever. ``FLOWS_SEEDS=2000`` tries more.
"""

from __future__ import annotations

import os
import random
from pathlib import Path

import pytest

from flows_engine.store.db import SqlDatabase
from tests.simulation.shapes import SHAPES
from tests.simulation.world import World

_KEPT = [int(line) for line in (Path(__file__).parent / "seeds.txt").read_text().split() if line.isdecimal()]
_COUNT = int(os.environ.get("FLOWS_SEEDS", "60"))


@pytest.mark.parametrize("seed", [*_KEPT, *range(_COUNT)])
def test_every_world_comes_to_rest_as_it_must(seed: int) -> None:
    choose = random.Random(seed)
    world = World(SqlDatabase("sqlite:///:memory:"), seed, crash_rate=0.06, fault_rate=0.15)
    world.providers.local = choose.random() < 0.5
    versions = {name: world.deploy(shape.definition) for name, shape in SHAPES.items()}
    started: dict[str, str] = {}
    canceled: set[str] = set()
    for _ in range(8):
        name = choose.choice(list(SHAPES))
        run_id = world.start(versions[name], SHAPES[name].input or {})
        if world.exists(run_id):
            started[run_id] = name
        for _ in range(choose.randrange(4)):
            world.round()
        world.clock.advance(choose.choice([0, 0, 1, 30]))
        if started and choose.random() < 0.15:
            victim = choose.choice(list(started))
            world.cancel(victim)
            canceled.add(victim)
    world.settle()
    for run_id, name in started.items():
        shape = SHAPES[name]
        mine = [entry for entry in world.providers.ledger.values() if entry.run_id == run_id]
        if run_id in canceled:
            assert world.run(run_id)["status"] in ("FAILED", "SUCCEEDED")
        elif shape.actions is not None:
            assert world.run(run_id)["status"] == shape.status, (name, world.run(run_id))
            assert len(mine) == shape.actions, name
    assert {entry.run_id for entry in world.providers.ledger.values()} <= set(started)
    world.check()
