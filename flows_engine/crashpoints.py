"""Named places in the shell where a test may stop the process. In production every point is a no-op.

``FLOWS_CRASH_AT=name`` (or ``name:3`` for the third passage) ends the process there as ``kill -9`` would, without any
clean-up; a test in the same process may instead ``arm`` a function that is called at every point.
"""

from __future__ import annotations

import os
from collections.abc import Callable

#: Every point, in the order a run meets them. The crash test sweeps this list.
POINTS = (
    "start_run.before_commit",
    "start_run.after_commit",
    "claim.before_commit",
    "claim.after_commit",
    "action.before_start",
    "action.after_start",
    "action.before_poll",
    "action.after_poll",
    "action.before_cancel",
    "action.after_cancel",
    "action.before_release",
    "action.after_release",
    "feed.before_step",
    "feed.after_step",
    "feed.before_commit",
    "feed.after_commit",
    "cancel.before_commit",
    "cancel.after_commit",
    "resume.before_commit",
    "resume.after_commit",
    "lease.before_renew",
    "lease.after_renew",
    "stop.before_give_back",
    "stop.after_give_back",
)

_target, _, _passage = os.environ.get("FLOWS_CRASH_AT", "").partition(":")
_countdown = int(_passage or 1)
_hook: Callable[[str], None] | None = None


def crashpoint(name: str) -> None:
    """Mark a place; does nothing unless a test asked for it."""
    if _hook is not None:
        _hook(name)
    elif _target and name == _target:
        _crash()


def arm(hook: Callable[[str], None] | None) -> None:
    """Call ``hook`` with the name of every point that is passed from now on (None: stop that)."""
    global _hook
    _hook = hook


def _crash() -> None:
    global _countdown
    _countdown -= 1
    if _countdown == 0:
        os._exit(137)
