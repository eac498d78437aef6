"""From an ActionUrl to whoever carries it out: a built-in provider in-process, or a remote one over HTTP.

The hosted Globus URLs stand for the built-in providers of the same kind. What is hosted there and not built in here is
refused in so many words: a token of this server means nothing to Globus and must not be sent there.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Any, TypeAlias

from action_providers.provider import Description
from schemas.errors import InvalidJson, ServiceError
from schemas.json_text import loads
from schemas.principals import normal_uuid
from schemas.scopes import flow_scope

from .aliases import FLOWS, Aliases, hosted_scope
from .answers import ActionClient, Answer, Errand, Refused
from .guarded_http import Failing, GuardedHttp, HttpAnswer, NoAnswerError
from .local import LocalActionClient, Order
from .refusals import ADDRESS_NOT_ALLOWED

_SCOPE = re.compile(r"[!-~]{1,1024}")


@dataclass(frozen=True, slots=True)
class BuiltIn:
    description: Description


@dataclass(frozen=True, slots=True)
class Remote:
    url: str


@dataclass(frozen=True, slots=True)
class Missing:
    """A provider of Globus, or an own URL, that this server does not have."""

    path: str


@dataclass(frozen=True, slots=True)
class OwnFlow:
    """A flow of this server, used as an action."""

    flow_id: str


Place: TypeAlias = BuiltIn | Remote | Missing | OwnFlow


class ActionDirectory:
    """See ``answers.ActionClient`` for the contract. ``known`` are the built-in providers by path; ``flows`` carries out
    flows that are used as actions, and is set once there is one."""

    def __init__(
        self,
        local: LocalActionClient,
        remote: ActionClient,
        *,
        aliases: Aliases,
        known: Mapping[str, Description],
        http: GuardedHttp,
    ) -> None:
        self._local = local
        self._remote = remote
        self._aliases = aliases
        self._known = known
        self._http = http
        self.flows: ActionClient | None = None
        self._place = lru_cache(maxsize=4096)(self._find)

    def place(self, url: str) -> Place:
        """Who answers for ``url``.

        Raises:
            ValueError: when it is not a URL that may be called at all.
        """
        return self._place(url)

    def is_local(self, url: str) -> bool:
        try:
            return isinstance(self.place(url), BuiltIn | OwnFlow)
        except ValueError:
            return False

    def scope_of(self, url: str) -> str:
        """The scope that a token for the provider at ``url`` needs. Empty when the provider cannot be reached now: a
        flow may be published before its provider is up.

        Raises:
            ServiceError: 409 ``SCOPE_RESOLUTION_FAILED`` when the URL is none, or its server answers wrongly.
        """
        try:
            place = self.place(url)
        except ValueError as error:
            raise _unresolved(url, str(error)) from error
        match place:
            case BuiltIn(description):
                return description.scope
            case OwnFlow(flow_id):
                return flow_scope(flow_id)
            case Missing(path):
                return hosted_scope(path)
            case Remote(destination):
                return _introspected_scope(self._http, destination)

    def start(self, errand: Errand, request: str, *, waiter: str) -> Answer:
        return self.start_many([Order(errand, request, waiter)])[0]

    def start_many(self, orders: Sequence[Order]) -> list[Answer]:
        """Answers in the order of asking. Built-in ones start in one transaction; remote ones wait for each other."""
        answers: dict[int, Answer] = {}
        local: dict[int, Order] = {}
        for index, order in enumerate(orders):
            client, errand = self._directed(order.errand)
            if isinstance(client, Refused):
                answers[index] = client
            elif client is self._local:
                local[index] = replace(order, errand=errand)
            else:
                answers[index] = client.start(errand, order.request, waiter=order.waiter)
        if local:
            answers.update(zip(local, self._local.start_many(list(local.values())), strict=True))
        return [answers[index] for index in range(len(orders))]

    def status(self, errand: Errand, action_id: str) -> Answer:
        client, errand = self._directed(errand)
        return client if isinstance(client, Refused) else client.status(errand, action_id)

    def cancel(self, errand: Errand, action_id: str) -> Answer:
        client, errand = self._directed(errand)
        return client if isinstance(client, Refused) else client.cancel(errand, action_id)

    def resume(self, errand: Errand, action_id: str) -> Answer:
        client, errand = self._directed(errand)
        return client if isinstance(client, Refused) else client.resume(errand, action_id)

    def release(self, errand: Errand, action_id: str) -> Answer:
        client, errand = self._directed(errand)
        return client if isinstance(client, Refused) else client.release(errand, action_id)

    def _find(self, url: str) -> Place:
        stands_for = self._aliases.replaced(url)
        if stands_for is None:
            return Remote(url)
        if "://" in stands_for:
            return Remote(stands_for)
        kind, _, identifier = stands_for.partition("/")
        if kind == FLOWS and (flow_id := normal_uuid(identifier)):
            return OwnFlow(flow_id)
        description = self._known.get(stands_for)
        return Missing(stands_for) if description is None else BuiltIn(description)

    def _directed(self, errand: Errand) -> tuple[ActionClient | Refused, Errand]:
        """The client for the errand, with the errand as that client wants it."""
        try:
            place = self.place(errand.url)
        except ValueError as error:
            return Refused(f"{ADDRESS_NOT_ALLOWED}: {error}"), errand
        match place:
            case BuiltIn(description):
                return self._local, replace(errand, url=description.path, scope=description.scope)
            case OwnFlow(flow_id) if self.flows is not None:
                return self.flows, replace(errand, url=flow_id)
            case OwnFlow(flow_id):
                return self._absent(errand.url, f"{FLOWS}/{flow_id}"), errand
            case Missing(path):
                return self._absent(errand.url, path), errand
            case Remote(destination):
                return self._remote, replace(errand, url=destination)

    def _absent(self, url: str, path: str) -> Refused:
        there = ", ".join(sorted(self._known)) or "none"
        return Refused(f"the provider {path or '/'} ({url}) is not available on this server; there are: {there}")


def _introspected_scope(http: GuardedHttp, url: str) -> str:
    try:
        reply = http.request("GET", url, headers={"Accept": "application/json"})
    except NoAnswerError as error:
        if error.kind is Failing.MALFORMED:
            raise _unresolved(url, error.reason) from error
        return ""
    if reply.status != 200:
        raise _unresolved(url, f"it answered {reply.status} where 200 with a description was expected")
    return _scope_in(reply, url)


def _scope_in(reply: HttpAnswer, url: str) -> str:
    try:
        description: Any = loads(reply.body, what="the answer")
    except InvalidJson as error:
        raise _unresolved(url, str(error)) from error
    scope = description.get("globus_auth_scope") if isinstance(description, dict) else None
    if not isinstance(scope, str) or not _SCOPE.fullmatch(scope):
        raise _unresolved(url, "its description has no text globus_auth_scope")
    return scope


def _unresolved(url: str, reason: str) -> ServiceError:
    return ServiceError(
        409,
        "SCOPE_RESOLUTION_FAILED",
        f"the scope of the action provider at {url[:2048]} could not be found: {reason}. "
        "Correct ActionUrl, or name the scope with ActionScope",
    )
