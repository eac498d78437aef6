"""Paths as the wire writes them, taken apart. Pure.

``/a/b``, ``a/b``, ``/~/a/b`` and ``~/a/b`` are the same place: a collection's home is its root. ``..`` is refused, not
resolved: no caller needs it, and with links in the way it has no one meaning.
"""

from __future__ import annotations

import os
from typing import TypeAlias

from .faults import Kind, TransferError

Parts: TypeAlias = tuple[str, ...]

MAX_PATH_BYTES = 4096
MAX_NAME_BYTES = 255


def parse(text: str) -> Parts:
    """Names that lead from the root to the place; the root itself is ``()``.

    Raises:
        TransferError: the sentence names the path.
    """
    seen = brief(text)
    if "\0" in text:
        raise _bad(f"the path {seen} holds a NUL character, which no file name can")
    try:
        size = len(text.encode())
    except UnicodeEncodeError as error:
        raise _bad(f"the path {seen} holds a lone surrogate at position {error.start}, which is not text") from error
    if size > MAX_PATH_BYTES:
        raise _bad(f"the path {seen} has {size} bytes; the limit is {MAX_PATH_BYTES}")
    names = [name for name in text.split("/") if name not in ("", ".")]
    if names and names[0] == "~":
        names = names[1:]
    for name in names:
        if name == "..":
            raise _bad(f"the path {seen} holds '..'; write the path without going up")
        if len(name.encode()) > MAX_NAME_BYTES:
            raise _bad(f"the path {seen} has a name of {len(name.encode())} bytes; the limit is {MAX_NAME_BYTES}")
    return tuple(names)


def show(parts: Parts) -> str:
    """The path for people and JSON: names that are not UTF-8 come with replacement characters."""
    return os.fsencode("/" + "/".join(parts)).decode(errors="replace")


def show_directory(parts: Parts) -> str:
    """As ``show``, with the slash at the end by which listings and access rules name directories."""
    return show(parts).rstrip("/") + "/"


def brief(text: str) -> str:
    """The path as given, quoted, control characters escaped, cut to what a sentence can hold."""
    return repr(text if len(text) <= 120 else f"{text[:100]}...")


def _bad(sentence: str) -> TransferError:
    return TransferError(Kind.BAD_REQUEST, sentence)
