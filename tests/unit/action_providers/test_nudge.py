"""News about an action: it is advanced at once, whoever works on it at that moment, and never twice for nothing."""

from __future__ import annotations

import threading
from datetime import timedelta

from action_providers import store
from flows_engine.clock import SystemClock
from flows_engine.store.db import SqlDatabase
from tests.fakes.clock import VirtualClock
from tests.unit.action_providers.scripted import ALICE, Lab

HOUR_S = 3600


def test_an_action_that_waits_is_due_at_once(lab: Lab) -> None:
    action_id = lab.run({"run": "active", "wait": HOUR_S})["action_id"]
    assert lab.background.work_off() == 0

    lab.actions.nudge([action_id])

    assert lab.background.work_off() == 1
    assert lab.status(action_id)["status"] == "SUCCEEDED"


def test_news_while_run_is_in_flight_is_not_lost(lab: Lab) -> None:
    lab.scripted.entered["run"] = threading.Event()
    lab.scripted.gates["run"] = threading.Event()
    request = {"request_id": "r", "body": {"run": "active", "wait": HOUR_S}}
    asker = threading.Thread(target=lab.actions.run, args=("lab/scripted", request, ALICE))
    asker.start()
    assert lab.scripted.entered["run"].wait(10)
    with lab.database.read() as tx:
        [record] = store.by_keys(tx, {("r", ALICE.urn, "lab/scripted")}).values()
    lab.actions.nudge([record.action_id])
    lab.scripted.gates["run"].set()
    asker.join(10)

    assert lab.background.work_off() == 1
    assert lab.status(record.action_id)["status"] == "SUCCEEDED"


def test_news_while_an_advance_is_in_flight_brings_one_more_and_no_third(lab: Lab) -> None:
    body = {"run": "active", "advance": "active", "wait": HOUR_S}
    action_id = lab.run(body)["action_id"]
    lab.actions.nudge([action_id])
    [claimed] = lab.background._claim(1)
    lab.actions.nudge([action_id])
    lab.actions.nudge([action_id])
    lab.background._carry(claimed)

    assert lab.background.work_off() == 1
    assert lab.background.work_off() == 0
    assert lab.scripted.count("advance") == 2


def test_news_outlives_the_process_that_held_the_action(lab: Lab, database: SqlDatabase, clock: VirtualClock) -> None:
    action_id = lab.run({"run": "active", "wait": HOUR_S})["action_id"]
    lab.actions.nudge([action_id])
    assert lab.background._claim(1)  # and the process dies
    other = Lab(database, clock)
    other.actions.nudge([action_id])
    assert other.background.work_off() == 0

    clock.advance(31)

    assert other.background.work_off() == 1
    assert other.status(action_id)["status"] == "SUCCEEDED"


def test_only_active_actions_have_an_ear_for_news(lab: Lab) -> None:
    inactive = lab.run({"run": "inactive"}, request_id="1")["action_id"]
    done = lab.run({"run": "done"}, request_id="2")["action_id"]

    lab.actions.nudge([inactive, done, "00000000-0000-4000-8000-000000000000"])
    lab.actions.nudge([])

    assert lab.background.work_off() == 0
    assert lab.status(inactive)["status"] == "INACTIVE"


def test_what_ends_while_news_comes_in_stays_ended(lab: Lab) -> None:
    action_id = lab.run({"run": "active", "advance": "inactive", "wait": HOUR_S})["action_id"]
    lab.actions.nudge([action_id])
    [claimed] = lab.background._claim(1)
    lab.actions.nudge([action_id])
    lab.background._carry(claimed)

    assert lab.background.work_off() == 0
    assert lab.status(action_id)["status"] == "INACTIVE"


def test_a_sleeping_background_wakes_for_news(database: SqlDatabase) -> None:
    lab = Lab(database, SystemClock(), lease=timedelta(seconds=30))
    ended = threading.Event()
    lab.actions.carrier._wake = lambda _waiter: ended.set()
    lab.background.start()
    try:
        action_id = lab.run({"run": "active", "wait": HOUR_S}, waiter="w")["action_id"]
        lab.actions.nudge([action_id])
        assert ended.wait(10)
    finally:
        lab.background.stop()

    assert lab.status(action_id)["status"] == "SUCCEEDED"
