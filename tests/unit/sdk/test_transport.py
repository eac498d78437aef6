"""Requests to an application in this process are what a server would have made of them."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import Any

import pytest
import requests

from flows_engine.sdk.transport import WsgiTransport


def session(application: Any) -> requests.Session:
    made = requests.Session()
    made.mount("http://here.example:81", WsgiTransport(application))
    return made


def test_an_application_sees_the_request_as_from_a_socket() -> None:
    seen: dict[str, Any] = {}

    def application(environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
        seen.update(environ, body=environ["wsgi.input"].read())
        start_response("201 Created", [("X-Two", "a"), ("X-Two", "b")])
        return [b"first ", b"second"]

    answer = session(application).post(
        "http://here.example:81/a%20b/%C3%A4?q=1&q=2", data="text", headers={"X-Own": "1", "Content-Type": "text/x"}
    )
    assert (answer.status_code, answer.reason, answer.text) == (201, "Created", "first second")
    assert answer.headers["X-Two"] == "a, b"
    assert seen["PATH_INFO"].encode("latin-1").decode() == "/a b/ä"
    assert seen["QUERY_STRING"] == "q=1&q=2"
    assert (seen["HTTP_HOST"], seen["SERVER_PORT"]) == ("here.example:81", "81")
    assert (seen["HTTP_X_OWN"], seen["CONTENT_TYPE"], seen["CONTENT_LENGTH"]) == ("1", "text/x", "4")
    assert seen["body"] == b"text"


def test_an_answer_is_closed_also_when_it_breaks() -> None:
    class Broken:
        closed = False

        def __iter__(self) -> Iterator[bytes]:
            raise RuntimeError("broken")

        def close(self) -> None:
            self.closed = True

    broken = Broken()

    def application(_environ: dict[str, Any], start_response: Callable[..., Any]) -> Any:
        start_response("200 OK", [])
        return broken

    with pytest.raises(RuntimeError):
        session(application).get("http://here.example:81/")
    assert broken.closed
