"""The API's own description: it names every route and nothing else, and its page is served."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from flows_engine.store.db import SqlDatabase
from tests.integration.flows_service import FlowsService

#: Served for people, not part of the API.
_PAGES = ("/docs/",)


@pytest.fixture
def service(tmp_path: Path) -> FlowsService:
    return FlowsService(SqlDatabase(f"sqlite:///{tmp_path / 'flows.db'}"))


def routes(service: FlowsService) -> set[tuple[str, str]]:
    found = set()
    for rule in service.app.url_map.iter_rules():
        if not rule.endpoint.startswith("flows_api.") or rule.endpoint.endswith(".stray"):
            continue
        path = re.sub(r"<(?:[^:>]+:)?([^>]+)>", r"{\1}", rule.rule.removeprefix("/flows"))
        if not path.startswith(_PAGES):
            found |= {(method, path) for method in rule.methods or () if method not in ("HEAD", "OPTIONS")}
    return found


def test_every_route_is_described_and_every_description_is_a_route(service: FlowsService) -> None:
    document = service.client.get("/flows/openapi.json").json
    methods = {"get", "put", "post", "delete", "patch"}
    described = {
        (method.upper(), path) for path, item in document["paths"].items() for method in item if method in methods
    }
    assert described == routes(service)


def test_every_reference_in_the_document_leads_somewhere(service: FlowsService) -> None:
    document = service.client.get("/flows/openapi.json").json
    references = set(re.findall(r'"\$ref":\s*"#/([^"]+)"', service.client.get("/flows/openapi.json").text))
    assert references
    for reference in references:
        place = document
        for part in reference.split("/"):
            place = place[part]
    assert document["servers"] == [{"url": "/flows"}]


def test_the_page_loads_everything_from_this_server(service: FlowsService) -> None:
    page = service.client.get("/flows/docs/")
    assert page.status_code == 200
    assert '"url": "/flows/openapi.json"' in page.text
    sources = re.findall(r'(?:src|href)="([^"]+)"', page.text)
    assert sources
    for source in sources:
        assert source.startswith("/flows/docs/"), source
        assert service.client.get(source).status_code == 200, source
