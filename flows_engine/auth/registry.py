"""The operator's view of clients: register, list, remove them, and give them new secrets.

For action providers on other hosts: a registered client has an id, a secret and scopes of its own, and may introspect
the tokens that were issued for these.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from sqlalchemy import select

from schemas.errors import NotFound, Problem, StateConflict, Unprocessable
from schemas.ports import Clock, Database

from . import clients, consents, tokens
from .clients import Client, ProviderScope
from .keys import Keys
from .resolver import ScopeResolver
from .tables import clients as clients_table
from .tables import installation


class ClientRegistry:
    """Use cases on clients. ``forget_callers`` is called when tokens may have ended."""

    def __init__(
        self,
        db: Database,
        clock: Clock,
        *,
        keys: Keys,
        resolver: ScopeResolver,
        forget_callers: Callable[[], None],
    ) -> None:
        self._db = db
        self._clock = clock
        self._keys = keys
        self._resolver = resolver
        self._forget_callers = forget_callers

    def create_client(
        self, name: str, *, scopes: Sequence[ProviderScope] = (), audience: str | None = None
    ) -> tuple[Client, str]:
        """Register a client; returns it with its secret, which cannot be had again.

        The scope of suffix ``s`` is ``https://auth.globus.org/scopes/<client id>/<s>`` and its resource server is the
        client's id. ``audience`` is a second name for that: for an action provider the ``host[:port]`` of its
        address, because the engine sends tokens for the provider's scopes to no other place.

        Raises:
            Unprocessable: name, audience or a suffix is not acceptable.
            ServiceError: 400 ``UNKNOWN_SCOPE`` when a dependent scope does not exist.
        """
        clients.check(name, scopes, audience)
        self._resolver.require(one for scope in scopes for one in scope.dependent_scopes)
        with self._db.begin() as tx:
            taken = select(clients_table.c.client_id).where(clients_table.c.audience == audience)
            if audience is not None and tx.execute(taken).first():
                problem = Problem(("audience",), f"{audience!r} is the audience of another client")
                raise Unprocessable([problem], where="client")
            return clients.create(
                tx, self._keys, name=name.strip(), scopes=scopes, audience=audience, now=self._clock.now()
            )

    def list_clients(self) -> list[Client]:
        """Every client, oldest first."""
        with self._db.read() as tx:
            return clients.all_clients(tx)

    def delete_client(self, client_id: str) -> None:
        """Remove a client. Its tokens end, and what was granted to it or of its scopes is forgotten.

        Raises:
            NotFound: there is no such client.
            StateConflict: it is the client of this installation.
        """
        with self._db.begin() as tx:
            client = clients.load(tx, client_id)
            if client is None:
                raise NotFound("client", client_id)
            if tx.execute(select(installation.c.one).where(installation.c.client_id == client_id)).first():
                raise StateConflict(f"The client {client_id} belongs to this installation and cannot be removed")
            tokens.revoke_of_client(tx, client_id, now=self._clock.now())
            consents.forget(tx, client_id=client_id, scope_names=client.scopes)
            clients.remove(tx, client_id)
        self._forget_callers()

    def rotate_secret(self, client_id: str) -> str:
        """Give the client a new secret and end every token it was issued; returns the secret.

        Raises:
            NotFound: there is no such client.
        """
        secret = clients.new_secret()
        with self._db.begin() as tx:
            if clients.load(tx, client_id) is None:
                raise NotFound("client", client_id)
            clients.set_secret(tx, self._keys, client_id, secret, now=self._clock.now())
            tokens.revoke_issued_to(tx, client_id, now=self._clock.now())
        self._forget_callers()
        return secret
