"""Files of secrets: only their owner may read them, and they appear whole or not at all."""

from __future__ import annotations

import os
import secrets
from pathlib import Path


def private_directory(path: Path) -> None:
    """Make the directory, and let nobody but its owner in."""
    path.mkdir(mode=0o700, parents=True, exist_ok=True)
    path.chmod(0o700)


def read_private_file(path: Path) -> bytes | None:
    """Content of a file of secrets, or None when there is none.

    Raises:
        PermissionError: when others than the owner may read or write it.
    """
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW)
    except FileNotFoundError:
        return None
    with os.fdopen(descriptor, "rb") as file:
        mode = os.fstat(file.fileno()).st_mode & 0o777
        if mode & 0o077:
            raise PermissionError(f"{path} may be read by others (mode {mode:04o}); run: chmod 600 {path}")
        return file.read()


def create_private_file(path: Path, content: bytes) -> bool:
    """Write a file of mode 0600 that was not there before; False when somebody else was first.

    The file appears whole or not at all, also when two processes start at the same moment.
    """
    draft = _draft_beside(path, content)
    try:
        os.link(draft, path)
    except FileExistsError:
        return False
    finally:
        draft.unlink()
    return True


def replace_private_file(path: Path, content: bytes) -> None:
    """Write a file of mode 0600 in place of the one that may be there; readers see the old or the new one whole."""
    _draft_beside(path, content).replace(path)


def _draft_beside(path: Path, content: bytes) -> Path:
    draft = path.with_name(f".{path.name}.{secrets.token_hex(8)}")
    descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    with os.fdopen(descriptor, "wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())
    return draft
