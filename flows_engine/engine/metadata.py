"""Bodies of requests about flows and runs, read member by member; every problem found is reported at once.

Wording and types of problems follow pydantic version 1, as the hosted Flows service answers. ``null`` counts as absent,
because official clients send it for members that were not given.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping, Sequence

from schemas.errors import Problem, Unprocessable
from schemas.json_text import Json, size_bytes
from schemas.principals import ALL_AUTHENTICATED_USERS, PUBLIC, is_identity_or_group, normal_uuid

Where = tuple[str | int, ...]

#: Role lists: the name a problem gives to the role, and the special principals it takes besides identities and groups.
_ROLE_RULES: Mapping[str, tuple[str, tuple[str, ...]]] = {
    "flow_viewers": ("FlowViewer", (PUBLIC, ALL_AUTHENTICATED_USERS)),
    "flow_starters": ("FlowStarter", (ALL_AUTHENTICATED_USERS,)),
    "flow_administrators": ("FlowAdministrator", ()),
    "run_managers": ("RunManager", ()),
    "run_monitors": ("RunMonitor", ()),
    "manage_by": ("RunManager", ()),
    "monitor_by": ("RunMonitor", ()),
}
_CONTROL = re.compile(r"[\x00-\x1f\x7f\u0085\u2028\u2029]")


class Body:
    """One request body. Readers return None for an absent or wrong member; ``check`` raises what was collected."""

    def __init__(self, document: Json, allowed: Collection[str], where: Where = ()) -> None:
        self.problems: list[Problem] = []
        self._where = where
        if not isinstance(document, dict):
            self._members: Mapping[str, Json] = {}
            self.wrong((), "value is not a valid dict", "type_error.dict")
            self.check()
        else:
            self._members = document
        for name in self._members:
            if name not in allowed:
                self.wrong((name,), "extra fields not permitted", "value_error.extra")

    def __contains__(self, name: str) -> bool:
        return self._members.get(name) is not None

    def given(self, name: str) -> bool:
        """Whether the member is there, ``null`` included."""
        return name in self._members

    def raw(self, name: str) -> Json:
        return self._members.get(name)

    def wrong(self, loc: Where, msg: str, kind: str = "value_error", **ctx: Json) -> None:
        self.problems.append(Problem((*self._where, *loc) or ("__root__",), msg, kind, ctx or None))

    def check(self) -> None:
        if self.problems:
            raise Unprocessable(self.problems)

    def require(self, name: str) -> None:
        if name not in self:
            self.wrong((name,), "field required", "value_error.missing")

    def text(self, name: str, *, least: int = 0, most: int, one_line: bool = True) -> str | None:
        """Text without surrounding blanks, of ``least`` to ``most`` characters."""
        value = self.raw(name)
        if value is None:
            return None
        if not isinstance(value, str):
            self.wrong((name,), "str type expected", "type_error.str")
            return None
        if len(value) > most:
            self._too_long((name,), most)
            return None
        value = value.strip()
        if len(value) < least:
            self._too_short(name, least)
        elif one_line and _CONTROL.search(value):
            self.wrong((name,), "must be one line of text without control characters")
        else:
            return value
        return None

    def object(self, name: str, *, most_bytes: int) -> dict[str, Json] | None:
        value = self.raw(name)
        if value is None:
            return None
        if not isinstance(value, dict):
            self.wrong((name,), "value is not a valid dict", "type_error.dict")
            return None
        if (size := size_bytes(value)) > most_bytes:
            self.wrong((name,), f"has {size} bytes as JSON; the limit is {most_bytes}", "value_error.too_large")
            return None
        return value

    def texts(self, name: str, *, most_items: int, most_chars: int, collapse: bool = False) -> list[str] | None:
        """A list of texts; with ``collapse`` blanks are trimmed and runs of them become one, and empty texts go."""
        values = self._list(name, most_items)
        if values is None:
            return None
        found = []
        for i, value in enumerate(values):
            if not isinstance(value, str):
                self.wrong((name, i), "str type expected", "type_error.str")
                continue
            text = " ".join(value.split()) if collapse else value
            if len(value) > most_chars:
                self._too_long((name, i), most_chars)
            elif text or not collapse:
                found.append(text)
        return found

    def principals(self, name: str, *, most_items: int) -> list[str] | None:
        """A role list: unique principals of the kinds its role takes."""
        values = self._list(name, most_items)
        if values is None:
            return None
        role, special = _ROLE_RULES[name]
        found: list[str] = []
        for i, value in enumerate(values):
            principal = value.lower() if isinstance(value, str) else ""
            if not (is_identity_or_group(principal) or principal in special):
                kinds = ", ".join(["<AuthGroupUrn>", "<AuthIdentityUrn>", *(f'"{one}"' for one in special)])
                shown = value[:120] if isinstance(value, str) else type_name(value)
                self.wrong(
                    (name, i),
                    f'Unrecognized principal string: "{shown}". Allowed principal types in role "{role}": [{kinds}]',
                )
            elif principal in found:
                self.wrong((name, i), f'the list has duplicated items: "{principal}"', "value_error.list.unique_items")
            else:
                found.append(principal)
        return found

    def identifier(self, name: str, *, words: Sequence[str] = ()) -> str | None:
        """A UUID, or one of ``words``."""
        value = self.raw(name)
        if value is None or value in words:
            return value if isinstance(value, str) else None
        identifier = normal_uuid(value) if isinstance(value, str) else None
        if identifier is None:
            self.wrong((name,), "value is not a valid uuid", "type_error.uuid")
        return identifier

    def choices(self, name: str, allowed: Sequence[str], *, most_items: int) -> list[str] | None:
        values = self._list(name, most_items)
        if values is None:
            return None
        for i, value in enumerate(values):
            if value not in allowed:
                listed = ", ".join(f"'{one}'" for one in allowed)
                self.wrong((name, i), f"unexpected value; permitted: {listed}", "value_error.const")
        return list(dict.fromkeys(value for value in values if isinstance(value, str)))

    def part(self, name: str, allowed: Collection[str]) -> Body | None:
        """A member that is an object with known members; its problems are collected here."""
        if name not in self:
            return None
        if not isinstance(self.raw(name), dict):
            self.wrong((name,), "value is not a valid dict", "type_error.dict")
            return None
        part = Body(self.raw(name), allowed, (*self._where, name))
        self.problems.extend(part.problems)
        part.problems = self.problems
        return part

    def _list(self, name: str, most_items: int) -> list[Json] | None:
        value = self.raw(name)
        if value is None:
            return None
        if not isinstance(value, list):
            self.wrong((name,), "value is not a valid list", "type_error.list")
            return None
        if len(value) > most_items:
            msg = f"ensure this value has at most {most_items} items"
            self.wrong((name,), msg, "value_error.list.max_items", limit_value=most_items)
            return None
        return value

    def _too_long(self, loc: Where, most: int) -> None:
        msg = f"ensure this value has at most {most} characters"
        self.wrong(loc, msg, "value_error.any_str.max_length", limit_value=most)

    def _too_short(self, name: str, least: int) -> None:
        msg = f"ensure this value has at least {least} characters"
        self.wrong((name,), msg, "value_error.any_str.min_length", limit_value=least)


def type_name(value: Json) -> str:
    """JSON's own name of a value's type, for sentences."""
    if value is None:
        return "null"
    names = {bool: "a boolean", int: "a number", float: "a number", list: "an array", dict: "an object", str: "text"}
    return names[type(value)]
