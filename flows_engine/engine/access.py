"""Finding what a request names, as far as its caller may: token scope, then visibility, then permission.

The order is the same everywhere, so that an answer never tells more than the caller may know: 403 MISSING_SCOPE, then
404 for what is absent and for what is invisible alike, then 403 FORBIDDEN.
"""

from __future__ import annotations

from sqlalchemy import Connection

from schemas.errors import Forbidden, NotFound, ServiceError
from schemas.principals import Caller, normal_uuid

from .. import policy
from ..policy import Permission
from ..store import flows as stored_flows
from ..store import run_views as stored_runs
from ..store.flows import FlowRow
from ..store.run_views import RunRow


def require_scope(caller: Caller | None, allowed: tuple[str, ...]) -> None:
    """Refuse a token that does not carry one of the scopes. Nobody without a token comes here but to read."""
    if caller is not None and not policy.has_scope(caller, allowed):
        raise ServiceError(403, "MISSING_SCOPE", f"This action requires the following scope: {allowed[-1]}")


def known_uuid(kind: str, identifier: str) -> str:
    """The identifier in its one spelling; what is not a UUID names nothing."""
    normal = normal_uuid(identifier)
    if normal is None:
        raise NotFound(kind, identifier[:64])
    return normal


def find_flow(
    tx: Connection, flow_id: str, caller: Caller | None, permission: Permission, *, for_update: bool = False
) -> tuple[FlowRow, tuple[str, ...]]:
    """The flow and the caller's roles on it.

    Raises:
        ServiceError: 401 for a caller without a token, else 404 when the flow cannot be seen, 403 when that is all.
    """
    row = stored_flows.load_flow(tx, flow_id, for_update=for_update)
    roles: tuple[str, ...] = ()
    if row is not None and row.deleted_at is None:
        roles = policy.flow_roles(stored_flows.grants_of(tx, row.flow_no), caller)
    if row is None or not policy.may_on_flow(roles, Permission.VIEW):
        if caller is None:
            raise ServiceError(
                401,
                "AUTHENTICATION_ERROR",
                "This flow is not public, or does not exist: send a bearer token",
                headers={"WWW-Authenticate": "Bearer"},
            )
        raise NotFound("Flow", flow_id)
    if not policy.may_on_flow(roles, permission):
        raise Forbidden("flow", flow_id, permission.value)
    return row, roles


def roles_on(tx: Connection, row: RunRow, caller: Caller) -> tuple[str, ...]:
    """The caller's roles on the run, those that follow from its flow included."""
    return policy.run_roles(stored_runs.grants_of(tx, row.run_no), stored_flows.grants_of(tx, row.flow_no), caller)


def find_run(
    tx: Connection,
    run_id: str,
    caller: Caller,
    permission: Permission,
    *,
    flow_id: str | None = None,
    for_update: bool = False,
) -> tuple[RunRow, tuple[str, ...]]:
    """The run, of the flow if one is named, and the caller's roles on it.

    Raises:
        ServiceError: 404 when the run cannot be seen, 403 when that is all the caller may do.
    """
    row = stored_runs.load_run(tx, run_id, for_update=for_update)
    if row is None or (flow_id is not None and row.flow_id != flow_id.lower()):
        raise NotFound("Run", run_id)
    roles = roles_on(tx, row, caller)
    if not policy.may_on_run(roles, Permission.VIEW):
        raise NotFound("Run", run_id)
    require_permission(roles, row, permission)
    return row, roles


def require_permission(roles: tuple[str, ...], row: RunRow, permission: Permission) -> None:
    if not policy.may_on_run(roles, permission):
        raise Forbidden("run", row.run_id, permission.value)
