"""The contract of an action provider: a description, and what happens to one action.

The kit, not the provider, keeps actions: it stores the request before ``run`` is called, answers a repeated
``request_id`` with the same action, checks the body against ``input_schema`` and the caller against ``runnable_by``.

A provider that finishes at once returns ``Succeeded`` or ``Failed`` from ``run``. One that takes time returns
``Active``; the kit then calls ``advance`` under a lease when ``due`` has come, until it returns a final outcome.
``advance`` may block. After a crash the method that was under way (``run``, ``advance``, ``resume`` or ``cancel``) is
called again from the start: each must be safe to repeat; ``action_id`` is the same each time and serves as the key of
whatever it starts elsewhere.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, ClassVar, TypeAlias

from schemas.json_text import Json
from schemas.principals import ALL_AUTHENTICATED_USERS, PUBLIC, Caller


@dataclass(frozen=True, slots=True, kw_only=True)
class Description:
    """What introspection shows. ``path`` is where the built-in server mounts the provider (``"transfer/ls"``)."""

    path: str
    title: str
    subtitle: str = ""
    description: str = ""
    keywords: tuple[str, ...] = ()
    scope: str
    admin_contact: str = "the operator of this server"
    synchronous: bool
    input_schema: Mapping[str, Any]
    visible_to: tuple[str, ...] = (PUBLIC,)
    runnable_by: tuple[str, ...] = (ALL_AUTHENTICATED_USERS,)
    administered_by: tuple[str, ...] = ()
    log_supported: bool = False
    maximum_deadline: str = "P30D"
    event_types: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Succeeded:
    details: Mapping[str, Json]


@dataclass(frozen=True, slots=True)
class Failed:
    """``details`` should hold ``code`` and ``description``."""

    details: Mapping[str, Json]


@dataclass(frozen=True, slots=True)
class Active:
    """Still going. ``due`` is when ``advance`` is wanted next (None: at once); ``state`` is kept for it."""

    details: Mapping[str, Json]
    due: datetime | None = None
    state: Json = None


@dataclass(frozen=True, slots=True)
class Inactive:
    """A person must act: ``details`` hold ``code``, ``description`` and, say, ``required_scope``."""

    details: Mapping[str, Json]
    state: Json = None


Outcome: TypeAlias = Succeeded | Failed | Active | Inactive


@dataclass(frozen=True, slots=True, kw_only=True)
class Action:
    """One action as the provider sees it. ``caller`` is who asked; ``state`` is what the last outcome kept."""

    action_id: str
    body: Json
    caller: Caller
    label: str | None
    started_at: datetime
    state: Json = None
    details: Mapping[str, Json] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Work:
    """What ``advance`` may use. ``report`` publishes details while it works and renews the lease; it raises
    ``Stop`` when the action was cancelled or taken over, after which nothing more may be done for it."""

    now: datetime
    report: Callable[[Mapping[str, Json]], None]


class Stop(Exception):
    """The action is no longer ours to work on."""


class ActionProvider:
    """Base of every provider. Errors of a provider's own making that no Outcome describes may simply raise: the kit
    ends the action FAILED with code ``ActionProviderError`` and logs the traceback."""

    description: ClassVar[Description]

    #: ``run`` computes and touches nothing outside, so its outcome may be thrown away and computed again. The kit then
    #: stores request and outcome in one transaction instead of two.
    pure: ClassVar[bool] = False

    def adapt(self, body: Json) -> Json:
        """Bring older spellings of the body into the present form, before it is checked. Pure."""
        return body

    def run(self, action: Action, now: datetime) -> Outcome:
        """Begin the action. Runs outside any transaction and must return quickly."""
        raise NotImplementedError

    def advance(self, action: Action, work: Work) -> Outcome:
        """Carry an ACTIVE action on. Called again after a crash: must be safe to repeat."""
        raise NotImplementedError(f"{type(self).__name__} never returns Active")

    def cancel(self, action: Action, now: datetime) -> Outcome:  # noqa: ARG002 - part of the contract
        """The caller does not want the action any more. Default: it ends FAILED with code ``Canceled``."""
        return Failed({"code": "Canceled", "description": "The action was canceled by the user"})

    def resume(self, action: Action, now: datetime) -> Outcome:
        """The reason for being INACTIVE may be gone. Default: begin again."""
        return self.run(action, now)
