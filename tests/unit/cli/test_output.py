"""What people see on their terminals."""

from __future__ import annotations

import pytest

from flows_engine.cli.follow import event_line
from flows_engine.cli.output import print_fields, print_table, short_time, shown
from schemas.json_text import dumps


def test_texts_of_others_cannot_steer_the_terminal() -> None:
    assert shown("a\x1b[31mb\r\nc\x07") == "a [31mb  c "
    entry = {"time": "2026-01-01T12:00:00.123456+00:00", "code": "X\x1b", "description": "d\nd", "details": {}}
    assert "\x1b" not in event_line(entry)
    assert "\n" not in event_line(entry)


def test_a_table_is_aligned(capsys: pytest.CaptureFixture[str]) -> None:
    print_table(["ID", "NAME"], [["1", "long name"], ["22", ""]])
    assert capsys.readouterr().out.splitlines()[1:] == ["1   long name", "22"]


def test_fields_without_a_value_are_left_out(capsys: pytest.CaptureFixture[str]) -> None:
    print_fields({"a": "1", "long": None, "empty": ""})
    assert capsys.readouterr().out.endswith("  1\n")


def test_times_are_short() -> None:
    assert short_time("2026-01-31T12:00:00.123456+00:00") == "2026-01-31 12:00:00"
    assert short_time(None) == ""


@pytest.mark.parametrize(
    ("details", "end"),
    [
        ({"exception": "States.Timeout", "cause": "late"}, ": States.Timeout: late"),
        ({"error": "Own", "cause": {"a": 1}}, ': Own: {"a":1}'),
        ({"reason": "set aside"}, ": set aside"),
        ({"exception": "E", "cause": "x" * 500}, "xxx..."),
        ({"state_name": "A"}, "State failed"),
        (
            {
                "exception": "E",
                "cause": dumps({"id": "x" * 500, "details": {"code": "FILE_NOT_FOUND", "description": "no /a"}}),
            },
            ": E: no /a (FILE_NOT_FOUND)",
        ),
        ({"exception": "E", "cause": '{"code":"Refused","description":"no x"}'}, ": E: no x (Refused)"),
        ({"exception": "E", "cause": '{"details":{"description":""},"a":1}'}, '{"details":{"description":""},"a":1}'),
        ({"exception": "E", "cause": "{half"}, ": E: {half"),
    ],
)
def test_an_event_says_why_it_went_wrong(details: dict[str, object], end: str) -> None:
    line = event_line(
        {
            "time": "2026-01-01T12:00:00.123456+00:00",
            "code": "ActionFailed",
            "description": "State failed",
            "details": details,
        }
    )
    assert line.startswith("12:00:00.123  ActionFailed")
    assert line.endswith(end)
