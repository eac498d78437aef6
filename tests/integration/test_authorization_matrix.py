"""Who may call what: every route, every principal, every kind of object, and every signed-in cell again with a token of
the wrong scope. A route without a row fails.

Rows give one answer for each principal, in the order of ``PRINCIPALS``.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from flows_engine import policy
from flows_engine.store.db import SqlDatabase
from schemas.principals import Caller, group_urn
from schemas.scopes import flow_scope
from tests.fakes.authorizer import person
from tests.integration.flows_service import PASS, WAIT, FlowsService
from tests.integration.test_openapi import routes

PRINCIPALS = (
    "anonymous",
    "stranger",
    "flow_viewer",
    "flow_starter",
    "flow_administrator",
    "flow_owner",
    "flow_run_manager",
    "flow_run_monitor",
    "run_owner",
    "run_manager",
    "run_monitor",
)
OWNER, RUN_OWNER = person("flow_owner"), person("run_owner")
#: A UUID for the group of each role: the matrix holds for members of a group that was named, too.
GROUPS = {name: f"{i:08d}-aaaa-4aaa-8aaa-aaaaaaaaaaaa" for i, name in enumerate(PRINCIPALS)}

_MEMBERS = {
    "flow_viewer": "flow_viewers",
    "flow_starter": "flow_starters",
    "flow_administrator": "flow_administrators",
    "flow_run_manager": "run_managers",
    "flow_run_monitor": "run_monitors",
}
ALL = (policy.ALL,)


@dataclass(frozen=True)
class Row:
    """One route on one kind of object. ``scopes`` makes the right token; ``wrong_scope`` is False where none is."""

    name: str
    route: tuple[str, str]
    answers: str
    make: Callable[[World], dict[str, Any]]
    body: Any = None
    per_flow: bool = False
    wrong_scope: bool = True
    hides_scope: bool = False


class World:
    """A service with everybody in it; each cell gets objects of its own."""

    def __init__(self, path: Path, *, by_group: bool) -> None:
        self.service = FlowsService(SqlDatabase(f"sqlite:///{path / 'flows.db'}"))
        self.by_group = by_group

    def caller(self, name: str) -> Caller | None:
        if name == "anonymous":
            return None
        if self.by_group and name in (*_MEMBERS, "run_manager", "run_monitor"):
            return person(f"member of {name}", groups=frozenset({GROUPS[name]}))
        return person(name)

    def principal(self, name: str) -> str:
        return group_urn(GROUPS[name]) if self.by_group else person(name).urn

    def flow(self, definition: Any = PASS, **members: Any) -> dict[str, Any]:
        lists = {member: [self.principal(name)] for name, member in _MEMBERS.items()}
        flow = self.service.create(OWNER, definition, **(lists | members))
        return {"flow_id": flow["id"], "run_id": "00000000-0000-4000-8000-000000000000"}

    def run(self, definition: Any = WAIT) -> dict[str, Any]:
        made = self.flow(definition)
        path = f"/flows/{made['flow_id']}"
        starters = [self.principal("flow_starter"), RUN_OWNER.urn]
        assert self.service.call(OWNER, "PUT", path, {"flow_starters": starters}).status_code == 200
        lists = {"run_managers": [self.principal("run_manager")], "run_monitors": [self.principal("run_monitor")]}
        run = self.service.start(RUN_OWNER, {"id": made["flow_id"]}, **lists)
        # The run's owner keeps the run and loses the flow: the cells are about roles on the run.
        starters = [self.principal("flow_starter")]
        assert self.service.call(OWNER, "PUT", path, {"flow_starters": starters}).status_code == 200
        return made | {"run_id": run["run_id"]}

    def deleted(self) -> dict[str, Any]:
        made = self.flow()
        assert self.service.call(OWNER, "DELETE", f"/flows/{made['flow_id']}").status_code == 200
        return made


def private(world: World) -> dict[str, Any]:
    return world.flow()


def public(world: World) -> dict[str, Any]:
    return world.flow(flow_viewers=["public"])


def startable(world: World) -> dict[str, Any]:
    return world.flow(flow_starters=["all_authenticated_users"])


def deleted(world: World) -> dict[str, Any]:
    return world.deleted()


def active(world: World) -> dict[str, Any]:
    return world.run()


def ended(world: World) -> dict[str, Any]:
    return world.run(PASS)


def others(world: World) -> dict[str, Any]:
    return world.flow()


NEW = {"title": "t", "definition": PASS}
#                          anon str  view star adm  own  f.mg f.mo r.ow r.mg r.mo
FLOW_SEEN = "              401  404  200  200  200  200  200  200  404  404  404"
FLOW_ADMIN = "             401  404  403  403  200  200  403  403  404  404  404"
RUN_SEEN = "               401  404  404  404  200  200  200  200  200  200  200"
RUN_MANAGED = "            401  404  404  404  200  200  200  403  200  200  403"
RUN_RESUMED = "            401  404  404  404  403  403  403  403  200  403  403"
GONE = "                   401  404  404  404  404  404  404  404  404  404  404"
ANYBODY = "                200  200  200  200  200  200  200  200  200  200  200"
SIGNED_IN = "              401  200  200  200  200  200  200  200  200  200  200"

ACTION = "/flows/{flow_id}/{run_id}"
ROWS = [
    Row("list flows", ("GET", "/flows"), ANYBODY, others),
    Row("create", ("POST", "/flows"), SIGNED_IN.replace("200", "201"), others, NEW),
    Row("validate", ("POST", "/flows/validate"), SIGNED_IN, others, {"definition": PASS}),
    Row("see", ("GET", "/flows/{flow_id}"), FLOW_SEEN, private),
    Row("see public", ("GET", "/flows/{flow_id}"), ANYBODY, public),
    Row("see startable", ("GET", "/flows/{flow_id}"), SIGNED_IN, startable),
    Row("see deleted", ("GET", "/flows/{flow_id}"), GONE, deleted),
    Row("change", ("PUT", "/flows/{flow_id}"), FLOW_ADMIN, private, {"title": "new"}),
    Row("change public", ("PUT", "/flows/{flow_id}"),
        "                  401  403  403  403  200  200  403  403  403  403  403", public, {"title": "new"}),
    Row("change deleted", ("PUT", "/flows/{flow_id}"), GONE, deleted, {"title": "new"}),
    Row("give away", ("PUT", "/flows/{flow_id}"),
        "                  401  404  403  403  403  403  403  403  404  404  404",
        private, {"flow_owner": person("heir").urn}),
    Row("delete", ("DELETE", "/flows/{flow_id}"), FLOW_ADMIN, private),
    Row("delete deleted", ("DELETE", "/flows/{flow_id}"), GONE, deleted),
    Row("start", ("POST", "/flows/{flow_id}/run"),
        "                  401  404  403  201  201  201  403  403  404  404  404",
        private, {"body": {}}, per_flow=True),
    Row("start startable", ("POST", "/flows/{flow_id}/run"),
        SIGNED_IN.replace("200", "201"), startable, {"body": {}}, per_flow=True),
    Row("start public", ("POST", "/flows/{flow_id}/run"),
        "                  401  403  403  201  201  201  403  403  403  403  403", public, {"body": {}}, per_flow=True),
    Row("start deleted", ("POST", "/flows/{flow_id}/run"), GONE, deleted, {"body": {}}, per_flow=True),
    Row("validate start", ("POST", "/flows/{flow_id}/validate_run"),
        "                  401  404  403  200  200  200  403  403  404  404  404",
        private, {"body": {}}, per_flow=True),
    Row("runs of a flow", ("GET", "/flows/{flow_id}/runs"), FLOW_SEEN, private),
    Row("list runs", ("GET", "/runs"), SIGNED_IN, active),
    Row("see run", ("GET", "/runs/{run_id}"), RUN_SEEN, active),
    Row("definition", ("GET", "/runs/{run_id}/definition"), RUN_SEEN, active),
    Row("log", ("GET", "/runs/{run_id}/log"), RUN_SEEN, active),
    Row("log of a flow's run", ("GET", "/flows/{flow_id}/runs/{run_id}/log"), RUN_SEEN, active),
    Row("change run", ("PUT", "/runs/{run_id}"), RUN_MANAGED, active, {"label": "new", "run_managers": []}),
    Row("change many", ("POST", "/batch/runs"), RUN_MANAGED.replace("200", "202"), active,
        {"filters": {"run_ids": ["{run_id}"]}, "add": {"tags": ["t"]}}),
    Row("cancel", ("POST", "/runs/{run_id}/cancel"), RUN_MANAGED.replace("200", "202"), active),
    Row("release", ("POST", "/runs/{run_id}/release"), RUN_MANAGED, ended),
    Row("resume", ("POST", "/runs/{run_id}/resume"), RUN_RESUMED, active, per_flow=True, hides_scope=True),
    Row("action status", ("GET", ACTION + "/status"), RUN_SEEN, active, per_flow=True),
    Row("action log", ("GET", ACTION + "/log"), RUN_SEEN, active, per_flow=True),
    Row("action cancel", ("POST", ACTION + "/cancel"), RUN_MANAGED, active, per_flow=True),
    Row("action release", ("POST", ACTION + "/release"), RUN_MANAGED, ended, per_flow=True),
    Row("action resume", ("POST", ACTION + "/resume"), RUN_RESUMED, active, per_flow=True, hides_scope=True),
    Row("description", ("GET", "/openapi.json"), ANYBODY, others, wrong_scope=False),
]  # fmt: skip


@pytest.mark.parametrize("by_group", [False, True], ids=["named", "group member"])
@pytest.mark.parametrize("row", ROWS, ids=lambda row: row.name)
def test_every_principal_gets_the_answer_of_the_matrix(row: Row, by_group: bool, tmp_path: Path) -> None:
    world = World(tmp_path, by_group=by_group)
    method, template = row.route
    wanted, found, unscoped = {}, {}, {}
    for name, answer in zip(PRINCIPALS, row.answers.split(), strict=True):
        made = row.make(world)
        path, body = _filled(template, made), _filled_body(row.body, made)
        caller = world.caller(name)
        scopes = (flow_scope(made["flow_id"]),) if row.per_flow else ALL
        if caller is not None and row.wrong_scope:
            response = world.service.call(caller, method, path, body, scopes=("urn:example:other",))
            unscoped[name] = (response.status_code, response.json["error"]["code"])
        wanted[name] = int(answer)
        found[name] = world.service.call(caller, method, path, body, scopes=scopes).status_code
    assert found == wanted
    for name, answer in unscoped.items():
        hidden = row.hides_scope and wanted[name] == 404
        assert answer == ((404, "NOT_FOUND") if hidden else (403, "MISSING_SCOPE")), name


def test_every_route_has_a_row(tmp_path: Path) -> None:
    world = World(tmp_path, by_group=False)
    assert routes(world.service) == {row.route for row in ROWS}


def test_a_token_for_one_flow_opens_no_other(tmp_path: Path) -> None:
    world = World(tmp_path, by_group=False)
    one, other = world.flow(), world.run()
    scopes = (flow_scope(one["flow_id"]),)
    for method, path in (
        ("POST", f"/flows/{other['flow_id']}/run"),
        ("GET", f"/flows/{other['flow_id']}"),
        ("GET", f"/flows/{other['flow_id']}/{other['run_id']}/status"),
        ("POST", f"/runs/{other['run_id']}/resume"),
        ("GET", f"/runs/{other['run_id']}"),
    ):
        response = world.service.call(OWNER, method, path, {"body": {}} if method == "POST" else None, scopes=scopes)
        assert (response.status_code, response.json["error"]["code"]) == (403, "MISSING_SCOPE"), path


@pytest.mark.parametrize(
    ("scope", "opens"),
    [
        (policy.VIEW_FLOWS, {"GET /flows"}),
        (policy.MANAGE_FLOWS, {"GET /flows", "POST /flows"}),
        (policy.RUN_STATUS, {"GET /runs"}),
        (policy.RUN_MANAGE, {"GET /runs", "POST /batch/runs"}),
        (policy.ALL, {"GET /flows", "POST /flows", "GET /runs", "POST /batch/runs"}),
    ],
)
def test_a_service_scope_opens_its_routes_and_no_others(scope: str, opens: set[str], tmp_path: Path) -> None:
    service = World(tmp_path, by_group=False).service
    bodies = {"POST /flows": NEW, "POST /batch/runs": {"filters": {"run_ids": []}}}
    for route in ("GET /flows", "POST /flows", "GET /runs", "POST /batch/runs"):
        method, path = route.split()
        response = service.call(OWNER, method, path, bodies.get(route), scopes=(scope,))
        assert (response.status_code < 300) is (route in opens), route


def _filled(template: str, made: dict[str, Any]) -> str:
    return template.replace("{flow_id}", made["flow_id"]).replace("{run_id}", made["run_id"])


def _filled_body(body: Any, made: dict[str, Any]) -> Any:
    if body is not None and "filters" in body:
        return body | {"filters": {"run_ids": [made["run_id"]]}}
    return body
