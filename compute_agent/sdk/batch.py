"""Several tasks for one endpoint, sent together. Packing happens when a task is added, so errors show there."""

from __future__ import annotations

import platform
import uuid
from collections.abc import Mapping, Sequence
from typing import Any

from schemas.json_text import Json

from .. import serialize
from ..wire import MAX_PAYLOAD_BYTES, MIB
from .errors import PayloadTooLargeError

#: What the submitter runs, for templates of endpoints.
RUNTIME = {"python_version": platform.python_version()}


class Batch:
    """Made by ``Client.create_batch``, sent by ``Client.batch_run``.

    A batch has an identity: one that is sent again, because the answer was lost, submits nothing twice.
    """

    def __init__(
        self,
        *,
        task_group_id: str | None = None,
        resource_specification: Mapping[str, Json] | None = None,
        user_endpoint_config: Mapping[str, Json] | None = None,
    ) -> None:
        self.task_group_id = task_group_id
        self.resource_specification = resource_specification
        self.user_endpoint_config = user_endpoint_config
        self.submission_id = str(uuid.uuid4())
        self.tasks: dict[str, list[str]] = {}

    def __len__(self) -> int:
        return sum(map(len, self.tasks.values()))

    def add(self, function_id: str, args: Sequence[Any] = (), kwargs: Mapping[str, Any] | None = None) -> None:
        """Add one call of a registered function.

        Raises:
            SerializationError: an argument cannot be sent.
            PayloadTooLargeError: together they are too large.
        """
        self.add_payload(function_id, pack_arguments(args, kwargs or {}))

    def add_payload(self, function_id: str, payload: str) -> None:
        self.tasks.setdefault(str(function_id), []).append(payload)

    def prepare(self) -> dict[str, Json]:
        """The body of the submission."""
        body: dict[str, Json] = {
            "tasks": self.tasks,
            "create_queue": False,
            "submission_id": self.submission_id,
            "user_runtime": RUNTIME,
        }
        if self.task_group_id:
            body["task_group_id"] = self.task_group_id
        if self.resource_specification:
            body["resource_specification"] = dict(self.resource_specification)
        if self.user_endpoint_config:
            body["user_endpoint_config"] = dict(self.user_endpoint_config)
        return body


def pack_arguments(args: Sequence[Any], kwargs: Mapping[str, Any]) -> str:
    """The text of a call's arguments, or ``SerializationError``, or ``PayloadTooLargeError``."""
    payload = serialize.dump_arguments(tuple(args), dict(kwargs))
    size_bytes = len(payload) if payload.isascii() else len(payload.encode())
    if size_bytes > MAX_PAYLOAD_BYTES:
        raise PayloadTooLargeError(
            f"the arguments are {size_bytes / MIB:.1f} MiB when they are packed, and a task takes {MAX_PAYLOAD_BYTES // MIB}"
            " MiB; pass the path of a file that the endpoint can read, or send the data ahead"
        )
    return payload
