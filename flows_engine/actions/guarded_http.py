"""Outgoing HTTP to places that a flow's author chose: one request, one connection, one total deadline.

Every request resolves the name once, has all addresses judged by ``AddressPolicy`` and connects to one of those very
addresses, while Host header and TLS server name stay those of the URL. Nothing of the surroundings takes part: no proxy
variables, no netrc, no cookies, no redirects, no content coding, no connection left over from an earlier request.

The time limits of sockets are per read, so a peer that sends a byte a second never meets them: here every read and
write gets what is left of the deadline. Header and body sizes are bounded before they are in memory.
"""

from __future__ import annotations

import http.client
import io
import socket
import ssl
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING, TypeAlias

from requests.utils import DEFAULT_CA_BUNDLE_PATH

from .addresses import AddressPolicy, Target, parse_target

if TYPE_CHECKING:
    from _typeshed import WriteableBuffer

MAX_BODY_BYTES = 1024 * 1024
MAX_HEAD_BYTES = 64 * 1024
_READ_AHEAD_BYTES = 8 * 1024
_USER_AGENT = "flows-engine"

#: Addresses of a host as text. Raises OSError when the name does not resolve.
Resolve: TypeAlias = Callable[[str, int], Sequence[str]]


class Failing(StrEnum):
    """How a request can come to nothing."""

    BLOCKED = "blocked"  # the URL or its address is not allowed; nothing was sent anywhere
    UNSENDABLE = "unsendable"  # a request header holds what no header can; nothing was sent
    UNRESOLVED = "unresolved"
    UNREACHABLE = "unreachable"  # no connection, no time left, or cut off
    MALFORMED = "malformed"  # an answer came and breaks HTTP or our limits


class NoAnswerError(Exception):
    """No usable answer. ``reason`` is a sentence without credentials; ``may_have_reached`` is false only when it is
    certain that the server saw nothing of the request."""

    def __init__(self, kind: Failing, reason: str, *, may_have_reached: bool = False) -> None:
        super().__init__(reason)
        self.kind = kind
        self.reason = reason
        self.may_have_reached = may_have_reached


@dataclass(frozen=True, slots=True)
class HttpAnswer:
    """``headers`` have lower-case names; of repeated ones the last counts."""

    status: int
    headers: Mapping[str, str]
    body: bytes

    @property
    def content_type(self) -> str:
        """Media type in lower case, without parameters; empty when the server named none."""
        return self.headers.get("content-type", "").partition(";")[0].strip().lower()


