"""Use cases of the compute service: users register functions and endpoints and submit tasks, agents lease and report.

One use case is one transaction; nobody waits inside one. What the callers get are the published documents (wire form);
what is wrong with a request is raised as ``ServiceError`` with the published code. Code and data are carried as text.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from schemas.json_text import Json
from schemas.ports import Clock, Database
from schemas.principals import Caller

from .agents import Agents
from .chores import Chores
from .desk import Desk
from .endpoints import Endpoints
from .functions import Functions
from .news import News
from .settings import ComputeSettings
from .submitting import Submitting
from .tasks import Tasks


def ignore(_group_ids: Sequence[str]) -> None:
    """What ``finished`` does when nobody wants to know."""


def nobody_else() -> None:
    """What ``notify_others`` does when no other process serves the same database."""


class ComputeService:
    """``finished`` is called after the commit with the ids of task groups in which tasks reached a final state;
    ``notify_others`` after a commit that other processes of the same database may be waiting for (they call
    ``news.ring_all()``). Both must return quickly. ``news.close()`` ends every wait, now and from then on. May be used by
    several threads."""

    def __init__(
        self,
        db: Database,
        clock: Clock,
        *,
        settings: ComputeSettings | None = None,
        finished: Callable[[Sequence[str]], None] = ignore,
        notify_others: Callable[[], None] = nobody_else,
    ) -> None:
        self.settings = settings or ComputeSettings()
        self.news = News()
        desk = Desk(
            db=db,
            clock=clock,
            settings=self.settings,
            news=self.news,
            finished=finished,
            notify_others=notify_others,
        )
        self._functions = Functions(desk)
        self._endpoints = Endpoints(desk)
        self._submitting = Submitting(desk)
        self._tasks = Tasks(desk)
        self._agents = Agents(desk)
        self._chores = Chores(desk, self._endpoints)

    # functions

    def register_function(self, caller: Caller, body: Json) -> dict[str, Json]:
        """Returns ``{"function_uuid": id}``."""
        return self._functions.register(caller, body)

    def get_function(self, caller: Caller, function_id: str) -> dict[str, Json]:
        """The published function document, with ``meta`` of the registration as ``metadata``."""
        return self._functions.get(caller, function_id)

    def delete_function(self, caller: Caller, function_id: str) -> dict[str, Json]:
        """Returns ``{"result": 302}``. Tasks that were submitted keep the code until they end."""
        return self._functions.delete(caller, function_id)

    def list_functions(self, caller: Caller, *, marker: int | None = None, limit: int = 100) -> dict[str, Json]:
        """The caller's own, newest first: ``{"functions": [...], "marker": int | null}``; no code."""
        return self._functions.owned(caller, marker=marker, limit=limit)

    # endpoints

    def register_endpoint(self, caller: Caller, body: Json, endpoint_id: str | None) -> dict[str, Json]:
        """Begin a session. Returns ``{"endpoint_id", "session": SessionTerms, ...}``; earlier sessions are over."""
        return self._endpoints.register(caller, body, endpoint_id)

    def get_endpoint(self, caller: Caller, endpoint_id: str) -> dict[str, Json]:
        """The published endpoint document."""
        return self._endpoints.get(caller, endpoint_id)

    def list_endpoints(self, caller: Caller, role: str = "owner") -> list[Json]:
        """``role`` is owner or any: ``[{"uuid", "name", "display_name", "owner"}]``."""
        return self._endpoints.list(caller, role)

    def endpoint_status(self, caller: Caller, endpoint_id: str) -> dict[str, Json]:
        """Returns ``{"status": "online" | "offline", "details": {...}}``."""
        return self._endpoints.status(caller, endpoint_id)

    def delete_endpoint(self, caller: Caller, endpoint_id: str) -> dict[str, Json]:
        """Returns ``{"result": 302}``; unfinished tasks end FAILED with EndpointDeleted."""
        return self._endpoints.delete(caller, endpoint_id)

    def lock_endpoint(self, caller: Caller, endpoint_id: str) -> dict[str, Json]:
        """Stop it from afar: ``{"endpoint_id", "lock_expiration_timestamp"}``."""
        return self._endpoints.lock(caller, endpoint_id)

    def allowed_functions(self, caller: Caller, endpoint_id: str) -> dict[str, Json]:
        """Returns ``{"endpoint_id", "restricted": bool, "functions": [ids]}``."""
        return self._endpoints.allowed_functions(caller, endpoint_id)

    # tasks, for users

    def submit(self, caller: Caller, endpoint_id: str, body: Json) -> dict[str, Json]:
        """The published v3 submit: ``{"request_id", "task_group_id", "endpoint_id", "tasks": {function: [task ids]}}``."""
        return self._submitting.submit(caller, endpoint_id, body)

    def get_task(self, caller: Caller, task_id: str) -> dict[str, Json]:
        """The task document."""
        return self._tasks.get(caller, task_id)

    def get_tasks(self, caller: Caller, task_ids: Json, *, most_bytes: int | None = None) -> dict[str, dict[str, Json]]:
        """Task documents by id; ids the caller knows nothing of have one with ``status`` failed and a ``reason``.

        With ``most_bytes`` only as many, in the order of the ids, as have so many bytes of results together, and at
        least one; whoever wants the others asks for them again.
        """
        return self._tasks.get_many(caller, task_ids, most_bytes=most_bytes)

    def get_task_group(self, caller: Caller, task_group_id: str) -> dict[str, Json]:
        """Returns ``{"taskgroup_id", "create_websockets_queue", "tasks": [{"id", "created_at"}]}``."""
        return self._tasks.get_group(caller, task_group_id)

    def list_tasks(
        self,
        caller: Caller,
        *,
        endpoint_id: str | None = None,
        state: str | None = None,
        marker: int | None = None,
        limit: int = 100,
    ) -> dict[str, Json]:
        """The caller's tasks, newest first, without results: ``{"tasks": [...], "marker": int | null}``."""
        return self._tasks.list(caller, endpoint_id=endpoint_id, state=state, marker=marker, limit=limit)

    def results(self, caller: Caller, task_group_id: str, *, after: int = 0, limit: int = 1000) -> dict[str, Json]:
        """Returns ``{"results": [task documents in order of finishing], "marker": int, "unfinished": int}``."""
        return self._tasks.results(caller, task_group_id, after=after, limit=limit)

    def wait_for_results(
        self, caller: Caller, task_group_id: str, *, after: int = 0, limit: int = 1000, wait_s: float
    ) -> dict[str, Json]:
        """As ``results``; waits up to ``wait_s`` for one after ``after`` while tasks are unfinished."""
        return self._tasks.wait_for_results(caller, task_group_id, after=after, limit=limit, wait_s=wait_s)

    def cancel_tasks(self, caller: Caller, task_ids: Json) -> dict[str, str]:
        """The state of each task after it, by id: CANCELLED, or the final state it had reached before."""
        return self._tasks.cancel(caller, task_ids)

    def cancel_group(self, caller: Caller, task_group_id: str) -> dict[str, str]:
        """As ``cancel_tasks``, for the unfinished tasks of a group."""
        return self._tasks.cancel_group(caller, task_group_id)

    # tasks, for the endpoint's agent

    def lease(self, caller: Caller, endpoint_id: str, body: Json) -> dict[str, Json]:
        """Work for an agent: ``{"batch": n, "tasks": [Assignment], "functions": [FunctionCode], "cancel": [ids]}``.

        ``body``: ``{"session", "limit", "wait", "received", "functions_known": [ids]}``; waits up to ``wait`` seconds
        when there is nothing.
        """
        return self._agents.lease(caller, endpoint_id, body)

    def heartbeat(self, caller: Caller, endpoint_id: str, body: Json) -> dict[str, Json]:
        """``body``: ``{"session", "held": [ids], "status": {...}}``.

        Returns ``{"cancel": [ids], "unknown": [ids], "stop": bool}``.
        """
        return self._agents.heartbeat(caller, endpoint_id, body)

    def report(self, caller: Caller, endpoint_id: str, body: Json) -> dict[str, Json]:
        """``body``: ``{"session", "running": [ids], "outcomes": [Outcome]}``.

        Returns ``{"accepted": [ids], "refused": {id: reason}}``; the first writer wins and repeats are accepted.
        """
        return self._agents.report(caller, endpoint_id, body)

    def leave(self, caller: Caller, endpoint_id: str, body: Json) -> dict[str, Json]:
        """The agent stops in order. ``body``: ``{"session", "received"}``, the latter as in ``lease``.

        What it never got is queued again; what it still holds is lost or queued again. Returns ``{}``.
        """
        return self._agents.leave(caller, endpoint_id, body)

    # chores

    def sweep(self) -> int:
        """Settle leases that ran out and delete results past their time; how many rows that was. Call it each few
        seconds."""
        return self._chores.sweep()

    def on_start(self) -> None:
        """This process was away, so agents could not be heard: every live lease gets its full time from now."""
        self._chores.on_start()
