"""The run's log and its ``details``, in the shapes of the Globus Flows service.

Codes: FlowStarted, <Type>Started, <Type>Completed, ActionFailed, ActionInactive, RunResumed, EngineQuarantine,
FlowSucceeded, FlowFailed, FlowCanceled. What is private is removed here, when the entry is made.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime

from schemas.action import Status
from schemas.json_text import Json
from schemas.scopes import flow_scope
from schemas.times import format_time

from .private import redact_state
from .run import LogEntry, RunState, StateError
from .states.base import State


def flow_started(at: datetime, value: Json) -> LogEntry:
    return LogEntry(at, "FlowStarted", "The Flow Instance started execution", {"input": redact_state(value)})


def state_started(at: datetime, state: State, value: Json) -> LogEntry:
    details = {"state_name": state.name, "state_type": state.type, "input": redact_state(value)}
    return LogEntry(at, f"{state.type}Started", f"State {state.name} of type {state.type} started", details)


def state_completed(at: datetime, state: State, output: Json) -> LogEntry:
    details = {"state_name": state.name, "state_type": state.type, "output": redact_state(output)}
    return LogEntry(at, f"{state.type}Completed", f"State {state.name} of type {state.type} completed", details)


def action_failed(at: datetime, state: State, failure: StateError) -> LogEntry:
    details = {"state_name": state.name, "exception": failure.error, "cause": failure.cause}
    return LogEntry(at, "ActionFailed", f"State {state.name} of type {state.type} failed", details)


def action_inactive(at: datetime, state: State, status: Mapping[str, Json]) -> LogEntry:
    details = {"state_name": state.name, "state_type": state.type, "output": dict(status)}
    return LogEntry(at, "ActionInactive", f"State {state.name} waits for a person to act", details)


def run_resumed(at: datetime) -> LogEntry:
    return LogEntry(at, "RunResumed", "The Flow Instance was resumed", {})


def run_quarantined(at: datetime, reason: str) -> LogEntry:
    return LogEntry(at, "EngineQuarantine", "The engine could not advance the run and set it aside", {"reason": reason})


def flow_succeeded(at: datetime, output: Json) -> LogEntry:
    details = {"output": redact_state(output)}
    return LogEntry(at, "FlowSucceeded", "The Flow Instance completed successfully", details)


def flow_failed(at: datetime, state: State, failure: StateError) -> LogEntry:
    """A Fail state shows its ``error`` and ``cause``; any other failure shows as ``exception`` and ``cause``."""
    if state.type == "Fail":
        details = {"state_name": state.name, "error": failure.error, "cause": failure.cause}
    else:
        details = {"state_name": state.name, "exception": failure.error, "cause": failure.cause}
    return LogEntry(at, "FlowFailed", "The Flow Instance failed", details)


def flow_canceled(at: datetime) -> LogEntry:
    return LogEntry(at, "FlowCanceled", "The Flow Instance was canceled by the user", {})


def details(run: RunState, log: Sequence[LogEntry], inactive: Mapping[str, Json] | None) -> Mapping[str, Json]:
    """The run document's ``details`` after a step: the outcome, the reason for waiting, or the latest entry."""
    last = log[-1]
    if run.status is Status.SUCCEEDED:
        return {
            "code": "FlowSucceeded",
            "description": "The Flow run reached a successful completion state",
            "output": last.details["output"],
        }
    if run.status is Status.INACTIVE and run.stopped is None and inactive is not None:
        return _waiting_for_a_person(run, inactive)
    return {
        "code": last.code,
        "description": last.description,
        "time": format_time(last.at),
        "details": dict(last.details),
    }


def _waiting_for_a_person(run: RunState, status: Mapping[str, Json]) -> Mapping[str, Json]:
    """A document the official clients parse as an auth requirement (spec: "INACTIVE and resume")."""
    reason = status.get("details")
    reason = reason if isinstance(reason, Mapping) else {"description": str(reason)}
    document: dict[str, Json] = {
        "code": reason.get("code", "ActionInactive"),
        "description": reason.get("description", "An action waits for a person to act"),
        "state_name": status["state_name"],
        "action_statuses": [dict(status)],
    }
    if missing := reason.get("required_scope"):
        document["required_scope"] = f"{flow_scope(str(run.context.get('flow_id', '')))}[{missing}]"
    if parameters := reason.get("authorization_parameters"):
        document["authorization_parameters"] = parameters
    return document
