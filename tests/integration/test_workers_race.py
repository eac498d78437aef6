"""Several workers over one PostgreSQL with leases that are far too short, while workers freeze and users cancel."""

from __future__ import annotations

import random
import threading
import time
import uuid
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import pytest
from sqlalchemy import Connection, insert, select, text

from flows_engine.actions.answers import Answer, Errand
from flows_engine.actions.local import Order
from flows_engine.asl.dialects import UNION
from flows_engine.clock import SystemClock
from flows_engine.engine.advance import Advance, NewRun, Result
from flows_engine.engine.invariants import broken_invariants
from flows_engine.store import work_queue
from flows_engine.store.db import SqlDatabase
from flows_engine.store.tables import flow_versions, metadata, runs, work
from flows_engine.store.work_queue import NewWork, WorkItem
from flows_engine.worker import Worker, WorkerSettings
from schemas.json_text import Json, dumps
from schemas.principals import Caller
from tests.fakes.providers import ScriptedProviders
from tests.postgres import PostgresServer
from tests.simulation.shapes import SHAPES

_OWNER = "5e9c0a3e-0000-4000-8000-000000000001"
_NAMESPACE = uuid.UUID("0b6cf6a6-3d7a-4ed8-8f7a-2e6d7f0c1a11")
_PATIENCE_S = 90.0

_WORKERS = 4
_LEASE_S = 0.3
_RUNS = 40
_CANCELED_RUNS = 20
_FREEZE_S = 1.5 * _LEASE_S
_MANY_STEPS = {
    "StartAt": "A0",
    "States": {
        f"A{i}": {
            "Type": "Action",
            "ActionUrl": "https://provider.example.org/do",
            "Parameters": {"echo": i},
            "ResultPath": "$.result",
            "WaitTime": 86_400,
            **({"Next": f"A{i + 1}"} if i < 7 else {"End": True}),
        }
        for i in range(8)
    },
}


class SharedProviders(ScriptedProviders):
    """The scripted providers for many threads; ``before_answer`` happens outside the lock."""

    def __post_init__(self) -> None:
        super().__post_init__()
        self._lock = threading.RLock()

    def start(self, errand: Errand, request: str, *, waiter: str) -> Answer:
        with self._lock:
            return super().start(errand, request, waiter=waiter)

    def status(self, errand: Errand, action_id: str) -> Answer:
        with self._lock:
            return super().status(errand, action_id)

    def cancel(self, errand: Errand, action_id: str) -> Answer:
        with self._lock:
            return super().cancel(errand, action_id)

    def release(self, errand: Errand, action_id: str) -> Answer:
        with self._lock:
            return super().release(errand, action_id)


class Gate:
    """What a frozen process cannot pass: its threads stand still wherever they meet the world."""

    def __init__(self) -> None:
        self._open = threading.Event()
        self._open.set()

    def freeze(self) -> None:
        self._open.clear()

    def thaw(self) -> None:
        self._open.set()

    def pass_through(self) -> None:
        self._open.wait(_PATIENCE_S)


class GatedDatabase(SqlDatabase):
    def __init__(self, url: str, gate: Gate) -> None:
        super().__init__(url, pool_size=4)
        self._gate = gate

    @contextmanager
    def begin(self) -> Iterator[Connection]:
        self._gate.pass_through()
        with super().begin() as tx:
            yield tx

    @contextmanager
    def read(self) -> Iterator[Connection]:
        self._gate.pass_through()
        with super().read() as tx:
            yield tx


class GatedProviders:
    """One worker's way to the providers; a freeze may fall before or after a call."""

    def __init__(self, providers: SharedProviders, gate: Gate) -> None:
        self._providers = providers
        self._gate = gate

    def is_local(self, url: str) -> bool:
        return self._providers.is_local(url)

    def start_many(self, orders: Sequence[Order]) -> list[Answer]:
        return [self.start(order.errand, order.request, waiter=order.waiter) for order in orders]

    def __getattr__(self, name: str) -> Callable[..., Answer]:
        call: Callable[..., Answer] = getattr(self._providers, name)

        def gated(*arguments: Any, **more: Any) -> Answer:
            self._gate.pass_through()
            answer = call(*arguments, **more)
            self._gate.pass_through()
            return answer

        return gated


class WatchingAdvance(Advance):
    """Counts the results that came too late: somebody else had taken the item over."""

    rejected = 0

    def feed(self, tx: Connection, *, owner: str, results: Sequence[Result], **more: Any) -> list[WorkItem]:
        columns = (work.c.work_no, work.c.fence)
        held = {tuple(row) for row in tx.execute(select(*columns).where(work.c.owner == owner))}
        self.rejected += sum((one.item.work_no, one.item.fence) not in held for one in results)
        return super().feed(tx, owner=owner, results=results, **more)


