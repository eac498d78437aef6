"""The bearer token of a request: exactly one, in the Authorization header, and nowhere else."""

from __future__ import annotations

from flask import Request

from schemas import request_headers


def bearer_token(request: Request) -> str:
    """The token of the request, not checked yet.

    Raises:
        ServiceError: 401 ``AUTHENTICATION_ERROR`` when there is none, or more than one; 400 ``BAD_REQUEST`` when a
            token stands in the address.
    """
    refuse_credentials_in_address(request)
    return request_headers.bearer_token(request.headers.get("Authorization", ""))


def optional_bearer_token(request: Request) -> str | None:
    """The token of a request that may come without one; raises as ``bearer_token`` when there is a wrong one."""
    if "Authorization" in request.headers:
        return bearer_token(request)
    refuse_credentials_in_address(request)
    return None


def refuse_credentials_in_address(request: Request) -> None:
    """Raises ``ServiceError`` 400 when the query string holds a token or secret."""
    request_headers.refuse_credentials_in_address(request.args.items(multi=True))
