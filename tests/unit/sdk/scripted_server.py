"""A server that answers as it is told and remembers what it was asked, for the real client over the WSGI transport."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any
from urllib.parse import parse_qsl

from flows_engine.sdk import Client
from flows_engine.sdk.transport import WsgiTransport

URL = "http://127.0.0.1:8765"


@dataclass(frozen=True)
class Request:
    method: str
    path: str
    query: dict[str, str]
    headers: dict[str, str]
    body: str

    @property
    def json(self) -> Any:
        return json.loads(self.body)


@dataclass(frozen=True)
class Answer:
    status: int = 200
    body: Any = None
    headers: tuple[tuple[str, str], ...] = ()
    raw: bytes | None = None


class ScriptedServer:
    """``answers`` are given in their order to whatever is not a request for a token; ``token_life_s`` is of every token."""

    def __init__(self, *answers: Answer, token_life_s: int = 3600) -> None:
        self.answers = list(answers)
        self.requests: list[Request] = []
        self.token_requests: list[Request] = []
        self.pauses: list[float] = []
        self._token_life_s = token_life_s

    def client(self) -> Client:
        return Client(
            URL,
            client_id="me",
            client_secret="hidden",
            transport=WsgiTransport(self),
            pause=self.pauses.append,
        )

    def __call__(self, environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
        request = Request(
            method=environ["REQUEST_METHOD"],
            path=environ["PATH_INFO"],
            query=dict(parse_qsl(environ["QUERY_STRING"])),
            headers={name[5:]: value for name, value in environ.items() if name.startswith("HTTP_")},
            body=environ["wsgi.input"].read().decode(),
        )
        if request.path == "/auth/v2/oauth2/token":
            self.token_requests.append(request)
            answer = Answer(
                body={"access_token": f"token-{len(self.token_requests)}", "expires_in": self._token_life_s}
            )
        else:
            self.requests.append(request)
            answer = self.answers.pop(0)
        content = answer.raw if answer.raw is not None else json.dumps(answer.body).encode()
        start_response(f"{answer.status} Some Reason", [("Content-Type", "application/json"), *answer.headers])
        return [content]
