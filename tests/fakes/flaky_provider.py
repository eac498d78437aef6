"""An action provider on a real socket that misbehaves on request: the first step of the URL's path names how.

``provider.url("truncated")`` is an ActionUrl under which every answer is cut short. What a mode writes is raw bytes, so
that it can break any rule of HTTP. ``seen`` lists the requests that came in, in order.
"""

from __future__ import annotations

import json
import socket
import ssl
import struct
import threading
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Self, TypeAlias

ACTION_ID = "0190f000-0000-7000-8000-000000000001"


def document(status: str = "ACTIVE", **members: Any) -> dict[str, Any]:
    """A valid status document."""
    return {
        "action_id": ACTION_ID,
        "status": status,
        "creator_id": "urn:globus:auth:identity:11111111-1111-4111-8111-111111111111",
        "details": {},
        **members,
    }


def answer(
    body: bytes | str | Mapping[str, Any],
    *,
    status: str = "200 OK",
    content_type: str = "application/json",
    headers: Mapping[str, str] | None = None,
) -> bytes:
    """A well-formed HTTP answer with this body."""
    raw = body if isinstance(body, bytes) else (body if isinstance(body, str) else json.dumps(body)).encode()
    lines = {"Content-Type": content_type, "Content-Length": str(len(raw)), **(headers or {})}
    head = "".join(f"{name}: {value}\r\n" for name, value in lines.items() if value)
    return f"HTTP/1.1 {status}\r\n{head}\r\n".encode() + raw


@dataclass(frozen=True, slots=True)
class Seen:
    """One request as it arrived. ``headers`` have lower-case names; ``path`` is still percent-encoded."""

    method: str
    path: str
    headers: Mapping[str, str]
    body: bytes

    @property
    def mode(self) -> str:
        return self.path.split("/")[1]


@dataclass(slots=True)
class Visit:
    """A mode's side of one connection. ``count`` numbers the requests of this mode, from 1."""

    request: Seen
    count: int
    send: Callable[[bytes], None]
    reset: Callable[[], None]
    drip: Callable[[Iterator[bytes]], None]


Mode: TypeAlias = Callable[[Visit], None]


