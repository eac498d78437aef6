"""The cause of a refusal: what a provider's error document says, brought into the form that a run keeps and shows."""

from __future__ import annotations

import re
from collections.abc import Iterator

from schemas.json_text import Json, dumps

MAX_CAUSE_BYTES = 2048
#: Begins the cause when a provider holds another request under our request_id: a fault of this server, not of the flow.
REQUEST_CONFLICT = "REQUEST_CONFLICT"
#: Begins the cause when the address policy forbids the provider's URL.
ADDRESS_NOT_ALLOWED = "ADDRESS_NOT_ALLOWED"

_SCOPE = re.compile(r"[!-~](?:[ -~]{0,1022}[!-~])?")


def shortened(document: dict[str, Json]) -> str:
    """The document as JSON text; when it is too long, what people need of it."""
    text = dumps(document)
    if len(text.encode()) <= MAX_CAUSE_BYTES:
        return text
    members = {key: document.get(key) for key in ("code", "description")}
    short = {key: cut(value, 1200) for key, value in members.items() if isinstance(value, str)}
    text = dumps(short)
    return text if short and len(text.encode()) <= MAX_CAUSE_BYTES else cut(dumps(document), MAX_CAUSE_BYTES)


def conflict(cause: str) -> str:
    sentence = f"{REQUEST_CONFLICT}: the provider holds another request under this request_id. {cause}"
    return cut(sentence, MAX_CAUSE_BYTES)


def missing_consent(document: dict[str, Json] | None, own_scope: str | None) -> str | None:
    """The scope that a 401 or 403 asks a consent for: ``{"code": "ConsentRequired", "required_scope": text}`` or
    ``{"authorization_parameters": {"required_scopes": [text]}}``, at the root or under ``error``, ``detail(s)``."""
    if document is None:
        return None
    for part in _parts(document):
        parameters = part.get("authorization_parameters")
        for holder in (part, parameters if isinstance(parameters, dict) else {}):
            scopes = holder.get("required_scopes", holder.get("required_scope"))
            scope = scopes[0] if isinstance(scopes, list) and scopes else scopes
            if isinstance(scope, str) and _SCOPE.fullmatch(scope):
                return scope
    return own_scope if any(part.get("code") == "ConsentRequired" for part in _parts(document)) else None


def _parts(document: dict[str, Json]) -> Iterator[dict[str, Json]]:
    yield document
    for key in ("error", "detail", "details"):
        inner = document.get(key)
        if isinstance(inner, list) and inner:
            inner = inner[0]
        if isinstance(inner, dict):
            yield inner


def cut(text: str, limit_bytes: int) -> str:
    return text.encode()[:limit_bytes].decode(errors="ignore")
