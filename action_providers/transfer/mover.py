"""A transfer's way through its items: which files, in which order, and where to go on after a pause or a crash.

Directories are visited parents first, names in order, files before subdirectories. That order makes a place in it
comparable: everything before the cursor is done, whatever happened to the process that did it.
"""

from __future__ import annotations

import os
import uuid
from collections.abc import Generator, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from functools import partial
from typing import Literal

from schemas.times import format_time

from .copy import CopyJob, copy_file, same_content
from .cursor import Cursor
from .faults import Kind, SourceError, TransferError, reading
from .paths import Parts, show
from .plan import (
    Checksum,
    Item,
    TransferRequest,
    clashes,
    is_kept,
    is_temporary,
    needs_copy,
    temporary_name,
    temporary_prefix,
)
from .task import Progress
from .tree import Directory, Entry, Tree

_SKIPPABLE = frozenset({Kind.MISSING, Kind.DENIED, Kind.ESCAPES})


@dataclass(slots=True)
class Mover:
    """One turn of a transfer. Mutable: lives for the turn."""

    request: TransferRequest
    source: Tree
    target: Tree
    progress: Progress
    action_id: str
    _cleaned: set[Parts] = field(default_factory=set)

    def steps(self, cursor: Cursor) -> Generator[Cursor, None, None]:
        """Do what comes after the cursor; yields a cursor after each thing that is done.

        Raises:
            TransferError: the transfer has failed.
        """
        for number in range(cursor.item, len(self.request.items)):
            item = self.request.items[number]
            here = cursor if cursor.item == number else Cursor(number)
            try:
                yield from self._item(item, here)
            except SourceError as fault:
                self._skip_or_raise(fault, item.source, item.target)
            yield Cursor(number + 1)

    def _item(self, item: Item, cursor: Cursor) -> Iterator[Cursor]:
        if item.is_link:
            self._link_item(item)
            return
        path = show(item.source)
        with reading():
            found = self.source.find(item.source, "r")
        if found is None:
            raise SourceError(Kind.MISSING, f"{path} does not exist on the source collection; check the path")
        if not found.is_directory:
            if item.recursive:
                raise SourceError(
                    Kind.NOT_DIRECTORY, f"{path} is not a directory; leave 'recursive' out, or set it to false"
                )
            self._file_item(item)
            return
        if item.recursive is False:
            raise SourceError(Kind.IS_DIRECTORY, f"{path} is a directory; set 'recursive' to true to transfer it")
        if item.checksum is not None:
            raise TransferError(Kind.BAD_REQUEST, f"{path} is a directory; external_checksum is for single files")
        yield from self._directory_item(item, cursor)

    def _file_item(self, item: Item) -> None:
        if item.target_is_directory or not item.target:
            example = show((*item.target, item.source[-1] if item.source else "file"))
            raise TransferError(
                Kind.IS_DIRECTORY,
                f"{show(item.source)} is a file and {show(item.target)} a directory; name the file, such as {example}",
            )
        self.progress.counters.files += 1
        self.target.make_directories(item.target[:-1])
        with (
            self._source_place(item.source) as (source, name),
            self.target.place(item.target, "rw") as (target, target_name),
        ):
            self._clean(target)
            entry = _require(source.find(name), item.source)
            self._file(source, entry, target, target_name, checksum=item.checksum)
            target.sync()

    def _directory_item(self, item: Item, cursor: Cursor) -> Iterator[Cursor]:
        self.progress.counters.directories += 0 if cursor.has_entered(()) else 1
        self.target.make_directories(item.target)
        self._require_apart(item)
        waiting: list[Parts] = [()]
        while waiting:
            below = waiting.pop()
            if cursor.has_left(below):
                continue
            try:
                children = yield from self._directory(item, below, cursor)
            except SourceError as fault:
                self._skip_or_raise(fault, item.source + below, item.target + below)
                continue
            waiting.extend((*below, name) for name in reversed(children))

    def _directory(self, item: Item, below: Parts, cursor: Cursor) -> Generator[Cursor, None, list[str]]:
        """Do the files of one directory and make its subdirectories; returns the names of those."""
        with (
            self._source_directory(item.source + below) as source,
            self.target.directory(item.target + below, "rw") as target,
        ):
            with reading():
                found = source.entries()
            files, directories = self._kept(found, item.source + below)
            self._clean(target)
            present = {entry.name: entry for entry in target.entries()}
            self._require_case(target, [entry.name for entry in files] + directories)
            if self.request.delete_destination_extra:
                self._delete_extra(item.target + below, found, present)
            if not cursor.has_entered(below):
                self.progress.counters.files += sum(not entry.is_link for entry in files)
                self.progress.counters.symlinks += sum(entry.is_link for entry in found)
                self.progress.counters.directories += len(directories)
                self.progress.counters.succeeded += 1
            self._make_directories(target, directories, present)
            if not cursor.has_entered(below):  # else it would lead back behind the cursor
                yield Cursor(cursor.item, below)
            try:
                for entry in files:
                    if cursor.has_entered(below) and cursor.has_done(below, entry.name):
                        continue
                    self._entry(entry, source, item.source + below, target, item.target + below)
                    yield Cursor(cursor.item, below, entry.name)
            finally:
                target.sync()
        return directories

    def _kept(self, found: list[Entry], where: Parts) -> tuple[list[Entry], list[str]]:
        """Files and links to transfer, and names of directories to enter, after the filter rules."""
        files: list[Entry] = []
        directories: list[str] = []
        for entry in found:
            if is_temporary(entry.name):  # half a file that somebody is writing
                continue
            is_directory = entry.is_directory
            if entry.is_link and self.request.recursive_symlinks == "copy":
                leads_to = self._leads_to((*where, entry.name))
                if leads_to == "itself":
                    continue
                is_directory = leads_to == "directory"
            if not is_kept(self.request.filter_rules, entry.name, is_directory=is_directory):
                continue
            if is_directory:
                directories.append(entry.name)
            elif not entry.is_link or self.request.recursive_symlinks != "ignore":
                files.append(entry)
        return files, directories

    def _leads_to(self, path: Parts) -> Literal["directory", "itself", "other"]:
        """What a link that is to be followed leads to; one that leads back to where it stands is not followed."""
        try:
            with self.source.directory(path, "r") as found, self.source.directory(path[:-1], "r") as here:
                leads_back = here.parts[: len(found.parts)] == found.parts
        except TransferError:
            return "other"  # whatever is wrong with it is said when it is copied
        if not leads_back:
            return "directory"
        fault = SourceError(Kind.ESCAPES, f"{show(path)} is a symbolic link that leads back to where it stands")
        self._skip_or_raise(fault, path, ())
        return "itself"

    def _entry(
        self, entry: Entry, source: Directory, source_path: Parts, target: Directory, target_path: Parts
    ) -> None:
        """Transfer a file or link found in a directory."""
        from_path, to_path = (*source_path, entry.name), (*target_path, entry.name)
        try:
            with ExitStack() as stack:
                name = entry.name
                if entry.is_link and self.request.recursive_symlinks == "keep":
                    self._keep_link(source, name, target, name, to_path)
                    return
                if entry.is_link:
                    source, name = stack.enter_context(self._source_place(from_path))
                    entry = _require(source.find(name), from_path)
                target_name = to_path[-1]
                there = target.find(target_name)
                if there is not None and there.is_link:
                    target, target_name = stack.enter_context(self.target.place(to_path, "rw"))
                self._file(source, entry, target, target_name, checksum=None)
        except SourceError as fault:
            if fault.kind is Kind.SPECIAL:  # pipes and devices are never transferred, and no reason to stop
                self._skip(fault, from_path, to_path)
            else:
                self._skip_or_raise(fault, from_path, to_path)

    def _file(
        self, source: Directory, entry: Entry, target: Directory, target_name: str, *, checksum: Checksum | None
    ) -> None:
        """Transfer one file, unless what is there already will do."""
        counters, path = self.progress.counters, show(source.at(entry.name))
        self.progress.tick()
        if not entry.is_file:
            with reading():
                os.close(source.open_file(entry.name))  # says what it is instead
        there = target.find(target_name)
        if there is not None and there.is_directory:
            raise TransferError(
                Kind.IS_DIRECTORY,
                f"{show(target.at(target_name))} is a directory on the destination and {path} a file; remove or "
                "rename one of them, or set 'delete_destination_extra'",
            )
        same = there is not None and os.path.samestat(there.status, entry.status)
        content = partial(self._same_content, source, entry.name, target, target_name)
        if same or not needs_copy(
            self.request.sync_level, entry.status, there.status if there else None, same_content=content
        ):
            counters.files_skipped += 1
            counters.succeeded += 1
            return
        copied = copy_file(
            CopyJob(
                source=source,
                source_name=entry.name,
                target=target,
                target_name=target_name,
                action_id=self.action_id,
                verify_checksum=self.request.verify_checksum,
                preserve_timestamp=self.request.preserve_timestamp,
                checksum=checksum,
                tick=self._moved,
                fault=self._count_fault,
            )
        )
        counters.bytes_checksummed += copied.checksummed_bytes
        counters.files_transferred += 1
        counters.succeeded += 1

    def _same_content(self, source: Directory, name: str, target: Directory, target_name: str) -> bool:
        compared = same_content(source, name, target, target_name, self.progress.tick)
        self.progress.counters.bytes_checksummed += max(compared, 0)
        return compared >= 0

    def _moved(self, size_bytes: int) -> None:
        self.progress.counters.bytes_transferred += size_bytes
        self.progress.tick()

    def _count_fault(self) -> None:
        self.progress.counters.faults += 1

    def _link_item(self, item: Item) -> None:
        self.progress.counters.symlinks += 1
        if not item.source or not item.target:
            raise TransferError(Kind.BAD_REQUEST, "the root of a collection is not a symbolic link; name the link")
        self.target.make_directories(item.target[:-1])
        with (
            self._source_place(item.source, follow=False) as (source, name),
            self.target.place(item.target, "rw", follow=False) as (target, target_name),
        ):
            if not _require(source.find(name), item.source).is_link:
                raise SourceError(Kind.SPECIAL, f"{show(item.source)} is not a symbolic link; use a transfer_item")
            self._keep_link(source, name, target, target_name, item.target)
            target.sync()

    def _keep_link(self, source: Directory, name: str, target: Directory, target_name: str, path: Parts) -> None:
        """Make the same link at the destination, in the place of a file or link that is there."""
        with reading():
            text = source.link_target(name)
        if not _stays_inside(target.parts, text):
            raise SourceError(
                Kind.ESCAPES,
                f"{show(source.at(name))} is a symbolic link that would lead out of the destination collection",
            )
        there = target.find(target_name)
        if there is None or not there.is_link or target.link_target(target_name) != text:
            temporary = temporary_name(path[-1], self.action_id, uuid.uuid4().hex[:8])
            target.make_link(temporary, text)
            try:
                target.rename(temporary, target_name)
            except TransferError:
                target.discard(temporary)
                raise
        self.progress.counters.succeeded += 1

    def _make_directories(self, target: Directory, names: list[str], present: dict[str, Entry]) -> None:
        for name in names:
            there = present.get(name)
            if there is None:
                try:
                    target.make(name)
                except TransferError as fault:
                    if fault.kind is not Kind.EXISTS:  # somebody was quicker: fine
                        raise
            elif there.is_file:
                raise TransferError(
                    Kind.NOT_DIRECTORY,
                    f"{show(target.at(name))} is a file on the destination and a directory on the source; remove or "
                    "rename one of them, or set 'delete_destination_extra'",
                )

    def _delete_extra(self, path: Parts, found: list[Entry], present: dict[str, Entry]) -> None:
        """Remove what the source does not have, or has as another type; what the filter rules exclude stays."""
        at_source = {entry.name: entry for entry in found}
        for name, entry in list(present.items()):
            if is_temporary(name) or not is_kept(self.request.filter_rules, name, is_directory=entry.is_directory):
                continue
            other = at_source.get(name)
            types_differ = other is not None and {entry.is_directory, other.is_directory} == {True, False}
            if other is not None and (entry.is_link or other.is_link or not types_differ):
                continue
            for _ in self.target.remove((*path, name)):
                self.progress.tick()
            del present[name]

    def _clean(self, target: Directory) -> None:
        """Remove unfinished copies that an earlier attempt at this action left."""
        if target.parts in self._cleaned:
            return
        self._cleaned.add(target.parts)
        mark = temporary_prefix(self.action_id)
        for name in target.names():
            if mark in name and is_temporary(name):
                target.discard(name)

    def _require_case(self, target: Directory, names: list[str]) -> None:
        """Two names that differ only in case must not become one file."""
        if not (pair := clashes(names)):
            return
        probe = temporary_name("case", self.action_id, uuid.uuid4().hex[:8])
        os.close(target.create_file(probe))
        try:
            folds = target.find(probe.upper()) is not None
        finally:
            target.discard(probe)
        if folds:
            raise TransferError(
                Kind.EXISTS,
                f"{show((*target.parts, pair[0]))} and {pair[1]!r} differ only in case, which the destination's file "
                "system does not tell apart; rename one of them",
            )

    def _require_apart(self, item: Item) -> None:
        """A directory cannot be copied into itself, nor survive the deletion of what holds it."""
        with self._source_directory(item.source) as source, self.target.directory(item.target, "rw") as target:
            above_source, above_target = source.lineage(), target.lineage()
        if above_source[0] in above_target:
            raise TransferError(
                Kind.BAD_REQUEST,
                f"the destination {show(item.target)} lies in the source {show(item.source)}; choose another",
            )
        if self.request.delete_destination_extra and above_target[0] in above_source:
            raise TransferError(
                Kind.BAD_REQUEST,
                f"the source {show(item.source)} lies in the destination {show(item.target)}, where "
                "'delete_destination_extra' would delete it",
            )

    @contextmanager
    def _source_place(self, path: Parts, *, follow: bool = True) -> Iterator[tuple[Directory, str]]:
        with ExitStack() as stack:
            with reading():
                place = stack.enter_context(self.source.place(path, "r", follow=follow))
            yield place

    @contextmanager
    def _source_directory(self, path: Parts) -> Iterator[Directory]:
        with ExitStack() as stack:
            with reading():
                directory = stack.enter_context(self.source.directory(path, "r"))
            yield directory

    def _skip_or_raise(self, fault: SourceError, source: Parts, target: Parts) -> None:
        if not self.request.skip_source_errors or fault.kind not in _SKIPPABLE:
            raise fault
        self._skip(fault, source, target)

    def _skip(self, fault: SourceError, source: Parts, target: Parts) -> None:
        self.progress.counters.skip(
            {
                "DATA_TYPE": "skipped_error",
                "source_path": show(source),
                "destination_path": show(target),
                "error_code": fault.task_code,
                "error_details": fault.description,
                "error_time": format_time(self.progress.now()),
            }
        )


def _require(entry: Entry | None, path: Parts) -> Entry:
    if entry is None:
        raise SourceError(Kind.MISSING, f"{show(path)} does not exist on the source collection, or not any more")
    return entry


def _stays_inside(directory: Parts, link: str) -> bool:
    """Whether a link in the directory, read as text, cannot lead above the root."""
    if link.startswith("/"):
        return False
    depth = len(directory)
    for name in link.split("/"):
        depth += 0 if name in ("", ".") else -1 if name == ".." else 1
        if depth < 0:
            return False
    return True
