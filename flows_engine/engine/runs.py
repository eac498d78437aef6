"""Use cases of runs: start, show, list, change, cancel, resume, release, read the log. One method, one transaction.

What a run does is not decided here: ``Advance`` moves runs, inside the transaction of the use case. After a commit
nothing may fail any more, because official clients repeat a POST that was answered with a 5xx, and a repeated start is
a second run: documents are made inside the transaction, and ``announce`` only wakes the worker.
"""

from __future__ import annotations

import uuid
from dataclasses import dataclass
from hashlib import sha256

from sqlalchemy import Connection

from flows_engine.crashpoints import crashpoint
from schemas.action import Status
from schemas.errors import Problem, ServiceError, StateConflict
from schemas.json_text import Json, dumps_sorted
from schemas.ports import Clock, Database
from schemas.principals import Caller
from schemas.scopes import flow_scope
from schemas.times import to_us

from .. import policy
from ..asl.input_schema import check_input
from ..policy import Permission
from ..store import flows as stored_flows
from ..store import run_views as store
from ..store.flows import FlowRow
from ..store.run_views import KeyUse, RunRow
from .access import find_flow, find_run, known_uuid, require_permission, require_scope, roles_on
from .advance import Advance, NewRun
from .batches import RunBatches
from .documents import flow_description, run_definition, run_document
from .limits import Limits
from .queries import Arguments, log_query, run_query
from .run_requests import RunRequest, parse_run, parse_run_update

_ENDED = (Status.ENDED, Status.SUCCEEDED, Status.FAILED)


@dataclass(frozen=True, slots=True, kw_only=True)
class Started:
    """``is_new`` is false when the request repeats an earlier one, and ``document`` is then of that run."""

    document: dict[str, Json]
    is_new: bool


