"""The built-in providers keep the contract, over real HTTP, and the kit finds providers that do not."""

from __future__ import annotations

import threading
import uuid
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import jsonschema
import pytest
from flask import Flask
from werkzeug.serving import make_server

from action_providers.background import Background
from action_providers.blueprint import create_blueprint
from action_providers.contract import RULES, Reply
from action_providers.registry import built_in, by_path
from action_providers.service import Actions
from action_providers.tables import metadata
from action_providers.testing import InProcess, check_provider
from flows_engine.clock import SystemClock
from flows_engine.store.db import SqlDatabase
from schemas.errors import Problem, ServiceError
from schemas.json_text import Json
from schemas.principals import Caller

CASES = {
    "hello_world": {"body": {"echo_string": "hi"}, "slow_body": {"sleep_time": 60}, "bad_body": {"sleep_time": "long"}},
    "expression_eval": {"body": {"expression": "1 + 1"}, "bad_body": {"arguments": {}}},
}


class TwoPeople:
    """An authorizer that knows the tokens "one" and "two", valid for every built-in provider."""

    def authenticate(self, bearer_token: str) -> Caller:
        if bearer_token not in ("one", "two"):
            raise ServiceError(401, "AUTHENTICATION_ERROR", "the token is not known")
        scopes = frozenset(one.description.scope for one in built_in(evaluate=lambda *_: 2))
        digit = "1" if bearer_token == "one" else "2"
        identity_id = f"0000000{digit}-0000-4000-8000-000000000000"
        return Caller(identity_id=identity_id, username=f"{bearer_token}@example.org", scopes=scopes)


def check_body(schema: Mapping[str, Any], body: Json) -> Sequence[Problem]:
    errors = jsonschema.Draft202012Validator(schema).iter_errors(body)
    return [Problem(tuple(error.absolute_path), error.message, str(error.validator)) for error in errors]


@pytest.fixture
def app(tmp_path: Path) -> Iterator[Flask]:
    db = SqlDatabase(f"sqlite:///{tmp_path}/kit.db")
    metadata.create_all(db.engine)
    actions = Actions(db, SystemClock(), by_path(built_in(evaluate=lambda *_: 2)), check_body=check_body)
    background = Background(actions, threads=2)
    background.start()
    app = Flask("conformance")
    app.register_blueprint(create_blueprint(actions, TwoPeople()), url_prefix="/actions")
    yield app
    background.stop()
    db.dispose()


@pytest.fixture
def base_url(app: Flask) -> Iterator[str]:
    server = make_server("127.0.0.1", 0, app, threaded=True)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}/actions"
    server.shutdown()
    thread.join()
    server.server_close()


@pytest.mark.parametrize("path", CASES)
def test_a_built_in_provider_keeps_every_rule(base_url: str, path: str) -> None:
    report = check_provider(f"{base_url}/{path}", token="one", other_token="two", **CASES[path])

    print(report)
    assert report.passed, report.failures
    assert len(report.checks) >= 26
    assert len(report.skipped) <= (1 if path == "hello_world" else 2)


class Forgetful:
    """A provider in front of ours that breaks one rule in transport."""

    def __init__(self, app: Flask, fault: str) -> None:
        self.inner = InProcess(app, "/actions/hello_world")
        self.fault = fault

    def __call__(self, method: str, path: str, headers: Mapping[str, str], data: bytes | None) -> Reply:
        if self.fault == "ignores request_id" and path == "/run" and data is not None:
            data = data.replace(b'"request_id": "', b'"request_id": "' + str(uuid.uuid4()).encode())
        reply = self.inner(method, path, headers, data)
        if self.fault == "answers 200 to everything":
            return Reply(200, reply.headers, reply.document)
        if self.fault == "has its own error envelope" and reply.status >= 400:
            return Reply(reply.status, reply.headers, {"error": "no"})
        if self.fault == "knows other statuses" and isinstance(reply.document, dict) and "status" in reply.document:
            return Reply(reply.status, reply.headers, reply.document | {"status": "DONE"})
        return reply


@pytest.mark.parametrize(
    ("fault", "broken_rule"),
    [
        ("ignores request_id", "a repeated request is answered 200 with the same action"),
        ("answers 200 to everything", "status of an unknown action is 404"),
        ("has its own error envelope", "a request without body is refused"),
        ("knows other statuses", "a new request is answered 202 with a status document"),
    ],
)
def test_the_kit_finds_a_provider_that_breaks_a_rule(app: Flask, fault: str, broken_rule: str) -> None:
    report = check_provider(Forgetful(app, fault), token="one", body={"echo_string": "hi"}, wait_s=1)

    assert broken_rule in [check.name for check in report.failures]
    assert "FAILED" in str(report)


def test_every_rule_has_its_own_sentence() -> None:
    assert len(RULES) >= 40
