"""Who asks, and who is named in role lists.

A principal is a URN (``urn:globus:auth:identity:<uuid>``, ``urn:globus:groups:id:<uuid>``) or one of the two special
names ``public`` and ``all_authenticated_users``.
"""

from __future__ import annotations

import re
import uuid
from dataclasses import dataclass, field

PUBLIC = "public"
ALL_AUTHENTICATED_USERS = "all_authenticated_users"

_UUID = "[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}"
_IDENTITY_URN = re.compile(f"urn:globus:auth:identity:({_UUID})")
_GROUP_URN = re.compile(f"urn:globus:groups:id:({_UUID})")


def identity_urn(identity_id: str) -> str:
    return f"urn:globus:auth:identity:{identity_id}"


def group_urn(group_id: str) -> str:
    return f"urn:globus:groups:id:{group_id}"


def identity_of(urn: str) -> str | None:
    """The identity's UUID, or None when the principal is not an identity."""
    match = _IDENTITY_URN.fullmatch(urn)
    return match[1] if match else None


def group_of(urn: str) -> str | None:
    """The group's UUID, or None when the principal is not a group."""
    match = _GROUP_URN.fullmatch(urn)
    return match[1] if match else None


def is_identity_or_group(urn: str) -> bool:
    return bool(_IDENTITY_URN.fullmatch(urn) or _GROUP_URN.fullmatch(urn))


def normal_uuid(text: str) -> str | None:
    """Lower-case hyphenated form of a UUID, or None when ``text`` is not one (braces and URNs are not)."""
    if len(text) != 36:
        return None
    try:
        return str(uuid.UUID(text))
    except ValueError:
        return None


@dataclass(frozen=True, slots=True, kw_only=True)
class Caller:
    """An authenticated caller: the identity, what it belongs to, and what its token allows.

    ``scopes`` are scope strings verbatim; ``audience`` is the resource server the token was issued for (a flow's id for
    a per-flow token). ``token_info`` is ``{"exp", "iat", "nbf"}`` in epoch seconds. Nothing here is a credential.
    """

    identity_id: str
    username: str
    email: str | None = None
    name: str | None = None
    identities: frozenset[str] = frozenset()
    groups: frozenset[str] = frozenset()
    scopes: frozenset[str] = frozenset()
    audience: str = ""
    client_id: str | None = None
    token_info: dict[str, int] = field(default_factory=dict)
    is_service_administrator: bool = False

    @property
    def urn(self) -> str:
        return identity_urn(self.identity_id)

    @property
    def principals(self) -> frozenset[str]:
        """Every URN this caller answers to: own and linked identities, and groups."""
        own = {identity_urn(one) for one in self.identities | {self.identity_id}}
        return frozenset(own | {group_urn(one) for one in self.groups})
