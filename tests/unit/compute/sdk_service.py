"""A compute service in memory, as a transport of ``requests``: the real client speaks to it without a network.

Tasks end when the test says so (``succeed``, ``fail``, ``end``), or at once with ``running=True``, which runs the
functions in the thread that submits. ``faults`` are given, in their order, to the calls they name: an answer instead of
the service's, or an exception ``before`` or ``after`` the service did what it was asked.
"""

from __future__ import annotations

import json
import threading
import time
import traceback
import uuid
from collections import Counter, defaultdict
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import parse_qsl, urlsplit

import requests
from requests.adapters import BaseAdapter

from compute_agent import framing, serialize
from compute_agent.sdk import Client

URL = "http://127.0.0.1:8765"
ENDPOINT = "11111111-0000-4000-8000-000000000001"
PATIENCE_S = 10.0


@dataclass(frozen=True)
class Fault:
    """``status`` and ``body`` are answered, or the connection breaks when there is no status."""

    status: int = 0
    body: Any = None
    before: bool = True
    headers: Mapping[str, str] = field(default_factory=dict)


def refusal(status: int, code: str, reason: str = "no") -> Fault:
    return Fault(status, {"status": "Failed", "code": code, "reason": reason, "http_status_code": status})


class Refused(Exception):
    """The service in memory refuses by itself."""

    def __init__(self, fault: Fault) -> None:
        super().__init__()
        self.fault = fault


