"""Rows of submissions that came with an id of their own, and the answers they were given."""

from __future__ import annotations

from dataclasses import dataclass

from sqlalchemy import Connection, delete, select, update
from sqlalchemy.dialects import postgresql, sqlite

from schemas.json_text import Json, dumps, loads_trusted

from ..tables import submissions


@dataclass(frozen=True, slots=True, kw_only=True)
class Earlier:
    """A submission that was accepted before; ``sha256`` is of what was asked for."""

    sha256: str
    answer: dict[str, Json]


def begin(tx: Connection, user_no: int, submission_id: str, *, sha256: str, now: int) -> Earlier | None:
    """Take the id, or return what it was taken for. Waits for another who takes it at the moment."""
    dialect = postgresql if tx.dialect.name == "postgresql" else sqlite
    statement = dialect.insert(submissions).on_conflict_do_nothing(
        index_elements=[submissions.c.user_no, submissions.c.submission_id]
    )
    values = {"user_no": user_no, "submission_id": submission_id, "sha256": sha256, "submitted_at": now, "answer": "{}"}
    if tx.execute(statement.values(values).returning(submissions.c.submission_id)).first() is not None:
        return None
    return find(tx, user_no, submission_id)


def find(tx: Connection, user_no: int, submission_id: str) -> Earlier | None:
    """What the id was taken for, if it was."""
    taken = (submissions.c.user_no == user_no, submissions.c.submission_id == submission_id)
    row = tx.execute(select(submissions.c.sha256, submissions.c.answer).where(*taken)).one_or_none()
    return None if row is None else Earlier(sha256=row.sha256, answer=loads_trusted(row.answer))


def answer(tx: Connection, user_no: int, submission_id: str, given: dict[str, Json]) -> None:
    taken = (submissions.c.user_no == user_no, submissions.c.submission_id == submission_id)
    tx.execute(update(submissions).where(*taken).values(answer=dumps(given)))


def has_older(tx: Connection, *, before: int) -> bool:
    return (
        tx.execute(select(submissions.c.user_no).where(submissions.c.submitted_at < before).limit(1)).first()
        is not None
    )


def forget(tx: Connection, *, before: int, limit: int) -> int:
    """Delete old ones; how many."""
    old = (
        select(submissions.c.user_no, submissions.c.submission_id)
        .where(submissions.c.submitted_at < before)
        .limit(limit)
    )
    rows = tx.execute(old.with_for_update(skip_locked=True)).all()
    for row in rows:
        taken = (submissions.c.user_no == row.user_no, submissions.c.submission_id == row.submission_id)
        tx.execute(delete(submissions).where(*taken))
    return len(rows)
