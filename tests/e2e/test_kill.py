"""``kill -9`` of a real server: nothing is lost, nothing is done twice, whatever the moment.

The witnesses are not the engine's own word: the providers' table of actions, the files, and the events folded again.
"""

from __future__ import annotations

import contextlib
import random
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import requests
from sqlalchemy import func, select

from action_providers.tables import actions
from flows_engine.asl.dialects import UNION
from flows_engine.engine.invariants import broken_invariants
from flows_engine.local import credentials
from flows_engine.sdk import Run, UnreachableError
from flows_engine.store.db import SqlDatabase
from flows_engine.store.tables import runs as runs_table
from schemas.scopes import flow_scope
from tests.e2e.server import ServerProcess

_RUNS = 50
_KILLS = 3
_PATIENCE_S = 60.0
#: Of a killed server, on PostgreSQL, nothing is taken over before its leases have run out.
_LEASE = {"FLOWS_LEASE_MS": "1500"}
#: A scope that the flow does not have by itself.
_FURTHER_SCOPE = "urn:globus:auth:scope:transfer.api.globus.org:all"

_FILES = {"a.txt": b"alpha\n", "b.bin": bytes(range(256)) * 300, "below/c.json": b'{"c": 3}\n'}


def _action(provider: str, following: str | None, /, **parameters: Any) -> dict[str, Any]:
    state = {"Type": "Action", "ActionUrl": f"https://actions.globus.org/{provider}", "Parameters": parameters}
    return state | {"ResultPath": "$.last"} | ({"Next": following} if following else {"End": True})


_TARGET = {"endpoint_id.$": "$.target", "path.$": "$.path"}
#: Five actions by four providers; the slow ones are where most kills fall.
_DEFINITION = {
    "StartAt": "Look",
    "States": {
        "Look": _action("transfer/stat", "Rest", **{"endpoint_id.$": "$.source", "path": "/"}),
        "Rest": _action("hello_world", "Copy", **{"sleep_time": 1}),
        "Copy": _action(
            "transfer/transfer",
            "List",
            **{
                "source_endpoint.$": "$.source",
                "destination_endpoint.$": "$.target",
                "DATA": [{"source_path": "/", "destination_path.$": "$.path", "recursive": True}],
            },
        ),
        "List": _action("transfer/ls", "Greet", **_TARGET),
        "Greet": _action("hello_world", None, **{"echo_string.$": "$.path"}),
    },
}
_PROVIDERS = {"transfer/stat": 1, "hello_world": 2, "transfer/transfer": 1, "transfer/ls": 1}
_CODES = ["FlowStarted", *["ActionStarted", "ActionCompleted"] * 5, "FlowSucceeded"]


@pytest.fixture
def server(tmp_path: Path) -> Iterator[ServerProcess]:
    process = ServerProcess(tmp_path / "data", environ=_LEASE)
    yield process
    process.close()


class Reaper(threading.Thread):
    """Kills and restarts the server when the providers have seen so many actions, and a random moment has passed."""

    def __init__(self, server: ServerProcess, database: SqlDatabase, seed: int) -> None:
        super().__init__(name="reaper", daemon=True)
        self._server = server
        self._database = database
        self._random = random.Random(seed)
        most = _RUNS * sum(_PROVIDERS.values())
        self._moments = sorted(self._random.sample(range(1, most - _RUNS), _KILLS))
        self._over = threading.Event()
        self.kills = 0
        self.failure: BaseException | None = None

    def run(self) -> None:
        try:
            for moment in self._moments:
                while not self._over.is_set() and _count(self._database) < moment:
                    self._over.wait(0.01)
                self._over.wait(self._random.uniform(0, 0.05))
                if self._over.is_set():
                    return
                self._server.kill()
                self.kills += 1
                self._server.start()
        except BaseException as failure:
            self.failure = failure

    def check(self) -> None:
        """Raise what ended it before its time."""
        if self.failure is not None:
            raise self.failure

    def stop(self) -> None:
        self._over.set()
        self.join()


