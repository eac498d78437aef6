"""Heartbeats: every few seconds the service hears what this agent holds and how its engines are, and answers what of it
is cancelled, taken away or over."""

from __future__ import annotations

import logging
import threading
from collections.abc import Mapping, Sequence

from schemas.json_text import Json

from ..errors import ClientError
from .backoff import Backoff
from .book import Held
from .desk import Desk
from .endings import STOPPED_AT_SERVICE, ending_of
from .engine_pool import EnginePool
from .service_link import ServiceLink, Verdict, is_passing

log = logging.getLogger(__name__)

_LAST_BEAT_S = 1.0


class Heart:
    """Beats every ``heartbeat_s``, and at once when something is to be known."""

    def __init__(
        self, desk: Desk, link: ServiceLink, pool: EnginePool, *, heartbeat_s: float, facts: Mapping[str, Json]
    ) -> None:
        self._desk = desk
        self._link = link
        self._pool = pool
        self._heartbeat_s = heartbeat_s
        self._facts = dict(facts)
        self._backoff = Backoff(longest_s=min(10.0, heartbeat_s))
        self._is_closing = threading.Event()
        self._thread = threading.Thread(target=desk.watched(self._run), name="heartbeats", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        """No more beats; one that is under way may take its time."""
        self._is_closing.set()
        self._desk.changed.set()
        self._thread.join(_LAST_BEAT_S)

    def status(self) -> dict[str, Json]:
        """What the endpoint's status shows: the published counts, and why there is trouble."""
        infos = self._pool.infos()
        with self._desk.lock:
            trouble, held = self._desk.trouble, len(self._desk.book)
        problems = [trouble, *(info.problem for info in infos)]
        return {
            **self._facts,
            "total_workers": sum(info.total_workers for info in infos),
            "idle_workers": sum(info.idle_workers for info in infos),
            "pending_tasks": sum(info.pending_tasks for info in infos) + self._pool.waiting(),
            "outstanding_tasks": sum(info.outstanding_tasks for info in infos),
            "managers": sum(info.managers for info in infos),
            "held_tasks": held,
            "heartbeat_period": self._heartbeat_s,
            "problem": "; ".join(dict.fromkeys(one for one in problems if one)),
            "engines": [info.to_json() for info in infos],
        }

    def _run(self) -> None:
        pause_s = 0.0
        while True:
            self._desk.changed.wait(pause_s)
            self._desk.changed.clear()
            if self._is_closing.is_set():
                return
            pause_s = self._beat()
            if pause_s < 0:
                return
            self._pool.end_idle(self._heartbeat_s)

    def _beat(self) -> float:
        """How long to wait for the next; negative when there is none."""
        with self._desk.lock:
            held = self._desk.book.held()
        try:
            verdict = self._link.heartbeat(held=[one.task_id for one in held], status=self.status())
        except ClientError as error:
            if (ending := ending_of(error)) is not None:
                self._desk.end(ending)
                return -1.0
            if self._backoff.failures % 30 == 0:
                level = logging.WARNING if is_passing(error) else logging.ERROR
                log.log(level, "the service does not hear this agent", extra={"reason": str(error)})
            return self._backoff.next_s()
        if self._backoff.failures:
            log.info("the service hears this agent again")
        self._backoff.reset()
        self._obey(verdict, held)
        return self._heartbeat_s

    def _obey(self, verdict: Verdict, held: Sequence[Held]) -> None:
        """``held`` is what the heartbeat named: one of these tasks may have been leased anew since."""
        unknown = set(verdict.unknown)
        self._desk.cancel(verdict.cancel)
        self._desk.unknown([one for one in held if one.task_id in unknown])
        if verdict.stop:
            self._desk.end(STOPPED_AT_SERVICE)
