"""Paging by the last row seen, not by counting: pages stay right while rows are added, and late pages cost no more.

A page is asked for with an order (columns, each up or down, the last one unique) and the values of the last row of the
page before.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import ColumnElement, Select, and_, false, literal, or_
from sqlalchemy.ext.compiler import compiles
from sqlalchemy.sql.compiler import SQLCompiler
from sqlalchemy.sql.functions import FunctionElement
from sqlalchemy.types import Text

KeyValue = str | int


@dataclass(frozen=True, slots=True)
class Criterion:
    """One part of an order: the name of a sort field of the table in question."""

    field: str
    descending: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Page:
    """``after`` is the last row's key, one value for each criterion and one for the tie-break; ``limit`` rows at most.

    ``skip`` rows are left out first: the deprecated way to ask for a page by its number.
    """

    order: tuple[Criterion, ...]
    limit: int
    skip: int = 0
    after: tuple[KeyValue, ...] | None = None


def paged(
    query: Select[Any], page: Page, columns: dict[str, ColumnElement[Any]], tie_break: ColumnElement[Any]
) -> Select[Any]:
    """The query with the page's order and start, and one row more than the page holds: it tells whether a next exists.

    The key of each row is added as ``key_0``, ``key_1``, ...
    """
    parts = [(columns[one.field], one.descending) for one in page.order]
    parts.append((tie_break, parts[-1][1] if parts else True))
    query = query.add_columns(*(column.label(f"key_{i}") for i, (column, _) in enumerate(parts)))
    query = query.order_by(*(column.desc() if down else column.asc() for column, down in parts))
    if page.after is not None:
        query = query.where(_beyond(parts, page.after))
    return query.limit(page.limit + 1).offset(page.skip or None)


def key_of(row: Any, page: Page) -> tuple[KeyValue, ...]:
    """The key of a row that ``paged`` returned."""
    return tuple(row._mapping[f"key_{i}"] for i in range(len(page.order) + 1))


def _beyond(parts: Sequence[tuple[ColumnElement[Any], bool]], after: Sequence[KeyValue]) -> ColumnElement[bool]:
    """Rows after the key: greater in the first column, or equal there and greater in the second, and so on."""
    cases = []
    for i, (column, down) in enumerate(parts):
        equal = [earlier == after[j] for j, (earlier, _) in enumerate(parts[:i])]
        cases.append(and_(*equal, column < after[i] if down else column > after[i]))
    return or_(false(), *cases)


def contains_any(column: ColumnElement[Any], texts: Sequence[str]) -> ColumnElement[bool]:
    """Whether the text holds one of these; both sides must have been casefolded by the writer and the caller."""
    return or_(false(), *(column.contains(text.casefold(), autoescape=True) for text in texts))


class member_text(FunctionElement[str]):  # noqa: N801 - reads as an SQL function, like sqlalchemy.func members
    """Text of a member of a JSON document kept in a text column: ``member_text(flows.c.document, "search.title")``.

    The member is named by two or more plain words with dots between. An absent member is the empty string.
    """

    type = Text()
    inherit_cache = True
    name = "member_text"

    def __init__(self, column: ColumnElement[Any], member: str) -> None:
        words = member.split(".")
        assert all(word.isidentifier() for word in words), member
        super().__init__(column, literal("$." + member), literal("{" + ",".join(words) + "}"))


@compiles(member_text, "sqlite")
def _sqlite(element: member_text, compiler: SQLCompiler, **options: Any) -> str:
    column, path, _ = (compiler.process(clause, **options) for clause in element.clauses)
    return f"coalesce(json_extract({column}, {path}), '')"


@compiles(member_text, "postgresql")
def _postgresql(element: member_text, compiler: SQLCompiler, **options: Any) -> str:
    column, _, path = (compiler.process(clause, **options) for clause in element.clauses)
    return f"coalesce(({column})::json #>> cast({path} as text[]), '')"
