"""The Context Object ``$$`` (ASL "The Context Object"): the part a run keeps, and the part that changes per state."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime

from schemas.json_text import Json


def machine_context(
    static: Mapping[str, Json], *, state_name: str, entered_at: datetime, retry_count: int
) -> dict[str, Json]:
    """The Context Object as seen by one state.

    ``static`` is ``RunState.machine_context``: ``{"Execution": {...}, "StateMachine": {...}}``. On AWS only states that
    may be retried have a ``RetryCount``; no state type here may yet, so it is left out while it is 0.
    """
    state: dict[str, Json] = {"Name": state_name, "EnteredTime": context_time(entered_at)}
    if retry_count:
        state["RetryCount"] = retry_count
    return {**static, "State": state}


def context_time(at: datetime) -> str:
    """A time inside the Context Object: UTC, milliseconds, ``Z``."""
    return at.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
