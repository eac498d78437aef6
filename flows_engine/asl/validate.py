"""Whether a flow definition is acceptable in a dialect. Every problem is found, not only the first.

A machine is checked by ``_check_machine`` given the location it stands at, so that a machine inside a state is one
call. What a state type has of its own stands in ``_TYPE_CHECKS``; which fields it may have is the dialect's matter.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from schemas.errors import Problem
from schemas.json_text import Json, size_bytes
from schemas.principals import normal_uuid

from .dialects import UNION, Dialect
from .validate_choice import check_choices
from .validate_errors import wrong_with_error
from .validate_fields import (
    Findings,
    Loc,
    check_filled_text,
    check_integer,
    check_keys,
    check_nullable_path,
    check_path,
    check_result_path,
    check_template,
    check_time,
    check_url,
    did_you_mean,
    is_boolean,
    is_filled_list,
    is_list,
    is_object,
    is_required,
    is_text,
    shown,
)
from .validate_graph import check_graph, check_names, format_loop, loops

MAX_STATES = 1_000
#: More than a person reads; a document of half a megabyte can hold 40,000.
MAX_PROBLEMS = 1_000
MAX_DEFINITION_BYTES = 512 * 1024
MAX_WAIT_TIME_S = 31_536_000
#: The most that AWS admits for TimeoutSeconds.
_MAX_TIMEOUT_S = 99_999_999

#: Types of the languages that no dialect here has (yet), and the language they come from.
_FOREIGN_TYPES = {
    "CreateWebInput": "Globus Flows",
    "AwaitWebInput": "Globus Flows",
    "Task": "the Amazon States Language",
    "Parallel": "the Amazon States Language",
    "Map": "the Amazon States Language",
}
_WILD_CARDS = ("States.ALL", "States.All")
_TIMINGS = ("Seconds", "SecondsPath", "Timestamp", "TimestampPath")
_HANDLERS = ("ActionProvider", "RegisteredAPI")
_HANDLE = "urn:globus:flows:handle:"


def validate(document: Json, dialect: Dialect = UNION, *, allow_http: bool = False) -> list[Problem]:
    """Everything wrong with a definition; an empty list means that it may be published.

    ``allow_http`` admits ActionUrls without TLS, for a laptop or a closed network. Locations begin with
    ``"definition"``.
    """
    findings = Findings(dialect, allow_http)
    loc: Loc = ("definition",)
    if is_object(findings, loc, document) and _is_small_enough(findings, loc, document):
        _check_machine(findings, loc, document, dialect.top_level_fields)
    return findings.problems[:MAX_PROBLEMS]


def warnings(document: Json) -> list[Problem]:
    """What is legal but suspicious in a definition that ``validate`` accepts."""
    findings = Findings(UNION)
    loc: Loc = ("definition", "States")
    states = document["States"]
    for loop in loops(states, lambda state: state["Type"] not in ("Wait", "Action")):
        way = format_loop(loop)
        findings.add(
            (*loc, loop[0]), f"this loop never waits: {way}; if it does not count, add a Wait state", "warning"
        )
    for name, state in states.items():
        _warn_of_state(findings, (*loc, name), state)
    return findings.problems


def _is_small_enough(findings: Findings, loc: Loc, document: Mapping[str, Json]) -> bool:
    size = size_bytes(document)
    states = document.get("States")
    if size > MAX_DEFINITION_BYTES:
        findings.add(loc, f"the definition has {size} bytes; the limit is {MAX_DEFINITION_BYTES}")
        return False
    if isinstance(states, dict) and len(states) > MAX_STATES:
        findings.add((*loc, "States"), f"the definition has {len(states)} states; the limit is {MAX_STATES}")
        return False
    return True


def _check_machine(findings: Findings, loc: Loc, machine: Mapping[str, Json], fields: frozenset[str]) -> None:
    """A machine and everything in it; ``fields`` are those it may have where it stands."""
    if not _has_served_language(findings, loc, machine):
        return
    check_keys(findings, loc, machine, fields)
    _check_machine_fields(findings, loc, machine)
    if is_required(findings, loc, machine, "StartAt"):
        is_text(findings, (*loc, "StartAt"), machine["StartAt"])
    here = (*loc, "States")
    if not is_required(findings, loc, machine, "States") or not is_object(findings, here, machine["States"]):
        return
    states: Mapping[str, Json] = machine["States"]
    if not states:
        findings.add(here, "a definition needs at least one state")
        return
    check_names(findings, here, states)
    for name, state in states.items():
        _check_state(findings, (*here, name), state)
    check_graph(findings, loc, states, machine.get("StartAt"))


def _check_machine_fields(findings: Findings, loc: Loc, machine: Mapping[str, Json]) -> None:
    """Fields of a machine besides StartAt and States (ASL, "Top-level fields"); the dialect has admitted them."""
    if "Comment" in machine:
        is_text(findings, (*loc, "Comment"), machine["Comment"])
    if not findings.is_asl:
        return
    if "Version" in machine and machine["Version"] != "1.0":
        findings.add((*loc, "Version"), 'the only version of the language is "1.0"')
    if "TimeoutSeconds" in machine:
        check_integer(findings, (*loc, "TimeoutSeconds"), machine["TimeoutSeconds"], least=1, most=_MAX_TIMEOUT_S)


def _has_served_language(findings: Findings, loc: Loc, body: Mapping[str, Json]) -> bool:
    """Whether a machine or state is written for JSONPath; another language makes all else look wrong."""
    language = body.get("QueryLanguage", "JSONPath") if findings.is_asl else "JSONPath"
    if language == "JSONata":
        findings.add((*loc, "QueryLanguage"), "JSONata is not served yet; use JSONPath", "value_error.not_supported")
    elif language != "JSONPath":
        findings.add((*loc, "QueryLanguage"), f'{shown(language)} is not a query language; use "JSONPath"')
    return bool(language == "JSONPath")


def _check_state(findings: Findings, loc: Loc, state: Json) -> None:
    if not is_object(findings, loc, state) or not _has_known_type(findings, loc, state):
        return
    if not _has_served_language(findings, loc, state):
        return
    kind = state["Type"]
    fields = findings.dialect.state_fields[kind] | {"Type", "Comment"}
    check_keys(findings, loc, state, fields)
    present = {field: check for field, check in _FIELD_CHECKS.items() if field in state and field in fields}
    for field, check in present.items():
        check(findings, (*loc, field), state[field])
    if {"Next", "End"} <= fields:
        _check_continuation(findings, loc, state)
    if kind in _TYPE_CHECKS:
        _TYPE_CHECKS[kind](findings, loc, state)


def _has_known_type(findings: Findings, loc: Loc, state: Mapping[str, Json]) -> bool:
    """Whether the state has a type of the dialect (pydantic v1 calls Type the discriminator of the union)."""
    known = findings.dialect.state_fields
    union = "value_error.discriminated_union"
    if "Type" not in state:
        msg = "Discriminator 'type' is missing in value"
        findings.add(loc, msg, f"{union}.missing_discriminator", discriminator_key="type")
        return False
    kind = state["Type"]
    if isinstance(kind, str) and kind in known:
        return True
    if isinstance(kind, str) and (language := _FOREIGN_TYPES.get(kind)) is not None:
        msg = f"the state type {kind!r} of {language} is not served yet"
        findings.add((*loc, "Type"), msg, "value_error.not_supported", state_type=kind)
        return False
    allowed = ", ".join(repr(name) for name in known)
    hint = did_you_mean(findings.nearest(kind, known)) if isinstance(kind, str) else ""
    if kind == "Succeed":
        hint = '; Globus Flows has no Succeed: use a Pass with "End": true'
    findings.add(
        loc,
        f"No match for discriminator 'type' and value {shown(kind)} (allowed values: {allowed}){hint}",
        f"{union}.invalid_discriminator",
        discriminator_key="type",
        discriminator_value=kind,
        allowed_values=allowed,
    )
    return False


def _check_continuation(findings: Findings, loc: Loc, state: Mapping[str, Json]) -> None:
    """Exactly one of Next and ``"End": true``; ``"End": false`` counts as absent."""
    ends, goes_on = state.get("End") is True, "Next" in state
    is_meant = not (ends or goes_on) and not findings.meant.get(loc, {}).keys().isdisjoint(("Next", "End"))
    if ends == goes_on and not is_meant:
        findings.add(
            loc,
            f"A state of type '{state['Type']}' must be defined as either "
            'terminal ("End": true) or transitional ("Next": "NextStateId")',
        )


def _check_action(findings: Findings, loc: Loc, state: Mapping[str, Json]) -> None:
    _check_one_of(findings, loc, state, ("ActionUrl", "Handler"))
    _check_one_of(findings, loc, state, ("Parameters", "InputPath"))


def _check_wait(findings: Findings, loc: Loc, state: Mapping[str, Json]) -> None:
    _check_one_of(findings, loc, state, _TIMINGS)


def _check_expression_eval(findings: Findings, loc: Loc, state: Mapping[str, Json]) -> None:
    is_required(findings, loc, state, "Parameters")
    is_required(findings, loc, state, "ResultPath")


def _check_choice(findings: Findings, loc: Loc, state: Mapping[str, Json]) -> None:
    is_required(findings, loc, state, "Choices")


def _check_fail(findings: Findings, loc: Loc, state: Mapping[str, Json]) -> None:
    for field in ("Error", "Cause"):
        if field in state and f"{field}Path" in state:
            findings.add(loc, f"{field} and {field}Path exclude each other; keep one of them")


def _check_one_of(findings: Findings, loc: Loc, state: Mapping[str, Json], fields: Sequence[str]) -> None:
    present = [field for field in fields if field in state]
    if len(present) == 1 or (not present and any(findings.has(loc, state, field) for field in fields)):
        return
    *most, last = fields
    wanted = f"exactly one of {', '.join(most)} and {last}"
    had = "has none of them" if not present else f"has {' and '.join(present)}"
    findings.add(loc, f"A state of type '{state['Type']}' needs {wanted}; this one {had}")


def _check_comment(findings: Findings, loc: Loc, value: Json) -> None:
    is_text(findings, loc, value)


def _check_parameters(findings: Findings, loc: Loc, value: Json) -> None:
    if findings.is_asl or is_object(findings, loc, value):
        check_template(findings, loc, value)


def _check_result(findings: Findings, loc: Loc, value: Json) -> None:
    if not findings.is_asl:
        is_object(findings, loc, value)


def _check_seconds(findings: Findings, loc: Loc, value: Json) -> None:
    check_integer(findings, loc, value, least=0, most=findings.dialect.max_wait_s)


def _check_wait_time(findings: Findings, loc: Loc, value: Json) -> None:
    check_integer(findings, loc, value, least=1, most=MAX_WAIT_TIME_S)


def _check_handler(findings: Findings, loc: Loc, handler: Json) -> None:
    """Three forms: an action provider, a registered API, and a handle of a hosted registered API."""
    if isinstance(handler, str):
        if handler.startswith(_HANDLE):
            findings.add(loc, "hosted registered APIs are not served here yet", "value_error.not_supported")
        else:
            findings.add(loc, f"{shown(handler)} is not a handle; one begins with {_HANDLE}")
    elif is_object(findings, loc, handler):
        _check_handler_object(findings, loc, handler)


def _check_handler_object(findings: Findings, loc: Loc, handler: Mapping[str, Json]) -> None:
    kind = handler.get("Type")
    if "Type" not in handler:
        is_required(findings, loc, handler, "Type")
    elif kind == "ActionProvider":
        check_keys(findings, loc, handler, ("Type", "Url", "Scope"))
        if is_required(findings, loc, handler, "Url"):
            check_url(findings, (*loc, "Url"), handler["Url"])
        if "Scope" in handler:
            check_filled_text(findings, (*loc, "Scope"), handler["Scope"])
    elif kind == "RegisteredAPI":
        check_keys(findings, loc, handler, ("Type", "Id"))
        if is_required(findings, loc, handler, "Id") and is_text(findings, (*loc, "Id"), handler["Id"]):
            if normal_uuid(handler["Id"]) is None:
                findings.add((*loc, "Id"), "value is not a valid uuid", "type_error.uuid")
            else:
                findings.add(loc, "registered APIs are not served here yet", "value_error.not_supported")
    else:
        hint = did_you_mean(findings.nearest(kind, _HANDLERS)) if isinstance(kind, str) else ""
        findings.add((*loc, "Type"), f"a Handler is an 'ActionProvider' or a 'RegisteredAPI', not {shown(kind)}{hint}")


def _check_catch(findings: Findings, loc: Loc, catchers: Json) -> None:
    if not is_list(findings, loc, catchers):
        return
    for index, catcher in enumerate(catchers):
        here = (*loc, index)
        if is_object(findings, here, catcher):
            _check_catcher(findings, here, catcher, is_last=index == len(catchers) - 1)


def _check_catcher(findings: Findings, loc: Loc, catcher: Mapping[str, Json], *, is_last: bool) -> None:
    fields = {"ErrorEquals", "Next", "ResultPath"}
    check_keys(findings, loc, catcher, fields | {"Comment"} if findings.is_asl else fields)
    if is_required(findings, loc, catcher, "Next"):
        is_text(findings, (*loc, "Next"), catcher["Next"])
    if "ResultPath" in catcher:
        check_result_path(findings, (*loc, "ResultPath"), catcher["ResultPath"])
    here = (*loc, "ErrorEquals")
    if not is_required(findings, loc, catcher, "ErrorEquals"):
        return
    errors = catcher["ErrorEquals"]
    if not is_filled_list(findings, here, errors):
        return
    for index, error in enumerate(errors):
        check_filled_text(findings, (*here, index), error)
    wild = [error for error in errors if error in _WILD_CARDS]
    if wild and len(errors) > 1:
        findings.add(here, f"{wild[0]} matches every error and must stand alone in its ErrorEquals")
    if wild and not is_last:
        findings.add(here, f"{wild[0]} must stand in the last catcher: the catchers after it are unreachable")


def _warn_of_state(findings: Findings, loc: Loc, state: Mapping[str, Json]) -> None:
    if state["Type"] == "Choice" and "Default" not in state:
        findings.add(loc, "without a Default the run fails when no rule matches", "warning")
    if state["Type"] == "Action" and "Next" in state and "ResultPath" not in state:
        findings.add(loc, "without a ResultPath the result of the action replaces all data of the run", "warning")
    caught: set[str] = set()
    for index, catcher in enumerate(state.get("Catch", ())):
        here = (*loc, "Catch", index)
        if "ResultPath" not in catcher:
            findings.add(here, "without a ResultPath the error replaces all data of the run", "warning")
        if caught.issuperset(catcher["ErrorEquals"]):
            findings.add((*here, "ErrorEquals"), "catchers above have caught all these errors already", "warning")
        for position, name in enumerate(catcher["ErrorEquals"]):
            if (wrong := wrong_with_error(name)) is not None:
                findings.add((*here, "ErrorEquals", position), wrong, "warning")
        caught.update(catcher["ErrorEquals"])


def _is_target(findings: Findings, loc: Loc, value: Json) -> None:
    is_text(findings, loc, value)


def _is_flag(findings: Findings, loc: Loc, value: Json) -> None:
    is_boolean(findings, loc, value)


_Check = Callable[[Findings, Loc, Json], None]

#: Field -> check of its value, for the fields that mean the same in every type that has them.
_FIELD_CHECKS: Mapping[str, _Check] = {
    "Comment": _check_comment,
    "Next": _is_target,
    "Default": _is_target,
    "End": _is_flag,
    "InputPath": check_nullable_path,
    "OutputPath": check_nullable_path,
    "ResultPath": check_result_path,
    "Parameters": _check_parameters,
    "Result": _check_result,
    "Choices": check_choices,
    "Catch": _check_catch,
    "ActionUrl": check_url,
    "ActionScope": check_filled_text,
    "Handler": _check_handler,
    "RunAs": check_filled_text,
    "WaitTime": _check_wait_time,
    "ExceptionOnActionFailure": _is_flag,
    "Seconds": _check_seconds,
    "SecondsPath": check_path,
    "Timestamp": check_time,
    "TimestampPath": check_path,
    "Error": _check_comment,
    "Cause": _check_comment,
    "ErrorPath": check_path,
    "CausePath": check_path,
}

#: State type -> what must hold between its fields.
_TYPE_CHECKS: Mapping[str, Callable[[Findings, Loc, Mapping[str, Json]], None]] = {
    "Action": _check_action,
    "ExpressionEval": _check_expression_eval,
    "Choice": _check_choice,
    "Wait": _check_wait,
    "Fail": _check_fail,
}
