"""The client: flows and runs of one server, one method per thing the Flows API can do.

Documents go in and come out as the API has them. Lists are iterators that ask for the next page when it is needed.
"""

from __future__ import annotations

import time
import uuid
from collections.abc import Callable, Iterator, Mapping, Sequence
from types import TracebackType
from typing import Any
from urllib.parse import quote

from requests.adapters import BaseAdapter

from compute_agent.connection import Http
from flows_engine import policy
from schemas.json_text import Json
from schemas.scopes import flow_scope

from .run import Run

_PAGE = 100


class Client:
    """Flows and runs of the server at ``url``, as the confidential client ``client_id``.

    ``transport`` replaces the network (``flows_engine.sdk.transport.WsgiTransport``); ``pause`` waits between polls and
    repetitions.
    """

    def __init__(
        self,
        url: str,
        *,
        client_id: str,
        client_secret: str,
        transport: BaseAdapter | None = None,
        pause: Callable[[float], None] = time.sleep,
    ) -> None:
        self._http = Http(url, client_id=client_id, client_secret=client_secret, transport=transport, pause=pause)
        self._pause = pause

    @property
    def url(self) -> str:
        return self._http.url

    def close(self) -> None:
        """Close connections that are kept open."""
        self._http.close()

    def __enter__(self) -> Client:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    # Flows

    def create_flow(self, title: str, definition: Json, input_schema: Json = None, **metadata: Json) -> dict[str, Json]:
        """Publish a flow; ``metadata`` are other members of the document, such as ``subtitle`` or ``flow_viewers``."""
        body = {"title": title, "definition": definition, "input_schema": input_schema or {}, **metadata}
        return self._flows("POST", "/flows", body=body)

    def get_flow(self, flow_id: str) -> dict[str, Json]:
        return self._flows("GET", f"/flows/{_part(flow_id)}")

    def list_flows(self, **query: Json) -> Iterator[dict[str, Json]]:
        """Flows the caller may see, newest first; ``query`` as in the API (``filter_title="..."``, ``orderby``)."""
        return self._pages("/flows", "flows", query)

    def update_flow(self, flow_id: str, *, if_match: str | None = None, **changes: Json) -> dict[str, Json]:
        """Change members of a flow; with ``if_match`` only while ``updated_at`` is still that."""
        headers = {} if if_match is None else {"If-Match": f'"{if_match}"'}
        return self._flows("PUT", f"/flows/{_part(flow_id)}", body=changes, headers=headers)

    def delete_flow(self, flow_id: str) -> dict[str, Json]:
        """Withdraw a flow; its runs go on."""
        return self._flows("DELETE", f"/flows/{_part(flow_id)}")

    def validate_flow(self, definition: Json, input_schema: Json = None) -> dict[str, Json]:
        """Check a definition without storing it; raises ``ApiError`` 422 with all problems."""
        body = {"definition": definition}
        if input_schema is not None:
            body["input_schema"] = input_schema
        return self._flows("POST", "/flows/validate", body=body, repeatable=True)

    # Runs

    def run_flow(
        self,
        flow_id: str,
        body: Mapping[str, Json] | None = None,
        *,
        label: str | None = None,
        tags: Sequence[str] = (),
        run_managers: Sequence[str] = (),
        run_monitors: Sequence[str] = (),
        idempotency_key: str | None = None,
    ) -> Run:
        """Start a run with the input ``body``.

        The request carries an idempotency key, so that one whose answer was lost does not start a second run. Pass a
        key of your own to have that also across programs and restarts (it is remembered for a day).
        """
        request: dict[str, Json] = {"body": dict(body or {})}
        lists = {"tags": tags, "run_managers": run_managers, "run_monitors": run_monitors}
        request |= {name: list(values) for name, values in lists.items() if values}
        if label is not None:
            request["label"] = label
        document = self._http.call(
            "POST",
            f"/flows/flows/{_part(flow_id)}/run",
            scope=flow_scope(flow_id.lower()),
            body=request,
            headers={"Idempotency-Key": idempotency_key or str(uuid.uuid4())},
            repeatable=True,
        )
        return Run(self._http, document, pause=self._pause)

    def validate_run(self, flow_id: str, body: Mapping[str, Json] | None = None) -> dict[str, Json]:
        """Check an input against the flow without starting it."""
        document: dict[str, Json] = self._http.call(
            "POST",
            f"/flows/flows/{_part(flow_id)}/validate_run",
            scope=flow_scope(flow_id.lower()),
            body={"body": dict(body or {})},
            repeatable=True,
        )
        return document

    def get_run(self, run_id: str) -> Run:
        return Run(self._http, self._flows("GET", f"/runs/{_part(run_id)}"), pause=self._pause)

    def list_runs(self, **query: Json) -> Iterator[dict[str, Json]]:
        """Runs the caller may see, newest first; ``query`` as in the API (``filter_status="ACTIVE"``)."""
        return self._pages("/runs", "runs", query)

    def _flows(self, method: str, path: str, **request: Any) -> dict[str, Json]:
        document: dict[str, Json] = self._http.call(method, f"/flows{path}", scope=policy.ALL, **request)
        return document

    def _pages(self, path: str, member: str, query: Mapping[str, Json]) -> Iterator[dict[str, Json]]:
        asked: dict[str, Json] = {"per_page": _PAGE, **{name: _text(value) for name, value in query.items()}}
        while True:
            page = self._flows("GET", path, query=asked)
            yield from page[member]
            if not page.get("has_next_page"):
                return
            asked = {"marker": page["marker"]}


def _part(identifier: str) -> str:
    """An id as one segment of a path, whatever it holds."""
    return quote(identifier, safe="") or "-"


def _text(value: Json) -> Json:
    """Lists travel joined by commas."""
    return ",".join(map(str, value)) if isinstance(value, list | tuple) else value
