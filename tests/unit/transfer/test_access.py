"""Who may do what in a collection, and that no link lends permissions."""

from __future__ import annotations

import uuid
from pathlib import Path

import pytest

from action_providers.transfer.delete import Delete
from action_providers.transfer.faults import Kind, TransferError
from action_providers.transfer.listing import ListDirectory, Stat
from action_providers.transfer.operations import CollectionInfo, MakeDirectory
from action_providers.transfer.permissions import ManagePermission
from action_providers.transfer.transfer import Transfer
from schemas.principals import Caller
from tests.unit.transfer.world import (
    ADMINISTRATOR,
    GUEST,
    OWNER,
    STRANGER,
    World,
    action_for,
    carry_on,
    failed,
    perform,
    plant,
    snapshot,
    succeeded,
)

GROUP = str(uuid.UUID(int=77))


@pytest.mark.parametrize(
    ("who", "path", "r", "rw"),
    [
        (OWNER, "/", True, True),
        (OWNER, "/any/where", True, True),
        (ADMINISTRATOR, "/any/where", True, True),
        (GUEST, "/", False, False),
        (GUEST, "/mine/", True, True),
        (GUEST, "/mine/deep/er", True, True),
        (GUEST, "/mine-not", False, False),
        (GUEST, "/read/x", True, False),
        (GUEST, "/read/write/x", True, True),
        (GUEST, "/group/x", True, False),
        (GUEST, "/all/x", True, False),
        (GUEST, "/anonymous/x", True, False),
        (STRANGER, "/mine/", False, False),
        (STRANGER, "/group/x", False, False),
        (STRANGER, "/all/x", True, False),
        (STRANGER, "/anonymous/x", True, False),
    ],
)
def test_rules_add_up(world: World, who: Caller, path: str, r: bool, rw: bool):
    world.grant("/mine/", "rw")
    world.grant("/read/", "r")
    world.grant("/read/write/", "rw")
    add = world.collections.add_rule
    source = world.source.collection_id
    add(source, path="/group/", principal_type="group", principal=GROUP, permissions="r")
    add(source, path="/all/", principal_type="all_authenticated_users", principal="", permissions="r")
    add(source, path="/anonymous/", principal_type="anonymous", principal="", permissions="r")
    assert world.collections.may(who, world.source, path, "r") is r
    assert world.collections.may(who, world.source, path, "rw") is rw


def test_a_read_only_collection_is_written_by_nobody(world: World):
    fixed = world.offer("fixed", read_only=True)
    for who in (OWNER, ADMINISTRATOR):
        assert world.collections.may(who, fixed, "/x", "r")
        assert not world.collections.may(who, fixed, "/x", "rw")
    body = world.transfer_body(("/x", "/x")) | {"destination_endpoint": fixed.collection_id}
    failed(perform(Transfer(world.collections), body), "PermissionDenied", "read-only", "/x")


def test_a_collection_is_listed_for_those_who_may_see_it(world: World):
    public = world.offer("public", public=True)
    world.grant("/x/", "r")
    assert [one.display_name for one in world.collections.list_for(OWNER)] == ["public", "source", "target"]
    assert [one.display_name for one in world.collections.list_for(ADMINISTRATOR)] == ["public", "source", "target"]
    assert [one.display_name for one in world.collections.list_for(GUEST)] == ["public", "source"]
    assert [one.collection_id for one in world.collections.list_for(STRANGER)] == [public.collection_id]


def test_what_a_caller_may_not_see_does_not_exist_for_every_provider(world: World):
    plant(world.source_dir, {"f": b"1"})
    endpoint = world.source.collection_id
    for provider, body in [
        (Transfer(world.collections), world.transfer_body(("/f", "/f"))),
        (Delete(world.collections), {"endpoint": endpoint, "DATA": [{"path": "/f"}]}),
        (ListDirectory(world.collections), {"endpoint_id": endpoint}),
        (Stat(world.collections), {"endpoint_id": endpoint, "path": "/f"}),
        (MakeDirectory(world.collections), {"endpoint_id": endpoint, "path": "/d"}),
        (CollectionInfo(world.collections), {"endpoint_id": endpoint}),
        (ManagePermission(world.collections), {"endpoint_id": endpoint, "operation": "DELETE", "rule_id": "x"}),
    ]:
        failed(perform(provider, body, STRANGER), "EndpointNotFound", endpoint)
    assert snapshot(world.source_dir) == {"f": b"1"}


