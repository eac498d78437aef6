"""The server's log: one line an event, no secrets."""

from __future__ import annotations

import logging

import pytest

from flows_engine.cli.logs import Brief, OneLine

TOKEN = f"fe_{'a' * 8}_{'B' * 43}"


def record(message: str, **extra: object) -> logging.LogRecord:
    made = logging.makeLogRecord({"name": "x.y", "levelname": "INFO", "msg": message, "created": 0.5, "msecs": 500.0})
    vars(made).update(extra)
    return made


def test_an_event_is_one_line_with_its_ids() -> None:
    line = OneLine().format(record("one\ntwo", run_id="r-1"))
    assert line == "1970-01-01T00:00:00.500Z INFO x.y: one | two run_id=r-1"


def test_a_traceback_stays_on_the_line() -> None:
    try:
        raise ValueError("broken")
    except ValueError as error:
        event = record("failed", exc_info=(ValueError, error, error.__traceback__))
    line = OneLine().format(event)
    assert "\n" not in line
    assert "ValueError: broken" in line


@pytest.mark.parametrize("text", [f"got {TOKEN}", f"Authorization: Bearer {TOKEN}", "Basic abc:def", f"x={TOKEN}!"])
def test_no_credential_reaches_the_log(text: str) -> None:
    for formatter in (OneLine(), Brief()):
        line = formatter.format(record(text))
        assert TOKEN not in line
        assert "abc" not in line
        assert "(secret)" in line
