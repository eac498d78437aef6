"""An agent of the local installation finds its server again, and sends nothing to whoever has its old port."""

from __future__ import annotations

import fcntl
import json
import os
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread

import pytest

from compute_agent.agent import credentials
from compute_agent.errors import UnreachableError


class Server(ThreadingHTTPServer):
    """Answers everything with a document that is a token and says at which port."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.heard: list[str] = []
        Thread(target=self.serve_forever, kwargs={"poll_interval": 0.01}).start()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}"


class _Handler(BaseHTTPRequestHandler):
    server: Server

    def do_POST(self) -> None:
        self.rfile.read(int(self.headers["Content-Length"]))
        self.server.heard.append(self.path)
        body = json.dumps({"access_token": "t", "expires_in": 3600, "url": self.server.url}).encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        """Nothing."""


@pytest.fixture
def servers() -> Iterator[list[Server]]:
    made = [Server(), Server()]
    yield made
    for one in made:
        one.shutdown()
        one.server_close()


@pytest.fixture
def publish(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[str], None]]:
    """As a server that comes up does; with an empty address as one that was killed leaves things."""
    monkeypatch.setenv("FLOWS_DATA_DIR", str(tmp_path))
    _private(tmp_path / "client.json", {"client_id": "me", "client_secret": "hidden"})
    locks: list[int] = []

    def publish(url: str) -> None:
        while locks:
            os.close(locks.pop())
        if url:
            document = {"url": url, "public_url": url, "pid": 1, "started": "now", "operator_key": "k"}
            locks.append(os.open(_private(tmp_path / "server.json", document), os.O_RDONLY))
            fcntl.flock(locks[0], fcntl.LOCK_EX)

    yield publish
    publish("")


def _private(path: Path, document: dict[str, object]) -> Path:
    path.unlink(missing_ok=True)
    path.write_text(json.dumps(document))
    path.chmod(0o600)
    return path


def test_the_local_server_is_found_again_at_another_port(
    tmp_path: Path, servers: list[Server], publish: Callable[[str], None]
) -> None:
    first, second = servers
    publish(first.url)
    http = credentials.load(tmp_path / "credentials.json").connect()
    assert http.call("POST", "/lease", scope="s", body={})["url"] == first.url
    publish("")
    heard = len(first.heard)
    with pytest.raises(UnreachableError, match="no server"):
        http.call("POST", "/lease", scope="s", body={})
    assert len(first.heard) == heard, "whoever listens there now is not the server"
    publish(second.url)
    assert http.call("POST", "/lease", scope="s", body={})["url"] == second.url
    http.close()
