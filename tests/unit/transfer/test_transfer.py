"""Transfers: what arrives, what is refused, and what a crash leaves."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from action_providers.provider import Active, Stop, Work
from action_providers.transfer.transfer import Transfer
from tests.unit.transfer.world import (
    NOW,
    OWNER,
    Crash,
    World,
    action_for,
    carry_on,
    failed,
    perform,
    plant,
    snapshot,
    succeeded,
)

FILES: dict[str, bytes | None] = {
    "a.txt": b"alpha",
    "b/c.txt": b"c" * 70_000,
    "b/d/e.json": b"{}",
    "b/empty": None,
    "ünï/日本語 file.txt": "héllo".encode(),
    "z": b"",
}


@pytest.fixture
def transfer(world: World) -> Transfer:
    return Transfer(world.collections, report_s=0)


@pytest.mark.parametrize("recursive", [None, True])
@pytest.mark.parametrize("path", ["/data/", "/data", "data", "/~/data/", "~/data"])
def test_a_directory_arrives_whole(world: World, transfer: Transfer, path: str, recursive: bool | None):
    plant(world.source_dir / "data", FILES)
    item = {"source_path": path, "destination_path": "/new/parent/out/", "recursive": recursive}

    details = succeeded(perform(transfer, world.transfer_body(item)))

    assert snapshot(world.target_dir / "new/parent/out") == snapshot(world.source_dir / "data")
    assert details["status"] == "SUCCEEDED"
    assert (details["files"], details["files_transferred"], details["directories"]) == (5, 5, 5)
    assert details["bytes_transferred"] == details["bytes_checksummed"] == 5 + 70_000 + 2 + 6
    assert details["subtasks_succeeded"] == details["subtasks_total"] == 10
    assert details["completion_time"] is not None


def test_a_thousand_small_files_arrive(world: World, transfer: Transfer):
    plant(world.source_dir, {f"d{i % 10}/f{i}": str(i).encode() for i in range(1000)})
    details = succeeded(perform(transfer, world.transfer_body(("/", "/"))))
    assert details["files_transferred"] == 1000
    assert snapshot(world.target_dir) == snapshot(world.source_dir)


def test_old_spellings_are_understood(world: World, transfer: Transfer):
    plant(world.source_dir, {"a": b"1"})
    body = {
        "source_endpoint_id": world.source.collection_id,
        "destination_endpoint_id": world.target.collection_id,
        "transfer_items": [{"source_path": "/a", "destination_path": "/b", "recursive": False}],
        "sync_level": "0",
        "label": None,
    }
    details = succeeded(perform(transfer, body))
    assert details["sync_level"] == 0
    assert snapshot(world.target_dir) == {"b": b"1"}


@pytest.mark.parametrize(
    ("given", "adapted"),
    [("0", 0), ("3", 3), ("exists", 0), ("size", 1), ("mtime", 2), ("CHECKSUM", 3), (2, 2), ("newer", "newer")],
)
def test_sync_level_is_a_number_after_adapting(transfer: Transfer, given: object, adapted: object):
    assert transfer.adapt({"sync_level": given}) == {"sync_level": adapted}


@pytest.mark.parametrize(
    ("item", "code", "words"),
    [
        (("/none", "/x"), "FILE_NOT_FOUND", ["/none", "does not exist"]),
        (("/dir/none/x", "/x"), "FILE_NOT_FOUND", ["/dir/none/x"]),
        (
            {"source_path": "/dir", "destination_path": "/x", "recursive": False},
            "IS_A_DIRECTORY",
            ["/dir", "recursive"],
        ),
        ({"source_path": "/f", "destination_path": "/x", "recursive": True}, "NOT_A_DIRECTORY", ["/f", "recursive"]),
        (("/f", "/out/"), "IS_A_DIRECTORY", ["/f", "/out/f"]),
        (("/f", "/taken"), "IS_A_DIRECTORY", ["/taken"]),
        (("/dir", "/file"), "NOT_A_DIRECTORY", ["/file"]),
        (("/f", "/file/under"), "NOT_A_DIRECTORY", ["/file"]),
        (("/pipe", "/x"), "UNSUPPORTED_FILE_TYPE", ["/pipe"]),
        (
            {"source_path": "/f", "destination_path": "/x", "external_checksum": "0" * 32},
            "CHECKSUM_MISMATCH",
            ["/f", "md5", hashlib.md5(b"f").hexdigest()],
        ),
    ],
)
def test_what_cannot_be_transferred_fails_with_the_path(
    world: World, transfer: Transfer, item: Any, code: str, words: list[str]
):
    plant(world.source_dir, {"f": b"f", "dir/in": b""})
    plant(world.target_dir, {"file": b"", "taken": None})
    os.mkfifo(world.source_dir / "pipe")
    before = snapshot(world.target_dir)

    details = failed(perform(transfer, world.transfer_body(item)), code, *words)

    assert details["status"] == "FAILED"
    assert details["fatal_error"]["code"] == code
    assert snapshot(world.target_dir) == before


@pytest.mark.parametrize(
    ("members", "code", "words"),
    [
        ({"source_endpoint": "00000000-0000-0000-0000-00000000dead"}, "EndpointNotFound", ["dead"]),
        ({"destination_endpoint": "no-uuid"}, "EndpointNotFound", ["no-uuid"]),
        (
            {"DATA": [{"source_path": "/" + "n" * 256, "destination_path": "/x"}]},
            "ClientError.BadRequest",
            ["nnn", "255"],
        ),
        (
            {"DATA": [{"source_path": f"/{n}", "destination_path": "/x"} for n in "ab"]},
            "ClientError.BadRequest",
            ["/a", "/b", "/x"],
        ),
        ({"deadline": "next week"}, "ClientError.BadRequest", ["next week"]),
    ],
)
def test_a_bad_request_fails_at_once(
    world: World, transfer: Transfer, members: dict[str, Any], code: str, words: list[str]
):
    body = world.transfer_body(("/a", "/b")) | members
    failed(transfer.run(action_for(transfer, body), NOW), code, *words)


@pytest.mark.parametrize(
    ("level", "copied"),
    [
        (None, {"missing", "shorter", "older", "same-size", "equal"}),
        (0, {"missing"}),
        (1, {"missing", "shorter"}),
        (2, {"missing", "shorter", "older"}),
        (3, {"missing", "shorter", "older", "same-size"}),
    ],
)
def test_sync_level_decides_what_is_copied(world: World, transfer: Transfer, level: int | None, copied: set[str]):
    names = ["missing", "shorter", "older", "same-size", "equal"]
    plant(world.source_dir, dict.fromkeys(names, b"source"))
    plant(world.target_dir, {"shorter": b"x", "older": b"target", "same-size": b"target", "equal": b"source"})
    for name in names:
        os.utime(world.source_dir / name, (1000, 1000))
    for name in names[1:]:
        os.utime(world.target_dir / name, (900, 900) if name == "older" else (1000, 1000))

    details = succeeded(perform(transfer, world.transfer_body(("/", "/"), sync_level=level)))

    assert {name for name in names if (world.target_dir / name).stat().st_mtime > 2000} == copied
    assert details["files_transferred"] == len(copied)
    assert details["files_skipped"] == len(names) - len(copied)


def test_modification_times_are_kept_when_asked_for(world: World, transfer: Transfer):
    plant(world.source_dir, {"a": b"1"})
    os.utime(world.source_dir / "a", ns=(1_500_000_000_123_456_789,) * 2)
    succeeded(perform(transfer, world.transfer_body(("/a", "/a"), preserve_timestamp=True)))
    assert (world.target_dir / "a").stat().st_mtime_ns == 1_500_000_000_123_456_789


def test_the_published_filter_example_takes_json_files_only(world: World, transfer: Transfer):
    plant(world.source_dir, {"a.json": b"{}", "b.txt": b"", "sub/c.json": b"{}"})
    rules = [
        {"DATA_TYPE": "filter_rule", "method": "include", "type": "file", "name": "*.json"},
        {"DATA_TYPE": "filter_rule", "method": "exclude", "name": "*"},
    ]
    succeeded(perform(transfer, world.transfer_body(("/", "/out"), filter_rules=rules)))
    assert snapshot(world.target_dir) == {"out": None, "out/a.json": b"{}"}


def test_delete_destination_extra_removes_what_the_source_lacks_and_no_more(world: World, transfer: Transfer):
    plant(world.source_dir, {"s/keep": b"new", "s/file-now": b"f", "s/dir-now/x": b"x"})
    plant(
        world.target_dir,
        {
            "t/keep": b"old",
            "t/extra/deep/x": b"",
            "t/file-now/was": b"",
            "t/dir-now": b"",
            "t/log.tmp": b"",
            "beside": b"",
        },
    )
    rules = [{"method": "exclude", "name": "*.tmp"}]
    body = world.transfer_body(("/s", "/t"), delete_destination_extra=True, filter_rules=rules)

    succeeded(perform(transfer, body))

    assert snapshot(world.target_dir / "t") == {**snapshot(world.source_dir / "s"), "log.tmp": b""}
    assert (world.target_dir / "beside").exists()


def test_skip_source_errors_goes_on_and_records(world: World, transfer: Transfer):
    plant(world.source_dir, {"a": b"1", "b": b"2"})
    body = world.transfer_body(("/a", "/a"), ("/gone", "/gone"), ("/b", "/b"), skip_source_errors=True)
    details = succeeded(perform(transfer, body))
    assert snapshot(world.target_dir) == {"a": b"1", "b": b"2"}
    assert details["subtasks_skipped_errors"] == 1
    assert details["skipped_errors"][0]["source_path"] == "/gone"
    assert details["skipped_errors"][0]["error_code"] == "FILE_NOT_FOUND"


def test_pipes_in_a_directory_are_skipped_not_opened(world: World, transfer: Transfer):
    plant(world.source_dir, {"d/a": b"1"})
    os.mkfifo(world.source_dir / "d/pipe")
    details = succeeded(perform(transfer, world.transfer_body(("/d", "/d"))))
    assert snapshot(world.target_dir / "d") == {"a": b"1"}
    assert details["skipped_errors"][0]["error_code"] == "UNSUPPORTED_FILE_TYPE"


@pytest.mark.parametrize(
    ("mode", "expected"),
    [
        ("ignore", {"f": b"f"}),
        ("keep", {"f": b"f", "to-f": "-> f", "to-dir": "-> ../other"}),
        ("copy", {"f": b"f", "to-f": b"f", "to-dir": None, "to-dir/x": b"x"}),
    ],
)
def test_links_in_directories_are_treated_as_asked(
    world: World, transfer: Transfer, mode: str, expected: dict[str, object]
):
    plant(world.source_dir, {"d/f": b"f", "other/x": b"x"})
    (world.source_dir / "d/to-f").symlink_to("f")
    (world.source_dir / "d/to-dir").symlink_to("../other")
    details = succeeded(perform(transfer, world.transfer_body(("/d", "/d"), recursive_symlinks=mode)))
    assert snapshot(world.target_dir / "d") == expected
    assert details["symlinks"] == 2


@pytest.mark.parametrize("mode", ["keep", "copy"])
@pytest.mark.parametrize("link", ["/etc", "../../..", "..", "."])
def test_links_that_lead_out_or_back_are_not_copied(world: World, transfer: Transfer, link: str, mode: str):
    plant(world.source_dir, {"d/f": b"f"})
    (world.source_dir / "d/link").symlink_to(link)
    inside = mode == "keep" and link in ("..", ".")
    outcome = perform(transfer, world.transfer_body(("/d", "/d"), recursive_symlinks=mode))
    if inside:
        assert snapshot(world.target_dir / "d") == {"f": b"f", "link": f"-> {link}"}
    else:
        failed(outcome, "PERMISSION_DENIED", "/d/link")


def test_links_in_a_circle_of_directories_come_to_an_end(world: World, transfer: Transfer):
    plant(world.source_dir, {"a/f": b"", "b/f": b""})
    (world.source_dir / "a/x").symlink_to("../b")
    (world.source_dir / "b/y").symlink_to("../a")
    failed(perform(transfer, world.transfer_body(("/a", "/t"), recursive_symlinks="copy")), "PERMISSION_DENIED", "/a/x")


def test_a_symlink_item_copies_the_link(world: World, transfer: Transfer):
    (world.source_dir / "link").symlink_to("nowhere")
    item = {"DATA_TYPE": "transfer_symlink_item", "source_path": "/link", "destination_path": "/d/link"}
    succeeded(perform(transfer, world.transfer_body(item)))
    assert snapshot(world.target_dir) == {"d": None, "d/link": "-> nowhere"}


@pytest.mark.parametrize(
    ("source", "target", "options", "words"),
    [
        ("/d", "/d", {}, "lies in the source"),
        ("/d", "/d/sub", {}, "lies in the source"),
        ("/", "/d/new", {}, "lies in the source"),
        ("/d/sub", "/d", {"delete_destination_extra": True}, "delete_destination_extra"),
    ],
)
def test_a_directory_is_not_copied_into_itself(
    world: World, transfer: Transfer, source: str, target: str, options: dict[str, Any], words: str
):
    plant(world.source_dir, {"d/sub/f": b"1"})
    body = world.transfer_body((source, target), **options) | {"destination_endpoint": world.source.collection_id}
    failed(perform(transfer, body), "ClientError.BadRequest", words)
    assert (world.source_dir / "d/sub/f").read_bytes() == b"1"


def test_overlapping_collections_are_seen_through(world: World, transfer: Transfer):
    plant(world.source_dir, {"in/f": b"1"})
    inner = world.collections.create("inner", str(world.source_dir / "in"), OWNER.urn)
    body = world.transfer_body(("/", "/copy")) | {"destination_endpoint": inner.collection_id}
    failed(perform(transfer, body), "ClientError.BadRequest", "lies in the source")


def test_a_sparse_file_does_not_fill_the_disk(world: World, transfer: Transfer):
    with (world.source_dir / "sparse").open("wb") as file:
        file.truncate(64 << 20)
        file.seek(32 << 20)
        file.write(b"middle")
    succeeded(perform(transfer, world.transfer_body(("/sparse", "/sparse"))))
    copy = (world.target_dir / "sparse").stat()
    assert copy.st_size == 64 << 20
    assert copy.st_blocks * 512 < 4 << 20


def test_no_partial_file_is_ever_seen_under_its_name(world: World, transfer: Transfer):
    old, new = b"o" * 10, os.urandom(5 << 20)
    plant(world.source_dir, {"f": new})
    plant(world.target_dir, {"f": old})
    seen: set[bytes] = set()
    partial: set[str] = set()

    def look(details: Mapping[str, Any]) -> None:
        seen.add((world.target_dir / "f").read_bytes())  # cheap enough: a report a megabyte
        partial.update(path.name for path in world.target_dir.iterdir() if path.name != "f")

    outcome = carry_on(transfer, action_for(transfer, world.transfer_body(("/f", "/f"))), look)

    succeeded(outcome)
    assert seen <= {old, new}
    assert old in seen
    assert all(name.startswith(".f.part-") for name in partial)
    assert partial
    assert snapshot(world.target_dir) == {"f": new}


def test_a_source_that_never_holds_still_fails_and_leaves_the_old_file(world: World, transfer: Transfer):
    source = world.source_dir / "f"
    source.write_bytes(b"x" * (3 << 20))
    plant(world.target_dir, {"f": b"old"})

    def grow(details: Mapping[str, Any]) -> None:
        with source.open("ab") as file:
            file.write(b"more")

    details = failed(
        carry_on(transfer, action_for(transfer, world.transfer_body(("/f", "/f"))), grow), "FILE_CHANGED", "/f"
    )
    assert details["faults"] == 3
    assert snapshot(world.target_dir) == {"f": b"old"}


def test_a_source_that_changes_once_is_read_again(world: World, transfer: Transfer):
    source = world.source_dir / "f"
    source.write_bytes(b"x" * (3 << 20))
    changes = iter([b"y" * (2 << 20)])

    def change(details: Mapping[str, Any]) -> None:
        if (content := next(changes, None)) is not None and details["bytes_transferred"] >= 0:
            source.write_bytes(content)

    details = succeeded(carry_on(transfer, action_for(transfer, world.transfer_body(("/f", "/f"))), change))
    assert snapshot(world.target_dir) == {"f": source.read_bytes()}
    assert details["files_transferred"] == 1


def test_a_copy_that_reads_back_wrong_is_made_again(world: World, transfer: Transfer):
    content = os.urandom(2 << 20)
    plant(world.source_dir, {"f": content})
    spoiled: list[Path] = []

    def spoil(details: Mapping[str, Any]) -> None:
        parts = [path for path in world.target_dir.iterdir() if path.stat().st_size == len(content)]
        if parts and not spoiled:
            spoiled.append(parts[0])
            with parts[0].open("r+b") as file:
                file.write(b"rotten")

    details = succeeded(carry_on(transfer, action_for(transfer, world.transfer_body(("/f", "/f"))), spoil))
    assert spoiled
    assert details["faults"] == 1
    assert snapshot(world.target_dir) == {"f": content}


@pytest.mark.parametrize("turn_s", [0.0, 1000.0])
def test_a_transfer_that_crashes_again_and_again_ends_as_if_it_had_not(world: World, turn_s: float):
    """Die at every report of every turn, one later each time; keep what the kit would have kept."""
    plant(world.source_dir / "s", FILES)
    plant(world.target_dir / "t", {"extra": b"", "a.txt": b"old"})
    transfer = Transfer(world.collections, report_s=0, turn_s=turn_s)
    body = world.transfer_body(("/s", "/t"), ("/s/a.txt", "/single"), delete_destination_extra=True)
    action = action_for(transfer, body)
    leftover = world.target_dir / "t" / ".a.txt.part-000000000000000000000000000000ac-dead"
    crashes = lives = 0
    for _ in range(1000):
        lives += 1
        countdown = iter(range(lives))

        def die(details: Mapping[str, Any], countdown: Any = countdown) -> None:
            names = [path.name for path in world.target_dir.rglob("*") if path.is_file()]
            assert all(not name.startswith(".") or ".part-" in name for name in names)
            if next(countdown, None) is None:
                raise Crash

        leftover.write_bytes(b"half")  # a real crash leaves what it was writing
        try:
            outcome = transfer.advance(action, Work(now=NOW, report=die))
        except Crash:
            crashes += 1
            continue
        if not isinstance(outcome, Active):
            break
        action, lives = replace(action, state=outcome.state, details=outcome.details), 0
    details = succeeded(outcome)
    assert crashes > 10
    assert details["files_transferred"] == details["files"] == 6
    leftover.unlink(missing_ok=True)  # written again by this test after the directory was done
    assert snapshot(world.target_dir / "t") == snapshot(world.source_dir / "s")
    assert (world.target_dir / "single").read_bytes() == b"alpha"


def test_leftovers_of_a_crash_are_removed(world: World, transfer: Transfer):
    plant(world.source_dir, {"d/a": b"1", "b": b"2"})
    mine = ".part-000000000000000000000000000000ac-12345678"
    plant(world.target_dir, {f"d/.a{mine}": b"half", f".b{mine}": b"half", ".b.part-other-1": b"somebody's"})
    succeeded(perform(transfer, world.transfer_body(("/d", "/d"), ("/b", "/b"))))
    assert snapshot(world.target_dir) == {"d": None, "d/a": b"1", "b": b"2", ".b.part-other-1": b"somebody's"}


def test_what_is_done_is_not_done_again_in_the_next_turn(world: World):
    plant(world.source_dir, {"a": b"1", "b": b"2", "c/d": b"3"})
    transfer = Transfer(world.collections, report_s=0, turn_s=0)
    action = action_for(transfer, world.transfer_body(("/", "/")))
    inodes: dict[str, int] = {}
    outcome = transfer.advance(action, Work(now=NOW, report=lambda details: None))
    turns = 1
    while isinstance(outcome, Active):
        for path in world.target_dir.rglob("*"):
            if path.is_file():
                assert inodes.setdefault(str(path), path.stat().st_ino) == path.stat().st_ino
        action = replace(action, state=outcome.state)
        outcome = transfer.advance(action, Work(now=NOW, report=lambda details: None))
        turns += 1
    assert turns >= 4
    assert succeeded(outcome)["files_transferred"] == 3


def test_a_canceled_transfer_stops_at_its_next_report_and_leaves_no_half_file(world: World, transfer: Transfer):
    plant(world.source_dir, {"f": os.urandom(3 << 20)})
    action = action_for(transfer, world.transfer_body(("/f", "/f")))

    def stop(details: Mapping[str, Any]) -> None:
        if details["bytes_transferred"] > 0:
            raise Stop

    with pytest.raises(Stop):
        transfer.advance(action, Work(now=NOW, report=stop))
    assert snapshot(world.target_dir) == {}
    failed(transfer.cancel(action, NOW), "Canceled")


def test_progress_is_reported_at_most_twice_a_second(world: World):
    plant(world.source_dir, {f"f{i}": b"x" for i in range(50)})
    ticks = iter(i * 0.05 for i in range(1_000_000))
    transfer = Transfer(world.collections, monotonic=lambda: next(ticks))
    seen: list[Mapping[str, Any]] = []
    succeeded(carry_on(transfer, action_for(transfer, world.transfer_body(("/", "/"))), seen.append))
    elapsed_s = next(ticks)
    assert 1 < len(seen) <= elapsed_s * 2
    assert all(one["status"] == "ACTIVE" for one in seen)


def test_a_task_past_its_deadline_fails(world: World, transfer: Transfer):
    plant(world.source_dir, {"f": b"1"})
    body = world.transfer_body(("/f", "/f"), deadline="2026-01-31 11:59:00")
    failed(perform(transfer, body), "TIMEOUT", "2026-01-31")


def test_names_that_are_not_utf8_are_copied_as_they_are(world: World):
    raw = os.fsencode(world.source_dir) + b"/caf\xe9"
    with open(raw, "wb") as file:
        file.write(b"1")
    transfer = Transfer(world.collections, report_s=0, turn_s=0)
    succeeded(perform(transfer, world.transfer_body(("/", "/"))))
    assert os.listdir(os.fsencode(world.target_dir)) == [b"caf\xe9"]


def test_the_longest_names_are_copied(world: World, transfer: Transfer):
    name = "é" * 127
    plant(world.source_dir, {name: b"1"})
    succeeded(perform(transfer, world.transfer_body(("/", "/"))))
    assert snapshot(world.target_dir) == {name: b"1"}


def test_half_files_of_others_are_not_taken_for_files(world: World, transfer: Transfer):
    plant(world.source_dir, {"a": b"1", ".b.part-0123456789-abcd": b"half"})
    succeeded(perform(transfer, world.transfer_body(("/", "/"))))
    assert snapshot(world.target_dir) == {"a": b"1"}
