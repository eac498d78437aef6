"""One file copied: into an unfinished copy beside the target, verified, then renamed.

Whoever looks at the target's name sees the old file or the whole new one. The source is checked before and after it
is read; a source that changes meanwhile is read again, a few times.
"""

from __future__ import annotations

import hashlib
import os
import uuid
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from .faults import Kind, SourceError, TransferError, naming, reading
from .paths import show
from .plan import Checksum, temporary_name
from .tree import Directory

BLOCK_BYTES: Final = 1 << 20
ATTEMPTS: Final = 3
_ZEROS: Final = bytes(BLOCK_BYTES)


@dataclass(frozen=True, slots=True, kw_only=True)
class CopyJob:
    """``tick`` is called with the number of bytes just moved (0: verifying); what it raises ends the copy."""

    source: Directory
    source_name: str
    target: Directory
    target_name: str
    action_id: str
    verify_checksum: bool
    preserve_timestamp: bool
    checksum: Checksum | None
    tick: Callable[[int], None]
    fault: Callable[[], None]


@dataclass(frozen=True, slots=True)
class Copied:
    size_bytes: int
    checksummed_bytes: int


def copy_file(job: CopyJob) -> Copied:
    """Copy the file; nothing is left beside the target when it fails.

    Raises:
        TransferError: among others CHANGED when the source did not hold still, MISMATCH when what was written is not
            what was read, or not what the author of the transfer expects.
    """
    for attempt in range(1, ATTEMPTS + 1):
        try:
            return _attempt(job)
        except TransferError as fault:
            if fault.kind not in (Kind.CHANGED, Kind.MISMATCH) or attempt == ATTEMPTS:
                raise
            job.fault()
    raise AssertionError("the last attempt returns or raises")


def same_content(
    source: Directory, source_name: str, target: Directory, target_name: str, tick: Callable[[], None]
) -> int:
    """Bytes compared when both files hold the same, else -1."""
    left, right = source.open_file(source_name), target.open_file(target_name)
    compared = 0
    try:
        with naming(show(source.at(source_name))):
            while True:
                a, b = _read_block(left), _read_block(right)
                if a != b:
                    return -1
                if not a:
                    return compared
                compared += len(a)
                tick()
    finally:
        os.close(left)
        os.close(right)


def _attempt(job: CopyJob) -> Copied:
    where = show(job.source.at(job.source_name))
    with reading():
        source = job.source.open_file(job.source_name)
    try:
        before = os.fstat(source)
        _require_space(job.target, before, where)
        temporary = temporary_name(job.target_name, job.action_id, uuid.uuid4().hex[:8])
        target = job.target.create_file(temporary)
        try:
            copied = _fill(job, source, before, target, temporary)
            job.target.rename(temporary, job.target_name)
        except BaseException:
            job.target.discard(temporary)
            raise
        finally:
            os.close(target)
    finally:
        os.close(source)
    return copied


def _fill(job: CopyJob, source: int, before: os.stat_result, target: int, temporary: str) -> Copied:
    where, to = show(job.source.at(job.source_name)), show(job.target.at(job.target_name))
    hashes = {"sha256": hashlib.sha256()} if job.verify_checksum else {}
    if job.checksum is not None:
        hashes.setdefault(job.checksum.algorithm, hashlib.new(job.checksum.algorithm))
    size = 0
    while True:
        with reading(), naming(where):
            block = _read_block(source)
        if not block:
            break
        for one in hashes.values():
            one.update(block)
        with naming(to):
            _write(target, block)
        size += len(block)
        if size > before.st_size:  # it grows while we read: do not chase its end
            raise _changed(where)
        job.tick(len(block))
    _require_unchanged(where, before, os.fstat(source), size)
    with naming(to):
        os.ftruncate(target, size)  # a hole at the end was only seeked over
        if job.preserve_timestamp:
            os.utime(target, ns=(before.st_atime_ns, before.st_mtime_ns))
        os.fsync(target)
    if job.checksum is not None and hashes[job.checksum.algorithm].hexdigest() != job.checksum.value:
        raise TransferError(
            Kind.WRONG_CHECKSUM,
            f"{where} does not have the {job.checksum.algorithm} checksum the transfer expects: it has "
            f"{hashes[job.checksum.algorithm].hexdigest()}",
        )
    if job.verify_checksum and _digest(job, temporary) != hashes["sha256"].digest():
        raise TransferError(
            Kind.MISMATCH, f"{to} did not read back as it was written, {ATTEMPTS} times; check the disk it lies on"
        )
    return Copied(size, size if job.verify_checksum else 0)


def _digest(job: CopyJob, temporary: str) -> bytes:
    digest = hashlib.sha256()
    fd = job.target.open_file(temporary)
    try:
        with naming(show(job.target.at(job.target_name))):
            if hasattr(os, "posix_fadvise"):
                os.posix_fadvise(fd, 0, 0, os.POSIX_FADV_DONTNEED)  # read what the disk holds, not what we remember
            while block := _read_block(fd):
                digest.update(block)
                job.tick(0)
    finally:
        os.close(fd)
    return digest.digest()


def _read_block(fd: int) -> bytes:
    return os.read(fd, BLOCK_BYTES)


def _write(fd: int, block: bytes) -> None:
    """Write the block; one of zeros becomes a hole, so that a sparse file stays one."""
    if len(block) == BLOCK_BYTES and block == _ZEROS:
        os.lseek(fd, len(block), os.SEEK_CUR)
        return
    rest = memoryview(block)
    while rest:
        rest = rest[os.write(fd, rest) :]


def _require_space(target: Directory, source: os.stat_result, where: str) -> None:
    needed = min(source.st_size, source.st_blocks * 512)
    free = target.free_bytes()
    if needed > free:
        raise TransferError(
            Kind.NO_SPACE,
            f"{where} needs {needed} bytes and {show(target.parts)} has {free} bytes free; make room and start again",
        )


def _require_unchanged(where: str, before: os.stat_result, after: os.stat_result, size: int) -> None:
    if size == before.st_size and (before.st_size, before.st_mtime_ns) == (after.st_size, after.st_mtime_ns):
        return
    raise _changed(where)


def _changed(where: str) -> SourceError:
    return SourceError(
        Kind.CHANGED, f"{where} changed while it was being copied, {ATTEMPTS} times; transfer it when it is complete"
    )
