"""``server.json`` is believed as long as its server lives, and no longer."""

from __future__ import annotations

import stat
from dataclasses import replace
from pathlib import Path

from flows_engine.local import RunningServer, ServerFile, find_server

SERVER = RunningServer(
    url="http://127.0.0.1:8765",
    public_url="https://flows.example.org",
    pid=7,
    started="2026-01-01T00:00:00+00:00",
    operator_key="key",
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


def test_a_server_that_ends_leaves_the_file_of_its_successor(tmp_path: Path) -> None:
    first, second = ServerFile(tmp_path), ServerFile(tmp_path)
    first.publish(SERVER)
    second.publish(replace(SERVER, pid=8))
    first.withdraw()
    found = find_server(tmp_path)
    assert found is not None
    assert found.pid == 8
    second.withdraw()
