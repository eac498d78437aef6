"""From scope strings to what is granted: which resource server each scope opens, and what comes along with it.

Reads the database, and asks whether flows and collections exist: call it before a transaction is opened.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from schemas.errors import ServiceError
from schemas.ports import Database

from . import clients
from .consents import ConsentGrant
from .scopes import MAX_DEPTH, Scope, ScopeBook, ScopeNode, unknown_scope


class ScopeResolver:
    """Finds scopes of the service, of registered clients, of flows and of collections."""

    def __init__(self, db: Database, book: ScopeBook) -> None:
        self._db = db
        self._book = book

    def find(self, names: Iterable[str]) -> dict[str, Scope]:
        """The scopes among the names that exist."""
        wanted = list(dict.fromkeys(names))
        found = {name: scope for name in wanted if (scope := self._book.find(name)) is not None}
        rest = [name for name in wanted if name not in found]
        if rest:
            with self._db.read() as tx:
                found.update(clients.scopes_named(tx, rest))
        return found

    def require(self, names: Iterable[str]) -> dict[str, Scope]:
        """The scopes of these names, and those that come along with them.

        Raises:
            ServiceError: 400 ``UNKNOWN_SCOPE``, naming every scope that does not exist.
        """
        wanted = list(dict.fromkeys(names))
        known = self.find(wanted)
        if missing := [name for name in wanted if name not in known]:
            raise unknown_scope(missing)
        # A declared dependency that is gone (its provider was removed) is left out rather than refused: whoever asks
        # for the scope did not name it.
        while more := {one for scope in known.values() for one in scope.dependent_scopes} - known.keys():
            if not (found := self.find(more)):
                break
            known.update(found)
        return known

    def audience_at(self, name: str, *, origin: str, own_origin: str) -> str:
        """The resource server of a token for a provider at ``origin`` (``host[:port]``) that asks for this scope.

        A provider says itself which scope it wants, so it is believed only about scopes that nobody else honours: one
        that asks for the scope of a service, a flow or another provider would be handed a key to that.

        Raises:
            ServiceError: 403 when the scope belongs to somebody else.
        """
        scope = self.find([name]).get(name)
        if scope is None:
            return origin
        if origin == own_origin:
            return scope.resource_server
        with self._db.read() as tx:
            client = clients.load(tx, scope.owner)
        home = client.audience if client else None
        if client is not None and home is not None and home.lower() == origin:
            return scope.resource_server
        advice = f"register its client with the audience {origin}" if client and not home else "use a scope of its own"
        detail = f"The provider at {origin} may not be sent a token for {name}: that belongs elsewhere; {advice}."
        raise ServiceError(403, "FORBIDDEN", detail)


def by_resource_server(nodes: Sequence[ScopeNode], known: Mapping[str, Scope]) -> dict[str, list[str]]:
    """Scope names of the roots by resource server, both in the order they were asked for: one token each."""
    grouped: dict[str, list[str]] = {}
    for node in nodes:
        grouped.setdefault(known[node.name].resource_server, []).append(node.name)
    return grouped


def consent_grants(
    nodes: Sequence[ScopeNode], client_id: str, known: Mapping[str, Scope], *, depth: int = 1
) -> tuple[ConsentGrant, ...]:
    """The consents that asking for these trees gives ``client_id``, with declared dependencies beneath each scope."""
    return tuple(
        _consent_grant(node, client_id, known, depth=depth, is_asked=True) for node in nodes if depth <= MAX_DEPTH
    )


def _consent_grant(
    node: ScopeNode, client_id: str, known: Mapping[str, Scope], *, depth: int, is_asked: bool
) -> ConsentGrant:
    scope = known[node.name]
    asked = {child.name for child in node.children}
    along = [ScopeNode(one) for one in scope.dependent_scopes if one in known and one not in asked]
    return ConsentGrant(
        client_id=client_id,
        scope_name=node.name,
        is_optional=node.optional,
        is_asked=is_asked,
        children=(
            *consent_grants(node.children, scope.owner, known, depth=depth + 1),
            *(
                _consent_grant(one, scope.owner, known, depth=depth + 1, is_asked=False)
                for one in along
                if depth < MAX_DEPTH
            ),
        ),
    )
