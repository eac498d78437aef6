"""Documents of the Action Provider API: requests in, descriptions and statuses out. Pure.

Source: Action Provider Tools, ``actions_spec.openapi.yaml``.
"""

from __future__ import annotations

import hashlib
import re
from datetime import datetime, timedelta
from typing import Any

from schemas.action import ActionRequest
from schemas.errors import Problem
from schemas.json_text import Json, dumps_sorted
from schemas.principals import ALL_AUTHENTICATED_USERS, is_identity_or_group
from schemas.times import format_time, parse_rfc3339

from .errors import invalid
from .provider import Description
from .store import Record

#: How long a finished action is kept when the request does not say.
RELEASE_AFTER = "P30D"
RELEASE_AFTER_MAX = timedelta(days=366)

REQUEST_ID_CHARS = 256
LABEL_CHARS = 64
LIST_LENGTH = 64

_MEMBERS = frozenset(
    ("request_id", "body", "label", "deadline", "release_after", "monitor_by", "manage_by", "allowed_clients")
)
_DURATION = re.compile(
    r"P(?=.)(?:(\d{1,4})Y)?(?:(\d{1,4})M)?(?:(\d{1,4})W)?(?:(\d{1,5})D)?"
    r"(?:T(?=.)(?:(\d{1,6})H)?(?:(\d{1,8})M)?(?:(\d{1,9})S)?)?",
    re.ASCII,
)
_UNITS = (
    timedelta(days=365),
    timedelta(days=30),
    timedelta(weeks=1),
    timedelta(days=1),
    timedelta(hours=1),
    timedelta(minutes=1),
    timedelta(seconds=1),
)


def parse_request(document: Json) -> ActionRequest:
    """The typed request; members that are null count as absent.

    Raises:
        ActionError: 422, naming every member that is wrong.
    """
    if not isinstance(document, dict):
        raise invalid([Problem((), "an action request is a JSON object with request_id and body", "type")])
    problems = [
        Problem((name,), f"unknown member; known are {', '.join(sorted(_MEMBERS))}", "additionalProperties")
        for name in sorted(document.keys() - _MEMBERS)
    ]
    request: dict[str, Any] = {
        name: value for name, value in document.items() if name in _MEMBERS and value is not None
    }
    problems += _missing(request) + _wrong_text(request) + _wrong_times(request) + _wrong_lists(request)
    if problems:
        raise invalid(problems)
    for name in ("monitor_by", "manage_by", "allowed_clients"):
        request[name] = tuple(request.get(name, ()))
    return ActionRequest(**request)


def request_sha256(request: ActionRequest) -> str:
    """Hash of the request as it was asked; equal requests have equal hashes whatever the order of their keys."""
    try:
        return hashlib.sha256(dumps_sorted(request.to_json()).encode()).hexdigest()
    except TypeError as error:
        raise invalid([Problem(("body",), "the body cannot be written as JSON", "type")]) from error


def parse_duration(text: str) -> timedelta:
    """ISO 8601 duration in whole units; a year counts 365 days and a month 30.

    Raises:
        ValueError: with a sentence that says what would be right.
    """
    match = _DURATION.fullmatch(text)
    if match is None:
        raise ValueError(f"{text[:64]!r} is not an ISO 8601 duration such as P30D or PT12H")
    return sum((int(n) * unit for n, unit in zip(match.groups(), _UNITS, strict=True) if n), timedelta())


def status_document(record: Record) -> dict[str, Any]:
    """The status of an action as every operation answers it."""
    completed = record.completed_at
    return {
        "action_id": record.action_id,
        "status": record.status.value,
        "display_status": record.status.value,
        "creator_id": record.creator,
        "details": record.details,
        "label": record.label,
        "monitor_by": record.sharing.get("monitor_by", []),
        "manage_by": record.sharing.get("manage_by", []),
        "start_time": format_time(record.started_at),
        "completion_time": None if completed is None else format_time(completed),
        "release_after": record.release_after,
    }


def introspection_document(description: Description) -> dict[str, Any]:
    """What introspection answers. ``api_version`` stays 1.0 although the routes of 1.1 are served as well."""
    return {
        "types": ["Action"],
        "api_version": "1.0",
        "globus_auth_scope": description.scope,
        "title": description.title,
        "subtitle": description.subtitle,
        "description": description.description,
        "keywords": list(description.keywords),
        "visible_to": list(description.visible_to),
        "runnable_by": list(description.runnable_by),
        "administered_by": list(description.administered_by),
        "admin_contact": description.admin_contact,
        "synchronous": description.synchronous,
        "log_supported": description.log_supported,
        "maximum_deadline": description.maximum_deadline,
        "input_schema": dict(description.input_schema),
        "event_types": list(description.event_types),
    }


def deadline_of(request: ActionRequest) -> datetime | None:
    return None if request.deadline is None else parse_rfc3339(request.deadline)


def _missing(request: dict[str, Any]) -> list[Problem]:
    return [
        Problem((name,), "this member is required", "required")
        for name in ("request_id", "body")
        if name not in request
    ]


def _wrong_text(request: dict[str, Any]) -> list[Problem]:
    problems = []
    for name, most in (("request_id", REQUEST_ID_CHARS), ("label", LABEL_CHARS)):
        value = request.get(name, "absent")
        if not isinstance(value, str) or not 0 < len(value) <= most:
            problems.append(Problem((name,), f"must be text of 1 to {most} characters", "type"))
    if not isinstance(request.get("body", {}), dict):
        problems.append(Problem(("body",), "must be a JSON object", "type"))
    return problems


def _wrong_times(request: dict[str, Any]) -> list[Problem]:
    problems = []
    for name, parse in (("deadline", parse_rfc3339), ("release_after", _release_after)):
        if (value := request.get(name)) is None:
            continue
        try:
            parse(value if isinstance(value, str) else str(value))
        except ValueError as error:
            problems.append(Problem((name,), str(error), "format"))
            continue
        if not isinstance(value, str):
            problems.append(Problem((name,), "must be text", "type"))
    return problems


def _release_after(text: str) -> timedelta:
    if (value := parse_duration(text)) > RELEASE_AFTER_MAX:
        raise ValueError(f"{text!r} is longer than the {RELEASE_AFTER_MAX.days} days an action may be kept")
    return value


def _wrong_lists(request: dict[str, Any]) -> list[Problem]:
    problems = []
    for name in ("monitor_by", "manage_by", "allowed_clients"):
        entries = request.get(name, [])
        if not isinstance(entries, list) or len(entries) > LIST_LENGTH:
            problems.append(Problem((name,), f"must be a list of at most {LIST_LENGTH} entries", "type"))
            continue
        for i, entry in enumerate(entries):
            if why := _wrong_entry(name, entry):
                problems.append(Problem((name, i), why, "format"))
    return problems


def _wrong_entry(name: str, entry: Any) -> str | None:
    if name == "allowed_clients":
        is_client = isinstance(entry, str) and 0 < len(entry) <= 128
        return None if is_client else "must be a client id or public"
    if isinstance(entry, str) and (is_identity_or_group(entry) or entry == ALL_AUTHENTICATED_USERS):
        return None
    return "must be an identity URN, a group URN or all_authenticated_users"
