"""What ``list`` and ``status`` say of an endpoint, for people."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import yaml

from .directory import EndpointDirectory

_COLUMNS = (
    ("NAME", "name"),
    ("STATUS", "status"),
    ("ENGINE", "engine"),
    ("PROCESS", "pid"),
    ("ENDPOINT ID", "endpoint_id"),
)
#: The first ``type:`` below ``engine:`` in a template, which is no YAML before it is rendered.
_ENGINE_TYPE = re.compile(r"^engine:[^\n]*\n(?:[ \t#][^\n]*\n|\n)*?[ \t]+type:[ \t]*[\"']?([\w.]+)", re.MULTILINE)


def engine_type(directory: EndpointDirectory) -> str | None:
    """The type of engine that an endpoint's files name, or None when that cannot be told without rendering them."""
    try:
        document = yaml.safe_load(directory.config.read_text(encoding="utf-8"))
        if isinstance(document, dict) and isinstance(engine := document.get("engine"), dict):
            return str(engine.get("type") or "") or None
        found = _ENGINE_TYPE.search(directory.template.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError, yaml.YAMLError):
        return None
    return found[1] if found else None


def table(rows: Sequence[Mapping[str, Any]]) -> str:
    """Endpoints, one a line."""
    lines = [[title for title, _ in _COLUMNS]]
    lines += [[str(row[key] or "-") for _, key in _COLUMNS] for row in rows]
    widths = [max(len(line[index]) for line in lines) for index in range(len(_COLUMNS))]
    return "\n".join(
        "  ".join(f"{cell:{width}}" for cell, width in zip(line, widths, strict=True)).rstrip() for line in lines
    )


def status_lines(state: Mapping[str, Any]) -> Iterator[str]:
    """An endpoint as ``status --json`` gives it."""
    for label, text in _facts(state):
        yield f"{label:10}{text}"


def _facts(state: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    process = f", process {state['pid']}" if state["pid"] else ""
    yield "here", f"{state['name']}: {state['status']}{process}"
    yield "endpoint", state["endpoint_id"] or "none before the first start"
    yield "engine", state["engine"] or "depends on what users ask for"
    yield "files", state["directory"]
    if "service_error" in state:
        yield "service", f"cannot be asked: {state['service_error']}"
    if "service" in state:
        yield from _service_facts(state["service"])


def _service_facts(service: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    yield "service", f"{service.get('status')}, last heard from at {service.get('last_heard_at') or 'an unknown time'}"
    if service.get("stopped_at"):
        yield "", f"stopped in order at {service['stopped_at']}: takes no tasks until it is started"
    if service.get("status") != "online":
        return
    details = service.get("details") or {}
    idle = details.get("idle_workers", 0)
    yield (
        "workers",
        f"{details.get('total_workers', 0)}, of which {idle} idle, at the last heartbeat",
    )
    yield "tasks", f"{details.get('held_tasks', 0)} held, {details.get('pending_tasks', 0)} of them not begun"
    if details.get("problem"):
        yield "problem", str(details["problem"])
