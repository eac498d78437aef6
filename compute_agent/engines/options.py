"""Reading of option blocks: every key is known and its value of the right kind, or the error says what would be right."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from .base import EngineConfigError


def near_name(word: str, allowed: Iterable[str]) -> str | None:
    """The allowed name that is most like the word, whatever its case; None when none is."""
    by_lower = {name.lower(): name for name in sorted(allowed)}
    close = difflib.get_close_matches(word.lower(), by_lower, n=1, cutoff=0.6)
    return by_lower[close[0]] if close else None


def nearest(word: str, allowed: Iterable[str]) -> str:
    """``"; did you mean "x"?"`` when a name like it is allowed, else nothing."""
    near = near_name(word, allowed)
    return "" if near is None else f'; did you mean "{near}"?'


def unknown_key(where: str, key: object, allowed: Iterable[str]) -> EngineConfigError:
    names = sorted(allowed)
    return EngineConfigError(
        f'{where} has no option "{key}"{nearest(str(key), names) or ";"} its options are {", ".join(names)}'
    )


class OptionReader:
    """Takes options one by one; ``finish`` refuses what nobody took. Options that are null count as left out."""

    def __init__(self, where: str, options: Mapping[str, Any]) -> None:
        self.where = where
        self._options = options
        self._asked: set[str] = set()

    def finish(self) -> None:
        for key in self._options:
            if key not in self._asked:
                raise unknown_key(self.where, key, self._asked)

    def given(self, name: str) -> bool:
        self._asked.add(name)
        return self._options.get(name) is not None

    def raw(self, name: str) -> Any:
        self._asked.add(name)
        return self._options.get(name)

    def text(self, name: str, default: str = "") -> str:
        value = self.raw(name)
        if value is None:
            return default
        if not isinstance(value, str):
            raise self.wrong(name, value, "text")
        return value

    def choice(self, name: str, allowed: Sequence[str], default: str = "") -> str:
        value = self.text(name, default)
        if value != default and value not in allowed:
            raise self.wrong(name, value, f"one of {', '.join(allowed)}{nearest(value, allowed)}")
        return value

    def flag(self, name: str, default: bool) -> bool:
        value = self.raw(name)
        if value is None:
            return default
        if not isinstance(value, bool):
            raise self.wrong(name, value, "true or false")
        return value

    def number(self, name: str, default: float, *, above: float = 0.0) -> float:
        value = self.raw(name)
        if value is None:
            return default
        if isinstance(value, bool) or not isinstance(value, int | float) or not value > above:
            raise self.wrong(name, value, f"a number above {above:g}")
        return float(value)

    def integer(self, name: str, default: int, *, least: int = 0) -> int:
        value = self.raw(name)
        if value is None:
            return default
        if isinstance(value, bool) or not isinstance(value, int) or value < least:
            raise self.wrong(name, value, f"a whole number, {least} or more")
        return value

    def wrong(self, name: str, value: object, right: str) -> EngineConfigError:
        return EngineConfigError(f"{self.where}, option {name}: {value!r} cannot be used, it must be {right}")
