"""The mkdir and collection_info providers.

mkdir notes that it is about to make a directory before it does: asked again after a crash, the same action knows the
directory that is there as its own.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import ClassVar

from schemas.json_text import Json
from schemas.principals import identity_of

from ..provider import Action, ActionProvider, Description, Failed, Outcome, Succeeded
from .access import Access
from .collections import Collections
from .documents import KEYWORDS, SCOPE, endpoint, path, schema
from .faults import Kind, TransferError
from .paths import Parts, parse, show, show_directory
from .plan import adapt_operation
from .task import refused
from .tree import Tree


class MakeDirectory(ActionProvider):
    description: ClassVar[Description] = Description(
        path="transfer/mkdir",
        title="Make a directory",
        subtitle="On a collection",
        description="Makes one directory; the directory it is made in must exist.",
        keywords=KEYWORDS,
        scope=SCOPE,
        synchronous=True,
        input_schema=schema(
            {"endpoint_id": endpoint("Collection"), "path": path("Directory to make")},
            ["endpoint_id", "path"],
            open_ended=True,
        ),
    )

    def __init__(self, collections: Collections) -> None:
        self._collections = collections

    def adapt(self, body: Json) -> Json:
        return adapt_operation(body)

    def run(self, action: Action, now: datetime) -> Outcome:  # noqa: ARG002 # the contract gives it
        body = action.body
        try:
            place = parse(body["path"])
            with self._collections.open(action.caller, body["endpoint_id"]) as tree:
                self._make(tree, place, action.action_id)
        except TransferError as fault:
            return Failed(_mkdir_refused(fault, body))
        resource = f"/operation/endpoint/{body['endpoint_id']}/mkdir"
        return Succeeded(
            {
                "DATA_TYPE": "mkdir_result",
                "code": "DirectoryCreated",
                "message": "The directory was created successfully",
                "request_id": action.action_id,
                "resource": resource,
                "path": show_directory(place),
            }
        )

    def _make(self, tree: Tree, place: Parts, action_id: str) -> None:
        with tree.place(place, "rw", follow=False) as (parent, name):
            there = parent.find(name)
            ours = self._collections.intended_directory(action_id)
            if there is not None and ours and there.is_directory:
                return
            if there is not None:
                what = "directory" if there.is_directory else "file"
                raise TransferError(Kind.EXISTS, f"{show(place)} exists already, as a {what}; choose another name")
            if not ours:
                self._collections.intend_directory(action_id)
            parent.make(name)
            parent.sync()


class CollectionInfo(ActionProvider):
    description: ClassVar[Description] = Description(
        path="transfer/collection_info",
        title="Describe a collection",
        subtitle="As the Transfer service does",
        description="Answers the endpoint document of a collection.",
        keywords=KEYWORDS,
        scope=SCOPE,
        synchronous=True,
        input_schema=schema({"endpoint_id": endpoint("Collection to describe")}, ["endpoint_id"], open_ended=True),
    )

    def __init__(self, collections: Collections) -> None:
        self._collections = collections

    def adapt(self, body: Json) -> Json:
        return adapt_operation(body)

    def run(self, action: Action, now: datetime) -> Outcome:  # noqa: ARG002 # the contract gives it
        try:
            access = self._collections.access(action.caller, action.body["endpoint_id"])
        except TransferError as fault:
            return Failed(refused(fault, endpoint=action.body["endpoint_id"]))
        return Succeeded(endpoint_document(access))


def endpoint_document(access: Access) -> dict[str, Json]:
    """The collection as Transfer's endpoint document, for the caller of ``access``.

    It is shown as a GCP mapped collection, for which official clients ask no further consent. Where the directory
    lies on this machine is not shown.
    """
    collection = access.collection
    absent = (
        "organization department keywords contact_email contact_info info_link subscription_id gcs_manager_url "
        "gcs_version tlsftp_server https_server host_endpoint_id host_path mapped_collection_id user_message "
        "user_message_link authentication_timeout_mins globus_connect_setup_key expire_time"
    )
    return {
        **dict.fromkeys(absent.split()),
        "DATA_TYPE": "endpoint",
        "id": collection.collection_id,
        "entity_type": "GCP_mapped_collection",
        "display_name": collection.display_name,
        "canonical_name": collection.display_name,
        "name": collection.display_name,
        "description": collection.description,
        "owner_id": identity_of(collection.owner_urn),
        "owner_string": collection.owner_urn,
        "username": collection.owner_urn,
        "public": collection.public,
        "default_directory": "/",
        "force_encryption": False,
        "disable_verify": False,
        "force_verify": False,
        "high_assurance": False,
        "mfa_required": False,
        "acl_available": True,
        "acl_editable": access.is_owner,
        "shareable": False,
        "is_managed": False,
        "is_globus_connect": True,
        "gcp_connected": True,
        "gcp_paused": False,
        "non_functional": False,
        "local_user_info_available": False,
        "in_use": False,
        "activated": True,
        "expires_in": -1,
        "storage_type": "POSIX",
        "my_effective_roles": ["administrator"] if access.is_owner else [],
        "DATA": [],
    }


def _mkdir_refused(fault: TransferError, body: Mapping[str, Json]) -> dict[str, Json]:
    details = refused(fault, endpoint=body["endpoint_id"], path=body["path"])
    if fault.kind is Kind.EXISTS:
        details["code"] = "ExternalError.MkdirFailed.Exists"
    if fault.kind is Kind.MISSING:
        details["description"] = f"{fault.description}: the directory to make one in must exist"
    return details
