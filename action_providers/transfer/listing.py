"""The ls and stat providers: what is in a directory, and what is at a path.

Documents: Transfer API, "File operations". A path that does not exist is a successful stat with ``code`` NotFound,
which flows test for.
"""

from __future__ import annotations

import grp
import pwd
import stat
from collections.abc import Mapping
from datetime import UTC, datetime
from functools import lru_cache
from typing import ClassVar

from schemas.json_text import Json

from ..provider import Action, ActionProvider, Description, Failed, Outcome, Succeeded
from .collections import Collections
from .documents import KEYWORDS, SCOPE, endpoint, flag, path, schema, text
from .faults import Kind, TransferError
from .file_filter import matches, ordered, parse_filter, parse_orderby
from .paths import Parts, parse, show, show_directory
from .plan import adapt_operation, is_temporary
from .task import refused
from .tree import Entry, Tree

MAX_LIMIT = 100_000


class ListDirectory(ActionProvider):
    description: ClassVar[Description] = Description(
        path="transfer/ls",
        title="List a directory",
        subtitle="Of a collection",
        description="Lists the contents of a directory. Files that are still being written are left out.",
        keywords=KEYWORDS,
        scope=SCOPE,
        synchronous=True,
        input_schema=schema(
            {
                "endpoint_id": endpoint("Collection to list"),
                "path": path("Directory to list; default the collection's root", min_length=0),
                "limit": {
                    "type": "integer",
                    "minimum": 1,
                    "maximum": MAX_LIMIT,
                    "description": "At most so many entries",
                },
                "offset": {"type": "integer", "minimum": 0, "description": "Leave out so many entries at the front"},
                "orderby": {
                    "type": ["string", "array"],
                    "maxItems": 8,
                    "items": text("Field, then ASC or DESC", max_length=64),
                    "maxLength": 512,
                    "description": "Fields to order by, such as 'type, name DESC'; default name",
                },
                "filter": {
                    "type": ["string", "array", "object"],
                    "maxItems": 32,
                    "maxLength": 4096,
                    "description": "Clauses joined by '/', such as 'name:~*.txt/type:file'; of several one must hold",
                },
                "show_hidden": {
                    "type": ["boolean", "integer"],
                    "description": "Whether to list names that begin with a dot; default true",
                },
                "path_only": flag("Describe the path itself, not what is in it"),
            },
            ["endpoint_id"],
            open_ended=True,
        ),
    )

    def __init__(self, collections: Collections) -> None:
        self._collections = collections

    def adapt(self, body: Json) -> Json:
        return adapt_operation(body)

    def run(self, action: Action, now: datetime) -> Outcome:  # noqa: ARG002 # the contract gives it
        body = action.body
        try:
            place = parse(body.get("path", ""))
            with self._collections.open(action.caller, body["endpoint_id"]) as tree:
                found = [_required(tree, place, body)] if body.get("path_only") else _listed(tree, place)
                return Succeeded(_file_list(found, place, body))
        except TransferError as fault:
            return Failed(_ls_refused(fault, body))


class Stat(ActionProvider):
    description: ClassVar[Description] = Description(
        path="transfer/stat",
        title="Describe a file or directory",
        subtitle="Of a collection",
        description="Describes what is at a path. Details with code NotFound say that nothing is.",
        keywords=KEYWORDS,
        scope=SCOPE,
        synchronous=True,
        input_schema=schema(
            {"endpoint_id": endpoint("Collection"), "path": path("File or directory to describe", min_length=0)},
            ["endpoint_id", "path"],
            open_ended=True,
        ),
    )

    def __init__(self, collections: Collections) -> None:
        self._collections = collections

    def adapt(self, body: Json) -> Json:
        return adapt_operation(body)

    def run(self, action: Action, now: datetime) -> Outcome:  # noqa: ARG002 # the contract gives it
        body = action.body
        try:
            place = parse(body["path"])
            with self._collections.open(action.caller, body["endpoint_id"]) as tree:
                found = tree.find(place, "pass", follow=False)
                if found is None:
                    return Succeeded(_not_found(place, body))
                return Succeeded(_file(tree, place, found))
        except TransferError as fault:
            if fault.kind is Kind.NOT_DIRECTORY:  # /file/x: nothing is there
                return Succeeded(_not_found(parse(body["path"]), body))
            return Failed(refused(fault, endpoint=body["endpoint_id"], path=body["path"]))