class Runs:
    """Runs of flows, as callers see and steer them."""

    def __init__(self, *, database: Database, clock: Clock, advance: Advance, limits: Limits | None = None) -> None:
        self._database = database
        self._clock = clock
        self._advance = advance
        self.limits = limits or Limits()
        self.batches = RunBatches(database=database, advance=advance, limits=self.limits)

    def start(self, caller: Caller, flow_id: str, body: Json, *, idempotency_key: str | None = None) -> Started:
        """Start a run of the flow as it is now.

        The same ``Idempotency-Key``, or ``request_id`` of an action request, gives the same run again; with another
        body it is a 409. Too many active runs are a 429, before anything is written.
        """
        flow_id = known_uuid("Flow", flow_id)
        flow, request = self._admit(caller, flow_id, body)
        run_id = str(uuid.uuid4())
        with self._database.begin() as tx:
            now_flow, _ = find_flow(tx, flow_id, caller, Permission.RUN)
            if now_flow.version_no != flow.version_no:
                self._check_input(tx, now_flow, request)
            earlier = self._claim_keys(tx, caller, flow_id, body, request, idempotency_key, run_id)
            if earlier is not None:
                return Started(document=self._repeated(tx, caller, earlier), is_new=False)
            self._check_room(tx, caller)
            self._advance.start(tx, _new_run(run_id, now_flow, caller, request))
            document = self._show(tx, _existing(tx, run_id), caller)
        crashpoint("start_run.after_commit")
        self._advance.announce()
        return Started(document=document, is_new=True)

    def validate_start(self, caller: Caller, flow_id: str, body: Json) -> dict[str, Json]:
        """Everything ``start`` would check, without starting."""
        self._admit(caller, known_uuid("Flow", flow_id), body)
        return {"message": "validation successful"}

    def list(self, caller: Caller, arguments: Arguments, *, flow_id: str | None = None) -> dict[str, Json]:
        """One page of the runs on which the caller has a role, of one flow or of all."""
        require_scope(caller, policy.READ_RUNS_SCOPES)
        if flow_id is not None:
            flow_id = known_uuid("Flow", flow_id)
        query = run_query(arguments, caller, self.limits, flow_id=flow_id)
        with self._database.read() as tx:
            if flow_id is not None:
                find_flow(tx, flow_id, caller, Permission.VIEW)
            rows, key = store.list_runs(tx, query.filter, query.page)
            run_grants = store.grants_of_many(tx, [row.run_no for row in rows])
            flow_grants = stored_flows.grants_of_many(tx, [row.flow_no for row in rows])
        documents = [
            run_document(row, policy.run_roles(run_grants[row.run_no], flow_grants[row.flow_no], caller))
            for row in rows
        ]
        marker = query.marker(key)
        return {"runs": documents, "limit": len(documents), "has_next_page": marker is not None, "marker": marker}

    def get(
        self, caller: Caller, run_id: str, *, flow_id: str | None = None, include_flow_description: bool = False
    ) -> dict[str, Json]:
        """One run. With ``flow_id`` the run must be of that flow, whose own scope is then enough, too."""
        run_id = self._admit_to_run(caller, run_id, flow_id, policy.READ_RUNS_SCOPES)
        with self._database.read() as tx:
            row, roles = find_run(tx, run_id, caller, Permission.VIEW, flow_id=flow_id)
            document = run_document(row, roles)
            if include_flow_description:
                flow = stored_flows.load_flow(tx, row.flow_id)
                document["flow_description"] = None if flow is None else flow_description(flow)
            return document

    def definition(self, caller: Caller, run_id: str) -> dict[str, Json]:
        """The definition and input schema that the run started with."""
        run_id = self._admit_to_run(caller, run_id, None, policy.READ_RUNS_SCOPES)
        with self._database.read() as tx:
            row, _ = find_run(tx, run_id, caller, Permission.VIEW_CONTENTS)
            flow_roles = policy.flow_roles(stored_flows.grants_of(tx, row.flow_no), caller)
            return run_definition(row, stored_flows.load_version(tx, row.version_no), flow_roles)

    def log(self, caller: Caller, run_id: str, arguments: Arguments, *, flow_id: str | None = None) -> dict[str, Json]:
        """One page of the run's log, oldest entry first unless ``reverse_order`` is asked for."""
        run_id = self._admit_to_run(caller, run_id, flow_id, policy.READ_RUNS_SCOPES)
        query = log_query(arguments, run_id, caller, self.limits)
        with self._database.read() as tx:
            row, _ = find_run(tx, run_id, caller, Permission.VIEW_CONTENTS, flow_id=flow_id)
            found = store.log_page(tx, row.run_no, limit=query.limit + 1, reverse=query.reverse, after=query.after)
        page = found[: query.limit]
        marker = query.marker(page[-1][0]) if len(found) > query.limit else None
        entries = [entry for _, entry in page]
        return {"entries": entries, "limit": len(entries), "has_next_page": marker is not None, "marker": marker}

    def update(self, caller: Caller, run_id: str, body: Json) -> dict[str, Json]:
        """Change label, tags, managers and monitors; a list that is given replaces the old one."""
        run_id = self._admit_to_run(caller, run_id, None, policy.MANAGE_RUNS_SCOPES)
        with self._database.begin() as tx:
            row, _ = find_run(tx, run_id, caller, Permission.UPDATE, for_update=True)
            change = parse_run_update(body, self.limits)
            label = change.get("label", row.label)
            document = row.document | {name: value for name, value in change.items() if name != "label"}
            document["search"] = _search(label, row.flow_title)
            store.save_metadata(tx, row.run_no, label=label, document=document)
            return self._show(tx, _existing(tx, run_id), caller)

    def cancel(self, caller: Caller, run_id: str, *, flow_id: str | None = None) -> dict[str, Json]:
        """End a run; one that has ended is answered as it is."""
        run_id = self._admit_to_run(caller, run_id, flow_id, policy.MANAGE_RUNS_SCOPES)
        with self._database.begin() as tx:
            find_run(tx, run_id, caller, Permission.CANCEL, flow_id=flow_id, for_update=True)
            self._advance.cancel(tx, run_id)
            document = self._show(tx, _existing(tx, run_id), caller)
        crashpoint("cancel.after_commit")
        self._advance.announce()
        return document

    def resume(self, caller: Caller, run_id: str, *, flow_id: str | None = None) -> dict[str, Json]:
        """Let an INACTIVE run go on; any other is answered as it is. Needs a token for the run's flow.

        The scope is checked after visibility: it names the flow, which is not for strangers to learn.
        """
        run_id = known_uuid("Run", run_id)
        with self._database.begin() as tx:
            row, roles = find_run(tx, run_id, caller, Permission.VIEW, flow_id=flow_id, for_update=True)
            require_scope(caller, (flow_scope(row.flow_id),))
            require_permission(roles, row, Permission.RESUME)
            self._advance.resume(tx, run_id)
            document = self._show(tx, _existing(tx, run_id), caller)
        crashpoint("resume.after_commit")
        self._advance.announce()
        return document

    def release(self, caller: Caller, run_id: str, *, flow_id: str | None = None) -> dict[str, Json]:
        """Remove a run that has ended and return its last document."""
        run_id = self._admit_to_run(caller, run_id, flow_id, policy.MANAGE_RUNS_SCOPES)
        with self._database.begin() as tx:
            row, roles = find_run(tx, run_id, caller, Permission.RELEASE, flow_id=flow_id, for_update=True)
            if row.status not in _ENDED:
                wanted = ", ".join(f"'{status.value}'" for status in _ENDED)
                raise StateConflict(
                    f"Run {run_id} has status '{row.status.value}' but must have status in "
                    f"{{{wanted}}} for requested operation"
                )
            document = run_document(row, roles)
            self._advance.delete(tx, run_id)
            return document

    def _admit(self, caller: Caller, flow_id: str, body: Json) -> tuple[FlowRow, RunRequest]:
        """Everything that must be right before a run may start; read before, and again inside, the transaction."""
        require_scope(caller, (flow_scope(flow_id),))
        with self._database.read() as tx:
            flow, _ = find_flow(tx, flow_id, caller, Permission.RUN)
            request = parse_run(body, self.limits)
            self._check_input(tx, flow, request)
        return flow, request

    @staticmethod
    def _admit_to_run(caller: Caller, run_id: str, flow_id: str | None, allowed: tuple[str, ...]) -> str:
        if flow_id is not None:
            allowed = (flow_scope(known_uuid("Flow", flow_id)), *allowed)
        require_scope(caller, allowed)
        return known_uuid("Run", run_id)

    @staticmethod
    def _check_input(tx: Connection, flow: FlowRow, request: RunRequest) -> None:
        schema = stored_flows.load_version(tx, flow.version_no).input_schema
        if problems := check_input(schema, request.input):
            raise _input_error(problems)

    def _check_room(self, tx: Connection, caller: Caller) -> None:
        most = self.limits.max_active_runs
        if store.count_active(tx, caller.urn, at_most=most) >= most:
            raise ServiceError(
                429,
                "TOO_MANY_ACTIVE_RUNS",
                f"You have {most} active runs, which is the limit; wait until some have ended or cancel them",
                headers={"Retry-After": str(self.limits.retry_after_s)},
            )

    def _claim_keys(
        self,
        tx: Connection,
        caller: Caller,
        flow_id: str,
        body: Json,
        request: RunRequest,
        idempotency_key: str | None,
        run_id: str,
    ) -> str | None:
        """The run that an earlier request with the same key started, if there was one."""
        now = self._clock.now()
        use = KeyUse(sha256=_digest(flow_id, dumps_sorted(body)), run_id=run_id)
        keys = []
        if idempotency_key is not None:
            keys.append((f"key:{_digest(idempotency_key)}", now + self.limits.idempotency_key_kept))
        if request.request_id is not None:
            keys.append((f"request:{_digest(flow_id, request.request_id)}", now + self.limits.request_id_kept))
        for key, expires_at in keys:
            first = store.claim_key(tx, caller=caller.urn, key=key, use=use, now=now, expires_at=expires_at)
            if first.sha256 != use.sha256:
                raise ServiceError(
                    409, "IDEMPOTENCY_CONFLICT", "The same key was used before for a request with other content"
                )
            if first.run_id != run_id:
                return first.run_id
        return None

    def _repeated(self, tx: Connection, caller: Caller, run_id: str) -> dict[str, Json]:
        row = store.load_run(tx, run_id)
        if row is None:
            raise ServiceError(
                409, "IDEMPOTENCY_CONFLICT", f"This request started run {run_id}, which has been released since"
            )
        return self._show(tx, row, caller)

    @staticmethod
    def _show(tx: Connection, row: RunRow, caller: Caller) -> dict[str, Json]:
        return run_document(row, roles_on(tx, row, caller))


