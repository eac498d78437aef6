"""Calls a provider's method for a claimed action, and records what came of it under the claim.

Whoever holds a claim (a request being answered, a background thread) goes through here: ``perform`` outside any
transaction, then ``keep`` in one. What a provider does wrong ends its action FAILED; what our database does wrong
postpones it.
"""

from __future__ import annotations

import logging
import threading
import uuid
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import TypeAlias, assert_never

from sqlalchemy.exc import DBAPIError

from schemas.action import Status
from schemas.json_text import Json, size_bytes
from schemas.ports import Clock, Database, Wake

from . import store
from .documents import parse_duration
from .provider import Action, ActionProvider, Active, Failed, Inactive, Outcome, Stop, Succeeded, Work
from .store import Record, Step

log = logging.getLogger(__name__)

#: Claims without progress after which an action is given up.
MAX_TRIES = 5
#: Details larger than this would not be read by a caller that caps answers at 1 MiB.
MAX_DETAILS_BYTES = 1_000_000


@dataclass(frozen=True, slots=True)
class Later:
    """Nothing came of the attempt, through no fault of the provider."""

    reason: str


#: Publishes progress of a claimed action; raises Stop when the claim was lost.
Report: TypeAlias = Callable[[Record, Mapping[str, Json]], None]

#: None: the claim is not ours any more, and nothing is to be recorded.
Result: TypeAlias = Outcome | Later | None


class Carrier:
    """``owner`` is a fresh random name of this process: a restarted server never passes for its predecessor."""

    def __init__(
        self,
        db: Database,
        clock: Clock,
        providers: Mapping[str, ActionProvider],
        *,
        wake: Wake | None,
        lease: timedelta,
    ) -> None:
        self.db = db
        self.clock = clock
        self.providers = providers
        self.lease = lease
        self.owner = str(uuid.uuid4())
        self._wake = wake
        self._on_due: Callable[[datetime], None] | None = None
        self._in_hand: dict[tuple[str, int], Record] = {}
        self._hand_lock = threading.Lock()

    def notify(self, on_due: Callable[[datetime], None] | None) -> None:
        """Have ``on_due`` called, after the commit, whenever an action becomes due at a time."""
        self._on_due = on_due

    def hold(self, records: Sequence[Record]) -> None:
        """Have the leases of these claims kept (by Background) until ``let_go``."""
        with self._hand_lock:
            self._in_hand |= {(record.action_id, record.fence): record for record in records}

    def let_go(self, records: Sequence[Record]) -> None:
        with self._hand_lock:
            for record in records:
                self._in_hand.pop((record.action_id, record.fence), None)

    def in_hand(self) -> list[Record]:
        with self._hand_lock:
            return list(self._in_hand.values())

    def carry(self, records: Sequence[Record], *, answering: bool = False) -> list[Record]:
        """Perform what these claimed actions wait for, and keep what came of it; the actions as stored now.

        ``answering``: their askers are being answered with the result, and need no waking.
        """
        self.hold(records)
        try:
            return self.keep([(record, self.perform(record)) for record in records], answering=answering)
        finally:
            self.let_go(records)

    def perform(self, record: Record, report: Report | None = None) -> Result:
        """Call the method that the action is waiting for. Never inside a transaction."""
        now = self.clock.now()
        try:
            return _checked(self._call(record, now, report))
        except Stop:
            return None
        except DBAPIError as error:
            log.warning("database error during an action", extra={"action_id": record.action_id}, exc_info=True)
            return Later(f"database error: {type(error.orig).__name__}")
        except Exception:  # whatever a provider raises ends its action, not the thread that serves all
            log.exception("provider failed", extra={"action_id": record.action_id, "provider": record.provider})
            return Failed(
                {
                    "code": "ActionProviderError",
                    "description": f"Internal error of the action provider {record.provider}; the server's log "
                    f"has the reason under action {record.action_id}",
                }
            )

    def keep(self, results: Sequence[tuple[Record, Result]], *, answering: bool = False) -> list[Record]:
        """Record outcomes in one transaction, then wake who waits. Returns the actions as they are now stored."""
        now = self.clock.now()
        settled = [settle(record, result, now) for record, result in results if result is not None]
        if not settled:
            return []
        with self.db.begin() as tx:
            store.settle(tx, settled, self.owner, now)
            found = store.current(tx, [record.action_id for record in settled])
        for record in settled:
            if (kept := found.get(record.action_id)) is not None and kept.fence == record.fence:
                self.announce_due(kept)
                if not answering or kept.waiter != record.waiter:
                    self._wake_waiter(kept)
        return list(found.values())

    def announce_due(self, record: Record) -> None:
        """After a commit: the action wants something at a time."""
        if record.due is not None:
            self.announce(record.due)

    def announce(self, due: datetime) -> None:
        """After a commit: some action wants something at a time."""
        if self._on_due is not None:
            self._on_due(due)

    def _wake_waiter(self, record: Record) -> None:
        """After a commit: the action ended or waits for a person."""
        if record.waiter and record.status is not Status.ACTIVE and self._wake is not None:
            self._wake(record.waiter)

    def _call(self, record: Record, now: datetime, report: Report | None) -> Result:
        provider = self.providers[record.provider]
        action = as_action(record)
        if record.deadline is not None and record.deadline <= now:
            provider.cancel(action, now)
            return Failed({"code": "DeadlineExceeded", "description": "The action did not finish before its deadline"})
        if record.tries > MAX_TRIES:
            reason = record.last_error or "the server stopped or lost its lease while working on it"
            return Failed({"code": "ActionProviderError", "description": f"gave up after {MAX_TRIES} tries: {reason}"})
        match record.next_step:
            case Step.RUN:
                return provider.run(action, now)
            case Step.RESUME:
                return provider.resume(action, now)
            case Step.CANCEL:
                return provider.cancel(action, now)
            case Step.ADVANCE:
                tell = report or _nobody
                return provider.advance(action, Work(now, lambda details: tell(record, details)))
            case _:
                assert_never(record.next_step)


