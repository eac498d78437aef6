"""Named bad inputs and the error each must give: always the Flows envelope, a sentence for people, nothing stored."""

from __future__ import annotations

import gzip
import json
import uuid
from pathlib import Path
from typing import Any

import pytest

from flows_engine import policy
from flows_engine.store.db import SqlDatabase
from tests.fakes.authorizer import person
from tests.integration.flows_service import PASS, WAIT, FlowsService

ANNE = person("anne")
JSON = "application/json"
#: What no sentence for people may hold.
_FORBIDDEN = ("Traceback", "object at 0x", "NoneType", "/home/", "site-packages", "psycopg", "sqlite3", "sqlalchemy")


@pytest.fixture
def service(tmp_path: Path) -> FlowsService:
    return FlowsService(SqlDatabase(f"sqlite:///{tmp_path / 'flows.db'}"))


def checked(response: Any) -> tuple[int, str, str]:
    """Status, code and text of an error, after checking that it is an envelope fit to be read."""
    assert response.content_type == JSON, response.text
    document = response.json
    uuid.UUID(document["debug_id"])
    error = document["error"]
    text = error.get("message") or json.dumps(error["detail"])
    assert not [word for word in _FORBIDDEN if word in response.text]
    return response.status_code, error["code"], text


def send(service: FlowsService, raw: bytes, content_type: str | None = JSON, **headers: str) -> Any:
    """Raw bytes to ``POST /flows``."""
    headers["Authorization"] = f"Bearer {service.authorizer.token(ANNE)}"
    return service.client.post("/flows/flows", data=raw, content_type=content_type, headers=headers)


def body_with(text: str) -> bytes:
    """A good flow whose description is this JSON text."""
    document = json.dumps({"title": "t", "definition": PASS, "description": "@"})
    return document.replace('"@"', text).encode()


@pytest.mark.parametrize(
    ("raw", "status", "code", "says"),
    [
        pytest.param(b"title=x", 400, "BAD_JSON", "line 1 column 1", id="B01 not JSON"),
        pytest.param(b" \n", 400, "BAD_JSON", "has no body", id="B02 empty"),
        pytest.param(b"{} {}", 400, "BAD_JSON", "column 4", id="B03 extra data"),
        pytest.param(body_with('"x"').decode().encode("utf-16"), 415, "BAD_JSON", "UTF-8", id="B05 UTF-16"),
        pytest.param(body_with("NaN"), 400, "BAD_NUMBER", "NaN", id="B06 NaN"),
        pytest.param(body_with("-Infinity"), 400, "BAD_NUMBER", "Infinity", id="B06 infinity"),
        pytest.param(body_with("1e400"), 400, "BAD_NUMBER", "1e400", id="B07 too large for a float"),
        pytest.param(body_with("9" * 5000), 400, "BAD_NUMBER", "64 bits", id="B08 5,000 digits"),
        pytest.param(body_with(str(2**63)), 400, "BAD_NUMBER", "64 bits", id="B09 2^63"),
        pytest.param(b'{"title":"a","title":"b"}', 400, "DUPLICATE_KEY", "title", id="B10 duplicate key"),
        pytest.param(body_with(r'"a\u0000b"'), 422, "BAD_TEXT", "$.description", id="B11 NUL"),
        pytest.param(body_with(r'"\ud800"'), 422, "BAD_TEXT", "$.description", id="B12 lone surrogate"),
        pytest.param(b"[" * 100_000 + b"]" * 100_000, 400, "TOO_DEEP", "64", id="B13 deep"),
        pytest.param(b'"' + b"x" * 2_097_152 + b'"', 413, "TOO_LARGE", "1048576", id="B14 2 MiB"),
        pytest.param(json.dumps(dict.fromkeys(map(str, range(60_000)), 0)).encode(), 422, "TOO_MANY_KEYS", "60000",
                     id="B15 many keys"),
        pytest.param(body_with(json.dumps({"k" * 300: 1})), 422, "TOO_LARGE", "256", id="B16 long key"),
        pytest.param(b"null", 422, "UNPROCESSABLE_ENTITY", "valid dict", id="null"),
        pytest.param(b"[]", 422, "UNPROCESSABLE_ENTITY", "valid dict", id="a list"),
    ],
)  # fmt: skip
def test_a_body_that_is_not_acceptable_json_is_refused(
    service: FlowsService, raw: bytes, status: int, code: str, says: str
) -> None:
    got = checked(send(service, raw))
    assert got[:2] == (status, code)
    assert says in got[2]
    assert service.call(ANNE, "GET", "/flows").json["flows"] == []


def test_a_byte_order_mark_is_dropped(service: FlowsService) -> None:  # B04
    assert send(service, b"\xef\xbb\xbf" + body_with('"d"')).status_code == 201


