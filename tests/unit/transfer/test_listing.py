"""ls, stat, mkdir and collection_info."""

from __future__ import annotations

import os
from typing import Any

import pytest

from action_providers.transfer.faults import TransferError
from action_providers.transfer.file_filter import matches, ordered, parse_filter, parse_orderby
from action_providers.transfer.listing import ListDirectory, Stat
from action_providers.transfer.operations import CollectionInfo, MakeDirectory
from tests.unit.transfer.world import GUEST, OWNER, World, failed, perform, plant, snapshot, succeeded


def ls(world: World, **members: Any) -> Any:
    return perform(ListDirectory(world.collections), {"endpoint_id": world.source.collection_id, **members})


def names(world: World, **members: Any) -> list[str]:
    return [one["name"] for one in succeeded(ls(world, **members))["DATA"]]


@pytest.fixture
def files(world: World) -> World:
    plant(world.source_dir, {"d/in": b"", "b.txt": b"22", "a.txt": b"4444", ".hidden": b"", "c.json": b"1"})
    os.utime(world.source_dir / "a.txt", (1_700_000_000, 1_700_000_000))
    (world.source_dir / "a.txt").chmod(0o640)
    return world


def test_a_file_document_has_every_member(files: World):
    details = succeeded(ls(files, filter="name:a.txt"))
    entry = details["DATA"][0]
    assert entry == {
        "DATA_TYPE": "file",
        "name": "a.txt",
        "type": "file",
        "is_folder": False,
        "size": 4,
        "permissions": "0640",
        "user": entry["user"],
        "group": entry["group"],
        "last_modified": "2023-11-14 22:13:20+00:00",
        "link_target": None,
        "link_size": None,
        "link_user": None,
        "link_group": None,
        "link_last_modified": None,
    }
    assert {key: details[key] for key in ("DATA_TYPE", "path", "length", "total", "has_next_page")} == {
        "DATA_TYPE": "file_list",
        "path": "/",
        "length": 1,
        "total": 1,
        "has_next_page": False,
    }


@pytest.mark.parametrize(
    ("members", "expected"),
    [
        ({}, [".hidden", "a.txt", "b.txt", "c.json", "d"]),
        ({"path": "/~/"}, [".hidden", "a.txt", "b.txt", "c.json", "d"]),
        ({"path": "d"}, ["in"]),
        ({"show_hidden": False}, ["a.txt", "b.txt", "c.json", "d"]),
        ({"show_hidden": 0}, ["a.txt", "b.txt", "c.json", "d"]),
        ({"orderby": "name DESC", "limit": 2}, ["d", "c.json"]),
        ({"orderby": ["type", "size DESC"]}, ["d", "a.txt", "b.txt", "c.json", ".hidden"]),
        ({"orderby": "type,size DESC", "offset": 1, "limit": 2}, ["a.txt", "b.txt"]),
        ({"filter": "type:dir"}, ["d"]),
        ({"filter": "name:~*.txt/size:>2"}, ["a.txt"]),
        ({"filter": ["type:dir", "name:~*.txt"]}, ["a.txt", "b.txt", "d"]),
        ({"filter": {"name": ["a.txt", "c.json"]}}, ["a.txt", "c.json"]),
        ({"path": "/b.txt", "path_only": True}, ["b.txt"]),
    ],
)
def test_a_listing_is_filtered_ordered_and_cut(files: World, members: dict[str, Any], expected: list[str]):
    assert names(files, **members) == expected


FILE = {"name": "a.txt", "type": "file", "size": 10, "user": "u", "last_modified": "2026-01-31 12:00:00+00:00"}


@pytest.mark.parametrize(
    ("given", "holds"),
    [
        (None, True),
        ("name:a.txt", True),
        ("name:=a.txt", True),
        ("name:!=a.txt", False),
        ("name:!b.txt", True),
        ("name:~A*", False),
        ("name:~a*", True),
        ("name:!~a*", False),
        ("name:~[!b].txt", True),
        ("name:x,a.txt", True),
        ("name:!x,!a.txt", False),
        ("type:dir,file", True),
        ("size:10", True),
        ("size:>10", False),
        ("size:>=10", True),
        ("size:<10", False),
        ("size:<=10", True),
        ("size:5,", True),
        ("size:,5", False),
        ("last_modified:2026-01-01,", True),
        ("last_modified:,2026-01-01", False),
        ("last_modified:2026-01-31T13:00:00+01:00,2026-01-31 12:00:00", True),
        ("user:u/name:b", False),
        (["user:x", "name:a.txt"], True),
        ({"last_modified": ["", "2021-01-01"]}, False),
    ],
)
def test_filters_hold_or_not(given: Any, holds: bool):
    assert matches(parse_filter(given), FILE) is holds


@pytest.mark.parametrize("given", ["name", "colour:red", "size:big", "last_modified:2026", "last_modified:x,", [1]])
def test_a_filter_that_makes_no_sense_is_refused(given: Any):
    with pytest.raises(TransferError):
        parse_filter(given)


@pytest.mark.parametrize("given", ["colour", "name UP", "name ASC DESC", "name,,size"])
def test_an_order_that_makes_no_sense_is_refused(given: str):
    with pytest.raises(TransferError, match="orderby"):
        parse_orderby(given)


