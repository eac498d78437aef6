"""Carrying actions on: due times, crashes, leases, cancels while a provider works, poison."""

from __future__ import annotations

import threading
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from sqlalchemy import update

from action_providers import store
from action_providers.background import Background
from action_providers.tables import actions as table
from flows_engine.clock import SystemClock
from flows_engine.store.db import SqlDatabase
from tests.fakes.clock import VirtualClock
from tests.unit.action_providers.scripted import ALICE, CAROL, Lab


class Died(BaseException):
    """The process ends here: nothing of ours catches it."""


def dies(*_: Any) -> Any:
    raise Died


def test_an_action_is_advanced_when_it_is_due_and_not_before(lab: Lab, clock: VirtualClock) -> None:
    action_id = lab.run({"run": "active", "wait": 10}, waiter="w-1")["action_id"]
    assert lab.background.work_off() == 0

    clock.advance(10)
    assert lab.background.work_off() == 1
    assert lab.status(action_id)["details"] == {"did": "advance", "state": {"from": "run"}}
    assert lab.wakes == ["w-1"]


def test_a_waiter_is_woken_when_the_action_waits_for_a_person(lab: Lab) -> None:
    lab.run({"run": "active", "advance": "inactive"}, waiter="w")
    lab.background.work_off()

    assert lab.wakes == ["w"]


def test_the_newest_waiter_of_a_repeated_request_is_woken(lab: Lab) -> None:
    lab.run({"run": "active"}, waiter="old")
    lab.run({"run": "active"}, waiter="new")
    lab.background.work_off()

    assert lab.wakes == ["new"]


def test_who_repeats_a_request_in_flight_is_woken_and_who_is_answered_is_not(lab: Lab) -> None:
    lab.scripted.entered["run"] = threading.Event()
    lab.scripted.gates["run"] = threading.Event()
    request = {"request_id": "r", "body": {}}
    worker = threading.Thread(
        target=lab.actions.run, args=("lab/scripted", request, ALICE), kwargs={"waiter": "answered"}
    )
    worker.start()
    assert lab.scripted.entered["run"].wait(10)
    document, created = lab.actions.run("lab/scripted", request, ALICE, waiter="repeating")
    assert (document["status"], created) == ("ACTIVE", False)
    lab.scripted.gates["run"].set()
    worker.join(10)

    assert lab.wakes == ["repeating"]
    assert lab.scripted.count("run") == 1


@pytest.mark.parametrize("advance", ["raise", "garbage", "nothing"])
def test_an_error_of_the_provider_ends_its_action(lab: Lab, advance: str) -> None:
    action_id = lab.run({"run": "active", "advance": advance})["action_id"]
    lab.background.work_off()

    document = lab.status(action_id)
    assert (document["status"], document["details"]["code"]) == ("FAILED", "ActionProviderError")
    assert "secret" not in str(document)


def test_an_action_whose_process_died_before_run_is_run_by_the_next(
    lab: Lab, database: SqlDatabase, clock: VirtualClock
) -> None:
    lab.scripted.run = dies  # type: ignore[method-assign] - the process ends between the two transactions
    with pytest.raises(Died):
        lab.run({"run": "done"}, waiter="w")

    if database.dialect == "postgresql":
        clock.advance(31)  # other processes may live: the lease has to run out first
    after = Lab(database, clock)
    after.background.start()
    try:
        assert_soon(lambda: after.wakes == ["w"], after)
    finally:
        after.background.stop()
    document, created = after.actions.run("lab/scripted", {"request_id": "r-1", "body": {"run": "done"}}, ALICE)
    assert (document["status"], created) == ("SUCCEEDED", False)
    assert after.scripted.count("run") == 1


def test_another_process_waits_for_the_lease_to_run_out(lab: Lab, database: SqlDatabase, clock: VirtualClock) -> None:
    lab.scripted.run = dies  # type: ignore[method-assign] - the process ends between the two transactions
    with pytest.raises(Died):
        lab.run({"run": "done"})
    other = Lab(database, clock)

    assert other.background.work_off() == 0
    clock.advance(31)
    assert other.background.work_off() == 1
    assert other.background.work_off() == 0


