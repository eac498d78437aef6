"""The database goes away, comes back, or does not say whether it committed: nothing is lost, nothing is done twice."""

from __future__ import annotations

import random
import threading
import uuid
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager, suppress

import pytest
from sqlalchemy import Connection
from sqlalchemy.exc import InternalError, OperationalError, SQLAlchemyError
from sqlalchemy.exc import TimeoutError as NoConnectionError

from flows_engine.asl.dialects import UNION
from flows_engine.clock import SystemClock
from flows_engine.engine.errands import Errands
from flows_engine.engine.invariants import broken_invariants
from flows_engine.store.db import SqlDatabase
from flows_engine.store.installation import open_installation
from flows_engine.store.tables import metadata
from flows_engine.worker import Worker, WorkerSettings
from schemas.principals import Caller
from tests.conftest import missing
from tests.integration.test_workers_race import House, SharedProviders, advance_of, wait_until
from tests.postgres import PostgresMissing, PostgresServer
from tests.simulation.shapes import SHAPES
from tests.simulation.world import World

_OWNER = "5e9c0a3e-0000-4000-8000-000000000001"
_ACTIONS = 5
_FLOW = SHAPES["five in line"].definition

_CRASHES = 3
_WORKERS = 2
#: Longer than the test waits: what a failed round loses sight of must not have to wait for its lease.
_LEASE_S = 6.0

_SEEDS = 30
_MAX_ROUNDS = 3000


def worker_on(db: SqlDatabase, providers: SharedProviders, *, lease_s: float = _LEASE_S) -> Worker:
    return Worker(
        db=db,
        clock=SystemClock(),
        advance=advance_of(),
        errands=Errands(
            clock=SystemClock(),
            directory=providers,  # type: ignore[arg-type]  # the same methods, scripted
            caller_of=lambda *_: Caller(identity_id=_OWNER, username="owner@example.org"),
        ),
        settings=WorkerSettings(lease_s=lease_s, batch=20, poll_s=0.1, remote_threads=4),
    )


def effects_of(providers: SharedProviders) -> Counter[str]:
    return Counter(entry.run_id for entry in providers.ledger.values())


# -- the server crashes


@pytest.fixture
def server() -> Iterator[PostgresServer]:
    """A server of our own, since it will be crashed."""
    try:
        server = PostgresServer()
    except PostgresMissing as error:
        missing("PostgreSQL", str(error))
        raise AssertionError("unreachable") from error
    yield server
    server.close()


class Users(threading.Thread):
    """Start runs as fast as they are answered; ``answered`` are those whose start was."""

    def __init__(self, house: House, version_no: int) -> None:
        super().__init__(daemon=True)
        self.answered: set[str] = set()
        self._house = house
        self._version_no = version_no
        self._enough = threading.Event()

    def run(self) -> None:
        while not self._enough.wait(0.01):
            with suppress(SQLAlchemyError):
                self.answered.add(self._house.start(self._version_no))

    def stop(self) -> None:
        self._enough.set()
        self.join()


@pytest.mark.parametrize("local", [True, False], ids=["built-in", "remote"])
def test_crashes_of_the_server_under_load_lose_nothing(server: PostgresServer, local: bool) -> None:
    house = House(server.new_database())
    providers = SharedProviders(SystemClock(), local=local)
    workers = [worker_on(SqlDatabase(house.db.url), providers) for _ in range(_WORKERS)]
    for worker in workers:
        worker.start()
    users = Users(house, house.deploy(_FLOW))
    users.start()
    for crash in range(1, _CRASHES + 1):
        wait_until(lambda goal=crash * 60: len(providers.ledger) > goal, "there is load")
        server.crash()
        server.start()
    done = len(providers.ledger)
    wait_until(lambda: len(providers.ledger) > done + 60, "the workers go on")
    users.stop()
    wait_until(house.is_at_rest, "nothing is left to do")
    for worker in workers:
        assert all(thread.is_alive() for thread in worker._threads)
        worker.stop()

    statuses = house.statuses()
    assert users.answered <= set(statuses)
    assert set(statuses.values()) == {"SUCCEEDED"}
    assert effects_of(providers) == dict.fromkeys(statuses, _ACTIONS)
    assert providers.violations == []
    with house.db.read() as tx:
        assert list(broken_invariants(tx, UNION)) == []
    house.db.dispose()


def test_an_idle_worker_survives_an_outage(server: PostgresServer) -> None:
    house = House(server.new_database())
    providers = SharedProviders(SystemClock())
    worker = worker_on(SqlDatabase(house.db.url), providers)
    version = house.deploy(_FLOW)
    worker.start()
    for _ in range(2):
        server.crash()
        threading.Event().wait(0.5)  # it looks for work several times in vain
        server.start()
    house.db.dispose()
    run_id = house.start(version)
    wait_until(lambda: house.statuses() == {run_id: "SUCCEEDED"}, "the worker has not died")
    worker.stop()
    house.db.dispose()


# -- the database raises


class FailingDatabase(SqlDatabase):
    """Raises ``error`` in every transaction as long as it is set: in half of them before, else after the commit."""

    error: Exception | None = None
    _count = 0

    @contextmanager
    def begin(self) -> Iterator[Connection]:
        self._count += 1
        if self.error is not None and self._count % 2:
            raise self.error
        with super().begin() as tx:
            yield tx
        if self.error is not None:
            raise self.error


