"""The agent at work: registers, recovers what earlier sessions left, leases and uploads until told to stop, stops in
order.

Stopping: nothing more is leased; what has not begun is given back; what runs may finish within the grace time; engines
end; what is open then is lost; the service is told all of it and that the agent leaves.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from schemas.json_text import Json

from ..connection import Http
from ..errors import ClientError
from ..wire import LONGEST_WAIT_S
from .config import EndpointConfig
from .desk import Desk, Ending
from .engine_blocks import EngineBlocks
from .engine_pool import EnginePool, MakeEngine
from .heartbeats import Heart
from .journal import Journal
from .leases import Leaser
from .markers import Markers
from .recovery import recover
from .service_link import Registration, ServiceLink, register
from .uploads import Uploader

log = logging.getLogger(__name__)

_ENGINE_STOP_S = 5.0
_LAST_UPLOAD_S = 15.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Pace:
    """How long the agent waits for things, in seconds."""

    lease_wait_s: float = LONGEST_WAIT_S
    announce_after_s: float = 0.25
    disk_probe_s: float = 3.0
    cancels_every_s: float = 2.0
    last_upload_s: float = _LAST_UPLOAD_S


class Agent:
    """One endpoint's agent. ``make_engine`` is ``engines.catalog.make_engine``; ``document`` is the registration without
    what the journal adds."""

    def __init__(
        self,
        http: Http,
        *,
        config: EndpointConfig,
        blocks: EngineBlocks,
        journal: Journal,
        markers: Markers,
        make_engine: MakeEngine,
        run_dir: Path,
        document: Mapping[str, Json],
        endpoint_id: str,
        facts: Mapping[str, Json] | None = None,
        pace: Pace | None = None,
    ) -> None:
        self._http = http
        self._config = config
        self._blocks = blocks
        self._document = dict(document)
        self.endpoint_id = endpoint_id
        self._facts = dict(facts or {})
        self._pace = pace or Pace()
        self._desk = Desk(journal, markers)
        self.pool = EnginePool(
            make_engine,
            run_dir,
            may_submit=self._desk.may_submit,
            submitted=self._desk.submitted,
            done=self._desk.done,
            failed=self._desk.fault,
        )

    def warm(self) -> None:
        """Start the default engine and wait for it.

        Raises:
            EngineFault: it cannot be started.
            UserConfigRefused: there is no default engine: the template needs a user's configuration.
        """
        self.pool.warm(self._blocks.default())

    def wait_for_workers(self, *, within_s: float) -> int:
        """How many workers there are once there is one, or after the time if none came; the service is told."""
        deadline = time.monotonic() + within_s
        while (workers := self._workers()) == 0 and time.monotonic() < deadline:
            if self._desk.ended.wait(0.05):
                break
        self._desk.changed.set()
        return workers

    def begin(self) -> None:
        """Recover, register and start to work.

        Raises:
            ClientError: the service refused, is away, or answered something else.
        """
        held = recover(self._desk)
        self._desk.markers.sweep()
        agent: dict[str, Json] = {"journal_id": self._desk.journal.journal_id, "held": dict(held)}
        registration = register(self._http, {**self._document, "agent": agent}, self.endpoint_id)
        self._link = ServiceLink(self._http, registration)
        self._assemble(registration)
        for part in (self._uploader, self._heart, self._leaser):
            part.start()
        log.info(
            "endpoint registered", extra={"endpoint": registration.endpoint_id, "session": registration.terms.number}
        )

    def end(self, ending: Ending) -> None:
        """Ask the agent to stop. May be called by any thread; a second call makes it hurry."""
        self._desk.end(ending)

    def wait(self) -> Ending:
        """Until somebody asks the agent to stop; then stop in order, and say why."""
        self._desk.ended.wait()
        ending = self._desk.ending
        assert ending is not None, "ended is set after the reason"
        log.info("stopping", extra={"reason": ending.reason})
        if ending.settles:
            self._stop_in_order()
        else:
            self._heart.stop()
            self.pool.stop(grace_s=0.0)
            self._uploader.finish(within_s=self._pace.last_upload_s)
        log.info("stopped")
        return ending

    def _workers(self) -> int:
        return sum(info.total_workers for info in self.pool.infos())

    def _assemble(self, registration: Registration) -> None:
        terms, desk, link = registration.terms, self._desk, self._link
        heartbeat_s = min(terms.heartbeat_s, self._config.heartbeat_period or terms.heartbeat_s)
        self._uploader = Uploader(desk, link, announce_after_s=self._pace.announce_after_s)
        self._heart = Heart(desk, link, self.pool, heartbeat_s=heartbeat_s, facts=self._facts)
        self._leaser = Leaser(
            desk,
            link,
            self.pool,
            self._blocks,
            endpoint_id=registration.endpoint_id,
            max_result_bytes=terms.max_result_bytes,
            timeout_s=self._config.task_timeout,
            wait_s=self._pace.lease_wait_s,
            probe_s=self._pace.disk_probe_s,
            cancels_every_s=self._pace.cancels_every_s,
        )

    def _stop_in_order(self) -> None:
        desk = self._desk
        running = desk.give_back()
        if running:
            # Shown at a terminal too: the end takes as long as they run.
            facts = {"tasks": running, "grace_s": self._config.grace_period}
            log.warning("waiting for tasks that run; a second signal makes it hurry", extra=facts)
            self._wait_for_running()
        self.pool.stop(grace_s=0.0 if desk.hurry.is_set() else _ENGINE_STOP_S)
        desk.lose_open("the endpoint was stopped while the task ran")
        received = self._leaser.close()
        self._heart.stop()
        if not self._uploader.finish(within_s=self._pace.last_upload_s):
            log.warning("not everything was uploaded; the journal keeps it for the next start")
            return
        try:
            self._link.leave(received=received)
        except ClientError as error:
            log.warning("the service was not told that the agent leaves", extra={"reason": str(error)})

    def _wait_for_running(self) -> None:
        desk = self._desk
        deadline = threading.Timer(self._config.grace_period, desk.hurry.set)
        deadline.daemon = True
        deadline.start()
        with desk.lock:
            while desk.book.unfinished and not desk.hurry.is_set():
                desk.room.wait(0.2)  # ``hurry`` comes from signal handlers and timers, which take no locks
        deadline.cancel()
