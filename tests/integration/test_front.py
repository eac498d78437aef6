"""The front door: what belongs to no service, and what happens while the database is away."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from flask.testing import FlaskClient

from flows_engine.app import House, build
from flows_engine.settings import load
from tests.postgres import PostgresServer

BASE = "http://127.0.0.1:8765"


@pytest.fixture
def house(tmp_path: Path) -> Iterator[House]:
    built = build(load(data_dir=tmp_path, environ={}))
    yield built
    built.close(started=False)


@pytest.fixture
def client(house: House) -> FlaskClient:
    return house.web.test_client()


def test_a_browser_gets_a_page_and_a_program_a_document(client: FlaskClient) -> None:
    page = client.get("/", base_url=BASE, headers={"Accept": "text/html,*/*;q=0.8"})
    assert page.mimetype == "text/html"
    assert "flows/docs/" in page.text
    assert "default-src 'none'" in page.headers["Content-Security-Policy"]
    assert client.get("/", base_url=BASE).get_json()["services"]["flows"] == f"{BASE}/flows/"


def test_the_providers_are_listed(client: FlaskClient) -> None:
    listed = client.get("/actions/", base_url=BASE).get_json()["action_providers"]
    assert {"hello_world", "expression_eval", "transfer/transfer"} <= {one["path"] for one in listed}


@pytest.mark.parametrize("path", ["/timer/jobs/", "/transfer/v0.10/task_list", "/search/v1/index_list"])
def test_a_service_that_is_not_built_yet_says_so_in_every_clients_shape(client: FlaskClient, path: str) -> None:
    answer = client.get(path, base_url=BASE)
    document = answer.get_json()
    assert answer.status_code == 404
    assert "not part of this version" in document["message"]
    assert document["error"]["detail"] == document["message"]
    assert isinstance(document["request_id"], str)


def test_a_foreign_host_name_is_refused(client: FlaskClient) -> None:
    assert client.get("/", base_url="http://rebound.example.org:8765").status_code == 421


def test_while_the_database_is_away_clients_are_asked_to_try_again(postgres: PostgresServer, tmp_path: Path) -> None:
    url = postgres.new_database()
    house = build(load(data_dir=tmp_path, database_url=url, environ={}))
    client = house.web.test_client()
    postgres.crash()
    try:
        for path in ("/flows/flows", "/auth/v2/api/identities?ids=11111111-2222-4333-8444-555555555555"):
            answer = client.get(path, base_url=BASE, headers={"Authorization": "Bearer fe_12345678_" + "x" * 43})
            assert answer.status_code == 503, path
            assert answer.headers["Retry-After"] == "2"
            assert "try again" in answer.text
    finally:
        postgres.start()
    answer = client.get("/flows/flows", base_url=BASE)
    assert answer.status_code == 200
    house.close(started=False)
    postgres.drop_database(url)
