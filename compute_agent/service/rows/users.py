"""Rows of users: who submitted tasks, and how many of them are unfinished."""

from __future__ import annotations

from collections.abc import Collection, Mapping

from sqlalchemy import Connection, bindparam, select, update
from sqlalchemy.dialects import postgresql, sqlite

from ..tables import users


def numbers(tx: Connection, urns: Collection[str]) -> dict[str, int]:
    """Of those who ever submitted."""
    rows = tx.execute(select(users.c.urn, users.c.user_no).where(users.c.urn.in_(urns)))
    return {row.urn: row.user_no for row in rows}


def add(tx: Connection, urn: str) -> None:
    dialect = postgresql if tx.dialect.name == "postgresql" else sqlite
    statement = dialect.insert(users).on_conflict_do_nothing(index_elements=[users.c.urn])
    tx.execute(statement.values(urn=urn, unfinished=0))


def urns(tx: Connection, user_nos: Collection[int]) -> dict[int, str]:
    rows = tx.execute(select(users.c.user_no, users.c.urn).where(users.c.user_no.in_(user_nos)))
    return {row.user_no: row.urn for row in rows}


def unfinished(tx: Connection, user_no: int) -> int:
    return tx.scalar(select(users.c.unfinished).where(users.c.user_no == user_no)) or 0


def begin_tasks(tx: Connection, user_no: int, number: int) -> int:
    """Count new tasks; how many are unfinished with them. The last statement of a transaction."""
    statement = update(users).where(users.c.user_no == user_no).values(unfinished=users.c.unfinished + number)
    return int(tx.execute(statement.returning(users.c.unfinished)).scalar_one())


def end_tasks(tx: Connection, ended: Mapping[int, int]) -> None:
    """Count tasks that ended, by user. The last statement of a transaction."""
    statement = (
        update(users)
        .where(users.c.user_no == bindparam("b_user_no"))
        .values(unfinished=users.c.unfinished - bindparam("b_ended"))
    )
    tx.execute(statement, [{"b_user_no": user_no, "b_ended": ended[user_no]} for user_no in sorted(ended)])
