"""Wait: when the timer is due, and which values are refused."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from flows_engine.asl.dialects import ASL, GLOBUS, Dialect
from flows_engine.asl.errors import EvaluationError
from flows_engine.asl.run import Branch, FireTimer, RunResumed, TimerFired
from flows_engine.asl.scope import Scope
from flows_engine.asl.states.base import Context, Done, Outcome
from flows_engine.asl.states.base import Wait as Sleep
from flows_engine.asl.states.wait import Wait

AT = datetime(2026, 7, 1, 12, tzinfo=UTC)


def enter(body: dict[str, Any], data: Any = None, dialect: Dialect = ASL) -> Outcome:
    return wait(body, dialect).enter(context(data))


def wait(body: dict[str, Any], dialect: Dialect = ASL) -> Wait:
    return Wait("Pause", {"Type": "Wait", "Next": "Go", **body}, dialect)


def context(data: Any) -> Context:
    return Context(at=AT, branch=Branch(id="0", state="Pause", input=data, entry=7), value=data, scope=Scope(data))


@pytest.mark.parametrize(
    ("body", "data", "due"),
    [
        ({"Seconds": 60}, {}, AT + timedelta(minutes=1)),
        ({"SecondsPath": "$.s"}, {"s": 1}, AT + timedelta(seconds=1)),
        ({"SecondsPath": "$.s"}, {"s": 90.0}, AT + timedelta(seconds=90)),
        ({"Timestamp": "2026-07-01T12:00:05Z"}, {}, AT + timedelta(seconds=5)),
        ({"TimestampPath": "$.t"}, {"t": "2026-07-01T14:00:01+02:00"}, AT + timedelta(seconds=1)),
        ({"TimestampPath": "$.t"}, {"t": "2026-07-01T12:00:00.500Z"}, AT + timedelta(milliseconds=500)),
    ],
)
def test_a_wait_asks_for_one_timer_with_the_token_of_its_entry(body: dict[str, Any], data: Any, due: datetime) -> None:
    assert enter(body, data) == Sleep((FireTimer(token="0:7", due=due),))


@pytest.mark.parametrize(
    ("body", "data"),
    [
        ({"Seconds": 0}, {"x": 1}),
        ({"SecondsPath": "$.s"}, {"s": 0}),
        ({"Timestamp": "2016-03-14T01:59:00Z"}, {"x": 1}),
        ({"TimestampPath": "$.t"}, {"t": "2026-07-01T12:00:00Z"}),
    ],
)
def test_a_time_that_has_come_is_no_wait_at_all(body: dict[str, Any], data: Any) -> None:
    assert enter(body, data) == Done(data)


@pytest.mark.parametrize(
    ("value", "sentence"),
    [
        (-1, "negative"),
        (-1.5, "not a whole number"),
        (1.5, "not a whole number"),
        ("5", "not a whole number"),
        (True, "not a whole number"),
        (None, "not a whole number"),
        ([5], "not a whole number"),
        (10**12, "too long"),
        (2**63 - 1, "too long"),
        (1e300, "too long"),
    ],
)
def test_seconds_that_are_no_seconds_are_an_error_of_the_run(value: Any, sentence: str) -> None:
    with pytest.raises(EvaluationError, match=sentence) as caught:
        enter({"SecondsPath": "$.s"}, {"s": value})
    assert caught.value.error == "States.Runtime"
    assert "SecondsPath $.s ==" in caught.value.cause


@pytest.mark.parametrize(
    ("value", "sentence"),
    [
        ("2016-13-05T21:29:29Z", "calendar"),
        ("2026-01-01T00:00:00", "no zone"),
        ("05-12-2016T21:29:29Z", "RFC 3339"),
        ("2026-01-01", "RFC 3339"),
        ("tomorrow", "RFC 3339"),
        ("x" * 5000, "RFC 3339"),
        (1767225600, "not a string"),
        (None, "not a string"),
        ("2104-01-21T00:00:00.000Z", "too long"),
        ("9999-12-31T23:59:59Z", "too long"),
    ],
)
def test_a_timestamp_that_is_none_is_an_error_of_the_run(value: Any, sentence: str) -> None:
    with pytest.raises(EvaluationError, match=sentence) as caught:
        enter({"TimestampPath": "$.t"}, {"t": value})
    assert caught.value.error == "States.Runtime"
    assert len(caught.value.cause) < 400


@pytest.mark.parametrize("field", ["SecondsPath", "TimestampPath"])
def test_a_path_to_nothing_is_an_error_of_the_run(field: str) -> None:
    with pytest.raises(EvaluationError) as caught:
        enter({field: "$.absent"}, {})
    assert caught.value.error == "States.Runtime"


def test_a_hosted_flow_waits_a_year_at_most_and_a_states_language_one_longer() -> None:
    two_years = {"SecondsPath": "$.s"}, {"s": 2 * 31_536_000}
    with pytest.raises(EvaluationError, match="365 days"):
        enter(*two_years, dialect=GLOBUS)
    assert isinstance(enter(*two_years, dialect=ASL), Sleep)


def test_a_fired_timer_ends_the_wait_with_the_input() -> None:
    data = {"x": 1}
    outcome = wait({"Seconds": 60}).resume(context(data), TimerFired(at=AT, token="0:7"))
    assert outcome == Done(data)


def test_only_a_timer_ends_a_wait() -> None:
    with pytest.raises(TypeError, match="RunResumed"):
        wait({"Seconds": 60}).resume(context({}), RunResumed(at=AT))
