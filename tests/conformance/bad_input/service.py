"""The real server under attack: waitress over the whole house, in a thread, and its owner's requests.

``refused`` reads every sentence that an error holds and fails on what no user should ever see.
"""

from __future__ import annotations

import json
import re
import socket
import threading
import uuid
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import requests
from sqlalchemy import func, select
from waitress import wasyncore

from flows_engine import policy
from flows_engine.api.http_server import HttpLimits, create_http_server
from flows_engine.app import House, build
from flows_engine.sdk import Client, Run
from flows_engine.settings import load
from flows_engine.store import tables
from schemas.scopes import flow_scope

JSON = "application/json"
COMPUTE = "https://auth.globus.org/scopes/facd7ccc-c5f4-42aa-916b-a0e270e2c2a9/all"
HELLO = "https://actions.globus.org/hello_world"

#: What no sentence for people may hold: traces, memory addresses, names of Python types, places on this machine.
_FORBIDDEN = re.compile(
    r"Traceback|object at 0x|NoneType|/home/|site-packages|\.py\b|psycopg|sqlite|sqlalchemy|<class|"
    r"\b(?:dict|list|str|int|float|bool) object|JSONDecodeError|\w+Error\(|KeyError|ValueError|TypeError|"
    r"RecursionError|UnicodeEncodeError|AttributeError|sys\.set_int"
)
_PATIENCE_S = 20.0


class Service:
    """A running server. Requests go over TCP, as its owner unless said otherwise."""

    def __init__(self, url: str, house: House, limits: HttpLimits) -> None:
        self.url = url
        self.house = house
        self.limits = limits
        credentials = json.loads(house.installation.client_file.read_text())
        self.client = Client(url, **credentials)
        self.credentials = (credentials["client_id"], credentials["client_secret"])
        self._session = requests.Session()
        self._session.trust_env = False
        self._tokens: dict[tuple[str, str], str] = {}

    @property
    def port(self) -> int:
        return self.house.settings.port

    # -- requests

    def token(self, scope: str = policy.ALL, who: tuple[str, str] | None = None) -> str:
        client_id, secret = who or self.credentials
        if (client_id, scope) not in self._tokens:
            form = {"grant_type": "client_credentials", "scope": scope}
            answer = requests.post(
                f"{self.url}/auth/v2/oauth2/token", data=form, auth=(client_id, secret), timeout=_PATIENCE_S
            )
            assert answer.status_code == 200, answer.text
            self._tokens[client_id, scope] = answer.json()["access_token"]
        return self._tokens[client_id, scope]

    def send(
        self,
        method: str,
        path: str,
        *,
        body: Any = None,
        raw: Any = None,
        scope: str | None = policy.ALL,
        who: tuple[str, str] | None = None,
        headers: Mapping[str, str | None] | None = None,
        query: Any = None,
    ) -> requests.Response:
        """One request: ``body`` as JSON, or ``raw`` bytes as they are. ``scope`` None sends no token."""
        more: dict[str, str | None] = {}
        if scope is not None:
            more["Authorization"] = f"Bearer {self.token(scope, who)}"
        if body is not None or raw is not None:
            more["Content-Type"] = JSON
        data = json.dumps(body).encode() if raw is None and body is not None else raw
        return self._session.request(
            method,
            f"{self.url}{path}",
            data=data,
            headers={**more, **(headers or {})},
            params=query,
            timeout=_PATIENCE_S,
            allow_redirects=False,
        )

    def create(self, definition: Any, *, title: str = "bad input", **members: Any) -> requests.Response:
        document = {"title": title, "definition": definition, "input_schema": {}} | members
        return self.send("POST", "/flows/flows", body=document)

    def start(self, flow_id: str, body: Any, **more: Any) -> requests.Response:
        return self.send("POST", f"/flows/flows/{flow_id}/run", body=body, scope=flow_scope(flow_id), **more)

    def raw(self, data: bytes) -> tuple[int, dict[str, str], bytes]:
        """Bytes as they are, on a connection of their own; the answer as ``read_answer`` gives it."""
        with socket.create_connection(("127.0.0.1", self.port), timeout=_PATIENCE_S) as connection:
            connection.sendall(data)
            return read_answer(connection)

    # -- flows that are made in order to fail when they run

    def run(self, definition: Any, body: Mapping[str, Any] | None = None, *, patience_s: float = _PATIENCE_S) -> Run:
        """Publish, start, wait for the end."""
        answer = self.create(definition)
        assert answer.status_code == 201, answer.text
        return self.client.run_flow(answer.json()["id"], body or {}).wait(patience_s)

    def failure(self, definition: Any, body: Mapping[str, Any] | None = None) -> tuple[str, str]:
        """Name and cause of the error that ends a run, which its log tells too."""
        run = self.run(definition, body)
        assert run.status == "FAILED", run.details
        details = run.details["details"]
        entries = list(run.log())
        assert entries[-1]["code"] == "FlowFailed"
        assert details["cause"] in json.dumps(entries[-1]["details"], ensure_ascii=False).replace('\\"', '"') or (
            entries[-1]["details"]["cause"] == details["cause"]
        )
        fit_to_be_read(details["cause"])
        return details["exception"], details["cause"]

    # -- what is there

    def stored(self) -> tuple[int, int]:
        """Flows and runs in the database."""
        with self.house.database.read() as tx:
            flows, runs = (
                tx.execute(select(func.count()).select_from(table)).scalar_one()
                for table in (tables.flows, tables.runs)
            )
        return flows, runs