def _existing(tx: Connection, run_id: str) -> RunRow:
    row = store.load_run(tx, run_id)
    assert row is not None, f"run {run_id} went away inside its own transaction"
    return row


def _new_run(run_id: str, flow: FlowRow, caller: Caller, request: RunRequest) -> NewRun:
    return NewRun(
        run_id=run_id,
        flow_no=flow.flow_no,
        flow_id=flow.flow_id,
        version_no=flow.version_no,
        flow_title=flow.title,
        flow_updated_at=to_us(flow.updated_at),
        run_owner=caller.urn,
        label=request.label,
        document={
            "tags": request.tags,
            "run_managers": request.run_managers,
            "run_monitors": request.run_monitors,
            "activity_notification_policy": {"status": request.notify_on},
            "search": _search(request.label, flow.title),
        },
        context={
            "flow_id": flow.flow_id,
            "run_id": run_id,
            "action_id": run_id,
            "username": caller.username,
            "email": caller.email,
            "user_id": caller.urn,
            "identities": sorted(urn for urn in caller.principals if ":auth:identity:" in urn),
            "token_info": dict(caller.token_info),
        },
        input=request.input,
    )


def _search(label: str | None, flow_title: str) -> dict[str, Json]:
    """Casefolded texts that list filters look in."""
    return {"label": (label or "").casefold(), "flow_title": flow_title.casefold()}


def _digest(*parts: str) -> str:
    return sha256("\0".join(parts).encode()).hexdigest()


def _input_error(problems: list[Problem]) -> ServiceError:
    plural = "" if len(problems) == 1 else "s"
    return ServiceError(
        400,
        "FLOW_INPUT_ERROR",
        problems,
        message=f"Input failed schema validation with {len(problems)} error{plural}.",
    )
