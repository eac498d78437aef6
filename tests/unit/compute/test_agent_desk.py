"""The agent's desk where its threads meet: a worker and the agent that keeps a task from starting."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import Future
from pathlib import Path

import pytest

from compute_agent.agent.book import Held
from compute_agent.agent.desk import Desk
from compute_agent.agent.journal import Journal
from compute_agent.agent.markers import Markers
from compute_agent.engines.base import Report
from compute_agent.wire import Assignment, TaskState

TASK = Assignment(task_id="a", fence=1, function_id="f", payload="")
HELD = Held("a", 1)


@pytest.fixture
def desk(tmp_path: Path) -> Iterator[Desk]:
    """A task has been handed to an engine."""
    journal = Journal(tmp_path / "journal.db", circumstances="")
    made = Desk(journal, Markers(tmp_path / "starts"))
    made.accept([TASK])
    assert made.may_submit(HELD)
    yield made
    journal.close()


def revoked() -> Future[Report]:
    future: Future[Report] = Future()
    future.set_result({"status": "revoked"})
    return future


def states(desk: Desk) -> list[TaskState]:
    return [one.state for one in desk.book.unsent(most=9, most_bytes=10**6)]


def test_a_worker_that_the_agent_kept_from_starting_a_task_has_not_lost_it(desk: Desk) -> None:
    """The worker may say so before the agent has said why."""
    assert desk.markers.take(HELD)
    desk.done(HELD, revoked())
    assert states(desk) == [TaskState.QUEUED]


def test_a_worker_that_finds_the_marker_of_another_worker_has_lost_the_task(desk: Desk) -> None:
    Path(desk.markers.path(HELD)).touch()
    desk.done(HELD, revoked())
    assert states(desk) == [TaskState.LOST]