@dataclass(slots=True)
class FlakyProvider:
    """Use as a context manager. Custom modes may be added to ``modes`` under any name."""

    tls: ssl.SSLContext | None = None
    drip_every_s: float = 0.02
    seen: list[Seen] = field(default_factory=list)
    modes: dict[str, Mode] = field(default_factory=lambda: dict(MODES))
    _listener: socket.socket = field(default_factory=lambda: socket.create_server(("127.0.0.1", 0)))
    _stopping: threading.Event = field(default_factory=threading.Event)
    _counts: Counter[str] = field(default_factory=Counter)

    @property
    def port(self) -> int:
        port: int = self._listener.getsockname()[1]
        return port

    def url(self, mode: str, *, host: str = "127.0.0.1") -> str:
        return f"{'https' if self.tls else 'http'}://{host}:{self.port}/{mode}"

    def __enter__(self) -> Self:
        threading.Thread(target=self._accept, daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stopping.set()
        self._listener.shutdown(socket.SHUT_RDWR)  # wakes accept, which would keep the port open
        self._listener.close()

    def _accept(self) -> None:
        while True:
            try:
                connection, _ = self._listener.accept()
            except OSError:
                return
            threading.Thread(target=self._serve, args=(connection,), daemon=True).start()

    def _serve(self, raw: socket.socket) -> None:
        try:
            connection = self.tls.wrap_socket(raw, server_side=True) if self.tls else raw
            with connection:
                request = _read(connection)
                if request is not None:
                    self._answer(connection, request)
        except OSError:
            raw.close()  # the client went away, which is what many modes provoke

    def _answer(self, connection: socket.socket, request: Seen) -> None:
        self.seen.append(request)
        self._counts[request.mode] += 1

        def reset() -> None:
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            connection.close()

        def drip(pieces: Iterator[bytes]) -> None:
            for piece in pieces:
                if self._stopping.wait(self.drip_every_s):
                    return
                connection.sendall(piece)

        mode = self.modes.get(request.mode, _not_found)
        mode(Visit(request, self._counts[request.mode], connection.sendall, reset, drip))


def _read(connection: socket.socket) -> Seen | None:
    with connection.makefile("rb") as stream:
        first = stream.readline().decode("latin-1").split()
        if len(first) != 3:
            return None
        headers = {}
        while (line := stream.readline().decode("latin-1").strip()) != "":
            name, _, value = line.partition(":")
            headers[name.strip().lower()] = value.strip()
        body = stream.read(int(headers.get("content-length", "0")))
    return Seen(first[0], first[1], headers, body)


def _says(raw: bytes) -> Mode:
    return lambda visit: visit.send(raw)


def _not_found(visit: Visit) -> None:
    visit.send(answer({"code": "ActionNotFound", "description": "no such action"}, status="404 Not Found"))


def _refuses(status: str, **body: Any) -> bytes:
    return answer({"code": "BadActionRequest", "description": "the body is not to my liking", **body}, status=status)


def _busy(retry_after: str) -> Mode:
    return _says(answer("{}", status="429 Too Many Requests", headers={"Retry-After": retry_after}))


def _synchronous(visit: Visit) -> None:
    visit.send(answer(document("SUCCEEDED", details={"echo": json.loads(visit.request.body or b"{}")})))


def _asynchronous(visit: Visit) -> None:
    done = visit.request.method == "GET"
    visit.send(answer(document("SUCCEEDED" if done else "ACTIVE"), status="200 OK" if done else "202 Accepted"))


def _endless(visit: Visit) -> None:
    visit.send(b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n\r\n")
    for _ in range(10 * 1024 * 16):  # 10 GiB
        visit.send(b" " * 65536)


def _endless_chunks(visit: Visit) -> None:
    visit.send(b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\n")
    while True:
        visit.send(b"1\r\n \r\n" * 4096)


def _endless_continue(visit: Visit) -> None:
    while True:
        visit.send(b"HTTP/1.1 100 Continue\r\n\r\n" * 1000)


def _slow_headers(visit: Visit) -> None:
    visit.drip(bytes([byte]) for byte in answer(document(), headers={"X-Padding": "x" * 2000}))


def _slow_body(visit: Visit) -> None:
    head, _, body = answer(document(label="x" * 2000)).partition(b"\r\n\r\n")
    visit.send(head + b"\r\n\r\n")
    visit.drip(bytes([byte]) for byte in body)


def _silent(visit: Visit) -> None:
    visit.drip(b"" for _ in range(10_000))


def _id_changes(visit: Visit) -> None:
    visit.send(answer(document(action_id=ACTION_ID if visit.count == 1 else f"other-{visit.count}")))


def _forgets(visit: Visit) -> None:
    if visit.count == 1:
        visit.send(answer(document()))
    else:
        _not_found(visit)


def _revives(visit: Visit) -> None:
    visit.send(answer(document("SUCCEEDED" if visit.count == 1 else "ACTIVE")))


def _recovers(visit: Visit) -> None:
    """Fails twice after having done its work, then gives the answer to the same request."""
    visit.send(answer("oops", status="503 Service Unavailable") if visit.count < 3 else answer(document()))


def _wants_fresh_token(visit: Visit) -> None:
    fresh = visit.request.headers.get("authorization") == "Bearer fresh"
    visit.send(answer(document()) if fresh else _refuses("401 Unauthorized", code="UnauthorizedRequest"))


_VALID = json.dumps(document()).encode()

#: Every misbehaviour of the fault plan, and the few good manners.
MODES: Mapping[str, Mode] = {
    "sync": _synchronous,
    "async": _asynchronous,
    "inactive": _says(answer(document("INACTIVE", details={"code": "ConsentRequired"}))),
    "failed": _says(answer(document("FAILED", details={"code": "Broken", "description": "it broke"}))),
    "byte-order-mark": _says(answer(b"\xef\xbb\xbf" + _VALID)),
    "chunked": _says(
        b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\n"
        + f"{len(_VALID):x}\r\n".encode()
        + _VALID
        + b"\r\n0\r\n\r\n"
    ),
    **{
        str(code): _says(_refuses(f"{code} No"))
        for code in (400, 404, 405, 406, 409, 410, 413, 415, 418, 422, 401, 403)
    },
    "400-text": _says(answer("line one\nline \x1b[31mtwo", status="400 Bad Request", content_type="text/plain")),
    "400-html": _says(answer("<script>alert(1)</script>", status="400 Bad Request", content_type="text/html")),
    "400-long": _says(_refuses("400 Bad Request", description="long " * 5000)),
    "consent": _says(
        _refuses("403 Forbidden", code="ConsentRequired", required_scope="urn:scope:transfer[*urn:scope:data_access]")
    ),
    "consent-parameters": _says(
        _refuses("403 Forbidden", authorization_parameters={"required_scopes": ["urn:scope:needed"]})
    ),
    "consent-unnamed": _says(_refuses("403 Forbidden", code="ConsentRequired")),
    "fresh-token": _wants_fresh_token,
    "500": _says(answer("{}", status="500 Internal Server Error")),
    "503": _says(answer("{}", status="503 Service Unavailable", headers={"Retry-After": "7"})),
    "599": _says(answer("{}", status="599 Odd")),
    "408": _says(answer("{}", status="408 Request Timeout")),
    "429-1": _busy("1"),
    "429-huge": _busy("1000000000"),
    "429-date": _busy("Thu, 01 Jan 2026 00:02:00 GMT"),
    "429-past": _busy("Thu, 01 Jan 2015 00:00:00 GMT"),
    "429-junk": _busy("soon; or -1"),
    "html": _says(answer("<html>welcome</html>", content_type="text/html")),
    "no-type": _says(answer(_VALID, content_type="")),
    "wrong-type": _says(answer(_VALID, content_type="text/plain")),
    "empty": _says(answer("")),
    "204": _says(b"HTTP/1.1 204 No Content\r\n\r\n"),
    "206": _says(answer(_VALID, status="206 Partial Content")),
    "103": _says(b"HTTP/1.1 103 Early Hints\r\nLink: </x>\r\n\r\n" + answer(_VALID)),
    "truncated": _says(answer(_VALID, headers={"Content-Length": str(len(_VALID) + 40)})),
    "cut-json": _says(answer(_VALID[:-9])),
    "cut-chunk": _says(
        b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\n1000\r\n" + _VALID
    ),
    "bad-chunk": _says(
        b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n" + _VALID
    ),
    "bad-length": _says(answer(_VALID, headers={"Content-Length": "-5"})),
    "duplicate-keys": _says(answer(_VALID[:-1] + b', "status": "SUCCEEDED"}')),
    "nan": _says(answer(_VALID[:-1] + b', "cost": NaN}')),
    "huge-integer": _says(answer(_VALID[:-1] + b', "cost": 1' + b"0" * 5000 + b"}")),
    "deep": _says(answer(_VALID[:-1] + b', "deep": ' + b"[" * 100_000 + b"]" * 100_000 + b"}")),
    "lone-surrogate": _says(answer(_VALID[:-1] + rb', "label": "\ud800"}')),
    "not-utf8": _says(answer(_VALID[:-1] + b', "label": "\xff"}')),
    "list": _says(answer("[" + _VALID.decode() + "]")),
    "10-mb": _says(answer(_VALID + b" " * 10_000_000)),
    "10-gb": _endless,
    "endless-chunks": _endless_chunks,
    "endless-continue": _endless_continue,
    "5000-headers": _says(answer(_VALID, headers={f"X-{number}": "y" for number in range(5000)})),
    "long-header": _says(answer(_VALID, headers={"X-Long": "y" * 100_000})),
    "gzip": _says(answer(b"\x1f\x8b" + b"\0" * 1000, headers={"Content-Encoding": "gzip"})),
    "slow-headers": _slow_headers,
    "slow-body": _slow_body,
    "silent": _silent,
    "reset": lambda visit: visit.reset(),
    "closes": lambda visit: None,
    "not-http": _says(b"SSH-2.0-OpenSSH_9.2\r\n"),
    "redirect": _says(
        answer("", status="301 Moved Permanently", headers={"Location": "http://169.254.169.254/latest/meta-data"})
    ),
    "redirect-307": _says(answer("", status="307 Temporary Redirect", headers={"Location": "/sync/run"})),
    "unknown-status": _says(answer(document("PENDING"))),
    "ended": _says(answer(document("ENDED"))),
    "no-action-id": _says(answer({"status": "ACTIVE"})),
    "number-action-id": _says(answer(document(action_id=7))),
    "long-action-id": _says(answer(document(action_id="x" * 1_000_000))),
    "odd-action-id": _says(answer(document(action_id="a/b?c#d é"))),
    "dots-action-id": _says(answer(document(action_id=".."))),
    "id-changes": _id_changes,
    "forgets": _forgets,
    "revives": _revives,
    "recovers": _recovers,
    "sets-cookie": _says(answer(_VALID, headers={"Set-Cookie": "session=1; Path=/"})),
}
