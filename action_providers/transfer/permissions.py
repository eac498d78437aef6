"""The manage_permission provider (older name: set_permission): access rules of a collection.

Only the owner and service administrators manage them. A new rule's id comes from the action's id, so that an action
asked twice makes one rule.
"""

from __future__ import annotations

import uuid
from collections.abc import Mapping
from datetime import datetime
from typing import ClassVar

from schemas.json_text import Json

from ..provider import Action, ActionProvider, Description, Failed, Outcome, Succeeded
from .collections import Collections
from .documents import KEYWORDS, SCOPE, endpoint, path, schema, text
from .faults import Kind, TransferError
from .plan import adapt_operation
from .task import refused

_RULES = uuid.UUID("6f6d9a0e-5b0c-4c55-9d67-2f3f5d4c1b7a")
_REQUIRED = {
    "CREATE": ("path", "principal_type", "permissions"),
    "UPDATE": ("rule_id", "permissions"),
    "DELETE": ("rule_id",),
}


class ManagePermission(ActionProvider):
    description: ClassVar[Description] = Description(
        path="transfer/manage_permission",
        title="Manage permissions",
        subtitle="On a collection",
        description="Creates, updates and deletes access rules of a collection.",
        keywords=KEYWORDS,
        scope=SCOPE,
        synchronous=True,
        input_schema=schema(
            {
                "operation": {"enum": list(_REQUIRED), "description": "What to do"},
                "endpoint_id": endpoint("Collection"),
                "path": path("CREATE: what the rule covers; begins and ends with a slash"),
                "principal_type": {
                    "enum": ["identity", "group", "all_authenticated_users", "anonymous"],
                    "description": "CREATE: whom the rule is for",
                },
                "principal": text("CREATE: UUID of the identity or group, else empty", max_length=256),
                "permissions": {"enum": ["r", "rw"], "description": "CREATE, UPDATE: read, or read and write"},
                "rule_id": text("UPDATE, DELETE: id of the rule, the access_id of its creation", max_length=64),
            },
            ["operation", "endpoint_id"],
            open_ended=True,
        ),
    )

    def __init__(self, collections: Collections) -> None:
        self._collections = collections

    def adapt(self, body: Json) -> Json:
        new = adapt_operation(body)
        if isinstance(new, dict) and isinstance(new.get("operation"), str):
            new["operation"] = new["operation"].upper()
        return new

    def run(self, action: Action, now: datetime) -> Outcome:  # noqa: ARG002 # the contract gives it
        body = action.body
        try:
            self._require_owner(action)
            _require_members(body)
            return Succeeded(self._manage(body, action.action_id))
        except TransferError as fault:
            return Failed(refused(fault, endpoint=body["endpoint_id"]))

    def _manage(self, body: Mapping[str, Json], action_id: str) -> dict[str, Json]:
        collection_id, operation = body["endpoint_id"], body["operation"]
        answer: dict[str, Json] = {"request_id": action_id, "resource": f"/endpoint/{collection_id}/access"}
        if operation == "CREATE":
            rule = self._collections.add_rule(
                collection_id,
                path=body["path"],
                principal_type=body["principal_type"],
                principal=body.get("principal", ""),
                permissions=body["permissions"],
                rule_id=str(uuid.uuid5(_RULES, action_id)),
            )
            message = "Access rule created successfully."
            return answer | {
                "DATA_TYPE": "access_create_result",
                "code": "Created",
                "access_id": rule.rule_id,
                "message": message,
            }
        rule_id = body["rule_id"]
        answer |= {"DATA_TYPE": "result", "access_id": rule_id, "resource": f"{answer['resource']}/{rule_id}"}
        if operation == "UPDATE":
            self._collections.update_rule(collection_id, rule_id, body["permissions"])
            return answer | {"code": "Updated", "message": f"Access rule '{rule_id}' updated successfully."}
        self._collections.delete_rule(collection_id, rule_id, deleted_by=action_id)
        return answer | {"code": "Deleted", "message": f"Access rule '{rule_id}' deleted successfully."}

    def _require_owner(self, action: Action) -> None:
        access = self._collections.access(action.caller, action.body["endpoint_id"])
        if not access.is_owner:
            raise TransferError(
                Kind.DENIED,
                f"only the owner of the collection {access.collection.display_name!r} and service administrators may "
                "manage its permissions",
            )


def _require_members(body: Mapping[str, Json]) -> None:
    for member in _REQUIRED[body["operation"]]:
        if member not in body:
            raise TransferError(Kind.BAD_REQUEST, f"{body['operation']} needs {member!r}")
