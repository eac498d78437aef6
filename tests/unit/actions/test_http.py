"""The small rules of the HTTP client: addresses of operations, Retry-After, causes."""

from __future__ import annotations

import json
from datetime import UTC, datetime

import pytest

from flows_engine.actions.http import Operation, operation_url, retry_after_s
from flows_engine.actions.refusals import MAX_CAUSE_BYTES, conflict, missing_consent, shortened

NOW = datetime(2026, 1, 1, tzinfo=UTC)


@pytest.mark.parametrize(
    ("url", "operation", "action_id", "expected"),
    [
        ("https://a.example", "run", None, "https://a.example/run"),
        ("https://a.example/", "run", None, "https://a.example/run"),
        ("https://a.example/b//", "run", None, "https://a.example/b/run"),
        ("https://a.example/b?key=1", "status", "x", "https://a.example/b/x/status?key=1"),
        ("https://a.example/b", "cancel", "a/b", "https://a.example/b/a%2Fb/cancel"),
        ("https://a.example/b", "release", "../x", "https://a.example/b/..%2Fx/release"),
        ("https://a.example/b", "resume", "é?#%", "https://a.example/b/%C3%A9%3F%23%25/resume"),
    ],
)
def test_operations_are_below_the_providers_url(
    url: str, operation: Operation, action_id: str | None, expected: str
) -> None:
    assert operation_url(url, operation, action_id) == expected


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        (None, None),
        ("", None),
        ("0", 0.0),
        (" 12 ", 12.0),
        ("900", 900.0),
        ("901", 900.0),
        ("9" * 5000, 900.0),
        ("-1", None),
        ("1.5", None),
        ("٣", None),
        ("soon", None),
        ("Thu, 01 Jan 2026 00:00:30 GMT", 30.0),
        ("Thu, 01 Jan 2026 01:00:30 +0100", 30.0),
        ("Thu, 01 Jan 2026 00:00:30 -0000", 30.0),
        ("Thu, 01 Jan 2099 00:00:00 GMT", 900.0),
        ("Thu, 01 Jan 1970 00:00:00 GMT", 0.0),
        ("Thu, 99 Foo 2026 00:00:00 GMT", None),
        ("Thu, 01 Jan 99999999999 00:00:00 GMT", None),
    ],
)
def test_retry_after_is_seconds_or_a_date_or_nothing(text: str | None, seconds: float | None) -> None:
    assert retry_after_s(text, NOW) == seconds


def test_a_short_error_document_is_kept_whole() -> None:
    document = {"code": "X", "description": "d", "extra": [1, {"a": None}]}

    assert json.loads(shortened(document)) == document


@pytest.mark.parametrize(
    "document",
    [
        {"code": "X", "description": "é" * 5000},
        {"code": "X" * 5000, "description": "\u0001" * 5000},
        {"other": "y" * 5000},
        {"code": 7, "description": ["z" * 5000]},
    ],
)
def test_a_long_error_document_is_cut(document: dict[str, object]) -> None:
    assert len(shortened(document).encode()) <= MAX_CAUSE_BYTES
    assert len(conflict(shortened(document)).encode()) <= MAX_CAUSE_BYTES


def test_what_people_need_of_a_long_document_stays_json() -> None:
    cause = json.loads(shortened({"code": "X", "description": "é" * 5000, "trace": "t" * 9000}))

    assert cause == {"code": "X", "description": "é" * 600}


@pytest.mark.parametrize(
    ("document", "scope"),
    [
        (None, None),
        ({}, None),
        ({"code": "ConsentRequired"}, "own"),
        ({"code": "ConsentRequired", "required_scope": "a[b c]"}, "a[b c]"),
        ({"code": "ConsentRequired", "required_scopes": ["a", "b"]}, "a"),
        ({"code": "ConsentRequired", "required_scopes": []}, "own"),
        ({"code": "ConsentRequired", "required_scope": "a\r\nb"}, "own"),
        ({"code": "ConsentRequired", "required_scope": "a" * 2000}, "own"),
        ({"error": {"code": "ConsentRequired"}}, "own"),
        ({"details": {"required_scope": "a"}}, "a"),
        ({"detail": [{"authorization_parameters": {"required_scopes": ["a"]}}]}, "a"),
        ({"code": "UnauthorizedRequest", "description": "no"}, None),
    ],
)
def test_the_scope_of_a_missing_consent_is_found_where_services_put_it(
    document: dict[str, object] | None, scope: str | None
) -> None:
    assert missing_consent(document, "own") == scope
