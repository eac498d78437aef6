"""B67-B75, B89, B90: JSON that is still not right: inputs, labels, roles, queries, ids, tokens, repetitions."""

from __future__ import annotations

import uuid
from typing import Any

from flows_engine import policy
from tests.conformance.bad_input.rows import by_id, rows_of
from tests.conformance.bad_input.service import Service, refused

PASS: dict[str, Any] = {"StartAt": "P", "States": {"P": {"Type": "Pass", "End": True}}}
NAP: dict[str, Any] = {"StartAt": "N", "States": {"N": {"Type": "Wait", "Seconds": 86_400, "End": True}}}
ASKS_FOR_SIZE = {
    "type": "object",
    "properties": {"size": {"type": "integer", "title": "Size of the sample"}},
    "required": ["size"],
    "additionalProperties": False,
}
UNPROCESSABLE = "UNPROCESSABLE_ENTITY"
SOMEBODY = f"urn:globus:auth:identity:{uuid.UUID(int=7)}"


def made(service: Service, definition: Any = PASS, **members: Any) -> dict[str, Any]:
    answer = service.create(definition, **members)
    assert answer.status_code == 201, answer.text
    flow: dict[str, Any] = answer.json()
    return flow


def missing_field(service: Service) -> None:
    flow = made(service, input_schema=ASKS_FOR_SIZE)
    before = service.stored()
    for body, place, says in (
        ({}, "$", "'size' is a required property"),
        ({"size": "big"}, "$.size", "'big' is not of type 'integer'"),
        ({"size": 1, "more": 2}, "$", "'more' was unexpected"),
    ):
        refused(service.start(flow["id"], {"body": body}), 400, "FLOW_INPUT_ERROR", f"{place}: ", says)
    refused(service.start(flow["id"], {}), 422, UNPROCESSABLE, "body: field required")
    assert service.stored() == before


def labels(service: Service) -> None:
    flow = made(service)
    before = service.stored()
    refused(service.start(flow["id"], {"body": {}, "label": "x" * 65}), 422, UNPROCESSABLE, "label", "at most 64 char")
    refused(service.start(flow["id"], {"body": {}, "label": "a\nb"}), 422, UNPROCESSABLE, "label", "one line of text")
    refused(service.start(flow["id"], {"body": {}, "label": 5}), 422, UNPROCESSABLE, "label", "str type expected")
    assert service.stored() == before
    for label in ("\U0001f9ea sample", "<script>alert(1)</script>"):
        started = service.start(flow["id"], {"body": {}, "label": label})
        assert (started.status_code, started.json()["label"]) == (201, label)


def roles(service: Service) -> None:
    before = service.stored()
    many = [f"urn:globus:auth:identity:{uuid.UUID(int=i)}" for i in range(17)]
    for members, place, says in (
        ({"flow_viewers": many}, "flow_viewers", "at most 16 items"),
        ({"flow_viewers": [SOMEBODY, SOMEBODY]}, "flow_viewers.1", "duplicated items"),
        (
            {"flow_starters": ["anne@example.org"]},
            "flow_starters.0",
            'Unrecognized principal string: "anne@example.org"',
        ),
        ({"flow_administrators": ["public"]}, "flow_administrators.0", "<AuthIdentityUrn>"),
        ({"flow_viewers": "public"}, "flow_viewers", "not a valid list"),
        ({"flow_viewers": [5]}, "flow_viewers.0", "a number"),
        ({"flow_vewers": []}, "flow_vewers", "extra fields not permitted"),
    ):
        refused(service.create(PASS, **members), 422, UNPROCESSABLE, place, says)
    assert service.stored() == before
    made(service, flow_viewers=[SOMEBODY])  # whom nobody knows yet may be named


def pages(service: Service) -> None:
    for path in ("/flows/flows", "/flows/runs"):
        for text in ("0", "-1", "1000000000", "abc", "1.5", "\u0661"):
            refused(
                service.send("GET", path, query={"per_page": text}), 400, "BAD_REQUEST", "per_page", "from 1 to 100"
            )
    for _ in range(2):
        made(service)
    page = service.send("GET", "/flows/flows", query={"per_page": "1"}).json()
    marker = page["marker"]
    stranger, secret = service.house.auth.clients.create_client("Stranger")
    theirs = (stranger.client_id, secret)
    forged = ("B" if marker[0] == "A" else "A") + marker[1:]
    for altered, who in ((marker, theirs), (forged, None), ("x" * 10_240, None), ("\u00e9", None)):
        answer = service.send("GET", "/flows/flows", query={"marker": altered}, who=who)
        refused(answer, 400, "BAD_REQUEST", "start again without a marker")
    assert service.send("GET", "/flows/flows", query={"marker": marker}).status_code == 200


def orders(service: Service) -> None:
    for path, field in (("/flows/flows", "title"), ("/flows/runs", "start_time")):
        answer = service.send("GET", path, query={"orderby": "password DESC"})
        refused(answer, 400, "BAD_REQUEST", "'password'", "allowed values: id", field)
    for text in ("' OR 1=1 --", "%'; DROP TABLE flows; --", "%", "_"):
        answer = service.send("GET", "/flows/flows", query={"filter_title": text})
        assert (answer.status_code, answer.json()["flows"]) == (200, [])


