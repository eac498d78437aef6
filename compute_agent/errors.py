"""What can go wrong between a client and the service, as exceptions whose text is a sentence for people."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import requests

from schemas.json_text import Json, loads_trusted

_SHOWN_PROBLEMS = 20


class ClientError(Exception):
    """Anything that keeps the client from doing what it was asked."""


class UnreachableError(ClientError):
    """The service gave no answer; whether it acted on the request is unknown unless the request can be repeated."""


class ApiError(ClientError):
    """The service refused.

    ``detail`` is a sentence, or the list of problems ``{"loc", "msg", "type"}``; ``debug_id`` finds the request in the
    server's log; ``document`` is the whole answer.
    """

    def __init__(
        self,
        status: int,
        code: str,
        detail: str | Sequence[Mapping[str, Any]],
        *,
        message: str | None = None,
        debug_id: str | None = None,
        document: Json = None,
    ) -> None:
        self.status = status
        self.code = code
        self.detail = detail
        self.message = message
        self.debug_id = debug_id
        self.document = document
        super().__init__(self._text())

    @property
    def problems(self) -> list[Mapping[str, Any]]:
        """What is wrong with the document that was sent, one entry per place; empty when ``detail`` is a sentence."""
        return [] if isinstance(self.detail, str) else list(self.detail)

    def _text(self) -> str:
        if isinstance(self.detail, str):
            text = self.detail
        elif len(self.detail) == 1:
            text = _problem_text(self.detail[0])
        else:
            head = f"{len(self.detail)} problems with what was sent"
            lines = [_problem_text(one) for one in self.detail[:_SHOWN_PROBLEMS]]
            if len(self.detail) > _SHOWN_PROBLEMS:
                lines.append(f"and {len(self.detail) - _SHOWN_PROBLEMS} more")
            text = "\n  ".join([f"{head}:", *lines])
        if self.status >= 500 and self.debug_id:
            text += f" (debug_id {self.debug_id})"
        return text


def api_error(response: requests.Response) -> ApiError:
    """The error that an answer with a status of 400 or more stands for, whichever service gave it."""
    try:
        document = loads_trusted(response.content)
    except ValueError:
        document = None
    if isinstance(document, dict):
        if isinstance(error := document.get("error"), dict):
            return _of_flows(response.status_code, error, document)
        if isinstance(errors := document.get("errors"), list) and errors and isinstance(errors[0], dict):
            first = errors[0]
            code, detail = str(first.get("code", "ERROR")), str(first.get("detail", ""))
            return ApiError(response.status_code, code, detail, debug_id=first.get("id"), document=document)
        if document.get("status") == "Failed" and isinstance(reason := document.get("reason"), str):
            return ApiError(response.status_code, str(document.get("code", "ERROR")), reason, document=document)
    where = response.url.partition("?")[0]
    detail = f"{where} answered {response.status_code} {response.reason or ''}, and not as a flows server does"
    return ApiError(response.status_code, "UNKNOWN_ANSWER", detail, document=document)


def _of_flows(status: int, error: Mapping[str, Any], document: Mapping[str, Any]) -> ApiError:
    detail = error.get("detail")
    if not isinstance(detail, list) or not all(isinstance(one, dict) for one in detail):
        detail = str(detail or error.get("message") or "the service gave no reason")
    return ApiError(
        status,
        str(error.get("code", "ERROR")),
        detail,
        message=error.get("message"),
        debug_id=document.get("debug_id"),
        document=document,
    )


def _problem_text(problem: Mapping[str, Any]) -> str:
    where = ".".join(str(part) for part in problem.get("loc", ()))
    return f"{where}: {problem.get('msg', '')}" if where else str(problem.get("msg", ""))
