"""Reading requests of the Compute API: bodies that may be many MiB, and arguments of the address."""

from __future__ import annotations

import math

from flask import request

from schemas.errors import InvalidJson, ServiceError
from schemas.json_text import Json, loads
from schemas.request_headers import check_json_body

from ..wire import LONGEST_WAIT_S, MIB

#: Most bytes of a body that carries code, arguments or results. Each of them is bounded as text (``wire``), and JSON may
#: write a character of it as two.
MAX_CARGO_BYTES = 22 * MIB
#: Most bytes of any other body.
MAX_BODY_BYTES = 4 * MIB


def read_object(
    most_bytes: int = MAX_BODY_BYTES, *, too_large: str = "REQUEST_TOO_LARGE", odd_characters: bool = False
) -> dict[str, Json]:
    """The request's JSON object. ``too_large`` is the code of the refusal of a larger body; ``odd_characters`` is as in
    ``schemas.json_text.loads``.

    Raises:
        ServiceError: 400, 413, 415 or 422; the sentence says what is wrong and where.
    """
    check_json_body(
        request.mimetype,
        charset=request.mimetype_params.get("charset", "utf-8"),
        encoding=request.headers.get("Content-Encoding", "identity"),
    )
    is_larger = (request.content_length or 0) > most_bytes
    raw = b"" if is_larger else request.stream.read(most_bytes + 1)
    if is_larger or len(raw) > most_bytes:
        raise ServiceError(413, too_large, f"The request body is larger than the limit of {most_bytes} bytes")
    if not raw.strip():
        raise _malformed("The request has no body; a JSON object is expected")
    try:
        document = loads(raw, max_text_chars=most_bytes, odd_characters=odd_characters)
    except InvalidJson as error:
        sentence = f"{error.detail[:1].upper()}{error.detail[1:]}"
        raise ServiceError(error.status, "REQUEST_MALFORMED", sentence, extra={"error_args": [error.code]}) from error
    if not isinstance(document, dict):
        raise _malformed("The request body must be a JSON object")
    return document


def whole_number(name: str, default: int, *, most: int, least: int = 0) -> int:
    """The argument ``name`` of the address."""
    if (text := request.args.get(name)) is None:
        return default
    if not (text.isascii() and text.isdecimal() and len(text) <= 19 and least <= int(text) <= most):
        raise _malformed(f"{name} is {text[:40]!r}; it must be a whole number from {least} to {most}")
    return int(text)


def seconds(name: str) -> float:
    """The argument ``name`` of the address, at most what the service waits at all; 0 when it is absent."""
    text = request.args.get(name, "0")
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not 0 <= value < math.inf:
        raise _malformed(f"{name} is {text[:40]!r}; it must be a number of seconds, such as {LONGEST_WAIT_S:g}")
    return min(value, LONGEST_WAIT_S)


def _malformed(sentence: str) -> ServiceError:
    return ServiceError(400, "REQUEST_MALFORMED", sentence)
