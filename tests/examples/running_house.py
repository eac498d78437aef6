"""The whole engine in this process, started, with the SDK's client before it: real database, real worker, real files."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from flows_engine.app import House, build
from flows_engine.sdk import Client, Run
from flows_engine.sdk.transport import WsgiTransport
from flows_engine.settings import load
from schemas.json_text import loads
from schemas.principals import identity_urn

#: No run of a test may take longer; it is far more than any needs.
PATIENCE_S = 60.0


class RunningHouse:
    """``client`` is what a user's program would have."""

    def __init__(self, house: House, client: Client) -> None:
        self.house = house
        self.client = client

    @property
    def administrator(self) -> str:
        return identity_urn(self.house.installation.administrator_id)

    def add_collection(self, root: Path, *, collection_id: str | None = None) -> str:
        """Offer the directory, which is made when it is not there; returns the collection's id."""
        root.mkdir(parents=True, exist_ok=True)
        made = self.house.collections.create(root.name, str(root), self.administrator, collection_id=collection_id)
        return made.collection_id

    def run(self, title: str, definition: Any, schema: Any, body: Any) -> Run:
        """Publish, start, wait for the end."""
        flow = self.client.create_flow(title, definition, schema)
        return self.client.run_flow(flow["id"], body, label=title).wait(PATIENCE_S)


@contextmanager
def running_house(data_dir: Path) -> Iterator[RunningHouse]:
    house = build(load(data_dir=data_dir, environ={}))
    house.start()
    credentials = loads(house.installation.client_file.read_bytes())
    transport = WsgiTransport(house.web)
    try:
        with Client(house.settings.base_url, **credentials, transport=transport, pause=_pause) as client:
            yield RunningHouse(house, client)
    finally:
        house.close()


def _pause(seconds: float) -> None:
    """The engine runs in other threads: a test need not ask as seldom as a guest of a busy server."""
    time.sleep(min(seconds, 0.02))
