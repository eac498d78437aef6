"""Waiting before asking again."""

from __future__ import annotations

import pytest

from flows_engine.actions.backoff import poll_delay, retry_delay


@pytest.mark.parametrize(("attempt", "cap_s"), [(0, 1), (1, 2), (3, 8), (5, 32), (6, 60), (7, 60), (100_000, 60)])
def test_retries_are_spread_evenly_under_a_doubling_cap(attempt: int, cap_s: float) -> None:
    delays = [retry_delay(attempt, None, f"command-{number}").total_seconds() for number in range(400)]

    assert 0 <= min(delays) < 0.1 * cap_s
    assert 0.9 * cap_s < max(delays) <= cap_s
    assert 0.4 * cap_s < sum(delays) / len(delays) < 0.6 * cap_s


@pytest.mark.parametrize(("asked_s", "kept_s"), [(7.0, 7.0), (1e9, 900.0), (0.0, 0.0), (-5.0, 0.0)])
def test_what_the_provider_asks_for_comes_before_the_jitter(asked_s: float, kept_s: float) -> None:
    delay = retry_delay(2, asked_s, "command").total_seconds()

    assert kept_s <= delay <= kept_s + 4


def test_the_same_seed_waits_equally_and_another_does_not() -> None:
    assert retry_delay(3, None, "a") == retry_delay(3, None, "a") != retry_delay(3, None, "b")
    assert poll_delay(3, False, "a") == poll_delay(3, False, "a") != poll_delay(3, False, "b")


@pytest.mark.parametrize(
    ("polls", "pushes", "middle_s"),
    [
        (0, False, 1.0),
        (1, False, 1.5),
        (2, False, 2.25),
        (10, False, 57.665),
        (11, False, 60.0),
        (10**6, False, 60.0),
        (0, True, 0.05),
        (1, True, 0.15),
        (7, True, 60.0),
        (10**6, True, 60.0),
    ],
)
def test_polls_come_less_and_less_often_within_a_fifth(polls: int, pushes: bool, middle_s: float) -> None:
    delays = [poll_delay(polls, pushes, f"command-{number}").total_seconds() for number in range(100)]

    assert min(delays) >= 0.799 * middle_s
    assert max(delays) <= 1.201 * middle_s
    assert max(delays) > 1.1 * min(delays)