@pytest.mark.parametrize("seed", [20260131])
def test_fifty_runs_survive_a_server_that_is_killed_again_and_again(
    database_url: str, tmp_path: Path, seed: int
) -> None:
    with contextlib.ExitStack() as stack:
        server = ServerProcess(tmp_path / "data", database_url=database_url, environ=_LEASE)
        stack.callback(server.close)
        database = SqlDatabase(database_url)
        stack.callback(database.dispose)
        server.start()
        source, target = tmp_path / "source", tmp_path / "target"
        _write_files(source)
        target.mkdir()
        ids = {one.name: server.command("collections", "add", one.name, str(one)).strip() for one in (source, target)}
        with server.client() as client:
            flow_id = client.create_flow("Five actions", _DEFINITION)["id"]
            reaper = Reaper(server, database, seed)
            stack.callback(reaper.stop)
            reaper.start()
            started = [
                _insist(reaper, partial(client.run_flow, flow_id, ids | {"path": f"/run-{n}/"}, idempotency_key=f"{n}"))
                for n in range(_RUNS)
            ]
            reaper.join(_PATIENCE_S)
            ended = [_insist(reaper, partial(run.wait, _PATIENCE_S)) for run in started]

            assert reaper.kills == _KILLS
            assert Counter(run.status for run in ended) == {"SUCCEEDED": _RUNS}
            assert {run.run_id for run in ended} == {one["run_id"] for one in client.list_runs()}
            for run in ended:
                assert [entry["code"] for entry in run.log()] == _CODES
        assert server.stop() == 0
        assert not (server.data_dir / "server.json").exists()
        assert [line for line in server.log.read_text().splitlines() if " ERROR " in line] == []
        _assert_ledger(database)
        _assert_files(target)


def _assert_ledger(database: SqlDatabase) -> None:
    """Every action was started exactly once, and the engine's own books agree."""
    with database.read() as tx:
        rows = tx.execute(select(actions.c.provider, actions.c.request_id, actions.c.status)).all()
        assert list(broken_invariants(tx, UNION)) == []
    assert Counter(row.provider for row in rows) == {name: n * _RUNS for name, n in _PROVIDERS.items()}
    assert len({row.request_id for row in rows}) == len(rows)
    assert {row.status for row in rows} == {"SUCCEEDED"}


def _assert_files(target: Path) -> None:
    """Every copy is whole, and no unfinished copy is left beside it."""
    expected = {f"run-{n}/{name}": content for n in range(_RUNS) for name, content in _FILES.items()}
    found = {str(file.relative_to(target)): file.read_bytes() for file in target.rglob("*") if file.is_file()}
    assert sorted(found) == sorted(expected)
    assert found == expected


# Points of the engine that only a process passes


def test_start_that_was_not_answered_is_one_run(server: ServerProcess) -> None:
    server.start(FLOWS_CRASH_AT="start_run.after_commit")
    with server.client(pause=_no_pause) as client:
        flow_id = client.create_flow("Hello", _hello(sleep_time=1))["id"]
        with pytest.raises(UnreachableError):
            client.run_flow(flow_id, idempotency_key="one")
        assert server.ended() == 137
        server.start()

        run = client.run_flow(flow_id, idempotency_key="one").wait(_PATIENCE_S)

        assert run.status == "SUCCEEDED"
        assert [one["run_id"] for one in client.list_runs()] == [run.run_id]
    _assert_once(server)


def test_cancel_that_was_not_answered_is_done(server: ServerProcess) -> None:
    server.start(FLOWS_CRASH_AT="cancel.after_commit")
    with server.client(pause=_no_pause) as client:
        flow_id = client.create_flow("Hello", _hello(sleep_time=3600))["id"]
        run = client.run_flow(flow_id)
        _until(lambda: _statuses(server) == ["ACTIVE"])
        with pytest.raises(UnreachableError):
            run.cancel()
        assert server.ended() == 137
        server.start()

        run = client.get_run(run.run_id).wait(_PATIENCE_S)

        assert run.status == "FAILED"
        assert [entry["code"] for entry in run.log()][-1] == "FlowCanceled"
        _until(lambda: _statuses(server) == ["FAILED"])
    _assert_once(server)


