"""What a transfer or delete asks for, and which files that means. Pure.

Older spellings of the documents are brought to the present form here, before they are checked.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import IntEnum
from fnmatch import fnmatchcase
from typing import Literal

from schemas.json_text import Json
from schemas.times import parse_rfc3339

from .faults import Kind, TransferError
from .paths import MAX_NAME_BYTES, Parts, brief, parse, show


class SyncLevel(IntEnum):
    """When a file that is at the destination already is copied again (Transfer API, "sync_level")."""

    EXISTS = 0
    SIZE = 1
    MTIME = 2
    CHECKSUM = 3


@dataclass(frozen=True, slots=True)
class FilterRule:
    method: Literal["include", "exclude"]
    name: str
    type: Literal["file", "dir"] | None


@dataclass(frozen=True, slots=True)
class Checksum:
    """A checksum the author knows beforehand."""

    algorithm: str
    value: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Item:
    """``recursive`` None means: find out. ``is_link`` asks to copy a symbolic link itself."""

    source: Parts
    target: Parts
    recursive: bool | None
    target_is_directory: bool
    checksum: Checksum | None
    is_link: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class TransferRequest:
    source_endpoint: str
    destination_endpoint: str
    items: tuple[Item, ...]
    sync_level: SyncLevel | None
    verify_checksum: bool
    preserve_timestamp: bool
    delete_destination_extra: bool
    skip_source_errors: bool
    recursive_symlinks: str
    filter_rules: tuple[FilterRule, ...]
    deadline: datetime | None

    @classmethod
    def from_body(cls, body: Mapping[str, Json]) -> TransferRequest:
        """Parse a body that was checked against the input schema.

        Raises:
            TransferError: the sentence names the item or option.
        """
        items = tuple(_item(item) for item in body["DATA"])
        _require_apart(items)
        return cls(
            source_endpoint=body["source_endpoint"],
            destination_endpoint=body["destination_endpoint"],
            items=items,
            sync_level=None if body.get("sync_level") is None else SyncLevel(body["sync_level"]),
            verify_checksum=body.get("verify_checksum", True),
            preserve_timestamp=body.get("preserve_timestamp", False),
            delete_destination_extra=body.get("delete_destination_extra", False),
            skip_source_errors=body.get("skip_source_errors", False),
            recursive_symlinks=body.get("recursive_symlinks", "ignore"),
            filter_rules=tuple(
                FilterRule(rule.get("method", "exclude"), rule["name"], rule.get("type"))
                for rule in body.get("filter_rules", ())
            ),
            deadline=parse_deadline(body.get("deadline")),
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class DeleteRequest:
    endpoint: str
    paths: tuple[Parts, ...]
    recursive: bool
    ignore_missing: bool
    interpret_globs: bool
    deadline: datetime | None

    @classmethod
    def from_body(cls, body: Mapping[str, Json]) -> DeleteRequest:
        """Parse a body that was checked against the input schema; raises as ``TransferRequest.from_body``."""
        paths = tuple(dict.fromkeys(parse(item["path"]) for item in body["DATA"]))
        if () in paths:
            raise _bad("the root of a collection cannot be deleted; name what is in it, or use interpret_globs and /*")
        return cls(
            endpoint=body["endpoint"],
            paths=paths,
            recursive=body.get("recursive", False),
            ignore_missing=body.get("ignore_missing", False),
            interpret_globs=body.get("interpret_globs", False),
            deadline=parse_deadline(body.get("deadline")),
        )


def adapt_transfer(body: Json) -> Json:
    """``transfer_items`` -> ``DATA``, ``*_endpoint_id`` -> ``*_endpoint``, ``sync_level`` text -> number, no nulls."""
    if not isinstance(body, dict):
        return body
    new = _renamed(
        body,
        {
            "transfer_items": "DATA",
            "source_endpoint_id": "source_endpoint",
            "destination_endpoint_id": "destination_endpoint",
        },
    )
    if isinstance(items := new.get("DATA"), list):
        new["DATA"] = [_without_nulls(item) for item in items]
    if isinstance(rules := new.get("filter_rules"), list):
        new["filter_rules"] = [_without_nulls(rule) for rule in rules]
    if isinstance(level := new.get("sync_level"), str):
        names = {one.name.lower(): int(one) for one in SyncLevel} | {str(int(one)): int(one) for one in SyncLevel}
        if level == "":
            del new["sync_level"]
        else:
            new["sync_level"] = names.get(level.lower(), level)
    return new


def adapt_delete(body: Json) -> Json:
    """``items`` (texts) -> ``DATA`` (objects), ``endpoint_id`` -> ``endpoint``, no nulls."""
    if not isinstance(body, dict):
        return body
    new = _renamed(body, {"items": "DATA", "endpoint_id": "endpoint"})
    if isinstance(items := new.get("DATA"), list):
        new["DATA"] = [{"path": item} if isinstance(item, str) else _without_nulls(item) for item in items]
    return new


def adapt_operation(body: Json) -> Json:
    """``endpoint`` and ``collection_id`` -> ``endpoint_id``, no nulls."""
    if not isinstance(body, dict):
        return body
    return _renamed(body, {"endpoint": "endpoint_id", "collection_id": "endpoint_id"})


def is_kept(rules: Sequence[FilterRule], name: str, *, is_directory: bool) -> bool:
    """Whether what was found in a recursive item is transferred: the first rule that matches decides, else yes."""
    kind = "dir" if is_directory else "file"
    for rule in rules:
        if rule.type in (None, kind) and fnmatchcase(name, rule.name):
            return rule.method == "include"
    return True


def needs_copy(
    level: SyncLevel | None,
    source: os.stat_result,
    target: os.stat_result | None,
    *,
    same_content: Callable[[], bool],
) -> bool:
    """Whether the file is copied, by sync level; ``same_content`` is asked only when nothing cheaper decides."""
    if level is None or target is None:
        return True
    if level is SyncLevel.EXISTS:
        return False
    if source.st_size != target.st_size:
        return True
    if level is SyncLevel.SIZE:
        return False
    if level is SyncLevel.MTIME:
        return source.st_mtime_ns > target.st_mtime_ns
    return not same_content()


def clashes(names: Sequence[str]) -> list[str]:
    """Names that are one name where case does not count, by pairs in order: ``["A.txt", "a.txt"]``."""
    first: dict[str, str] = {}
    found: list[str] = []
    for name in names:
        other = first.setdefault(name.casefold(), name)
        if other != name:
            found += [other, name]
    return found


_TEMPORARY = re.compile(r"\..*\.part-[0-9A-Za-z-]{1,64}", re.DOTALL)


def temporary_name(name: str, action_id: str, attempt: str) -> str:
    """Name of the unfinished copy beside its target; ``attempt`` keeps a lost worker from touching its successor's."""
    end = temporary_prefix(action_id) + attempt
    room = MAX_NAME_BYTES - len(end) - 1
    return f".{os.fsdecode(os.fsencode(name)[:room])}{end}"


