"""Built-in providers in-process: the answers are those of the kit, with the provider's scope in the caller's hands."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from datetime import datetime
from pathlib import Path
from typing import ClassVar

import pytest

from action_providers.hello_world.provider import HelloWorld
from action_providers.provider import Action, ActionProvider, Description, Outcome, Succeeded
from action_providers.service import Actions
from action_providers.tables import metadata
from flows_engine.actions.answers import Errand, Gone, Refused, Reported
from flows_engine.actions.local import LocalActionClient, Order
from flows_engine.store.db import SqlDatabase
from schemas.action import Status
from schemas.errors import Problem
from schemas.json_text import Json, dumps
from schemas.principals import Caller
from tests.fakes.clock import VirtualClock

CALLER = Caller(identity_id="11111111-1111-4111-8111-111111111111", username="ada@example.org", scopes=frozenset({"s"}))
OTHER = Caller(identity_id="22222222-2222-4222-8222-222222222222", username="bob@example.org")


class ShowScopes(ActionProvider):
    description: ClassVar[Description] = Description(
        path="show_scopes", title="Show scopes", scope="urn:scope:show", synchronous=True, input_schema={}
    )

    def run(self, action: Action, now: datetime) -> Outcome:
        return Succeeded({"scopes": sorted(action.caller.scopes)})


class Closed(ShowScopes):
    description: ClassVar[Description] = Description(
        path="closed", title="C", scope="urn:scope:c", synchronous=True, input_schema={}, runnable_by=(OTHER.urn,)
    )


def no_texts(_schema: Mapping[str, object], body: Json) -> Sequence[Problem]:
    return [] if isinstance(body, dict) else [Problem((), "must be an object", "type")]


@pytest.fixture
def client(tmp_path: Path) -> LocalActionClient:
    db = SqlDatabase(f"sqlite:///{tmp_path}/actions.db")
    metadata.create_all(db.engine)
    providers = {one.description.path: one for one in (HelloWorld(), ShowScopes(), Closed())}
    return LocalActionClient(Actions(db, VirtualClock(), providers, check_body=no_texts))


def errand(path: str, caller: Caller = CALLER, scope: str | None = None) -> Errand:
    return Errand(url=path, scope=scope, caller=caller, flow_id="f", run_id="r")


def request(body: Json, request_id: str = "r-1") -> str:
    return dumps({"request_id": request_id, "body": body})


def test_a_finished_action_is_reported_and_will_be_pushed(client: LocalActionClient) -> None:
    given = client.start(errand("hello_world"), request({"echo_string": "hi"}), waiter="w")

    assert isinstance(given, Reported)
    assert (given.status.status, given.pushes) == (Status.SUCCEEDED, True)
    assert given.status.details == {"Hello": "World", "hello": "hi"}


def test_a_repeated_request_is_the_same_action(client: LocalActionClient) -> None:
    answers = [client.start(errand("hello_world"), request({}), waiter="w") for _ in range(2)]

    assert answers[0] == answers[1]


def test_other_content_under_the_same_request_id_is_named_a_conflict(client: LocalActionClient) -> None:
    client.start(errand("hello_world"), request({}), waiter="w")

    given = client.start(errand("hello_world"), request({"echo_string": "x"}), waiter="w")

    assert isinstance(given, Refused)
    assert given.cause.startswith("REQUEST_CONFLICT")


def test_a_body_that_does_not_fit_is_refused_with_the_providers_document(client: LocalActionClient) -> None:
    given = client.start(errand("hello_world"), request([]), waiter="w")

    assert isinstance(given, Refused)
    assert json.loads(given.cause)["code"] == "RequestValidationError"


@pytest.mark.parametrize("path", ["closed", "nowhere"])
def test_what_the_caller_may_not_run_or_what_is_not_there_is_refused(client: LocalActionClient, path: str) -> None:
    assert isinstance(client.start(errand(path), request({}), waiter="w"), Refused)


def test_the_caller_acts_with_the_scope_of_the_provider(client: LocalActionClient) -> None:
    given = client.start(errand("show_scopes", scope="urn:scope:named"), request({}), waiter="w")

    assert isinstance(given, Reported)
    assert given.status.details == {"scopes": ["s", "urn:scope:named", "urn:scope:show"]}


def test_many_starts_are_answered_in_the_order_of_asking(client: LocalActionClient) -> None:
    orders = [
        Order(errand("hello_world"), request({"echo_string": "1"}, "a"), "w1"),
        Order(errand("closed"), request({}, "b"), "w2"),
        Order(errand("hello_world"), request({"echo_string": "3"}, "c"), "w3"),
    ]

    assert [type(one) for one in client.start_many(orders)] == [Reported, Refused, Reported]


def test_an_action_can_be_followed_canceled_and_released(client: LocalActionClient) -> None:
    where = errand("hello_world")
    begun = client.start(where, request({"sleep_time": 60}), waiter="w")
    assert isinstance(begun, Reported)
    action_id = begun.status.action_id

    polled, early, canceled = client.status(where, action_id), client.release(where, action_id), None
    canceled = client.cancel(where, action_id)
    late, released = client.resume(where, action_id), client.release(where, action_id)

    assert isinstance(polled, Reported)
    assert polled.status.status is Status.ACTIVE
    assert isinstance(early, Refused)
    assert "ActionConflict" in early.cause
    assert isinstance(canceled, Reported)
    assert canceled.status.status is Status.FAILED
    assert isinstance(late, Refused)
    assert isinstance(released, Reported)
    assert isinstance(client.status(where, action_id), Gone)
    assert isinstance(client.release(where, action_id), Gone)


def test_the_action_of_another_is_refused(client: LocalActionClient) -> None:
    begun = client.start(errand("hello_world"), request({"sleep_time": 60}), waiter="w")
    assert isinstance(begun, Reported)

    assert isinstance(client.status(errand("hello_world", OTHER), begun.status.action_id), Refused)
