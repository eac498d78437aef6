"""Documents of flows and runs as one viewer sees them. Rows and roles in, JSON out; nothing is read here.

What a viewer may not see is left empty rather than left out: lists are ``[]`` and never null, because official clients
read them without asking. Private parameters leave a definition unless the viewer administers the flow.
"""

from __future__ import annotations

from collections.abc import Sequence

from schemas.json_text import Json
from schemas.principals import identity_urn
from schemas.times import format_time

from .. import policy
from ..asl.private import redact_definition
from ..policy import Permission
from ..store.flows import ROLE_LISTS, FlowRow, FlowVersion
from ..store.run_views import RunRow

#: Roles on a flow that ``user_roles`` spells differently from the role lists.
_SHOWN_FLOW_ROLES = {"run_manager": "flow_run_manager", "run_monitor": "flow_run_monitor"}


def flow_document(row: FlowRow, version: FlowVersion, roles: Sequence[str], base_url: str) -> dict[str, Json]:
    """The flow as somebody with these roles sees it. ``base_url`` is the service's, without a slash at the end."""
    private = policy.may_on_flow(roles, Permission.VIEW_PRIVATE)
    url = f"{base_url}/flows/{row.flow_id}"
    shown = [role for role in roles if role in policy.FLOW_ROLES]
    lists = {member: list(row.document[member]) if private else [] for member in ROLE_LISTS}
    return {
        "id": row.flow_id,
        "title": row.title,
        "subtitle": row.document["subtitle"],
        "description": row.document["description"],
        "keywords": list(row.document["keywords"]),
        "definition": version.definition if private else redact_definition(version.definition),
        "input_schema": version.input_schema,
        "flow_owner": row.flow_owner,
        "created_by": row.document["created_by"],
        **lists,
        "visible_to": [],
        "runnable_by": [],
        "administered_by": [],
        "user_role": shown[0] if shown else None,
        "user_roles": [_SHOWN_FLOW_ROLES.get(role, role) for role in shown],
        "created_at": format_time(row.created_at),
        "updated_at": format_time(row.updated_at),
        "globus_auth_scope": row.scope_string,
        "globus_auth_scopes_by_RunAs": {"User": row.scope_string},
        "globus_auth_username": f"{row.flow_id}@clients.auth.globus.org",
        "principal_urn": identity_urn(row.flow_id),
        "flow_url": url,
        "action_url": url,
        "api_version": "1.0",
        "types": ["Action"],
        "synchronous": False,
        "log_supported": True,
        "subscription_id": row.document["subscription_id"],
        "authentication_policy_id": None,
        "is_high_assurance": False,
    }


def deleted_flow_document(document: dict[str, Json], row: FlowRow) -> dict[str, Json]:
    """The last document of a flow that was just deleted."""
    assert row.deleted_at is not None
    return document | {
        **{member: [] for member in ROLE_LISTS},
        "input_schema": {},
        "DELETED": True,
        "deleted_at": format_time(row.deleted_at),
        "updated_at": format_time(row.updated_at),
    }


def flow_description(row: FlowRow) -> dict[str, Json]:
    """What ``include_flow_description`` adds to a run; of a deleted flow, too."""
    return {
        "id": row.flow_id,
        "title": row.title,
        "subtitle": row.document["subtitle"],
        "description": row.document["description"],
        "keywords": list(row.document["keywords"]),
        "flow_owner": row.flow_owner,
        "created_by": row.document["created_by"],
        "created_at": format_time(row.created_at),
        "updated_at": format_time(row.updated_at),
        "globus_auth_scope": row.scope_string,
        "deleted_at": None if row.deleted_at is None else format_time(row.deleted_at),
    }


def run_document(row: RunRow, roles: Sequence[str]) -> dict[str, Json]:
    """The run as somebody with these roles on it sees it."""
    private = policy.may_on_run(roles, Permission.VIEW_PRIVATE)
    shown = [role for role in roles if role in policy.RUN_ROLES]
    managers = list(row.document.get("run_managers", ())) if private else []
    monitors = list(row.document.get("run_monitors", ())) if private else []
    return {
        "run_id": row.run_id,
        "action_id": row.run_id,
        "flow_id": row.flow_id,
        "flow_title": row.flow_title,
        "flow_last_updated": format_time(row.flow_updated_at),
        "start_time": format_time(row.start_time),
        "completion_time": None if row.completion_time is None else format_time(row.completion_time),
        "status": row.status.value,
        "display_status": row.status.value,
        "details": _details(row, roles),
        "label": row.label,
        "tags": list(row.document.get("tags", ())),
        "run_owner": row.run_owner,
        "created_by": row.run_owner,
        "run_managers": managers,
        "run_monitors": monitors,
        "manage_by": list(managers),
        "monitor_by": list(monitors),
        "user_role": shown[0] if shown else None,
        "user_roles": shown,
        "activity_notification_policy": row.document.get("activity_notification_policy", {"status": ["INACTIVE"]}),
        "blocking_web_input_id": row.document.get("blocking_web_input_id"),
    }


def run_definition(row: RunRow, version: FlowVersion, flow_roles: Sequence[str]) -> dict[str, Json]:
    """The definition and input schema that a run started with."""
    private = policy.may_on_flow(flow_roles, Permission.VIEW_PRIVATE)
    return {
        "flow_id": row.flow_id,
        "definition": version.definition if private else redact_definition(version.definition),
        "input_schema": version.input_schema,
    }


def _details(row: RunRow, roles: Sequence[str]) -> Json:
    """Values of the run are for those who may read it; others learn only what happened."""
    if policy.may_on_run(roles, Permission.VIEW_CONTENTS):
        return row.details
    return {key: row.details[key] for key in ("code", "description", "time") if key in row.details}
