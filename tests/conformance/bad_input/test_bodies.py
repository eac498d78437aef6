"""B01-B18, B20: bodies that are not the JSON of a request. Refused before anything is looked up, and nothing is stored."""

from __future__ import annotations

import gzip
import json
from typing import Any

from tests.conformance.bad_input.rows import Check, by_id, rows_of
from tests.conformance.bad_input.service import HELLO, JSON, Service, refused

PASS: dict[str, Any] = {"StartAt": "P", "States": {"P": {"Type": "Pass", "End": True}}}
FLOW = json.dumps({"title": "t", "definition": PASS, "input_schema": {}, "description": "@"})
HELLO_SCOPE = "https://auth.globus.org/scopes/actions.globus.org/hello_world"


def with_description(text: str) -> bytes:
    """A good flow whose description is this JSON text."""
    return FLOW.replace('"@"', text).encode()


def body(raw: bytes, status: int, code: str, *says: str, headers: dict[str, str | None] | None = None) -> Check:
    """The body is refused where flows are made, and where an action is started."""

    def check(service: Service) -> None:
        refused(service.send("POST", "/flows/flows", raw=raw, headers=headers), status, code, *says)
        answer = service.send("POST", "/actions/hello_world/run", raw=raw, headers=headers, scope=HELLO_SCOPE)
        refused(answer, status, "BadActionRequest")

    return check


def both(*checks: Check) -> Check:
    def check(service: Service) -> None:
        for one in checks:
            one(service)

    return check


def accepted_with_mark(service: Service) -> None:
    answer = service.send("POST", "/flows/flows", raw=b"\xef\xbb\xbf" + with_description('"d"'))
    assert answer.status_code == 201, answer.text
    assert service.send("DELETE", f"/flows/flows/{answer.json()['id']}").status_code == 200


def plain_keys(service: Service) -> None:
    value = {"__proto__": {"a": 1}, "constructor": {"prototype": 2}}
    run = service.run(PASS, value)
    assert run.status == "SUCCEEDED"
    assert run.output == value


def long_keys(service: Service) -> None:
    body(with_description(json.dumps({"k" * 257: 1})), 422, "TOO_LARGE", "257 characters", "256")(service)
    ten_million = b'{"' + b"k" * 10_000_000 + b'": 1}'
    refused(service.send("POST", "/flows/flows", raw=ten_million), 413, "TOO_LARGE", "1048576")


def another_type(service: Service) -> None:
    for content_type in ("text/plain", "application/x-www-form-urlencoded", "multipart/form-data", None):
        body(with_description('"d"'), 415, *_TYPE, headers={"Content-Type": content_type})(service)
    answer = service.send("POST", "/auth/v2/oauth2/token", raw=b"{}", scope=None)
    refused(answer, 415, "UNSUPPORTED_MEDIA_TYPE", "application/x-www-form-urlencoded")


_TYPE = ("UNSUPPORTED_MEDIA_TYPE", "application/json")
UTF_16 = {"Content-Type": f"{JSON}; charset=utf-16"}

ROWS = rows_of(
    {
        "B01 body not JSON": body(b'{"title": x}', 400, "BAD_JSON", "line 1 column 11"),
        "B02 empty body": body(b" \n", 400, "BAD_JSON", "The request has no body"),
        "B03 two documents": body(b"{} {}", 400, "BAD_JSON", "Extra data", "column 4"),
        "B04 byte order mark": accepted_with_mark,
        "B05 UTF-16": both(
            body(with_description('"d"').decode().encode("utf-16"), 415, "BAD_JSON", "UTF-8"),
            body(with_description('"d"'), 415, "UNSUPPORTED_MEDIA_TYPE", "utf-8", headers=dict(UTF_16)),
        ),
        "B06 not a number": both(
            *(body(with_description(text), 400, "BAD_NUMBER", text) for text in ("NaN", "Infinity", "-Infinity"))
        ),
        "B07 number too large": body(with_description("1e400"), 400, "BAD_NUMBER", "1e400", "64-bit"),
        "B08 integer of 5,000 digits": body(with_description("9" * 5000), 400, "BAD_NUMBER", "does not fit 64 bits"),
        "B09 integer of 65 bits": body(with_description(str(2**63)), 400, "BAD_NUMBER", str(2**63), "64 bits"),
        "B10 duplicate key": body(
            b'{"title":"t","definition":{"StartAt":"a","StartAt":"b"}}', 400, "DUPLICATE_KEY", "StartAt", "twice"
        ),
        "B11 NUL": body(with_description(r'"a\u0000b"'), 422, "BAD_TEXT", "$.description", "NUL"),
        "B12 lone surrogate": body(with_description(r'"\ud800"'), 422, "BAD_TEXT", "$.description", "surrogate"),
        "B13 depth": body(b"[" * 100_000 + b"]" * 100_000, 400, "TOO_DEEP", "64 levels"),
        "B14 2 MiB": body(b'"' + b"x" * 2_097_152 + b'"', 413, "TOO_LARGE", "1048576 bytes"),
        "B15 100,000 keys": body(
            b"{" + b",".join(b'"%x":0' % i for i in range(100_000)) + b"}", 422, "TOO_MANY_KEYS", "100000", "10000"
        ),
        "B16 long key": long_keys,
        "B17 compressed": body(
            gzip.compress(with_description('"d"')), 415, "UNSUPPORTED_MEDIA_TYPE", "gzip",
            headers={"Content-Encoding": "gzip"},
        ),
        "B18 another content type": another_type,
        "B20 keys of JavaScript": plain_keys,
    }
)  # fmt: skip


@by_id(ROWS)
def test_a_body_is_refused_with_its_place_and_limit(service: Service, row: Any) -> None:
    before = service.stored()
    row.check(service)
    if row.id not in {"B04 byte order mark", "B20 keys of JavaScript"}:
        assert service.stored() == before


def test_a_provider_takes_the_same_care_with_what_it_is_given(service: Service) -> None:
    """The limits hold for the input of a run and for what a flow gives to an action."""
    flow = service.create(
        {"StartAt": "A", "States": {"A": {"Type": "Action", "ActionUrl": HELLO, "Parameters": {}, "End": True}}}
    )
    assert flow.status_code == 201, flow.text
    before = service.stored()
    answer = service.start(flow.json()["id"], {"body": {"a": "x" * 200_000, "b": "y" * 100_000}})
    refused(answer, 422, "UNPROCESSABLE_ENTITY", "body: has", "262144")
    assert service.stored() == before
