"""A scripted compute service behind the real HTTP calls of an agent: it gives the tasks a test queues, keeps what it is
told, and fails as it is asked to. It judges nothing; the real service's rules are not here."""

from __future__ import annotations

import contextlib
import hashlib
import json
import threading
import time
import uuid
from collections import Counter, deque
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from compute_agent import framing
from compute_agent.wire import TaskState

PATIENCE_S = 15.0


class ScriptedService:
    """``calls`` counts by name. ``failures`` holds, by call, answers that are given instead: ``(status, code)``, or None
    to drop the connection. Use as a context manager."""

    def __init__(self) -> None:
        self.changed = threading.Condition()
        self.calls: Counter[str] = Counter()
        self.failures: dict[str, deque[tuple[int, str] | None]] = {}
        self.always: dict[str, tuple[int, str]] = {}
        self.registrations: list[dict[str, Any]] = []
        self.outcomes: dict[str, list[dict[str, Any]]] = {}
        self.heartbeats: list[dict[str, Any]] = []
        self.reports: list[dict[str, Any]] = []
        self.leases: list[dict[str, Any]] = []
        self.verdict: dict[str, Any] = {}
        self.cancel: list[str] = []
        self.has_left = False
        self.heartbeat_s = 30.0
        self.left_after = 0
        self._batch = 0
        self._session = 0
        self._queue: deque[dict[str, Any]] = deque()
        self._functions: dict[str, dict[str, Any]] = {}

    def __enter__(self) -> ScriptedService:
        self._server = _Server(("127.0.0.1", 0), self)
        self.url = f"http://127.0.0.1:{self._server.server_address[1]}"
        self._thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.01})
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        with self.changed:
            self._closed = True
            self.changed.notify_all()
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()

    _closed = False

    # what a test does

    def function(self, source: str, name: str = "f", *, sha256: str | None = None) -> str:
        code = framing.source_code(source, name)
        function_id = str(uuid.uuid4())
        self._functions[function_id] = {
            "function_id": function_id,
            "name": name,
            "code": code,
            "sha256": sha256 or hashlib.sha256(code.encode()).hexdigest(),
            "python_version": "",
        }
        return function_id

    def queue(self, function_id: str, *args: Any, task_id: str = "", fence: int = 1, **more: Any) -> str:
        """Queue one task; returns its id."""
        return self.queue_all([(function_id, args, more)], task_id=task_id, fence=fence)[0]

    def queue_all(self, wanted: list[Any], *, task_id: str = "", fence: int = 1) -> list[str]:
        ids = []
        with self.changed:
            for function_id, args, more in wanted:
                ids.append(task_id or str(uuid.uuid4()))
                payload = framing.pack_json_arguments(list(args), {})
                task = {"task_id": ids[-1], "fence": fence, "function_id": function_id, "payload": payload, **more}
                self._queue.append(task)
            self.changed.notify_all()
        return ids

    def until(self, condition: Callable[[], Any], what: str = "") -> Any:
        """Wait for something that the agent brings about, by a call or otherwise; returns it."""
        end = time.monotonic() + PATIENCE_S
        with self.changed:
            while not (found := condition()):
                assert time.monotonic() < end, f"it did not come to that: {what}; {dict(self.calls)}"
                self.changed.wait(0.01)
        return found

    def outcome(self, task_id: str) -> dict[str, Any]:
        """The first outcome that was reported of a task."""
        return self.until(lambda: self.outcomes.get(task_id), f"outcome of {task_id}")[0]

    def fail(self, call: str, *answers: tuple[int, str] | None) -> None:
        with self.changed:
            self.failures.setdefault(call, deque()).extend(answers)

    def tell_cancel(self, *task_ids: str) -> None:
        with self.changed:
            self.cancel.extend(task_ids)
            self.changed.notify_all()

    def end_session(self) -> None:
        """As if another agent had registered."""
        with self.changed:
            self._session += 1
            self.changed.notify_all()

    @contextlib.contextmanager
    def failing(self, call: str, status: int, code: str) -> Iterator[None]:
        with self.changed:
            self.always[call] = (status, code)
        yield
        with self.changed:
            del self.always[call]
            self.changed.notify_all()

    # what an agent does

    def answer(self, method: str, path: str, body: Any) -> tuple[int, Any] | None:
        """Status and document, or None to drop the connection."""
        name = path.rpartition("/")[2] if method == "POST" else method.lower()
        with self.changed:
            self.calls[name] += 1
            self.changed.notify_all()
            if waiting := self.failures.get(name):
                wanted = waiting.popleft()
                return None if wanted is None else _refusal(*wanted)
            if name in self.always:
                return _refusal(*self.always[name])
            call = getattr(self, f"_{name}", None)
            if call is None:
                return _refusal(404, "NO_SUCH_ROUTE")
            answer = call(path, body)
            self.changed.notify_all()
            return answer

    def _token(self, path: str, body: Any) -> tuple[int, Any]:
        return 200, {"access_token": "t" * 32, "expires_in": 3600}

    def _get(self, path: str, body: Any) -> tuple[int, Any]:
        return 200, {"status": "online", "details": {"total_workers": 2}}

    def _delete(self, path: str, body: Any) -> tuple[int, Any]:
        return 200, {"result": 302}

    def _put(self, path: str, body: Any) -> tuple[int, Any]:
        self.registrations.append(body)
        self._session += 1
        self._batch = 0
        terms = {"number": self._session, "heartbeat_s": self.heartbeat_s, "lease_s": 75.0}
        return 200, {"endpoint_id": path.rpartition("/")[2], "session": terms}

    def _lease(self, path: str, body: Any) -> tuple[int, Any]:
        if body["session"] != self._session:
            return _refusal(409, "SESSION_ENDED")
        self.leases.append(body)
        session = self._session
        self.changed.wait_for(
            lambda: self._closed or self._session != session or self.cancel or (self._queue and body["limit"]),
            body["wait"],
        )
        if self._session != session:
            return _refusal(409, "SESSION_ENDED")
        count = min(len(self._queue), body["limit"])
        tasks = [self._queue.popleft() for _ in range(count)]
        known = set(body["functions_known"])
        wanted = {task["function_id"] for task in tasks} - known
        cancel, self.cancel = self.cancel, []
        self._batch += 1
        functions = [self._functions[one] for one in wanted if one in self._functions]
        return 200, {"batch": self._batch, "tasks": tasks, "functions": functions, "cancel": cancel, "stop": False}

    def _heartbeat(self, path: str, body: Any) -> tuple[int, Any]:
        if body["session"] != self._session:
            return _refusal(409, "SESSION_ENDED")
        self.heartbeats.append(body)
        return 200, {"cancel": [], "unknown": [], "stop": False, **self.verdict}

    def _report(self, path: str, body: Any) -> tuple[int, Any]:
        if body["session"] != self._session:
            return _refusal(409, "SESSION_ENDED")
        self.reports.append(body)
        for one in body["outcomes"]:
            self.outcomes.setdefault(one["task_id"], []).append(one)
            assert TaskState(one["state"]) not in (TaskState.LEASED, TaskState.RUNNING)
        return 200, {"accepted": [one["task_id"] for one in body["outcomes"]], "refused": {}}

    def _leave(self, path: str, body: Any) -> tuple[int, Any]:
        self.has_left = True
        self.left_after = body["received"]
        return 200, {}


def _refusal(status: int, code: str) -> tuple[int, Any]:
    return status, {"status": "Failed", "code": code, "reason": f"scripted {code}", "http_status_code": status}


class _Server(ThreadingHTTPServer):
    daemon_threads = True

    def __init__(self, address: tuple[str, int], service: ScriptedService) -> None:
        super().__init__(address, _Handler)
        self.service = service


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True

    def _serve(self) -> None:
        raw = self.rfile.read(int(self.headers.get("Content-Length", "0")))
        body = json.loads(raw) if raw.startswith(b"{") else None
        assert isinstance(self.server, _Server)
        answer = self.server.service.answer(self.command, self.path, body)
        if answer is None:
            self.close_connection = True
            return
        status, document = answer
        data = json.dumps(document).encode()
        head = f"HTTP/1.1 {status} Scripted\r\nContent-Type: application/json\r\nContent-Length: {len(data)}\r\n\r\n"
        with contextlib.suppress(OSError):
            self.wfile.write(head.encode() + data)

    do_GET = do_POST = do_PUT = do_DELETE = _serve  # noqa: N815 - the names are the standard library's

    def log_message(self, *_: Any) -> None:
        return