def test_permissions_hold_for_every_operation(world: World):
    plant(world.source_dir, {"open/f": b"1", "shut/f": b"2"})
    world.grant("/open/", "r")
    world.grant("/in/", "rw", on=world.target)
    endpoint, target = world.source.collection_id, world.target.collection_id
    transfer, delete = Transfer(world.collections), Delete(world.collections)
    make, ls, stat = MakeDirectory(world.collections), ListDirectory(world.collections), Stat(world.collections)

    succeeded(perform(transfer, world.transfer_body(("/open", "/in/new")), GUEST))
    failed(perform(transfer, world.transfer_body(("/shut", "/in/x")), GUEST), "PermissionDenied", "/shut")
    failed(perform(transfer, world.transfer_body(("/open", "/out")), GUEST), "PermissionDenied", "/out")
    failed(perform(delete, {"endpoint": endpoint, "DATA": [{"path": "/open/f"}]}, GUEST), "PermissionDenied", "/open/f")
    glob = {"endpoint": endpoint, "DATA": [{"path": "/open/*"}], "interpret_globs": True}
    failed(perform(delete, glob, GUEST), "PERMISSION_DENIED", "/open/f")
    failed(perform(make, {"endpoint_id": endpoint, "path": "/open/d"}, GUEST), "PermissionDenied", "/open/d")
    succeeded(perform(make, {"endpoint_id": target, "path": "/in/d"}, GUEST, "a2"))
    failed(perform(ls, {"endpoint_id": endpoint, "path": "/shut"}, GUEST), "PermissionDenied", "/shut")
    failed(perform(stat, {"endpoint_id": endpoint, "path": "/shut/f"}, GUEST), "PermissionDenied", "/shut/f")
    failed(perform(stat, {"endpoint_id": endpoint, "path": "/shut/none"}, GUEST), "PermissionDenied")
    assert snapshot(world.target_dir) == {"in": None, "in/d": None, "in/new": None, "in/new/f": b"1"}


def test_the_way_to_a_readable_place_is_listed_and_nothing_beside_it(world: World):
    plant(world.source_dir, {"a/b/f": b"1", "a/c": b"2", "d": b"3"})
    world.grant("/a/b/", "r")
    ls = ListDirectory(world.collections)

    def names(path: str) -> list[str]:
        details = succeeded(perform(ls, {"endpoint_id": world.source.collection_id, "path": path}, GUEST))
        return [one["name"] for one in details["DATA"]]

    assert [names("/"), names("/a"), names("/a/b")] == [["a"], ["b"], ["f"]]


def test_a_link_lends_no_permissions(world: World):
    plant(world.source_dir, {"open/f": b"1", "shut/secret": b"2"})
    (world.source_dir / "open/link").symlink_to("../shut")
    (world.source_dir / "open/file-link").symlink_to("../shut/secret")
    world.grant("/open/", "rw")
    world.grant("/", "rw", on=world.target)
    endpoint = world.source.collection_id
    transfer = Transfer(world.collections)

    for path in ("/open/link", "/open/link/secret", "/open/file-link"):
        failed(perform(transfer, world.transfer_body((path, "/x")), GUEST), "PERMISSION_DENIED")
    body = world.transfer_body(("/open", "/x"), recursive_symlinks="copy")
    failed(perform(transfer, body, GUEST), "PERMISSION_DENIED", "/shut")
    failed(
        perform(Delete(world.collections), {"endpoint": endpoint, "DATA": [{"path": "/open/link/secret"}]}, GUEST),
        "PERMISSION_DENIED",
    )
    failed(
        perform(MakeDirectory(world.collections), {"endpoint_id": endpoint, "path": "/open/link/d"}, GUEST),
        "PermissionDenied",
    )
    failed(
        perform(ListDirectory(world.collections), {"endpoint_id": endpoint, "path": "/open/link"}, GUEST),
        "PermissionDenied",
    )
    listed = succeeded(perform(ListDirectory(world.collections), {"endpoint_id": endpoint, "path": "/open"}, GUEST))
    assert {one["name"]: one["type"] for one in listed["DATA"]}["link"] == "invalid_symlink"
    assert (world.source_dir / "shut/secret").exists()


def test_a_permission_taken_back_ends_a_transfer_under_way(world: World):
    plant(world.source_dir, {"open/a": b"1", "open/b": b"2"})
    rule = world.grant("/open/", "r")
    world.grant("/", "rw", on=world.target)
    transfer = Transfer(world.collections, report_s=0, turn_s=0)

    def take_back(details: object) -> None:
        if rule in [one.rule_id for one in world.collections.list_rules(world.source.collection_id)]:
            world.collections.delete_rule(world.source.collection_id, rule)

    action = action_for(transfer, world.transfer_body(("/open", "/x")), GUEST)
    failed(carry_on(transfer, action, take_back), "EndpointNotFound")


