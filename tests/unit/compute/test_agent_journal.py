"""The journal and the start markers: what is on disk decides what became of a task."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from pathlib import Path

import pytest

from compute_agent.agent.book import Held
from compute_agent.agent.journal import Journal, JournalFull, JournalTooNew
from compute_agent.agent.markers import Markers
from compute_agent.wire import Assignment, Outcome, TaskState


def leased(name: str, fence: int = 1) -> Assignment:
    return Assignment(task_id=name, fence=fence, function_id="f", payload="x" * 10_000)


def ended(name: str, fence: int = 1) -> Outcome:
    return Outcome(task_id=name, fence=fence, state=TaskState.SUCCEEDED, result="11\n1", details={"pid": 3})


@pytest.fixture
def journal(tmp_path: Path) -> Iterator[Journal]:
    journal = Journal(tmp_path / "journal.db", circumstances="one")
    yield journal
    journal.close()


def test_what_is_added_and_recorded_is_there_after_a_reopening(journal: Journal, tmp_path: Path) -> None:
    journal.add([leased("a"), leased("b"), leased("a", 2)])
    journal.record([ended("b")])
    journal.close()
    again = Journal(tmp_path / "journal.db", circumstances="one")
    found = {entry.held: entry.outcome for entry in again.entries()}
    assert found == {Held("a", 1): None, Held("b", 1): ended("b"), Held("a", 2): None}
    assert again.journal_id == journal.journal_id
    assert again.same_circumstances
    again.close()


def test_a_journal_that_was_restored_is_another_journal(tmp_path: Path) -> None:
    """It would not know of tasks that began after it was copied, and they would be begun again."""
    path = tmp_path / "journal.db"
    first = Journal(path, circumstances="one")
    first.add([leased("a")])
    first.close()
    copy = tmp_path / "copy"
    copy.write_bytes(path.read_bytes())
    copy.replace(path)
    restored = Journal(path, circumstances="one")
    assert restored.journal_id != first.journal_id
    assert not restored.same_circumstances
    assert [entry.held for entry in restored.entries()] == [Held("a", 1)]
    restored.close()
    again = Journal(path, circumstances="one")
    assert (again.journal_id, again.same_circumstances) == (restored.journal_id, True)
    again.close()


def test_arguments_are_not_written(journal: Journal, tmp_path: Path) -> None:
    journal.add([leased("a")])
    assert b"xxxx" not in (tmp_path / "journal.db-wal").read_bytes()


def test_removal_forgets_one_leasing_of_a_task(journal: Journal) -> None:
    journal.add([leased("a"), leased("a", 2)])
    journal.remove([Held("a", 1)])
    assert [entry.held for entry in journal.entries()] == [Held("a", 2)]


def test_other_circumstances_are_noticed_once(tmp_path: Path) -> None:
    path = tmp_path / "journal.db"
    for circumstances, is_same in [("one", False), ("one", True), ("two", False), ("two", True)]:
        journal = Journal(path, circumstances=circumstances)
        assert journal.same_circumstances is is_same
        journal.close()


def test_a_damaged_journal_is_set_aside_under_a_new_id(tmp_path: Path) -> None:
    path = tmp_path / "journal.db"
    path.write_bytes(b"this is not a database, though it is long enough to look like one" * 50)
    journal = Journal(path, circumstances="one")
    journal.add([leased("a")])
    assert len(journal.entries()) == 1
    assert not journal.same_circumstances
    assert len(list(tmp_path.glob("journal.db.damaged.*"))) == 1
    journal.close()


def test_a_journal_of_a_later_version_is_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "journal.db"
    with sqlite3.connect(path) as connection:
        connection.execute("PRAGMA user_version = 99")
    connection.close()
    with pytest.raises(JournalTooNew, match="update this one"):
        Journal(path, circumstances="one")


def test_a_batch_that_does_not_fit_is_not_held_at_all(journal: Journal) -> None:
    journal.add([leased("a")])
    journal._connection.execute("PRAGMA max_page_count = 6")  # the state of a full disk, without one
    with pytest.raises(JournalFull, match="make room"):
        journal.add([leased(f"{number:0500}") for number in range(200)])
    assert [entry.held.task_id for entry in journal.entries()] == ["a"]
    assert journal.has_room()
    journal.add([leased("b")])
    assert len(journal.entries()) == 2


def test_a_closed_journal_takes_nothing(journal: Journal) -> None:
    journal.close()
    with pytest.raises(JournalFull, match="closed"):
        journal.add([leased("a")])
    assert not journal.has_room()


def test_whoever_makes_a_marker_first_decides(tmp_path: Path) -> None:
    markers = Markers(tmp_path / "starts")
    mine, theirs = Held("a", 1), Held("b", 1)
    Path(markers.path(theirs)).touch()
    assert markers.take(mine)
    assert markers.take(mine)
    assert not markers.take(theirs)


def test_a_later_session_knows_what_an_earlier_one_kept_from_starting(tmp_path: Path) -> None:
    assert Markers(tmp_path / "starts").take(Held("a", 1))
    assert Markers(tmp_path / "starts").take(Held("a", 1))


def test_markers_of_the_agent_stay_until_a_worker_has_met_them(tmp_path: Path) -> None:
    markers = Markers(tmp_path / "starts")
    held, run = Held("a", 1), Held("b", 1)
    markers.take(held)
    Path(markers.path(run)).touch()
    markers.finished(held)
    markers.finished(run)
    assert [one.name for one in (tmp_path / "starts").iterdir()] == [held.marker_name]
    markers.revoked(held)
    assert list((tmp_path / "starts").iterdir()) == []


def test_without_markers_nothing_is_proven(tmp_path: Path) -> None:
    markers = Markers(tmp_path / "starts", is_used=False)
    assert markers.path(Held("a", 1)) == ""
    assert not markers.take(Held("a", 1))


def test_a_marker_that_cannot_be_made_proves_nothing(tmp_path: Path) -> None:
    markers = Markers(tmp_path / "starts")
    (tmp_path / "starts").rmdir()
    assert not markers.take(Held("a", 1))