class ComputeInMemory(BaseAdapter):
    def __init__(self, *, running: bool = False, longest_wait_s: float = 5.0) -> None:
        super().__init__()
        self.running = running
        self.longest_wait_s = longest_wait_s
        self.endpoints: list[dict[str, Any]] = [{"uuid": ENDPOINT, "name": "here", "display_name": "Here"}]
        self.python_version = ""
        self.most_in_batch = 1_000_000
        self.functions: dict[str, dict[str, Any]] = {}
        self.submissions: list[dict[str, Any]] = []
        self.tasks: dict[str, dict[str, Any]] = {}
        self.payloads: dict[str, tuple[str, str]] = {}
        self.calls: list[str] = []
        self.pauses: list[float] = []
        self.faults: defaultdict[str, list[Fault]] = defaultdict(list)
        self.submit_gate = threading.Event()
        self.submit_gate.set()
        self._groups: dict[str, list[str]] = {}
        self._ended: list[str] = []
        self._answered: dict[str, dict[str, Any]] = {}
        self._state = threading.Condition()

    def client(self, **options: Any) -> Client:
        return Client(URL, token="t", transport=self, pause=self.pauses.append, **options)

    # What the endpoint does

    def succeed(self, task_id: str, value: object) -> None:
        self.end(task_id, "SUCCEEDED", result=serialize.dump_data(value))

    def fail(self, task_id: str, code: str, message: str, state: str = "FAILED") -> None:
        self.end(task_id, state, error={"code": code, "message": message}, exception=message)

    def end(self, task_id: str, state: str, **members: Any) -> None:
        with self._state:
            if task_id in self._ended:
                return
            self.tasks[task_id] |= {"state": state, "status": "success" if state == "SUCCEEDED" else "failed"} | members
            self._ended.append(task_id)
            self._state.notify_all()

    def begin(self, task_id: str) -> None:
        with self._state:
            self.tasks[task_id] |= {"state": "RUNNING", "status": "running"}

    # What a test waits for and looks at

    def wait(self, condition: Callable[[], bool]) -> None:
        """Until the condition holds, which may be of the client: nobody calls when that changes."""
        deadline = time.monotonic() + PATIENCE_S
        with self._state:
            while not condition():
                assert time.monotonic() < deadline, "it did not come to that"
                self._state.wait(0.002)

    def count(self, name: str) -> int:
        return Counter(self.calls)[name]

    # The transport

    def close(self) -> None:
        pass

    def send(self, request: requests.PreparedRequest, *args: Any, **options: Any) -> requests.Response:
        address = urlsplit(request.url or "")
        parts = address.path.split("/")[2:]  # without /compute
        body = json.loads(request.body) if request.body else {}
        name, handle = self._route(request.method or "GET", parts)
        with self._state:
            self.calls.append(name)
            fault = self.faults[name].pop(0) if self.faults[name] else None
            self._state.notify_all()
        if fault and fault.before:
            return self._faulty(request, fault)
        if name == "submit":
            assert self.submit_gate.wait(PATIENCE_S)
        try:
            document = handle(parts, body, dict(parse_qsl(address.query)))
        except Refused as refused:
            return self._faulty(request, refused.fault)
        if fault:
            return self._faulty(request, fault)
        return _response(request, 200, document)

    def _faulty(self, request: requests.PreparedRequest, fault: Fault) -> requests.Response:
        if not fault.status:
            raise requests.ConnectionError("the connection broke", request=request)
        return _response(request, fault.status, fault.body, fault.headers)

    def _route(self, method: str, parts: list[str]) -> tuple[str, Callable[..., Any]]:
        match method, *parts:
            case "POST", "v3", "functions":
                return "register", self._register
            case "DELETE", "v2", "functions", _:
                return "delete", lambda parts, body, query: {"result": 302}
            case "POST", "v3", "endpoints", _, "submit":
                return "submit", self._submit
            case "POST", "v3", "endpoints", _, "lock":
                return "lock", lambda parts, body, query: {"endpoint_id": parts[2], "lock_expiration_timestamp": "x"}
            case "GET", "v2", "endpoints":
                return "endpoints", lambda parts, body, query: self.endpoints
            case "GET", "v2", "endpoints", _:
                return "endpoint", lambda parts, body, query: {"metadata": {"python_version": self.python_version}}
            case "GET", "v2", "endpoints", _, "status":
                return "status", lambda parts, body, query: {"status": "online", "details": {}}
            case "GET", "v3", "task_groups", _, "results":
                return "results", self._results
            case "GET", "v2", "taskgroup", _:
                return "group", self._group
            case "GET", "v2", "tasks", _:
                return "task", lambda parts, body, query: self.tasks[parts[2]]
            case "GET", "v3", "tasks":
                return "tasks", self._list
            case "POST", "v2", "batch_status":
                return "batch_status", self._batch_status
            case "POST", "v3", "tasks", "cancel":
                return "cancel", self._cancel
        raise AssertionError(f"no such route: {method} {parts}")

    def _register(self, parts: list[str], body: dict[str, Any], query: dict[str, str]) -> dict[str, Any]:
        function_id = str(uuid.uuid4())
        self.functions[function_id] = body
        return {"function_uuid": function_id}

    def _submit(self, parts: list[str], body: dict[str, Any], query: dict[str, str]) -> dict[str, Any]:
        with self._state:
            self.submissions.append({"endpoint_id": parts[2], **body})
            if body["submission_id"] in self._answered:
                return self._answered[body["submission_id"]]
            if unknown := set(body["tasks"]) - set(self.functions):
                raise Refused(refusal(404, "FUNCTION_NOT_FOUND", f"no function {unknown}"))
            group = body.get("task_group_id") or str(uuid.uuid4())
            tasks = {
                function_id: [self._new_task(group, function_id, payload, parts[2]) for payload in payloads]
                for function_id, payloads in body["tasks"].items()
            }
            answer = {"request_id": str(uuid.uuid4()), "task_group_id": group, "endpoint_id": parts[2], "tasks": tasks}
            self._answered[body["submission_id"]] = answer
            self._state.notify_all()
        if self.running:
            for task_id in (one for ids in tasks.values() for one in ids):
                self._run(task_id)
        return answer

    def _new_task(self, group: str, function_id: str, payload: str, endpoint_id: str) -> str:
        task_id = str(uuid.uuid4())
        self._groups.setdefault(group, []).append(task_id)
        self.payloads[task_id] = function_id, payload
        self.tasks[task_id] = {
            "task_id": task_id,
            "state": "QUEUED",
            "status": "waiting-for-ep",
            "endpoint_id": endpoint_id,
            "task_group_id": group,
        }
        return task_id

    def _run(self, task_id: str) -> None:
        function_id, payload = self.payloads[task_id]
        try:
            function = serialize.load_function(framing.unpack_code(self.functions[function_id]["function_code"]))
            args, kwargs = serialize.load_arguments(payload)
            value = function(*args, **kwargs)
        except Exception:
            self.fail(task_id, "RemoteExecutionError", traceback.format_exc())
        else:
            self.succeed(task_id, value)

    def _results(self, parts: list[str], body: dict[str, Any], query: dict[str, str]) -> dict[str, Any]:
        ids, after, limit = self._groups[parts[2]], int(query["after"]), int(query["limit"])
        deadline = time.monotonic() + min(float(query["wait"]), self.longest_wait_s)

        def unfinished() -> int:
            return len(ids) - sum(one in mine for one in self._ended)

        with self._state:
            mine = set(ids)
            while True:
                mine = set(ids)
                found = [(n, one) for n, one in enumerate(self._ended, 1) if n > after and one in mine][:limit]
                if found or not unfinished() or not self._state.wait(deadline - time.monotonic()):
                    break
            marker = found[-1][0] if found else after
            return {
                "results": [self.tasks[one] for _, one in found],
                "marker": marker,
                "unfinished": unfinished(),
            }

    def _group(self, parts: list[str], body: dict[str, Any], query: dict[str, str]) -> dict[str, Any]:
        tasks = [{"id": one, "created_at": "2026-01-01T00:00:00Z"} for one in self._groups[parts[2]]]
        return {"taskgroup_id": parts[2], "create_websockets_queue": False, "tasks": tasks}

    def _list(self, parts: list[str], body: dict[str, Any], query: dict[str, str]) -> dict[str, Any]:
        found = [one for one in self.tasks.values() if query.get("state") in (None, one["state"])]
        start = int(query.get("marker", 0))
        more = start + 1 < len(found)
        return {"tasks": found[start : start + 1], "marker": start + 1 if more else None}

    def _batch_status(self, parts: list[str], body: dict[str, Any], query: dict[str, str]) -> dict[str, Any]:
        error = {"code": "TASK_NOT_FOUND", "message": "there is no such task"}
        unknown = {"status": "failed", "state": None, "reason": "TASK_NOT_FOUND", "exception": "no", "error": error}
        with self._state:
            asked = body["task_ids"][: self.most_in_batch]
            found = {one: dict(self.tasks.get(one, unknown)) for one in asked}
        return {"response": "batch", "results": found}

    def _cancel(self, parts: list[str], body: dict[str, Any], query: dict[str, str]) -> dict[str, Any]:
        for task_id in body["task_ids"]:
            self.end(task_id, "CANCELLED", exception="cancelled")
        return {one: self.tasks[one]["state"] for one in body["task_ids"]}


def _response(
    request: requests.PreparedRequest, status: int, document: Any, headers: Mapping[str, str] | None = None
) -> requests.Response:
    response = requests.Response()
    response.status_code = status
    response.reason = "Some Reason"
    response.request = request
    response.url = request.url or ""
    response.headers.update(headers or {})
    response._content = document if isinstance(document, bytes) else json.dumps(document).encode()
    return response
