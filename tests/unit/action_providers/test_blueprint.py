"""The Action Provider API as HTTP clients see it."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any, ClassVar

import pytest
from flask import Flask
from flask.testing import FlaskClient
from werkzeug.test import TestResponse

from action_providers.blueprint import create_blueprint
from schemas.errors import ServiceError
from schemas.principals import Caller
from tests.unit.action_providers.scripted import ALICE, BOB, CAROL, Lab

BASE = "/actions/lab/scripted"


class Tokens:
    """An authorizer that knows four tokens."""

    known: ClassVar[dict[str, Caller]] = {
        "alice": ALICE,
        "bob": BOB,
        "carol": CAROL,
        "poor": replace(ALICE, scopes=frozenset({"other"})),
    }

    def authenticate(self, bearer_token: str) -> Caller:
        if bearer_token == "broken":
            raise RuntimeError("secret of the server")
        if bearer_token not in self.known:
            raise ServiceError(401, "AUTHENTICATION_ERROR", "the token is not known")
        return self.known[bearer_token]


@pytest.fixture
def http(lab: Lab) -> FlaskClient:
    app = Flask("test")
    app.register_blueprint(create_blueprint(lab.actions, Tokens()), url_prefix="/actions")
    return app.test_client()


def send(http: FlaskClient, method: str, path: str, document: Any = None, token: str | None = "alice") -> TestResponse:
    headers = {"Authorization": f"Bearer {token}"} if token else {}
    return http.open(path, method=method, headers=headers, json=document)


def start(http: FlaskClient, body: Any, path: str = "/run", request_id: str = "r") -> TestResponse:
    return send(http, "POST", BASE + path, {"request_id": request_id, "body": body})


@pytest.mark.parametrize("path", ["/run", "/actions"])
def test_run_answers_202_and_its_repetition_200(http: FlaskClient, path: str) -> None:
    first, again = start(http, {}, path), start(http, {}, path)

    assert (first.status_code, again.status_code) == (202, 200)
    assert first.json == again.json


@pytest.mark.parametrize(
    ("method", "old", "new"),
    [
        ("GET", "/{}/status", "/actions/{}"),
        ("POST", "/{}/cancel", "/actions/{}/cancel"),
        ("POST", "/{}/resume", "/actions/{}/resume"),
        ("GET", "/{}/log", "/actions/{}/log"),
    ],
)
def test_both_route_layouts_answer_alike(http: FlaskClient, method: str, old: str, new: str) -> None:
    action_id = start(http, {}).json["action_id"]
    one, other = (send(http, method, BASE + path.format(action_id)) for path in (old, new))

    assert (one.status_code, one.json) == (other.status_code, other.json)


@pytest.mark.parametrize(("method", "path"), [("POST", "/{}/release"), ("DELETE", "/actions/{}")])
def test_release_in_both_layouts_forgets_the_action(http: FlaskClient, method: str, path: str) -> None:
    action_id = start(http, {}).json["action_id"]

    assert send(http, method, BASE + path.format(action_id)).status_code == 200
    assert send(http, "GET", f"{BASE}/{action_id}/status").json["code"] == "ActionNotFound"


@pytest.mark.parametrize("slash", ["", "/"])
def test_introspection_is_public_and_open_to_every_origin(http: FlaskClient, slash: str) -> None:
    answer = send(http, "GET", BASE + slash, token=None)

    assert (answer.status_code, answer.headers["Access-Control-Allow-Origin"]) == (200, "*")
    assert (answer.json["api_version"], answer.json["globus_auth_scope"]) == ("1.0", "scripted")
    assert send(http, "OPTIONS", BASE + slash, token=None).status_code == 204


def test_a_provider_that_is_not_public_shows_itself_to_those_it_names(http: FlaskClient) -> None:
    statuses = [send(http, "GET", "/actions/lab/staff/", token=token).status_code for token in (None, "alice", "carol")]

    assert statuses == [401, 403, 200]


def test_a_token_without_the_scope_is_refused_and_told_which_is_missing(http: FlaskClient) -> None:
    answer = send(http, "POST", f"{BASE}/run", {"request_id": "r", "body": {}}, token="poor")

    assert (answer.status_code, answer.json["code"], answer.json["required_scope"]) == (
        403,
        "UnauthorizedRequest",
        "scripted",
    )


@pytest.mark.parametrize("token", [None, "unknown"])
def test_no_caller_is_401(http: FlaskClient, token: str | None) -> None:
    answer = send(http, "GET", f"{BASE}/x/status", token=token)

    assert (answer.status_code, answer.json["code"]) == (401, "UnauthorizedRequest")
    assert answer.headers["WWW-Authenticate"] == "Bearer"


def test_a_token_in_the_address_is_refused(http: FlaskClient) -> None:
    answer = send(http, "GET", f"{BASE}/x/status?access_token=alice")

    assert (answer.status_code, answer.json["code"]) == (400, "BadActionRequest")


def test_our_own_errors_are_500_and_tell_nothing(http: FlaskClient) -> None:
    answer = send(http, "GET", f"{BASE}/x/status", token="broken")

    document = answer.json
    assert answer.status_code == 500
    assert document.keys() == {"code", "description", "debug_id"}
    assert (document["code"], document["description"]) == ("ActionProviderError", "Internal Server Error")


@pytest.mark.parametrize(
    ("raw", "headers", "status"),
    [
        (b"", {}, 400),
        (b"{} {}", {}, 400),
        (b'{"request_id": "a", "request_id": "b", "body": {}}', {}, 400),
        (b'{"request_id": "a", "body": {"n": NaN}}', {}, 400),
        (b'{"request_id": "a", "body": {"t": "\\u0000"}}', {}, 422),
        (b"\xff\xfe{\x00}\x00", {}, 415),
        (b'{"request_id": "' + b"x" * 1_048_576 + b'", "body": {}}', {}, 413),
        (b"{}", {"Content-Type": "text/plain"}, 415),
        (b"{}", {"Content-Type": "application/json; charset=utf-16"}, 415),
        (b"{}", {"Content-Encoding": "gzip"}, 415),
        (b"[]", {}, 422),
    ],
)
def test_a_bad_body_is_refused_in_the_envelope(
    http: FlaskClient, raw: bytes, headers: dict[str, str], status: int
) -> None:
    sent = {"Authorization": "Bearer alice", "Content-Type": "application/json"} | headers
    answer = http.post(f"{BASE}/run", data=raw, headers=sent)

    assert answer.status_code == status
    assert set(json.loads(answer.data)) == {"code", "description"}


def test_enumerate_is_a_bare_list(http: FlaskClient) -> None:
    action_id = start(http, {}).json["action_id"]
    answer = send(http, "GET", f"{BASE}/actions?roles=creator_id,monitor_by&status=Active,SUCCEEDED")

    assert [one["action_id"] for one in answer.json] == [action_id]
    assert send(http, "GET", f"{BASE}/actions").json == []


def test_an_unknown_path_is_404_in_the_envelope(http: FlaskClient) -> None:
    assert send(http, "GET", "/actions/nowhere/").json["code"] == "ActionNotFound"
