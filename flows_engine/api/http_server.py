"""waitress, set up for this house: what it refuses by itself is JSON too, and no request may take for ever to arrive.

waitress reads a request completely before the app sees it. What it cannot read it answers in plain text, and it waits
for a body as long as now and then a byte comes; both are changed here. A connection on which something was refused is
read on for a moment before it is closed, because closing it with unread data would take the answer back (RFC 9112, 9.6).
"""

from __future__ import annotations

import socket
import time
from dataclasses import dataclass
from typing import Any

from flask import Flask
from waitress.adjustments import Adjustments
from waitress.channel import HTTPChannel
from waitress.server import TcpWSGIServer
from waitress.task import ErrorTask, ThreadedTaskDispatcher
from waitress.utilities import Error

from schemas.json_text import dumps

from .error_documents import error_document

IDENT = "flows-engine"


@dataclass(frozen=True, slots=True, kw_only=True)
class HttpLimits:
    """``request_s`` is what a request may take from its first byte to its last, ``idle_s`` how long a connection may
    stay open without one, ``linger_s`` how long what follows a refused request is read and thrown away.

    ``max_body_bytes`` is more than any API admits, so that the APIs refuse in their own words.
    """

    threads: int = 64
    connections: int = 1_000
    max_header_bytes: int = 64 * 1024
    max_body_bytes: int = 24 * 1024 * 1024
    request_s: float = 30.0
    idle_s: int = 120
    linger_s: float = 5.0
    linger_bytes: int = 64 * 1024 * 1024


def create_http_server(
    web: Flask, listener: socket.socket, sockets: dict[int, Any], limits: HttpLimits | None = None
) -> TcpWSGIServer:
    """A server of ``web`` that accepts connections at ``listener`` once the caller polls ``sockets``.

    It works in ``wasyncore.loop(map=sockets)``, which must come round at least once a second.
    """
    limits = limits or HttpLimits()
    adjustments = Adjustments(
        sockets=[listener],
        threads=limits.threads,
        ident=IDENT,
        max_request_header_size=limits.max_header_bytes,
        max_request_body_size=limits.max_body_bytes,
        connection_limit=limits.connections,
        channel_timeout=limits.idle_s,
        cleanup_interval=1,
        clear_untrusted_proxy_headers=True,
    )
    dispatcher = ThreadedTaskDispatcher()
    dispatcher.set_thread_count(limits.threads)
    address = (listener.family, listener.type, listener.proto, listener.getsockname())
    return _Server(
        limits,
        web,
        sockets,
        True,
        listener,
        dispatcher=dispatcher,
        adj=adjustments,
        sockinfo=address,
        bind_socket=False,
    )


class _RequestTimeout(Error):  # type: ignore[misc]  # waitress ships no types
    code = 408
    reason = "Request Timeout"


#: waitress's refusals -> code and sentence. Its own words stay out: they are about its parser.
_REFUSALS = {
    400: ("BAD_REQUEST", "The request is not HTTP that this server reads: check its first line, headers and chunks"),
    408: ("REQUEST_TIMEOUT", "The request did not arrive within {request_s:g} seconds; send it again, faster"),
    413: ("TOO_LARGE", "The request body is larger than the limit of {max_body_bytes} bytes"),
    431: (
        "HEADERS_TOO_LARGE",
        "The address and headers of the request are larger than the limit of {max_header_bytes} bytes",
    ),
    501: ("NOT_IMPLEMENTED", "The only Transfer-Encoding that this server reads is chunked"),
}
_OWN_FAULT = ("INTERNAL_ERROR", "The service failed on this request; tell its operator the debug_id")


class _ErrorTask(ErrorTask):  # type: ignore[misc]  # waitress ships no types
    """Answers what waitress could not hand to the app."""

    def execute(self) -> None:
        error, limits = self.request.error, self.channel.server.limits
        code, sentence = _REFUSALS.get(error.code, _OWN_FAULT)
        detail = sentence.format(
            request_s=limits.request_s, max_body_bytes=limits.max_body_bytes, max_header_bytes=limits.max_header_bytes
        )
        path = getattr(self.request, "path", "/")
        body = dumps(error_document(path, error.code, code, detail)).encode()
        self.status = f"{error.code} {error.reason}"
        self.response_headers += [
            ("Content-Type", "application/json"),
            ("Cache-Control", "no-store"),
            ("X-Content-Type-Options", "nosniff"),
        ]
        self.set_close_on_finish()
        self.channel.lingers = True
        self.content_length = len(body)
        self.write(body)


class _Channel(HTTPChannel):  # type: ignore[misc]  # waitress ships no types
    """One connection. ``lingers`` is set once something on it was refused."""

    error_task_class = _ErrorTask
    lingers = False
    request: Any = None

    def __init__(self, server: _Server, *args: Any, **more: Any) -> None:
        self._limits = server.limits
        self._arriving: Any = None
        self._arriving_since = 0.0
        self._lingering_until: float | None = None
        self._left_to_discard = server.limits.linger_bytes
        super().__init__(server, *args, **more)

    def received(self, data: bytes) -> bool:
        was_read: bool = super().received(data)
        if self.request is not self._arriving:
            self._arriving, self._arriving_since = self.request, time.monotonic()
        return was_read

    def look_at_clock(self, now: float) -> None:
        """Refuse the request that takes too long to arrive; end a lingering that has been long enough."""
        if self._lingering_until is not None:
            if now >= self._lingering_until:
                self.handle_close()
        elif self.request is not None and now - self._arriving_since >= self._limits.request_s:
            self._refuse_late_request()

    def readable(self) -> bool:
        return True if self._lingering_until is not None else bool(super().readable())

    def writable(self) -> bool:
        return False if self._lingering_until is not None else bool(super().writable())

    def handle_read(self) -> None:
        if self._lingering_until is None:
            super().handle_read()
            return
        try:
            self._left_to_discard -= len(self.recv(self.adj.recv_bytes))  # closes at the end of the stream
        except OSError:
            self._left_to_discard = 0
        if self._left_to_discard <= 0 and self.connected:
            self.handle_close()

    def handle_close(self) -> None:
        if self.lingers and self.connected and self._lingering_until is None:
            try:
                self.socket.shutdown(socket.SHUT_WR)
            except OSError:
                pass  # the other side has gone: nobody to linger for
            else:
                self._lingering_until = time.monotonic() + self._limits.linger_s
                self.will_close = False
                return
        super().handle_close()

    def _refuse_late_request(self) -> None:
        with self.requests_lock:
            if self.request is None or self.will_close or self.close_when_flushed:
                return
            late, self.request, self._arriving = self.request, None, None
            late.error = _RequestTimeout("")
            late.completed = True
            if not hasattr(late, "path"):  # not even its headers came
                late.path = "/"
            self.requests.append(late)
            if len(self.requests) == 1:
                self.server.add_task(self)


class _Server(TcpWSGIServer):  # type: ignore[misc]  # waitress ships no types
    channel_class = _Channel

    def __init__(self, limits: HttpLimits, *args: Any, **more: Any) -> None:
        self.limits = limits
        super().__init__(*args, **more)

    def maintenance(self, now: float) -> None:
        super().maintenance(now)
        clock = time.monotonic()
        for channel in list(self.active_channels.values()):
            channel.look_at_clock(clock)
