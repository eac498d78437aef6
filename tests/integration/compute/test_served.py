"""Requests that wait, at a real server: they leave threads to others, hear of other processes, and end with the server."""

from __future__ import annotations

import itertools
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor, wait
from pathlib import Path
from typing import Any

import pytest

from compute_agent.connection import Http
from flows_engine.api.http_server import HttpLimits
from flows_engine.app import build
from flows_engine.local import credentials
from flows_engine.settings import load
from schemas.scopes import COMPUTE_SCOPE
from tests.conformance.bad_input.service import running_service
from tests.e2e.server import ServerProcess
from tests.postgres import PostgresServer

#: A wait that no test sees the end of, and what counts as at once.
LONG_S = 25
SOON_S = 4.0
FUNCTION = {"function_name": "f", "function_code": "def f():\n    return 1\n", "serialized": False}

#: Numbers of lease calls, which rise within a session.
_CALLS = itertools.count(1)


class Server:
    """A server as its owner calls it."""

    def __init__(self, http: Http) -> None:
        self._http = http

    def call(self, method: str, path: str, body: Any = None) -> Any:
        return self._http.call(method, f"/compute{path}", scope=COMPUTE_SCOPE, body=body, answer_s=LONG_S)

    def endpoint(self) -> Any:
        return self.call("POST", "/v3/endpoints", {"endpoint_name": "lab"})

    def lease(self, endpoint: Any) -> Any:
        body = {
            "session": endpoint["session"]["number"],
            "call": next(_CALLS),
            "limit": 1,
            "wait": LONG_S,
            "received": 0,
        }
        return self.call("POST", f"/v3/endpoints/{endpoint['endpoint_id']}/lease", body)

    def submit(self, endpoint: Any, function_id: str) -> Any:
        body = {"tasks": {function_id: ["1"]}}
        return self.call("POST", f"/v3/endpoints/{endpoint['endpoint_id']}/submit", body)

    def function(self) -> str:
        return str(self.call("POST", "/v3/functions", FUNCTION)["function_uuid"])


@pytest.fixture
def threads() -> Iterator[ThreadPoolExecutor]:
    with ThreadPoolExecutor(16) as pool:
        yield pool


def until(condition: Callable[[], bool], *, within_s: float = 10) -> None:
    end = time.monotonic() + within_s
    while not condition():
        assert time.monotonic() < end, "it did not come to that"
        threading.Event().wait(0.01)


def test_however_many_wait_others_are_answered(tmp_path: Path, threads: ThreadPoolExecutor) -> None:
    """Four threads, of which two may wait: eight agents ask for work and have none."""
    environ = {"FLOWS_HTTP_THREADS": "4"}
    with running_service(tmp_path, environ=environ, limits=HttpLimits(threads=4)) as running:
        client_id, secret = running.credentials
        server = Server(Http(running.url, client_id=client_id, client_secret=secret))
        endpoints = [server.endpoint() for _ in range(8)]
        polls = [threads.submit(server.lease, one) for one in endpoints]
        until(lambda: sum(one.done() for one in polls) == 6)
        early = [one.result() for one in polls if one.done()]
        assert [one["retry_after_s"] for one in early] == [1] * 6
        began = time.monotonic()
        assert running.send("GET", "/healthz", scope=None).status_code == 200
        function_id = server.function()
        assert time.monotonic() - began < SOON_S
        for one in endpoints:
            server.submit(one, function_id)
        assert not wait(polls, timeout=SOON_S).not_done
        assert sum(len(one.result()["tasks"]) for one in polls) == 2


def test_who_waits_is_answered_when_the_server_stops(tmp_path: Path, threads: ThreadPoolExecutor) -> None:
    made = ServerProcess(tmp_path / "data")
    try:
        made.start()
        client_id, secret = credentials(made.data_dir)
        server = Server(Http(made.url, client_id=client_id, client_secret=secret))
        poll: Future[Any] = threads.submit(server.lease, server.endpoint())
        assert wait([poll], timeout=0.5).not_done, "it waits"
        began = time.monotonic()
        assert made.stop() == 0
        assert time.monotonic() - began < SOON_S
        assert poll.result(SOON_S)["tasks"] == []
    finally:
        made.close()


def test_a_task_submitted_in_one_process_wakes_the_agent_that_waits_in_another(
    postgres: PostgresServer, tmp_path: Path, threads: ThreadPoolExecutor
) -> None:
    url = postgres.new_database()
    front, other = (build(load(data_dir=tmp_path, database_url=url, port=port, environ={})) for port in (8765, 8766))
    owner = front.auth.caller_for_identity(front.installation.client_id, {COMPUTE_SCOPE})
    try:
        for house in (front, other):
            house.start()
            assert house.doorbell is not None
            assert house.doorbell.listening.wait(15)
        endpoint = other.compute.register_endpoint(owner, {"endpoint_name": "lab"}, None)
        body = {
            "session": endpoint["session"]["number"],
            "call": next(_CALLS),
            "limit": 1,
            "wait": LONG_S,
            "received": 0,
        }
        poll = threads.submit(other.compute.lease, owner, endpoint["endpoint_id"], body)
        assert wait([poll], timeout=0.2).not_done, "it waits"
        function_id = front.compute.register_function(owner, FUNCTION)["function_uuid"]
        began = time.monotonic()
        submitted = front.compute.submit(owner, endpoint["endpoint_id"], {"tasks": {function_id: ["1"]}})
        assert [one["task_id"] for one in poll.result(SOON_S)["tasks"]] == submitted["tasks"][function_id]
        assert time.monotonic() - began < SOON_S, "it did not have to look again by itself"
    finally:
        for house in (front, other):
            house.close()
        postgres.drop_database(url)
