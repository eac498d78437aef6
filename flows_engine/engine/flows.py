"""Use cases of flows: create, show, list, change, delete, validate. One method, one transaction.

Checking a definition costs time and asking providers for their scopes waits for the network, so both happen before the
transaction begins; what decides (roles, the version that is there) is read again inside it.
Order of refusals: scope of the token, is it visible (404), may the caller (403), is the body right (422).
"""

from __future__ import annotations

import uuid
from collections.abc import Callable
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import Connection

from schemas.errors import ServiceError, StateConflict
from schemas.json_text import Json
from schemas.ports import Clock, Database
from schemas.principals import Caller
from schemas.scopes import flow_scope
from schemas.times import format_time

from .. import policy
from ..asl import analysis
from ..asl.dialects import UNION, Dialect
from ..asl.input_schema import check_schema
from ..asl.validate import validate
from ..policy import Permission
from ..store import flows as store
from ..store.flows import ROLE_LISTS, FlowRow, FlowVersion
from .access import find_flow, known_uuid, require_scope
from .documents import deleted_flow_document, flow_document
from .limits import Limits
from .metadata import Body
from .queries import Arguments, flow_query

_METADATA = ("title", "subtitle", "description", "keywords", "subscription_id", "authentication_policy_id")
_CREATE_MEMBERS = frozenset({"definition", "input_schema", *_METADATA, *ROLE_LISTS})
_UPDATE_MEMBERS = _CREATE_MEMBERS | {"flow_owner"}
_VALIDATE_MEMBERS = frozenset({"definition", "input_schema"})

_MAX_TITLE_CHARS = 128
_MAX_DESCRIPTION_CHARS = 4_096
_MAX_KEYWORD_CHARS = 1_024