def test_resume_that_was_not_answered_is_done(server: ServerProcess) -> None:
    server.start(FLOWS_CRASH_AT="resume.after_commit")
    with server.client(pause=_no_pause) as client:
        flow_id = client.create_flow("Hello", _hello(required_dependent_scope=_FURTHER_SCOPE))["id"]
        run = client.run_flow(flow_id).wait(_PATIENCE_S)
        assert run.status == "INACTIVE"
        _consent(server, f"{flow_scope(flow_id)}[{_FURTHER_SCOPE}]")
        with pytest.raises(UnreachableError):
            run.resume()
        assert server.ended() == 137
        server.start()

        _until(lambda: run.refresh().is_final)

        assert run.status == "SUCCEEDED"
        assert [entry["code"] for entry in run.log()].count("RunResumed") == 1
    _assert_once(server)


def test_run_goes_on_after_crashes_while_leases_are_renewed_and_while_the_server_stops(server: ServerProcess) -> None:
    server.start(FLOWS_CRASH_AT="stop.before_give_back")
    with server.client() as client:
        flow_id = client.create_flow("Hello", _hello(sleep_time=3))["id"]
        run = client.run_flow(flow_id)
        _until(lambda: _statuses(server) == ["ACTIVE"])
        assert server.stop() == 137
        server.start(FLOWS_CRASH_AT="stop.after_give_back")
        assert server.stop() == 137
        for point in ("lease.before_renew", "lease.after_renew"):
            server.start(FLOWS_CRASH_AT=point)
            assert server.ended() == 137, point
        server.start()

        assert run.wait(_PATIENCE_S).status == "SUCCEEDED"
    _assert_once(server)


def _hello(**parameters: Any) -> dict[str, Any]:
    return {"StartAt": "Greet", "States": {"Greet": _action("hello_world", None, **parameters)}}


def _insist(reaper: Reaper, ask: Callable[[], Run]) -> Run:
    """Ask until there is an answer, as a program does that has an idempotency key."""
    deadline = time.monotonic() + _PATIENCE_S
    while True:
        reaper.check()
        try:
            return ask()
        except UnreachableError:
            assert time.monotonic() < deadline, "the server did not come back"


def _until(is_so: Callable[[], bool]) -> None:
    deadline = time.monotonic() + _PATIENCE_S
    while not is_so():
        assert time.monotonic() < deadline, "it never came to be"
        threading.Event().wait(0.02)


def _no_pause(_seconds: float) -> None:
    """A server that has crashed does not come back by waiting."""


def _consent(server: ServerProcess, scope: str) -> None:
    """Grant scopes to the installation's client, as its owner: by asking for a token that has them."""
    form = {"grant_type": "client_credentials", "scope": scope}
    answer = requests.post(
        f"{server.url}/auth/v2/oauth2/token", data=form, auth=credentials(server.data_dir), timeout=10
    )
    assert answer.status_code == 200, answer.text


def _write_files(root: Path) -> None:
    for name, content in _FILES.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_bytes(content)


def _count(database: SqlDatabase) -> int:
    with database.read() as tx:
        return tx.execute(select(func.count()).select_from(actions)).scalar_one()


def _statuses(server: ServerProcess) -> list[str]:
    with _database(server).read() as tx:
        return list(tx.execute(select(actions.c.status)).scalars())


def _assert_once(server: ServerProcess) -> None:
    """There is one run with one action, and the engine's books agree."""
    with _database(server).read() as tx:
        assert tx.execute(select(func.count()).select_from(runs_table)).scalar_one() == 1
        assert tx.execute(select(func.count()).select_from(actions)).scalar_one() == 1
        assert list(broken_invariants(tx, UNION)) == []


def _database(server: ServerProcess) -> SqlDatabase:
    return SqlDatabase(f"sqlite:///{server.data_dir / 'flows.db'}")
