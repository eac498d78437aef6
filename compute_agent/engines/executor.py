"""One life of Parsl's HighThroughputExecutor, without the DataFlowKernel: its interchange, its blocks, its scaling.

A life that went wrong is not repaired but ended, and the engine starts another. All methods but ``submit_payload`` belong
to one thread, the engine's supervisor; Parsl's sockets are not for several. What Parsl notices in threads of its own
is put into ``trouble``, followed by a call of ``wake``.
"""

from __future__ import annotations

import contextlib
import logging
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, cast

import zmq
from parsl.executors import HighThroughputExecutor
from parsl.executors.high_throughput.errors import CommandClientBadError, CommandClientTimeoutError
from parsl.jobs.states import JobState, JobStatus
from parsl.jobs.strategy import Strategy
from parsl.providers import LocalProvider
from parsl.providers.base import ExecutionProvider
from parsl.providers.errors import SubmitException

from .htex_options import ParslOptions
from .parsl_interchange import GIVE_UP

log = logging.getLogger(__name__)

#: The longest that the interchange may take to answer a question before it counts as dead.
_ANSWER_S = 30.0
#: While an answer is awaited, how often it is looked whether the interchange lives.
_ALIVE_LOOK_MS = 200
#: While tasks wait and no node has come yet, how often a scheduler is asked about the blocks, and the own host.
_IMPATIENT_S = 10.0
_IMPATIENT_HERE_S = 0.5
#: A node's connection is gone: how often a scheduler is asked whether its job is over, which takes a while to end.
_PARTED_S = 3.0

GONE = frozenset(
    {JobState.CANCELLED, JobState.COMPLETED, JobState.FAILED, JobState.TIMEOUT, JobState.MISSING, JobState.SCALED_IN}
)
FAILED_TO_START = frozenset({JobState.FAILED, JobState.MISSING})


class JobRefused(Exception):
    """A scheduler took no job. The text is what it said."""


class TookNothing(Exception):
    """A task was not handed over."""