def as_action(record: Record) -> Action:
    return Action(
        action_id=record.action_id,
        body=record.body,
        caller=record.caller,
        label=record.label,
        started_at=record.started_at,
        state=record.state,
        details=record.details,
    )


def settle(record: Record, result: Outcome | Later, now: datetime) -> Record:
    """The record after a result. Owner and lease go; the fence stays, for the write to check."""
    if isinstance(result, Later):
        wait = timedelta(seconds=min(2**record.tries, 60))
        return replace(record, due=now + wait, last_error=result.reason, owner=None, lease_until=None)
    kept = replace(
        record,
        details=dict(result.details),
        next_step=Step.ADVANCE,
        tries=0,
        last_error=None,
        owner=None,
        lease_until=None,
    )
    match result:
        case Active():
            due = result.due or now
            due = due if record.deadline is None else min(due, record.deadline)
            return replace(kept, status=Status.ACTIVE, state=result.state, due=due)
        case Inactive():
            return replace(kept, status=Status.INACTIVE, state=result.state, due=record.deadline)
        case Succeeded() | Failed():
            status = Status.SUCCEEDED if isinstance(result, Succeeded) else Status.FAILED
            expires_at = now + parse_duration(record.release_after)
            return replace(kept, status=status, state=None, due=None, completed_at=now, expires_at=expires_at)
        case _:
            assert_never(result)


def _checked(result: Result) -> Result:
    """A provider's answer must be an outcome that can be stored and read back."""
    if not isinstance(result, Succeeded | Failed | Active | Inactive):
        raise TypeError(f"an outcome is Succeeded, Failed, Active or Inactive, not {type(result).__name__}")
    if not isinstance(result.details, Mapping):
        raise TypeError(f"details of an outcome are a mapping, not {type(result.details).__name__}")
    size = size_bytes(dict(result.details))
    if isinstance(result, Active | Inactive):
        size_bytes(result.state)
    if size > MAX_DETAILS_BYTES:
        return Failed(
            {
                "code": "ResultTooLarge",
                "description": f"The details of the action have {size} bytes; the limit is {MAX_DETAILS_BYTES}",
            }
        )
    return result


def _nobody(_record: Record, _details: Mapping[str, Json]) -> None:
    """Progress of an action that nobody watches."""
