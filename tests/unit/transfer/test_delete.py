"""Deleting, and what is never deleted."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from action_providers.provider import Active, Outcome, Stop, Work
from action_providers.transfer.delete import Delete
from tests.unit.transfer.world import NOW, Crash, World, action_for, failed, perform, plant, snapshot, succeeded

FILES: dict[str, bytes | None] = {
    "d/a": b"1",
    "d/e/b": b"2",
    "d/empty": None,
    "x.txt": b"3",
    "y.txt": b"4",
    ".z.txt": b"5",
}


@pytest.fixture
def delete(world: World) -> Delete:
    plant(world.source_dir, FILES)
    return Delete(world.collections, report_s=0)


def run(world: World, delete: Delete, *paths: str, **options: Any) -> Outcome:
    body = {"endpoint": world.source.collection_id, "DATA": [{"path": path} for path in paths], **options}
    return perform(delete, body)


@pytest.mark.parametrize(
    ("paths", "options", "left"),
    [
        (["/x.txt"], {}, {"d", "y.txt", ".z.txt"}),
        (["/x.txt", "x.txt", "/y.txt"], {}, {"d", ".z.txt"}),
        (["/d/"], {"recursive": True}, {"x.txt", "y.txt", ".z.txt"}),
        (["/none", "/none/x", "/x.txt"], {"ignore_missing": True}, {"d", "y.txt", ".z.txt"}),
        (["/*.txt"], {"interpret_globs": True}, {"d", ".z.txt"}),
        (["/.*.txt"], {"interpret_globs": True}, {"d", "x.txt", "y.txt"}),
        (["/[!y]*"], {"interpret_globs": True, "recursive": True}, {"y.txt", ".z.txt"}),
        (["/q*"], {"interpret_globs": True, "ignore_missing": True}, {"d", "x.txt", "y.txt", ".z.txt"}),
    ],
)
def test_what_is_named_is_deleted(
    world: World, delete: Delete, paths: list[str], options: dict[str, Any], left: set[str]
):
    details = succeeded(run(world, delete, *paths, **options))
    assert {path.name for path in world.source_dir.iterdir()} == left
    assert details["type"] == "DELETE"
    assert details["status"] == "SUCCEEDED"


def test_things_deleted_are_counted(world: World, delete: Delete):
    details = succeeded(run(world, delete, "/d", recursive=True))
    assert (details["files"], details["directories"]) == (2, 3)


def test_globs_reach_through_directories(world: World, delete: Delete):
    succeeded(run(world, delete, "/d/*/b", interpret_globs=True))
    assert "d/e/b" not in snapshot(world.source_dir)
    assert "d/a" in snapshot(world.source_dir)


@pytest.mark.parametrize(
    ("paths", "options", "code", "words"),
    [
        (["/none"], {}, "FILE_NOT_FOUND", ["/none", "ignore_missing"]),
        (["/x.txt", "/d"], {}, "IS_A_DIRECTORY", ["/d", "recursive"]),
        (["/*"], {}, "FILE_NOT_FOUND", ["/*"]),
        (["/q*"], {"interpret_globs": True}, "FILE_NOT_FOUND", ["/q*"]),
        (["/"], {"recursive": True}, "ClientError.BadRequest", ["root"]),
        (["~"], {"recursive": True}, "ClientError.BadRequest", ["root"]),
        (["/x.txt"], {"deadline": "2026-01-31 11:00:00"}, "TIMEOUT", ["2026-01-31"]),
    ],
)
def test_a_delete_that_fails_deletes_nothing(
    world: World, delete: Delete, paths: list[str], options: dict[str, Any], code: str, words: list[str]
):
    failed(run(world, delete, *paths, **options), code, *words)
    assert set(snapshot(world.source_dir)) == {*FILES, "d", "d/e"}


def test_links_are_deleted_and_never_followed(world: World, delete: Delete, tmp_path: Path):
    plant(tmp_path / "outside", {"keep": b"1"})
    (world.source_dir / "d/out").symlink_to(tmp_path / "outside")
    (world.source_dir / "top").symlink_to("d")
    succeeded(run(world, delete, "/top"))
    assert (world.source_dir / "d/a").exists()
    succeeded(run(world, delete, "/d", recursive=True))
    assert (tmp_path / "outside/keep").exists()
    failed(run(world, delete, "/d/out/keep"), "FILE_NOT_FOUND")


def test_old_spellings_are_understood(world: World, delete: Delete):
    body = {"endpoint_id": world.source.collection_id, "recursive": False, "label": "x", "items": ["/x.txt"]}
    assert succeeded(perform(delete, body))["label"] == "x"
    assert not (world.source_dir / "x.txt").exists()


def test_a_delete_that_crashes_goes_on_where_it_was(world: World, delete: Delete):
    body = {"endpoint": world.source.collection_id, "DATA": [{"path": "/d"}, {"path": "/x.txt"}], "recursive": True}
    action = action_for(delete, body)
    outcome = delete.advance(action, Work(now=NOW, report=lambda details: None))
    assert isinstance(outcome, Active)
    action = replace(action, state=outcome.state)
    for lives in range(20):
        countdown = iter(range(lives))

        def die(details: Mapping[str, Any], countdown: Any = countdown) -> None:
            if next(countdown, None) is None:
                raise Crash

        try:
            outcome = delete.advance(action, Work(now=NOW, report=die))
        except Crash:
            continue
        break
    succeeded(outcome)
    assert set(snapshot(world.source_dir)) == {"y.txt", ".z.txt"}


def test_a_canceled_delete_stops(world: World, delete: Delete):
    body = {"endpoint": world.source.collection_id, "DATA": [{"path": "/x.txt"}]}
    action = replace(action_for(delete, body), state={"checked": True})

    def stop(details: Mapping[str, Any]) -> None:
        raise Stop

    with pytest.raises(Stop):
        delete.advance(action, Work(now=NOW, report=stop))
    assert (world.source_dir / "x.txt").exists()
    failed(delete.cancel(action, NOW), "Canceled")
