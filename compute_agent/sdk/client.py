"""The client: functions, endpoints and tasks of one server, one method per thing the Compute API can do.

Names and documents are those of the published API. Functions, arguments and results are packed and unpacked here;
nothing is unpickled unless the caller says that it trusts the endpoint.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from types import TracebackType
from typing import Any, Literal
from urllib.parse import quote

from requests.adapters import BaseAdapter

from schemas.json_text import Json
from schemas.scopes import COMPUTE_SCOPE

from .. import framing
from ..connection import Http
from ..wire import LONGEST_WAIT_S, OnLoss, TaskState
from . import outcomes
from .batch import Batch
from .functions import Functions, pack, packed, registration
from .locate import locate
from .watcher import GroupWatcher

#: How long an answer to a long poll may take beyond the wait that was asked for.
_POLL_MARGIN_S = 30.0
#: Ids in one request about many tasks; each may bring its result.
_ASKED_AT_ONCE = 200
_PAGE = 100
_RESULTS = 500


class Client:
    """Functions, endpoints and tasks of the server at ``url``; without arguments, of the one that is found.

    That is ``$FLOWS_URL`` with ``$FLOWS_TOKEN``, or with ``$FLOWS_CLIENT_ID`` and ``$FLOWS_CLIENT_SECRET``, or else the
    installation of this machine (``data_dir``). ``allow_pickle`` reads results that are pickled, which runs code that the
    endpoint chose. ``transport`` replaces the network; ``pause`` waits between repetitions. May be used by several
    threads.
    """

    def __init__(
        self,
        url: str | None = None,
        *,
        client_id: str | None = None,
        client_secret: str | None = None,
        token: str | None = None,
        data_dir: Path | str | None = None,
        transport: BaseAdapter | None = None,
        allow_pickle: bool = False,
        pause: Callable[[float], None] = time.sleep,
    ) -> None:
        access = locate(url, client_id=client_id, client_secret=client_secret, token=token, data_dir=data_dir)
        self._http = Http(
            access.url,
            client_id=access.client_id,
            client_secret=access.client_secret,
            token=access.token,
            transport=transport,
            pause=pause,
        )
        self.allow_pickle = allow_pickle
        #: The task group of what is submitted without one; the service names it with the first submission.
        self.task_group_id: str | None = None
        self._functions = Functions(lambda function: self._register(registration(function)))
        self._python_versions: dict[str, str] = {}
        self._watchers: dict[str, GroupWatcher] = {}
        self._lock = threading.Lock()
        self._pause = pause

    @property
    def url(self) -> str:
        return self._http.url

    def close(self) -> None:
        """Close connections that are kept open."""
        self._http.close()

    def __enter__(self) -> Client:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    # Functions

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
        """Register a function or ``ShellFunction`` and give its id.

        ``public`` lets everybody use it, ``group`` the members of a group. ``on_loss="requeue"`` runs a task again when
        nobody knows how it ended: say so only of a function that may run twice.
        """
        function = pack(fn)
        function_id = self._register(
            registration(
                replace(function, name=name or function.name),
                description=description,
                public=public,
                group=group,
                on_loss=on_loss,
                metadata=metadata,
            )
        )
        self._functions.remember(function, function_id)
        return function_id

    def register_source_code(
        self,
        source: str,
        function_name: str,
        *,
        description: str | None = None,
        public: bool = False,
        group: str | None = None,
        on_loss: OnLoss | None = None,
        metadata: Mapping[str, Json] | None = None,
    ) -> str:
        """Register the function that ``source`` defines as ``function_name``. It runs on any version of Python."""
        function = packed(function_name, framing.source_code(source, function_name))
        return self._register(
            registration(
                function, description=description, public=public, group=group, on_loss=on_loss, metadata=metadata
            )
        )

    def get_function(self, function_id: str) -> dict[str, Json]:
        return self._call("GET", f"/v2/functions/{_part(function_id)}")

    def delete_function(self, function_id: str) -> dict[str, Json]:
        """Withdraw a function. Tasks that were submitted run all the same."""
        answer = self._call("DELETE", f"/v2/functions/{_part(function_id)}")
        self._functions.forget(function_id)
        return answer

    def list_functions(self) -> Iterator[dict[str, Json]]:
        """The caller's own, newest first, without their code."""
        return self._pages("/v3/functions", "functions", {})

    # Tasks

    def run(self, *args: Any, endpoint_id: str, function_id: str, **kwargs: Any) -> str:
        """Submit one call of a registered function; the id of the task."""
        batch = self.create_batch()
        batch.add(function_id, args, kwargs)
        task_id: str = self.batch_run(endpoint_id, batch)["tasks"][function_id][0]
        return task_id

    def create_batch(
        self,
        task_group_id: str | None = None,
        resource_specification: Mapping[str, Json] | None = None,
        user_endpoint_config: Mapping[str, Json] | None = None,
    ) -> Batch:
        return Batch(
            task_group_id=task_group_id,
            resource_specification=resource_specification,
            user_endpoint_config=user_endpoint_config,
        )

    def batch_run(self, endpoint_id: str, batch: Batch) -> dict[str, Any]:
        """Submit a batch: ``{"request_id", "task_group_id", "endpoint_id", "tasks": {function_id: [task ids]}}``."""
        return self._call("POST", f"/v3/endpoints/{_part(endpoint_id)}/submit", body=batch.prepare(), repeatable=True)

    def get_task(self, task_id: str) -> dict[str, Any]:
        """The task's document, with ``pending``, and ``result`` or an exception object as ``exception`` once it ended."""
        document = self._call("GET", f"/v2/tasks/{_part(task_id)}")
        return outcomes.report(document, allow_pickle=self.allow_pickle)

    def get_result(self, task_id: str, *, allow_pickle: bool | None = None) -> Any:
        """What the task returned.

        Raises:
            TaskPending: it has not ended.
            TaskFailed: it ended without a result; ``CancelledError`` when it was cancelled.
            PickleRefused: its result is pickled, and ``allow_pickle`` is not set.
        """
        document = self._call("GET", f"/v2/tasks/{_part(task_id)}")
        return outcomes.value_of(document, allow_pickle=self.allow_pickle if allow_pickle is None else allow_pickle)

    def get_batch_result(self, task_ids: Sequence[str]) -> dict[str, dict[str, Any]]:
        """What ``get_task`` gives, of many tasks, by id."""
        documents = self.task_documents(task_ids)
        return {one: outcomes.report(found, allow_pickle=self.allow_pickle) for one, found in documents.items()}

    def get_task_group(self, task_group_id: str) -> dict[str, Any]:
        """Returns ``{"taskgroup_id", "tasks": [{"id", "created_at"}], ...}``."""
        return self._call("GET", f"/v2/taskgroup/{_part(task_group_id)}")

    def list_tasks(
        self, *, endpoint_id: str | None = None, state: TaskState | str | None = None
    ) -> Iterator[dict[str, Json]]:
        """The caller's tasks, newest first, without results; of one endpoint or in one state if wanted."""
        asked = {"endpoint_id": endpoint_id, "state": None if state is None else str(state)}
        return self._pages("/v3/tasks", "tasks", {name: value for name, value in asked.items() if value})

    def cancel(self, task_ids: str | Sequence[str]) -> dict[str, TaskState]:
        """Cancel tasks; the state of each afterwards, which is not CANCELLED for one that had ended."""
        ids = [task_ids] if isinstance(task_ids, str) else list(task_ids)
        states: dict[str, TaskState] = {}
        for some in _portions(ids):
            answer = self._call("POST", "/v3/tasks/cancel", body={"task_ids": some}, repeatable=True)
            states |= {task_id: TaskState(state) for task_id, state in answer.items()}
        return states

    def cancel_task_group(self, task_group_id: str) -> dict[str, TaskState]:
        """Cancel what is unfinished in a task group."""
        answer = self._call("POST", f"/v3/task_groups/{_part(task_group_id)}/cancel", body={}, repeatable=True)
        return {task_id: TaskState(state) for task_id, state in answer.items()}

    # Endpoints

    def get_endpoints(self, role: Literal["owner", "any"] = "owner") -> list[dict[str, Json]]:
        """The caller's own endpoints, or all that the caller may see: ``[{"uuid", "name", "display_name", "owner"}]``."""
        found: list[dict[str, Json]] = self._http.call(
            "GET", "/compute/v2/endpoints", scope=COMPUTE_SCOPE, query={"role": role}
        )
        return found

    def get_endpoint_status(self, endpoint_id: str) -> dict[str, Any]:
        """Returns ``{"status": "online" | "offline", "details": {"total_workers": ...}}``."""
        return self._call("GET", f"/v2/endpoints/{_part(endpoint_id)}/status")

    def get_endpoint_metadata(self, endpoint_id: str) -> dict[str, Any]:
        return self._call("GET", f"/v2/endpoints/{_part(endpoint_id)}")

    def get_allowed_functions(self, endpoint_id: str) -> dict[str, Any]:
        """Returns ``{"endpoint_id", "restricted": bool, "functions": [ids]}``."""
        return self._call("GET", f"/v3/endpoints/{_part(endpoint_id)}/allowed_functions")

    def stop_endpoint(self, endpoint_id: str) -> dict[str, Any]:
        """Stop an endpoint from afar and keep it from starting for a while: ``{"lock_expiration_timestamp", ...}``."""
        return self._call("POST", f"/v3/endpoints/{_part(endpoint_id)}/lock", repeatable=True)

    def delete_endpoint(self, endpoint_id: str) -> dict[str, Any]:
        """Delete an endpoint for good; its unfinished tasks fail."""
        return self._call("DELETE", f"/v2/endpoints/{_part(endpoint_id)}")

    # For the executor

    def registered(self, fn: Callable[..., Any]) -> tuple[str, bool]:
        """Id of the function, which is registered once for each content; and whether it goes as bytecode."""
        return self._functions.registered(fn)

    def python_version(self, endpoint_id: str) -> str:
        """The Python of an endpoint, empty when it does not say; asked once."""
        with self._lock:
            known = self._python_versions.get(endpoint_id)
        if known is None:
            document = self.get_endpoint_metadata(endpoint_id)
            inner = document.get("metadata")
            places = [document, inner if isinstance(inner, dict) else {}]
            known = next((str(one["python_version"]) for one in places if one.get("python_version")), "")
            with self._lock:
                self._python_versions[endpoint_id] = known
        return known

    def task_documents(self, task_ids: Sequence[str]) -> dict[str, dict[str, Any]]:
        """Documents of many tasks by id, as the service has them. It leaves out what would make an answer too large."""
        found: dict[str, dict[str, Any]] = {}
        for some in _portions(task_ids):
            while some:
                answer = self._call("POST", "/v2/batch_status", body={"task_ids": some}, repeatable=True)["results"]
                found |= {task_id: {"task_id": task_id, **document} for task_id, document in answer.items()}
                some = [task_id for task_id in some if task_id not in answer] if answer else []
        return found

    def next_results(self, task_group_id: str, after: int) -> dict[str, Any]:
        """Tasks that ended after the marker ``after``: ``{"results", "marker", "unfinished"}``; waits for one."""
        return self._call(
            "GET",
            f"/v3/task_groups/{_part(task_group_id)}/results",
            query={"after": after, "limit": _RESULTS, "wait": LONGEST_WAIT_S},
            answer_s=LONGEST_WAIT_S + _POLL_MARGIN_S,
        )

    def watcher(self, task_group_id: str) -> GroupWatcher:
        """The one who waits for results of a task group."""
        with self._lock:
            watcher = self._watchers.get(task_group_id)
            if watcher is None:
                watcher = self._watchers[task_group_id] = GroupWatcher(self, task_group_id, pause=self._pause)
            return watcher

    def pause(self, seconds: float) -> None:
        self._pause(seconds)

    def _register(self, body: dict[str, Json]) -> str:
        # Safe to repeat: a second registration of the same code is a row that nobody uses.
        function_id: str = self._call("POST", "/v3/functions", body=body, repeatable=True)["function_uuid"]
        return function_id

    def _call(self, method: str, path: str, **request: Any) -> dict[str, Any]:
        document: dict[str, Any] = self._http.call(method, f"/compute{path}", scope=COMPUTE_SCOPE, **request)
        return document

    def _pages(self, path: str, member: str, query: Mapping[str, Json]) -> Iterator[dict[str, Json]]:
        marker: int | None = None
        while True:
            asked = {**query, "limit": _PAGE} | ({} if marker is None else {"marker": marker})
            page = self._call("GET", path, query=asked)
            yield from page[member]
            marker = page.get("marker")
            if marker is None:
                return


def _portions(task_ids: Sequence[str]) -> Iterator[list[str]]:
    for start in range(0, len(task_ids), _ASKED_AT_ONCE):
        yield list(task_ids[start : start + _ASKED_AT_ONCE])


def _part(text: str) -> str:
    """A segment of a path: an id with a slash in it must not lead elsewhere."""
    return quote(str(text), safe="")