def _listed(tree: Tree, place: Parts) -> list[dict[str, Json]]:
    """Documents of the directory's entries, as far as the caller may see them."""
    with tree.directory(place, "pass") as directory:
        entries = directory.entries()
        visible = [one for one in entries if not is_temporary(one.name) and tree.allows((*place, one.name), "pass")]
        return [_file(tree, (*place, one.name), one) for one in visible]


def _required(tree: Tree, place: Parts, body: Mapping[str, Json]) -> dict[str, Json]:
    found = tree.find(place, "pass", follow=False)
    if found is None:
        raise TransferError(Kind.MISSING, _not_found(place, body)["description"])
    return _file(tree, place, found)


def _file_list(found: list[dict[str, Json]], place: Parts, body: Mapping[str, Json]) -> dict[str, Json]:
    filters, order = parse_filter(body.get("filter")), parse_orderby(body.get("orderby"))
    if not body.get("show_hidden", True):
        found = [one for one in found if not one["name"].startswith(".")]
    found = ordered([one for one in found if matches(filters, one)], order)
    limit, offset = body.get("limit", MAX_LIMIT), body.get("offset", 0)
    page = found[offset : offset + limit]
    where = show(place) if body.get("path_only", False) else show_directory(place)
    return {
        "DATA_TYPE": "file_list",
        "endpoint": body["endpoint_id"],
        "path": where,
        "absolute_path": where,
        "length": len(page),
        "total": len(found),
        "limit": limit,
        "offset": offset,
        "has_next_page": offset + limit < len(found),
        "rename_supported": True,
        "symlink_supported": True,
        "DATA": page,
    }


def _file(tree: Tree, place: Parts, entry: Entry) -> dict[str, Json]:
    """The file document; of a link it describes what it leads to, as far as that is in reach."""
    document: dict[str, Json] = {"DATA_TYPE": "file", "name": show((entry.name,))[1:] if place else "/"}
    links = dict.fromkeys(("link_target", "link_size", "link_user", "link_group", "link_last_modified"))
    if not entry.is_link:
        return document | _facts(entry) | links
    own = _facts(entry)
    links |= {f"link_{key}": own[key] for key in ("size", "user", "group", "last_modified")}
    with tree.place(place, "pass", follow=False) as (parent, name):
        links["link_target"] = show((parent.link_target(name),))[1:]
    try:
        target = tree.find(place, "r")
    except TransferError:  # out of the collection, out of the caller's reach, or in a circle
        target = None
    if target is None:
        return document | own | {"type": "invalid_symlink", "is_folder": False} | links
    return document | _facts(target) | links


def _facts(entry: Entry) -> dict[str, Json]:
    status = entry.status
    return {
        "type": _type(status.st_mode),
        "is_folder": entry.is_directory,
        "size": status.st_size,
        "permissions": f"{stat.S_IMODE(status.st_mode):04o}",
        "user": _user(status.st_uid),
        "group": _group(status.st_gid),
        "last_modified": datetime.fromtimestamp(int(status.st_mtime), UTC).isoformat(sep=" "),
    }


_TYPES = {
    stat.S_IFDIR: "dir",
    stat.S_IFREG: "file",
    stat.S_IFLNK: "invalid_symlink",
    stat.S_IFCHR: "chr",
    stat.S_IFBLK: "blk",
    stat.S_IFIFO: "pipe",
}


def _type(mode: int) -> str:
    return _TYPES.get(stat.S_IFMT(mode), "other")


@lru_cache(maxsize=1024)
def _user(uid: int) -> str:
    try:
        return pwd.getpwuid(uid).pw_name
    except KeyError:
        return str(uid)


@lru_cache(maxsize=1024)
def _group(gid: int) -> str:
    try:
        return grp.getgrgid(gid).gr_name
    except KeyError:
        return str(gid)


def _not_found(place: Parts, body: Mapping[str, Json]) -> dict[str, Json]:
    sentence = f"{show(place)} does not exist on the collection"
    return {
        "code": "NotFound",
        "description": sentence,
        "message": sentence,
        "endpoint": body["endpoint_id"],
        "path": show(place),
    }


def _ls_refused(fault: TransferError, body: Mapping[str, Json]) -> dict[str, Json]:
    details = refused(fault, endpoint=body["endpoint_id"], path=body.get("path", ""))
    if fault.kind is Kind.NOT_DIRECTORY:
        details["code"] = "ExternalError.DirListingFailed.NotDirectory"
    return details
