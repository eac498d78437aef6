"""Catch, as pure look-ups. Retry joins it when the dialects that have it do."""

from __future__ import annotations

from collections.abc import Sequence

from schemas.json_text import Json

from .dialects import Dialect
from .run import StateError
from .states.base import Catcher

#: Spellings of the wildcard: ASL's, and one that published Globus flows use.
WILDCARDS = frozenset({"States.ALL", "States.All"})

#: Errors that end a run whatever its Catchers say.
_UNCATCHABLE = frozenset({"RunHistoryLimit"})


def find_catcher(catchers: Sequence[Catcher], failure: StateError, dialect: Dialect) -> Catcher | None:
    """The first Catcher that matches, or None. ``States.Runtime`` is matched by the wildcard where the dialect says so."""
    if failure.error in _UNCATCHABLE:
        return None
    for catcher in catchers:
        if failure.error in catcher.errors:
            return catcher
        if catcher.errors & WILDCARDS and (failure.error != "States.Runtime" or dialect.runtime_is_caught):
            return catcher
    return None


def error_output(failure: StateError) -> Json:
    """What a Catcher stores: ``{"Error": name, "Cause": text}`` (ASL, "Error output")."""
    return {"Error": failure.error, "Cause": failure.cause or ""}
