"""Where a transfer is on its way, comparable and as JSON. Pure."""

from __future__ import annotations

import os
from dataclasses import dataclass
from urllib.parse import quote, unquote_to_bytes

from schemas.json_text import Json

from .paths import Parts


@dataclass(frozen=True, slots=True)
class Cursor:
    """Done: all items before ``item``, and of it all directories before ``below``, there all files up to ``name``."""

    item: int = 0
    below: Parts | None = None
    name: str = ""

    @classmethod
    def from_json(cls, document: Json) -> Cursor:
        if document is None:
            return cls()
        below = document["below"]
        return cls(document["item"], None if below is None else tuple(map(_unpack, below)), _unpack(document["name"]))

    def to_json(self) -> Json:
        """Names as percent-encoded bytes: a file name need not be UTF-8, JSON must."""
        below = None if self.below is None else [_pack(name) for name in self.below]
        return {"item": self.item, "below": below, "name": _pack(self.name)}

    def has_left(self, below: Parts) -> bool:
        """Whether the directory and all in it are done."""
        return self.below is not None and below < self.below and self.below[: len(below)] != below

    def has_entered(self, below: Parts) -> bool:
        """Whether what the directory holds was counted."""
        return self.below is not None and below <= self.below

    def has_done(self, below: Parts, name: str) -> bool:
        """Whether the file in an entered directory is done."""
        return self.below is not None and (below < self.below or name <= self.name)


def _pack(name: str) -> str:
    return quote(os.fsencode(name))


def _unpack(text: str) -> str:
    return os.fsdecode(unquote_to_bytes(text))
