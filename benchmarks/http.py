"""The same server over HTTP: what a client of the Flows API sees."""

from __future__ import annotations

import statistics
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import requests
from waitress.server import create_server

from flows_engine.app import House
from schemas.json_text import loads

from .engine import IDLE

FLOWS_ALL = "https://auth.globus.org/scopes/eec9b274-0c81-4334-bdc2-54e90e689b9a/all"


def measure(house: House) -> dict[str, float]:
    house.start()
    server = create_server(house.web, host="127.0.0.1", port=house.settings.port, threads=16)
    thread = threading.Thread(target=server.run, daemon=True)
    thread.start()
    base = house.settings.base_url
    try:
        figures = _figures(house, base)
    finally:
        server.close()
    for name, value in figures.items():
        print(f"  {name:42} {value:>12,}")
    return figures


def _figures(house: House, base: str) -> dict[str, float]:
    client = loads(house.installation.client_file.read_bytes())
    credentials = (client["client_id"], client["client_secret"])
    session = _session(base, credentials, FLOWS_ALL)
    body = {"title": "idle", "definition": IDLE, "input_schema": {}}
    flow = session.post(f"{base}/flows/flows", json=body).json()
    starter = _session(base, credentials, flow["globus_auth_scope"])
    url = f"{base}/flows/flows/{flow['id']}/run"
    starts = [_timed(starter, "POST", url) for _ in range(200)]
    run = starter.post(url, json={"body": {}}).json()
    reads = [_timed(session, "GET", f"{base}/flows/runs/{run['run_id']}") for _ in range(500)]
    with ThreadPoolExecutor(8) as pool:
        begun = time.perf_counter()
        list(pool.map(lambda _: _timed(session, "GET", f"{base}/flows/runs/{run['run_id']}"), range(2000)))
        rate = 2000 / (time.perf_counter() - begun)
    return {
        "POST run p50 ms": round(statistics.median(starts) * 1e3, 2),
        "POST run p99 ms": round(statistics.quantiles(starts, n=100)[98] * 1e3, 2),
        "GET run p50 ms": round(statistics.median(reads) * 1e3, 2),
        "GET run requests/s, 8 clients": round(rate),
    }


def _session(base: str, credentials: tuple[str, str], scope: str) -> requests.Session:
    form = {"grant_type": "client_credentials", "scope": scope}
    answer = requests.post(f"{base}/auth/v2/oauth2/token", data=form, auth=credentials, timeout=30)
    answer.raise_for_status()
    session = requests.Session()
    session.headers["Authorization"] = f"Bearer {answer.json()['access_token']}"
    return session


def _timed(session: requests.Session, method: str, url: str) -> float:
    begun = time.perf_counter()
    answer = session.request(method, url, json={"body": {}} if method == "POST" else None, timeout=30)
    answer.raise_for_status()
    return time.perf_counter() - begun
