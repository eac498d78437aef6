"""Query strings of list routes, parsed once into filters and pages; markers, which carry a query from page to page.

Clients write booleans in three ways, lists with commas, and ``orderby`` repeated or with commas; an empty value means
the parameter was not given. Every refusal is a 400 that says what would be right.
A marker holds the query's own arguments and the last row's key, so it is checked by the same parser as a query. Its
checksum covers the caller: a marker that was altered or belongs to somebody else is refused. What a list shows is
decided by the roles of whoever asks, never by the marker.
"""

from __future__ import annotations

import base64
import binascii
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from hashlib import blake2b
from typing import Generic, TypeVar

from schemas.action import Status
from schemas.errors import InvalidJson, ServiceError
from schemas.json_text import dumps, loads
from schemas.principals import PUBLIC, Caller, normal_uuid
from schemas.times import parse_rfc3339

from .. import policy
from ..store.flows import FlowFilter
from ..store.keyset import Criterion, KeyValue, Page
from ..store.run_views import Interval, RunFilter
from .limits import Limits

Arguments = Mapping[str, Sequence[str]]
F = TypeVar("F")

_TRUE = frozenset({"true", "1"})
_FALSE = frozenset({"false", "0"})
_INT64 = 2**63
_MAX_PAGE_NUMBER = 1_000
_MAX_FILTER_CHARS = 1_000
_INTEGER_FIELDS = frozenset({"created_at", "updated_at", "start_time", "completion_time"})

_FLOW_FIELDS = ("id", "scope_string", "flow_owner", "flow_administrators", "title", "created_at", "updated_at")
_FLOW_FIELD_ALIASES = {
    "flow_owners": "flow_owner",
    "created_by": "flow_owner",
    "administered_by": "flow_administrators",
}
_RUN_FIELDS = ("id", "start_time", "completion_time", "status", "label")
_STATUSES = tuple(status.value for status in Status)

