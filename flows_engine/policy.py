"""Who may do what to flows and runs: pure functions of the granted roles, the caller and the token's scopes.

A grant is ``(role, principal)`` as the role tables hold it. Roles come from grants alone, never from the token; what
the token allows is a second, separate question (``*_SCOPES``). No I/O.
Source of the matrix: the permissions page of the Globus Flows documentation.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from enum import StrEnum
from typing import Final

from schemas.principals import ALL_AUTHENTICATED_USERS, PUBLIC, Caller

FLOWS_CLIENT_ID: Final = "eec9b274-0c81-4334-bdc2-54e90e689b9a"
_SERVICE: Final = f"https://auth.globus.org/scopes/{FLOWS_CLIENT_ID}"
ALL: Final = f"{_SERVICE}/all"
MANAGE_FLOWS: Final = f"{_SERVICE}/manage_flows"
VIEW_FLOWS: Final = f"{_SERVICE}/view_flows"
RUN_STATUS: Final = f"{_SERVICE}/run_status"
RUN_MANAGE: Final = f"{_SERVICE}/run_manage"

#: Any one scope of the tuple is enough; the last one is the narrowest and the one an error names.
VIEW_FLOWS_SCOPES: Final = (ALL, MANAGE_FLOWS, VIEW_FLOWS)
MANAGE_FLOWS_SCOPES: Final = (ALL, MANAGE_FLOWS)
READ_RUNS_SCOPES: Final = (ALL, RUN_MANAGE, RUN_STATUS)
MANAGE_RUNS_SCOPES: Final = (ALL, RUN_MANAGE)

Grant = tuple[str, str]


class Permission(StrEnum):
    """What an error's "Missing permissions" names."""

    VIEW = "VIEW"
    VIEW_PRIVATE = "VIEW_PRIVATE"
    RUN = "RUN"
    UPDATE = "UPDATE"
    DELETE = "DELETE"
    VIEW_CONTENTS = "VIEW_CONTENTS"
    CANCEL = "CANCEL"
    RELEASE = "RELEASE"
    RESUME = "RESUME"


SERVICE_ADMINISTRATOR: Final = "service_administrator"

#: Roles on a flow, highest first: the order in which ``user_roles`` shows them.
FLOW_ROLES: Final = (
    "flow_owner",
    "flow_administrator",
    "flow_starter",
    "flow_viewer",
    "run_manager",
    "run_monitor",
)
#: Roles on a run, highest first. The last two follow from roles on the run's flow.
RUN_ROLES: Final = ("run_owner", "run_manager", "run_monitor", "flow_run_manager", "flow_run_monitor")

#: Roles on a flow that make their holder a manager, or a monitor, of all its runs.
FLOW_RUN_MANAGER_ROLES: Final = ("flow_owner", "flow_administrator", "run_manager")
FLOW_RUN_MONITOR_ROLES: Final = ("run_monitor",)

_VIEWER = frozenset({Permission.VIEW})
_STARTER = _VIEWER | {Permission.RUN}
_ADMINISTRATOR = _STARTER | {Permission.VIEW_PRIVATE, Permission.UPDATE, Permission.DELETE}

_FLOW_PERMISSIONS: Mapping[str, frozenset[Permission]] = {
    "flow_owner": _ADMINISTRATOR,
    "flow_administrator": _ADMINISTRATOR,
    "flow_starter": _STARTER,
    "flow_viewer": _VIEWER,
    "run_manager": _VIEWER,
    "run_monitor": _VIEWER,
    SERVICE_ADMINISTRATOR: _VIEWER,
}

_RUN_MONITOR = frozenset({Permission.VIEW, Permission.VIEW_CONTENTS})
_RUN_MANAGER = _RUN_MONITOR | {
    Permission.VIEW_PRIVATE,
    Permission.UPDATE,
    Permission.CANCEL,
    Permission.RELEASE,
}

#: Only the owner resumes: the run goes on with that person's tokens. A service administrator sees that a run exists
#: and can stop it; its input, output and log are not theirs to read.
_RUN_PERMISSIONS: Mapping[str, frozenset[Permission]] = {
    "run_owner": _RUN_MANAGER | {Permission.RESUME},
    "run_manager": _RUN_MANAGER,
    "flow_run_manager": _RUN_MANAGER,
    "run_monitor": _RUN_MONITOR,
    "flow_run_monitor": _RUN_MONITOR,
    SERVICE_ADMINISTRATOR: frozenset({Permission.VIEW, Permission.CANCEL}),
}


def has_scope(caller: Caller, allowed: Iterable[str]) -> bool:
    """A scope string names its resource server, so the token's audience adds nothing to this check."""
    return not caller.scopes.isdisjoint(allowed)


def principals_of(caller: Caller | None) -> frozenset[str]:
    """Everything in role lists that means this caller; ``None`` is somebody without a token."""
    if caller is None:
        return frozenset({PUBLIC})
    return caller.principals | {PUBLIC, ALL_AUTHENTICATED_USERS}


def flow_roles(grants: Iterable[Grant], caller: Caller | None) -> tuple[str, ...]:
    """The caller's roles on a flow with these grants, highest first."""
    mine = principals_of(caller)
    held = {role for role, principal in grants if principal in mine}
    return _ordered(FLOW_ROLES, held, caller)


def run_roles(run_grants: Iterable[Grant], flow_grants: Iterable[Grant], caller: Caller) -> tuple[str, ...]:
    """The caller's roles on a run: granted on the run itself, or following from roles on its flow."""
    mine = caller.principals
    held = {role for role, principal in run_grants if principal in mine}
    on_flow = {role for role, principal in flow_grants if principal in mine}
    if not on_flow.isdisjoint(FLOW_RUN_MANAGER_ROLES):
        held.add("flow_run_manager")
    if not on_flow.isdisjoint(FLOW_RUN_MONITOR_ROLES):
        held.add("flow_run_monitor")
    return _ordered(RUN_ROLES, held, caller)


def may_on_flow(roles: Iterable[str], permission: Permission) -> bool:
    return any(permission in _FLOW_PERMISSIONS[role] for role in roles)


def may_on_run(roles: Iterable[str], permission: Permission) -> bool:
    return any(permission in _RUN_PERMISSIONS[role] for role in roles)


def _ordered(order: tuple[str, ...], held: set[str], caller: Caller | None) -> tuple[str, ...]:
    roles = tuple(role for role in order if role in held)
    if caller is not None and caller.is_service_administrator:
        return (*roles, SERVICE_ADMINISTRATOR)
    return roles