def temporary_prefix(action_id: str) -> str:
    """What the names of the action's unfinished copies hold before the attempt."""
    return f".part-{re.sub('[^0-9A-Za-z]', '', action_id)[:40]}-"


def is_temporary(name: str) -> bool:
    """Whether the name is one that only unfinished copies have."""
    return _TEMPORARY.fullmatch(name) is not None


def parse_deadline(text: str | None) -> datetime | None:
    """``2030-01-01``, ``2030-01-01 00:00:00`` or with an offset; without one it is UTC (Transfer API)."""
    if not text:
        return None
    plain = re.fullmatch(r"(\d{4}-\d\d-\d\d)(?:[T ](\d\d:\d\d)(:\d\d(?:\.\d+)?)?)? ?(Z|z|[+-]\d\d:\d\d)?", text)
    if plain is None:
        raise _bad(f"the deadline {brief(text)} is not a time such as 2030-01-31 or 2030-01-31T12:00:00Z")
    try:
        return parse_rfc3339(f"{plain[1]}T{plain[2] or '00:00'}{plain[3] or ':00'}{plain[4] or 'Z'}").astimezone(UTC)
    except ValueError as error:
        raise _bad(f"deadline: {error}") from error


#: Algorithms of ``external_checksum``. MD5 and SHA-1 are what other people's lists hold; nothing here trusts them.
CHECKSUM_ALGORITHMS = ("md5", "sha1", "sha224", "sha256", "sha384", "sha512")


def _item(item: Mapping[str, Json]) -> Item:
    target_text = item["destination_path"]
    target_names = target_text.rstrip("/").rsplit("/", 1)[-1]
    return Item(
        source=parse(item["source_path"]),
        target=parse(target_text),
        recursive=item.get("recursive"),
        target_is_directory=target_text.endswith("/") or target_names in ("", ".", "~"),
        checksum=_checksum(item),
        is_link=item.get("DATA_TYPE") == "transfer_symlink_item",
    )


def _checksum(item: Mapping[str, Json]) -> Checksum | None:
    if not (value := item.get("external_checksum")):
        return None
    algorithm = str(item.get("checksum_algorithm") or "md5").lower().replace("-", "")
    if algorithm not in CHECKSUM_ALGORITHMS:
        raise _bad(f"checksum_algorithm {brief(algorithm)} is not one of {', '.join(CHECKSUM_ALGORITHMS)}")
    return Checksum(algorithm, value.lower())


def _require_apart(items: Sequence[Item]) -> None:
    if not items:
        raise _bad("DATA is empty: name at least one item to transfer")
    seen: dict[Parts, Item] = {}
    for item in items:
        before = seen.setdefault(item.target, item)
        merges = all(one.recursive or one.target_is_directory for one in (before, item))  # directories may
        if before.source != item.source and not merges:
            raise _bad(f"{show(before.source)} and {show(item.source)} would both be written to {show(item.target)}")


def _renamed(body: dict[str, Json], names: Mapping[str, str]) -> dict[str, Json]:
    """The present spelling wins when both are given."""
    new = _without_nulls(body)
    for old, name in names.items():
        if old in new:
            value = new.pop(old)
            new.setdefault(name, value)
    return dict(new)


def _without_nulls(value: Json) -> Json:
    return {key: item for key, item in value.items() if item is not None} if isinstance(value, dict) else value


def _bad(sentence: str) -> TransferError:
    return TransferError(Kind.BAD_REQUEST, sentence)