@pytest.mark.parametrize("root", ["/", "//", "/..", "relative", "/none/such", "/proc", "/sys/kernel", "/dev", "/a\0b"])
def test_what_is_no_data_directory_cannot_be_offered(world: World, root: str):
    with pytest.raises(TransferError) as caught:
        world.collections.create("x", root, OWNER.urn)
    assert caught.value.kind in (Kind.BAD_REQUEST, Kind.NOT_DIRECTORY)


def test_a_root_given_through_a_link_is_kept_as_it_really_is(world: World, tmp_path: Path):
    (tmp_path / "link").symlink_to("/")
    with pytest.raises(TransferError, match="cannot be offered"):
        world.collections.create("x", str(tmp_path / "link"), OWNER.urn)
    (tmp_path / "to-source").symlink_to("source")
    assert world.collections.create("x", str(tmp_path / "to-source"), OWNER.urn).root == world.source.root


def test_a_collection_id_is_taken_once(world: World):
    with pytest.raises(TransferError, match="exists already"):
        world.offer("target", collection_id=world.source.collection_id)


def test_a_deleted_collection_is_gone_and_its_files_are_not(world: World):
    plant(world.source_dir, {"f": b"1"})
    world.grant("/", "r")
    world.collections.delete(world.source.collection_id)
    with pytest.raises(TransferError) as caught:
        world.collections.get(world.source.collection_id)
    assert caught.value.kind is Kind.NO_COLLECTION
    assert (world.source_dir / "f").exists()


class TestManagePermission:
    def body(self, world: World, **members: str) -> dict[str, str]:
        return {"endpoint_id": world.source.collection_id} | members

    def test_a_rule_is_made_once_however_often_its_action_runs(self, world: World):
        provider = ManagePermission(world.collections)
        body = self.body(
            world,
            operation="CREATE",
            path="/a/",
            principal_type="identity",
            principal=GUEST.identity_id,
            permissions="r",
        )
        first = succeeded(perform(provider, body, action_id="one"))
        assert succeeded(perform(provider, body, action_id="one")) == first
        assert first["code"] == "Created"
        assert [one.rule_id for one in world.collections.list_rules(world.source.collection_id)] == [first["access_id"]]
        failed(perform(provider, body, action_id="two"), "Exists", first["access_id"])

        update = self.body(world, operation="update", rule_id=first["access_id"], permissions="rw")
        assert succeeded(perform(provider, update))["code"] == "Updated"
        assert world.collections.may(GUEST, world.source, "/a/x", "rw")

        delete = self.body(world, operation="DELETE", rule_id=first["access_id"])
        assert succeeded(perform(provider, delete, action_id="three"))["code"] == "Deleted"
        assert succeeded(perform(provider, delete, action_id="three"))["code"] == "Deleted"
        failed(perform(provider, delete, action_id="four"), "AccessRuleNotFound", first["access_id"])
        assert not world.collections.may(GUEST, world.source, "/a/x", "r")

    @pytest.mark.parametrize(
        ("members", "words"),
        [
            ({"path": "/a"}, "slash"),
            ({"principal": "somebody"}, "somebody"),
            ({"principal_type": "anonymous"}, "empty"),
        ],
    )
    def test_a_rule_that_makes_no_sense_is_refused(self, world: World, members: dict[str, str], words: str):
        body = self.body(
            world,
            operation="CREATE",
            path="/a/",
            principal_type="identity",
            principal=GUEST.identity_id,
            permissions="r",
        )
        failed(perform(ManagePermission(world.collections), body | members), "ClientError.BadRequest", words)

    @pytest.mark.parametrize("operation", ["CREATE", "UPDATE", "DELETE"])
    def test_a_missing_member_is_named(self, world: World, operation: str):
        body = self.body(world, operation=operation)
        failed(perform(ManagePermission(world.collections), body), "ClientError.BadRequest", operation)

    def test_only_owner_and_administrator_manage(self, world: World):
        world.grant("/", "rw")
        body = self.body(
            world, operation="CREATE", path="/b/", principal_type="all_authenticated_users", permissions="r"
        )
        failed(perform(ManagePermission(world.collections), body, GUEST), "PermissionDenied", "owner")
        succeeded(perform(ManagePermission(world.collections), body, ADMINISTRATOR))

    def test_urns_are_taken_for_principals(self, world: World):
        body = self.body(
            world, operation="CREATE", path="/a/", principal_type="identity", principal=GUEST.urn, permissions="r"
        )
        succeeded(perform(ManagePermission(world.collections), body))
        assert world.collections.may(GUEST, world.source, "/a/", "r")
