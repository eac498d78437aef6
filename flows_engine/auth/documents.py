"""Documents that the Auth API answers, made of values. Pure.

Source: the shapes that the official clients read, and RFC 6749, RFC 7662 and OpenID Connect Discovery.
"""

from __future__ import annotations

import uuid
from collections.abc import Collection, Sequence
from datetime import timedelta

from schemas.json_text import Json

from .identities import LOCAL_PROVIDER_ID, LOCAL_PROVIDER_NAME, Identity
from .keys import SIGNING_ALGORITHM
from .scopes import EMAIL, OPENID, PROFILE, SERVICE_SCOPES, owner_of, urn_scope
from .tokens import Token

_SERVICES = frozenset(SERVICE_SCOPES.values())
VIEW_IDENTITY_SET = urn_scope("auth.globus.org", "view_identity_set")


def token_document(text: str, *, resource_server: str, scopes: Sequence[str], life: timedelta) -> dict[str, Json]:
    """One token, as it stands in a token response or in its ``other_tokens``."""
    return {
        "access_token": text,
        "token_type": "Bearer",
        "expires_in": int(life.total_seconds()),
        "resource_server": resource_server,
        "scope": " ".join(scopes),
    }


def token_response(documents: Sequence[dict[str, Json]], *, id_token: str | None) -> dict[str, Json]:
    """The first token, with the rest in ``other_tokens`` (a list, also when it is empty)."""
    first, *others = documents
    response = {**first, "other_tokens": others}
    if id_token is not None:
        response["id_token"] = id_token
    return response


def introspection(
    token: Token,
    identity: Identity,
    *,
    linked: Sequence[Identity],
    audience: str | None,
    issuer: str,
    include: Collection[str],
) -> dict[str, Json]:
    """What a resource server learns of a live token (RFC 7662 and the members Globus Auth adds)."""
    owner = owner_of(token.resource_server) if token.resource_server in _SERVICES else None
    document: dict[str, Json] = {
        "active": True,
        "token_type": "Bearer",
        "scope": " ".join(token.scopes),
        "client_id": token.client_id,
        "sub": identity.identity_id,
        "username": identity.username,
        "name": identity.name,
        "email": identity.email,
        **token.times,
        "aud": list(dict.fromkeys(one for one in (token.resource_server, owner, audience) if one)),
        "iss": issuer,
    }
    if token.actor is not None:
        document["act"] = {"sub": token.actor}
    if "identity_set" in include:
        document["identity_set"] = [one.identity_id for one in linked]
    if "identity_set_detail" in include:
        document["identity_set_detail"] = [_linked_identity(one, token) for one in linked]
    if "session_info" in include:
        document["session_info"] = _session(token, identity)
    return document


def userinfo(token: Token, identity: Identity, *, linked: Sequence[Identity]) -> dict[str, Json]:
    """Who the token speaks for; what is shown depends on its scopes (OpenID Connect Core, 5.4)."""
    document: dict[str, Json] = {
        "sub": identity.identity_id,
        "preferred_username": identity.username,
        "identity_provider": LOCAL_PROVIDER_ID,
        "identity_provider_display_name": LOCAL_PROVIDER_NAME,
        "last_authentication": token.times["iat"],
    }
    if PROFILE in token.scopes:
        document |= {"name": identity.name, "organization": identity.organization}
    if EMAIL in token.scopes:
        document["email"] = identity.email
    if VIEW_IDENTITY_SET in token.scopes:
        document["identity_set"] = [_linked_identity(one, token) for one in linked]
    return document


def id_token_claims(
    identity: Identity, *, client_id: str, issuer: str, scopes: Collection[str], issued_at: int, life: timedelta
) -> dict[str, Json]:
    """Claims of an ID token; ``at_hash`` is for the caller to add."""
    claims: dict[str, Json] = {
        "iss": issuer,
        "sub": identity.identity_id,
        "aud": client_id,
        "iat": issued_at,
        "exp": issued_at + int(life.total_seconds()),
        "preferred_username": identity.username,
        "identity_provider": LOCAL_PROVIDER_ID,
        "identity_provider_display_name": LOCAL_PROVIDER_NAME,
        "last_authentication": issued_at,
    }
    if PROFILE in scopes:
        claims |= {"name": identity.name, "organization": identity.organization}
    if EMAIL in scopes:
        claims["email"] = identity.email
    return claims


def openid_configuration(issuer: str) -> dict[str, Json]:
    """OpenID Connect Discovery, section 3. ``issuer`` has no slash at its end."""
    return {
        "issuer": issuer,
        "authorization_endpoint": f"{issuer}/v2/oauth2/authorize",
        "token_endpoint": f"{issuer}/v2/oauth2/token",
        "revocation_endpoint": f"{issuer}/v2/oauth2/token/revoke",
        "introspection_endpoint": f"{issuer}/v2/oauth2/token/introspect",
        "userinfo_endpoint": f"{issuer}/v2/oauth2/userinfo",
        "jwks_uri": f"{issuer}/jwk.json",
        "response_types_supported": ["code"],
        "grant_types_supported": ["client_credentials", "urn:globus:auth:grant_type:dependent_token"],
        "scopes_supported": [scope for scope in SERVICE_SCOPES if scope in (OPENID, PROFILE, EMAIL)],
        "subject_types_supported": ["public"],
        "id_token_signing_alg_values_supported": [SIGNING_ALGORITHM],
        "token_endpoint_auth_methods_supported": ["client_secret_basic", "client_secret_post"],
        "code_challenge_methods_supported": ["S256"],
        "claims_supported": [
            "at_hash",
            "aud",
            "email",
            "exp",
            "iat",
            "identity_provider",
            "identity_provider_display_name",
            "iss",
            "last_authentication",
            "name",
            "organization",
            "preferred_username",
            "sub",
        ],
    }


def _linked_identity(identity: Identity, token: Token) -> dict[str, Json]:
    is_own = identity.identity_id == token.identity_id
    return {
        "sub": identity.identity_id,
        "username": identity.username,
        "name": identity.name,
        "email": identity.email,
        "organization": identity.organization,
        "status": identity.standing.value,
        "identity_provider": LOCAL_PROVIDER_ID,
        "identity_provider_display_name": LOCAL_PROVIDER_NAME,
        "last_authentication": token.times["iat"] if is_own else None,
    }


def _session(token: Token, identity: Identity) -> dict[str, Json]:
    """A client proves itself with its secret whenever it is given a token: that is its session's only sign-in."""
    signed_in = {"idp": LOCAL_PROVIDER_ID, "auth_time": token.times["iat"], "acr": None, "amr": None}
    return {
        "session_id": str(uuid.uuid5(uuid.UUID(identity.identity_id), token.digest)),
        "authentications": {identity.identity_id: signed_in},
    }
