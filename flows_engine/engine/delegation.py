"""On whose behalf actions run: the run's owner, or the flow itself, and the tokens their providers are shown.

A token is made for one provider and one scope and lives ten minutes; the token that started the run is never passed on.
"""

from __future__ import annotations

import threading
import time
from collections import OrderedDict
from collections.abc import Callable, Hashable
from typing import Generic, TypeVar
from urllib.parse import urlsplit

from flows_engine.actions.answers import Errand
from flows_engine.auth.service import AuthService
from schemas.errors import ServiceError
from schemas.principals import Caller
from schemas.scopes import flow_scope

#: Seconds that what was looked up may be used: the time within which a closed identity loses its access.
_CALLER_AGE_S = 10.0

_TOKEN_LIFE_S = 600.0
_TOKEN_AGE_S = 300.0
_SCOPE_AGE_S = 300.0

V = TypeVar("V")


class _Recent(Generic[V]):
    """Values by key, each for a limited time; at most 10,000."""

    def __init__(self, age_s: float) -> None:
        self._age_s = age_s
        self._lock = threading.Lock()
        self._kept: OrderedDict[Hashable, tuple[float, V]] = OrderedDict()

    def get(self, key: Hashable, make: Callable[[], V], *, fresh: bool = False) -> V:
        now = time.monotonic()
        with self._lock:
            kept = self._kept.get(key)
        if kept is not None and not fresh and now - kept[0] < self._age_s:
            return kept[1]
        value = make()
        with self._lock:
            self._kept[key] = (now, value)
            while len(self._kept) > 10_000:
                self._kept.popitem(last=False)
        return value


class Delegation:
    """Callers and outgoing tokens for the worker. ``scope_of`` asks a provider for its scope."""

    def __init__(self, auth: AuthService) -> None:
        self._auth = auth
        self._callers: _Recent[Caller] = _Recent(_CALLER_AGE_S)
        self._tokens: _Recent[str] = _Recent(_TOKEN_AGE_S)
        self._scopes: _Recent[str] = _Recent(_SCOPE_AGE_S)
        self.scope_of: Callable[[str], str] = lambda _url: ""

    def caller_of(self, run_as: str, owner: str, flow_id: str) -> Caller:
        """Who acts: the owner for RunAs ``User``, the flow for ``Flow``; with the scopes that they consented to beneath
        the scope of the flow.

        Raises:
            LookupError: for any other role, whose token the run does not have, or when the identity is closed.
        """
        if run_as == "User":
            return self._caller(owner, flow_id)
        if run_as == "Flow":
            return self._caller(flow_id, flow_id)
        raise LookupError(f"the run has no token for the role {run_as!r} that this state names in RunAs")

    def token_for(self, errand: Errand, *, fresh: bool = False) -> str:
        """Bearer token for a remote provider; empty when the provider names no scope.

        Raises:
            ServiceError: the identity is closed, or the provider could not say which scope it wants.
        """
        scope = errand.scope or self._scopes.get(errand.url, lambda: self.scope_of(errand.url))
        if not scope:
            return ""
        key = (errand.caller.identity_id, scope, errand.url, errand.flow_id)
        return self._tokens.get(key, lambda: self._mint(errand, scope), fresh=fresh)

    def _caller(self, identity_id: str, flow_id: str) -> Caller:
        def look_up() -> Caller:
            granted = self._auth.granted_beneath(identity_id, flow_scope(flow_id))
            return self._auth.caller_for_identity(identity_id, granted)

        # A resumed action must see the consent that was given a moment ago.
        key = (identity_id, flow_id, self._auth.consent_changes)
        try:
            return self._callers.get(key, look_up)
        except ServiceError as error:
            raise LookupError(str(error)) from error

    def _mint(self, errand: Errand, scope: str) -> str:
        return self._auth.mint_for_provider(
            errand.caller.identity_id,
            scope,
            origin=urlsplit(errand.url).netloc,
            actor=errand.flow_id,
            life_s=_TOKEN_LIFE_S,
        )
