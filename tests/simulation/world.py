"""One seed is one world: virtual clock, scripted providers, a real SQLite database, crashes at any named point.

A crash drops the worker with everything it had in memory and rolls back what it had not committed, as ``kill -9`` would.
"""

from __future__ import annotations

import random
import uuid
from collections.abc import Iterator
from contextlib import contextmanager

from sqlalchemy import insert, select

from flows_engine import crashpoints
from flows_engine.asl.dialects import UNION
from flows_engine.engine.advance import Advance, NewRun
from flows_engine.engine.errands import Errands
from flows_engine.engine.invariants import broken_invariants
from flows_engine.store import work_queue
from flows_engine.store.tables import flow_versions, metadata, runs
from flows_engine.worker import Worker, WorkerSettings
from schemas.json_text import Json, dumps, loads_trusted
from schemas.ports import Database
from schemas.principals import Caller
from schemas.times import from_us
from tests.fakes.clock import VirtualClock
from tests.fakes.providers import ScriptedProviders

OWNER = "5e9c0a3e-0000-4000-8000-000000000001"
NAMESPACE = uuid.UUID("0b6cf6a6-3d7a-4ed8-8f7a-2e6d7f0c1a11")

#: Rounds after which a world that has not come to rest is stuck.
_MAX_ROUNDS = 3000


class SimulatedCrash(BaseException):
    """The process is gone. Not an Exception: nothing in the product may catch it."""


class World:
    def __init__(self, db: Database, seed: int, *, crash_rate: float = 0.0, fault_rate: float = 0.0) -> None:
        metadata.create_all(db.engine)  # type: ignore[attr-defined]  # the port does not show the engine
        self.db = db
        self.clock = VirtualClock()
        self.providers = ScriptedProviders(self.clock, seed=seed, fault_rate=fault_rate)
        self.crashes: list[str] = []
        self.passed: set[str] = set()
        self.crash_at: str | None = None
        self._random = random.Random(seed)
        self._crash_rate = crash_rate
        self._boot()

    def _boot(self) -> None:
        self.advance = Advance(
            namespace=NAMESPACE, dialect=UNION, clock=self.clock, releases=lambda _url: True, notify=lambda: None
        )
        self.worker = Worker(
            db=self.db,
            clock=self.clock,
            advance=self.advance,
            errands=Errands(
                clock=self.clock,
                directory=self.providers,  # type: ignore[arg-type]  # the same methods, scripted
                caller_of=lambda *_: Caller(identity_id=OWNER, username="owner@example.org"),
            ),
            settings=WorkerSettings(lease_s=20.0, batch=7, max_tries=40 if self._crash_rate else 5),
        )

    # -- use cases, as the API would call them

    def deploy(self, definition: Json) -> int:
        with self.db.begin() as tx:
            values = {
                "flow_id": str(uuid.UUID(int=self._random.getrandbits(128))),
                "definition": dumps(definition),
                "input_schema": "{}",
                "sha256": "",
                "created_at": 0,
            }
            return int(
                tx.execute(insert(flow_versions).values(values).returning(flow_versions.c.version_no)).scalar_one()
            )

    def start(self, version_no: int, value: Json) -> str:
        run_id = str(uuid.UUID(int=self._random.getrandbits(128)))
        new = NewRun(
            run_id=run_id,
            flow_no=1,
            flow_id="f",
            version_no=version_no,
            flow_title="a flow",
            flow_updated_at=0,
            run_owner=f"urn:globus:auth:identity:{OWNER}",
            label=None,
            document={"tags": [], "run_managers": [], "run_monitors": []},
            context={"flow_id": "f", "run_id": run_id},
            input=value,
        )
        with self._may_crash(), self.db.begin() as tx:
            self.advance.start(tx, new)
        return run_id

    def cancel(self, run_id: str) -> None:
        with self._may_crash(), self.db.begin() as tx:
            self.advance.cancel(tx, run_id)

    def resume(self, run_id: str) -> None:
        with self._may_crash(), self.db.begin() as tx:
            self.advance.resume(tx, run_id)

    # -- time

    def round(self) -> bool:
        """One round of the worker; False when nothing is due now."""
        before = len(self.crashes)
        with self._may_crash():
            return self.worker.turn()
        return len(self.crashes) > before  # type: ignore[unreachable]  # the context manager may swallow a crash

    def settle(self, *, until_s: float = 86_400.0 * 30) -> None:
        """Run until nothing is left to do within ``until_s`` of virtual time."""
        end = self.clock.at.timestamp() + until_s
        for _ in range(_MAX_ROUNDS):
            if self.round():
                continue
            with self.db.read() as tx:
                due = work_queue.next_due(tx)
            if due is None or due / 1e6 > end:
                return
            self.clock.move_to(from_us(due))
        raise AssertionError(f"stuck: still busy after {_MAX_ROUNDS} rounds; crashes: {len(self.crashes)}")

    @contextmanager
    def _may_crash(self) -> Iterator[None]:
        crashpoints.arm(self._at_point)
        try:
            yield
        except SimulatedCrash as crash:
            self.crashes.append(str(crash))
            self._boot()
        finally:
            crashpoints.arm(None)

    def _at_point(self, name: str) -> None:
        self.passed.add(name)
        if name == self.crash_at:
            self.crash_at = None
            raise SimulatedCrash(name)
        if self._crash_rate and self._random.random() < self._crash_rate:
            raise SimulatedCrash(name)

    # -- judgement

    def run(self, run_id: str) -> Json:
        with self.db.read() as tx:
            row = tx.execute(select(runs).where(runs.c.run_id == run_id)).one()
        return {"status": row.status, "details": loads_trusted(row.details)}

    def exists(self, run_id: str) -> bool:
        with self.db.read() as tx:
            return tx.execute(select(runs.c.run_no).where(runs.c.run_id == run_id)).one_or_none() is not None

    def check(self) -> None:
        """Every invariant holds, and no provider saw anything it must not see."""
        with self.db.read() as tx:
            assert list(broken_invariants(tx, UNION)) == []
        assert self.providers.violations == []
