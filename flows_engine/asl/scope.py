"""What paths, templates and expressions may see while one state is evaluated."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from schemas.json_text import Json


@dataclass(frozen=True, slots=True)
class Scope:
    """``document`` is ``$``; ``context`` is ``$._context`` (Globus) ; ``machine`` is ``$$`` (ASL Context Object);
    ``variables`` are ``$name`` (ASL). All are read-only: evaluation never changes them, results share their parts."""

    document: Json
    context: Mapping[str, Json] | None = None
    machine: Mapping[str, Json] | None = None
    variables: Mapping[str, Json] = field(default_factory=dict)
