"""What must hold for every stored run, whatever happened: used by ``flows doctor`` and after every test of the engine."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator

from sqlalchemy import Connection, select

from flows_engine.asl.definition import parse
from flows_engine.asl.dialects import Dialect
from flows_engine.asl.run import Phase, RunState, event_from_json
from flows_engine.store.runs import definition_of, events_of
from flows_engine.store.tables import run_steps, runs, work
from flows_engine.store.work_queue import PARKED
from schemas.action import Status
from schemas.json_text import loads_trusted

from .advance import fold


def broken_invariants(tx: Connection, dialect: Dialect, *, limit: int = 1000) -> Iterator[str]:
    """One sentence per violation found in the newest ``limit`` runs."""
    statement = select(runs).order_by(runs.c.run_no.desc()).limit(limit)
    for run in tx.execute(statement).all():
        yield from _log_is_one_line(tx, run.run_no, run.step_no, run.log_seq)
        try:
            stored = RunState.from_json(loads_trusted(run.state))
        except Exception as error:  # noqa: BLE001 - one run that cannot be read must not hide the others
            yield f"run {run.run_id}: its state cannot be read ({type(error).__name__}: {error})"
            continue
        if stored.status.value != run.status:
            yield f"run {run.run_id}: the row says {run.status}, its state {stored.status.value}"
        yield from _history_folds(tx, run, stored, dialect)
        yield from _is_woken_once(tx, run.run_no, stored)
        if Status(run.status).is_final != (run.completion_time is not None):
            yield f"run {run.run_id}: status {run.status} and completion time do not fit"


def _is_woken_once(tx: Connection, run_no: int, stored: RunState) -> Iterator[str]:
    """What a run waits for will come, and comes from one place."""
    statement = select(work.c.token, work.c.due).where(work.c.run_no == run_no)
    rows = tx.execute(statement.where(work.c.kind.in_(("start", "poll", "timer")))).all()
    tokens = Counter(row.token for row in rows)
    for token, count in tokens.items():
        if count > 1:
            yield f"run {stored.run_id}: {count} work items for {token}, where one belongs"
    if stored.status is not Status.ACTIVE:
        return
    coming = {row.token for row in rows if row.due < PARKED}
    for branch in stored.branches.values():
        if branch.phase is Phase.WAITING and branch.token not in coming:
            yield f"run {stored.run_id} is ACTIVE, yet nothing will ever wake it: {branch.token} waits in vain"
        if branch.phase is Phase.READY and not any(token.startswith("yield:") for token in coming):
            yield f"run {stored.run_id} is ACTIVE, yet nothing will ever wake it: it was to go on"


def _log_is_one_line(tx: Connection, run_no: int, step_no: int, log_seq: int) -> Iterator[str]:
    expected_step, expected_seq = 1, 1
    statement = select(run_steps.c.step_no, run_steps.c.first_seq, run_steps.c.entry_count)
    for row in tx.execute(statement.where(run_steps.c.run_no == run_no).order_by(run_steps.c.step_no)):
        if (row.step_no, row.first_seq) != (expected_step, expected_seq):
            yield (
                f"run number {run_no}: step {row.step_no} with entry {row.first_seq} stands where step {expected_step} "
                f"with entry {expected_seq} belongs"
            )
        expected_step, expected_seq = row.step_no + 1, row.first_seq + row.entry_count
    if (expected_step - 1, expected_seq - 1) != (step_no, log_seq):
        yield f"run number {run_no}: the log ends at step {expected_step - 1}, the row says {step_no}"


def _history_folds(tx: Connection, run: object, stored: RunState, dialect: Dialect) -> Iterator[str]:
    row = run._mapping  # type: ignore[attr-defined]  # a SQLAlchemy Row, whose columns have no static types
    definition = parse(definition_of(tx, row["version_no"]), dialect)
    start = RunState(run_id=stored.run_id, context=stored.context, machine_context=stored.machine_context)
    folded = fold(definition, start, (event_from_json(one) for one in events_of(tx, row["run_no"])))
    if folded.to_json() != stored.to_json():
        yield f"run {row['run_id']}: folding its events does not give its state"
