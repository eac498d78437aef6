"""The judges are judged: an engine that breaks one of its own rules must be caught by the simulated worlds.

Every mutant breaks one rule that keeps runs from being lost, doubled or moved backwards. A mutant that survives means
that the worlds have gone blind. Besides, here is the world in which workers freeze: in the middle of a call everything a
worker holds is taken over by another one, and then it goes on as if nothing had happened.
"""

from __future__ import annotations

import uuid
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import pytest
from sqlalchemy import Connection, bindparam, delete, select, update

from flows_engine.actions.answers import Answer, Errand
from flows_engine.asl.dialects import UNION
from flows_engine.asl.run import RunState
from flows_engine.crashpoints import crashpoint
from flows_engine.engine.advance import Advance, Result
from flows_engine.store import runs as stored_runs
from flows_engine.store import work_queue
from flows_engine.store.runs import RunRow, SavedRun
from flows_engine.store.tables import runs, work
from flows_engine.store.work_queue import NewWork, WorkItem
from schemas.json_text import dumps, loads
from tests.fakes.providers import ScriptedProviders
from tests.simulation import test_seeds
from tests.simulation.world import NAMESPACE, World

#: Seeds within which every mutant must be caught. Each is one in ten that the worlds of test_seeds try by default.
_PATIENCE = 40

#: Seeds of the freezing world that the engine itself must survive.
_FREEZING_SEEDS = 25

_LEASE_S = 20.0


class WatchingAdvance(Advance):
    """Counts the results that came too late: somebody else had taken the item over."""

    rejected = 0

    def feed(self, tx: Connection, *, owner: str, results: Sequence[Result], **more: Any) -> list[WorkItem]:
        columns = (work.c.work_no, work.c.fence)
        held = {tuple(row) for row in tx.execute(select(*columns).where(work.c.owner == owner))}
        self.rejected += sum((one.item.work_no, one.item.fence) not in held for one in results)
        return super().feed(tx, owner=owner, results=results, **more)


class MutableWorld(World):
    """A world whose engine and providers may be others than the real ones."""

    advance_class: type[Advance] = WatchingAdvance
    providers_class: type[ScriptedProviders] = ScriptedProviders

    def _boot(self) -> None:
        if type(self.providers) is not self.providers_class:
            given = self.providers
            self.providers = self.providers_class(self.clock, seed=given.seed, fault_rate=given.fault_rate)
        super()._boot()
        self.advance = self.advance_class(
            namespace=NAMESPACE, dialect=UNION, clock=self.clock, releases=lambda _url: True, notify=lambda: None
        )
        self.advance.world = self  # type: ignore[attr-defined]  # for the mutants
        self.worker._advance = self.advance


class FreezingProviders(ScriptedProviders):
    """``meanwhile`` happens after a request has had its effect, before the worker that made it has the answer."""

    meanwhile: Callable[[], None]

    def start(self, errand: Errand, request: str, *, waiter: str) -> Answer:
        answer = super().start(errand, request, waiter=waiter)
        self.meanwhile()
        return answer

    def status(self, errand: Errand, action_id: str) -> Answer:
        answer = super().status(errand, action_id)
        self.meanwhile()
        return answer


class FreezingWorld(MutableWorld):
    """Workers freeze for longer than their lease; another one does what it finds, and the frozen one thaws."""

    providers_class = FreezingProviders
    freeze_rate = 0.4
    freezes = 0
    rejected = 0
    _is_frozen = False

    def _boot(self) -> None:
        super()._boot()
        assert isinstance(self.providers, FreezingProviders)
        self.providers.meanwhile = self._meanwhile
        self._is_frozen = False

    def _meanwhile(self) -> None:
        if self._is_frozen or self._random.random() >= self.freeze_rate:
            return
        self.freezes += 1
        frozen, crash_rate = (self.advance, self.worker), self._crash_rate
        self.clock.advance(_LEASE_S + 1)
        super()._boot()
        self._is_frozen, self._crash_rate = True, 0.0
        for _ in range(3):
            self.worker.turn()
        self._is_frozen, self._crash_rate = False, crash_rate
        self.advance, self.worker = frozen

    def round(self) -> bool:
        froze = self.freezes
        busy = super().round()
        if self.freezes > froze:
            self.check()  # at once: what a late writer spoils may be gone at the end
        if isinstance(self.advance, WatchingAdvance):
            self.rejected += self.advance.rejected
            self.advance.rejected = 0
        return busy


# -- mutants


class FreshRequestIdProviders(ScriptedProviders):
    """The request_id is made when the request is sent, not when it is committed."""

    def start(self, errand: Errand, request: str, *, waiter: str) -> Answer:
        return super().start(errand, dumps(loads(request) | {"request_id": str(uuid.uuid4())}), waiter=waiter)


