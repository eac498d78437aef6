"""Several workers over one PostgreSQL with leases that are far too short, while workers freeze and users cancel."""

from __future__ import annotations

import random
import subprocess
import sys
import threading
import time
import uuid
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Connection, insert, select, text

from action_providers import store as action_store
from action_providers import tables as action_tables
from flows_engine.actions.answers import Answer, Errand, Unknown
from flows_engine.actions.local import Order
from flows_engine.asl.dialects import UNION
from flows_engine.asl.run import ActionReported
from flows_engine.clock import SystemClock
from flows_engine.engine.advance import Advance, NewRun, Result
from flows_engine.engine.errands import Errands
from flows_engine.engine.invariants import broken_invariants
from flows_engine.store import runs as stored_runs
from flows_engine.store import work_queue
from flows_engine.store.db import SqlDatabase
from flows_engine.store.tables import flow_versions, metadata, runs, work
from flows_engine.store.work_queue import NewWork, WorkItem
from flows_engine.worker import Worker, WorkerSettings
from schemas.action import ActionStatus, Status
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
#: How long a frozen worker stands still, and how often a call of a provider freezes the worker that made it.
_FREEZE_S = 2.5 * _LEASE_S
_FREEZE_RATE = 0.02
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


class HangingProviders(SharedProviders):
    """A provider that takes a request and never answers."""

    def __post_init__(self) -> None:
        super().__post_init__()
        self.reached, self.never = threading.Event(), threading.Event()

    def start(self, errand: Errand, request: str, *, waiter: str) -> Answer:
        self.reached.set()
        self.never.wait(_PATIENCE_S)
        return Unknown("it hung up")


class Gate:
    """What a frozen process cannot pass: its threads stand still wherever they meet the world."""

    def __init__(self) -> None:
        self.freezes = 0
        self._open = threading.Event()
        self._open.set()

    def freeze(self, seconds: float) -> None:
        self._open.clear()
        self.freezes += 1
        threading.Timer(seconds, self._open.set).start()

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
    """One worker's way to the providers; a call may freeze the worker before it has the answer."""

    def __init__(self, providers: SharedProviders, gate: Gate, *, seed: int, freeze_rate: float) -> None:
        self._providers = providers
        self._gate = gate
        self._random = random.Random(seed)
        self._freeze_rate = freeze_rate

    def is_local(self, url: str) -> bool:
        return self._providers.is_local(url)

    def start_many(self, orders: Sequence[Order]) -> list[Answer]:
        return [self.start(order.errand, order.request, waiter=order.waiter) for order in orders]

    def __getattr__(self, name: str) -> Callable[..., Answer]:
        call: Callable[..., Answer] = getattr(self._providers, name)

        def gated(*arguments: Any, **more: Any) -> Answer:
            self._gate.pass_through()
            answer = call(*arguments, **more)
            if self._random.random() < self._freeze_rate:
                self._gate.freeze(_FREEZE_S)
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

    def __init__(self, url: str, providers: SharedProviders, *, seed: int = 0, freeze_rate: float = 0.0) -> None:
        self.gate = Gate()
        self.db = GatedDatabase(url, self.gate)
        self.advance = advance_of()
        self.worker = Worker(
            db=self.db,
            clock=SystemClock(),
            advance=self.advance,
            errands=Errands(
                clock=SystemClock(),
                directory=GatedProviders(providers, self.gate, seed=seed, freeze_rate=freeze_rate),  # type: ignore[arg-type]  # the same methods, scripted
                caller_of=lambda *_: Caller(identity_id=_OWNER, username="owner@example.org"),
            ),
            settings=WorkerSettings(lease_s=_LEASE_S, batch=3, poll_s=0.05, remote_threads=3, max_tries=1000),
        )

    def close(self) -> None:
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

    def somebody_waits(self) -> bool:
        with self.db.read() as tx:
            return bool(tx.execute(text("SELECT count(*) FROM pg_locks WHERE NOT granted")).scalar_one())

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


@pytest.fixture
def url(postgres: PostgresServer) -> Iterator[str]:
    url = postgres.new_database()
    yield url
    postgres.drop_database(url)


@pytest.mark.parametrize("local", [True, False], ids=["built-in", "remote"])
def test_no_action_is_doubled_or_left_out_by_workers_that_freeze(url: str, local: bool) -> None:
    house = House(url)
    providers = SharedProviders(SystemClock(), seed=7, fault_rate=0.05, local=local)
    processes = [Process(url, providers, seed=seed, freeze_rate=_FREEZE_RATE) for seed in range(_WORKERS)]
    in_line, slow = house.deploy(_MANY_STEPS), house.deploy(SHAPES["cancel in the middle"].definition)
    for process in processes:
        process.worker.start()
    finishing = [house.start(in_line) for _ in range(_RUNS)]
    canceled = [house.start(slow) for _ in range(_CANCELED_RUNS)]
    for run_id in canceled:
        house.cancel(run_id)  # against workers that are just recording, renewing, polling
    wait_until(lambda: "ACTIVE" not in house.statuses().values(), "all runs end")
    wait_until(house.is_at_rest, "nothing is left to do")
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
    assert sum(process.gate.freezes for process in processes) > 0
    assert sum(process.advance.rejected for process in processes) > 0
    assert house.deadlocks() == 0
    house.db.dispose()