def identifiers(service: Service) -> None:
    flow = made(service)
    assert service.send("GET", f"/flows/flows/{flow['id'].upper()}").json()["id"] == flow["id"]
    for text in (f"{{{flow['id']}}}", flow["id"][:-1], "..%2f..%2fetc%2fpasswd", "%00", "%ff", "x" * 2_000):
        for path in (f"/flows/flows/{text}", f"/flows/runs/{text}", f"/flows/runs/{text}/log"):
            refused(service.send("GET", path), 404, "NOT_FOUND")
    refused(service.send("GET", f"/flows/flows/{uuid.UUID(int=5)}"), 404, "NOT_FOUND", str(uuid.UUID(int=5)))


def stale(service: Service) -> None:
    flow = made(service)
    path = f"/flows/flows/{flow['id']}"
    etag = service.send("GET", path).headers["ETag"]
    assert service.send("PUT", path, body={"title": "second"}, headers={"If-Match": etag}).status_code == 200
    answer = service.send("PUT", path, body={"title": "third"}, headers={"If-Match": etag})
    refused(answer, 412, "PRECONDITION_FAILED", "was changed at", "read it again")
    assert service.send("GET", path).json()["title"] == "second"


def at_the_wrong_time(service: Service) -> None:
    nap = made(service, NAP)
    run = service.start(nap["id"], {"body": {}}).json()["run_id"]
    refused(service.send("POST", f"/flows/runs/{run}/release"), 409, "STATE_CONFLICT", run, "'ACTIVE'", "'SUCCEEDED'")
    assert service.send("POST", f"/flows/runs/{run}/cancel").status_code == 202
    first = service.send("GET", f"/flows/runs/{run}").json()
    again = service.send("POST", f"/flows/runs/{run}/cancel")
    assert (again.status_code, again.json()) == (202, first)
    resumed = service.send("POST", f"/flows/runs/{run}/resume", scope=nap["globus_auth_scope"])
    assert (resumed.status_code, resumed.json()["status"]) == (200, first["status"])
    assert service.send("DELETE", f"/flows/flows/{nap['id']}").status_code == 200
    before = service.stored()
    refused(service.start(nap["id"], {"body": {}}), 404, "NOT_FOUND", nap["id"])
    assert service.stored() == before


def repeated(service: Service) -> None:
    flow = made(service)
    key = {"Idempotency-Key": str(uuid.uuid4())}
    first = service.start(flow["id"], {"body": {"a": 1}}, headers=key)
    before = service.stored()
    refused(service.start(flow["id"], {"body": {"a": 2}}, headers=key), 409, "IDEMPOTENCY_CONFLICT", "other content")
    again = service.start(flow["id"], {"body": {"a": 1}}, headers=key)
    assert (again.status_code, again.json()["run_id"]) == (200, first.json()["run_id"])
    for wrong in ("", "x" * 257):
        answer = service.start(flow["id"], {"body": {}}, headers={"Idempotency-Key": wrong})
        refused(answer, 400, "BAD_IDEMPOTENCY_KEY", "1 to 256")
    assert service.stored() == before


def token_in_address(service: Service) -> None:
    token = service.token()
    for path, code in (
        ("/flows/flows", "BAD_REQUEST"),
        ("/flows/runs", "BAD_REQUEST"),
        ("/auth/v2/oauth2/userinfo", "BAD_REQUEST"),
        (f"/actions/hello_world/{uuid.UUID(int=5)}/status", "BadActionRequest"),
        ("/compute/v2/endpoints", "REQUEST_MALFORMED"),
    ):
        for name in ("access_token", "token"):
            answer = service.send("GET", path, query={name: token}, scope=None)
            refused(answer, 400, code, "Authorization header")
            assert token not in answer.text


def other_clock(service: Service) -> None:
    """A client may believe in any time: nothing of what it says about the time is used."""
    for date in ("Tue, 20 Nov 2036 12:00:00 GMT", "Tue, 20 Nov 2016 12:00:00 GMT", "yesterday"):
        answer = service.send("GET", "/flows/flows", headers={"Date": date})
        assert answer.status_code == 200
        assert "Date" in answer.headers


ROWS = rows_of(
    {
        "B67 input misses a field": missing_field,
        "B68 labels": labels,
        "B69 role lists": roles,
        "B70 pages and markers": pages,
        "B71 order and filters": orders,
        "B72 ids": identifiers,
        "B73 update with a stale ETag": stale,
        "B74 at the wrong time": at_the_wrong_time,
        "B75 key of another request": repeated,
        "B89 token in the address": token_in_address,
        "B90 clock of the client": other_clock,
    }
)


@by_id(ROWS)
def test_a_request_is_refused_with_what_would_be_right(service: Service, row: Any) -> None:
    row.check(service)


def test_a_token_that_is_none_is_not_told_from_an_old_one(service: Service) -> None:
    for headers in (
        {},
        {"Authorization": "Basic abc"},
        {"Authorization": "Bearer"},
        {"Authorization": "Bearer \u00ff"},
    ):
        for path, code in (
            ("/flows/runs", "AUTHENTICATION_ERROR"),
            ("/auth/v2/oauth2/userinfo", "UNAUTHORIZED"),
            (f"/actions/hello_world/{uuid.UUID(int=5)}/status", "UnauthorizedRequest"),
            ("/compute/v2/endpoints", "USER_UNAUTHENTICATED"),
        ):
            answer = service.send("GET", path, scope=None, headers=dict(headers))
            refused(answer, 401, code)
            assert "WWW-Authenticate" in answer.headers
    answer = service.send("GET", "/flows/runs", scope=policy.VIEW_FLOWS)
    refused(answer, 403, "MISSING_SCOPE", policy.RUN_STATUS)
