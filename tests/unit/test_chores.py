"""Chores: each in its own time, and none hinders another."""

from __future__ import annotations

import threading

from flows_engine.chores import Chore, Chores

SOON_S = 10.0


def test_a_chore_is_done_at_the_start_and_again_after_its_own_time() -> None:
    often, again = 0, threading.Event()
    rarely = []

    def count() -> None:
        nonlocal often
        often += 1
        if often == 3:
            again.set()

    chores = Chores([Chore("rarely", lambda: rarely.append(1)), Chore("often", count, every_s=0.01)])
    chores.start()
    try:
        assert again.wait(SOON_S)
    finally:
        chores.stop()
    assert rarely == [1]


def test_a_chore_that_fails_does_not_hinder_the_others_and_is_tried_again() -> None:
    done = threading.Event()
    tries = []

    def fail() -> None:
        tries.append(1)
        if len(tries) == 2:
            done.set()
        raise OSError("no")

    other = []
    chores = Chores([Chore("fails", fail, every_s=0.01), Chore("works", lambda: other.append(1))])
    chores.start()
    try:
        assert done.wait(SOON_S)
    finally:
        chores.stop()
    assert other == [1]
