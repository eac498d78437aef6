"""Built-in action providers, called in-process: the same five requests as over HTTP, without the network.

Here ``Errand.url`` is the provider's path (``"transfer/ls"``), as ``resolve`` makes it. What is our own fault (the
database is away) raises; what the provider answers is an Answer.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from action_providers.errors import ActionError
from action_providers.service import Actions, Ask
from schemas.action import ActionStatus
from schemas.json_text import loads_trusted

from .answers import Answer, Errand, Gone, Refused, Reported, Unknown
from .refusals import conflict, missing_consent, shortened

if TYPE_CHECKING:
    from schemas.principals import Caller


@dataclass(frozen=True, slots=True)
class Order:
    """A start that has not been sent yet; see ``answers.ActionClient.start``."""

    errand: Errand
    request: str
    waiter: str


class LocalActionClient:
    """See ``answers.ActionClient`` for the contract."""

    def __init__(self, actions: Actions) -> None:
        self._actions = actions

    def start(self, errand: Errand, request: str, *, waiter: str) -> Answer:
        return self.start_many([Order(errand, request, waiter)])[0]

    def start_many(self, orders: Sequence[Order]) -> list[Answer]:
        """Start actions of any number of runs in one transaction; answers in the order of asking."""
        asks = [
            Ask(order.errand.url, loads_trusted(order.request), self._caller(order.errand), order.waiter)
            for order in orders
        ]
        answers: list[Answer] = []
        for order, ran in zip(orders, self._actions.run_many(asks), strict=True):
            if isinstance(ran, ActionError):
                answers.append(_not_started(ran, order.errand))
            else:
                answers.append(_reported(ran.document))
        return answers

    def status(self, errand: Errand, action_id: str) -> Answer:
        return self._ask(self._actions.status, errand, action_id)

    def cancel(self, errand: Errand, action_id: str) -> Answer:
        return self._ask(self._actions.cancel, errand, action_id)

    def resume(self, errand: Errand, action_id: str) -> Answer:
        return self._ask(self._actions.resume, errand, action_id)

    def release(self, errand: Errand, action_id: str) -> Answer:
        return self._ask(self._actions.release, errand, action_id)

    def _ask(self, operation: Callable[[str, str, Caller], dict[str, Any]], errand: Errand, action_id: str) -> Answer:
        try:
            document = operation(errand.url, action_id, self._caller(errand))
        except ActionError as error:
            if error.http_status in (404, 410):
                return Gone(shortened(error.to_json()))
            return _refused(error, errand)
        return _reported(document)

    def _caller(self, errand: Errand) -> Caller:
        """The caller with the provider's scope: a flow acts with a token for it, delegated by the run's owner."""
        provider = self._actions.providers.get(errand.url)
        scopes = {scope for scope in (errand.scope, provider and provider.description.scope) if scope}
        return replace(errand.caller, scopes=errand.caller.scopes | scopes)


def _reported(document: dict[str, Any]) -> Answer:
    return Reported(ActionStatus.from_json(document), pushes=True)


def _not_started(error: ActionError, errand: Errand) -> Answer:
    if error.http_status == 409:
        return Refused(conflict(shortened(error.to_json())))
    return _refused(error, errand)


def _refused(error: ActionError, errand: Errand) -> Answer:
    document = error.to_json()
    if error.http_status >= 500:
        return Unknown(shortened(document))
    consent = missing_consent(document, errand.scope) if error.http_status in (401, 403) else None
    return Refused(shortened(document), consent)
