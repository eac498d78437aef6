from __future__ import annotations

import json
import stat
from pathlib import Path

import pytest
from sqlalchemy import select

from compute_agent.private_files import create_private_file
from flows_engine.auth import identities, tables
from flows_engine.auth.bootstrap import Installation, ensure_installation, write_client_file
from flows_engine.auth.service import AuthService
from flows_engine.store.db import SqlDatabase
from tests.fakes.clock import VirtualClock


def test_first_start_makes_one_client_linked_to_an_administrator(
    database: SqlDatabase, installation: Installation
) -> None:
    with database.read() as tx:
        client = identities.load(tx, installation.client_id)
        administrator = identities.load(tx, installation.administrator_id)
        assert client is not None
        assert administrator is not None
        assert [one.identity_id for one in identities.linked(tx, client)] == [
            client.identity_id,
            administrator.identity_id,
        ]

    assert installation.is_first_start
    assert client.username == f"{installation.client_id}@clients.auth.globus.org"
    assert administrator.username.endswith("@flows.local")
    assert client.is_service_administrator
    assert administrator.is_service_administrator


def test_client_file_is_for_its_owner_and_its_secret_is_nowhere_in_the_database(
    database: SqlDatabase, installation: Installation
) -> None:
    document = json.loads(installation.client_file.read_text())
    assert set(document) == {"client_id", "client_secret"}
    assert len(document["client_secret"]) >= 40
    assert stat.S_IMODE(installation.client_file.stat().st_mode) == 0o600
    assert stat.S_IMODE(installation.data_dir.stat().st_mode) == 0o700
    with database.read() as tx:
        rows = [row for table in tables.metadata.sorted_tables for row in tx.execute(select(table))]
    assert rows
    assert document["client_secret"] not in repr(rows)


def test_later_start_finds_the_same_installation(
    database: SqlDatabase, clock: VirtualClock, installation: Installation
) -> None:
    before = installation.client_file.read_bytes()
    again = ensure_installation(database, clock, installation.data_dir)

    assert not again.is_first_start
    assert (again.client_id, again.administrator_id) == (installation.client_id, installation.administrator_id)
    assert installation.client_file.read_bytes() == before


def test_start_that_was_cut_short_before_the_database_knew_is_completed(
    database: SqlDatabase, clock: VirtualClock, data_dir: Path
) -> None:
    tables.metadata.create_all(database.engine)
    client_id = "0a4ae1f7-6b1c-4b4f-9a0c-2f3d3c1a7b11"
    document = {"client_id": client_id, "client_secret": "s" * 44}
    create_private_file(data_dir / "client.json", json.dumps(document).encode())

    assert ensure_installation(database, clock, data_dir).client_id == client_id


@pytest.mark.parametrize(
    ("document", "complaint"),
    [
        ({"client_id": "me", "client_secret": "s" * 44}, "client_id must be a UUID"),
        ({"client_id": "0a4ae1f7-6b1c-4b4f-9a0c-2f3d3c1a7b11", "client_secret": "guess"}, "40 characters"),
        ([], "client_id must be a UUID"),
    ],
)
def test_client_file_that_is_not_ours_is_refused(
    database: SqlDatabase, clock: VirtualClock, data_dir: Path, document: object, complaint: str
) -> None:
    tables.metadata.create_all(database.engine)
    create_private_file(data_dir / "client.json", json.dumps(document).encode())
    with pytest.raises(ValueError, match=complaint):
        ensure_installation(database, clock, data_dir)


def test_database_of_another_pepper_is_refused(
    database: SqlDatabase, clock: VirtualClock, installation: Installation, tmp_path: Path
) -> None:
    with pytest.raises(ValueError, match="another pepper"):
        ensure_installation(database, clock, tmp_path / "other")


def test_rotated_secret_replaces_the_one_in_the_file(auth: AuthService, installation: Installation) -> None:
    secret = auth.clients.rotate_secret(installation.client_id)
    write_client_file(installation.client_file, installation.client_id, secret)

    document = json.loads(installation.client_file.read_text())
    assert auth.authenticate_client(document["client_id"], document["client_secret"]).client_id
    assert stat.S_IMODE(installation.client_file.stat().st_mode) == 0o600
