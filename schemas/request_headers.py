"""What the headers and the address of a request must be like for every API of the house. Pure.

Addresses end up in logs and histories, so a token in one is refused rather than used, and so is a second header, which
two servers on the way could read differently.
"""

from __future__ import annotations

import re
from collections.abc import Iterable

from .errors import ServiceError

#: Query parameters that could only be a credential.
_CREDENTIALS = frozenset({"access_token", "bearer_token", "authorization", "token", "refresh_token", "client_secret"})
#: What our tokens begin with, wherever they turn up.
_OUR_TOKEN = re.compile(r"fe_[A-Za-z0-9_-]{8}_[A-Za-z0-9_-]{43}", re.ASCII)
_BEARER = re.compile(r"[Bb][Ee][Aa][Rr][Ee][Rr] +([A-Za-z0-9._~+/-]{1,4096}=*)", re.ASCII)
_MAX_HEADER_CHARS = 4200


def bearer_token(authorization: str) -> str:
    """The token of an Authorization header, not checked yet.

    Raises:
        ServiceError: 401 ``AUTHENTICATION_ERROR`` when there is none, or more than one.
    """
    if len(authorization) > _MAX_HEADER_CHARS or (match := _BEARER.fullmatch(authorization.strip())) is None:
        raise ServiceError(
            401,
            "AUTHENTICATION_ERROR",
            "Expired or invalid Bearer token",
            headers={"WWW-Authenticate": 'Bearer realm="flows-engine"'},
        )
    return match[1]


def refuse_credentials_in_address(arguments: Iterable[tuple[str, str]]) -> None:
    """Raises ``ServiceError`` 400 ``BAD_REQUEST`` when an argument of the address is a token or secret."""
    if any(name.lower() in _CREDENTIALS or _OUR_TOKEN.search(value) for name, value in arguments):
        raise ServiceError(
            400, "BAD_REQUEST", "A token must not stand in the address; send it in the Authorization header"
        )


def check_json_body(media: str, *, charset: str, encoding: str) -> None:
    """Raises ``ServiceError`` 415 when headers announce a body that is not JSON in UTF-8 as it is."""
    if media != "application/json" and not (media.startswith("application/") and media.endswith("+json")):
        shown = repr(media[:80]) if media else "absent"
        raise ServiceError(
            415, "UNSUPPORTED_MEDIA_TYPE", f"The content type must be application/json, but it is {shown}"
        )
    if charset.lower() not in ("utf-8", "utf8"):
        raise ServiceError(415, "UNSUPPORTED_MEDIA_TYPE", f"The charset must be utf-8, not {charset[:40].lower()!r}")
    if encoding.strip().lower() not in ("", "identity"):
        shown = repr(encoding.strip().lower()[:40])
        raise ServiceError(415, "UNSUPPORTED_MEDIA_TYPE", f"Send the body as it is, without {shown} encoding")
