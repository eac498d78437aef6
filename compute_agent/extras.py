"""What to say when a part of the package needs an extra that was not installed."""

from __future__ import annotations

#: Top-level packages of our own: one of these missing is a broken installation, not a missing extra.
_OWN = frozenset({"action_providers", "compute_agent", "flows_engine", "schemas", "timers"})


def missing_extra(error: ModuleNotFoundError, extra: str) -> str | None:
    """A sentence that says what to install, or None when the missing module is one of ours."""
    name = (error.name or "").partition(".")[0]
    if not name or name in _OWN:
        return None
    return f"this needs the module {name!r}, which is not installed: pip install 'flows-engine[{extra}]'"
