"""B85, and bodies and arguments that the Compute API cannot read."""

from __future__ import annotations

import json
import uuid
from typing import Any

import pytest

from tests.conformance.bad_input.rows import by_id, rows_of
from tests.conformance.bad_input.service import COMPUTE, Service, refused

SOURCE = "def double(x):\n    return 2 * x\n"
NOBODY = str(uuid.UUID(int=5))
#: Routes that read a body, with ids of nothing.
READING = (
    "/compute/v2/functions",
    "/compute/v2/endpoints",
    "/compute/v2/submit",
    "/compute/v2/batch_status",
    "/compute/v3/functions",
    "/compute/v3/endpoints",
    f"/compute/v3/endpoints/{NOBODY}/submit",
    f"/compute/v3/endpoints/{NOBODY}/lease",
    f"/compute/v3/endpoints/{NOBODY}/heartbeat",
    f"/compute/v3/endpoints/{NOBODY}/report",
    f"/compute/v3/endpoints/{NOBODY}/leave",
    "/compute/v3/tasks/cancel",
)


def call(service: Service, method: str, path: str, body: Any = None, *, who: Any = None) -> Any:
    answer = service.send(method, f"/compute{path}", body=body, scope=COMPUTE, who=who)
    assert answer.status_code == 200, answer.text
    return answer.json()


def function(service: Service, *, who: Any = None) -> str:
    body = {"function_name": "double", "function_code": SOURCE, "serialized": False}
    return str(call(service, "POST", "/v3/functions", body, who=who)["function_uuid"])


def endpoint(service: Service, **members: Any) -> dict[str, Any]:
    made: dict[str, Any] = call(service, "POST", "/v3/endpoints", {"endpoint_name": "lab", **members})
    return made


def submit(service: Service, endpoint_id: str, function_id: str, **more: Any) -> Any:
    body = {"tasks": {function_id: ["4\n11\n1"]}}
    return service.send("POST", f"/compute/v3/endpoints/{endpoint_id}/submit", body=body, scope=COMPUTE, **more)


def gone(service: Service) -> None:
    """Stopped in order, locked, deleted, unknown, somebody else's."""
    double = function(service)
    left = endpoint(service)
    path = f"/v3/endpoints/{left['endpoint_id']}"
    call(service, "POST", f"{path}/leave", {"session": left["session"]["number"]})
    refused(submit(service, left["endpoint_id"], double), 409, "ENDPOINT_STOPPED", left["endpoint_id"], "stopped")
    locked = endpoint(service)
    call(service, "POST", f"/v3/endpoints/{locked['endpoint_id']}/lock")
    refused(submit(service, locked["endpoint_id"], double), 409, "ENDPOINT_STOPPED", locked["endpoint_id"])
    registration = service.send(
        "PUT", f"/compute/v3/endpoints/{locked['endpoint_id']}", body={"endpoint_name": "lab"}, scope=COMPUTE
    )
    refused(registration, 423, "ENDPOINT_LOCKED", "start it after 20")
    deleted = endpoint(service)
    call(service, "DELETE", f"/v2/endpoints/{deleted['endpoint_id']}")
    for identifier in (deleted["endpoint_id"], NOBODY):
        refused(submit(service, identifier, double), 404, "ENDPOINT_NOT_FOUND", identifier)
    stranger, secret = service.house.auth.clients.create_client("Stranger")
    who = (stranger.client_id, secret)
    theirs = function(service, who=who)
    hidden, seen = endpoint(service)["endpoint_id"], endpoint(service, public=True)["endpoint_id"]
    refused(submit(service, hidden, theirs, who=who), 404, "ENDPOINT_NOT_FOUND", hidden)
    refused(submit(service, seen, theirs, who=who), 403, "ENDPOINT_ACCESS_FORBIDDEN", seen)
    refused(submit(service, seen, theirs), 404, "FUNCTION_NOT_FOUND", theirs)
    assert submit(service, seen, double).status_code == 200


ROWS = rows_of({"B85 endpoint that takes no tasks": gone})


@by_id(ROWS)
def test_a_task_for_an_endpoint_that_takes_none_is_refused_at_once(service: Service, row: Any) -> None:
    row.check(service)


def test_code_and_arguments_over_the_limit_are_refused_with_it(service: Service) -> None:
    """20 MB of source, and as much in arguments."""
    large = "#" * 20_000_000
    body = {"function_name": "large", "function_code": large, "serialized": False}
    answer = service.send("POST", "/compute/v3/functions", body=body, scope=COMPUTE)
    refused(answer, 413, "FUNCTION_TOO_LARGE", "10485760")
    made = endpoint(service)["endpoint_id"]
    tasks = {"tasks": {function(service): [large]}}
    answer = service.send("POST", f"/compute/v3/endpoints/{made}/submit", body=tasks, scope=COMPUTE)
    refused(answer, 413, "TASK_PAYLOAD_TOO_LARGE", "10485760")
    tasks = {"tasks": {NOBODY: ["x" * 23_500_000]}}
    answer = service.send("POST", f"/compute/v3/endpoints/{made}/submit", body=tasks, scope=COMPUTE)
    refused(answer, 413, "TASK_PAYLOAD_TOO_LARGE", "23068672 bytes")


