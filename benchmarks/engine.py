"""The durable engine without HTTP: transitions, action steps and the latency of starting a run."""

from __future__ import annotations

import statistics
import threading
import time
from collections.abc import Sequence

from sqlalchemy import func, select

from flows_engine.app import House
from flows_engine.store.tables import runs
from schemas.json_text import Json
from schemas.principals import Caller
from schemas.scopes import flow_scope

#: A loop whose every turn enters two states: 1,000 transitions a run.
LOOP = {
    "StartAt": "Count",
    "States": {
        "Count": {
            "Type": "ExpressionEval",
            "Parameters": {"n.=": "loop.n + 1"},
            "ResultPath": "$.loop",
            "Next": "More",
        },
        "More": {
            "Type": "Choice",
            "Choices": [{"Variable": "$.loop.n", "NumericLessThan": 500, "Next": "Count"}],
            "Default": "Done",
        },
        "Done": {"Type": "Pass", "End": True},
    },
}

#: A run that waits at once: what is left is the start.
IDLE = {"StartAt": "W", "States": {"W": {"Type": "Wait", "Seconds": 86_400, "End": True}}}

ACTION_STEPS = 10
ACTIONS = {
    "StartAt": "A0",
    "States": {
        f"A{i}": {
            "Type": "Action",
            "ActionUrl": "https://actions.globus.org/hello_world",
            "Parameters": {"echo_string": "x"},
            "ResultPath": "$.result",
            **({"Next": f"A{i + 1}"} if i + 1 < ACTION_STEPS else {"End": True}),
        }
        for i in range(ACTION_STEPS)
    },
}


def measure(house: House) -> dict[str, float]:
    """Throughput: runs are started, then the worker's rounds are timed until all have ended. Latency: everything runs."""
    figures: dict[str, float] = {}
    loop, actions, idle = (_deploy(house, *one) for one in (("loop", LOOP), ("actions", ACTIONS), ("idle", IDLE)))
    _advance_all(house, actions, {}, 4)  # warm
    for at_once in (1, 16, 64, 256):
        seconds = _advance_all(house, loop, {"loop": {"n": 0}}, at_once)
        figures[f"transitions/s, {at_once} runs at once"] = round(1000 * at_once / seconds)
    for at_once in (1, 16, 64, 256):
        seconds = _advance_all(house, actions, {}, at_once)
        figures[f"action steps/s, {at_once} runs at once"] = round(ACTION_STEPS * at_once / seconds)
    house.start()
    starts = [_timed_start(house, idle) for _ in range(500)]
    figures["start of a run p50 ms"] = round(_quantile(starts, 50) * 1e3, 2)
    figures["start of a run p99 ms"] = round(_quantile(starts, 99) * 1e3, 2)
    whole = [_timed_run(house, actions) for _ in range(50)]
    figures[f"run of {ACTION_STEPS} actions p50 ms"] = round(_quantile(whole, 50) * 1e3, 1)
    for name, value in figures.items():
        print(f"  {name:42} {value:>12,}")
    return figures


def caller_of(house: House, flow_id: str = "") -> Caller:
    """The installation's own client, with every scope the benchmarks need."""
    scopes = {"https://auth.globus.org/scopes/eec9b274-0c81-4334-bdc2-54e90e689b9a/all", flow_scope(flow_id)}
    return house.auth.caller_for_identity(house.installation.client_id, scopes, audience=flow_id or "flows.globus.org")


def _deploy(house: House, title: str, definition: Json) -> str:
    body = {"title": title, "definition": definition, "input_schema": {}}
    return str(house.flows.create(caller_of(house), body)["id"])


def _advance_all(house: House, flow_id: str, value: Json, count: int) -> float:
    """Start ``count`` runs, then work until nothing is due: the seconds of the second part."""
    caller = caller_of(house, flow_id)
    ids = [str(house.runs.start(caller, flow_id, {"body": value}).document["run_id"]) for _ in range(count)]
    begun = time.perf_counter()
    while house.worker.turn():
        pass
    seconds = time.perf_counter() - begun
    with house.database.read() as tx:
        statement = select(func.count()).where(runs.c.run_id.in_(ids), runs.c.status == "SUCCEEDED")
        if tx.execute(statement).scalar() != count:
            raise RuntimeError("not every run has succeeded: the figure would mean nothing")
    return seconds


def _timed_run(house: House, flow_id: str) -> float:
    caller = caller_of(house, flow_id)
    begun = time.perf_counter()
    run_id = str(house.runs.start(caller, flow_id, {"body": {}}).document["run_id"])
    pause = threading.Event()
    statement = select(runs.c.completion_time).where(runs.c.run_id == run_id)
    while True:
        with house.database.read() as tx:
            if tx.execute(statement).scalar() is not None:
                return time.perf_counter() - begun
        pause.wait(0.001)


def _timed_start(house: House, flow_id: str) -> float:
    caller = caller_of(house, flow_id)
    begun = time.perf_counter()
    house.runs.start(caller, flow_id, {"body": {}})
    return time.perf_counter() - begun


def _quantile(values: Sequence[float], percent: int) -> float:
    return statistics.quantiles(values, n=100)[percent - 1] if len(values) > 1 else values[0]
