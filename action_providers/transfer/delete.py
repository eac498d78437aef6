"""The delete provider: files and directories of one collection.

The first turn looks whether everything named is there; only then does deleting begin, and what is missing from then
on was deleted by an earlier attempt.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from datetime import datetime
from fnmatch import fnmatchcase
from typing import ClassVar

from schemas.json_text import Json

from ..provider import Action, ActionProvider, Active, Description, Failed, Outcome, Succeeded, Work
from .access import Access
from .collections import Collections
from .documents import KEYWORDS, SCOPE, TASK_OPTIONS, endpoint, flag, path, schema
from .faults import Kind, TransferError
from .paths import Parts, show
from .plan import DeleteRequest, adapt_delete
from .task import Counters, Progress, Task, refused
from .transfer import canceled
from .tree import Tree

_INPUT = schema(
    TASK_OPTIONS
    | {
        "endpoint": endpoint("Collection to delete from"),
        "DATA": {
            "type": "array",
            "minItems": 1,
            "maxItems": 100_000,
            "items": schema({"path": path("File or directory to delete")}, ["path"], open_ended=True),
            "description": "What to delete",
        },
        "recursive": flag("Delete directories with all that is in them; without it a directory fails the task"),
        "ignore_missing": flag("It is no error when a path does not exist"),
        "interpret_globs": flag(
            "Read *, ?, [abc] and [!abc] in paths as patterns; names that begin with a dot need one"
        ),
    },
    ["endpoint", "DATA"],
    open_ended=True,
)


class Delete(ActionProvider):
    description: ClassVar[Description] = Description(
        path="transfer/delete",
        title="Delete files and directories",
        subtitle="From a collection",
        description="Deletes files and directories of a collection. Symbolic links are deleted, never followed.",
        keywords=KEYWORDS,
        scope=SCOPE,
        synchronous=False,
        input_schema=_INPUT,
    )

    def __init__(
        self,
        collections: Collections,
        *,
        report_s: float = 0.5,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._collections = collections
        self._report_s = report_s
        self._monotonic = monotonic

    def adapt(self, body: Json) -> Json:
        return adapt_delete(body)

    def run(self, action: Action, now: datetime) -> Outcome:
        try:
            _request, task, _access = self._parse(action)
        except TransferError as fault:
            return Failed(refused(fault))
        return Active(task.active(Counters(), now))

    def advance(self, action: Action, work: Work) -> Outcome:
        try:
            request, task, access = self._parse(action)
        except TransferError as fault:  # the collection was taken away meanwhile
            return Failed(dict(action.details) | refused(fault, status="FAILED"))
        counters = Counters()
        progress = Progress(task, counters, work, interval_s=self._report_s, monotonic=self._monotonic)
        try:
            with Tree(access.collection.root, access.require) as tree:
                if action.state is None:
                    _require_deletable(tree, request)
                    return Active(task.active(counters, progress.now()), state={"checked": True})
                _delete(tree, request, progress)
        except TransferError as fault:
            counters.faults += 1
            failed = task.failed(counters, progress.now(), code=fault.task_code, description=fault.description)
            return Failed(failed)
        return Succeeded(task.succeeded(counters, progress.now()))

    def cancel(self, action: Action, now: datetime) -> Outcome:
        """What was deleted is gone; the work in progress stops at its next report."""
        return canceled(action, now)

    def _parse(self, action: Action) -> tuple[DeleteRequest, Task, Access]:
        request = DeleteRequest.from_body(action.body)
        access = self._collections.access(action.caller, request.endpoint)
        for one in request.paths:
            if not request.interpret_globs:
                access.require(one, "rw")
        return (
            request,
            Task(action=action, kind="DELETE", source=access.collection, deadline=request.deadline),
            access,
        )


def _require_deletable(tree: Tree, request: DeleteRequest) -> None:
    for named in request.paths:
        found = _expand(tree, named) if request.interpret_globs else [named]
        existing = [(one, entry) for one in found if (entry := tree.find(one, "rw", follow=False)) is not None]
        if not existing and not request.ignore_missing:
            raise TransferError(
                Kind.MISSING, f"{show(named)} does not exist; check the path, or set 'ignore_missing' to true"
            )
        for one, entry in existing:
            if entry.is_directory and not request.recursive:
                raise TransferError(
                    Kind.IS_DIRECTORY,
                    f"{show(one)} is a directory; set 'recursive' to true to delete it with its contents",
                )


def _delete(tree: Tree, request: DeleteRequest, progress: Progress) -> None:
    counters = progress.counters
    for named in request.paths:
        for one in _expand(tree, named) if request.interpret_globs else [named]:
            progress.tick()
            top = tree.find(one, "rw", follow=False)
            if top is not None and top.is_directory and not request.recursive:
                raise TransferError(Kind.IS_DIRECTORY, f"{show(one)} became a directory; it was not deleted")
            try:
                for entry in tree.remove(one):
                    counters.directories += entry.is_directory
                    counters.symlinks += entry.is_link
                    counters.files += not entry.is_directory and not entry.is_link
                    counters.succeeded += 1
                    progress.tick()
            except TransferError as fault:
                if fault.kind is not Kind.MISSING:  # a directory on the way is gone: so is what was in it
                    raise


def _expand(tree: Tree, pattern: Parts) -> list[Parts]:
    """Places that match the pattern, name by name, in order."""
    found: list[Parts] = [()]
    for position, name in enumerate(pattern):
        if not any(sign in name for sign in "*?["):
            found = [(*one, name) for one in found]
            continue
        last = position == len(pattern) - 1
        found = [
            (*one, child)
            for one in found
            for child in _children(tree, one)
            if fnmatchcase(child, name)
            and (name.startswith(".") or not child.startswith("."))
            and (last or _is_directory(tree, (*one, child)))
        ]
    return found


def _children(tree: Tree, place: Parts) -> list[str]:
    if not _is_directory(tree, place):
        return []
    with tree.directory(place, "r") as directory:
        return directory.names()


def _is_directory(tree: Tree, place: Parts) -> bool:
    entry = tree.find(place, "r")
    return entry is not None and entry.is_directory
