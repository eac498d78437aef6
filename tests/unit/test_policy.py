"""Roles and permissions as pure functions: the published matrix, cell by cell."""

from __future__ import annotations

import pytest

from flows_engine import policy
from flows_engine.policy import Permission
from schemas.principals import Caller, group_urn, identity_urn
from schemas.scopes import flow_scope

ME, LINKED, GROUP = (f"0000000{i}-0000-4000-8000-000000000000" for i in range(3))
CALLER = Caller(identity_id=ME, username="me", identities=frozenset({LINKED}), groups=frozenset({GROUP}))
SOMEBODY = identity_urn("00000009-0000-4000-8000-000000000000")

SEE, PRIVATE, RUN, UPDATE, DELETE = (
    Permission.VIEW,
    Permission.VIEW_PRIVATE,
    Permission.RUN,
    Permission.UPDATE,
    Permission.DELETE,
)
CONTENTS, CANCEL, RELEASE, RESUME = (
    Permission.VIEW_CONTENTS,
    Permission.CANCEL,
    Permission.RELEASE,
    Permission.RESUME,
)


@pytest.mark.parametrize(
    ("role", "allowed"),
    [
        ("flow_viewer", {SEE}),
        ("flow_starter", {SEE, RUN}),
        ("flow_administrator", {SEE, PRIVATE, RUN, UPDATE, DELETE}),
        ("flow_owner", {SEE, PRIVATE, RUN, UPDATE, DELETE}),
        ("run_manager", {SEE}),
        ("run_monitor", {SEE}),
        (policy.SERVICE_ADMINISTRATOR, {SEE}),
    ],
)
def test_a_role_on_a_flow_permits_what_the_matrix_says(role: str, allowed: set[Permission]) -> None:
    assert {one for one in Permission if policy.may_on_flow([role], one)} == allowed


@pytest.mark.parametrize(
    ("role", "allowed"),
    [
        ("run_owner", {SEE, PRIVATE, CONTENTS, UPDATE, CANCEL, RELEASE, RESUME}),
        ("run_manager", {SEE, PRIVATE, CONTENTS, UPDATE, CANCEL, RELEASE}),
        ("flow_run_manager", {SEE, PRIVATE, CONTENTS, UPDATE, CANCEL, RELEASE}),
        ("run_monitor", {SEE, CONTENTS}),
        ("flow_run_monitor", {SEE, CONTENTS}),
        (policy.SERVICE_ADMINISTRATOR, {SEE, CANCEL}),
    ],
)
def test_a_role_on_a_run_permits_what_the_matrix_says(role: str, allowed: set[Permission]) -> None:
    assert {one for one in Permission if policy.may_on_run([role], one)} == allowed


@pytest.mark.parametrize("principal", [CALLER.urn, identity_urn(LINKED), group_urn(GROUP)])
def test_a_caller_answers_to_own_and_linked_identities_and_to_groups(principal: str) -> None:
    assert policy.flow_roles([("flow_viewer", principal)], CALLER) == ("flow_viewer",)
    assert policy.run_roles([("run_monitor", principal)], [], CALLER) == ("run_monitor",)


@pytest.mark.parametrize(
    ("principal", "signed_in", "anonymous"),
    [("public", True, True), ("all_authenticated_users", True, False), (SOMEBODY, False, False)],
)
def test_special_principals_mean_everybody_or_everybody_signed_in(
    principal: str, signed_in: bool, anonymous: bool
) -> None:
    grants = [("flow_viewer", principal)]
    assert bool(policy.flow_roles(grants, CALLER)) is signed_in
    assert bool(policy.flow_roles(grants, None)) is anonymous


@pytest.mark.parametrize(
    ("on_flow", "on_run"),
    [
        ("flow_owner", ("flow_run_manager",)),
        ("flow_administrator", ("flow_run_manager",)),
        ("run_manager", ("flow_run_manager",)),
        ("run_monitor", ("flow_run_monitor",)),
        ("flow_starter", ()),
        ("flow_viewer", ()),
    ],
)
def test_roles_on_a_flow_reach_its_runs(on_flow: str, on_run: tuple[str, ...]) -> None:
    assert policy.run_roles([], [(on_flow, CALLER.urn)], CALLER) == on_run


def test_open_flows_do_not_open_their_runs() -> None:
    grants = [("run_monitor", "public"), ("run_manager", "all_authenticated_users")]
    assert policy.run_roles(grants, grants, CALLER) == ()


def test_roles_are_shown_highest_first() -> None:
    grants = [(role, CALLER.urn) for role in sorted(policy.FLOW_ROLES)]
    assert policy.flow_roles(grants, CALLER) == policy.FLOW_ROLES


def test_a_flow_scope_is_what_official_clients_build() -> None:
    flow_id = "01234567-89ab-4cde-8f01-23456789abcd"
    expected = "https://auth.globus.org/scopes/01234567-89ab-4cde-8f01-23456789abcd/"
    assert flow_scope(flow_id) == expected + "flow_01234567_89ab_4cde_8f01_23456789abcd_user"
