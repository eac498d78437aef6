"""Sends submitted tasks: at once when nothing is under way, and together what arrives while a request is.

One thread for each executor, alive while there is something to send and a moment longer. Tasks that differ in their
endpoint, group or configuration are sent apart. A submission has an id of its own and is repeated under it when its
answer is lost; what the service refuses ends the futures of that submission alone. A service that has no room for more
is no refusal: tasks wait here until it has.
"""

from __future__ import annotations

import atexit
import logging
import threading
import time
import weakref
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from itertools import groupby
from operator import attrgetter
from typing import Any

from schemas.json_text import loads_trusted

from ..errors import ApiError, ClientError, UnreachableError
from ..wire import MAX_SUBMISSION_BYTES
from .batch import Batch
from .client import Client
from .futures import ComputeFuture

log = logging.getLogger(__name__)

_LINGER_S = 10.0
#: How long a submission is repeated while the service is away.
_PATIENCE_S = 120.0
_PAUSE_S = 2.0
#: How long the end of the program waits for what was submitted and not sent.
_AT_EXIT_S = 30.0
_AWAY = frozenset({502, 503, 504})
#: The service has as much of this user as it takes; there is room again when some of it has ended.
_FULL = 429


@dataclass(frozen=True, slots=True)
class Terms:
    """What the tasks of one submission have in common; configurations as JSON text with sorted keys, or empty."""

    endpoint_id: str
    task_group_id: str | None = None
    user_endpoint_config: str = ""
    resource_specification: str = ""


@dataclass(slots=True)
class Order:
    """One task on its way out."""

    function_id: str
    payload: str
    future: ComputeFuture[Any]


class Submitter:
    """``named`` is called with the task group's id when the service named one."""

    def __init__(self, client: Client, *, batch_size: int, named: Callable[[str], None]) -> None:
        self.batch_size = batch_size
        self._client = client
        self._named = named
        self._state = threading.Condition()
        self._waiting: dict[Terms, deque[Order]] = {}
        self._is_sending = False
        self._thread: threading.Thread | None = None
        #: Endpoints that the user was told are offline.
        self._offline: set[str] = set()
        _submitters.add(self)

    def put(self, terms: Terms, order: Order) -> None:
        with self._state:
            queue = self._waiting.get(terms)
            if queue is None:
                queue = self._waiting[terms] = deque()
            queue.append(order)
            if self._is_sending:
                return
            if self._thread is None or not self._thread.is_alive():
                self._thread = threading.Thread(target=self._run, name="compute submissions", daemon=True)
                self._thread.start()
            self._state.notify_all()

    def unsent(self) -> list[ComputeFuture[Any]]:
        with self._state:
            return [order.future for queue in self._waiting.values() for order in queue]

    def flush(self, timeout_s: float | None = None) -> bool:
        """Wait until all is sent; False when the time is over."""
        with self._state:
            return self._state.wait_for(lambda: not self._waiting and not self._is_sending, timeout_s)

    def _run(self) -> None:
        while True:
            with self._state:
                self._is_sending = False
                self._state.notify_all()
                if not self._waiting and not self._state.wait_for(lambda: bool(self._waiting), _LINGER_S):
                    self._thread = None
                    return
                self._is_sending = True
                terms, orders = self._next()
            try:
                self._send(terms, orders)
            except Exception as error:
                log.exception("a submission failed here")
                _fail(orders, error)

    def _next(self) -> tuple[Terms, list[Order]]:
        """The longest waiting terms, and as many of their tasks as go into one submission."""
        terms = next(iter(self._waiting))
        queue = self._waiting.pop(terms)
        orders: list[Order] = []
        size_bytes = 0
        while queue and len(orders) < max(1, self.batch_size):
            size_bytes += len(queue[0].payload)
            if orders and size_bytes > MAX_SUBMISSION_BYTES:
                break
            orders.append(queue.popleft())
        if queue:
            self._waiting[terms] = queue  # last in line, so that no terms wait for ever
        return terms, orders

    def _send(self, terms: Terms, orders: Sequence[Order]) -> None:
        orders = [order for order in orders if not order.future.cancelled()]
        if not orders:
            return
        task_group_id = terms.task_group_id or self._client.task_group_id
        expecting: AbstractContextManager[None] = nullcontext()
        if task_group_id:
            expecting = self._client.watcher(task_group_id).expecting()
        with expecting:
            try:
                answer = self._post(terms, task_group_id, orders)
                task_ids = _ids(answer, orders)
            except ClientError as error:
                self._refused(terms, orders, error)
                return
            self._note_status(terms.endpoint_id, answer)
            if not task_group_id:
                task_group_id = str(answer["task_group_id"])
                self._client.task_group_id = task_group_id
                self._named(task_group_id)
            self._begun(task_group_id, task_ids, orders)

    def _post(self, terms: Terms, task_group_id: str | None, orders: Sequence[Order]) -> Mapping[str, Any]:
        batch = Batch(
            task_group_id=task_group_id,
            resource_specification=_mapping(terms.resource_specification),
            user_endpoint_config=_mapping(terms.user_endpoint_config),
        )
        for order in orders:
            batch.add_payload(order.function_id, order.payload)
        deadline = time.monotonic() + _PATIENCE_S
        is_known = False
        while True:
            try:
                return self._client.batch_run(terms.endpoint_id, batch)
            except ClientError as error:
                if not _is_full(error) and (not _is_away(error) or time.monotonic() > deadline):
                    raise
                if not is_known:
                    log.warning("tasks wait here, to be submitted when the service takes them: %s", error)
                is_known = True
            self._client.pause(_PAUSE_S)

    def _refused(self, terms: Terms, orders: Sequence[Order], error: ClientError) -> None:
        """Nothing was taken. If only one part of the submission may be at fault, the others are sent without it."""
        parts = list(_parts(orders, error))
        if len(parts) > 1:
            for part in parts:
                self._send(terms, part)
        else:
            _fail(orders, error)

    def _note_status(self, endpoint_id: str, answer: Mapping[str, Any]) -> None:
        """Say once that tasks wait for an endpoint that is offline."""
        if answer.get("endpoint_status") != "offline":
            self._offline.discard(endpoint_id)
        elif endpoint_id not in self._offline:
            self._offline.add(endpoint_id)
            log.warning(
                "endpoint %s is offline: its tasks wait at the service until its owner starts it again "
                "(compute-agent start NAME)",
                endpoint_id,
            )

    def _begun(self, task_group_id: str, task_ids: Sequence[str], orders: Sequence[Order]) -> None:
        cancelled = [
            task_id
            for task_id, order in zip(task_ids, orders, strict=True)
            if not order.future.begin(task_id, task_group_id)
        ]
        futures = {task_id: order.future for task_id, order in zip(task_ids, orders, strict=True)}
        for task_id in cancelled:
            del futures[task_id]
        self._client.watcher(task_group_id).follow(futures)
        if cancelled:
            try:
                self._client.cancel(cancelled)
            except ClientError as error:
                log.warning("%d tasks that were cancelled here may run all the same: %s", len(cancelled), error)


