"""Dialects as data: which states, fields and meanings a definition may use.

``GLOBUS`` accepts exactly what the hosted Flows service accepts. ``ASL`` is the Amazon States Language as far as the
state types here go. ``UNION`` is what authors get by default: both. Only ``validate`` and ``parse`` read a dialect; the
interpreter sees parsed states.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Dialect:
    """``state_fields`` maps a state type to the fields it may have besides ``Type`` and ``Comment``.

    ``runtime_is_caught`` says whether ``States.ALL`` catches ``States.Runtime`` (Globus yes, ASL no).
    ``expressions`` admits ``.=`` keys, ``run_context`` admits ``$._context``, ``context_object`` admits ``$$``.
    ``extended_paths`` admits filters, unions and recursive descent in paths that are read.
    ``max_state_bytes`` bounds a run's data; ``max_wait_s`` one Wait (Globus: a year; AWS: a signed 32-bit number).
    """

    name: str
    top_level_fields: frozenset[str]
    state_fields: dict[str, frozenset[str]]
    max_state_name_chars: int
    expressions: bool
    run_context: bool
    context_object: bool
    extended_paths: bool
    runtime_is_caught: bool
    max_state_bytes: int
    max_wait_s: int


_FLOW = frozenset({"Next", "End"})
_PATHS = frozenset({"InputPath", "OutputPath"})
_WAIT = frozenset({"Seconds", "SecondsPath", "Timestamp", "TimestampPath"})
_FAIL = frozenset({"Error", "ErrorPath", "Cause", "CausePath"})
_CHOICE = frozenset({"Choices", "Default"})

GLOBUS = Dialect(
    name="globus",
    top_level_fields=frozenset({"StartAt", "States", "Comment"}),
    state_fields={
        "Action": _FLOW
        | {
            "ActionUrl",
            "ActionScope",
            "Handler",
            "Parameters",
            "InputPath",
            "ResultPath",
            "WaitTime",
            "ExceptionOnActionFailure",
            "RunAs",
            "Catch",
        },
        "ExpressionEval": _FLOW | {"Parameters", "ResultPath"},
        "Choice": _CHOICE,
        "Pass": _FLOW | {"Parameters", "InputPath", "Result", "ResultPath"},
        "Wait": _FLOW | _WAIT,
        "Fail": _FAIL,
    },
    max_state_name_chars=128,
    expressions=True,
    run_context=True,
    context_object=False,
    extended_paths=False,
    runtime_is_caught=True,
    max_state_bytes=524_288,
    max_wait_s=31_536_000,
)

ASL = Dialect(
    name="asl",
    top_level_fields=frozenset({"StartAt", "States", "Comment", "Version", "TimeoutSeconds", "QueryLanguage"}),
    state_fields={
        "Choice": _CHOICE | _PATHS | {"QueryLanguage"},
        "Pass": _FLOW | _PATHS | {"Parameters", "Result", "ResultPath", "QueryLanguage"},
        "Wait": _FLOW | _PATHS | _WAIT | {"QueryLanguage"},
        "Succeed": _PATHS | {"QueryLanguage"},
        "Fail": _FAIL | {"QueryLanguage"},
    },
    max_state_name_chars=80,
    expressions=False,
    run_context=False,
    context_object=True,
    extended_paths=True,
    runtime_is_caught=False,
    max_state_bytes=262_144,
    max_wait_s=2**31 - 1,
)

UNION = Dialect(
    name="union",
    top_level_fields=GLOBUS.top_level_fields | ASL.top_level_fields,
    state_fields={
        kind: GLOBUS.state_fields.get(kind, frozenset()) | ASL.state_fields.get(kind, frozenset())
        for kind in (*GLOBUS.state_fields, *ASL.state_fields)
    },
    max_state_name_chars=128,
    expressions=True,
    run_context=True,
    context_object=True,
    extended_paths=True,
    runtime_is_caught=True,
    max_state_bytes=524_288,
    max_wait_s=2**31 - 1,
)

DIALECTS = {dialect.name: dialect for dialect in (GLOBUS, ASL, UNION)}