def test_equal_files_stand_by_name_even_when_descending():
    files = [{"name": name, "size": 1} for name in "bca"]
    assert [one["name"] for one in ordered(files, parse_orderby("size DESC"))] == ["a", "b", "c"]


@pytest.mark.parametrize(
    ("path", "code", "words"),
    [
        ("/none", "ClientError.NotFound", "/none"),
        ("/b.txt", "ExternalError.DirListingFailed.NotDirectory", "/b.txt"),
        ("/" + "é" * 2048, "ClientError.BadRequest", "4096"),
    ],
)
def test_what_cannot_be_listed_fails_with_its_path(files: World, path: str, code: str, words: str):
    failed(ls(files, path=path), code, words)


def test_links_are_described_by_what_they_lead_to(files: World):
    for name, target in {"good": "a.txt", "to-dir": "d", "bad": "/etc/passwd", "gone": "none"}.items():
        (files.source_dir / f"link-{name}").symlink_to(target)
    listed = succeeded(ls(files, filter="name:~link-*"))["DATA"]
    assert {one["name"]: (one["type"], one["link_target"]) for one in listed} == {
        "link-good": ("file", "a.txt"),
        "link-to-dir": ("dir", "d"),
        "link-bad": ("invalid_symlink", "/etc/passwd"),
        "link-gone": ("invalid_symlink", "none"),
    }
    assert next(one["size"] for one in listed if one["name"] == "link-good") == 4


def test_names_that_are_not_utf8_are_shown_with_replacements(world: World):
    with open(os.fsencode(world.source_dir) + b"/caf\xe9", "wb"):
        pass
    assert names(world) == ["caf\ufffd"]


def test_half_files_are_not_listed(world: World):
    plant(world.source_dir, {"a": b"1", ".b.part-0123456789-abcd": b"half"})
    assert names(world) == ["a"]


class TestStat:
    def stat(self, world: World, path: str) -> Any:
        return perform(Stat(world.collections), {"endpoint_id": world.source.collection_id, "path": path})

    @pytest.mark.parametrize(("path", "kind"), [("/", "dir"), ("/d/", "dir"), ("/d", "dir"), ("/b.txt", "file")])
    def test_what_is_there_is_described(self, files: World, path: str, kind: str):
        details = succeeded(self.stat(files, path))
        assert details["type"] == kind
        assert "code" not in details

    @pytest.mark.parametrize("path", ["/none", "/none/deeper", "/b.txt/under"])
    def test_what_is_not_there_is_a_success_that_says_so(self, files: World, path: str):
        details = succeeded(self.stat(files, path))
        assert details["code"] == "NotFound"
        assert path in details["description"]

    def test_a_place_behind_a_link_out_is_denied(self, files: World):
        (files.source_dir / "out").symlink_to("/etc")
        failed(self.stat(files, "/out/passwd"), "PermissionDenied", "/out/passwd")


class TestMakeDirectory:
    def make(self, world: World, path: str, action_id: str = "one") -> Any:
        body = {"endpoint_id": world.source.collection_id, "path": path}
        return perform(MakeDirectory(world.collections), body, action_id=action_id)

    def test_one_directory_is_made(self, world: World):
        assert succeeded(self.make(world, "/neu €/"))["code"] == "DirectoryCreated"
        assert snapshot(world.source_dir) == {"neu €": None}

    @pytest.mark.parametrize(
        ("path", "code", "words"),
        [
            ("/d", "ExternalError.MkdirFailed.Exists", "/d"),
            ("/b.txt", "ExternalError.MkdirFailed.Exists", "file"),
            ("/", "ExternalError.MkdirFailed.Exists", "/"),
            ("/none/x", "ClientError.NotFound", "must exist"),
            ("/b.txt/x", "NotDirectory", "/b.txt/x"),
            ("/out/x", "PermissionDenied", "/out/x"),
        ],
    )
    def test_what_cannot_be_made_fails_with_its_path(self, files: World, path: str, code: str, words: str):
        (files.source_dir / "out").symlink_to("/tmp")
        failed(self.make(files, path), code, words)

    def test_an_action_repeated_after_a_crash_knows_its_own_directory(self, world: World):
        succeeded(self.make(world, "/d", "one"))
        assert succeeded(self.make(world, "/d", "one"))["code"] == "DirectoryCreated"
        failed(self.make(world, "/d", "two"), "ExternalError.MkdirFailed.Exists")


def test_collection_info_is_the_endpoint_document_without_the_place_on_this_machine(world: World):
    world.grant("/x/", "r")
    body = {"endpoint_id": world.source.collection_id}
    for who, roles in ((OWNER, ["administrator"]), (GUEST, [])):
        details = succeeded(perform(CollectionInfo(world.collections), body, who))
        assert details["entity_type"] == "GCP_mapped_collection"
        assert details["display_name"] == "source"
        assert details["owner_id"] == OWNER.identity_id
        assert details["my_effective_roles"] == roles
        assert details["is_globus_connect"] is True
        assert str(world.base) not in str(details)