def test_users_and_workers_never_wait_for_each_other_in_a_circle(url: str) -> None:
    """A worker records the answer of a poll while its run is being cancelled."""
    house = House(url)
    run_id = house.start(house.deploy(SHAPES["cancel in the middle"].definition))
    worker = Process(url, SharedProviders(SystemClock())).worker
    worker.turn()  # starts the action
    with house.db.begin() as tx:
        (poll,) = work_queue.claim(tx, owner="worker", now=2**60, lease_until=2**60 + 1, limit=1)
    ended = {"action_id": poll.payload["action_id"], "status": "SUCCEEDED"}
    event = ActionReported(
        at=SystemClock().now(),
        token=poll.token,
        url="",
        scope=None,
        run_as="User",
        status=ActionStatus.from_json(ended),
    )

    failures: list[BaseException] = []

    def record() -> None:
        try:
            with house.db.begin() as tx:
                advance_of().feed(tx, owner="worker", results=[Result(item=poll, event=event)])
        except BaseException as error:
            failures.append(error)

    recording = threading.Thread(target=record)
    with house.db.begin() as canceling:
        stored_runs.lock_by_id(canceling, run_id)
        recording.start()
        wait_until(house.somebody_waits, "the worker waits for the run")
        house.advance.cancel(canceling, run_id)
    recording.join()
    assert failures == []
    assert house.statuses() == {run_id: "FAILED"}
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


def test_renewing_the_leases_of_actions_waits_for_nobody(url: str) -> None:
    db = SqlDatabase(url)
    action_tables.metadata.create_all(db.engine)
    now = SystemClock().now()
    lease_until = now + timedelta(seconds=30)
    records = [
        action_store.Record(
            action_id=f"action-{number}",
            provider="p",
            creator="urn:c",
            request_id=str(number),
            sha256="",
            status=Status.ACTIVE,
            next_step=action_store.Step.ADVANCE,
            label=None,
            body={},
            caller=Caller(identity_id=_OWNER, username="owner@example.org"),
            sharing={},
            details={},
            release_after="P30D",
            started_at=now,
            due=now,
            owner="me",
            lease_until=now,
            fence=1,
        )
        for number in range(3)
    ]
    ids = [record.action_id for record in records]
    with db.begin() as tx:
        action_store.insert_new(tx, records)
    with db.begin() as settling:
        action_store.settle(settling, records[:1], "me", now)
        with db.begin() as renewing:
            renewing.execute(text("SET LOCAL lock_timeout = '100ms'"))
            action_store.renew(renewing, owner="me", action_ids=ids, lease_until=lease_until)
    with db.read() as tx:
        leases = {one.action_id: one.lease_until for one in action_store.current(tx, ids).values()}
    assert leases == {ids[0]: None, ids[1]: lease_until, ids[2]: lease_until}
    db.dispose()


def test_a_worker_that_froze_before_it_began_works_on(url: str) -> None:
    house = House(url)
    providers = SharedProviders(SystemClock(), local=False)
    process = Process(url, providers)
    house.start(house.deploy(_MANY_STEPS))
    process.gate.freeze(_FREEZE_S)
    process.worker.start()
    wait_until(house.is_at_rest, "a thawed worker works on")
    process.close()
    assert set(house.statuses().values()) == {"SUCCEEDED"}
    house.db.dispose()


def test_what_hangs_when_the_worker_stops_may_be_asked_for_again_at_once(url: str) -> None:
    house = House(url)
    providers = HangingProviders(SystemClock(), local=False)
    process = Process(url, providers)
    process.worker._settings = WorkerSettings(lease_s=30.0, stop_s=0.2)
    house.start(house.deploy(_MANY_STEPS))
    process.worker.start()
    assert providers.reached.wait(_PATIENCE_S)
    process.worker.stop()
    with house.db.read() as tx:
        row = tx.execute(select(work)).one()
    assert (row.owner, row.tries) == (None, 0)
    providers.never.set()
    process.db.dispose()
    house.db.dispose()


def test_a_call_that_hangs_does_not_hold_up_the_end_of_the_process(url: str) -> None:
    house = House(url)
    house.start(house.deploy(_MANY_STEPS))
    house.db.dispose()
    program = (
        "import sys; from tests.integration.test_workers_race import *; from flows_engine.worker import WorkerSettings;"
        "providers = HangingProviders(SystemClock(), local=False); process = Process(sys.argv[1], providers);"
        "process.worker._settings = WorkerSettings(stop_s=0.2); process.worker.start(); providers.reached.wait();"
        "process.worker.stop(); print('stopped')"
    )
    root = Path(__file__).parents[2]
    done = subprocess.run([sys.executable, "-c", program, url], cwd=root, capture_output=True, text=True, timeout=30)
    assert (done.returncode, done.stdout) == (0, "stopped\n"), done.stderr


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
