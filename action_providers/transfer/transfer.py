"""The transfer provider: files and directories from one collection to another.

``run`` only looks at the request; ``advance`` works for a turn and then hands back how far it came, so that a crash
costs at most one turn.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass
from datetime import datetime
from time import monotonic as monotonic_clock
from typing import ClassVar

from schemas.json_text import Json
from schemas.times import format_time

from ..provider import Action, ActionProvider, Active, Description, Failed, Outcome, Succeeded, Work
from .access import Access
from .collections import Collections
from .cursor import Cursor
from .documents import KEYWORDS, SCOPE, TASK_OPTIONS, endpoint, flag, path, schema, text
from .faults import Kind, TransferError
from .mover import Mover
from .plan import CHECKSUM_ALGORITHMS, TransferRequest, adapt_transfer
from .task import Counters, Progress, Task, refused
from .tree import Tree

_ITEM = schema(
    {
        "DATA_TYPE": {
            "enum": ["transfer_item", "transfer_symlink_item"],
            "description": "transfer_symlink_item copies the symbolic link itself",
        },
        "source_path": path("File or directory to transfer"),
        "destination_path": path("Where it goes: the full path of the file, or the directory the contents go into"),
        "recursive": flag("true: the source must be a directory; false: a file; left out: whatever it is"),
        "external_checksum": text("Checksum the file must have", max_length=256),
        "checksum_algorithm": text(
            f"Of external_checksum: {', '.join(CHECKSUM_ALGORITHMS)}; default md5", max_length=16
        ),
    },
    ["source_path", "destination_path"],
    open_ended=True,
)
_FILTER_RULE = schema(
    {
        "DATA_TYPE": {"const": "filter_rule"},
        "method": {"enum": ["include", "exclude"], "description": "What the rule does; default exclude"},
        "name": text("Pattern of names: *, ?, [abc], [!abc]", max_length=1024),
        "type": {"enum": ["file", "dir"], "description": "What the rule is for; default both"},
    },
    ["name"],
)
_INPUT = schema(
    TASK_OPTIONS
    | {
        "source_endpoint": endpoint("Collection to read from"),
        "destination_endpoint": endpoint("Collection to write to"),
        "DATA": {
            "type": "array",
            "minItems": 1,
            "maxItems": 100_000,
            "items": _ITEM,
            "description": "What to transfer",
        },
        "sync_level": {
            "type": "integer",
            "minimum": 0,
            "maximum": 3,
            "description": "Copy what is missing (0), or differs in size (1), is newer (2), differs in content (3)",
        },
        "verify_checksum": flag("Read every copy back and compare its checksum; default true"),
        "preserve_timestamp": flag("Give copies the modification time of their source"),
        "encrypt_data": flag("Taken and ignored: nothing leaves this machine"),
        "delete_destination_extra": flag("Remove from destination directories what their source does not have"),
        "skip_source_errors": flag("Go on over source paths that are missing or may not be read"),
        "fail_on_quota_errors": flag("Taken and ignored: a full disk always fails the task"),
        "recursive_symlinks": {
            "enum": ["ignore", "keep", "copy"],
            "description": "Symbolic links found in directories: leave out, copy the link, or copy what it leads to",
        },
        "filter_rules": {
            "type": "array",
            "maxItems": 1000,
            "items": _FILTER_RULE,
            "description": "What is transferred of directories: the first rule that matches decides, else it is",
        },
    },
    ["source_endpoint", "destination_endpoint", "DATA"],
    open_ended=True,
)


@dataclass(frozen=True, slots=True)
class _Parsed:
    request: TransferRequest
    task: Task


class Transfer(ActionProvider):
    """``turn_s`` is how long ``advance`` works before it hands back its cursor; ``report_s`` how often it reports."""

    description: ClassVar[Description] = Description(
        path="transfer/transfer",
        title="Transfer files and directories",
        subtitle="From one collection to another",
        description="Copies files and directories between collections; each file appears whole and verified, or not.",
        keywords=KEYWORDS,
        scope=SCOPE,
        synchronous=False,
        input_schema=_INPUT,
    )

    def __init__(
        self,
        collections: Collections,
        *,
        turn_s: float = 15.0,
        report_s: float = 0.5,
        monotonic: Callable[[], float] = monotonic_clock,
    ) -> None:
        self._collections = collections
        self._turn_s = turn_s
        self._report_s = report_s
        self._monotonic = monotonic

    def adapt(self, body: Json) -> Json:
        return adapt_transfer(body)

    def run(self, action: Action, now: datetime) -> Outcome:
        try:
            parsed = self._parse(action)
        except TransferError as fault:
            return Failed(refused(fault))
        return Active(parsed.task.active(Counters(), now))

    def advance(self, action: Action, work: Work) -> Outcome:
        state = action.state or {}
        counters = Counters.from_json(state.get("counters"))
        try:
            parsed = self._parse(action)
        except TransferError as fault:  # a collection was taken away meanwhile
            return Failed(dict(action.details) | refused(fault, status="FAILED"))
        progress = Progress(parsed.task, counters, work, interval_s=self._report_s, monotonic=self._monotonic)
        try:
            with (
                self._tree(action, parsed.request.source_endpoint) as source,
                self._tree(action, parsed.request.destination_endpoint) as target,
            ):
                mover = Mover(parsed.request, source, target, progress, action.action_id)
                cursor = self._turn(mover, progress, Cursor.from_json(state.get("cursor")))
        except TransferError as fault:
            counters.faults += 1
            failed = parsed.task.failed(counters, progress.now(), code=fault.task_code, description=fault.description)
            return Failed(failed)
        if cursor is None:
            return Succeeded(parsed.task.succeeded(counters, progress.now()))
        kept = {"cursor": cursor.to_json(), "counters": counters.to_json()}
        return Active(parsed.task.active(counters, progress.now()), state=kept)

    def cancel(self, action: Action, now: datetime) -> Outcome:
        """What was copied stays; the work in progress stops at its next report."""
        return canceled(action, now)

    def _turn(self, mover: Mover, progress: Progress, cursor: Cursor) -> Cursor | None:
        with closing(mover.steps(cursor)) as steps:
            for done in steps:
                progress.tick()
                if progress.elapsed_s >= self._turn_s:
                    return done
        return None

    def _tree(self, action: Action, collection_id: str) -> Tree:
        access = self._collections.access(action.caller, collection_id)
        return Tree(access.collection.root, access.require)

    def _parse(self, action: Action) -> _Parsed:
        request = TransferRequest.from_body(action.body)
        source = self._collections.access(action.caller, request.source_endpoint)
        target = self._collections.access(action.caller, request.destination_endpoint)
        _require_permissions(request, source, target)
        task = Task(
            action=action,
            kind="TRANSFER",
            source=source.collection,
            target=target.collection,
            deadline=request.deadline,
        )
        return _Parsed(request, task)


def canceled(action: Action, now: datetime) -> Failed:
    """The task document of a task that its owner canceled."""
    description = "The task was canceled; what was done before stays done"
    return Failed(
        {
            **action.details,
            "code": "Canceled",
            "description": description,
            "status": "FAILED",
            "completion_time": format_time(now),
            "is_ok": False,
            "nice_status": "CANCELED",
            "nice_status_short_description": "canceled",
            "fatal_error": {"code": "CANCELED", "description": description},
        }
    )


def _require_permissions(request: TransferRequest, source: Access, target: Access) -> None:
    """Refuse at once what the rules cannot allow; real places are checked again when they are opened."""
    for item in request.items:
        if not request.skip_source_errors:
            source.require(item.source, "r")
        target.require(item.target, "rw")
    if request.delete_destination_extra and not all(item.recursive is not False for item in request.items):
        raise TransferError(
            Kind.BAD_REQUEST, "delete_destination_extra is for directories, but an item has 'recursive' false"
        )