def test_an_advance_that_lost_its_lease_writes_nothing(lab: Lab, database: SqlDatabase, clock: VirtualClock) -> None:
    action_id = lab.run({"run": "active"})["action_id"]
    frozen = lab.background._claim(1)
    clock.advance(31)
    other = Lab(database, clock)
    other.background.work_off()
    done = other.status(action_id)
    clock.advance(5)

    lab.background._carry(frozen[0])
    assert lab.status(action_id) == done
    assert lab.wakes == []


def test_an_action_that_never_gets_anywhere_is_given_up(lab: Lab, clock: VirtualClock) -> None:
    action_id = lab.run({"run": "active"}, waiter="w")["action_id"]
    for _ in range(5):
        assert lab.background._claim(1)  # and the process dies
        clock.advance(31)
    lab.background.work_off()

    document = lab.status(action_id)
    assert (document["status"], document["details"]["code"]) == ("FAILED", "ActionProviderError")
    assert document["details"]["description"].startswith("gave up after 5 tries: ")
    assert (lab.scripted.count("advance"), lab.wakes) == (0, ["w"])


def test_an_action_past_its_deadline_is_cancelled(lab: Lab, clock: VirtualClock) -> None:
    request = {"deadline": "2026-01-01T00:01:00Z"}
    active = lab.run({"run": "active", "wait": 600}, request_id="1", **request)["action_id"]
    inactive = lab.run({"run": "inactive"}, request_id="2", **request)["action_id"]
    clock.advance(60)
    assert lab.background.work_off() == 2

    for action_id in (active, inactive):
        assert lab.status(action_id)["details"]["code"] == "DeadlineExceeded"
    assert lab.scripted.count("cancel") == 2


def test_progress_is_published_and_a_cancel_stops_the_advance_at_its_next_report(lab: Lab) -> None:
    action_id = lab.run({"run": "active", "advance": "done", "report": True})["action_id"]
    lab.scripted.entered["advance"] = threading.Event()
    lab.scripted.gates["advance"] = threading.Event()
    worker = threading.Thread(target=lab.background.work_off)
    worker.start()
    assert lab.scripted.entered["advance"].wait(10)
    cancelled = lab.actions.cancel("lab/scripted", action_id, ALICE)
    lab.scripted.gates["advance"].set()
    worker.join(10)

    assert lab.scripted.reported == []
    assert cancelled["details"]["code"] == "Canceled"
    assert lab.status(action_id) == cancelled


def test_a_cancel_while_run_is_in_flight_follows_it(lab: Lab) -> None:
    lab.scripted.entered["run"] = threading.Event()
    lab.scripted.gates["run"] = threading.Event()
    request = {"request_id": "r", "body": {"run": "active", "wait": 600}}
    worker = threading.Thread(target=lab.actions.run, args=("lab/scripted", request, ALICE))
    worker.start()
    assert lab.scripted.entered["run"].wait(10)
    with lab.database.read() as tx:
        [record] = store.by_keys(tx, {("r", ALICE.urn, "lab/scripted")}).values()
    assert lab.actions.cancel("lab/scripted", record.action_id, ALICE)["status"] == "ACTIVE"
    assert lab.scripted.count("cancel") == 0
    lab.scripted.gates["run"].set()
    worker.join(10)

    assert lab.background.work_off() == 1
    assert lab.status(record.action_id)["details"]["code"] == "Canceled"
    assert [name for name, _ in lab.scripted.calls] == ["run", "cancel"]


def test_a_database_error_postpones_an_action(lab: Lab, clock: VirtualClock) -> None:
    def broken(*_: Any) -> Any:
        with lab.database.begin() as tx:
            tx.exec_driver_sql("SELECT * FROM no_such_table")

    action_id = lab.run({"run": "active"})["action_id"]
    kept = lab.scripted.advance
    lab.scripted.advance = broken  # type: ignore[method-assign] - the database is away for a moment
    lab.background.work_off()
    assert lab.status(action_id)["status"] == "ACTIVE"
    assert lab.background.work_off() == 0

    lab.scripted.advance = kept  # type: ignore[method-assign] - and comes back
    clock.advance(60)
    assert lab.background.work_off() == 1
    assert lab.status(action_id)["status"] == "SUCCEEDED"


