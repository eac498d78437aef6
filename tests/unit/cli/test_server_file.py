"""``server.json`` is believed as long as its server lives, and no longer."""

from __future__ import annotations

import fcntl
import json
import stat
from dataclasses import replace
from pathlib import Path

import pytest

from flows_engine.local import RunningServer, ServerFile, ServerIsUp, find_server

SERVER = RunningServer(
    url="http://127.0.0.1:8765",
    public_url="https://flows.example.org",
    pid=7,
    started="2026-01-01T00:00:00+00:00",
    operator_key="key",
    database="postgresql://me@db/flows",
)


def test_a_server_is_found_while_it_is_up(tmp_path: Path) -> None:
    file = ServerFile(tmp_path)
    assert find_server(tmp_path) is None
    file.publish(SERVER)
    assert find_server(tmp_path) == SERVER
    assert find_server(tmp_path) == SERVER
    assert stat.S_IMODE((tmp_path / "server.json").stat().st_mode) == 0o600
    file.withdraw()
    assert find_server(tmp_path) is None
    assert list(tmp_path.iterdir()) == []


def test_what_a_killed_server_left_behind_is_not_believed(tmp_path: Path) -> None:
    file = ServerFile(tmp_path)
    file.publish(SERVER)
    left_behind = (tmp_path / "server.json").read_bytes()
    file.withdraw()
    (tmp_path / "server.json").write_bytes(left_behind)
    (tmp_path / "server.json").chmod(0o600)
    assert find_server(tmp_path) is None


def test_a_file_that_others_could_have_written_is_not_believed(tmp_path: Path) -> None:
    file = ServerFile(tmp_path)
    file.publish(SERVER)
    (tmp_path / "server.json").chmod(0o666)
    assert find_server(tmp_path) is None
    file.withdraw()


def test_a_directory_has_one_server_at_a_time(tmp_path: Path) -> None:
    first, second = ServerFile(tmp_path), ServerFile(tmp_path)
    first.publish(SERVER)
    with pytest.raises(
        ServerIsUp, match=r"another server \(process 7 at http://127.0.0.1:8765\) uses .* copies of keys/"
    ):
        second.publish(replace(SERVER, pid=8))
    assert find_server(tmp_path) == SERVER
    first.withdraw()
    second.publish(replace(SERVER, pid=8))
    assert find_server(tmp_path) == replace(SERVER, pid=8)
    second.withdraw()


def test_a_server_that_has_not_said_yet_where_it_is_keeps_others_away(tmp_path: Path) -> None:
    first, second = ServerFile(tmp_path), ServerFile(tmp_path)
    first.claim()
    with pytest.raises(ServerIsUp, match="just starting or stopping"):
        second.claim()
    first.withdraw()
    second.claim()
    second.withdraw()


def test_a_server_whose_directory_was_replaced_leaves_the_file_of_its_successor(tmp_path: Path) -> None:
    folder = tmp_path / "data"
    first, second = ServerFile(folder), ServerFile(folder)
    folder.mkdir()
    first.publish(SERVER)
    folder.rename(tmp_path / "old")
    folder.mkdir()
    second.publish(replace(SERVER, pid=8))
    first.withdraw()
    assert find_server(folder) == replace(SERVER, pid=8)
    second.withdraw()


def test_a_server_of_a_version_that_did_not_name_its_database_is_found(tmp_path: Path) -> None:
    document = {name: value for name, value in SERVER.to_json().items() if name != "database"}
    path = tmp_path / "server.json"
    path.write_text(json.dumps(document))
    path.chmod(0o600)
    with path.open("rb") as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        assert find_server(tmp_path) == replace(SERVER, database="")