class RecomputedBodyProviders(ScriptedProviders):
    """The body is computed again for each request, and something in it depends on the moment."""

    def start(self, errand: Errand, request: str, *, waiter: str) -> Answer:
        document = loads(request)
        document["body"]["asked_at"] = self.calls
        return super().start(errand, dumps(document), waiter=waiter)


class HastyAdvance(Advance):
    """The provider is called before the transaction that says so is committed."""

    def _write(self, tx: Connection, batch: Any, **more: Any) -> list[WorkItem]:
        for one in batch.work:
            if one.kind == "start":
                errand = Errand(**{key: one.payload[key] for key in ("url", "scope", "flow_id", "run_id")}, caller=None)  # type: ignore[arg-type]  # nobody asks
                self.world.providers.start(errand, one.payload["request"], waiter="")  # type: ignore[attr-defined]  # see MutableWorld
        return super()._write(tx, batch, **more)


class ForgetfulAdvance(Advance):
    """What a step asks for is put into the queue after its commit, in a transaction of its own."""

    _later: Sequence[NewWork] = ()

    def _write(self, tx: Connection, batch: Any, **more: Any) -> list[WorkItem]:
        if more.get("owner") is not None:
            self._later, batch.work = list(batch.work), []
        return super()._write(tx, batch, **more)

    def confirm(self) -> None:
        super().confirm()
        crashpoint("feed.after_commit")
        with self.world.db.begin() as tx:  # type: ignore[attr-defined]  # see MutableWorld
            work_queue.put(tx, self._later)


class TrustingAdvance(Advance):
    """A state in memory is taken for the present one, whatever step the run has come to."""

    @staticmethod
    def _load(
        tx: Connection, locked: Iterable[RunRow], *, cache: Mapping[int, tuple[int, RunState]] | None = None
    ) -> dict[int, RunState]:
        rows = list(locked)
        known = {row.run_no: cache[row.run_no][1] for row in rows if cache and row.run_no in cache}
        return known | Advance._load(tx, [row for row in rows if row.run_no not in known])


def _save_over_anything(tx: Connection, saved: Sequence[SavedRun]) -> None:
    statement = update(runs).where(runs.c.run_no == bindparam("number"))
    for one in saved:
        values = {"step_no": one.step_no, "log_seq": one.log_seq, "status": one.status, "state": dumps(one.state)}
        values |= {"completion_time": one.completion_time}
        values |= {} if one.details is None else {"details": dumps(one.details)}
        tx.execute(statement.values(values), {"number": one.run_no})


def _finish_without_fence(tx: Connection, *, owner: str, items: Sequence[WorkItem]) -> set[int]:
    tx.execute(delete(work).where(work.c.work_no.in_([item.work_no for item in items])))
    return {item.work_no for item in items}


_MUTANTS: dict[str, tuple[type[MutableWorld], dict[str, Any], list[tuple[Any, str, Any]]]] = {
    "a request_id for each request": (MutableWorld, {"providers_class": FreshRequestIdProviders}, []),
    "a body for each request": (MutableWorld, {"providers_class": RecomputedBodyProviders}, []),
    "the effect before the commit": (MutableWorld, {"advance_class": HastyAdvance}, []),
    "the commands after the commit": (MutableWorld, {"advance_class": ForgetfulAdvance}, []),
    "no fence": (FreezingWorld, {}, [(work_queue, "finish", _finish_without_fence)]),
    "no step check": (
        FreezingWorld,
        {"advance_class": TrustingAdvance},
        [(stored_runs, "save", _save_over_anything)],
    ),
}


def _first_caught(monkeypatch: pytest.MonkeyPatch, world: type[MutableWorld]) -> int | None:
    """The first seed in which the worlds of test_seeds find something wrong."""
    monkeypatch.setattr(test_seeds, "World", world)
    for seed in range(_PATIENCE):
        try:
            test_seeds.test_every_world_comes_to_rest_as_it_must(seed)
        except Exception:  # an assertion of the test, or of the database
            return seed
    return None


@pytest.mark.parametrize("name", _MUTANTS)
def test_a_broken_engine_is_caught(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    world, members, patches = _MUTANTS[name]
    for module, function, mutant in patches:
        monkeypatch.setattr(module, function, mutant)
    mutated = type("MutatedWorld", (world,), members)
    assert _first_caught(monkeypatch, mutated) is not None


def test_the_engine_itself_survives_workers_that_freeze(monkeypatch: pytest.MonkeyPatch) -> None:
    worlds: list[FreezingWorld] = []

    class Remembered(FreezingWorld):
        def __init__(self, *arguments: Any, **more: Any) -> None:
            worlds.append(self)
            super().__init__(*arguments, **more)

    monkeypatch.setattr(test_seeds, "World", Remembered)
    for seed in range(_FREEZING_SEEDS):
        test_seeds.test_every_world_comes_to_rest_as_it_must(seed)
    assert sum(world.freezes for world in worlds) > _FREEZING_SEEDS
    assert sum(world.rejected for world in worlds) > _FREEZING_SEEDS
