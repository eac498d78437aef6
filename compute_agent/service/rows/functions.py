"""Rows of functions."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import asdict, dataclass

from sqlalchemy import Connection, Row, and_, exists, func, insert, literal_column, select, update

from schemas.json_text import Json, dumps, loads_trusted

from ...wire import FunctionCode, OnLoss
from ..tables import functions, tasks


@dataclass(frozen=True, slots=True, kw_only=True)
class Function:
    """A function without its code. ``created_at`` in microseconds."""

    function_no: int
    function_id: str
    owner: str
    name: str
    description: str
    meta: dict[str, Json]
    public: bool
    group_id: str | None
    on_loss: OnLoss
    max_requeues: int
    python_version: str
    created_at: int
    sha256: str
    code_bytes: int


_COLUMNS = [functions.c[name] for name in Function.__slots__]
_IS_WIPEABLE = and_(functions.c.deleted_at.is_not(None), functions.c.code_bytes > literal_column("0"))


def add(tx: Connection, function: Function, code: str) -> None:
    """Insert; ``function_no`` is given by the database."""
    row = asdict(function) | {"meta": dumps(function.meta), "public": int(function.public), "code": code}
    del row["function_no"]
    tx.execute(insert(functions).values(row))


def load(tx: Connection, function_id: str) -> Function | None:
    return load_many(tx, [function_id]).get(function_id)


def load_many(tx: Connection, function_ids: Collection[str]) -> dict[str, Function]:
    """Those that exist and are not deleted, by id."""
    query = select(*_COLUMNS).where(functions.c.function_id.in_(function_ids), functions.c.deleted_at.is_(None))
    return {row.function_id: _function(row) for row in tx.execute(query)}


def code_of(tx: Connection, function_no: int) -> str:
    return str(tx.scalar(select(functions.c.code).where(functions.c.function_no == function_no)))


def codes(tx: Connection, function_nos: Collection[int]) -> list[FunctionCode]:
    """What an agent needs of these functions, deleted ones too."""
    wanted = [functions.c[name] for name in FunctionCode.__slots__]
    rows = tx.execute(select(*wanted).where(functions.c.function_no.in_(function_nos)))
    return [FunctionCode(**row._mapping) for row in rows]


def owned(tx: Connection, owners: Collection[str], *, before: int | None, limit: int) -> list[Function]:
    """Newest first."""
    query = select(*_COLUMNS).where(functions.c.owner.in_(owners), functions.c.deleted_at.is_(None))
    if before is not None:
        query = query.where(functions.c.function_no < before)
    return [_function(row) for row in tx.execute(query.order_by(functions.c.function_no.desc()).limit(limit))]


def count(tx: Connection, owner: str) -> int:
    query = select(func.count()).select_from(functions)
    return tx.scalar(query.where(functions.c.owner == owner, functions.c.deleted_at.is_(None))) or 0


def mark_deleted(tx: Connection, function_id: str, *, now: int) -> None:
    tx.execute(update(functions).where(functions.c.function_id == function_id).values(deleted_at=now))


def has_deleted(tx: Connection) -> bool:
    """Whether ``wipe_deleted`` may find something to do."""
    return tx.execute(select(functions.c.function_no).where(_IS_WIPEABLE).limit(1)).first() is not None


def wipe_deleted(tx: Connection, limit: int) -> int:
    """Drop the code of deleted functions that no unfinished task needs; how many that were."""
    needed = exists().where(
        tasks.c.function_no == functions.c.function_no,
        # Two conditions with an index each, which hold the unfinished tasks between them.
        (tasks.c.state == literal_column("'QUEUED'")) | tasks.c.held_by.is_not(None),
    )
    numbers = list(tx.scalars(select(functions.c.function_no).where(_IS_WIPEABLE, ~needed).limit(limit)))
    if numbers:
        wiped = update(functions).where(functions.c.function_no.in_(numbers))
        tx.execute(wiped.values(code="", code_bytes=0, meta="{}", description=""))
    return len(numbers)


def _function(row: Row[tuple[object, ...]]) -> Function:
    values = row._asdict()
    return Function(**values | {"meta": loads_trusted(values["meta"]), "public": bool(values["public"])})
