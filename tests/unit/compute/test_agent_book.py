"""What an agent holds and decides: table of single steps, and a machine that takes any steps in any order."""

from __future__ import annotations

from collections import Counter

from hypothesis import strategies as st
from hypothesis.stateful import Bundle, RuleBasedStateMachine, invariant, rule

from compute_agent.agent.book import Book, Held, Phase
from compute_agent.wire import Assignment, Outcome, TaskState

FUNCTION = "f"


def leased(task_id: str, fence: int = 1) -> Assignment:
    return Assignment(task_id=task_id, fence=fence, function_id=FUNCTION, payload="")


def ended(task_id: str, fence: int = 1, *, result: str = "11\n1") -> Outcome:
    return Outcome(task_id=task_id, fence=fence, state=TaskState.SUCCEEDED, result=result)


def started(book: Book, task_id: str, fence: int = 1) -> Held:
    book.take([leased(task_id, fence)])
    book.journaled([leased(task_id, fence)])
    held = Held(task_id, fence)
    assert book.submit(held)
    return held


def test_a_task_is_not_submitted_before_it_is_journaled() -> None:
    book = Book()
    book.take([leased("a")])
    assert not book.submit(Held("a", 1))
    book.journaled([leased("a")])
    assert book.submit(Held("a", 1))


def test_a_task_is_submitted_once() -> None:
    book = Book()
    held = started(book, "a")
    assert not book.submit(held)


def test_what_is_held_is_not_taken_again() -> None:
    book = Book()
    started(book, "a", 2)
    assert book.take([leased("a", 2), leased("a", 1)]).new == []
    assert book.phase(Held("a", 2)) is Phase.SUBMITTED


def test_a_higher_fence_supersedes_and_the_old_outcome_is_dropped() -> None:
    book = Book()
    started(book, "a", 1)
    taken = book.take([leased("a", 4)])
    assert taken.superseded == [Held("a", 1)]
    assert not book.finish(ended("a", 1))
    assert book.phase(Held("a", 4)) is Phase.ACCEPTED


def test_only_the_first_outcome_counts() -> None:
    book = Book()
    started(book, "a")
    assert book.finish(ended("a", result="first"))
    assert not book.finish(ended("a", result="second"))
    assert [one.result for one in book.unsent(most=9, most_bytes=10**6)] == ["first"]


def test_room_comes_back_with_the_outcome_not_with_the_upload() -> None:
    book = Book()
    started(book, "a")
    assert book.free(3) == 2
    book.finish(ended("a"))
    assert book.free(3) == 3
    assert book.held() == [Held("a", 1)]


def test_uploads_are_bounded_by_number_and_bytes_but_never_empty() -> None:
    book = Book()
    for name in "abcd":
        started(book, name)
        book.finish(ended(name, result="x" * 1000))
    assert len(book.unsent(most=3, most_bytes=10**6)) == 3
    assert len(book.unsent(most=9, most_bytes=3200)) == 2
    assert len(book.unsent(most=9, most_bytes=1)) == 1


def test_what_the_service_does_not_mention_is_sent_again() -> None:
    book = Book()
    for name in "abc":
        started(book, name)
        book.finish(ended(name))
    sent = book.unsent(most=9, most_bytes=10**6)
    assert book.settle(sent, ["a"], {"b": "taken"}) == [Held("a", 1), Held("b", 1)]
    assert [one.task_id for one in book.unsent(most=9, most_bytes=10**6)] == ["c"]


def test_an_answer_about_an_old_fence_does_not_touch_the_new_one() -> None:
    book = Book()
    started(book, "a", 1)
    book.finish(ended("a", 1))
    sent = book.unsent(most=9, most_bytes=10**6)
    book.take([leased("a", 2)])
    assert book.settle(sent, ["a"], {}) == []
    assert book.phase(Held("a", 2)) is Phase.ACCEPTED


def test_unknown_tasks_are_forgotten_whatever_they_do() -> None:
    book = Book()
    started(book, "a")
    started(book, "b")
    book.finish(ended("b"))
    named = [Held(one, 1) for one in ("a", "b", "c", "a")]
    assert book.unknown(named) == [Held("a", 1), Held("b", 1)]
    assert (len(book), book.unfinished, book.has_unsent) == (0, 0, False)


