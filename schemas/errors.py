"""What can be wrong, as values and exceptions. No envelope is rendered here: each API has its own.

``ServiceError`` is the caller's fault and travels up to the API that answers. A run's fault is a value of the
interpreter (``flows_engine.asl.run.StateError``). Our own fault is any other exception and is left to raise.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, slots=True)
class Problem:
    """One thing wrong with a document, and where.

    ``loc`` leads to the place (``("definition", "States", "Copy", "Next")``); ``type`` is a pydantic-v1 style
    name such as ``value_error.extra``, as the Globus Flows service answers.
    """

    loc: tuple[str | int, ...]
    msg: str
    type: str = "value_error"
    ctx: Mapping[str, Any] | None = None

    def to_json(self) -> dict[str, Any]:
        """Returns ``{"loc": [...], "msg": text, "type": text[, "ctx": {...}]}``."""
        body: dict[str, Any] = {"loc": list(self.loc), "msg": self.msg, "type": self.type}
        if self.ctx is not None:
            body["ctx"] = dict(self.ctx)
        return body


class ServiceError(Exception):
    """A request that cannot be served, with its HTTP status.

    ``code`` is UPPER_SNAKE (``NOT_FOUND``); ``detail`` a sentence or the list of problems; ``extra`` holds members
    for the root of the error document, such as ``authorization_parameters``.
    """

    def __init__(
        self,
        status: int,
        code: str,
        detail: str | Sequence[Problem],
        *,
        message: str | None = None,
        extra: Mapping[str, Any] | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> None:
        super().__init__(message or (detail if isinstance(detail, str) else code))
        self.status = status
        self.code = code
        self.detail = detail
        self.message = message
        self.extra = dict(extra or {})
        self.headers = dict(headers or {})


class NotFound(ServiceError):
    """Nothing the caller may see has this id."""

    def __init__(self, kind: str, identifier: str) -> None:
        super().__init__(404, "NOT_FOUND", f"No {kind} exists with id value {identifier}")


class Forbidden(ServiceError):
    """The caller sees the object but may not do this to it."""

    def __init__(self, kind: str, identifier: str, *permissions: str) -> None:
        super().__init__(
            403,
            "FORBIDDEN",
            f"You do not have the necessary permissions to perform this action on the {kind} with id value "
            f"{identifier}. Missing permissions: {', '.join(permissions)}.",
        )


class StateConflict(ServiceError):
    """The object is not in a state that allows the operation."""

    def __init__(self, detail: str) -> None:
        super().__init__(409, "STATE_CONFLICT", detail)


class Unprocessable(ServiceError):
    """A document is well-formed JSON but not acceptable; every problem found is listed."""

    def __init__(self, problems: Sequence[Problem], *, code: str = "UNPROCESSABLE_ENTITY", where: str = "body") -> None:
        count = len(problems)
        listed = " ; ".join(f"{_json_path(p.loc)}: {p.msg}" for p in problems)
        plural = "" if count == 1 else "s"
        super().__init__(422, code, problems, message=f"{count} validation error{plural} in {where}. {listed}")


class InvalidJson(Exception):
    """Text that is not acceptable JSON: ``code`` (``BAD_JSON``, ``DUPLICATE_KEY``, ...), a sentence, the HTTP status."""

    def __init__(self, code: str, detail: str, status: int = 400) -> None:
        super().__init__(detail)
        self.code = code
        self.detail = detail
        self.status = status


def _json_path(loc: Sequence[str | int]) -> str:
    path = "$"
    for part in loc:
        path += f"[{part}]" if isinstance(part, int) else f".{part}"
    return path