#: ``filter_role``, the older parameter, includes the roles below the one it names.
_CUMULATIVE = {
    "flow_starter": ("flow_viewer",),
    "flow_administrator": ("flow_viewer", "flow_starter"),
    "flow_owner": (),
    "run_owner": (),
    "run_manager": ("run_monitor",),
    "flow_run_manager": ("flow_run_monitor",),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class ListQuery(Generic[F]):
    """A parsed list query. ``arguments`` is the query as given, for its markers."""

    kind: str
    reader: str
    filter: F
    page: Page
    arguments: Mapping[str, Sequence[str]]

    def marker(self, key: tuple[KeyValue, ...] | None) -> str | None:
        """The marker of the page after the row with this key; None when there is no such page."""
        if key is None:
            return None
        kept = {name: list(values) for name, values in self.arguments.items() if name != "page"}
        return _encode_marker(self.kind, self.reader, [kept, list(key)])


@dataclass(frozen=True, slots=True, kw_only=True)
class LogQuery:
    """``after`` is the sequence number of the last entry seen."""

    kind: str
    reader: str
    limit: int
    reverse: bool
    after: int | None = None

    def marker(self, last: int) -> str:
        return _encode_marker(self.kind, self.reader, [self.limit, self.reverse, last])


def flow_query(arguments: Arguments, caller: Caller | None, limits: Limits) -> ListQuery[FlowFilter]:
    """Query of ``GET /flows``. Without a role filter every flow the caller may see is listed."""
    arguments, key = _resolve("flows", arguments, caller, limits)
    read = _Reader(arguments)
    wanted = FlowFilter(
        principals=policy.principals_of(caller),
        roles=read.roles(policy.FLOW_ROLES),
        fulltext=read.filter("filter_fulltext"),
        title=read.filter("filter_title"),
        subtitle=read.filter("filter_subtitle"),
        description=read.filter("filter_description"),
        keywords=read.filter("filter_keywords"),
        scope_string=read.filter("filter_scope_string"),
    )
    order = read.order(_FLOW_FIELDS, _FLOW_FIELD_ALIASES) or (Criterion("created_at", descending=True),)
    page = read.page(order, key, limits)
    return ListQuery(kind="flows", reader=_name(caller), filter=wanted, page=page, arguments=arguments)


def run_query(
    arguments: Arguments, caller: Caller, limits: Limits, *, flow_id: str | None = None
) -> ListQuery[RunFilter]:
    """Query of ``GET /runs``, or with ``flow_id`` of one flow's runs. Without a role filter every visible run."""
    kind = "runs" if flow_id is None else f"runs:{flow_id}"
    arguments, key = _resolve(kind, arguments, caller, limits)
    read = _Reader(arguments)
    roles = read.roles(policy.RUN_ROLES) or policy.RUN_ROLES
    flow_grants = (
        *(policy.FLOW_RUN_MANAGER_ROLES if "flow_run_manager" in roles else ()),
        *(policy.FLOW_RUN_MONITOR_ROLES if "flow_run_monitor" in roles else ()),
    )
    wanted = RunFilter(
        principals=caller.principals,
        run_grants=tuple(role for role in roles if not role.startswith("flow_")),
        flow_grants=flow_grants,
        flow_ids=read.identifiers("filter_flow_id") if flow_id is None else (flow_id,),
        statuses=read.choices("filter_status", _STATUSES, normal=str.upper),
        label=read.filter("filter_label"),
        flow_title=read.filter("filter_flow_title"),
        started=read.interval("filter_start_time"),
        completed=read.interval("filter_completion_time"),
    )
    order = read.order(_RUN_FIELDS, {}) or (Criterion("start_time", descending=True),)
    page = read.page(order, key, limits)
    return ListQuery(kind=kind, reader=_name(caller), filter=wanted, page=page, arguments=arguments)


def log_query(arguments: Arguments, run_id: str, caller: Caller, limits: Limits) -> LogQuery:
    """Query of a run's log."""
    kind, reader = f"log:{run_id}", _name(caller)
    _check_arguments(arguments, limits)
    if marker := _Reader(arguments).marker(limits):
        match _decode_marker(kind, reader, marker):
            case [int(limit), bool(reverse), int(after)] if 1 <= limit <= limits.log_page_max and abs(after) < _INT64:
                return LogQuery(kind=kind, reader=reader, limit=limit, reverse=reverse, after=after)
        raise _foreign_marker()
    read = _Reader(arguments)
    limit = read.integer("limit", least=1, most=limits.log_page_max, default=limits.log_page_default)
    return LogQuery(kind=kind, reader=reader, limit=limit, reverse=read.boolean("reverse_order"))


def flag(arguments: Arguments, name: str, limits: Limits) -> bool:
    """A boolean parameter of a route that lists nothing; absent is false."""
    _check_arguments(arguments, limits)
    return _Reader(arguments).boolean(name)


def bad_query(detail: str) -> ServiceError:
    return ServiceError(400, "BAD_REQUEST", detail)


class _Reader:
    """Reads single parameters. Values of a repeated parameter count together; empty ones do not count."""

    def __init__(self, arguments: Arguments) -> None:
        self._arguments = arguments

    def texts(self, name: str) -> tuple[str, ...]:
        parts = [part.strip() for value in self._arguments.get(name, ()) for part in value.split(",")]
        return tuple(dict.fromkeys(part for part in parts if part))

    def filter(self, name: str) -> tuple[str, ...]:
        """Texts to look for."""
        found = self.texts(name)
        if (size := sum(map(len, found))) > _MAX_FILTER_CHARS:
            raise bad_query(f"{name} has {size} characters; the limit is {_MAX_FILTER_CHARS}")
        return found

    def marker(self, limits: Limits) -> str | None:
        for name in ("marker", "pagination_token"):
            if value := self._one(name):
                if len(value) > limits.max_marker_chars:
                    raise _foreign_marker()
                return value
        return None

    def boolean(self, name: str) -> bool:
        text = self._one(name).lower()
        if text and text not in _TRUE | _FALSE:
            raise bad_query(f"{name} must be true or false, not {text[:40]!r}")
        return text in _TRUE

    def integer(self, name: str, *, least: int, most: int, default: int) -> int:
        text = self._one(name)
        if not text:
            return default
        if not re.fullmatch("[0-9]{1,9}", text, re.ASCII) or not least <= int(text) <= most:
            raise bad_query(f"{name} must be a whole number from {least} to {most}, not {text[:40]!r}")
        return int(text)

    def choices(
        self, name: str, allowed: Sequence[str], *, normal: Callable[[str], str] = str.lower
    ) -> tuple[str, ...]:
        found = []
        for text in self.texts(name):
            value = normal(text)
            if value not in allowed:
                raise bad_query(f"{name} cannot be {text[:40]!r}; allowed values: {', '.join(allowed)}")
            found.append(value)
        return tuple(dict.fromkeys(found))

    def roles(self, allowed: Sequence[str]) -> tuple[str, ...]:
        """``filter_roles``, singular or plural; ``filter_role`` stands for itself and the roles below it."""

        def singular(text: str) -> str:
            return text.lower().removesuffix("s")

        roles = self.choices("filter_roles", allowed, normal=singular)
        if not roles:
            named = self.choices("filter_role", allowed, normal=singular)
            roles = tuple(dict.fromkeys(one for role in named for one in (role, *_CUMULATIVE.get(role, ()))))
        return roles

    def identifiers(self, name: str) -> tuple[str, ...]:
        found = []
        for text in self.texts(name):
            identifier = normal_uuid(text)
            if identifier is None:
                raise bad_query(f"{name} takes UUIDs with commas between, and {text[:40]!r} is not one")
            found.append(identifier)
        return tuple(dict.fromkeys(found))

    def interval(self, name: str) -> Interval | None:
        """``A,B``: from A on, before B; either side may be empty, and without a comma it is from A on."""
        text = self._one(name)
        if not text:
            return None
        first, _, second = text.partition(",")
        try:
            start, end = (None if not side.strip() else parse_rfc3339(_plus(side.strip())) for side in (first, second))
        except ValueError as error:
            raise bad_query(f"{name}: {error}") from error
        return Interval(start=start, end=end)

    def order(self, allowed: Sequence[str], aliases: Mapping[str, str]) -> tuple[Criterion, ...]:
        found: dict[str, Criterion] = {}
        for text in self.texts("orderby"):
            name, _, direction = text.replace(":", " ").partition(" ")
            field = aliases.get(name, name)
            direction = direction.strip().upper() or "ASC"
            if field not in allowed:
                raise bad_query(f"orderby cannot be {name[:40]!r}; allowed values: {', '.join(allowed)}")
            if direction not in ("ASC", "DESC"):
                raise bad_query(f"orderby {name}: the direction must be ASC or DESC, not {direction[:40]!r}")
            found.setdefault(field, Criterion(field, descending=direction == "DESC"))
        return tuple(found.values())

    def page(self, order: tuple[Criterion, ...], key: object, limits: Limits) -> Page:
        limit = self.integer("per_page", least=1, most=limits.page_max, default=limits.page_default)
        number = self.integer("page", least=1, most=_MAX_PAGE_NUMBER, default=1)
        after = None if key is None else _key(key, order)
        return Page(order=order, limit=limit, skip=(number - 1) * limit if after is None else 0, after=after)

    def _one(self, name: str) -> str:
        values = [value for value in self._arguments.get(name, ()) if value.strip()]
        if len(values) > 1:
            raise bad_query(f"{name} is given {len(values)} times; once is right")
        return values[0].strip() if values else ""


def _resolve(
    kind: str, arguments: Arguments, caller: Caller | None, limits: Limits
) -> tuple[Mapping[str, Sequence[str]], object]:
    """The arguments that count and the key to go on after: a marker overrides everything else in the query."""
    _check_arguments(arguments, limits)
    marker = _Reader(arguments).marker(limits)
    if marker is None:
        return dict(arguments), None
    match _decode_marker(kind, _name(caller), marker):
        case [dict(kept), list(key)] if all(
            isinstance(values, list) and all(isinstance(value, str) for value in values) for values in kept.values()
        ):
            return kept, key
    raise _foreign_marker()


def _check_arguments(arguments: Arguments, limits: Limits) -> None:
    carried = ("marker", "pagination_token")
    size = sum(len(name) + len(value) for name, values in arguments.items() if name not in carried for value in values)
    if size > limits.max_query_chars:
        raise bad_query(f"the query has {size} characters; the limit is {limits.max_query_chars}")
    for name, values in arguments.items():
        if any("\0" in value for value in values):
            raise bad_query(f"{name[:40]} holds a NUL character")


def _key(key: object, order: tuple[Criterion, ...]) -> tuple[KeyValue, ...]:
    kinds = [int if one.field in _INTEGER_FIELDS else str for one in order] + [int]
    if not isinstance(key, list) or [type(value) for value in key] != kinds:
        raise _foreign_marker()
    return tuple(key)


def _plus(text: str) -> str:
    """A ``+`` that was not escaped arrives as a space: give the offset its sign back."""
    return re.sub(r" (\d\d:\d\d)$", r"+\1", text, flags=re.ASCII)


def _name(caller: Caller | None) -> str:
    return PUBLIC if caller is None else caller.urn


def _encode_marker(kind: str, reader: str, content: object) -> str:
    payload = dumps(content).encode()
    return base64.urlsafe_b64encode(_checksum(kind, reader, payload) + payload).decode().rstrip("=")


def _decode_marker(kind: str, reader: str, marker: str) -> object:
    try:
        raw = base64.b64decode(marker + "=" * (-len(marker) % 4), altchars=b"-_", validate=True)
        checksum, payload = raw[:12], raw[12:]
        if checksum != _checksum(kind, reader, payload):
            raise _foreign_marker()
        return loads(payload)
    except (binascii.Error, ValueError, InvalidJson) as error:
        raise _foreign_marker() from error


def _checksum(kind: str, reader: str, payload: bytes) -> bytes:
    return blake2b(f"{kind}\0{reader}\0".encode() + payload, digest_size=12).digest()


def _foreign_marker() -> ServiceError:
    return bad_query("the marker is not one that this list gave to you; start again without a marker")
