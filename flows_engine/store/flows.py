"""Rows of flows, their versions and their roles. Functions take ``tx`` and never begin or commit.

``flows.document`` holds the members the API shows that are not columns, and ``search``: casefolded copies of the texts
that list filters look in, because ``lower()`` of SQLite knows ASCII only.
A deleted flow keeps its row and roles: its runs stay, and those who managed them still do.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from hashlib import sha256
from typing import Any

from sqlalchemy import ColumnElement, Connection, delete, insert, select, update

from schemas.json_text import Json, dumps, dumps_sorted, loads_trusted
from schemas.times import from_us, to_us

from .keyset import KeyValue, Page, contains_any, key_of, member_text, paged
from .tables import flow_roles, flow_versions, flows

#: Members of the flow document that are lists of principals, and the role each grants.
ROLE_LISTS = {
    "flow_viewers": "flow_viewer",
    "flow_starters": "flow_starter",
    "flow_administrators": "flow_administrator",
    "run_managers": "run_manager",
    "run_monitors": "run_monitor",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class FlowVersion:
    definition: Json
    input_schema: Json


@dataclass(frozen=True, slots=True, kw_only=True)
class FlowRow:
    """A flow as stored. ``document`` holds subtitle, description, keywords, role lists, created_by, scopes, ..."""

    flow_no: int
    flow_id: str
    version_no: int
    title: str
    flow_owner: str
    scope_string: str
    document: dict[str, Json]
    created_at: datetime
    updated_at: datetime
    deleted_at: datetime | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class FlowFilter:
    """Which flows a list shows. ``principals`` is everything that means the caller; an empty tuple filters nothing.

    Inside one filter any text may match; every filter given must match.
    """

    principals: frozenset[str]
    roles: tuple[str, ...] = ()
    fulltext: tuple[str, ...] = ()
    title: tuple[str, ...] = ()
    subtitle: tuple[str, ...] = ()
    description: tuple[str, ...] = ()
    keywords: tuple[str, ...] = ()
    scope_string: tuple[str, ...] = ()


#: Sort fields of a list of flows.
SORT_COLUMNS: dict[str, ColumnElement[Any]] = {
    "id": flows.c.flow_id,
    "scope_string": flows.c.scope_string,
    "flow_owner": flows.c.flow_owner,
    "flow_administrators": member_text(flows.c.document, "search.flow_administrators"),
    "title": flows.c.title,
    "created_at": flows.c.created_at,
    "updated_at": flows.c.updated_at,
}


def version_hash(version: FlowVersion) -> str:
    return sha256(dumps_sorted([version.definition, version.input_schema]).encode()).hexdigest()


def add_version(tx: Connection, flow_id: str, version: FlowVersion, at: datetime) -> int:
    """Store a definition with its input schema and return its number."""
    result = tx.execute(
        insert(flow_versions).values(
            flow_id=flow_id,
            definition=dumps(version.definition),
            input_schema=dumps(version.input_schema),
            sha256=version_hash(version),
            created_at=to_us(at),
        )
    )
    return _serial(result.inserted_primary_key)


def load_version(tx: Connection, version_no: int) -> FlowVersion:
    row = tx.execute(
        select(flow_versions.c.definition, flow_versions.c.input_schema).where(flow_versions.c.version_no == version_no)
    ).one()
    return FlowVersion(definition=loads_trusted(row.definition), input_schema=loads_trusted(row.input_schema))


def load_versions(tx: Connection, version_nos: Iterable[int]) -> dict[int, FlowVersion]:
    """The versions of one page of flows, in one query."""
    rows = tx.execute(
        select(flow_versions.c.version_no, flow_versions.c.definition, flow_versions.c.input_schema).where(
            flow_versions.c.version_no.in_(set(version_nos))
        )
    )
    return {
        row.version_no: FlowVersion(
            definition=loads_trusted(row.definition), input_schema=loads_trusted(row.input_schema)
        )
        for row in rows
    }


def add_flow(tx: Connection, row: FlowRow) -> int:
    """Insert the flow with its roles; ``row.flow_no`` is ignored, the number given is returned."""
    result = tx.execute(insert(flows).values(flow_id=row.flow_id, **_columns(row)))
    flow_no = _serial(result.inserted_primary_key)
    _insert_roles(tx, flow_no, row)
    return flow_no


def save_flow(tx: Connection, row: FlowRow) -> None:
    """Write a changed flow and its roles."""
    tx.execute(update(flows).where(flows.c.flow_no == row.flow_no).values(**_columns(row)))
    tx.execute(delete(flow_roles).where(flow_roles.c.flow_no == row.flow_no))
    _insert_roles(tx, row.flow_no, row)


def mark_deleted(tx: Connection, flow_no: int, at: datetime) -> None:
    tx.execute(update(flows).where(flows.c.flow_no == flow_no).values(deleted_at=to_us(at), updated_at=to_us(at)))


def load_flow(tx: Connection, flow_id: str, *, for_update: bool = False) -> FlowRow | None:
    """The flow with this id, deleted or not. ``for_update`` holds the row against other writers (PostgreSQL)."""
    query = select(flows).where(flows.c.flow_id == flow_id)
    row = tx.execute(query.with_for_update() if for_update else query).one_or_none()
    return None if row is None else _flow(row)


def grants_of(tx: Connection, flow_no: int) -> list[tuple[str, str]]:
    """``(role, principal)`` of everybody named on the flow."""
    return grants_of_many(tx, [flow_no])[flow_no]


def grants_of_many(tx: Connection, flow_nos: Sequence[int]) -> dict[int, list[tuple[str, str]]]:
    """Grants of the flows of one page, in one query."""
    grants: dict[int, list[tuple[str, str]]] = {flow_no: [] for flow_no in flow_nos}
    rows = tx.execute(
        select(flow_roles.c.flow_no, flow_roles.c.role, flow_roles.c.principal).where(
            flow_roles.c.flow_no.in_(set(flow_nos))
        )
    )
    for row in rows:
        grants[row.flow_no].append((row.role, row.principal))
    return grants


def list_flows(tx: Connection, wanted: FlowFilter, page: Page) -> tuple[list[FlowRow], tuple[KeyValue, ...] | None]:
    """One page of flows that are not deleted, and the key to go on after it, or None when it is the last."""
    mine = select(flow_roles.c.flow_no).where(flow_roles.c.principal.in_(wanted.principals))
    if wanted.roles:
        mine = mine.where(flow_roles.c.role.in_(wanted.roles))
    query = select(flows).where(flows.c.deleted_at.is_(None), flows.c.flow_no.in_(mine))
    for column, texts in (
        (flows.c.search_text, wanted.fulltext),
        (member_text(flows.c.document, "search.title"), wanted.title),
        (member_text(flows.c.document, "search.subtitle"), wanted.subtitle),
        (member_text(flows.c.document, "search.description"), wanted.description),
        (member_text(flows.c.document, "search.keywords"), wanted.keywords),
        (flows.c.scope_string, wanted.scope_string),
    ):
        if texts:
            query = query.where(contains_any(column, texts))
    rows = tx.execute(paged(query, page, SORT_COLUMNS, flows.c.flow_no)).all()
    last = key_of(rows[page.limit - 1], page) if len(rows) > page.limit else None
    return [_flow(row) for row in rows[: page.limit]], last


def _columns(row: FlowRow) -> dict[str, Any]:
    administrators = row.document["flow_administrators"]
    texts = [row.title, row.document["subtitle"], row.document["description"], row.flow_owner, *administrators]
    search = {
        "title": row.title.casefold(),
        "subtitle": row.document["subtitle"].casefold(),
        "description": row.document["description"].casefold(),
        "keywords": "\n".join(row.document["keywords"]).casefold(),
        "flow_administrators": ",".join(administrators),
    }
    return {
        "version_no": row.version_no,
        "title": row.title,
        "flow_owner": row.flow_owner,
        "scope_string": row.scope_string,
        "document": dumps(row.document | {"search": search}),
        "search_text": "\n".join([row.flow_id, *texts]).casefold(),
        "created_at": to_us(row.created_at),
        "updated_at": to_us(row.updated_at),
    }


def _insert_roles(tx: Connection, flow_no: int, row: FlowRow) -> None:
    granted = {("flow_owner", row.flow_owner)}
    for member, role in ROLE_LISTS.items():
        granted.update((role, principal) for principal in row.document[member])
    tx.execute(
        insert(flow_roles),
        [{"flow_no": flow_no, "role": role, "principal": principal} for role, principal in sorted(granted)],
    )


def _flow(row: Any) -> FlowRow:
    document = loads_trusted(row.document)
    document.pop("search", None)
    return FlowRow(
        flow_no=row.flow_no,
        flow_id=row.flow_id,
        version_no=row.version_no,
        title=row.title,
        flow_owner=row.flow_owner,
        scope_string=row.scope_string,
        document=document,
        created_at=from_us(row.created_at),
        updated_at=from_us(row.updated_at),
        deleted_at=None if row.deleted_at is None else from_us(row.deleted_at),
    )


def _serial(primary_key: Any) -> int:
    return int(primary_key[0])
