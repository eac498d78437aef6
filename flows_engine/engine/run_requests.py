"""What callers send about runs, as typed values: starting one, changing one, changing many.

A flow is an action provider as well, so a start may come in the words of an action request: ``request_id``,
``monitor_by`` for ``run_monitors``, ``manage_by`` for ``run_managers``.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from schemas.json_text import Json
from schemas.principals import normal_uuid

from ..asl.paths import RUN_CONTEXT
from .limits import Limits
from .metadata import Body

_NOTIFY_STATUSES = ("INACTIVE", "FAILED", "SUCCEEDED")
_MAX_LABEL_CHARS = 64
_MAX_REQUEST_ID_CHARS = 512
_LISTS = ("tags", "run_managers", "run_monitors")

_START_MEMBERS = frozenset({"body", "label", *_LISTS, "activity_notification_policy"})
#: ``deadline`` and ``release_after`` are accepted and not acted upon: a run ends by its own definition and is kept.
_ACTION_MEMBERS = frozenset({"request_id", "monitor_by", "manage_by", "deadline", "release_after", "allowed_clients"})


@dataclass(frozen=True, slots=True, kw_only=True)
class RunRequest:
    """A run asked for. ``notify_on`` are the statuses of which the owner is told."""

    input: dict[str, Json]
    label: str | None
    tags: list[str]
    run_managers: list[str]
    run_monitors: list[str]
    notify_on: list[str]
    request_id: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class BatchRequest:
    """Changes to many runs: lists replaced, then lengthened, then shortened; ``cancel`` ends the runs as well."""

    run_ids: tuple[str, ...]
    replace: Mapping[str, list[str]]
    add: Mapping[str, list[str]]
    remove: Mapping[str, list[str]]
    cancel: bool


def parse_run(document: Json, limits: Limits) -> RunRequest:
    """Body of ``run`` and ``validate_run``."""
    body = Body(document, _START_MEMBERS | _ACTION_MEMBERS)
    body.require("body")
    value = body.object("body", most_bytes=limits.max_input_bytes)
    if value is not None and RUN_CONTEXT in value:
        body.wrong(("body", RUN_CONTEXT), f"the key is reserved: flows read the run's context at $.{RUN_CONTEXT}")
    request = RunRequest(
        input=value or {},
        label=body.text("label", least=1, most=_MAX_LABEL_CHARS),
        tags=_tags(body, limits) or [],
        run_managers=_either(body, "run_managers", "manage_by", limits),
        run_monitors=_either(body, "run_monitors", "monitor_by", limits),
        notify_on=_notify_on(body),
        request_id=body.text("request_id", least=1, most=_MAX_REQUEST_ID_CHARS),
    )
    body.text("deadline", most=64)
    body.text("release_after", most=64)
    if body.texts("allowed_clients", most_items=100, most_chars=128):
        body.wrong(("allowed_clients",), "restricting clients is not supported by this service")
    body.check()
    return request


def parse_run_update(document: Json, limits: Limits) -> dict[str, Json]:
    """Body of ``PUT /runs/{run_id}``: the members to change."""
    body = Body(document, frozenset({"label", *_LISTS}))
    change: dict[str, Json] = {
        "label": body.text("label", least=1, most=_MAX_LABEL_CHARS),
        **_lists(body, limits),
    }
    body.check()
    return {name: value for name, value in change.items() if value is not None}


def parse_batch(document: Json, limits: Limits) -> BatchRequest:
    """Body of ``POST /batch/runs``."""
    body = Body(document, frozenset({"filters", "set", "add", "remove"}))
    body.require("filters")
    filters = body.part("filters", frozenset({"run_ids"}))
    run_ids: list[str] = []
    if filters is not None:
        filters.require("run_ids")
        for i, text in enumerate(filters.texts("run_ids", most_items=limits.max_batch_runs, most_chars=64) or []):
            if identifier := normal_uuid(text):
                run_ids.append(identifier)
            else:
                filters.wrong(("run_ids", i), "value is not a valid uuid", "type_error.uuid")
    replaced = body.part("set", frozenset({"status", *_LISTS}))
    added = body.part("add", frozenset(_LISTS))
    removed = body.part("remove", frozenset(_LISTS))
    status = replaced.raw("status") if replaced is not None else None
    if replaced is not None and status not in (None, "cancel"):
        replaced.wrong(("status",), "unexpected value; permitted: 'cancel'", "value_error.const")
    request = BatchRequest(
        run_ids=tuple(dict.fromkeys(run_ids)),
        replace=_lists(replaced, limits),
        add=_lists(added, limits),
        remove=_lists(removed, limits),
        cancel=status == "cancel",
    )
    body.check()
    return request


def check_lengths(document: Mapping[str, Json], limits: Limits) -> None:
    """Refuse lists that adding made too long.

    Raises:
        Unprocessable: naming the list.
    """
    body = Body(dict(document), frozenset(document))
    _lists(body, limits)
    body.check()


def _lists(body: Body | None, limits: Limits) -> dict[str, list[str]]:
    if body is None:
        return {}
    found = {
        "tags": _tags(body, limits),
        "run_managers": body.principals("run_managers", most_items=limits.max_role_principals),
        "run_monitors": body.principals("run_monitors", most_items=limits.max_role_principals),
    }
    return {name: values for name, values in found.items() if values is not None}


def _tags(body: Body, limits: Limits) -> list[str] | None:
    return body.texts("tags", most_items=limits.max_tags, most_chars=limits.max_tag_chars, collapse=True)


def _either(body: Body, name: str, action_name: str, limits: Limits) -> list[str]:
    """A role list under its own name or under the one of action requests; both together count as one list."""
    own = body.principals(name, most_items=limits.max_role_principals) or []
    other = body.principals(action_name, most_items=limits.max_role_principals) or []
    return list(dict.fromkeys([*own, *other]))


def _notify_on(body: Body) -> list[str]:
    policy = body.part("activity_notification_policy", frozenset({"status"}))
    if policy is None:
        return ["INACTIVE"]
    statuses = policy.choices("status", _NOTIFY_STATUSES, most_items=len(_NOTIFY_STATUSES))
    return ["INACTIVE"] if statuses is None else statuses
