"""Leases: one long poll after the other for as many tasks as there is room for; what comes goes to its engine."""

from __future__ import annotations

import logging
import threading
from collections import OrderedDict
from dataclasses import dataclass

from ..engines.base import EngineTask
from ..errors import ClientError
from ..wire import LONGEST_WAIT_S, Assignment, ErrorCode, FunctionCode
from .backoff import Backoff
from .book import Held
from .desk import Desk
from .endings import STOPPED_AT_SERVICE, ending_of
from .engine_blocks import EngineBlocks, EngineSpec
from .engine_pool import EnginePool, Job
from .outcomes import failed, has_right_hash
from .service_link import Lease, ServiceLink, is_passing
from .templates import UserConfigRefused

log = logging.getLogger(__name__)

_MOST_PER_LEASE = 512
_MOST_FUNCTIONS = 200
#: One in so many parts of the capacity must be free for the next lease, unless nothing ends for a while.
_SHARE = 4


@dataclass(frozen=True, slots=True)
class _Call:
    limit: int
    wait_s: float


class Leaser:
    """``probe_s`` is how often a full disk is tried again; ``cancels_every_s`` how often the service is asked for cancelled
    tasks while there is no room for others; ``timeout_s`` is the longest a function may run, 0 for ever."""

    def __init__(
        self,
        desk: Desk,
        link: ServiceLink,
        pool: EnginePool,
        blocks: EngineBlocks,
        *,
        endpoint_id: str,
        max_result_bytes: int,
        timeout_s: float = 0.0,
        wait_s: float = LONGEST_WAIT_S,
        probe_s: float = 3.0,
        cancels_every_s: float = 2.0,
    ) -> None:
        self._desk = desk
        self._link = link
        self._pool = pool
        self._blocks = blocks
        self._endpoint_id = endpoint_id
        self._max_result_bytes = max_result_bytes
        self._timeout_s = timeout_s
        self._wait_s = wait_s
        self._probe_s = probe_s
        self._cancels_every_s = cancels_every_s
        self._functions: OrderedDict[str, FunctionCode] = OrderedDict()
        self._received = 0
        self._is_closed = False
        self._taking = threading.Lock()
        self._backoff = Backoff()
        # A daemon: a long poll under way does not keep the process, and what it would bring was not received.
        self._thread = threading.Thread(target=desk.watched(self._run), name="leases", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def close(self) -> int:
        """Take nothing more; the number of the last answer whose tasks were taken."""
        with self._taking:
            self._is_closed = True
            return self._received

    def _run(self) -> None:
        while (call := self._next_call()) is not None:
            try:
                lease = self._link.lease(
                    limit=call.limit,
                    wait_s=call.wait_s,
                    received=self._received,
                    functions_known=list(self._functions),
                )
            except ClientError as error:
                if (ending := ending_of(error)) is not None:
                    self._desk.end(ending)
                    return
                self._pause(error)
                continue
            self._backoff.reset()
            with self._taking:
                if self._is_closed:
                    return
                self._received = lease.batch
                self._take(lease)
            if lease.stop:
                self._desk.end(STOPPED_AT_SERVICE)
            elif lease.retry_after_s:
                self._desk.ended.wait(min(lease.retry_after_s, self._wait_s))

    def _next_call(self) -> _Call | None:
        """What to ask for next, once there is room; None when the agent ends.

        A call is worth while for a good share of the capacity: until then the workers have enough to do. While there is no
        room for long, the service is asked for cancelled tasks alone.
        """
        desk = self._desk
        capacity = self._pool.capacity()
        with desk.lock:
            while desk.ending is None:
                if desk.trouble:
                    desk.room.wait(self._probe_s)
                    break
                free = desk.book.free(capacity)
                if free >= max(1, capacity // _SHARE):
                    return _Call(min(free, _MOST_PER_LEASE), self._wait_s)
                if not desk.room.wait(self._cancels_every_s):
                    return _Call(free, 0.0)
            if desk.ending is not None:
                return None
        if desk.journal.has_room():
            desk.disk_has_room()
        return _Call(0, 0.0)

    def _take(self, lease: Lease) -> None:
        for function in lease.functions:
            self._functions[function.function_id] = function
        self._desk.cancel(lease.cancel)
        tasks = self._desk.accept(lease.tasks)
        by_engine: dict[str, tuple[EngineSpec, list[Job]]] = {}
        for task in tasks:
            spec = self._spec(task)
            if spec is not None:
                by_engine.setdefault(spec.key, (spec, []))[1].append(self._job(task))
        for spec, jobs in by_engine.values():
            self._pool.submit(spec, jobs)
        if tasks:
            log.info("tasks leased", extra={"batch": lease.batch, "tasks": [one.task_id for one in tasks]})
        while len(self._functions) > _MOST_FUNCTIONS:
            self._functions.popitem(last=False)

    def _spec(self, task: Assignment) -> EngineSpec | None:
        """The engine of a task, or None after it was refused."""
        try:
            spec = self._blocks.for_task(task.user_endpoint_config, owner=task.owner)
        except UserConfigRefused as error:
            self._refuse(task, ErrorCode.USER_CONFIG_REFUSED, str(error))
            return None
        if spec.allowed_functions is not None and task.function_id not in spec.allowed_functions:
            text = (
                f"function {task.function_id} is not allowed on endpoint {self._endpoint_id}; its owner lists what is"
            )
            self._refuse(task, ErrorCode.FUNCTION_NOT_ALLOWED, text)
            return None
        function = self._functions.get(task.function_id)
        if function is None:
            text = f"the service did not send the code of function {task.function_id}; submit the task again"
            self._refuse(task, ErrorCode.COULD_NOT_EXECUTE, text)
            return None
        self._functions.move_to_end(task.function_id)
        if not has_right_hash(function):
            text = f"the code of function {task.function_id} is not what was registered: its SHA-256 differs"
            self._refuse(task, ErrorCode.COULD_NOT_EXECUTE, text)
            return None
        return spec

    def _job(self, task: Assignment) -> Job:
        held = Held(task.task_id, task.fence)
        return Job(
            held,
            EngineTask(
                task_id=task.task_id,
                function=self._functions[task.function_id],
                payload=task.payload,
                marker=self._desk.markers.path(held),
                max_result_bytes=self._max_result_bytes,
                timeout_s=self._timeout_s,
                resource_specification=task.resource_specification,
            ),
        )

    def _refuse(self, task: Assignment, code: ErrorCode, text: str) -> None:
        self._desk.finish(failed(Held(task.task_id, task.fence), code, text))
        log.warning("task refused", extra={"task": task.task_id, "code": code, "reason": text})

    def _pause(self, error: ClientError) -> None:
        pause_s = self._backoff.next_s()
        if self._backoff.failures in (1, 5) or self._backoff.failures % 60 == 0:
            level = logging.WARNING if is_passing(error) else logging.ERROR
            log.log(level, "tasks cannot be leased; trying on", extra={"reason": str(error)})
        self._desk.ended.wait(pause_s)