def test_a_task_that_was_leased_anew_is_not_forgotten_for_what_was_said_of_the_leasing_before() -> None:
    book = Book()
    book.take([leased("a", 2)])
    assert book.unknown([Held("a", 1)]) == []
    assert book.phase(Held("a", 2)) is Phase.ACCEPTED


def test_short_tasks_are_not_announced() -> None:
    book = Book()
    started(book, "short")
    started(book, "long")
    book.finish(ended("short"))
    assert book.announce() == ["long"]
    assert book.announce() == []
    book.announce_again(["short", "long"])
    assert book.announce() == ["long"]


def test_a_cancel_touches_what_has_no_outcome() -> None:
    book = Book()
    started(book, "a")
    started(book, "b")
    book.finish(ended("b"))
    assert book.cancelling(["b", "a", "x", "a"]) == [Held("a", 1)]


def test_an_outcome_that_is_restored_is_recorded_already() -> None:
    book = Book()
    book.restore(ended("a"))
    book.restore(ended("b"))
    sent = book.unsent(most=9, most_bytes=10**6)
    assert book.unrecorded(sent) == []
    book.replace(ended("a", result="smaller"))
    assert [one.result for one in book.unrecorded(book.unsent(most=9, most_bytes=10**6))] == ["smaller"]


class Life(RuleBasedStateMachine):
    """A book beside a plain record of what was said to whom. Fences rise as the service hands them out."""

    tasks = Bundle("tasks")

    def __init__(self) -> None:
        super().__init__()
        self.book = Book()
        self.fences: Counter[str] = Counter()
        self.journal: set[Held] = set()
        self.starts: Counter[Held] = Counter()
        self.outcomes: Counter[Held] = Counter()
        self.released: set[Held] = set()
        self.in_flight: list[Outcome] = []

    @rule(target=tasks, task_id=st.sampled_from("abcdef"), is_new=st.booleans())
    def lease(self, task_id: str, is_new: bool) -> Held:
        if is_new or not self.fences[task_id]:
            self.fences[task_id] += 1
        held = Held(task_id, self.fences[task_id])
        taken = self.book.take([leased(*held)])
        self.released |= set(taken.superseded)
        return held

    @rule(held=tasks)
    def journal_it(self, held: Held) -> None:
        if self.book.phase(held) is Phase.ACCEPTED:
            self.journal.add(held)
        self.book.journaled([leased(*held)])

    @rule(held=tasks)
    def submit(self, held: Held) -> None:
        if self.book.submit(held):
            assert held in self.journal
            assert not self.outcomes[held]
            self.starts[held] += 1

    @rule(held=tasks)
    def finish(self, held: Held) -> None:
        if self.book.finish(ended(*held)):
            self.outcomes[held] += 1

    @rule(most=st.integers(1, 4))
    def upload(self, most: int) -> None:
        self.in_flight = self.book.unsent(most=most, most_bytes=10**6)

    @rule(data=st.data())
    def answer(self, data: st.DataObject) -> None:
        ids = [one.task_id for one in self.in_flight]
        accepted = data.draw(st.sets(st.sampled_from(ids))) if ids else set()
        gone = self.book.settle(self.in_flight, accepted, {})
        assert all(self.outcomes[held] for held in gone)
        self.released |= set(gone)
        self.in_flight = []

    @rule(task_id=st.sampled_from("abcdef"))
    def taken_away(self, task_id: str) -> None:
        self.released |= set(self.book.unknown([one for one in self.book.held() if one.task_id == task_id]))

    @invariant()
    def nothing_starts_or_ends_twice(self) -> None:
        assert all(count <= 1 for count in self.starts.values())
        assert all(count <= 1 for count in self.outcomes.values())

    @invariant()
    def nothing_is_forgotten_unless_the_service_said_so(self) -> None:
        named = {one.task_id for one in self.book.held()}
        for task_id, fence in self.fences.items():
            held = Held(task_id, fence)
            assert (task_id in named) or held in self.released

    @invariant()
    def every_unsent_outcome_is_held_and_counts_agree(self) -> None:
        unsent = self.book.unsent(most=100, most_bytes=10**9)
        assert {one.task_id for one in unsent} <= {one.task_id for one in self.book.held()}
        assert self.book.unfinished == len(self.book.open()) == len(self.book) - len(unsent)


TestLife = Life.TestCase
