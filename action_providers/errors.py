"""What an action provider answers when it cannot do what was asked, in the envelope of the Action Provider API."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from schemas.errors import Problem


class ActionError(Exception):
    """A refusal: HTTP status, code and a sentence (Action Provider Tools, ``flask/exceptions.py``).

    ``extra`` holds further members of the error document, such as ``required_scope``.
    """

    def __init__(self, http_status: int, code: str, description: str, **extra: Any) -> None:
        super().__init__(description)
        self.http_status = http_status
        self.code = code
        self.description = description
        self.extra: Mapping[str, Any] = extra

    def to_json(self) -> dict[str, Any]:
        """Returns ``{"code": name, "description": text}`` and the extra members."""
        return {"code": self.code, "description": self.description, **self.extra}


def bad_request(description: str, http_status: int = 400) -> ActionError:
    return ActionError(http_status, "BadActionRequest", description)


def invalid(problems: Sequence[Problem], root: str = "$") -> ActionError:
    """All problems of a document in the one sentence that the toolkit writes."""
    listed = "; ".join(f"Field '{_path(root, p.loc)}' (category: '{p.type}'): {p.msg}" for p in problems)
    return ActionError(422, "RequestValidationError", listed)


def unauthorized(description: str) -> ActionError:
    return ActionError(401, "UnauthorizedRequest", description)


def forbidden(description: str, **extra: Any) -> ActionError:
    return ActionError(403, "UnauthorizedRequest", description, **extra)


def not_found(action_id: str) -> ActionError:
    return ActionError(404, "ActionNotFound", f"No action exists with id value {action_id[:64]}")


def conflict(description: str) -> ActionError:
    return ActionError(409, "ActionConflict", description)


def _path(root: str, loc: Sequence[str | int]) -> str:
    return root + "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in loc)
