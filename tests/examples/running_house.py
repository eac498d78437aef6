"""The whole engine in this process, started, with the SDK's client before it: real database, real worker, real files."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from compute_agent.sdk.client import Client as ComputeClient
from flows_engine.app import House, build
from flows_engine.sdk import Client, Run
from flows_engine.sdk.transport import WsgiTransport
from flows_engine.settings import load
from schemas.json_text import loads
from schemas.principals import Caller, identity_urn
from tests.fakes.tiny_agent import TinyAgent

#: No run of a test may take longer; it is far more than any needs.
PATIENCE_S = 60.0


class RunningHouse:
    """``client`` and ``compute`` are what a user's program would have."""

    def __init__(self, house: House, client: Client, compute: ComputeClient) -> None:
        self.house = house
        self.client = client
        self.compute = compute
        self._agent: TinyAgent | None = None

    @property
    def administrator(self) -> str:
        return identity_urn(self.house.installation.administrator_id)

    def add_collection(self, root: Path, *, collection_id: str | None = None) -> str:
        """Offer the directory, which is made when it is not there; returns the collection's id."""
        root.mkdir(parents=True, exist_ok=True)
        made = self.house.collections.create(root.name, str(root), self.administrator, collection_id=collection_id)
        return made.collection_id

    @property
    def endpoint_id(self) -> str:
        """A compute endpoint in this process. It is there from the first time that it is asked for."""
        if self._agent is None:
            owner = Caller(identity_id=self.house.installation.administrator_id, username="administrator")
            self._agent = TinyAgent(self.house.compute, owner).start()
        return self._agent.endpoint_id

    def close(self) -> None:
        if self._agent is not None:
            self._agent.stop()

    def run(self, title: str, definition: Any, schema: Any, body: Any) -> Run:
        """Publish, start, wait for the end."""
        flow = self.client.create_flow(title, definition, schema)
        return self.client.run_flow(flow["id"], body, label=title).wait(PATIENCE_S)


@contextmanager
def running_house(data_dir: Path) -> Iterator[RunningHouse]:
    house = build(load(data_dir=data_dir, environ={}))
    house.start()
    credentials = loads(house.installation.client_file.read_bytes())
    where, options = house.settings.base_url, {"transport": WsgiTransport(house.web), "pause": _pause, **credentials}
    try:
        with Client(where, **options) as client, ComputeClient(where, **options) as compute:
            running = RunningHouse(house, client, compute)
            try:
                yield running
            finally:
                running.close()
    finally:
        house.close()


def _pause(seconds: float) -> None:
    """The engine runs in other threads: a test need not ask as seldom as a guest of a busy server."""
    time.sleep(min(seconds, 0.02))
