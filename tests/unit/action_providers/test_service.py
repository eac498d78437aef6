"""What callers can ask of actions, and what keeps an action from happening twice."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from action_providers.errors import ActionError
from action_providers.service import Ask, Ran
from flows_engine.store.db import SqlDatabase
from schemas.action import ActionRequest
from schemas.principals import group_urn
from tests.fakes.clock import VirtualClock
from tests.unit.action_providers.scripted import ALICE, BOB, CAROL, STAFF, Lab


def refused(call: Any) -> ActionError:
    with pytest.raises(ActionError) as caught:
        call()
    return caught.value


@pytest.mark.parametrize("path", ["lab/scripted", "lab/pure"])
@pytest.mark.parametrize(
    ("body", "status", "code"),
    [
        ({}, "SUCCEEDED", None),
        ({"run": "fail"}, "FAILED", "Scripted"),
        ({"run": "active", "wait": 5}, "ACTIVE", None),
        ({"run": "inactive"}, "INACTIVE", "ConsentRequired"),
        ({"run": "raise"}, "FAILED", "ActionProviderError"),
        ({"run": "garbage"}, "FAILED", "ActionProviderError"),
        ({"run": "nothing"}, "FAILED", "ActionProviderError"),
        ({"run": "too large"}, "FAILED", "ResultTooLarge"),
    ],
)
def test_the_outcome_of_run_is_committed_and_answered(lab: Lab, path: str, body: Any, status: str, code: str) -> None:
    document = lab.run(body, path=path)

    assert (document["status"], document["details"].get("code")) == (status, code)
    assert lab.status(document["action_id"], path=path) == document
    assert (document["completion_time"] is not None) == (status in ("SUCCEEDED", "FAILED"))


def test_a_status_has_every_member_of_the_api(lab: Lab) -> None:
    document = lab.run({}, label="Copy", monitor_by=[BOB.urn])

    assert document == {
        "action_id": document["action_id"],
        "status": "SUCCEEDED",
        "display_status": "SUCCEEDED",
        "creator_id": ALICE.urn,
        "details": {"did": "run", "state": None},
        "label": "Copy",
        "monitor_by": [BOB.urn],
        "manage_by": [],
        "start_time": "2026-01-01T00:00:00.000000+00:00",
        "completion_time": "2026-01-01T00:00:00.000000+00:00",
        "release_after": "P30D",
    }


def test_what_a_provider_raises_is_not_told_to_the_caller(lab: Lab) -> None:
    assert "secret" not in str(lab.run({"run": "raise"}))


@pytest.mark.parametrize("path", ["lab/scripted", "lab/pure"])
def test_a_repeated_request_finds_its_action(lab: Lab, path: str) -> None:
    request = {"request_id": "same", "body": {"run": "active", "wait": 60}, "label": "x"}
    first, created = lab.actions.run(path, request, ALICE)
    again, created_again = lab.actions.run(path, dict(reversed(request.items())), ALICE)

    assert (created, created_again) == (True, False)
    assert again == first
    assert lab.scripted.count("run") == (1 if path == "lab/scripted" else 0)


def test_a_request_id_with_other_content_is_refused(lab: Lab) -> None:
    lab.run({})
    error = refused(lambda: lab.run({"run": "fail"}))

    assert (error.http_status, error.code) == (409, "ActionConflict")


def test_a_request_id_belongs_to_its_creator_and_provider(lab: Lab) -> None:
    ids = {
        lab.run({})["action_id"],
        lab.run({}, caller=BOB)["action_id"],
        lab.run({}, path="lab/pure")["action_id"],
    }

    assert len(ids) == 3


@pytest.mark.parametrize("path", ["lab/scripted", "lab/pure"])
def test_eight_threads_with_one_request_start_one_action(lab: Lab, path: str) -> None:
    request = {"request_id": "race", "body": {}}
    with ThreadPoolExecutor(8) as pool:
        answers = list(pool.map(lambda _: lab.actions.run(path, request, ALICE), range(8)))

    assert len({document["action_id"] for document, _ in answers}) == 1
    assert sum(created for _, created in answers) == 1
    assert lab.scripted.count("run") == (1 if path == "lab/scripted" else 0)


def test_a_batch_answers_each_request_in_order(lab: Lab) -> None:
    asks = [
        Ask("lab/pure", ActionRequest(request_id="a", body={}), ALICE),
        Ask("lab/scripted", ActionRequest(request_id="a", body={}), ALICE),
        Ask("nowhere", ActionRequest(request_id="b", body={}), ALICE),
        Ask("lab/pure", ActionRequest(request_id="a", body={}), ALICE),
        Ask("lab/pure", ActionRequest(request_id="a", body={"run": "fail"}), ALICE),
        Ask("lab/pure", {"request_id": "c", "body": {"run": 7}}, ALICE),
    ]
    pure, scripted, unknown, repeated, other, unfit = lab.actions.run_many(asks)

    assert isinstance(pure, Ran)
    assert isinstance(scripted, Ran)
    assert isinstance(repeated, Ran)
    assert pure.created
    assert scripted.document["status"] == "SUCCEEDED"
    assert repeated.document == pure.document
    assert [one.http_status for one in (unknown, other, unfit) if isinstance(one, ActionError)] == [404, 409, 422]


@pytest.mark.parametrize(
    ("change", "place"),
    [
        ({"request_id": None}, "$.request_id"),
        ({"request_id": ""}, "$.request_id"),
        ({"request_id": "x" * 257}, "$.request_id"),
        ({"body": []}, "$.body"),
        ({"label": "x" * 65}, "$.label"),
        ({"deadline": "2026-01-01T00:00:00"}, "$.deadline"),
        ({"release_after": "30 days"}, "$.release_after"),
        ({"release_after": "P2Y"}, "$.release_after"),
        ({"monitor_by": ["me"]}, "$.monitor_by[0]"),
        ({"manage_by": "me"}, "$.manage_by"),
        ({"colour": 1}, "$.colour"),
        ({"body": {"run": 5}}, "$.body.run"),
    ],
)
def test_a_wrong_request_names_the_member(lab: Lab, change: Any, place: str) -> None:
    error = refused(lambda: lab.actions.run("lab/scripted", {"request_id": "r", "body": {}} | change, ALICE))

    assert (error.http_status, error.code) == (422, "RequestValidationError")
    assert f"Field '{place}'" in error.description
    assert lab.scripted.calls == []


def test_older_spellings_of_a_body_are_adapted_before_the_check(lab: Lab) -> None:
    assert lab.run({"old_run": "fail"})["status"] == "FAILED"


def test_only_those_named_may_run_and_see_a_provider(lab: Lab) -> None:
    assert refused(lambda: lab.run({}, path="lab/staff")).http_status == 403
    assert refused(lambda: lab.actions.introspect("lab/staff", ALICE)).http_status == 403
    assert refused(lambda: lab.actions.introspect("lab/staff")).http_status == 401
    assert lab.actions.introspect("lab/staff", CAROL)["title"] == "Scripted"
    assert lab.run({}, path="lab/staff", caller=CAROL)["status"] == "SUCCEEDED"


@pytest.mark.parametrize(
    ("sharing", "may_monitor", "may_manage"),
    [
        ({}, False, False),
        ({"monitor_by": [group_urn(STAFF)]}, True, False),
        ({"manage_by": [CAROL.urn]}, True, True),
        ({"manage_by": [group_urn(STAFF)], "allowed_clients": ["some-client"]}, False, False),
    ],
)
def test_sharing_decides_who_monitors_and_manages(lab: Lab, sharing: Any, may_monitor: bool, may_manage: bool) -> None:
    stranger = replace(CAROL, client_id="other-client")
    action_id = lab.run({"run": "active", "wait": 60}, **sharing)["action_id"]

    for may, call in (
        (may_monitor, lambda: lab.status(action_id, stranger)),
        (may_manage, lambda: lab.actions.cancel("lab/scripted", action_id, stranger)),
        (may_manage, lambda: lab.actions.release("lab/scripted", action_id, stranger)),
    ):
        if may:
            call()
        else:
            assert refused(call).http_status == 403


def test_an_action_is_found_only_under_its_own_provider(lab: Lab) -> None:
    action_id = lab.run({})["action_id"]

    assert refused(lambda: lab.status(action_id, path="lab/pure")).http_status == 404


def test_cancel_of_an_active_action_ends_it_once(lab: Lab) -> None:
    action_id = lab.run({"run": "active", "wait": 60}, waiter="w")["action_id"]
    first = lab.actions.cancel("lab/scripted", action_id, ALICE)
    again = lab.actions.cancel("lab/scripted", action_id, ALICE)

    assert (first["status"], first["details"]["code"]) == ("FAILED", "Canceled")
    assert again == first
    assert lab.scripted.count("cancel") == 1
    assert lab.wakes == ["w"]


def test_release_needs_an_end_and_is_an_end_to_everything_but_the_request_id(lab: Lab) -> None:
    action_id = lab.run({"run": "active", "wait": 60})["action_id"]
    assert refused(lambda: lab.actions.release("lab/scripted", action_id, ALICE)).http_status == 409
    last = lab.actions.cancel("lab/scripted", action_id, ALICE)

    assert lab.actions.release("lab/scripted", action_id, ALICE) == last
    assert refused(lambda: lab.status(action_id)).http_status == 404
    assert refused(lambda: lab.actions.release("lab/scripted", action_id, ALICE)).http_status == 404
    assert refused(lambda: lab.run({"run": "active", "wait": 60})).http_status == 409
    assert lab.scripted.count("run") == 1


def test_resume_uses_the_creators_present_scopes(lab: Lab) -> None:
    action_id = lab.run({"run": "inactive"})["action_id"]
    richer = replace(ALICE, scopes=frozenset({"scripted", "more"}))
    document = lab.actions.resume("lab/scripted", action_id, richer)

    assert (document["status"], document["details"]) == ("SUCCEEDED", {"resumed_by_scopes": ["more", "scripted"]})
    assert refused(lambda: lab.actions.resume("lab/scripted", action_id, richer)).http_status == 409


def test_resume_of_an_active_action_changes_nothing(lab: Lab) -> None:
    document = lab.run({"run": "active", "wait": 60})

    assert lab.actions.resume("lab/scripted", document["action_id"], ALICE) == document
    assert lab.scripted.count("resume") == 0


def test_enumerate_shows_what_the_caller_has_a_role_on(lab: Lab) -> None:
    mine = lab.run({"run": "active", "wait": 60}, request_id="1", caller=BOB)
    done = lab.run({}, request_id="2", caller=BOB)
    shared = lab.run({"run": "active", "wait": 60}, request_id="3", monitor_by=[BOB.urn])
    lab.run({"run": "active", "wait": 60}, request_id="4")

    def ids(**options: Any) -> set[str]:
        return {one["action_id"] for one in lab.actions.enumerate("lab/scripted", BOB, **options)}

    assert ids() == {mine["action_id"]}
    assert ids(statuses=["Succeeded", "nonsense"]) == {done["action_id"]}
    assert ids(roles=["monitor_by"]) == {mine["action_id"], shared["action_id"]}
    assert ids(roles=["nonsense"], statuses=["active", "succeeded"]) == {mine["action_id"], done["action_id"]}


def test_a_log_is_not_kept(lab: Lab) -> None:
    action_id = lab.run({})["action_id"]

    assert refused(lambda: lab.actions.log("lab/scripted", action_id, ALICE)).http_status == 404
    assert refused(lambda: lab.actions.log("lab/scripted", action_id, BOB)).http_status == 403


def test_finished_actions_are_released_in_time_and_their_request_ids_later(
    lab: Lab, clock: VirtualClock, database: SqlDatabase
) -> None:
    short = lab.run({}, request_id="short", release_after="PT1H")["action_id"]
    long = lab.run({}, request_id="long")["action_id"]
    assert lab.actions.purge(clock.now()) == 0

    assert lab.actions.purge(clock.now() + timedelta(hours=2)) == 1
    assert refused(lambda: lab.status(short)).http_status == 404
    assert lab.status(long)["status"] == "SUCCEEDED"
    assert refused(lambda: lab.run({}, request_id="short", release_after="PT1H")).http_status == 409

    assert lab.actions.purge(clock.now() + timedelta(days=31)) == 2
    assert lab.run({}, request_id="short", release_after="PT1H")["status"] == "SUCCEEDED"


def test_an_active_action_is_never_purged(lab: Lab, clock: VirtualClock) -> None:
    action_id = lab.run({"run": "active", "wait": 10**7})["action_id"]
    lab.actions.purge(clock.now() + timedelta(days=400))

    assert lab.status(action_id)["status"] == "ACTIVE"