def advance_of() -> WatchingAdvance:
    return WatchingAdvance(
        namespace=_NAMESPACE, dialect=UNION, clock=SystemClock(), releases=lambda _url: True, notify=lambda: None
    )


class Process:
    """One worker as a process would have it: its own connections, caches and threads."""

    def __init__(self, url: str, providers: SharedProviders) -> None:
        self.gate = Gate()
        self.db = GatedDatabase(url, self.gate)
        self.advance = advance_of()
        self.worker = Worker(
            db=self.db,
            clock=SystemClock(),
            advance=self.advance,
            directory=GatedProviders(providers, self.gate),  # type: ignore[arg-type]  # the same methods, scripted
            caller_of=lambda *_: Caller(identity_id=_OWNER, username="owner@example.org"),
            settings=WorkerSettings(lease_s=_LEASE_S, batch=3, poll_s=0.05, remote_threads=3, max_tries=1000),
        )

    def close(self) -> None:
        self.gate.thaw()
        self.worker.stop()
        self.db.dispose()


class House:
    """The database as a user of the API would move it."""

    def __init__(self, url: str) -> None:
        self.db = SqlDatabase(url)
        metadata.create_all(self.db.engine)
        self.advance = advance_of()

    def deploy(self, definition: Json) -> int:
        values = {"flow_id": "f", "definition": dumps(definition), "input_schema": "{}", "sha256": "", "created_at": 0}
        with self.db.begin() as tx:
            made = insert(flow_versions).values(values).returning(flow_versions.c.version_no)
            return int(tx.execute(made).scalar_one())

    def start(self, version_no: int) -> str:
        run_id = str(uuid.uuid4())
        new = NewRun(
            run_id=run_id,
            flow_no=1,
            flow_id="f",
            version_no=version_no,
            flow_title="a flow",
            flow_updated_at=0,
            run_owner=f"urn:globus:auth:identity:{_OWNER}",
            label=None,
            document={},
            context={},
            input={},
        )
        with self.db.begin() as tx:
            self.advance.start(tx, new)
        return run_id

    def cancel(self, run_id: str) -> None:
        with self.db.begin() as tx:
            self.advance.cancel(tx, run_id)

    def statuses(self) -> dict[str, str]:
        with self.db.read() as tx:
            return {row.run_id: row.status for row in tx.execute(select(runs.c.run_id, runs.c.status))}

    def is_at_rest(self) -> bool:
        with self.db.read() as tx:
            return work_queue.next_due(tx) is None

    def deadlocks(self) -> int:
        with self.db.read() as tx:
            query = text("SELECT deadlocks FROM pg_stat_database WHERE datname = current_database()")
            return int(tx.execute(query).scalar_one())


def wait_until(happened: Callable[[], bool], what: str) -> None:
    pause = threading.Event()
    deadline = time.monotonic() + _PATIENCE_S
    while not happened():
        assert time.monotonic() < deadline, f"not within {_PATIENCE_S:.0f} s: {what}"
        pause.wait(0.05)


class Mischief(threading.Thread):
    """Freezes one worker after the other for longer than its lease."""

    def __init__(self, processes: Sequence[Process]) -> None:
        super().__init__(daemon=True)
        self.freezes = 0
        self._processes = processes
        self._enough = threading.Event()

    def run(self) -> None:
        choose = random.Random(1)
        while not self._enough.wait(0.05):
            victim = choose.choice(self._processes)
            victim.gate.freeze()
            self._enough.wait(_FREEZE_S)
            victim.gate.thaw()
            self.freezes += 1

    def stop(self) -> None:
        self._enough.set()
        self.join()


@pytest.fixture
def url(postgres: PostgresServer) -> Iterator[str]:
    url = postgres.new_database()
    yield url
    postgres.drop_database(url)


@pytest.mark.parametrize("local", [True, False], ids=["built-in", "remote"])
def test_no_action_is_doubled_or_left_out_by_workers_that_freeze(url: str, local: bool) -> None:
    house = House(url)
    providers = SharedProviders(SystemClock(), seed=7, fault_rate=0.05, local=local)
    processes = [Process(url, providers) for _ in range(_WORKERS)]
    in_line, slow = house.deploy(_MANY_STEPS), house.deploy(SHAPES["cancel in the middle"].definition)
    for process in processes:
        process.worker.start()
    mischief = Mischief(processes)
    mischief.start()
    finishing = [house.start(in_line) for _ in range(_RUNS)]
    canceled = [house.start(slow) for _ in range(_CANCELED_RUNS)]
    for run_id in canceled:
        house.cancel(run_id)  # against workers that are just recording, renewing, polling
    wait_until(lambda: "ACTIVE" not in house.statuses().values(), "all runs end")
    wait_until(house.is_at_rest, "nothing is left to do")
    mischief.stop()
    for process in processes:
        process.close()

    assert {house.statuses()[run_id] for run_id in finishing} == {"SUCCEEDED"}
    assert {house.statuses()[run_id] for run_id in canceled} == {"FAILED"}
    effects = Counter(entry.run_id for entry in providers.ledger.values())
    assert {run_id: effects[run_id] for run_id in finishing} == dict.fromkeys(finishing, 8)
    assert providers.violations == []
    assert all(entry.canceled for entry in providers.ledger.values() if entry.run_id in canceled)
    with house.db.read() as tx:
        assert list(broken_invariants(tx, UNION)) == []
    assert mischief.freezes > 0
    assert sum(process.advance.rejected for process in processes) > 0
    assert house.deadlocks() == 0
    house.db.dispose()


