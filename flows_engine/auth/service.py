"""Use cases of the auth room: prove who a caller is, issue and check tokens, look up identities and consents.

Each method is one transaction. Scopes are resolved before it is opened, because that may read other rooms.

Linked identities: the client made at the first start is linked to the administrator's identity. What either owns, both
see, because a caller answers to all linked identities; and both are service administrators. That power never travels
with a token minted for an action: there the caller is the run's owner and nothing more.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from urllib.parse import urlsplit

from sqlalchemy import Connection

from schemas.errors import ServiceError
from schemas.json_text import Json
from schemas.ports import Clock, Database
from schemas.principals import Caller, normal_uuid

from . import clients, consents, documents, identities, scopes, tokens
from .clients import Client
from .identities import Identity
from .keys import Keys, access_token_hash
from .recent import RecentCallers
from .registry import ClientRegistry
from .resolver import ScopeResolver, by_resource_server, consent_grants
from .scopes import AUTH_RESOURCE_SERVER, OPENID, ScopeBook
from .tokens import Grant, Token

MAX_TOKEN_CHARS = 512
MAX_IDENTITIES = 100

#: Identity ids of one person -> the groups they are in.
GroupsOf = Callable[[frozenset[str]], frozenset[str]]


def _no_groups(_identities: frozenset[str]) -> frozenset[str]:
    return frozenset()


@dataclass(frozen=True, slots=True, kw_only=True)
class AuthSettings:
    """``public_url`` is where clients reach this service; it is also the issuer of its tokens."""

    public_url: str
    access_token_life: timedelta = timedelta(hours=48)
    cache_age: timedelta = timedelta(seconds=10)

    @property
    def issuer(self) -> str:
        return self.public_url.rstrip("/")


class AuthService:
    """The authorizer of every API in this process, and the use cases behind the Auth API.

    ``clients`` is the operator's registry. ``book`` knows the scopes, ``groups_of`` the groups of a caller.
    """

    def __init__(
        self,
        db: Database,
        clock: Clock,
        *,
        keys: Keys,
        settings: AuthSettings,
        book: ScopeBook,
        groups_of: GroupsOf = _no_groups,
    ) -> None:
        self._db = db
        self._clock = clock
        self._keys = keys
        self._settings = settings
        self._groups_of = groups_of
        self._recent = RecentCallers(settings.cache_age)
        self._consent_changes = 0
        self._resolver = ScopeResolver(db, book)
        self.clients = ClientRegistry(db, clock, keys=keys, resolver=self._resolver, forget_callers=self.forget_callers)

    # Callers

    def authenticate(self, bearer_token: str) -> Caller:
        """The caller the token speaks for; see ``schemas.ports.Authorizer``."""
        if len(bearer_token) > MAX_TOKEN_CHARS or not tokens.TOKEN_PATTERN.fullmatch(bearer_token):
            raise expired_or_invalid()
        now, digest, generation = self._clock.now(), self._keys.digest(bearer_token), self._recent.generation
        if (known := self._recent.get(digest, now=now)) is not None:
            return known
        with self._db.read() as tx:
            token, identity = self._live(tx, bearer_token)
            linked = identities.linked(tx, identity)
        caller = self._caller(
            identity,
            linked,
            scope_names=token.scopes,
            audience=token.resource_server,
            client_id=token.client_id,
            times=token.times,
            is_service_administrator=identity.is_service_administrator and token.actor is None,
        )
        self._recent.keep(digest, caller, expires_at=token.expires_at, now=now, generation=generation)
        return caller

    def caller_for_identity(self, identity_id: str, scope_names: Collection[str], *, audience: str = "") -> Caller:
        """The caller that a token minted for the identity would speak for, for providers in this process.

        Raises:
            ServiceError: 403 when the identity is unknown or closed.
        """
        with self._db.read() as tx:
            identity = _acting(tx, identity_id)
            linked = identities.linked(tx, identity)
        return self._caller(identity, linked, scope_names=scope_names, audience=audience)

    def forget_callers(self) -> None:
        """Have the next request of everybody read the database; call it when groups have changed."""
        self._recent.clear()

    # Tokens

    def authenticate_client(self, client_id: str, secret: str) -> Client:
        """The client with this id and secret.

        Raises:
            ServiceError: 401 ``UNAUTHORIZED``.
        """
        normal = normal_uuid(client_id)
        with self._db.read() as tx:
            client = clients.verified(tx, self._keys, normal or "", secret[:MAX_TOKEN_CHARS])
        if client is None:
            raise ServiceError(401, "UNAUTHORIZED", "The client id or the client secret is wrong.")
        return client

    def client_credentials(self, client: Client, scope: str) -> dict[str, Json]:
        """Tokens in the client's own name, one for each resource server; nested scopes are recorded as consents.

        Raises:
            ServiceError: 400 ``INVALID_SCOPE`` or ``UNKNOWN_SCOPE``.
        """
        forest = scopes.parse(scope)
        if not forest:
            raise ServiceError(400, "INVALID_SCOPE", "At least one scope is required, such as openid.")
        known = self._resolver.require(node.name for root in forest for node in root.walk())
        servers = by_resource_server(forest, known)
        with self._db.begin() as tx:
            identity = _acting(tx, client.client_id)
            grants = consent_grants(forest, client.client_id, known)
            consents.record(tx, identity.identity_id, grants, now=self._clock.now())
            answers = self._issue_each(tx, identity.identity_id, client.client_id, servers)
        self._consent_changes += 1
        signed_in = [one for one in answers if OPENID in one["scope"].split()]
        id_token = self._id_token(identity, client.client_id, signed_in[0]) if signed_in else None
        return documents.token_response(answers, id_token=id_token)

    def dependent_tokens(self, client: Client, bearer_token: str, scope: str = "") -> list[dict[str, Json]]:
        """Tokens that let a resource server act on, for whoever sent it ``bearer_token``.

        They cover what was granted beneath the token's scopes, or the part of it that ``scope`` names.

        Raises:
            ServiceError: 400 ``INVALID_GRANT`` for a token that is not live or was not issued for this client's
                scopes; 403 ``CONSENT_REQUIRED`` for a scope that was not granted.
        """
        asked = scopes.parse(scope)
        with self._db.read() as tx:
            token = tokens.find(tx, self._keys, bearer_token)
            if token is None or not token.is_live(self._clock.now()) or not _serves(client, token):
                raise ServiceError(400, "INVALID_GRANT", "The token is not active, or not for a scope of this client.")
            issued_to = {one for one in (token.client_id, token.actor) if one}
            granted = consents.granted_beneath(tx, token.identity_id, clients=issued_to, scope_names=token.scopes)
            own = clients.scopes_named(tx, token.scopes)
        granted += [one for found in own.values() for one in found.dependent_scopes]
        if missing := [node.name for node in asked if node.name not in granted]:
            raise _consent_required(token, missing)
        names = [node.name for node in asked] or sorted(set(granted))
        known = self._resolver.find(names)
        servers = by_resource_server([scopes.ScopeNode(name) for name in names if name in known], known)
        with self._db.begin() as tx:
            parent, _ = self._live(tx, bearer_token)
            return self._issue_each(tx, token.identity_id, client.client_id, servers, parent=parent)

    def mint(
        self,
        identity_id: str,
        scope: str,
        *,
        client_id: str,
        audience: str | None = None,
        actor: str | None = None,
        life_s: float = 600,
    ) -> str:
        """A short-lived token for one outgoing call; returns its text. No consent is checked or recorded.

        ``audience`` names the resource server when the scope is not one of ours, such as a provider's origin; ``actor``
        is the flow that calls.

        Raises:
            ServiceError: 400 ``INVALID_SCOPE`` or ``UNKNOWN_SCOPE``; 403 when the identity is unknown or closed.
        """
        scopes.require_name(scope)
        if audience is None:
            audience = self._resolver.require([scope])[scope].resource_server
        grant = Grant(
            identity_id=identity_id,
            client_id=client_id,
            resource_server=audience,
            scopes=(scope,),
            life=timedelta(seconds=life_s),
            actor=actor,
        )
        with self._db.begin() as tx:
            _acting(tx, identity_id)
            return tokens.issue(tx, self._keys, grant, now=self._clock.now())

    def mint_for_provider(self, identity_id: str, scope: str, *, origin: str, actor: str, life_s: float = 600) -> str:
        """A token for one call of the flow ``actor`` to a provider at ``origin`` (``host[:port]``), useful there alone.

        Raises:
            ServiceError: 400 when ``scope`` is not one scope name; 403 when it belongs to somebody else than that
                provider, or when the identity is unknown or closed.
        """
        own_origin = urlsplit(self._settings.public_url).netloc.lower()
        audience = self._resolver.audience_at(scope, origin=origin.lower(), own_origin=own_origin)
        return self.mint(identity_id, scope, client_id=actor, audience=audience, actor=actor, life_s=life_s)

    def introspect(self, client: Client, bearer_token: str, *, include: Collection[str] = ()) -> dict[str, Json]:
        """What the client may know of a token: everything when it was issued to or for it, else ``active: false``."""
        with self._db.read() as tx:
            token = tokens.find(tx, self._keys, bearer_token)
            if token is None or not token.is_live(self._clock.now()):
                return {"active": False}
            identity = identities.load(tx, token.identity_id)
            if identity is None or not (token.client_id == client.client_id or _serves(client, token)):
                return {"active": False}
            server = clients.load(tx, token.resource_server)
            return documents.introspection(
                token,
                identity,
                linked=identities.linked(tx, identity),
                audience=server.audience if server else None,
                issuer=self._settings.issuer,
                include=include,
            )

    def is_active(self, bearer_token: str) -> bool:
        """Whether this is a live token; whoever asks holds it, so nobody is told anything new."""
        with self._db.read() as tx:
            token = tokens.find(tx, self._keys, bearer_token)
        return token is not None and token.is_live(self._clock.now())

    def revoke(self, bearer_token: str) -> None:
        """End the token and those issued on the strength of it. Whoever holds a token may end it."""
        with self._db.read() as tx:
            token = tokens.find(tx, self._keys, bearer_token)
        if token is None:
            return
        with self._db.begin() as tx:
            tokens.revoke(tx, token.digest, now=self._clock.now())
        self._recent.clear()

    def purge_expired(self, *, limit: int = 1000) -> int:
        """Remove tokens that ran out more than a day ago, at most ``limit``; returns how many."""
        with self._db.begin() as tx:
            return tokens.purge(tx, expired_before=self._clock.now() - timedelta(days=1), limit=limit)

    # Identities and consents

    def userinfo(self, bearer_token: str) -> dict[str, Json]:
        """Who the token speaks for; raises ``ServiceError`` 401 or, for a token of another service, 403."""
        with self._db.read() as tx:
            token, identity = self._live(tx, bearer_token)
            if token.resource_server != AUTH_RESOURCE_SERVER:
                raise ServiceError(403, "FORBIDDEN", f"The token is for {token.resource_server}, not for Auth.")
            return documents.userinfo(token, identity, linked=identities.linked(tx, identity))

    def identities_by_id(self, ids: Sequence[str]) -> list[dict[str, Json]]:
        """The identities that exist; others are left out."""
        wanted = [one for text in _at_most(ids, "ids") if (one := normal_uuid(text)) is not None]
        with self._db.read() as tx:
            return [one.to_json() for one in identities.by_ids(tx, wanted)]

    def identities_by_username(self, usernames: Sequence[str]) -> list[dict[str, Json]]:
        """The identities that exist; others are left out."""
        with self._db.read() as tx:
            return [one.to_json() for one in identities.by_usernames(tx, _at_most(usernames, "usernames"))]

    def provision_identities(self, usernames: Sequence[str]) -> list[dict[str, Json]]:
        """The identities of these usernames, made as unused ones where there are none."""
        wanted = dict.fromkeys(one.lower() for one in _at_most(usernames, "usernames"))
        with self._db.begin() as tx:
            return [identities.provision(tx, one, now=self._clock.now()).to_json() for one in wanted]

    def ensure_flow_identity(self, flow_id: str, title: str) -> Identity:
        """``identities.ensure_flow`` in a transaction of its own."""
        with self._db.begin() as tx:
            return identities.ensure_flow(tx, flow_id, title, now=self._clock.now())

    def consents_of(self, caller: Caller, identity_id: str, *, root_client: str | None) -> list[dict[str, Json]]:
        """Consents of one of the caller's own identities; a service administrator may see anybody's.

        ``root_client`` picks the trees that hang beneath one client; None shows all.
        """
        own = caller.identities | {caller.identity_id}
        if identity_id not in own and not caller.is_service_administrator:
            raise ServiceError(403, "FORBIDDEN", f"The consents of the identity {identity_id} are not yours to see.")
        with self._db.read() as tx:
            return [one.to_json() for one in consents.of_identity(tx, identity_id, root_client=root_client)]

    def has_consent(self, identity_id: str, path: Sequence[str]) -> bool:
        """Whether the identity granted these scopes, each beneath the one before, to any client."""
        with self._db.read() as tx:
            return consents.is_granted(tx, identity_id, path)

    def granted_beneath(self, identity_id: str, scope: str) -> frozenset[str]:
        """Scopes that the identity lets whoever acts for it with ``scope`` use in turn, at any depth."""
        with self._db.read() as tx:
            return consents.beneath(tx, identity_id, scope)

    @property
    def consent_changes(self) -> int:
        """Goes up whenever this process recorded consents: what was read before may be out of date."""
        return self._consent_changes

    # Discovery

    def openid_configuration(self) -> dict[str, Json]:
        return documents.openid_configuration(self._settings.issuer)

    def jwks(self) -> dict[str, Json]:
        """Exactly one key: official clients take the first."""
        return {"keys": [self._keys.jwk()]}

    def _live(self, tx: Connection, bearer_token: str) -> tuple[Token, Identity]:
        token = tokens.find(tx, self._keys, bearer_token)
        if token is None or not token.is_live(self._clock.now()):
            raise expired_or_invalid()
        identity = identities.load(tx, token.identity_id)
        if identity is None or identity.standing is identities.Standing.CLOSED:
            raise expired_or_invalid()
        return token, identity

    def _issue_each(
        self,
        tx: Connection,
        identity_id: str,
        client_id: str,
        servers: Mapping[str, Sequence[str]],
        *,
        parent: Token | None = None,
    ) -> list[dict[str, Json]]:
        life, answers = self._settings.access_token_life, []
        for server, names in servers.items():
            grant = Grant(
                identity_id=identity_id,
                client_id=client_id,
                resource_server=server,
                scopes=names,
                life=life,
                actor=parent.actor if parent else None,
                parent_digest=parent.digest if parent else None,
            )
            text = tokens.issue(tx, self._keys, grant, now=self._clock.now())
            answers.append(documents.token_document(text, resource_server=server, scopes=names, life=life))
        return answers

    def _id_token(self, identity: Identity, client_id: str, answer: Mapping[str, Json]) -> str:
        claims = documents.id_token_claims(
            identity,
            client_id=client_id,
            issuer=self._settings.issuer,
            scopes=answer["scope"].split(),
            issued_at=int(self._clock.now().timestamp()),
            life=self._settings.access_token_life,
        )
        return self._keys.sign({**claims, "at_hash": access_token_hash(answer["access_token"])})

    def _caller(
        self,
        identity: Identity,
        linked: Sequence[Identity],
        *,
        scope_names: Collection[str],
        audience: str,
        client_id: str | None = None,
        times: dict[str, int] | None = None,
        is_service_administrator: bool = False,
    ) -> Caller:
        own = frozenset(one.identity_id for one in linked)
        return Caller(
            identity_id=identity.identity_id,
            username=identity.username,
            email=identity.email,
            name=identity.name,
            identities=own,
            groups=self._groups_of(own),
            scopes=frozenset(scope_names),
            audience=audience,
            client_id=client_id,
            token_info=times or {},
            is_service_administrator=is_service_administrator,
        )


def expired_or_invalid() -> ServiceError:
    """The one answer to a bearer token that does not open anything, whatever the reason."""
    return ServiceError(401, "AUTHENTICATION_ERROR", "Expired or invalid Bearer token")


def _acting(tx: Connection, identity_id: str) -> Identity:
    identity = identities.load(tx, identity_id)
    if identity is None or identity.standing is identities.Standing.CLOSED:
        raise ServiceError(403, "FORBIDDEN", f"Nobody can act as the identity {identity_id}: it is unknown or closed.")
    return identity


def _serves(client: Client, token: Token) -> bool:
    return token.resource_server in client.resource_servers


def _consent_required(token: Token, missing: Sequence[str]) -> ServiceError:
    required = [f"{' '.join(token.scopes)}[{' '.join(missing)}]"] if len(token.scopes) == 1 else list(missing)
    return ServiceError(
        403,
        "CONSENT_REQUIRED",
        f"The caller has not granted: {', '.join(missing)}.",
        extra={"code": "ConsentRequired", "required_scopes": required},
    )


def _at_most(items: Sequence[str], name: str) -> Sequence[str]:
    if len(items) > MAX_IDENTITIES:
        raise ServiceError(400, "INVALID_REQUEST", f"{name} has {len(items)} entries; the limit is {MAX_IDENTITIES}.")
    return items