def test_actions_of_a_provider_that_is_not_installed_are_left_alone(lab: Lab, database: SqlDatabase) -> None:
    lab.run({"run": "active"})
    with database.begin() as tx:
        tx.execute(update(table).values(provider="lab/removed"))

    assert lab.background.work_off() == 0
    with database.read() as tx:
        assert store.unserved(tx, lab.actions.providers) == ["lab/removed"]


def test_the_caller_of_a_later_step_is_the_one_who_asked(lab: Lab) -> None:
    lab.run({"run": "active"}, path="lab/staff", caller=CAROL)
    lab.background.work_off()

    assert lab.staff.seen_groups == [CAROL.groups, CAROL.groups]


def test_threads_finish_due_actions_without_being_polled(database: SqlDatabase) -> None:
    lab = Lab(database, SystemClock())
    lab.background.start()
    try:
        for i in range(30):
            lab.run({"run": "active"}, request_id=f"r-{i}", waiter=f"w-{i}")
        assert_soon(lambda: len(lab.wakes) == 30, lab)
    finally:
        lab.background.stop()

    assert sorted(lab.wakes) == sorted(f"w-{i}" for i in range(30))
    assert lab.scripted.count("advance") == 30


def test_a_silent_advance_keeps_its_lease(database: SqlDatabase) -> None:
    lab = Lab(database, SystemClock(), lease=timedelta(milliseconds=300))
    other = Lab(database, SystemClock(), lease=timedelta(milliseconds=300))
    lab.scripted.gates["advance"] = threading.Event()
    lab.scripted.entered["advance"] = threading.Event()
    lab.background.start()
    try:
        action_id = lab.run({"run": "active"})["action_id"]
        assert lab.scripted.entered["advance"].wait(10)
        lease_then = lease_of(database, action_id)
        assert_soon(lambda: lease_of(database, action_id) > lease_then + 400_000, lab)
        assert other.background.work_off() == 0
        lab.scripted.gates["advance"].set()
    finally:
        lab.background.stop()

    assert lab.status(action_id)["status"] == "SUCCEEDED"


def test_stopping_gives_back_what_does_not_end_in_time(database: SqlDatabase) -> None:
    lab = Lab(database, SystemClock())
    lab.scripted.gates["advance"] = threading.Event()
    lab.scripted.entered["advance"] = threading.Event()
    lab.background.start()
    action_id = lab.run({"run": "active"})["action_id"]
    assert lab.scripted.entered["advance"].wait(10)
    lab.background.stop(timeout_s=0.1)

    other = Lab(database, SystemClock())
    assert other.background.work_off() == 1
    done = other.status(action_id)
    lab.scripted.gates["advance"].set()
    for thread in lab.background._threads:
        thread.join(10)
    assert (done["status"], other.status(action_id)) == ("SUCCEEDED", done)


def test_stopping_an_idle_background_is_immediate_and_it_can_be_replaced(lab: Lab) -> None:
    first = Background(lab.actions)
    first.start()
    first.stop()
    lab.run({"run": "active"})

    assert Background(lab.actions).work_off() == 1


def lease_of(database: SqlDatabase, action_id: str) -> int:
    with database.read() as tx:
        return int(
            tx.scalar(table.select().with_only_columns(table.c.lease_until).where(table.c.action_id == action_id))
        )


def assert_soon(condition: Callable[[], bool], lab: Lab) -> None:
    """The condition holds within ten seconds; looked at whenever an action changes hands."""
    changed = lab.background._changed
    with changed:
        for _ in range(200):
            if condition():
                return
            changed.wait(0.05)
    raise AssertionError("it did not come about in ten seconds")
