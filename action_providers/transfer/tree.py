"""A directory that cannot be left: every file operation of this room goes through here.

Paths are walked name by name from a descriptor of the root, each step ``openat`` with O_NOFOLLOW, so that what was
checked is what is used, whoever moves things meanwhile. Symbolic links are read and walked by us, from the root again,
and only while they stay inside. ``check`` is asked about the place as named and about the place as found: a link
does not lend the permissions of where it stands.
"""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from types import TracebackType
from typing import Final

from .access import Need
from .faults import Kind, TransferError, naming
from .paths import MAX_PATH_BYTES, Parts, show

MAX_LINKS: Final = 40
_MAX_STEPS: Final = 20_000  # a chain of links full of ".." must not cost more than a deep directory
#: A descriptor to walk with; where the system can, one that needs no read permission on the directory.
_STEP: Final = getattr(os, "O_PATH", os.O_RDONLY) | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_LIST: Final = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
#: O_NONBLOCK: a pipe put in the place of a file must not hold us.
_READ: Final = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC
_CREATE: Final = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC


@dataclass(frozen=True, slots=True)
class Entry:
    """A name in a directory with what ``lstat`` says of it."""

    name: str
    status: os.stat_result

    @property
    def is_directory(self) -> bool:
        return stat.S_ISDIR(self.status.st_mode)

    @property
    def is_file(self) -> bool:
        return stat.S_ISREG(self.status.st_mode)

    @property
    def is_link(self) -> bool:
        return stat.S_ISLNK(self.status.st_mode)


class Directory:
    """An open directory; ``parts`` is where it really is. Names are single names, not paths; no link is followed."""

    def __init__(self, fd: int, parts: Parts) -> None:
        self.fd = fd
        self.parts = parts

    def at(self, name: str) -> Parts:
        return self.parts if name == "." else (*self.parts, name)

    def names(self) -> list[str]:
        """Names in the directory, in order."""
        with naming(show(self.parts)):
            fd = self._reopen()
            try:
                with os.scandir(fd) as found:
                    return sorted(entry.name for entry in found)
            finally:
                os.close(fd)

    def entries(self) -> list[Entry]:
        """What is in the directory, by name."""
        entries = (self.find(name) for name in self.names())
        return [entry for entry in entries if entry is not None]

    def find(self, name: str) -> Entry | None:
        """The entry, or None when there is none."""
        with naming(show(self.at(name))):
            try:
                return Entry(name, os.stat(name, dir_fd=self.fd, follow_symlinks=False))
            except FileNotFoundError:
                return None

    def open_file(self, name: str) -> int:
        """A descriptor to read the regular file; the caller closes it."""
        where = show(self.at(name))
        with naming(where):
            _require_file(where, os.stat(name, dir_fd=self.fd, follow_symlinks=False))
            fd = os.open(name, _READ, dir_fd=self.fd)
        try:
            _require_file(where, os.fstat(fd))
        except TransferError:
            os.close(fd)
            raise
        return fd

    def create_file(self, name: str) -> int:
        """A descriptor to write a file that did not exist; the caller closes it."""
        with naming(show(self.at(name))):
            return os.open(name, _CREATE, 0o666, dir_fd=self.fd)

    def rename(self, old: str, new: str) -> None:
        """Give ``old`` the name ``new``, replacing a file of that name in one step."""
        with naming(show(self.at(new))):
            os.rename(old, new, src_dir_fd=self.fd, dst_dir_fd=self.fd)

    def make(self, name: str) -> None:
        with naming(show(self.at(name))):
            os.mkdir(name, dir_fd=self.fd)

    def link_target(self, name: str) -> str:
        with naming(show(self.at(name))):
            return os.readlink(name, dir_fd=self.fd)

    def make_link(self, name: str, target: str) -> None:
        with naming(show(self.at(name))):
            os.symlink(target, name, dir_fd=self.fd)

    def discard(self, name: str) -> bool:
        """Remove the file or link; False when it was not there."""
        with naming(show(self.at(name))):
            try:
                os.unlink(name, dir_fd=self.fd)
            except FileNotFoundError:
                return False
            return True

    def discard_directory(self, name: str) -> None:
        """Remove the empty directory; it is no error when it is gone."""
        with naming(show(self.at(name))):
            try:
                os.rmdir(name, dir_fd=self.fd)
            except FileNotFoundError:
                return

    def sync(self) -> None:
        """Make the names in this directory survive a power loss."""
        with naming(show(self.parts)):
            fd = self._reopen()
            try:
                os.fsync(fd)
            finally:
                os.close(fd)

    def _reopen(self) -> int:
        return os.open(".", _LIST, dir_fd=self.fd)  # ours may be one to walk with only

    def free_bytes(self) -> int:
        with naming(show(self.parts)):
            room = os.fstatvfs(self.fd)
        return room.f_bavail * room.f_frsize

    def lineage(self) -> list[tuple[int, int]]:
        """Device and inode of this directory and all above it, up to where the system lets us look."""
        found: list[tuple[int, int]] = []
        fd = os.dup(self.fd)
        try:
            while (identity := _identity(fd)) not in found:
                found.append(identity)
                above = os.open("..", getattr(os, "O_PATH", os.O_RDONLY) | os.O_DIRECTORY | os.O_CLOEXEC, dir_fd=fd)
                os.close(fd)
                fd = above
        except PermissionError:
            return found
        finally:
            os.close(fd)
        return found


