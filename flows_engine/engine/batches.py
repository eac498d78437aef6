"""Changing many runs at once: all of them or none."""

from __future__ import annotations

from schemas.json_text import Json
from schemas.ports import Database
from schemas.principals import Caller

from .. import policy
from ..policy import Permission
from ..store import run_views as store
from ..store.runs import lock_by_ids
from .access import find_run, require_scope, roles_on
from .advance import Advance
from .documents import run_document
from .limits import Limits
from .run_requests import BatchRequest, check_lengths, parse_batch


class RunBatches:
    """The use case behind ``POST /batch/runs``."""

    def __init__(self, *, database: Database, advance: Advance, limits: Limits | None = None) -> None:
        self._database = database
        self._advance = advance
        self.limits = limits or Limits()

    def change(self, caller: Caller, body: Json) -> dict[str, Json]:
        """Change tags and role lists of the named runs, or cancel them. Each run is checked like a single request.

        Returns ``{"runs": [...]}``, the changed runs in the order of the request.
        """
        require_scope(caller, policy.MANAGE_RUNS_SCOPES)
        request = parse_batch(body, self.limits)
        with self._database.begin() as tx:
            # All at once and in the order the worker uses, whatever the request's: nobody waits in a circle.
            lock_by_ids(tx, request.run_ids)
            for run_id in request.run_ids:
                row, _ = find_run(tx, run_id, caller, Permission.UPDATE)
                document = _changed(row.document, request)
                check_lengths({name: document[name] for name in request.add}, self.limits)
                store.save_metadata(tx, row.run_no, label=row.label, document=document)
                if request.cancel:
                    find_run(tx, run_id, caller, Permission.CANCEL)
                    self._advance.cancel(tx, run_id)
            documents = []
            for run_id in request.run_ids:
                changed = store.load_run(tx, run_id)
                assert changed is not None
                documents.append(run_document(changed, roles_on(tx, changed, caller)))
        self._advance.announce()
        return {"runs": documents}


def _changed(document: dict[str, Json], request: BatchRequest) -> dict[str, Json]:
    changed = document | dict(request.replace)
    for name, values in request.add.items():
        changed[name] = list(dict.fromkeys([*changed.get(name, ()), *values]))
    for name, values in request.remove.items():
        changed[name] = [value for value in changed.get(name, ()) if value not in values]
    return changed
