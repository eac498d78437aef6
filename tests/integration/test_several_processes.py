"""Several engines on one PostgreSQL database: work is taken up at once by whoever is free, and by one of them."""

from __future__ import annotations

import threading
import time
from dataclasses import replace
from pathlib import Path

from flows_engine.app import House, build
from flows_engine.settings import load
from schemas.scopes import flow_scope
from tests.postgres import PostgresServer

ALL = "https://auth.globus.org/scopes/eec9b274-0c81-4334-bdc2-54e90e689b9a/all"


def _house(url: str, data_dir: Path, port: int) -> House:
    # Without news between them, a look for work every minute would be far too late for this test.
    return build(replace(load(data_dir=data_dir, database_url=url, port=port, environ={}), poll_s=60.0))


def test_a_run_started_in_one_process_is_advanced_by_another_at_once(postgres: PostgresServer, tmp_path: Path) -> None:
    url = postgres.new_database()
    front, engine = (_house(url, tmp_path, port) for port in (8765, 8766))
    assert front.doorbell is not None
    front.doorbell.start()  # answers requests, advances nothing
    engine.start()
    assert engine.doorbell is not None
    assert engine.doorbell.listening.wait(15)
    try:
        owner = front.auth.caller_for_identity(front.installation.client_id, {ALL})
        action = {
            "Type": "Action",
            "ActionUrl": "https://actions.globus.org/hello_world",
            "Parameters": {},
            "End": True,
        }
        body = {"title": "hello", "definition": {"StartAt": "A", "States": {"A": action}}, "input_schema": {}}
        flow_id = str(front.flows.create(owner, body)["id"])
        starter = replace(owner, scopes=owner.scopes | {flow_scope(flow_id)})
        run_id = str(front.runs.start(starter, flow_id, {"body": {}}).document["run_id"])
        deadline = time.monotonic() + 15
        pause = threading.Event()
        while front.runs.get(owner, run_id)["status"] == "ACTIVE" and time.monotonic() < deadline:
            pause.wait(0.02)
        assert front.runs.get(owner, run_id)["status"] == "SUCCEEDED"
    finally:
        engine.close()
        front.doorbell.stop()
        front.close(started=False)
        postgres.drop_database(url)