class Tree:
    """A root directory and the check of who may touch what below it. Close it, or use it in a ``with``."""

    def __init__(self, root: str, check: Callable[[Parts, Need], None]) -> None:
        self._root = root
        self._check = check
        try:
            self._fd = os.open(root, _STEP)
        except OSError as error:
            raise TransferError(
                Kind.FAILED, f"the directory behind the collection cannot be opened: {error.strerror}"
            ) from error

    def __enter__(self) -> Tree:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        os.close(self._fd)

    def allows(self, parts: Parts, need: Need) -> bool:
        """Whether the check lets the caller at the place."""
        try:
            self._check(parts, need)
        except TransferError:
            return False
        return True

    @contextmanager
    def place(self, parts: Parts, need: Need, *, follow: bool = True) -> Iterator[tuple[Directory, str]]:
        """The directory that holds the place, and the name there (``.`` for the root).

        With ``follow`` a link at the end is walked too; the name found need not exist.
        """
        self._check(parts, need)
        fd, real, name = self._walk(parts, follow=follow)
        try:
            found = real if name == "." else (*real, name)
            if found != parts:
                self._check(found, need)
            yield Directory(fd, real), name
        finally:
            os.close(fd)

    def find(self, parts: Parts, need: Need, *, follow: bool = True) -> Entry | None:
        """What is at the place, or None; a missing directory on the way counts as missing."""
        try:
            with self.place(parts, need, follow=follow) as (parent, name):
                return parent.find(name)
        except TransferError as fault:
            if fault.kind is Kind.MISSING:
                return None
            raise

    @contextmanager
    def directory(self, parts: Parts, need: Need) -> Iterator[Directory]:
        """The directory at the place, itself."""
        with self.place(parts, need) as (parent, name):
            fd = _open_directory(parent, name)
            directory = Directory(fd, parent.at(name))
        try:
            yield directory
        finally:
            os.close(fd)

    def make_directories(self, parts: Parts) -> int:
        """Make the directory and those above it that are missing; returns how many were made."""
        made = 0
        for depth in range(1, len(parts) + 1):
            found = self.find(parts[:depth], "rw" if depth == len(parts) else "pass")
            if found is not None and found.is_directory:
                continue
            with self.place(parts[:depth], "rw") as (parent, name):
                if found is not None:
                    raise TransferError(Kind.NOT_DIRECTORY, f"{show(parts[:depth])} exists and is not a directory")
                try:
                    parent.make(name)
                except TransferError as fault:
                    if fault.kind is not Kind.EXISTS:  # somebody was quicker: fine
                        raise
                parent.sync()
                made += 1
        return made

    def remove(self, parts: Parts) -> Iterator[Entry]:
        """Remove what is at the place and, for a directory, all that is in it; yields each thing removed.

        Nothing is followed: a link is removed itself. What is gone already is no error.
        """
        with self.place(parts, "rw", follow=False) as (parent, name):
            top = parent.find(name)
            if top is None:
                return
            if not top.is_directory:
                if parent.discard(name):
                    yield top
                return
            yield from self._remove_directory(parent, top)

    def _remove_directory(self, parent: Directory, top: Entry) -> Iterator[Entry]:
        # Deep trees: no recursion, and a bounded number of descriptors, so each directory is walked to from the top.
        stack: list[tuple[Parts, Entry, bool]] = [((top.name,), top, False)]
        while stack:
            below, entry, emptied = stack.pop()
            try:
                if emptied:
                    with _descend(parent, below[:-1]) as holder:
                        holder.discard_directory(below[-1])
                    yield entry
                    continue
                stack.append((below, entry, True))
                with _descend(parent, below) as directory:
                    for child in directory.entries():
                        if child.is_directory:
                            stack.append(((*below, child.name), child, False))
                        elif directory.discard(child.name):
                            yield child
            except TransferError as fault:
                if fault.kind is not Kind.MISSING:  # somebody else removed it meanwhile
                    raise

    def _walk(self, parts: Parts, *, follow: bool) -> tuple[int, Parts, str]:
        """Descriptor and real place of the directory that holds the last name, and that name."""
        pending, real = list(reversed(parts)), list[str]()
        links = steps = 0
        fd = os.dup(self._fd)
        try:
            while pending:
                name = pending.pop()
                steps += 1
                if steps > _MAX_STEPS:
                    raise _too_many_links(parts)
                if name == "..":  # only links write it
                    if not real:
                        raise _escapes(parts)
                    target = real[:-1]
                elif not pending and not follow:
                    return fd, tuple(real), name
                else:
                    below, link = _step(fd, name, show(parts), last=not pending)
                    if link is None and below is None:
                        return fd, tuple(real), name
                    if link is None and below is not None:
                        os.close(fd)
                        fd = below
                        real.append(name)
                        continue
                    links += 1
                    if links > MAX_LINKS:
                        raise _too_many_links(parts)
                    target = self._link_names(link or "", real, parts)
                # A link or "..": begin again at the root with what it stands for, so that every step is walked.
                if sum(len(part) + 1 for part in target + pending) > 4 * MAX_PATH_BYTES:
                    raise _too_many_links(parts)
                pending.extend(reversed(target))
                real = []
                os.close(fd)
                fd = os.dup(self._fd)
            return fd, tuple(real), "."
        except BaseException:
            os.close(fd)
            raise

    def _link_names(self, target: str, real: list[str], parts: Parts) -> list[str]:
        """Names from the root that the link stands for; ``real`` is the directory it stands in."""
        names = [name for name in target.split("/") if name not in ("", ".")]
        if not target.startswith("/"):
            return real + names
        root = [name for name in self._root.split("/") if name]
        if names[: len(root)] != root:
            raise _escapes(parts)
        return names[len(root) :]


