"""An authorizer that knows the tokens it was told, and people to give them to."""

from __future__ import annotations

import uuid
from collections.abc import Iterable
from dataclasses import replace

from flows_engine import policy
from schemas.errors import ServiceError
from schemas.principals import Caller


class FakeAuthorizer:
    """Same contract as the real one: a token stands for a caller, anything else is a 401."""

    def __init__(self) -> None:
        self._callers: dict[str, Caller] = {}

    def authenticate(self, bearer_token: str) -> Caller:
        try:
            return self._callers[bearer_token]
        except KeyError:
            raise ServiceError(401, "AUTHENTICATION_ERROR", "Expired or invalid Bearer token") from None

    def token(self, caller: Caller, scopes: Iterable[str] = (policy.ALL,), audience: str = "flows.globus.org") -> str:
        """A new token of this caller with exactly these scopes."""
        token = f"fake_{uuid.uuid4().hex}"
        self._callers[token] = replace(caller, scopes=frozenset(scopes), audience=audience)
        return token


def person(name: str, **members: object) -> Caller:
    """Somebody with a stable identity made from the name."""
    identity = str(uuid.uuid5(uuid.NAMESPACE_DNS, name))
    caller = Caller(identity_id=identity, username=f"{name}@example.org", email=f"{name}@example.org", name=name)
    return replace(caller, **members)  # type: ignore[arg-type]  # members of Caller, checked by replace
