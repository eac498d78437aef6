"""What asking an action provider can come to. Four answers cover every provider, local or remote, sane or broken.

``Reported``: a valid status document. ``Refused``: nothing was started and nothing will be. ``Unknown``: it cannot be
told whether the request had an effect (time-out, reset, 5xx, 429, garbage); asking again with the same ``request_id``
is safe and is the only thing to do. ``Gone``: the provider knows no such action (any more).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol, TypeAlias

from schemas.action import ActionStatus
from schemas.principals import Caller


@dataclass(frozen=True, slots=True)
class Reported:
    """``pushes`` is true when the provider will wake us as soon as the action ends: polling is then a safety net."""

    status: ActionStatus
    pushes: bool = False


@dataclass(frozen=True, slots=True)
class Refused:
    """``cause`` is the provider's error document as JSON text, or a sentence; ``consent`` a scope that is missing."""

    cause: str
    consent: str | None = None


@dataclass(frozen=True, slots=True)
class Unknown:
    """``reason`` is a sentence for the run's owner; ``retry_after_s`` what the provider asked for, if it did."""

    reason: str
    retry_after_s: float | None = None


@dataclass(frozen=True, slots=True)
class Gone:
    reason: str


Answer: TypeAlias = Reported | Refused | Unknown | Gone


@dataclass(frozen=True, slots=True, kw_only=True)
class Errand:
    """On whose behalf, where and with which scope a provider is asked. ``caller`` is the run's owner (RunAs User) or the
    flow itself (RunAs Flow); ``flow_id`` is the acting flow."""

    url: str
    scope: str | None
    caller: Caller
    flow_id: str
    run_id: str


class ActionClient(Protocol):
    """Calls one kind of provider. No method raises for what a provider does wrong: that is an Answer."""

    def start(self, errand: Errand, request: str, *, waiter: str) -> Answer:
        """POST the request document. ``request`` is the exact stored text and is sent as it is; ``waiter`` is handed to
        ``Wake`` when a built-in provider's action ends."""
        ...

    def status(self, errand: Errand, action_id: str) -> Answer: ...

    def cancel(self, errand: Errand, action_id: str) -> Answer: ...

    def resume(self, errand: Errand, action_id: str) -> Answer: ...

    def release(self, errand: Errand, action_id: str) -> Answer: ...