def _step(fd: int, name: str, path: str, *, last: bool) -> tuple[int | None, str | None]:
    """The directory ``name`` opened, or the target of the link it is; neither when it is last and something else."""
    with naming(path):
        if last:
            try:
                return None, os.readlink(name, dir_fd=fd)
            except OSError as error:
                if error.errno in (errno.EINVAL, errno.ENOENT):  # not a link, or not there: the caller's business
                    return None, None
                raise
        try:
            return os.open(name, _STEP, dir_fd=fd), None
        except OSError as error:
            if error.errno not in (errno.ELOOP, errno.ENOTDIR, errno.EMLINK):
                raise
            try:
                return None, os.readlink(name, dir_fd=fd)
            except OSError:
                raise error from None


def _open_directory(parent: Directory, name: str) -> int:
    where = show(parent.at(name))
    try:
        with naming(where):
            return os.open(name, _STEP, dir_fd=parent.fd)
    except TransferError as fault:
        if fault.kind is Kind.NOT_DIRECTORY:
            raise TransferError(Kind.NOT_DIRECTORY, f"{where} is not a directory") from fault
        raise


@contextmanager
def _descend(top: Directory, below: Parts) -> Iterator[Directory]:
    """The directory below ``top``, walked without following any link."""
    fd = os.dup(top.fd)
    try:
        with naming(show((*top.parts, *below))):
            for name in below:
                deeper = os.open(name, _STEP, dir_fd=fd)
                os.close(fd)
                fd = deeper
        yield Directory(fd, (*top.parts, *below))
    finally:
        os.close(fd)


def _require_file(where: str, status: os.stat_result) -> None:
    if stat.S_ISREG(status.st_mode):
        return
    if stat.S_ISDIR(status.st_mode):
        raise TransferError(Kind.IS_DIRECTORY, f"{where} is a directory, where a file was expected")
    if stat.S_ISLNK(status.st_mode):
        raise TransferError(Kind.ESCAPES, f"{where} became a symbolic link while it was being used; it is not followed")
    raise TransferError(Kind.SPECIAL, f"{where} is a pipe, socket or device, which is not copied; only files are")


def _identity(fd: int) -> tuple[int, int]:
    status = os.fstat(fd)
    return status.st_dev, status.st_ino


def _escapes(parts: Parts) -> TransferError:
    return TransferError(
        Kind.ESCAPES, f"{show(parts)} is or passes a symbolic link that leads out of the collection; it is not followed"
    )


def _too_many_links(parts: Parts) -> TransferError:
    return TransferError(
        Kind.ESCAPES, f"{show(parts)} passes more than {MAX_LINKS} symbolic links, or links in a circle"
    )