class Flows:
    """``scope_of(url)`` asks an action provider for its scope: it raises 409 SCOPE_RESOLUTION_FAILED when the provider
    answers wrongly and returns "" when it cannot be reached. ``base_url`` is how others reach this service.
    ``introduce(tx, flow_id, title, now)`` makes the identity known that states with RunAs ``Flow`` act as."""

    def __init__(
        self,
        *,
        database: Database,
        clock: Clock,
        base_url: str,
        scope_of: Callable[[str], str],
        dialect: Dialect = UNION,
        allow_http: bool = False,
        limits: Limits | None = None,
        introduce: Callable[[Connection, str, str, datetime], object] = lambda *_flow: None,
    ) -> None:
        self._database = database
        self._clock = clock
        self._base_url = base_url.rstrip("/")
        self._scope_of = scope_of
        self._dialect = dialect
        self._allow_http = allow_http
        self._introduce = introduce
        self.limits = limits or Limits()

    def list(self, caller: Caller | None, arguments: Arguments) -> dict[str, Json]:
        """One page of the flows that the caller sees: named in a role, in a group that is, or open to them."""
        require_scope(caller, policy.VIEW_FLOWS_SCOPES)
        query = flow_query(arguments, caller, self.limits)
        with self._database.read() as tx:
            rows, key = store.list_flows(tx, query.filter, query.page)
            versions = store.load_versions(tx, [row.version_no for row in rows])
            grants = store.grants_of_many(tx, [row.flow_no for row in rows])
        documents = [
            flow_document(row, versions[row.version_no], policy.flow_roles(grants[row.flow_no], caller), self._base_url)
            for row in rows
        ]
        marker = query.marker(key)
        return {"flows": documents, "limit": len(documents), "has_next_page": marker is not None, "marker": marker}

    def create(self, caller: Caller, body: Json) -> dict[str, Json]:
        """Publish a flow; the caller becomes its owner. Returns the flow document."""
        require_scope(caller, policy.MANAGE_FLOWS_SCOPES)
        members = Body(body, _CREATE_MEMBERS)
        members.require("title")
        document = self._metadata(members, _EMPTY)
        document["created_by"] = caller.urn
        title = members.text("title", least=1, most=_MAX_TITLE_CHARS)
        version = self._version(members, None)
        members.check()
        assert title is not None
        assert version is not None
        document["scopes"] = self._scopes(version.definition)
        flow_id, now = str(uuid.uuid4()), self._clock.now()
        row = FlowRow(
            flow_no=0,
            flow_id=flow_id,
            version_no=0,
            title=title,
            flow_owner=caller.urn,
            scope_string=flow_scope(flow_id),
            document=document,
            created_at=now,
            updated_at=now,
        )
        with self._database.begin() as tx:
            row = replace(row, version_no=store.add_version(tx, flow_id, version, now))
            row = replace(row, flow_no=store.add_flow(tx, row))
            self._introduce(tx, flow_id, title, now)
            return self._show(tx, row, version, caller)

    def get(self, caller: Caller | None, flow_id: str) -> dict[str, Json]:
        """One flow. Without a token only a public flow is shown; its own scope is enough to see a flow."""
        flow_id = known_uuid("Flow", flow_id)
        require_scope(caller, (*policy.VIEW_FLOWS_SCOPES, flow_scope(flow_id)))
        with self._database.read() as tx:
            row, _ = find_flow(tx, flow_id, caller, Permission.VIEW)
            return self._show(tx, row, store.load_version(tx, row.version_no), caller)

    def update(self, caller: Caller, flow_id: str, body: Json, *, if_match: str | None = None) -> dict[str, Json]:
        """Change the members that are given; runs go on with the definition they started with.

        ``if_match`` is the ``updated_at`` that the caller believes the flow to have.
        """
        require_scope(caller, policy.MANAGE_FLOWS_SCOPES)
        flow_id = known_uuid("Flow", flow_id)
        with self._database.read() as tx:
            row, _ = find_flow(tx, flow_id, caller, Permission.UPDATE)
            checked_against = row.version_no
            before = store.load_version(tx, row.version_no)
        members = Body(body, _UPDATE_MEMBERS)
        version = self._version(members, before)
        title = members.text("title", least=1, most=_MAX_TITLE_CHARS)
        self._metadata(members, row.document)
        _check_owner(members, caller)
        members.check()
        scopes = self._scopes(version.definition) if version is not None else None
        with self._database.begin() as tx:
            row, _ = find_flow(tx, flow_id, caller, Permission.UPDATE, for_update=True)
            if if_match is not None and if_match != format_time(row.updated_at):
                raise ServiceError(
                    412, "PRECONDITION_FAILED", f"The flow was changed at {format_time(row.updated_at)}; read it again"
                )
            if version is not None and row.version_no != checked_against:
                raise StateConflict("Somebody else changed the flow's definition just now; send the update again")
            now = _later(self._clock.now(), row.updated_at)
            row = replace(
                row,
                title=title or row.title,
                flow_owner=caller.urn if "flow_owner" in members else row.flow_owner,
                document=self._metadata(members, row.document),
                updated_at=now,
            )
            if version is None:
                version = store.load_version(tx, row.version_no)
            else:
                document = row.document | {"scopes": scopes}
                row = replace(row, version_no=store.add_version(tx, flow_id, version, now), document=document)
            store.save_flow(tx, row)
            if title is not None:
                self._introduce(tx, flow_id, title, now)
            return self._show(tx, row, version, caller)

    def delete(self, caller: Caller, flow_id: str) -> dict[str, Json]:
        """Withdraw a flow: it cannot be seen or started any more. Its runs go on and stay."""
        require_scope(caller, policy.MANAGE_FLOWS_SCOPES)
        flow_id = known_uuid("Flow", flow_id)
        with self._database.begin() as tx:
            row, _ = find_flow(tx, flow_id, caller, Permission.DELETE, for_update=True)
            now = _later(self._clock.now(), row.updated_at)
            document = self._show(tx, row, store.load_version(tx, row.version_no), caller)
            store.mark_deleted(tx, row.flow_no, now)
            return deleted_flow_document(document, replace(row, deleted_at=now, updated_at=now))

    def validate(self, caller: Caller, body: Json) -> dict[str, Json]:
        """Check a definition without storing it.

        Returns ``{"scopes": {"User": [...]}, "analysis": {"number_of_possibilities": N}}``.
        """
        require_scope(caller, policy.MANAGE_FLOWS_SCOPES)
        members = Body(body, _VALIDATE_MEMBERS)
        version = self._version(members, None)
        members.check()
        assert version is not None
        return {
            "scopes": self._scopes(version.definition),
            "analysis": {"number_of_possibilities": analysis.number_of_possibilities(version.definition)},
        }

    def _show(self, tx: Connection, row: FlowRow, version: FlowVersion, caller: Caller | None) -> dict[str, Json]:
        roles = policy.flow_roles(store.grants_of(tx, row.flow_no), caller)
        return flow_document(row, version, roles, self._base_url)

    def _metadata(self, members: Body, before: dict[str, Json]) -> dict[str, Json]:
        """The stored document with the given members changed; problems are collected in ``members``."""
        if "authentication_policy_id" in members:
            members.wrong(("authentication_policy_id",), "authentication policies are not supported by this service")
        given: dict[str, Json] = {
            "subtitle": members.text("subtitle", most=_MAX_TITLE_CHARS),
            "description": members.text("description", most=_MAX_DESCRIPTION_CHARS, one_line=False),
            "keywords": members.texts("keywords", most_items=self.limits.max_keywords, most_chars=_MAX_KEYWORD_CHARS),
            "subscription_id": members.identifier("subscription_id", words=("DEFAULT",)),
        }
        for name in ROLE_LISTS:
            given[name] = members.principals(name, most_items=self.limits.max_role_principals)
        return before | {name: value for name, value in given.items() if value is not None}

    def _version(self, members: Body, before: FlowVersion | None) -> FlowVersion | None:
        """The definition and schema of the body, checked; None when an update changes neither."""
        if members.given("definition") and "definition" not in members:
            members.wrong(("definition",), "none is not an allowed value", "type_error.none.not_allowed")
            return None
        if before is None:
            members.require("definition")
        definition = members.object("definition", most_bytes=self.limits.max_definition_bytes)
        schema = members.object("input_schema", most_bytes=self.limits.max_schema_bytes)
        if definition is not None:
            members.problems.extend(validate(definition, self._dialect, allow_http=self._allow_http))
        if schema is not None:
            members.problems.extend(check_schema(schema))
        if before is None:
            return None if definition is None else FlowVersion(definition=definition, input_schema=schema or {})
        version = FlowVersion(
            definition=before.definition if definition is None else definition,
            input_schema=before.input_schema if schema is None else schema,
        )
        return None if store.version_hash(version) == store.version_hash(before) else version

    def _scopes(self, definition: Json) -> dict[str, Json]:
        """Scopes of the actions, by the identity they run as; those of providers out of reach are missing."""
        found: dict[str, list[str]] = {}
        asked: dict[str, str] = {}
        for target in analysis.action_targets(definition):
            scope = target.scope
            if scope is None:
                if target.url not in asked:
                    asked[target.url] = self._scope_of(target.url)
                scope = asked[target.url]
            if scope and scope not in found.setdefault(target.run_as, []):
                found[target.run_as].append(scope)
        return {run_as: scopes for run_as, scopes in found.items() if scopes}


_EMPTY: dict[str, Any] = {
    "subtitle": "",
    "description": "",
    "keywords": [],
    "subscription_id": None,
    **{name: [] for name in ROLE_LISTS},
}


def _check_owner(members: Body, caller: Caller) -> None:
    """An administrator may take a flow over; nobody may give one away."""
    owner = members.raw("flow_owner")
    if owner is None:
        return
    if not isinstance(owner, str):
        members.wrong(("flow_owner",), "str type expected", "type_error.str")
    elif owner.lower() != caller.urn:
        raise ServiceError(
            403, "FORBIDDEN", f"A flow's owner can only be set to the caller's own identity, which is {caller.urn}"
        )


def _later(now: datetime, before: datetime) -> datetime:
    """Now, but always after ``before``: ``updated_at`` tells one version of a flow from another."""
    return max(now, before + timedelta(microseconds=1))
