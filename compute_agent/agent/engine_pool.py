"""The engines of one agent: each started when the first task wants it, in a thread of its own, and ended when idle.

While an engine starts, its tasks wait here; they are held and journaled, and none of them has begun.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable
from concurrent.futures import Future
from dataclasses import dataclass, field
from pathlib import Path

from ..engines.base import Engine, EngineConfigError, EngineFault, EngineInfo, EngineTask, Report
from ..wire import ErrorCode
from .book import Held
from .engine_blocks import EngineSpec

log = logging.getLogger(__name__)

#: How many tasks an agent takes before it has any engine that could say.
_BEFORE_FIRST_ENGINE = 32

MakeEngine = Callable[..., Engine]


@dataclass(slots=True)
class Job:
    """A task on its way to an engine."""

    held: Held
    task: EngineTask


@dataclass(slots=True)
class _Host:
    """One engine. ``engine`` is None until it is ready; ``used`` is a monotonic time."""

    spec: EngineSpec
    used: float
    engine: Engine | None = None
    waiting: list[Job] = field(default_factory=list)
    unfinished: int = 0
    ready: threading.Event = field(default_factory=threading.Event)
    fault: EngineFault | None = None


class EnginePool:
    """``may_submit`` is asked immediately before a task is handed over; ``done`` gets its future when that is done;
    ``failed`` gets tasks whose engine could not be started. All three may be called by any thread, with no lock held."""

    def __init__(
        self,
        make: MakeEngine,
        run_dir: Path,
        *,
        may_submit: Callable[[Held], bool],
        submitted: Callable[[Held, Future[Report]], None],
        done: Callable[[Held, Future[Report]], None],
        failed: Callable[[Held, EngineFault], None],
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._make = make
        self._run_dir = run_dir
        self._may_submit = may_submit
        self._submitted = submitted
        self._done = done
        self._failed = failed
        self._monotonic = monotonic
        self._lock = threading.Lock()
        self._hosts: dict[str, _Host] = {}
        self._ending: list[threading.Thread] = []
        self._is_stopping = False

    def submit(self, spec: EngineSpec, jobs: list[Job]) -> None:
        """Hand tasks to their engine, now or when it is ready."""
        with self._lock:
            if self._is_stopping:
                return  # who stops has given the tasks back
            host = self._hosts.get(spec.key)
            if host is None:
                host = self._begin(spec)
            host.unfinished += len(jobs)
            host.used = self._monotonic()
            engine = host.engine
            if engine is None:
                host.waiting.extend(jobs)
                return
        for job in jobs:
            self._hand_over(host, engine, job)

    def warm(self, spec: EngineSpec) -> None:
        """Start an engine and wait for it.

        Raises:
            EngineFault: it cannot be started.
        """
        with self._lock:
            host = self._hosts.get(spec.key) or self._begin(spec)
        host.ready.wait()
        if host.fault is not None:
            raise host.fault

    def capacity(self) -> int:
        """How many unfinished tasks the agent should hold at most."""
        with self._lock:
            engines = [host.engine for host in self._hosts.values() if host.engine is not None]
            is_starting = len(engines) < len(self._hosts)
        known = sum(engine.capacity() for engine in engines)
        return max(known, _BEFORE_FIRST_ENGINE) if is_starting or not engines else known

    def infos(self) -> list[EngineInfo]:
        with self._lock:
            engines = [host.engine for host in self._hosts.values() if host.engine is not None]
        return [engine.info() for engine in engines]

    def waiting(self) -> int:
        """How many tasks wait for an engine that starts."""
        with self._lock:
            return sum(len(host.waiting) for host in self._hosts.values())

    def end_idle(self, heartbeat_s: float) -> None:
        """End the engines that had no work for as long as their configuration says."""
        now = self._monotonic()
        with self._lock:
            idle = [host for host in self._hosts.values() if _is_idle(host, now, heartbeat_s)]
            for host in idle:
                self._drop(host)
        for host in idle:
            log.info("engine ended after a time without work", extra={"engine": host.spec.key})

    def stop(self, *, grace_s: float) -> None:
        """End all engines and wait for that. Futures that are open then fail."""
        with self._lock:
            self._is_stopping = True
            for host in list(self._hosts.values()):
                self._drop(host, grace_s=grace_s)
            ending = list(self._ending)
        for thread in ending:
            thread.join()

    def _begin(self, spec: EngineSpec) -> _Host:
        """Start an engine; the lock is held."""
        host = self._hosts[spec.key] = _Host(spec, self._monotonic())
        threading.Thread(target=self._start, args=(host,), name=f"engine-{spec.key}", daemon=True).start()
        return host

    def _start(self, host: _Host) -> None:
        began = self._monotonic()
        log.info("engine starting", extra={"engine": host.spec.key, "type": host.spec.block.get("type")})
        engine: Engine | None = None
        try:
            engine = self._make(host.spec.block, run_dir=self._directory(host.spec))
            engine.start()
        except EngineFault as error:
            fault = error
        except EngineConfigError as error:
            fault = EngineFault(ErrorCode.ENGINE_FAILED, str(error), may_have_run=False)
        except Exception as error:  # engines are plug-ins: whatever one raises concerns the tasks that wait for it
            log.exception("engine failed to start", extra={"engine": host.spec.key})
            fault = EngineFault(ErrorCode.ENGINE_FAILED, f"the engine cannot be started: {error}", may_have_run=False)
        else:
            log.info("engine ready", extra={"engine": host.spec.key, "after_s": round(self._monotonic() - began, 2)})
            self._open(host, engine)
            return
        self._give_up(host, fault)
        if engine is not None:
            _stop(engine, host.spec.key, grace_s=0.0)

    def _open(self, host: _Host, engine: Engine) -> None:
        """Hand over what waited. What comes meanwhile waits too, so that tasks keep their order."""
        while True:
            with self._lock:
                jobs, host.waiting = host.waiting, []
                is_gone = self._hosts.get(host.spec.key) is not host
                if not jobs or is_gone:
                    host.engine = engine
                    break
            for job in jobs:
                self._hand_over(host, engine, job)
        host.ready.set()
        if is_gone:  # the agent stopped meanwhile, and has dealt with the tasks
            _stop(engine, host.spec.key, grace_s=0.0)

    def _give_up(self, host: _Host, fault: EngineFault) -> None:
        log.error("engine cannot be started", extra={"engine": host.spec.key, "reason": str(fault)})
        with self._lock:
            if self._hosts.get(host.spec.key) is host:
                del self._hosts[host.spec.key]  # the next task tries again
            jobs, host.waiting = host.waiting, []
            host.fault = fault
        host.ready.set()
        for job in jobs:
            self._failed(job.held, fault)

    def _hand_over(self, host: _Host, engine: Engine, job: Job) -> None:
        if not self._may_submit(job.held):
            self._one_less(host)
            return
        future = engine.submit(job.task)
        self._submitted(job.held, future)
        future.add_done_callback(lambda done: self._ended(host, job.held, done))

    def _ended(self, host: _Host, held: Held, future: Future[Report]) -> None:
        self._one_less(host)
        self._done(held, future)

    def _one_less(self, host: _Host) -> None:
        with self._lock:
            host.unfinished -= 1
            host.used = self._monotonic()

    def _drop(self, host: _Host, *, grace_s: float = 0.0) -> None:
        """Let no more tasks in and end the engine, in a thread; the lock is held."""
        self._hosts.pop(host.spec.key, None)
        if host.engine is None:
            return
        thread = threading.Thread(target=_stop, args=(host.engine, host.spec.key), kwargs={"grace_s": grace_s})
        self._ending = [one for one in self._ending if one.is_alive()] + [thread]
        thread.start()

    def _directory(self, spec: EngineSpec) -> Path:
        directory = self._run_dir / "engines" / spec.key
        directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        return directory


def _is_idle(host: _Host, now: float, heartbeat_s: float) -> bool:
    """Engines that nobody's configuration names are the ones that pile up; the default one stays unless told to go."""
    allowed_s = host.spec.idle_heartbeats * heartbeat_s
    return bool(host.engine) and not host.unfinished and allowed_s > 0 and now - host.used >= allowed_s


def _stop(engine: Engine, key: str, *, grace_s: float) -> None:
    try:
        engine.stop(grace_s=grace_s)
    except Exception:  # a plug-in; the agent stops all the same, and its process group ends with it
        log.exception("engine failed to stop", extra={"engine": key})