class ExecutorLife(HighThroughputExecutor):
    """``trouble`` is None, or says why this life is over; ``managers`` is what the interchange last said of its nodes;
    ``has_blocks`` whether any block was there or on its way at the last look."""

    def __init__(self, options: ParslOptions, *, run_dir: Path, wake: Callable[[], None]) -> None:
        provider = options.make_provider()
        super().__init__(
            label=options.label,
            provider=provider,
            block_error_handler=False,
            **options.executor,
        )
        # Functions say themselves for which Python they are; what Parsl's parts exchange is the same for all.
        self._check_python_mismatch = False
        self.run_dir = str(run_dir)
        self.blocks_from: ExecutionProvider = provider
        provider.script_dir = str(run_dir / "submit_scripts")
        self.trouble: str | None = None
        self.interchange_exit_code: int | None = None
        self.managers: list[dict[str, Any]] = []
        self.blocks_seen: set[str] = set()
        self.block_of_manager: dict[str, str] = {}
        self.ended: dict[str, JobStatus] = {}
        self._parted: set[str] = set()
        self.hold_scale_out_until = 0.0
        self.has_blocks = False
        self.began = time.monotonic()
        self._impatient_s = _IMPATIENT_HERE_S if isinstance(provider, LocalProvider) else _IMPATIENT_S
        self._wake = wake
        self._retired = False
        self._strategy = Strategy(strategy=options.strategy, max_idletime=options.max_idletime_s)
        self._strategy.add_executors([self])

    def start(self) -> None:
        Path(self.run_dir, "submit_scripts").mkdir(parents=True, exist_ok=True)
        cast(Any, super()).start()
        # Without an interchange the socket has nobody to send to, and would wait for ever.
        self.outgoing_q.zmq_socket.setsockopt(zmq.SNDTIMEO, _ALIVE_LOOK_MS)
        threading.Thread(target=self._watch_interchange, name="interchange-watch", daemon=True).start()

    @property
    def had_nodes(self) -> bool:
        """Whether any node ever connected: before that no task can have been given to a worker."""
        return bool(self.blocks_seen or self.managers)

    @property
    def active_blocks(self) -> int:
        return sum(status.state not in GONE for status in dict(self.status_facade).values())

    def submit_payload(self, context: dict[str, Any], buffer: bytes) -> Any:
        """Raises TookNothing: the interchange is dead, or as good as that, and this life over."""
        socket, until = self.outgoing_q.zmq_socket, time.monotonic() + _ANSWER_S / 3
        while not socket.poll(timeout=_ALIVE_LOOK_MS, flags=zmq.POLLOUT):
            if self.interchange_exit_code is not None or time.monotonic() >= until:
                break
        try:
            return super().submit_payload(context, buffer)
        except zmq.Again as error:
            self._set_trouble("the interchange takes no tasks")
            raise TookNothing from error

    def look(self, *, ask_scheduler: bool) -> None:
        """Ask after the nodes, and, when it is time, after the blocks."""
        with self._dead_if_silent():
            known = self.connected_managers()
            for manager in known:
                self.blocks_seen.add(manager["block_id"])
                self.block_of_manager[manager["manager"]] = manager["block_id"]
            self.managers = [one for one in known if one["active"] and one["connected"]]
            parted = [one for one in known if not one["connected"]]
            if ask_scheduler or self._is_time_to_ask({one["manager"] for one in parted}):
                self._last_poll_time = 0.0
            self.poll_facade()
            for manager in parted:
                # While its job goes on it may come back, and heartbeats decide.
                if manager["block_id"] in self.ended:
                    self._ask([GIVE_UP, manager["manager"]])
        self.has_blocks = self.active_blocks > 0

    def _is_time_to_ask(self, parted: set[str]) -> bool:
        """Whether to ask a scheduler sooner than its provider would: a node has left, or is awaited."""
        since = time.time() - self._last_poll_time
        new, self._parted = parted - self._parted, parted
        if new or (parted and since > min(_PARTED_S, self._impatient_s)):
            return True
        return bool(self.outstanding() and not self.managers and self.active_blocks) and since > self._impatient_s

    def scale(self) -> None:
        """Start blocks that are wanted, end those that are idle."""
        with self._dead_if_silent():
            self._strategy.strategize([self])
        self.has_blocks = self.active_blocks > 0

    @contextlib.contextmanager
    def _dead_if_silent(self) -> Iterator[None]:
        try:
            yield
        except (CommandClientTimeoutError, CommandClientBadError):
            self._set_trouble(f"the interchange gave no answer for {_ANSWER_S:g} s")

    def end(self, *, grace_s: float) -> None:
        """End blocks, interchange and threads. May take seconds; what fails is logged, and the rest is still ended."""
        self._retired = True
        for step in (self._cancel_blocks, lambda: self.shutdown(timeout=grace_s)):
            try:
                step()
            except Exception:  # schedulers and sockets fail in many ways; every step must have its turn
                log.exception("an end of the Parsl executor failed")

    def _cancel_blocks(self) -> None:
        jobs = [
            self.blocks_to_job_id[block]
            for block, status in dict(self.status_facade).items()
            if status.state not in GONE and block in self.blocks_to_job_id
        ]
        if jobs and not all(self.blocks_from.cancel(jobs)):
            log.warning("the scheduler refused to cancel %s; they end by themselves when they miss the agent", jobs)

    # What Parsl calls

    def set_bad_state_and_fail_all(self, exception: Exception) -> None:
        """Parsl cannot go on. The engine settles the tasks, which here are only marked as refused."""
        self._set_trouble(str(exception))
        self._executor_exception = exception
        self._executor_bad_state.set()

    def connected_managers(self) -> list[dict[str, Any]]:
        managers: list[dict[str, Any]] = self._ask("MANAGERS")
        return managers

    def connected_blocks(self) -> list[str]:
        blocks: list[str] = self._ask("CONNECTED_BLOCKS")
        self.blocks_seen.update(blocks)
        return blocks

    def _hold_manager(self, manager_id: str) -> None:
        self._ask(["HOLD_MANAGER", manager_id])

    def _ask(self, question: object) -> Any:
        """As Parsl's client asks, but without waiting for an interchange that is dead."""
        client = cast(Any, self.command_client)
        if not client.ok:
            raise CommandClientBadError
        until = time.monotonic() + _ANSWER_S
        self._await_socket(client, zmq.POLLOUT, until)
        client.zmq_socket.send_pyobj(question)
        self._await_socket(client, zmq.POLLIN, until)
        return client.zmq_socket.recv_pyobj()

    def _await_socket(self, client: Any, event: int, until: float) -> None:
        while not client.zmq_socket.poll(timeout=_ALIVE_LOOK_MS, flags=event):
            if self.interchange_exit_code is not None or time.monotonic() >= until:
                client.ok = False
                raise CommandClientTimeoutError("the interchange gave no answer")

    def status(self) -> dict[str, JobStatus]:
        """As Parsl's, except that the first end of a block stays: providers forget how a block ended."""
        status: dict[str, JobStatus] = super().status()
        for block, now in status.items():
            if now.state in GONE:
                status[block] = self.ended.setdefault(block, now)
        return status

    def scale_out_facade(self, n: int) -> list[str]:
        if time.monotonic() < self.hold_scale_out_until:
            return []
        blocks: list[str] = super().scale_out_facade(n)
        return blocks

    def _launch_block(self, block_id: str) -> Any:
        try:
            return super()._launch_block(block_id)
        except SubmitException as error:
            raise JobRefused(error.stderr or error.stdout or error.message) from error

    def shutdown(self, timeout: float = 10.0) -> None:
        for pipe in ("outgoing_q", "incoming_q"):
            if hasattr(self, pipe):
                # Else the end waits for ever until a dead interchange has taken every message.
                owner = getattr(self, pipe)
                socket = getattr(owner, "zmq_socket", None)
                if socket is not None:
                    socket.setsockopt(zmq.LINGER, 0)
        super().shutdown(timeout=timeout)

    def _watch_interchange(self) -> None:
        exit_code = cast("subprocess.Popen[bytes]", self.interchange_proc).wait()
        if not self._retired:
            self._set_trouble(f"exit code {exit_code}", interchange=exit_code)

    def _set_trouble(self, text: str, *, interchange: int | None = None) -> None:
        if self.trouble is None:
            self.trouble = text
            self.interchange_exit_code = interchange
        self._wake()
