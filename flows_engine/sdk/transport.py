"""Requests to a WSGI application in this process instead of a socket: the same client code, without a server.

``session.mount(url, WsgiTransport(app))``. The application is called in the caller's thread.
"""

from __future__ import annotations

import io
import sys
from collections.abc import Callable, Iterable, Mapping
from typing import Any
from urllib.parse import unquote_to_bytes, urlsplit

import requests
from requests.adapters import HTTPAdapter
from urllib3 import HTTPHeaderDict, HTTPResponse

#: A WSGI application (PEP 3333).
Application = Callable[[dict[str, Any], Callable[..., Any]], Iterable[bytes]]


class WsgiTransport(HTTPAdapter):
    """Hands every request to ``application``; timeouts, proxies and certificates have no meaning here."""

    def __init__(self, application: Application) -> None:
        super().__init__()
        self._application = application

    def send(
        self,
        request: requests.PreparedRequest,
        stream: bool = False,  # noqa: ARG002 - the signature is requests'
        timeout: Any = None,  # noqa: ARG002 - requests' too
        verify: Any = True,  # noqa: ARG002 - requests' too
        cert: Any = None,  # noqa: ARG002 - requests' too
        proxies: Mapping[str, str] | None = None,  # noqa: ARG002 - requests' too
    ) -> requests.Response:
        status, headers, body = _call(self._application, _environ(request))
        code, _, reason = status.partition(" ")
        answer = HTTPResponse(
            body=io.BytesIO(body),
            headers=HTTPHeaderDict(headers),
            status=int(code),
            reason=reason,
            preload_content=False,
        )
        return self.build_response(request, answer)


def _call(application: Application, environ: dict[str, Any]) -> tuple[str, list[tuple[str, str]], bytes]:
    begun: list[tuple[str, list[tuple[str, str]]]] = []
    written: list[bytes] = []

    def start_response(status: str, headers: list[tuple[str, str]], _exc_info: Any = None) -> Callable[[bytes], None]:
        begun.append((status, headers))
        return written.append

    chunks = application(environ, start_response)
    try:
        written.extend(chunks)
    finally:
        if callable(close := getattr(chunks, "close", None)):
            close()
    status, headers = begun[-1]  # a handler of errors may begin again (PEP 3333, "Error handling")
    return status, headers, b"".join(written)


def _environ(request: requests.PreparedRequest) -> dict[str, Any]:
    url = urlsplit(request.url or "")
    body = request.body or b""
    raw = body.encode() if isinstance(body, str) else bytes(body)
    environ: dict[str, Any] = {
        "REQUEST_METHOD": request.method or "GET",
        "SCRIPT_NAME": "",
        "PATH_INFO": unquote_to_bytes(url.path).decode("latin-1"),
        "QUERY_STRING": url.query,
        "SERVER_NAME": url.hostname or "",
        "SERVER_PORT": str(url.port or (443 if url.scheme == "https" else 80)),
        "SERVER_PROTOCOL": "HTTP/1.1",
        "REMOTE_ADDR": "127.0.0.1",
        "HTTP_HOST": url.netloc,
        "CONTENT_LENGTH": str(len(raw)),
        "wsgi.version": (1, 0),
        "wsgi.url_scheme": url.scheme,
        "wsgi.input": io.BytesIO(raw),
        "wsgi.errors": sys.stderr,
        "wsgi.multithread": True,
        "wsgi.multiprocess": False,
        "wsgi.run_once": False,
    }
    for name, value in request.headers.items():
        key = name.upper().replace("-", "_")
        text = value.decode("latin-1") if isinstance(value, bytes) else value
        if key == "CONTENT_TYPE":
            environ[key] = text
        elif key != "CONTENT_LENGTH":
            environ[f"HTTP_{key}"] = text
    return environ
