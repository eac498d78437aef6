"""Ports: what one room needs of another, as interfaces with at least two real implementations."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager
from datetime import datetime
from typing import TYPE_CHECKING, Literal, Protocol

if TYPE_CHECKING:
    from sqlalchemy import Connection

    from .principals import Caller


class Clock(Protocol):
    """Aware UTC wall time. Real: ``flows_engine.clock.SystemClock``; in tests a virtual one."""

    def now(self) -> datetime: ...


class Database(Protocol):
    """Where rows live. One write transaction per use case; reads see committed data.

    ``begin`` opens a write transaction that commits when the block ends and rolls back when it raises. It is never
    nested and never held across anything that waits.
    """

    @property
    def dialect(self) -> Literal["sqlite", "postgresql"]: ...

    def begin(self) -> AbstractContextManager[Connection]: ...

    def read(self) -> AbstractContextManager[Connection]: ...


class Authorizer(Protocol):
    """Turns a bearer token into the caller it speaks for.

    Raises ``ServiceError`` 401 when the token is missing, unknown, expired or revoked.
    """

    def authenticate(self, bearer_token: str) -> Caller: ...


#: Called with the ``waiter`` text that came with a request when its action has ended; must return quickly.
Wake = Callable[[str], None]