@contextmanager
def running_service(
    directory: Path, *, environ: Mapping[str, str] | None = None, limits: HttpLimits | None = None
) -> Iterator[Service]:
    """Serve a new installation below ``directory``."""
    limits = limits or HttpLimits()
    sockets: dict[int, Any] = {}
    with socket.socket() as listener:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind(("127.0.0.1", 0))
        port = listener.getsockname()[1]
        house = build(load(data_dir=directory, port=port, environ=dict(environ or {})))
        server = create_http_server(house.web, listener, sockets, limits)
        stop = threading.Event()

        def serve() -> None:
            while not stop.is_set():
                wasyncore.loop(timeout=0.5, use_poll=True, map=sockets, count=1)

        thread = threading.Thread(target=serve, name="server of bad inputs", daemon=True)
        thread.start()
        house.start()
        try:
            yield Service(f"http://127.0.0.1:{port}", house, limits)
        finally:
            stop.set()
            server.pull_trigger()
            thread.join()
            server.task_dispatcher.shutdown(timeout=2)
            house.close()
            wasyncore.close_all(sockets)


def read_answer(connection: socket.socket) -> tuple[int, dict[str, str], bytes]:
    """The next answer on the connection: status, headers (lower case) and body."""
    received = b""
    while not _is_whole(received) and (chunk := connection.recv(65_536)) != b"":
        received += chunk
    head, _, body = received.partition(b"\r\n\r\n")
    first, *lines = head.decode("latin-1").split("\r\n")
    pairs = (line.partition(":") for line in lines)
    return int(first.split()[1]), {name.lower(): value.strip() for name, _, value in pairs}, body


def refused(answer: requests.Response, status: int, code: str, *says: str) -> None:
    """The answer is an error document of its service, and a sentence in it says each of ``says``."""
    assert answer.status_code == status, f"{answer.status_code}: {answer.text[:400]}"
    check_document(answer.headers.get("Content-Type", ""), answer.text, answer.request.path_url, code, *says)


def check_document(content_type: str, text: str, path: str, code: str, *says: str) -> None:
    """As ``refused``, for an answer that was read from a socket."""
    assert content_type == JSON, text[:400]
    document = json.loads(text)
    found, sentences = _read(document, path)
    assert found == code, text[:400]
    fit_to_be_read(text)
    missing = [one for one in says if one not in sentences]
    assert not missing, f"{missing} not in {sentences[:600]}"


def fit_to_be_read(text: str) -> None:
    found = _FORBIDDEN.search(text)
    assert found is None, f"{found} in {text[:600]}"


def _read(document: Any, path: str) -> tuple[str, str]:
    """Code and sentences of an error document, after checking that it has the form of its service."""
    if path.startswith("/auth"):
        one = document["errors"][0]
        uuid.UUID(one["id"])
        return one["code"], one["detail"]
    if path.startswith("/actions"):
        return document["code"], document["description"]
    if path.startswith("/compute"):
        uuid.UUID(document["debug_id"])
        assert (document["status"], document["message"]) == ("Failed", document["reason"])
        assert isinstance(document["http_status_code"], int)
        assert isinstance(document["error_args"], list)
        return document["code"], document["reason"]
    uuid.UUID(document["debug_id"])
    error = document["error"]
    if isinstance(error["detail"], str):
        return error["code"], error["detail"]
    problems = [f"{'.'.join(map(str, one['loc']))}: {one['msg']}" for one in error["detail"]]
    assert problems
    return error["code"], "\n".join(problems)


def _is_whole(received: bytes) -> bool:
    """Whether an answer with a Content-Length is there to its end."""
    head, end, body = received.partition(b"\r\n\r\n")
    length = re.search(rb"(?i)^content-length: *(\d+)", head, re.MULTILINE)
    return bool(end) and length is not None and len(body) >= int(length[1])
