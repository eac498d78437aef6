"""B19, and what is wrong before a service has seen the request: methods, paths, hosts, sizes, chunks.

Every answer is JSON in the envelope of the service whose path it is, because official clients read nothing else.
"""

from __future__ import annotations

import json
import socket
import time
from typing import Any

import pytest

from tests.conformance.bad_input.rows import by_id, rows_of
from tests.conformance.bad_input.service import Service, check_document, read_answer, refused

PATHS = {
    "/flows/flows": ("METHOD_NOT_ALLOWED", "GET, HEAD, OPTIONS, POST"),
    "/auth/v2/oauth2/token": ("METHOD_NOT_ALLOWED", "POST"),
    "/actions/hello_world/run": ("BadActionRequest", "POST"),
    "/compute/v3/functions": ("METHOD_NOT_ALLOWED", "GET, HEAD, OPTIONS, POST"),
}
NOWHERE = {
    "/flows/nowhere": "NOT_FOUND",
    "/auth/nowhere": "NOT_FOUND",
    "/actions/nowhere": "ActionNotFound",
    "/compute/nowhere": "NOT_FOUND",
    "/compute/v3/endpoints/x/nowhere": "NOT_FOUND",
    "/nowhere": "NOT_FOUND",
}


def request(service: Service, line: str, *headers: str, body: bytes = b"") -> bytes:
    lines = [f"{line} HTTP/1.1", f"Host: 127.0.0.1:{service.port}", *headers, "", ""]
    return "\r\n".join(lines).encode("latin-1") + body


def never_ending(service: Service) -> None:
    """A chunked body of which one byte comes now and then; one that stops; headers that stop."""
    limit_s = service.limits.request_s
    start = request(service, "POST /flows/flows", "Transfer-Encoding: chunked", "Content-Type: application/json")
    for opening, goes_on in ((start, True), (start + b"5\r\nhel", False), (b"POST /flows/flows HT", False)):
        before = service.stored()
        began = time.monotonic()
        status, headers, body = _dribble(service, opening, goes_on=goes_on)
        assert status == 408
        assert limit_s <= time.monotonic() - began < limit_s + 8
        check_document(headers["content-type"], body.decode(), "/flows/flows", "REQUEST_TIMEOUT", "within 1 seconds")
        assert service.stored() == before


def _dribble(service: Service, opening: bytes, *, goes_on: bool) -> tuple[int, dict[str, str], bytes]:
    with socket.create_connection(("127.0.0.1", service.port), timeout=0.1) as connection:
        connection.sendall(opening)
        end = time.monotonic() + 10
        while time.monotonic() < end:
            try:
                connection.recv(1, socket.MSG_PEEK)
                connection.settimeout(5)
                return read_answer(connection)
            except TimeoutError:
                if goes_on:
                    connection.sendall(b"1\r\n \r\n")
    raise AssertionError("no answer came")


ROWS = rows_of({"B19 body that never ends": never_ending})


@by_id(ROWS)
def test_a_request_must_arrive_in_time(service: Service, row: Any) -> None:
    row.check(service)


def test_a_short_wait_between_two_requests_is_no_late_request(service: Service) -> None:
    """The time counts from the first byte of a request: a connection may stay open longer than that."""
    line = request(service, "GET /healthz")
    with socket.create_connection(("127.0.0.1", service.port), timeout=5) as connection:
        for pause_s in (service.limits.request_s + 1.5, 0):
            connection.sendall(line)
            assert read_answer(connection)[0] == 200
            if pause_s:
                connection.settimeout(pause_s)
                with pytest.raises(TimeoutError):
                    connection.recv(1)
                connection.settimeout(5)


@pytest.mark.parametrize("path", PATHS)
@pytest.mark.parametrize("method", ["PROPFIND", "FOO", "PATCH", "TRACE"])
def test_a_method_that_is_not_taken_is_405_with_those_that_are(service: Service, method: str, path: str) -> None:
    code, allowed = PATHS[path]
    status, headers, body = service.raw(request(service, f"{method} {path}"))
    assert status == 405
    check_document(headers["content-type"], body.decode(), path, code, *allowed.split(", "))
    assert set(allowed.split(", ")) <= set(headers["allow"].split(", "))
    assert method not in headers["allow"]