@pytest.mark.parametrize(
    "error",
    [
        OperationalError("COMMIT", {}, Exception("server closed the connection unexpectedly")),
        InternalError("SELECT", {}, Exception("terminating connection due to idle-in-transaction timeout")),
        NoConnectionError("QueuePool limit of size 10 overflow 10 reached"),
    ],
    ids=["operational", "internal", "no connection"],
)
@pytest.mark.parametrize("local", [True, False], ids=["built-in", "remote"])
def test_every_thread_of_a_worker_outlives_an_outage(database_url: str, error: Exception, local: bool) -> None:
    house = House(database_url)
    db = FailingDatabase(database_url)
    providers = SharedProviders(SystemClock(), local=local)
    # A lease so short that the renewal meets the outage, too, and that what was lost sight of comes back soon.
    worker = worker_on(db, providers, lease_s=1.0)
    version = house.deploy(_FLOW)
    worker.start()
    run_ids = [house.start(version) for _ in range(5)]
    wait_until(lambda: len(providers.ledger) > 0, "work has begun")
    db.error = error
    run_ids += [house.start(version) for _ in range(5)]
    threading.Event().wait(1.5)
    db.error = None
    wait_until(lambda: house.statuses() == dict.fromkeys(run_ids, "SUCCEEDED"), "all runs end")
    assert all(thread.is_alive() for thread in worker._threads)
    worker.stop()
    assert effects_of(providers) == dict.fromkeys(run_ids, _ACTIONS)
    db.dispose()
    house.db.dispose()


def test_what_a_worker_lost_sight_of_is_not_held_for_ever(database_url: str) -> None:
    """A claim was committed, but the worker was told that it had failed."""
    house = House(database_url)
    db = FailingDatabase(database_url)
    worker = worker_on(db, SharedProviders(SystemClock()), lease_s=0.5)
    run_id = house.start(house.deploy(_FLOW))
    db.error, db._count = OperationalError("COMMIT", {}, Exception("connection lost")), 1
    with pytest.raises(OperationalError):
        worker.turn()
    db.error = None
    worker.start()
    wait_until(lambda: house.statuses() == {run_id: "SUCCEEDED"}, "its lease runs out although the worker lives")
    worker.stop()
    db.dispose()
    house.db.dispose()


def test_a_stop_while_the_database_is_away_does_not_fail(database_url: str) -> None:
    House(database_url).db.dispose()
    db = FailingDatabase(database_url)
    worker = worker_on(db, SharedProviders(SystemClock()))
    worker.start()
    db.error = OperationalError("BEGIN", {}, Exception("connection refused"))
    worker.stop()
    assert not any(thread.is_alive() for thread in worker._threads)
    db.dispose()


# -- the outcome of a commit is unknown


class UncertainDatabase(SqlDatabase):
    """Now and then a transaction fails; half of those that fail were committed all the same."""

    rate = 0.0

    def __init__(self, url: str, seed: int) -> None:
        super().__init__(url)
        self._random = random.Random(seed)
        self.failures = 0

    @contextmanager
    def begin(self) -> Iterator[Connection]:
        fate = self._random.random()
        with super().begin() as tx:
            yield tx
            self._fail_if(fate < self.rate / 2)
        self._fail_if(self.rate / 2 <= fate < self.rate)

    def _fail_if(self, wanted: bool) -> None:
        if wanted:
            self.failures += 1
            raise OperationalError("COMMIT", {}, Exception("the connection was lost"))


@pytest.mark.parametrize("seed", range(_SEEDS))
def test_a_commit_of_unknown_outcome_is_never_done_twice(seed: int) -> None:
    db = UncertainDatabase("sqlite:///:memory:", seed)
    world = World(db, seed, fault_rate=0.05)
    world.providers.local = seed % 2 == 0
    shapes = [shape for shape in SHAPES.values() if shape.actions is not None]
    versions = [world.deploy(shape.definition) for shape in shapes]
    db.rate = 0.15
    expected: dict[str, tuple[str, int]] = {}
    for shape, version in zip(shapes, versions, strict=True):
        with suppress(OperationalError):
            run_id = world.start(version, shape.input or {})
            expected[run_id] = (shape.status, shape.actions or 0)
    for _ in range(_MAX_ROUNDS):
        try:
            if not world.round():
                break
        except OperationalError:
            continue
        finally:
            world.clock.advance(1)
    db.rate = 0.0
    world.settle()
    assert db.failures > 0
    effects = Counter(entry.run_id for entry in world.providers.ledger.values())
    assert {run_id: (world.run(run_id)["status"], effects[run_id]) for run_id in expected} == expected
    assert all(world.exists(run_id) for run_id in effects)
    world.check()


def test_the_namespace_is_one_however_many_processes_make_it(database: SqlDatabase) -> None:
    metadata.create_all(database.engine)
    together = threading.Barrier(4 if database.dialect == "postgresql" else 1)  # SQLite lets one write at a time
    seen: list[uuid.UUID] = []

    def open_it() -> None:
        with database.begin() as tx:
            together.wait()
            seen.append(open_installation(tx, now=0))

    threads = [threading.Thread(target=open_it) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(seen) == 4
    assert len(set(seen)) == 1
