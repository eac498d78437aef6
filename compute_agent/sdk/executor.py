"""``Executor``: a ``concurrent.futures.Executor`` whose functions run at an endpoint.

``submit`` packs in the caller's thread, so that what cannot be sent is refused at the caller's own line; sending is the
submitter's, results the watcher's.
"""

from __future__ import annotations

import concurrent.futures
import threading
import time
import warnings
import weakref
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from itertools import islice
from types import TracebackType
from typing import Any, ParamSpec, TypeVar

from schemas.json_text import Json, dumps_sorted

from ..wire import OnLoss, TaskState
from . import outcomes
from .batch import pack_arguments
from .client import Client
from .errors import NoEndpointError, PythonVersionWarning
from .futures import ComputeFuture
from .submitter import Order, Submitter, Terms
from .versions import advice

P = ParamSpec("P")
T = TypeVar("T")

#: Most tasks that ``map`` has submitted beyond the result that is taken next.
_AHEAD = 10_000


#: So many endpoints are listed for somebody who must choose.
_SHOWN_ENDPOINTS = 20


class Executor(concurrent.futures.Executor):
    """Futures for functions that run at ``endpoint_id``; without one, at the only endpoint that the caller may use.

    ``endpoint_id``, ``task_group_id``, ``user_endpoint_config`` and ``resource_specification`` may be changed between
    submits and hold for those that follow. ``batch_size`` is how many tasks are sent in one request at most.
    """

    def __init__(
        self,
        endpoint_id: str | None = None,
        *,
        client: Client | None = None,
        task_group_id: str | None = None,
        user_endpoint_config: Mapping[str, Json] | None = None,
        resource_specification: Mapping[str, Json] | None = None,
        batch_size: int = 128,
        label: str | None = None,
        allow_pickle: bool = False,
    ) -> None:
        if batch_size < 1:
            raise ValueError(f"batch_size is {batch_size}; it is how many tasks go into one request, at least 1")
        self._owns_client = client is None
        self.client = client or Client()
        self.endpoint_id = str(endpoint_id) if endpoint_id else _only_endpoint(self.client)
        self.task_group_id = task_group_id
        self.user_endpoint_config = user_endpoint_config
        self.resource_specification = resource_specification
        self.label = label
        self.allow_pickle = allow_pickle or self.client.allow_pickle
        self._submitter = Submitter(self.client, batch_size=batch_size, named=_naming(self))
        self._futures: set[ComputeFuture[Any]] = set()
        self._compared: set[str] = set()
        self._is_shut = False
        self._lock = threading.Lock()

    def __repr__(self) -> str:
        label = f"{self.label}, " if self.label else ""
        return f"<Executor {label}endpoint {self.endpoint_id}, task group {self.task_group_id}>"

    def __enter__(self) -> Executor:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.shutdown(wait=True)

    @property
    def batch_size(self) -> int:
        return self._submitter.batch_size

    @batch_size.setter
    def batch_size(self, size: int) -> None:
        self._submitter.batch_size = size

    def submit(self, fn: Callable[P, T], /, *args: P.args, **kwargs: P.kwargs) -> ComputeFuture[T]:
        """Run ``fn(*args, **kwargs)`` at the endpoint.

        The function and its arguments are taken as they are now. The function is registered the first time.

        Raises:
            SerializationError: the function or an argument cannot be sent; the text says which and why.
            PayloadTooLargeError: more than 10 MiB.
            RuntimeError: the executor was shut down.
        """
        self._refuse_if_shut()
        function_id, is_bytecode = self.client.registered(fn)
        if is_bytecode and self.endpoint_id not in self._compared:
            self._compare_versions()
        return self._put(function_id, pack_arguments(args, kwargs))

    def submit_to_registered_function(
        self, function_id: str, args: Sequence[Any] = (), kwargs: Mapping[str, Any] | None = None
    ) -> ComputeFuture[Any]:
        self._refuse_if_shut()
        return self._put(str(function_id), pack_arguments(args, kwargs or {}))

    def map(
        self,
        fn: Callable[..., T],
        *iterables: Iterable[Any],
        timeout: float | None = None,
        chunksize: int = 1,
    ) -> Iterator[T]:
        """Results of ``fn`` in the order of the arguments, each as soon as it and those before it are there.

        The first 10,000 tasks are submitted at once and others as results are taken, so that the iterables may be
        endless. ``timeout`` is in seconds, of the whole, from now. ``chunksize`` has no effect: tasks are sent together
        anyway, and each is a task of its own at the service. What has not been taken when the iterator is closed is
        cancelled.
        """
        if chunksize < 1:
            raise ValueError(f"chunksize is {chunksize}; it must be at least 1")
        deadline = None if timeout is None else time.monotonic() + timeout
        calls = zip(*iterables, strict=False)
        futures = (self.submit(fn, *call) for call in calls)
        return _in_order(deque(islice(futures, _AHEAD)), futures, deadline)

    def register_function(
        self,
        fn: Callable[..., Any],
        *,
        description: str | None = None,
        public: bool = False,
        group: str | None = None,
        on_loss: OnLoss | None = None,
        name: str | None = None,
        metadata: Mapping[str, Json] | None = None,
    ) -> str:
        """As ``Client.register_function``; later submits of the same function use this registration."""
        return self.client.register_function(
            fn, description=description, public=public, group=group, on_loss=on_loss, name=name, metadata=metadata
        )

    def register_source_code(self, source: str, function_name: str, **options: Any) -> str:
        """As ``Client.register_source_code``; for ``submit_to_registered_function``."""
        return self.client.register_source_code(source, function_name, **options)

    def reload_tasks(self, task_group_id: str | None = None) -> list[ComputeFuture[Any]]:
        """Futures of all tasks of a task group, in the order of submission, such as those of an earlier program."""
        group = task_group_id or self.task_group_id
        if not group:
            raise ValueError("there is no task group yet; name one: reload_tasks(task_group_id)")
        task_ids = [str(one["id"]) for one in self.client.get_task_group(group)["tasks"]]
        futures = {task_id: self._future() for task_id in task_ids}
        for task_id, future in futures.items():
            future.begin(task_id, group)
        watcher = self.client.watcher(group)
        watcher.follow(futures)  # first, so that what ends meanwhile is not missed
        watcher.settle(task_ids)
        return list(futures.values())

    def shutdown(self, wait: bool = True, *, cancel_futures: bool = False) -> None:
        """Take no more tasks. With ``wait``, return when all futures have ended.

        ``cancel_futures`` cancels what has not begun, here or in the endpoint's queue; what runs goes on.
        """
        with self._lock:
            self._is_shut = True
        if cancel_futures:
            self._cancel_waiting()
        if wait:
            concurrent.futures.wait(self._unfinished())
            if self._owns_client:
                self.client.close()

    def _put(self, function_id: str, payload: str) -> ComputeFuture[Any]:
        user_config, resources = self.user_endpoint_config, self.resource_specification
        terms = Terms(
            self.endpoint_id,
            self.task_group_id,
            dumps_sorted(dict(user_config)) if user_config else "",
            dumps_sorted(dict(resources)) if resources else "",
        )
        future = self._future()
        self._submitter.put(terms, Order(function_id, payload, future))
        return future

    def _future(self) -> ComputeFuture[Any]:
        future: ComputeFuture[Any] = ComputeFuture(self._cancel_task, allow_pickle=self.allow_pickle)
        self._futures.add(future)
        future.add_done_callback(self._futures.discard)
        return future

    def _cancel_task(self, task_id: str) -> bool:
        return self.client.cancel(task_id).get(task_id) is TaskState.CANCELLED

    def _cancel_waiting(self) -> None:
        for future in self._submitter.unsent():
            future.cancel()
        self._submitter.flush()
        by_id = {future.task_id: future for future in self._unfinished() if future.task_id}
        waiting = [
            task_id
            for task_id, document in self.client.task_documents(list(by_id)).items()
            if outcomes.is_waiting(document)
        ]
        for task_id, state in self.client.cancel(waiting).items():
            if state is TaskState.CANCELLED:
                by_id[task_id].end_cancelled()

    def _unfinished(self) -> list[ComputeFuture[Any]]:
        return list(self._futures.copy())

    def _refuse_if_shut(self) -> None:
        if self._is_shut:
            raise RuntimeError("cannot schedule new futures after shutdown")

    def _compare_versions(self) -> None:
        """Warn, before the task is sent, when the endpoint runs another Python than this one."""
        sentence = advice(self.client.python_version(self.endpoint_id), self.endpoint_id)
        self._compared.add(self.endpoint_id)
        if sentence:
            warnings.warn(sentence, PythonVersionWarning, stacklevel=3)