class GuardedHttp:
    """Sends single requests under an address policy. Thread-safe; holds no connection."""

    def __init__(
        self,
        policy: AddressPolicy,
        *,
        resolve: Resolve | None = None,
        deadline_s: float = 30.0,
        connect_s: float = 5.0,
        max_body_bytes: int = MAX_BODY_BYTES,
        tls: ssl.SSLContext | None = None,
    ) -> None:
        self._policy = policy
        self._resolve = resolve or resolve_by_system
        self._deadline_s = deadline_s
        self._connect_s = connect_s
        self._max_body_bytes = max_body_bytes
        self._tls = tls or default_tls()
        self._resolving = threading.BoundedSemaphore(32)

    def request(
        self, method: str, url: str, *, headers: Mapping[str, str] | None = None, body: bytes | None = None
    ) -> HttpAnswer:
        """Send one request and read the whole answer, whatever its status.

        Raises:
            NoAnswerError: when there is no complete answer within the limits.
        """
        deadline = _Deadline(self._deadline_s)
        try:
            target = parse_target(url)
        except ValueError as error:
            raise NoAnswerError(Failing.BLOCKED, str(error)) from error
        try:
            channel = self._open(target, deadline)
        except TimeoutError as error:
            raise NoAnswerError(
                Failing.UNREACHABLE, f"no connection to {target.host} within {deadline.seconds:g} s"
            ) from error
        return _Exchange(target, channel, deadline, self._max_body_bytes).run(method, headers or {}, body)

    def _open(self, target: Target, deadline: _Deadline) -> socket.socket:
        addresses = self._addresses(target, deadline)
        if reason := self._policy.refusal(target, addresses):
            raise NoAnswerError(Failing.BLOCKED, reason)
        raw = self._connect(target, addresses, deadline)
        try:
            return self._secured(raw, target, deadline)
        except BaseException:
            raw.close()
            raise

    def _addresses(self, target: Target, deadline: _Deadline) -> Sequence[str]:
        """Resolve on a thread of its own: the system's resolver knows no time limit."""
        limit_s = min(self._connect_s, deadline.left_s())
        if not self._resolving.acquire(timeout=limit_s):
            raise NoAnswerError(Failing.UNRESOLVED, "too many host names are being resolved at the moment")
        answer: list[Sequence[str] | OSError | UnicodeError] = []

        def work() -> None:
            try:
                answer.append(self._resolve(target.host, target.port))
            except (OSError, UnicodeError) as error:
                answer.append(error)
            finally:
                self._resolving.release()

        thread = threading.Thread(target=work, name="resolve", daemon=True)
        thread.start()
        thread.join(limit_s)
        if not answer:
            raise NoAnswerError(
                Failing.UNRESOLVED, f"the host name {target.host} did not resolve within {limit_s:.2g} s"
            )
        outcome = answer[0]
        if isinstance(outcome, Exception):
            raise NoAnswerError(
                Failing.UNRESOLVED, f"the host name {target.host} does not resolve: {_told(outcome)}"
            ) from outcome
        return outcome

    def _connect(self, target: Target, addresses: Sequence[str], deadline: _Deadline) -> socket.socket:
        """The first of the checked addresses that takes the connection. Half of the connect time is for the first."""
        connecting = _Deadline(min(self._connect_s, deadline.left_s()))
        reason = "no address"
        for tried, address in enumerate(addresses[:4], start=1):
            more_to_come = tried < min(len(addresses), 4)
            try:
                return socket.create_connection(
                    (address, target.port), timeout=connecting.left_s() / (2 if more_to_come else 1)
                )
            except TimeoutError:
                reason = f"no connection within {connecting.seconds:.2g} s"
            except OSError as error:
                reason = _told(error)
        raise NoAnswerError(Failing.UNREACHABLE, f"{target.host} port {target.port} cannot be connected to: {reason}")

    def _secured(self, raw: socket.socket, target: Target, deadline: _Deadline) -> socket.socket:
        if target.scheme == "http":
            return raw
        raw.settimeout(deadline.left_s())
        try:
            return self._tls.wrap_socket(raw, server_hostname=target.host)
        except ssl.SSLCertVerificationError as error:
            raise NoAnswerError(
                Failing.UNREACHABLE, f"the TLS certificate of {target.host} is not valid: {error.verify_message}"
            ) from error
        except (OSError, ValueError) as error:
            raise NoAnswerError(
                Failing.UNREACHABLE, f"no TLS connection to {target.host} port {target.port}: {_told(error)}"
            ) from error


def resolve_by_system(host: str, port: int) -> Sequence[str]:
    """All addresses the machine's resolver knows, in its order of preference."""
    found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    return list(dict.fromkeys(str(entry[4][0]) for entry in found))


def default_tls() -> ssl.SSLContext:
    """Certificates of the machine (so that an operator's own authority counts) and the public bundle."""
    context = ssl.create_default_context()
    context.load_verify_locations(DEFAULT_CA_BUNDLE_PATH)
    context.set_alpn_protocols(["http/1.1"])
    return context


class _Deadline:
    def __init__(self, seconds: float) -> None:
        self.seconds = seconds
        self._end = time.monotonic() + seconds

    def left_s(self) -> float:
        """Seconds left.

        Raises:
            TimeoutError: when there are none.
        """
        left = self._end - time.monotonic()
        if left <= 0:
            raise TimeoutError
        return left


class _TooMuchError(Exception):
    """The peer sent more bytes than it may."""


class _TimedReader(io.RawIOBase):
    """Bytes from a socket under the total deadline, up to ``allowance`` of them."""

    def __init__(self, channel: socket.socket, deadline: _Deadline, allowance: int) -> None:
        self._channel = channel
        self._deadline = deadline
        self.allowance = allowance

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: WriteableBuffer, /) -> int:
        self._channel.settimeout(self._deadline.left_s())
        count = self._channel.recv_into(buffer)
        self.allowance -= count
        if self.allowance < 0:
            raise _TooMuchError
        return count


class _TimedChannel:
    """The part of a socket's face that ``http.client`` uses, on a clock."""

    def __init__(self, channel: socket.socket, deadline: _Deadline) -> None:
        self._channel = channel
        self._deadline = deadline
        self.reader = _TimedReader(channel, deadline, MAX_HEAD_BYTES + _READ_AHEAD_BYTES)

    def sendall(self, data: bytes) -> None:
        rest = memoryview(data)
        while rest:
            self._channel.settimeout(self._deadline.left_s())
            rest = rest[self._channel.send(rest[:65536]) :]

    def makefile(self, _mode: str) -> io.BufferedReader:
        return io.BufferedReader(self.reader, _READ_AHEAD_BYTES)

    def close(self) -> None:
        """Nothing: ``http.client`` closes before it reads the body. The exchange closes the socket when it is over."""


