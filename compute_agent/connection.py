"""Calls of one server: a bearer token per scope, repeated where that is safe, errors as ``ApiError``.

The flows SDK, the compute SDK and the compute agent all speak through this.

Requests are never redirected, so that a token goes to the server it was issued by and nowhere else. What is repeated:
requests that read, and those whose caller says that repeating has no effect (an idempotency key).
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Mapping
from typing import Any
from urllib.parse import urlsplit

import requests
from requests.adapters import BaseAdapter
from requests.auth import AuthBase

from schemas.json_text import Json, dumps, loads_trusted

from .errors import ClientError, UnreachableError, api_error

_CONNECT_S = 10.0
_ANSWER_S = 60.0
_TRIES = 5
_FIRST_PAUSE_S = 0.2
_LONGEST_PAUSE_S = 10.0
#: Answers of a server, or of a proxy before it, that is busy or away for a moment.
_BUSY = frozenset({429, 502, 503, 504})
#: Tokens are renewed so long before they run out.
_TOKEN_MARGIN_S = 60.0
_LOOPBACK = frozenset({"localhost", "127.0.0.1", "::1"})


class Http:
    """Speaks as the confidential client ``client_id``, or with one ``token`` that somebody else looks after.

    ``find``, if given, says before each request where the server is now; it raises ``UnreachableError`` when it is not
    up, and then nothing is sent. ``pause`` waits between repetitions. May be used by several threads.
    """

    def __init__(
        self,
        url: str,
        *,
        client_id: str = "",
        client_secret: str = "",
        token: str = "",
        transport: BaseAdapter | None = None,
        find: Callable[[], str] | None = None,
        pause: Callable[[float], None] = time.sleep,
    ) -> None:
        parts = urlsplit(url)
        if parts.scheme not in ("http", "https") or not parts.hostname:
            raise ClientError(f"{url!r} is not the address of a server; it looks like http://127.0.0.1:8765")
        self.url = url.rstrip("/")
        if not token and not (client_id and client_secret):
            raise ClientError("either a token or a client's id and secret are needed")
        self._credentials = (client_id, client_secret)
        self._fixed_token = token
        self._find = find
        self._pause = pause
        self._tokens: dict[str, tuple[str, float]] = {}
        self._lock = threading.Lock()
        self._session = requests.Session()
        self._session.trust_env = parts.hostname not in _LOOPBACK  # no proxy stands before this machine
        self._session.headers["User-Agent"] = "flows-engine-sdk"
        if transport is not None:
            self._session.mount(f"{parts.scheme}://{parts.netloc}", transport)

    def close(self) -> None:
        self._session.close()

    def call(
        self,
        method: str,
        path: str,
        *,
        scope: str,
        body: Json = None,
        query: Mapping[str, Any] | None = None,
        headers: Mapping[str, str] | None = None,
        repeatable: bool = False,
        answer_s: float = _ANSWER_S,
    ) -> Json:
        """The JSON that the service answers, with a token of ``scope``; ``answer_s`` is how long it may take.

        Raises:
            ApiError: the service refused.
            UnreachableError: there was no answer.
        """
        more = dict(headers or {})
        data = None
        if body is not None:
            data = dumps(body)
            more["Content-Type"] = "application/json"
        repeatable = repeatable or method == "GET"
        for is_last in (False, True):
            auth = _Bearer(self._token(scope))
            response = self._send(
                method, path, repeatable=repeatable, answer_s=answer_s, auth=auth, data=data, params=query, headers=more
            )
            if response.status_code != 401 or is_last or self._fixed_token:
                break
            self._forget(scope)  # it was revoked, or the server has other keys now
        return _document(response)

    def _token(self, scope: str) -> str:
        if self._fixed_token:
            return self._fixed_token
        with self._lock:
            text, good_until = self._tokens.get(scope, ("", 0.0))
        if time.monotonic() < good_until:
            return text
        form = {"grant_type": "client_credentials", "scope": scope}
        document = _document(
            self._send("POST", "/auth/v2/oauth2/token", repeatable=True, auth=self._credentials, data=form)
        )
        try:
            text, life_s = str(document["access_token"]), float(document["expires_in"])
        except (KeyError, TypeError, ValueError) as error:
            raise ClientError(f"{self.url} did not answer with a token; is it a flows server?") from error
        margin_s = min(_TOKEN_MARGIN_S, life_s / 10)
        with self._lock:
            self._tokens[scope] = (text, time.monotonic() + life_s - margin_s)
        return text

    def _forget(self, scope: str) -> None:
        with self._lock:
            self._tokens.pop(scope, None)

    def _send(
        self, method: str, path: str, *, repeatable: bool, answer_s: float = _ANSWER_S, **request: Any
    ) -> requests.Response:
        pause_s = _FIRST_PAUSE_S
        for tries_left in range(_TRIES if repeatable else 1, 0, -1):
            try:
                if self._find is not None:
                    self.url = self._find()
                response = self._session.request(
                    method, f"{self.url}{path}", timeout=(_CONNECT_S, answer_s), allow_redirects=False, **request
                )
            except UnreachableError:
                if tries_left == 1:
                    raise
                wait_s = pause_s
            except requests.RequestException as error:
                if tries_left == 1:
                    raise UnreachableError(f"the server at {self.url} gave no answer: {_reason(error)}") from error
                wait_s = pause_s
            else:
                if response.status_code not in _BUSY or tries_left == 1:
                    return response
                wait_s = max(pause_s, _retry_after_s(response))
            self._pause(min(wait_s, _LONGEST_PAUSE_S))
            pause_s *= 2
        raise AssertionError("the last try returns or raises")


class _Bearer(AuthBase):
    """As an auth object rather than a header, which ``requests`` would overrule with what stands in a .netrc file."""

    def __init__(self, token: str) -> None:
        self._token = token

    def __call__(self, request: requests.PreparedRequest) -> requests.PreparedRequest:
        request.headers["Authorization"] = f"Bearer {self._token}"
        return request


def _document(response: requests.Response) -> Json:
    if response.status_code >= 300:
        raise api_error(response)
    try:
        return loads_trusted(response.content)
    except ValueError as error:
        raise ClientError(
            f"{response.url.partition('?')[0]} did not answer with JSON; is it a flows server?"
        ) from error


def _retry_after_s(response: requests.Response) -> float:
    text = response.headers.get("Retry-After", "")
    return float(text) if text.isdecimal() else 0.0


def _reason(error: requests.RequestException) -> str:
    if isinstance(error, requests.exceptions.ConnectTimeout | requests.exceptions.ReadTimeout):
        return "it took too long"
    if isinstance(error, requests.exceptions.SSLError):
        return "its certificate was not accepted"
    if isinstance(error, requests.ConnectionError):
        return "nothing listens there, or the connection broke"
    return type(error).__name__