def _fail(orders: Sequence[Order], error: Exception) -> None:
    for order in orders:
        order.future.end_exception(error)


def _is_away(error: ClientError) -> bool:
    return isinstance(error, UnreachableError) or (isinstance(error, ApiError) and error.status in _AWAY)


def _is_full(error: ClientError) -> bool:
    return isinstance(error, ApiError) and error.status == _FULL


def _parts(orders: Sequence[Order], error: ClientError) -> Iterator[Sequence[Order]]:
    """Parts of a refused submission of which some may be taken; the whole when nothing says so."""
    if isinstance(error, ApiError) and error.status == 413 and len(orders) > 1:
        middle = len(orders) // 2
        yield orders[:middle]
        yield orders[middle:]
    elif isinstance(error, ApiError) and error.code.startswith("FUNCTION_"):
        by_function = attrgetter("function_id")
        for _, some in groupby(sorted(orders, key=by_function), by_function):
            yield list(some)
    else:
        yield orders


def _ids(answer: Mapping[str, Any], orders: Sequence[Order]) -> list[str]:
    """Task ids in the order of ``orders``; the service answers them by function, in the order they came."""
    by_function: dict[str, deque[str]] = {name: deque(ids) for name, ids in answer["tasks"].items()}
    try:
        found = [by_function[order.function_id].popleft() for order in orders]
    except (KeyError, IndexError):
        found = []
    if len(found) != len(orders) or any(by_function.values()):
        raise ClientError(
            f"{len(orders)} tasks were submitted and the service answered with other ids than one for each; they may run: "
            f"see task group {answer.get('task_group_id')}"
        )
    return found


def _mapping(text: str) -> dict[str, Any] | None:
    document: dict[str, Any] | None = loads_trusted(text) if text else None
    return document


_submitters: weakref.WeakSet[Submitter] = weakref.WeakSet()


@atexit.register
def _send_the_rest() -> None:
    """What was submitted is sent before the program ends, though nobody may wait for it."""
    deadline = time.monotonic() + _AT_EXIT_S
    for submitter in list(_submitters):
        if not submitter.flush(max(0.0, deadline - time.monotonic())):
            log.warning("%d tasks were not sent before the program ended", len(submitter.unsent()))
