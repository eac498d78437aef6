"""What can be wrong with a file operation, as one exception; each API names it in its own codes.

The sentence says which path it is about and what would be right. It shows paths as the collection sees them, never
where the collection lies on this machine.
"""

from __future__ import annotations

import errno
from collections.abc import Iterator
from contextlib import contextmanager
from enum import StrEnum, auto


class Kind(StrEnum):
    BAD_REQUEST = auto()
    NO_COLLECTION = auto()
    NO_RULE = auto()
    MISSING = auto()
    DENIED = auto()
    ESCAPES = auto()
    EXISTS = auto()
    NOT_DIRECTORY = auto()
    IS_DIRECTORY = auto()
    SPECIAL = auto()
    NO_SPACE = auto()
    CHANGED = auto()
    MISMATCH = auto()
    WRONG_CHECKSUM = auto()
    DEADLINE = auto()
    FAILED = auto()


#: Codes of synchronous operations (Transfer API, error documents).
OPERATION_CODES = {
    Kind.BAD_REQUEST: "ClientError.BadRequest",
    Kind.NO_COLLECTION: "EndpointNotFound",
    Kind.NO_RULE: "AccessRuleNotFound",
    Kind.MISSING: "ClientError.NotFound",
    Kind.DENIED: "PermissionDenied",
    Kind.ESCAPES: "PermissionDenied",
    Kind.EXISTS: "Exists",
    Kind.NOT_DIRECTORY: "NotDirectory",
    Kind.NO_SPACE: "QuotaExceeded",
}

#: Codes of task events and fatal errors (Transfer API, task documents).
TASK_CODES = {
    Kind.BAD_REQUEST: "ClientError.BadRequest",
    Kind.NO_COLLECTION: "EndpointNotFound",
    Kind.MISSING: "FILE_NOT_FOUND",
    Kind.DENIED: "PERMISSION_DENIED",
    Kind.ESCAPES: "PERMISSION_DENIED",
    Kind.EXISTS: "FILE_EXISTS",
    Kind.NOT_DIRECTORY: "NOT_A_DIRECTORY",
    Kind.IS_DIRECTORY: "IS_A_DIRECTORY",
    Kind.SPECIAL: "UNSUPPORTED_FILE_TYPE",
    Kind.NO_SPACE: "QUOTA_EXCEEDED",
    Kind.CHANGED: "FILE_CHANGED",
    Kind.MISMATCH: "CHECKSUM_MISMATCH",
    Kind.WRONG_CHECKSUM: "CHECKSUM_MISMATCH",
    Kind.DEADLINE: "TIMEOUT",
}


class TransferError(Exception):
    """A refusal or failure: what kind, and a sentence that names the path."""

    def __init__(self, kind: Kind, description: str) -> None:
        super().__init__(description)
        self.kind = kind
        self.description = description

    @property
    def operation_code(self) -> str:
        return OPERATION_CODES.get(self.kind, "ExternalError")

    @property
    def task_code(self) -> str:
        return TASK_CODES.get(self.kind, "ENDPOINT_ERROR")


class SourceError(TransferError):
    """A fault of reading what is to be copied: what ``skip_source_errors`` is about."""


_KINDS = {
    errno.ENOENT: (Kind.MISSING, "does not exist"),
    errno.EACCES: (Kind.DENIED, "may not be used by this server: the file system denies it"),
    errno.EPERM: (Kind.DENIED, "may not be used by this server: the file system denies it"),
    errno.EROFS: (Kind.DENIED, "lies on a file system that is mounted read-only"),
    errno.EEXIST: (Kind.EXISTS, "exists already"),
    errno.ENOTEMPTY: (Kind.EXISTS, "is a directory that is not empty"),
    errno.ENOTDIR: (Kind.NOT_DIRECTORY, "leads through something that is not a directory"),
    errno.EISDIR: (Kind.IS_DIRECTORY, "is a directory, where a file was expected"),
    errno.ELOOP: (Kind.ESCAPES, "became a symbolic link while it was being used; it is not followed"),
    errno.ENAMETOOLONG: (Kind.BAD_REQUEST, "is too long for the file system"),
    errno.ENOSPC: (Kind.NO_SPACE, "cannot be written: no space is left on the file system"),
    errno.EDQUOT: (Kind.NO_SPACE, "cannot be written: the disk quota is used up"),
    errno.EFBIG: (Kind.NO_SPACE, "is larger than the file system allows"),
}


@contextmanager
def naming(path: str) -> Iterator[None]:
    """Errors of the operating system within the block become faults about ``path``."""
    try:
        yield
    except OSError as error:
        kind, words = _KINDS.get(error.errno or 0, (Kind.FAILED, f"cannot be used: {error.strerror}"))
        raise TransferError(kind, f"{path} {words}") from error


@contextmanager
def reading() -> Iterator[None]:
    """Faults within the block are the source's."""
    try:
        yield
    except SourceError:
        raise
    except TransferError as fault:
        raise SourceError(fault.kind, fault.description) from fault
