"""Runs as the engine reads and writes them: lock, save under the step number, append to the log."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from sqlalchemy import Connection, bindparam, delete, insert, select, update

from schemas.json_text import Json, dumps, loads_trusted

from . import work_queue
from .tables import flow_versions, idempotency_keys, run_roles, run_steps, runs

_COLUMNS = (
    runs.c.run_no,
    runs.c.run_id,
    runs.c.flow_id,
    runs.c.version_no,
    runs.c.run_owner,
    runs.c.label,
    runs.c.document,
    runs.c.status,
    runs.c.step_no,
    runs.c.log_seq,
)


_SAVE = (
    update(runs)
    .where(runs.c.run_no == bindparam("number"), runs.c.step_no == bindparam("expected"))
    .values(
        step_no=bindparam("new_step"),
        log_seq=bindparam("new_seq"),
        status=bindparam("new_status"),
        state=bindparam("new_state"),
        completion_time=bindparam("completed"),
    )
)
_SAVE_WITH_DETAILS = _SAVE.values(details=bindparam("new_details"))


@dataclass(frozen=True, slots=True, kw_only=True)
class RunRow:
    """A locked run without its state (read with ``load_states`` where it is not in memory)."""

    run_no: int
    run_id: str
    flow_id: str
    version_no: int
    run_owner: str
    label: str | None
    document: Json
    status: str
    step_no: int
    log_seq: int


@dataclass(frozen=True, slots=True, kw_only=True)
class StepRow:
    """One step of a run, to be appended."""

    run_no: int
    step_no: int
    first_seq: int
    at: int
    event: Json
    entries: Sequence[Json]


@dataclass(frozen=True, slots=True, kw_only=True)
class SavedRun:
    """New contents of a run; ``expected_step`` is the step number it must still have."""

    run_no: int
    expected_step: int
    step_no: int
    log_seq: int
    status: str
    state: Json
    details: Json | None
    completion_time: int | None


class RunMoved(Exception):
    """A run changed under a lock that we held: a fault of the engine. Nothing was written."""


def lock(tx: Connection, run_nos: Iterable[int]) -> dict[int, RunRow]:
    """Runs by number, locked until the transaction ends, in a fixed order so that two workers cannot deadlock."""
    statement = select(*_COLUMNS).where(runs.c.run_no.in_(sorted(run_nos))).order_by(runs.c.run_no).with_for_update()
    return {row.run_no: _run_row(row) for row in tx.execute(statement)}


def lock_by_id(tx: Connection, run_id: str) -> RunRow | None:
    """One run by its API id, locked."""
    row = tx.execute(select(*_COLUMNS).where(runs.c.run_id == run_id).with_for_update()).one_or_none()
    return None if row is None else _run_row(row)


def lock_by_ids(tx: Connection, run_ids: Iterable[str]) -> None:
    """Lock runs by their API ids, in the order of ``lock``."""
    wanted = select(runs.c.run_no).where(runs.c.run_id.in_(list(run_ids))).order_by(runs.c.run_no)
    tx.execute(wanted.with_for_update()).all()


def load_states(tx: Connection, run_nos: Iterable[int]) -> dict[int, Json]:
    """The stored RunState documents."""
    rows = tx.execute(select(runs.c.run_no, runs.c.state).where(runs.c.run_no.in_(list(run_nos))))
    return {row.run_no: loads_trusted(row.state) for row in rows}


def definition_of(tx: Connection, version_no: int) -> Json:
    """The definition document of a version."""
    return loads_trusted(
        tx.execute(select(flow_versions.c.definition).where(flow_versions.c.version_no == version_no)).scalar_one()
    )


def save(tx: Connection, saved: Sequence[SavedRun]) -> None:
    """Write runs that took a step.

    Raises:
        RunMoved: a run no longer had the step number it was read with.
    """
    for statement, group in (
        (_SAVE_WITH_DETAILS, [one for one in saved if one.details is not None]),
        (_SAVE, [one for one in saved if one.details is None]),
    ):
        if group:
            written = tx.execute(statement, [_save_row(one) for one in group]).rowcount
            if written not in (-1, len(group)):
                raise RunMoved(f"{len(group) - written} of {len(group)} runs were changed by somebody else")


def set_aside(tx: Connection, run_no: int, *, details: Json) -> None:
    """Show a run as INACTIVE that cannot take a step; its state stays as it is."""
    statement = update(runs).where(runs.c.run_no == run_no, runs.c.completion_time.is_(None))
    tx.execute(statement.values(status="INACTIVE", details=dumps(details)))


def append(tx: Connection, steps: Sequence[StepRow]) -> None:
    """Append to the logs; a step number that is there already is a fault of the engine and raises."""
    if steps:
        tx.execute(
            insert(run_steps),
            [
                {
                    "run_no": one.run_no,
                    "step_no": one.step_no,
                    "first_seq": one.first_seq,
                    "entry_count": len(one.entries),
                    "at": one.at,
                    "event": dumps(one.event),
                    "entries": dumps(one.entries),
                }
                for one in steps
            ],
        )


def add(tx: Connection, values: Json, roles: Iterable[tuple[str, str]]) -> int:
    """Insert a run and its (role, principal) rows; returns its number."""
    run_no = tx.execute(insert(runs).values(values).returning(runs.c.run_no)).scalar_one()
    rows = [{"run_no": run_no, "role": role, "principal": principal} for role, principal in sorted(set(roles))]
    if rows:
        tx.execute(insert(run_roles), rows)
    return int(run_no)


def remove(tx: Connection, run: RunRow) -> None:
    """Delete a run with its log and roles. Its idempotency keys stay until their time is over: a late repeat of the
    request must not start another run. What was promised to its actions stays, too (``work_queue.orphan``)."""
    work_queue.orphan(tx, run.run_no)
    for table in (run_steps, run_roles):
        tx.execute(delete(table).where(table.c.run_no == run.run_no))
    tx.execute(delete(runs).where(runs.c.run_no == run.run_no))


def purge_idempotency_keys(tx: Connection, *, now: int) -> int:
    """Forget keys whose time is over; returns how many."""
    return tx.execute(delete(idempotency_keys).where(idempotency_keys.c.expires_at < now)).rowcount


def events_of(tx: Connection, run_no: int) -> list[Json]:
    """The events of a run in order, for folding."""
    statement = select(run_steps.c.event).where(run_steps.c.run_no == run_no).order_by(run_steps.c.step_no)
    return [loads_trusted(text) for text in tx.execute(statement).scalars()]


def _save_row(one: SavedRun) -> dict[str, Json]:
    row: dict[str, Json] = {
        "number": one.run_no,
        "expected": one.expected_step,
        "new_step": one.step_no,
        "new_seq": one.log_seq,
        "new_status": one.status,
        "new_state": dumps(one.state),
        "completed": one.completion_time,
    }
    if one.details is not None:
        row["new_details"] = dumps(one.details)
    return row


def _run_row(row: Json) -> RunRow:
    values = dict(row._mapping)
    values["document"] = loads_trusted(values["document"])
    return RunRow(**values)