@pytest.mark.parametrize(
    ("content_type", "headers"),
    [
        pytest.param(JSON, {"Content-Encoding": "gzip"}, id="B17 gzip"),
        pytest.param("text/plain", {}, id="B18 text"),
        pytest.param("application/x-www-form-urlencoded", {}, id="B18 form"),
        pytest.param(None, {}, id="B18 none"),
        pytest.param(f"{JSON}; charset=utf-16", {}, id="B05 charset"),
    ],
)
def test_a_body_of_another_kind_is_refused(
    service: FlowsService, content_type: str | None, headers: dict[str, str]
) -> None:
    raw = gzip.compress(body_with('"d"')) if headers else body_with('"d"')
    assert checked(send(service, raw, content_type, **headers))[:2] == (415, "UNSUPPORTED_MEDIA_TYPE")


def test_keys_that_mean_something_to_javascript_are_plain_keys(service: FlowsService) -> None:  # B20
    value = {"__proto__": {"a": 1}, "constructor": 2}
    flow = service.create(ANNE, {"StartAt": "P", "States": {"P": {"Type": "Pass", "Result": value, "End": True}}})
    assert service.start(ANNE, flow)["details"]["output"] == value


@pytest.mark.parametrize("definition", [None, [], "text", 5, True])
def test_a_definition_that_is_no_object_is_named(service: FlowsService, definition: Any) -> None:  # B21
    response = service.call(ANNE, "POST", "/flows/validate", {"definition": definition})
    assert checked(response)[0] == 422
    assert response.json["error"]["detail"][0]["loc"] == ["definition"]


@pytest.mark.parametrize("length", [512 * 1024, 700_000])
def test_a_definition_over_the_limit_is_refused_before_it_is_read(service: FlowsService, length: int) -> None:
    pad = {f"Comment{i}": "x" * 60_000 for i in range(length // 60_000 + 1)}
    response = service.call(ANNE, "POST", "/flows/validate", {"definition": PASS | pad})
    assert checked(response)[0] == 422
    assert "the limit is 524288" in response.json["error"]["detail"][0]["msg"]


def test_a_run_input_over_the_limit_is_refused(service: FlowsService) -> None:
    flow = service.create(ANNE, WAIT)
    response = service.run(ANNE, flow["id"], {"body": {"a": "x" * 200_000, "b": "y" * 100_000}})
    assert checked(response)[0] == 422
    assert response.json["error"]["detail"][0]["loc"] == ["body"]


@pytest.mark.parametrize(
    ("path", "query", "says"),
    [
        ("/flows", {"per_page": "0"}, "from 1 to 100"),
        ("/flows", {"per_page": "-1"}, "from 1 to 100"),
        ("/flows", {"per_page": "1000000000"}, "from 1 to 100"),
        ("/runs", {"per_page": "abc"}, "from 1 to 100"),
        ("/runs", {"per_page": ["5", "6"]}, "2 times"),
        ("/runs", {"page": "0"}, "from 1 to 1000"),
        ("/flows", {"orderby": "password DESC"}, "id, scope_string, flow_owner"),
        ("/runs", {"orderby": "start_time SIDEWAYS"}, "ASC or DESC"),
        ("/runs", {"orderby": "1; DROP TABLE runs"}, "allowed values"),
        ("/flows", {"filter_roles": "emperor"}, "allowed values: flow_owner"),
        ("/runs", {"filter_roles": "flow_owner"}, "allowed values: run_owner"),
        ("/runs", {"filter_status": "DONE"}, "allowed values: ACTIVE"),
        ("/runs", {"filter_flow_id": "abc"}, "is not one"),
        ("/runs", {"filter_start_time": "yesterday"}, "RFC 3339"),
        ("/runs", {"filter_start_time": "2026-01-01T00:00:00"}, "add Z or an offset"),
        ("/flows", {"filter_title": "x" * 1001}, "1000"),
        ("/flows", {"filter_whatever": "x" * 5000}, "4096"),
        ("/flows", {"filter_title": "a\0b"}, "NUL"),
        ("/runs", {"marker": "bm90IGEgbWFya2Vy"}, "marker"),
        ("/flows", {"access_token": "secret"}, "Authorization header"),  # B89
    ],
)
def test_a_bad_query_is_refused_with_what_would_be_right(
    service: FlowsService, path: str, query: dict[str, Any], says: str
) -> None:
    status, code, text = checked(service.call(ANNE, "GET", path, **query))
    assert (status, code) == (400, "BAD_REQUEST")
    assert says in text
    assert "secret" not in text


@pytest.mark.parametrize("text", ["' OR '1'='1", "%", "_", "\\", "%' --", "x\u202ey", "\ud7ff\uffff"])
def test_a_filter_is_only_ever_text(service: FlowsService, text: str) -> None:  # B71
    service.create(ANNE)
    for path in ("/flows", "/runs"):
        for name in ("filter_title", "filter_fulltext", "filter_label"):
            response = service.call(ANNE, "GET", path, **{name: text})
            assert response.status_code == 200
            if (path, name) in {("/flows", "filter_title"), ("/flows", "filter_fulltext")}:
                assert response.json["flows"] == []


@pytest.mark.parametrize("limit", ["0", "101", "x", "-5"])
def test_a_log_page_has_1_to_100_entries(service: FlowsService, limit: str) -> None:
    run = service.start(ANNE, service.create(ANNE))
    status, _, text = checked(service.call(ANNE, "GET", f"/runs/{run['run_id']}/log", limit=limit))
    assert (status, "from 1 to 100" in text) == (400, True)


@pytest.mark.parametrize("text", ["perhaps", "2", "yes"])
def test_a_boolean_is_true_or_false(service: FlowsService, text: str) -> None:
    run = service.start(ANNE, service.create(ANNE))
    for path, name in (
        (f"/runs/{run['run_id']}/log", "reverse_order"),
        (f"/runs/{run['run_id']}", "include_flow_description"),
    ):
        status, _, message = checked(service.call(ANNE, "GET", path, **{name: text}))
        assert (status, "must be true or false" in message) == (400, True)


@pytest.mark.parametrize(
    "identifier",
    [
        "abc",
        "{6f1c0c9e-7e5d-4a52-9d3f-0a5f2f7c1d11}",
        "..%2f..%2fetc",
        "6f1c0c9e-7e5d-4a52-9d3f",
        "é",
        "%00",
        "x" * 2000,
    ],
)
def test_what_is_no_uuid_is_not_found(service: FlowsService, identifier: str) -> None:  # B72
    for path in (f"/flows/{identifier}", f"/runs/{identifier}", f"/runs/{identifier}/log"):
        assert checked(service.call(ANNE, "GET", path))[:2] == (404, "NOT_FOUND")


def test_an_unknown_flow_is_named_in_the_known_wording(service: FlowsService) -> None:
    flow_id = "6f1c0c9e-7e5d-4a52-9d3f-0a5f2f7c1d11"
    assert checked(service.call(ANNE, "GET", f"/flows/{flow_id}"))[2] == f'"No Flow exists with id value {flow_id}"'
    forbidden = service.create(ANNE, flow_viewers=["public"])
    text = checked(service.run(person("bert"), forbidden["id"], {"body": {}}))[2]
    assert text == (
        '"You do not have the necessary permissions to perform this action on the flow with id value '
        f'{forbidden["id"]}. Missing permissions: RUN."'
    )


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("GET", "/nowhere", 404),
        ("GET", "/", 404),
        ("GET", "/flows/a/b/c/d", 404),
        ("PATCH", "/flows", 405),
        ("DELETE", "/runs", 405),
        ("TRACE", "/runs", 405),
        ("PUT", "/flows/validate", 405),
        ("GET", "/flows/6f1c0c9e-7e5d-4a52-9d3f-0a5f2f7c1d11/run", 405),
    ],
)
def test_what_is_no_route_answers_in_the_envelope(service: FlowsService, method: str, path: str, status: int) -> None:
    response = service.call(ANNE, method, path)
    assert checked(response)[0] == status
    assert ("Allow" in response.headers) is (status == 405)