def _naming(executor: Executor) -> Callable[[str], None]:
    """Sets the executor's task group when the service named it; does not keep the executor alive."""
    reference = weakref.ref(executor)

    def named(task_group_id: str) -> None:
        named_executor = reference()
        if named_executor is not None and named_executor.task_group_id is None:
            named_executor.task_group_id = task_group_id

    return named


def _in_order(ahead: deque[ComputeFuture[T]], more: Iterator[ComputeFuture[T]], deadline: float | None) -> Iterator[T]:
    try:
        while ahead:
            left_s = None if deadline is None else deadline - time.monotonic()
            value = ahead[0].result(left_s)
            ahead.popleft()
            ahead.extend(islice(more, 1))
            yield value
    finally:
        for future in ahead:
            future.cancel()


def _only_endpoint(client: Client) -> str:
    found = client.get_endpoints("any")
    if len(found) == 1:
        return str(found[0]["uuid"])
    if not found:
        raise NoEndpointError(
            f"no endpoint at {client.url} may be used; start one with 'compute-agent start', or name one: Executor(id). "
            "The one that 'flows serve' brings is there a few seconds after its first start"
        )
    lines = [
        f"  {one['uuid']}  {client.get_endpoint_status(one['uuid'])['status']:<8}{one.get('display_name') or one['name']}"
        for one in found[:_SHOWN_ENDPOINTS]
    ]
    raise NoEndpointError("\n".join([f"{len(found)} endpoints may be used; name one of them:", *lines]))