class _Exchange:
    """One request and its answer on an open connection."""

    def __init__(self, target: Target, channel: socket.socket, deadline: _Deadline, max_body_bytes: int) -> None:
        self._target = target
        self._socket = channel
        self._channel = _TimedChannel(channel, deadline)
        self._deadline = deadline
        self._max_body_bytes = max_body_bytes

    def run(self, method: str, headers: Mapping[str, str], body: bytes | None) -> HttpAnswer:
        connection = http.client.HTTPConnection(self._target.host, self._target.port)
        connection.sock = self._channel  # has all of a socket that http.client uses
        try:
            self._send(connection, method, headers, body)
            return self._answer(connection.getresponse())
        except TimeoutError as error:
            raise self._failure(
                Failing.UNREACHABLE, f"gave no complete answer within {self._deadline.seconds:g} s"
            ) from error
        except _TooMuchError as error:
            raise self._failure(Failing.MALFORMED, f"sent more than {self._limits()}") from error
        except http.client.IncompleteRead as error:
            raise self._failure(Failing.MALFORMED, "broke off in the middle of its answer") from error
        except http.client.RemoteDisconnected as error:
            raise self._failure(Failing.UNREACHABLE, "closed the connection without an answer") from error
        except http.client.HTTPException as error:
            raise self._failure(Failing.MALFORMED, f"sent an answer that is not HTTP: {_told(error)}") from error
        except OSError as error:
            raise self._failure(Failing.UNREACHABLE, f"cut the connection: {_told(error)}") from error
        finally:
            self._socket.close()

    def _send(
        self, connection: http.client.HTTPConnection, method: str, headers: Mapping[str, str], body: bytes | None
    ) -> None:
        connection.putrequest(method, self._target.request_target, skip_host=True, skip_accept_encoding=True)
        own = {
            "Host": self._target.authority,
            "User-Agent": _USER_AGENT,
            "Accept-Encoding": "identity",
            "Connection": "close",
        }
        if body is not None or method != "GET":
            own["Content-Length"] = str(len(body or b""))
        for name, value in {**headers, **own}.items():
            if not value.isprintable() or not value.isascii():  # the value may be a credential: it is not shown
                raise self._failure(Failing.UNSENDABLE, f"was not asked: the request header {name} is not plain text")
            connection.putheader(name, value)
        connection.endheaders(body)

    def _answer(self, response: http.client.HTTPResponse) -> HttpAnswer:
        headers = {name.lower(): value for name, value in response.getheaders()}
        coding = headers.get("content-encoding", "identity").strip().lower()
        if coding not in ("", "identity"):
            raise self._failure(
                Failing.MALFORMED, f"sent a body in the coding {coding[:20]!r} although only identity was accepted"
            )
        return HttpAnswer(response.status, headers, self._body(response))

    def _body(self, response: http.client.HTTPResponse) -> bytes:
        announced = set(response.headers.get_all("Content-Length", ()))
        if len(announced) > 1 or not all(one.isascii() and one.isdigit() for one in announced):
            told = " and ".join(sorted(announced))[:60]
            raise self._failure(Failing.MALFORMED, f"announced a body of {told!r} bytes")
        # What is left of the allowance is not added: chunk headers may double the size of a body, not more.
        self._channel.reader.allowance = 2 * self._max_body_bytes + MAX_HEAD_BYTES
        body = response.read(self._max_body_bytes + 1)
        if len(body) > self._max_body_bytes:
            raise self._failure(Failing.MALFORMED, f"sent more than {self._limits()}")
        if response.length:  # http.client returns a short body as if it were whole
            raise self._failure(
                Failing.MALFORMED, f"broke off in the middle of its answer: {response.length} bytes are missing"
            )
        return body

    def _limits(self) -> str:
        return f"{MAX_HEAD_BYTES // 1024} KiB of headers or {self._max_body_bytes // 1024} KiB of body"

    def _failure(self, kind: Failing, what: str) -> NoAnswerError:
        return NoAnswerError(kind, f"{self._target.host} {what}", may_have_reached=kind is not Failing.UNSENDABLE)


def _told(error: Exception) -> str:
    """An error in short words, without numbers of errors and addresses of objects."""
    if isinstance(error, TimeoutError):
        return "no time left"
    if isinstance(error, ssl.SSLError):
        return (error.reason or "the TLS handshake failed").replace("_", " ").lower()
    if isinstance(error, OSError) and error.strerror:
        return error.strerror.lower()
    return (str(error) or type(error).__name__)[:120]
