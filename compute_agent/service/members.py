"""Reading the members of a request's document, each with a sentence for what is wrong with it. Pure."""

from __future__ import annotations

import math
from collections.abc import Sequence

from schemas.json_text import Json, size_bytes
from schemas.principals import normal_uuid

from .refusals import malformed, refusal

_SHOWN_CHARS = 60


class Members:
    """A JSON object; ``what`` names it in sentences. Members that nobody asks for are ignored."""

    def __init__(self, document: Json, what: str) -> None:
        if not isinstance(document, dict):
            raise malformed(f"{what} must be a JSON object, not {_shown(document)}", what)
        self.document = document
        self._what = what

    def has(self, name: str) -> bool:
        """Whether the member is there and not null."""
        return self.document.get(name) is not None

    def text(self, name: str, *, default: str | None = None, most_chars: int, least_chars: int = 0) -> str:
        """``default`` None means that the member must be there."""
        if not self.has(name) and default is not None:
            return default
        value = self.document.get(name)
        if not isinstance(value, str) or not least_chars <= len(value) <= most_chars:
            raise self.wrong(name, f"a text of {least_chars} to {most_chars} characters")
        check_storable(value, self.where(name))
        return value

    def choice(self, name: str, *, default: str, among: Sequence[str]) -> str:
        value = self.document.get(name, default)
        if value not in among:
            raise self.wrong(name, f"one of {', '.join(among)}")
        return str(value)

    def flag(self, name: str) -> bool:
        """False when it is absent."""
        value = self.document.get(name)
        if value is not None and not isinstance(value, bool):
            raise self.wrong(name, "true or false")
        return bool(value)

    def integer(self, name: str, *, default: int | None = None, least: int, most: int) -> int:
        value = self.document.get(name, default)
        if type(value) is not int or not least <= value <= most:
            raise self.wrong(name, f"a whole number from {least} to {most}")
        return value

    def seconds(self, name: str, *, most: float) -> float:
        """0 when it is absent; what is longer than ``most`` counts as ``most``."""
        value = self.document.get(name, 0)
        if type(value) not in (int, float) or not 0 <= value < math.inf:
            raise self.wrong(name, "a number of seconds, 0 or more")
        return min(float(value), most)

    def uuid(self, name: str) -> str | None:
        """None when it is absent."""
        return checked_uuid(self.document[name], self.where(name)) if self.has(name) else None

    def uuids(self, name: str, *, most: int) -> list[str]:
        """Empty when it is absent."""
        return checked_uuids(self.document[name], self.where(name), most=most) if self.has(name) else []

    def object(self, name: str, *, most_bytes: int) -> dict[str, Json]:
        """Empty when it is absent."""
        value = self.document.get(name)
        if value is None:
            return {}
        if not isinstance(value, dict):
            raise self.wrong(name, "a JSON object")
        if (size := size_bytes(value)) > most_bytes:
            raise malformed(f"{self.where(name)} has {size} bytes as JSON; the limit is {most_bytes}", name)
        return value

    def where(self, name: str) -> str:
        return f"the member {name!r} of {self._what}"

    def wrong(self, name: str, wanted: str) -> Exception:
        given = f"not {_shown(self.document[name])}" if name in self.document else "and is missing"
        return malformed(f"{self.where(name)} must be {wanted}, {given}", name)


def checked_uuid(value: Json, where: str) -> str:
    """The UUID in its normal form."""
    if isinstance(value, str) and (normal := normal_uuid(value)) is not None:
        return normal
    reason = f"{where} must be a UUID such as 8c7a5bd0-2f0e-4a3e-9a70-0f2a4a6cf2d1, not {_shown(value)}"
    raise refusal(400, "INVALID_UUID", reason, str(value)[:_SHOWN_CHARS])


def checked_uuids(value: Json, where: str, *, most: int) -> list[str]:
    """A list of UUIDs without repetitions, in its order."""
    if not isinstance(value, list):
        raise malformed(f"{where} must be a list of UUIDs, not {_shown(value)}", where)
    if len(value) > most:
        raise malformed(f"{where} has {len(value)} entries; the limit is {most}. Send several requests", where)
    return list(dict.fromkeys(checked_uuid(one, f"{where}, entry {i},") for i, one in enumerate(value)))


def checked_bytes(text: str, where: str) -> int:
    """The size of text as UTF-8. Refuses what a database cannot hold as text."""
    check_storable(text, where)
    return len(text) if text.isascii() else len(text.encode())


def check_storable(text: str, where: str) -> None:
    if "\0" in text:
        raise malformed(f"{where} holds a NUL character, which no text may hold", where)
    if not text.isascii() and any("\ud800" <= char <= "\udfff" for char in text):
        raise malformed(f"{where} holds a lone surrogate, which is not a character", where)


def _shown(value: Json) -> str:
    text = repr(value)
    return text if len(text) <= _SHOWN_CHARS else f"{text[:_SHOWN_CHARS]}..."
