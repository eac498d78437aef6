"""``database.json``: a data directory belongs to one database, and says to which."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from flows_engine.settings import load, remembered_database
from flows_engine.store import address


def remember(folder: Path, url: str) -> None:
    (folder / "database.json").write_bytes(address.document(folder, url) or b"")


@pytest.mark.parametrize(
    ("url", "kept"),
    [
        ("postgresql://me@db/flows", "postgresql://me@db/flows"),
        ("postgres://me@db/flows", "postgresql://me@db/flows"),
        (
            "postgresql+psycopg://me:s3cret@db:5433/flows?sslmode=require",
            "postgresql://me:***@db:5433/flows?sslmode=require",
        ),
        ("postgresql://me:s/3#c?t@db/flows", "postgresql://me:***@db/flows"),
        ("postgresql://me@db/flows?password=s3cret", "postgresql://me:***@db/flows"),
        ("sqlite:////elsewhere/x.db", "sqlite:////elsewhere/x.db"),
    ],
)
def test_an_address_is_kept_without_its_password(tmp_path: Path, url: str, kept: str) -> None:
    remember(tmp_path, url)
    assert json.loads((tmp_path / "database.json").read_text()) == {"url": kept}
    assert load(data_dir=tmp_path, environ={}).database_url == kept


def test_a_data_directory_can_be_moved(tmp_path: Path) -> None:
    before, after = tmp_path / "before", tmp_path / "after"
    before.mkdir()
    remember(before, f"sqlite:///{before / 'flows.db'}")
    before.rename(after)
    assert load(data_dir=after, environ={}).database_url == f"sqlite:///{after / 'flows.db'}"
    address.check(after, f"sqlite:///{after / 'flows.db'}")


def test_a_database_in_memory_is_not_kept(tmp_path: Path) -> None:
    assert address.document(tmp_path, "sqlite://") is None
    assert remembered_database(tmp_path) is None


@pytest.mark.parametrize(
    ("kept", "given", "is_same"),
    [
        ("postgresql://me@db/flows", "postgresql+psycopg://me:pw@db:5432/flows", True),
        ("postgresql://me@localhost/flows", "postgresql://you@127.0.0.1/flows", True),
        ("postgresql:///flows?host=/run/pg", "postgresql://me@/flows?host=/run/pg", True),
        ("postgresql://me@db", "postgresql://me@db/me", True),
        ("postgresql://me@db/flows", "postgresql://me@db/other", False),
        ("postgresql://me@db/flows", "postgresql://me@db:5433/flows", False),
        ("postgresql://me@db/flows", "postgresql://me@else/flows", False),
        ("postgresql://me@db/flows", "sqlite:////x/flows.db", False),
        ("sqlite:////x/flows.db", "sqlite:////x/y/../flows.db", True),
        ("sqlite:////x/flows.db", "sqlite:////x/other.db", False),
        ("sqlite:////x/flows.db", "sqlite://", False),
    ],
)
def test_a_data_directory_belongs_to_one_database(tmp_path: Path, kept: str, given: str, is_same: bool) -> None:
    address.check(tmp_path, given)
    remember(tmp_path, kept)
    if is_same:
        address.check(tmp_path, given)
        return
    both = f"belongs to the database {re.escape(kept)}, not to {re.escape(given)}; give .* --data-dir"
    with pytest.raises(address.WrongDatabase, match=both):
        address.check(tmp_path, given)


def test_a_password_has_to_be_given_again(tmp_path: Path) -> None:
    remember(tmp_path, "postgresql://me:s3cret@db/flows")
    with pytest.raises(address.WrongDatabase, match=r"me:\*\*\*@db/flows, whose password is not kept; give"):
        address.check(tmp_path, load(data_dir=tmp_path, environ={}).database_url)
    address.check(tmp_path, "postgresql://me:s3cret@db/flows")


def test_what_is_given_goes_before_what_is_kept(tmp_path: Path) -> None:
    remember(tmp_path, "postgresql://me@db/flows")
    given = {"FLOWS_DATABASE_URL": "postgresql://you@db/flows"}
    assert load(data_dir=tmp_path, environ=given).database_url == "postgresql://you@db/flows"
    assert load(data_dir=tmp_path, database_url="sqlite:///x", environ=given).database_url == "sqlite:///x"


@pytest.mark.parametrize("content", ["", "{", "[]", "{}", '{"url": 1}', '{"url": "x"}'])
def test_a_file_that_names_no_database_is_said_to(tmp_path: Path, content: str) -> None:
    (tmp_path / "database.json").write_text(content)
    with pytest.raises(ValueError, match=r"database\.json must hold .* remove it"):
        load(data_dir=tmp_path, environ={})
