"""Names in ErrorEquals that look like errors of this engine and are not: such a catcher would never catch.

A flow may name errors of its own, so nothing here is a problem; it is a warning when a name is surely meant to be
another one.
"""

from __future__ import annotations

from collections.abc import Mapping

from .catching import WILDCARDS
from .validate_fields import did_you_mean, nearest

#: Every error that a Catcher can match (the table under "Errors" of docs/flow-language.md).
RAISED = (
    "ActionUnableToRun",
    "ActionFailedException",
    "ActionTimeout",
    "ActionLost",
    "NoTokenException",
    "States.Runtime",
    "States.ResultPathMatchFailure",
    "States.NoChoiceMatched",
    "States.DataLimitExceeded",
)
#: What the error is here that the Amazon States Language ("Predefined Errors") has under the other name.
_FOREIGN: Mapping[str, str] = {
    "States.HeartbeatTimeout": "ActionTimeout",
    "States.IntrinsicFailure": "States.Runtime",
    "States.ParameterPathFailure": "States.Runtime",
    "States.Permissions": "ActionUnableToRun",
    "States.QueryEvaluationError": "States.Runtime",
    "States.TaskFailed": "ActionFailedException",
    "States.Timeout": "ActionTimeout",
}
_ENDINGS = ("exception", "error")
#: Alike enough to be a slip; ``CopyFailed`` and ``ActionFailed`` are not.
_CUTOFF = 0.8


def wrong_with_error(name: str) -> str | None:
    """A sentence about a name that is nearly the name of an error, or is in the reserved ``States.``; else None."""
    if name in RAISED or name in WILDCARDS:
        return None
    meant = _FOREIGN.get(name) or _meant(name)
    if meant is None and not name.startswith("States."):
        return None
    return f"{name[:80]!r} is not an error that is raised here{did_you_mean(meant)}"


def _meant(name: str) -> str | None:
    stems = {_stem(known): known for known in (*RAISED, "States.ALL")}
    near = nearest(_stem(name), stems, cutoff=_CUTOFF)
    return None if near is None else stems[near]


def _stem(name: str) -> str:
    folded = name.casefold()
    for ending in _ENDINGS:
        folded = folded.removesuffix(ending)
    return folded