def test_users_and_workers_never_wait_for_each_other_in_a_circle(url: str) -> None:
    # Polls that are due all the time, recorded in batches, while their leases are renewed and their runs cancelled.
    house = House(url)
    providers = SharedProviders(SystemClock())
    process = Process(url, providers)
    definition = SHAPES["cancel in the middle"].definition | {"TimeoutSeconds": 1}
    version = house.deploy(definition)
    process.worker.start()
    run_ids = [house.start(version) for _ in range(60)]
    wait_until(lambda: len(providers.ledger) == 60, "all actions are started")
    threads = [
        threading.Thread(target=lambda part=run_ids[i::4]: [house.cancel(one) for one in part]) for i in range(4)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    wait_until(house.is_at_rest, "nothing is left to do")
    process.close()
    assert set(house.statuses().values()) == {"FAILED"}
    assert house.deadlocks() == 0
    house.db.dispose()


def test_renewing_leases_waits_for_nobody(url: str) -> None:
    house = House(url)
    with house.db.begin() as tx:
        items = [NewWork(run_no=1, kind="poll", token=f"0:{i}", due=0, payload={}) for i in range(3)]
        mine = work_queue.put_claimed(tx, items, owner="me", lease_until=10)
    with house.db.begin() as recording:
        work_queue.finish(recording, owner="me", items=mine[:1])
        with house.db.begin() as renewing:
            renewing.execute(text("SET LOCAL lock_timeout = '100ms'"))
            held = [item.work_no for item in mine]
            assert work_queue.renew(renewing, owner="me", lease_until=20, work_nos=held) == 2
    house.db.dispose()


def test_a_worker_drops_what_it_has_not_begun_when_its_leases_may_be_over(url: str) -> None:
    house = House(url)
    providers = SharedProviders(SystemClock(), local=False)
    process = Process(url, providers)
    house.start(house.deploy(_MANY_STEPS))
    process.gate.freeze()
    process.worker.start()
    pause = threading.Event()
    pause.wait(2 * _LEASE_S)
    process.gate.thaw()
    wait_until(house.is_at_rest, "a thawed worker works on")
    process.close()
    assert set(house.statuses().values()) == {"SUCCEEDED"}
    house.db.dispose()


def test_a_call_that_hangs_does_not_hold_up_the_end_of_the_process(url: str) -> None:
    house = House(url)
    reached, never = threading.Event(), threading.Event()

    class Hanging(SharedProviders):
        def start(self, errand: Errand, request: str, *, waiter: str) -> Answer:
            reached.set()
            never.wait(_PATIENCE_S)
            return super().start(errand, request, waiter=waiter)

    process = Process(url, Hanging(SystemClock(), local=False))
    process.worker._settings = WorkerSettings(lease_s=30.0, stop_s=0.2)
    house.start(house.deploy(_MANY_STEPS))
    process.worker.start()
    assert reached.wait(_PATIENCE_S)
    process.worker.stop()
    assert [thread for thread in threading.enumerate() if "provider-call" in thread.name and not thread.daemon] == []
    with house.db.read() as tx:
        row = tx.execute(select(work)).one()
    assert (row.owner, row.tries) == (None, 0)  # somebody else may ask again at once
    never.set()
    process.db.dispose()
    house.db.dispose()


def test_the_number_of_a_deleted_row_is_never_given_again(database: SqlDatabase) -> None:
    # Else an answer for the old item would be taken for one of the new item, which nobody would then carry out.
    metadata.create_all(database.engine)
    house = House.__new__(House)
    house.db, house.advance = database, advance_of()
    version = house.deploy(_MANY_STEPS)
    numbers: list[tuple[int, int]] = []
    for _ in range(2):
        run_id = house.start(version)
        with database.begin() as tx:
            (item,) = work_queue.claim(tx, owner="me", now=2**60, lease_until=2**60 + 1, limit=1)
            numbers.append((item.run_no, item.work_no))
            work_queue.finish(tx, owner="me", items=[item])
            house.advance.cancel(tx, run_id)
            house.advance.delete(tx, run_id)
    assert numbers[0][0] != numbers[1][0]
    assert numbers[0][1] != numbers[1][1]
