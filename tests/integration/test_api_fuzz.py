"""Generated requests against the whole API: no 5xx, and every answer as its description says.

Two callers: nobody, and somebody who owns a flow with an active and an ended run whose ids the generator is given.
"""

from __future__ import annotations

import tempfile
from typing import Any

import schemathesis
from hypothesis import HealthCheck, settings
from schemathesis.checks import CHECKS, load_all_checks

from flows_engine import policy
from flows_engine.store.db import SqlDatabase
from schemas.scopes import flow_scope
from tests.fakes.authorizer import person
from tests.integration.flows_service import PASS, WAIT, FlowsService

load_all_checks()

#: A body can be right by its description and wrong by its meaning (a definition, a marker, a time).
_NOT_APPLICABLE = {"positive_data_acceptance"}
_CHECKS = [check for check in CHECKS.get_all() if check.__name__ not in _NOT_APPLICABLE]

#: Operations after which the known ids are gone: they come last.
_ENDING = ["delete_flow", "release_run", "release_action"]

OWNER = person("owner")
DIRECTORY = tempfile.TemporaryDirectory()


def _service() -> tuple[FlowsService, dict[str, Any]]:
    service = FlowsService(SqlDatabase(f"sqlite:///{DIRECTORY.name}/flows.db"))
    flow = service.create(OWNER, WAIT, flow_viewers=["public"])
    known = {"flow_id": flow["id"], "run_id": service.start(OWNER, flow)["run_id"]}
    service.start(OWNER, service.create(OWNER, PASS), label="ended")
    return service, known


SERVICE, KNOWN = _service()
TOKEN = SERVICE.authorizer.token(OWNER, (policy.ALL, flow_scope(KNOWN["flow_id"])))
BOUNDED = settings(
    max_examples=12, deadline=None, derandomize=True, suppress_health_check=list(HealthCheck), database=None
)


def _schema() -> Any:
    """The API's description, with the ids of what exists as the right values of path parameters."""
    schema = schemathesis.openapi.from_wsgi("/flows/openapi.json", SERVICE.app)
    for name, value in KNOWN.items():
        schema.raw_schema["components"]["parameters"][name]["schema"] = {"enum": [value]}
    return schema


for_nobody, for_owner = _schema(), _schema()


@for_owner.auth()
class _OwnersToken:
    def get(self, case: schemathesis.Case, context: Any) -> str:
        return TOKEN

    def set(self, case: schemathesis.Case, data: str, context: Any) -> None:
        case.headers["Authorization"] = f"Bearer {data}"


@for_nobody.parametrize()
@BOUNDED
def test_nobody_gets_only_described_answers(case: schemathesis.Case) -> None:
    case.call_and_validate(checks=_CHECKS)


@for_owner.exclude(operation_id=_ENDING).parametrize()
@BOUNDED
def test_an_owner_gets_only_described_answers(case: schemathesis.Case) -> None:
    case.call_and_validate(checks=_CHECKS)


@for_owner.include(operation_id=_ENDING).parametrize()
@BOUNDED
def test_an_owner_who_removes_things_gets_only_described_answers(case: schemathesis.Case) -> None:
    case.call_and_validate(checks=_CHECKS)