@pytest.mark.parametrize(
    ("raw", "status", "says"),
    [
        pytest.param(b"", 400, "no body", id="empty"),
        pytest.param(b"{", 400, "not JSON", id="cut"),
        pytest.param(b"[]", 400, "must be a JSON object", id="list"),
        pytest.param(b'{"a": 1, "a": 2}', 400, "'a' appears twice", id="key twice"),
        pytest.param(b'{"a": NaN}', 400, "NaN is not a JSON number", id="NaN"),
        pytest.param(b'{"a": 99999999999999999999}', 400, "does not fit 64 bits", id="number"),
        pytest.param(b'{"a": "\xff"}', 415, "not UTF-8", id="bytes"),
        pytest.param(b'{"a": "\\u0000"}', 422, "NUL character", id="NUL"),
        pytest.param(b'{"a": "\\ud800"}', 422, "lone surrogate", id="surrogate"),
        pytest.param(b'{"a": ' + b"[" * 70 + b"]" * 70 + b"}", 400, "64 levels", id="depth"),
    ],
)
def test_a_body_that_is_not_right_is_refused_everywhere(service: Service, raw: bytes, status: int, says: str) -> None:
    for path in READING:
        if path.endswith("/report") and says in ("NUL character", "lone surrogate"):
            continue  # may stand in one of many results, which is then refused alone
        refused(service.send("POST", path, raw=raw, scope=COMPUTE), status, "REQUEST_MALFORMED", says)


@pytest.mark.parametrize(
    ("headers", "says"),
    [
        ({"Content-Type": "text/plain"}, "must be application/json"),
        ({"Content-Type": "application/json; charset=latin-1"}, "must be utf-8"),
        ({"Content-Encoding": "gzip"}, "without 'gzip'"),
    ],
)
def test_a_body_of_another_kind_is_refused(service: Service, headers: dict[str, str], says: str) -> None:
    answer = service.send("POST", "/compute/v3/functions", raw=b"{}", scope=COMPUTE, headers=headers)
    refused(answer, 415, "UNSUPPORTED_MEDIA_TYPE", says)


@pytest.mark.parametrize("body", [{}, {"session": "x"}, {"session": -1}, {"session": 0, "tasks": [[]]}, {"tasks": 5}])
def test_an_object_of_another_shape_is_the_callers_fault(service: Service, body: dict[str, Any]) -> None:
    made = endpoint(service)["endpoint_id"]
    for path in READING:
        answer = service.send("POST", path.replace(NOBODY, made), body=body, scope=COMPUTE)
        assert answer.status_code in (400, 404, 409, 422), (path, answer.text)
        refused(answer, answer.status_code, json.loads(answer.text)["code"])


@pytest.mark.parametrize(
    ("path", "says"),
    [
        ("/compute/v3/functions?limit=0", "limit is '0'; it must be a whole number from 1 to 1000"),
        ("/compute/v3/tasks?limit=1001", "from 1 to 1000"),
        ("/compute/v3/tasks?marker=x", "marker is 'x'"),
        ("/compute/v3/tasks?marker=99999999999999999999", "marker is"),
        (f"/compute/v3/task_groups/{NOBODY}/results?after=-1", "after is '-1'"),
        (f"/compute/v3/task_groups/{NOBODY}/results?wait=soon", "wait is 'soon'; it must be a number of seconds"),
        (f"/compute/v3/task_groups/{NOBODY}/results?wait=nan", "wait is 'nan'"),
        (f"/compute/v3/task_groups/{NOBODY}/results?wait=-1", "wait is '-1'"),
    ],
)
def test_an_argument_that_is_not_right_is_named(service: Service, path: str, says: str) -> None:
    refused(service.send("GET", path, scope=COMPUTE), 400, "REQUEST_MALFORMED", says)


@pytest.mark.parametrize("text", ["x", "%00", "%ff", "..%2f..%2fetc", "x" * 2_000])
def test_an_id_that_is_none_names_nothing(service: Service, text: str) -> None:
    for path in ("endpoints/{}", "endpoints/{}/status", "functions/{}", "tasks/{}", "taskgroup/{}"):
        answer = service.send("GET", f"/compute/v2/{path.format(text)}", scope=COMPUTE)
        assert answer.status_code in (400, 404)
        refused(answer, answer.status_code, "INVALID_UUID" if answer.status_code == 400 else "NOT_FOUND")


def test_a_token_for_something_else_is_not_enough(service: Service) -> None:
    refused(service.send("GET", "/compute/v2/endpoints"), 403, "MISSING_SCOPE", COMPUTE)
