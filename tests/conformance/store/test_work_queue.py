"""The queue's promises, on every database."""

from __future__ import annotations

import threading

import pytest

from flows_engine.store import work_queue
from flows_engine.store.db import SqlDatabase
from flows_engine.store.tables import metadata
from flows_engine.store.work_queue import NewWork, Postponed, WorkItem

LEASE = 1000


@pytest.fixture
def db(database: SqlDatabase) -> SqlDatabase:
    metadata.create_all(database.engine)
    return database


def put(db: SqlDatabase, count: int = 1, *, due: int = 0, kind: str = "start", run_no: int = 1) -> None:
    items = [
        NewWork(run_no=run_no, kind=kind, token=f"0:{i}", due=due, payload={"n": i})  # type: ignore[arg-type]
        for i in range(count)
    ]
    with db.begin() as tx:
        work_queue.put(tx, items)


def claim(db: SqlDatabase, owner: str, now: int = 10, limit: int = 100, *, suspects: bool = False) -> list[WorkItem]:
    with db.begin() as tx:
        return work_queue.claim(tx, owner=owner, now=now, lease_until=now + LEASE, limit=limit, suspects=suspects)


def finish(db: SqlDatabase, owner: str, items: list[WorkItem]) -> set[int]:
    with db.begin() as tx:
        return work_queue.finish(tx, owner=owner, items=items)


def test_only_what_is_due_is_claimed_longest_due_first(db: SqlDatabase) -> None:
    put(db, due=20, run_no=1)
    put(db, due=5, run_no=2)
    put(db, due=3, run_no=3)
    assert [item.run_no for item in claim(db, "a", now=10, limit=1)] == [3]
    assert [item.run_no for item in claim(db, "a", now=10)] == [2]
    assert claim(db, "a", now=10) == []


def test_a_claimed_item_is_nobody_elses_until_its_lease_ends(db: SqlDatabase) -> None:
    put(db)
    (mine,) = claim(db, "a", now=10)
    assert claim(db, "b", now=10 + LEASE - 1) == []
    (theirs,) = claim(db, "b", now=10 + LEASE)
    assert theirs.work_no == mine.work_no
    assert theirs.fence == mine.fence + 1
    assert finish(db, "a", [mine]) == set()
    assert finish(db, "b", [theirs]) == {theirs.work_no}


def test_renewing_keeps_what_is_held(db: SqlDatabase) -> None:
    put(db)
    claim(db, "a", now=10)
    with db.begin() as tx:
        assert work_queue.renew(tx, owner="a", lease_until=50_000) == 1
    assert claim(db, "b", now=49_999) == []


def test_a_holder_that_lost_its_item_cannot_postpone_or_park_it(db: SqlDatabase) -> None:
    put(db)
    (old,) = claim(db, "a", now=10)
    claim(db, "b", now=10 + LEASE)
    with db.begin() as tx:
        work_queue.postpone(tx, owner="a", items=[Postponed(item=old, due=0, attempts=9, last_error="x")])
        assert work_queue.park(tx, owner="a", item=old) is False
    assert claim(db, "c", now=10 + LEASE) == []


def test_postponing_forgets_tries_and_keeps_the_reason(db: SqlDatabase) -> None:
    put(db)
    (item,) = claim(db, "a")
    with db.begin() as tx:
        later = Postponed(item=item, due=500, attempts=3, last_error="time-out")
        work_queue.postpone(tx, owner="a", items=[later])
    assert claim(db, "a", now=499) == []
    (again,) = claim(db, "a", now=500)
    assert (again.tries, again.attempts, again.last_error, again.payload) == (1, 3, "time-out", {"n": 0})


def test_a_start_that_was_ever_claimed_is_not_dropped(db: SqlDatabase) -> None:
    put(db, 2)
    (claimed,) = claim(db, "a", limit=1)
    with db.begin() as tx:
        work_queue.drop(tx, 1, ["0:0", "0:1"])
        left = work_queue.pending(tx, 1)
    assert [one["token"] for one in left] == [claimed.token]


@pytest.mark.parametrize("kind", ["poll", "timer"])
def test_what_has_no_effect_is_dropped_even_while_held(db: SqlDatabase, kind: str) -> None:
    put(db, kind=kind)
    (item,) = claim(db, "a")
    with db.begin() as tx:
        work_queue.drop(tx, 1, ["0:0"])
    assert finish(db, "a", [item]) == set()


def test_waking_makes_a_waiting_poll_due_at_once(db: SqlDatabase) -> None:
    put(db, due=10_000, kind="poll")
    with db.begin() as tx:
        assert work_queue.wake(tx, [(1, "0:0"), (1, "0:9")], now=50) == {(1, "0:0")}
    assert len(claim(db, "a", now=50)) == 1


def test_items_that_failed_before_are_claimed_alone(db: SqlDatabase) -> None:
    put(db, 5)
    for turn in range(work_queue.SUSPECT_TRIES):
        assert len(claim(db, "a", now=10 + turn * LEASE)) == 5
    now = 10 + work_queue.SUSPECT_TRIES * LEASE
    assert claim(db, "a", now=now) == []
    assert len(claim(db, "a", now=now, suspects=True)) == 1


def test_parked_work_waits_for_a_person(db: SqlDatabase) -> None:
    put(db)
    (item,) = claim(db, "a")
    with db.begin() as tx:
        assert work_queue.park(tx, owner="a", item=item)
    assert claim(db, "b", now=10**15) == []
    with db.begin() as tx:
        work_queue.unpark(tx, 1, now=5)
    assert len(claim(db, "b")) == 1


def test_giving_back_costs_no_try_and_no_wait(db: SqlDatabase) -> None:
    put(db)
    claim(db, "a", now=10)
    with db.begin() as tx:
        assert work_queue.give_back(tx, owner="a", now=11) == 1
    (item,) = claim(db, "b", now=11)
    assert item.tries == 1


def test_work_put_in_claimed_is_held_from_the_start(db: SqlDatabase) -> None:
    new = [NewWork(run_no=i, kind="start", token="0:1", due=0, payload={"i": i}) for i in range(3)]
    with db.begin() as tx:
        held = work_queue.put_claimed(tx, new, owner="a", lease_until=LEASE)
    assert [item.payload for item in held] == [{"i": 0}, {"i": 1}, {"i": 2}]
    assert claim(db, "b", now=LEASE - 1) == []
    assert finish(db, "a", held) == {item.work_no for item in held}


def test_many_workers_never_hold_the_same_item(db: SqlDatabase) -> None:
    put(db, 400)
    taken: list[int] = []
    lock = threading.Lock()

    def work(owner: str) -> None:
        while items := claim(db, owner, limit=7):
            done = finish(db, owner, items)
            with lock:
                taken.extend(done)

    threads = [threading.Thread(target=work, args=(f"w{i}",)) for i in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(taken) == len(set(taken)) == 400
    with db.read() as tx:
        assert work_queue.next_due(tx) is None
        assert work_queue.backlog(tx, now=10) == (0, None)
