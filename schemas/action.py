"""Documents of the Action Provider API (request and status), as typed values.

Source: Globus Action Provider Tools, ``actions_spec.openapi.yaml``.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any


class Status(StrEnum):
    """Status of an action, and of a run."""

    ACTIVE = "ACTIVE"
    INACTIVE = "INACTIVE"
    SUCCEEDED = "SUCCEEDED"
    FAILED = "FAILED"
    ENDED = "ENDED"

    @property
    def is_final(self) -> bool:
        return self in (Status.SUCCEEDED, Status.FAILED, Status.ENDED)


#: What an action may be; ENDED is for runs alone.
ACTION_STATUSES = frozenset({Status.ACTIVE, Status.INACTIVE, Status.SUCCEEDED, Status.FAILED})


@dataclass(frozen=True, slots=True)
class ActionStatus:
    """A provider's status document, kept whole in ``document``; the typed members are the ones we act on."""

    action_id: str
    status: Status
    document: Mapping[str, Any]

    @classmethod
    def from_json(cls, document: Any) -> ActionStatus:
        """Parse a provider's answer.

        Raises:
            ValueError: naming the member that is missing or wrong.
        """
        if not isinstance(document, dict):
            raise ValueError("the answer is not a JSON object")
        action_id = document.get("action_id")
        if not isinstance(action_id, str) or not 0 < len(action_id) <= 512:
            raise ValueError("action_id must be text of 1 to 512 characters")
        status = document.get("status")
        if status not in ACTION_STATUSES:
            raise ValueError(f"status must be one of ACTIVE, INACTIVE, SUCCEEDED, FAILED, not {str(status)[:40]!r}")
        return cls(action_id, Status(status), document)

    @property
    def details(self) -> Any:
        return self.document.get("details")


@dataclass(frozen=True, slots=True, kw_only=True)
class ActionRequest:
    """What a caller asks of a provider. ``body`` is checked against the provider's input schema before it is used."""

    request_id: str
    body: Any
    label: str | None = None
    deadline: str | None = None
    release_after: str | None = None
    monitor_by: tuple[str, ...] = ()
    manage_by: tuple[str, ...] = ()
    allowed_clients: tuple[str, ...] = field(default=())

    def to_json(self) -> dict[str, Any]:
        """The request document; absent members are left out."""
        document: dict[str, Any] = {"request_id": self.request_id, "body": self.body}
        for key in ("label", "deadline", "release_after"):
            if (value := getattr(self, key)) is not None:
                document[key] = value
        for key in ("monitor_by", "manage_by", "allowed_clients"):
            if value := getattr(self, key):
                document[key] = list(value)
        return document