@pytest.mark.parametrize("path", NOWHERE)
@pytest.mark.parametrize("method", ["GET", "POST", "DELETE", "PROPFIND"])
def test_a_path_of_nothing_is_404(service: Service, method: str, path: str) -> None:
    status, headers, body = service.raw(request(service, f"{method} {path}", "Content-Length: 0"))
    assert status == 404
    check_document(headers["content-type"], body.decode(), path, NOWHERE[path])


@pytest.mark.parametrize(
    ("line", "headers", "body", "status", "code", "says"),
    [
        pytest.param("GET /flows/flows", [f"X: {'x' * 70_000}"], b"", 431, "HEADERS_TOO_LARGE", "65536", id="headers"),
        pytest.param(f"GET /flows/flows?filter_title={'x' * 70_000}", [], b"", 431, "HEADERS_TOO_LARGE", "65536", id="url"),
        pytest.param("get /flows/flows", [], b"", 400, "BAD_REQUEST", "first line", id="method in small letters"),
        pytest.param("GET /flows/flows", ["no colon"], b"", 400, "BAD_REQUEST", "headers", id="no header"),
        pytest.param("POST /flows/flows", ["Content-Length: -5"], b"", 400, "BAD_REQUEST", "headers", id="length"),
        pytest.param("POST /flows/flows", ["Transfer-Encoding: gzip"], b"", 501, "NOT_IMPLEMENTED", "chunked", id="coding"),
        pytest.param("POST /flows/flows", ["Transfer-Encoding: chunked"], b"zz\r\n", 400, "BAD_REQUEST", "chunks", id="end"),
        pytest.param("POST /flows/flows", ["Content-Length: 9999999999"], b"", 413, "TOO_LARGE", "25165824", id="too large"),
    ],
)  # fmt: skip
def test_what_is_not_http_is_refused_in_json(
    service: Service, line: str, headers: list[str], body: bytes, status: int, code: str, says: str
) -> None:
    before = service.stored()
    got, answered, document = service.raw(request(service, line, *headers, body=body))
    assert got == status
    check_document(answered["content-type"], document.decode(), "/flows", code, says)
    assert answered["connection"] == "close"
    assert service.stored() == before


@pytest.mark.parametrize("path", ["/auth/v2/oauth2/token", "/actions/hello_world/run", "/compute/v3/functions"])
def test_a_body_over_every_limit_is_refused_in_the_words_of_its_service(service: Service, path: str) -> None:
    answer = service.send("POST", path, raw=b"x" * 26_000_000, scope=None)
    refused(answer, 413, "BadActionRequest" if path.startswith("/actions") else "TOO_LARGE", "25165824 bytes")


def test_what_comes_after_an_early_refusal_does_not_take_the_answer_back(service: Service) -> None:
    """A body that is sent to its end before the client looks at the answer."""
    line = request(service, "POST /flows/flows", "Content-Length: 30000000", "Content-Type: application/json")
    status, headers, body = service.raw(line + b"x" * 30_000_000)
    assert status == 413
    check_document(headers["content-type"], body.decode(), "/flows", "TOO_LARGE", "25165824")


@pytest.mark.parametrize("host", ["evil.example", "127.0.0.1:1", "a b", ""])
def test_another_host_name_is_not_ours(service: Service, host: str) -> None:
    status, headers, body = service.raw(f"GET /flows/flows HTTP/1.1\r\nHost: {host}\r\n\r\n".encode())
    assert status == 421
    check_document(headers["content-type"], body.decode(), "/flows/flows", "UNKNOWN_HOST", "FLOWS_PUBLIC_URL")


def test_the_answer_to_a_form_of_wrong_kind_is_an_auth_error(service: Service) -> None:
    answer = service.send("POST", "/auth/v2/oauth2/token", raw=b"grant_type=x&grant_type=y", scope=None, headers={
        "Content-Type": "application/x-www-form-urlencoded"})  # fmt: skip
    refused(answer, 400, "INVALID_REQUEST", "'grant_type' is given more than once")
    assert json.loads(answer.text)["error"] == "invalid_request"