@pytest.mark.parametrize(
    "headers",
    [{}, {"Authorization": "Basic abc"}, {"Authorization": "Bearer"}, {"Authorization": "Bearer fake_nobody"}],
)
def test_without_a_good_token_there_is_no_answer(service: FlowsService, headers: dict[str, str]) -> None:
    response = service.call(None, "GET", "/runs", headers=headers)
    assert checked(response)[:2] == (401, "AUTHENTICATION_ERROR")
    assert response.headers["WWW-Authenticate"].startswith("Bearer")
    if headers:
        assert checked(service.call(None, "GET", "/flows", headers=headers))[0] == 401


def test_our_own_fault_is_an_envelope_that_tells_nothing(
    service: FlowsService, caplog: pytest.LogCaptureFixture
) -> None:
    with service.database.begin() as tx:
        tx.exec_driver_sql("ALTER TABLE runs RENAME TO runs_gone")
    response = service.call(ANNE, "GET", "/runs")
    assert checked(response)[:2] == (500, "INTERNAL_ERROR")
    assert "runs_gone" not in response.text
    assert [record.debug_id for record in caplog.records if record.name.endswith("envelope")] == [
        response.json["debug_id"]
    ]


def test_a_key_that_cannot_be_one_is_refused(service: FlowsService) -> None:
    flow = service.create(ANNE, WAIT)
    response = service.run(ANNE, flow["id"], {"body": {}}, headers={"Idempotency-Key": "x" * 257})
    assert checked(response)[:2] == (400, "BAD_IDEMPOTENCY_KEY")
    scopes = (policy.ALL,)
    assert service.call(ANNE, "GET", "/runs", scopes=scopes).json["runs"] == []
