"""The bearer token of a request: exactly one, in the Authorization header, and nowhere else.

Addresses end up in logs and histories, so a token in one is refused rather than used, and so is a second header, which
two servers on the way could read differently.
"""

from __future__ import annotations

import re

from flask import Request

from schemas.errors import ServiceError

#: Query parameters that could only be a credential.
_CREDENTIALS = frozenset({"access_token", "bearer_token", "authorization", "token", "refresh_token", "client_secret"})
#: What our tokens begin with, wherever they turn up.
_OUR_TOKEN = re.compile(r"fe_[A-Za-z0-9_-]{8}_[A-Za-z0-9_-]{43}", re.ASCII)
_BEARER = re.compile(r"[Bb][Ee][Aa][Rr][Ee][Rr] +([A-Za-z0-9._~+/-]{1,4096}=*)", re.ASCII)
_MAX_HEADER_CHARS = 4200


def bearer_token(request: Request) -> str:
    """The token of the request, not checked yet.

    Raises:
        ServiceError: 401 ``AUTHENTICATION_ERROR`` when there is none, or more than one; 400 ``BAD_REQUEST`` when a
            token stands in the address.
    """
    refuse_credentials_in_address(request)
    header = request.headers.get("Authorization", "")
    if len(header) > _MAX_HEADER_CHARS or (match := _BEARER.fullmatch(header.strip())) is None:
        raise ServiceError(
            401,
            "AUTHENTICATION_ERROR",
            "Expired or invalid Bearer token",
            headers={"WWW-Authenticate": 'Bearer realm="flows-engine"'},
        )
    return match[1]


def optional_bearer_token(request: Request) -> str | None:
    """The token of a request that may come without one; raises as ``bearer_token`` when there is a wrong one."""
    if "Authorization" in request.headers:
        return bearer_token(request)
    refuse_credentials_in_address(request)
    return None


def refuse_credentials_in_address(request: Request) -> None:
    """Raises ``ServiceError`` 400 when the query string holds a token or secret."""
    named = _CREDENTIALS & {name.lower() for name in request.args}
    if named or any(_OUR_TOKEN.search(value) for value in request.args.values()):
        raise ServiceError(
            400, "BAD_REQUEST", "A token must not stand in the address; send it in the Authorization header"
        )
