"""B87: paths that lead nowhere good. Through a whole run, as a flow would give them to a Transfer provider.

Nothing may be read or written outside the collection, and the sentence names the path, never where the collection lies.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from schemas.principals import identity_urn
from tests.conformance.bad_input.rows import Row, by_id
from tests.conformance.bad_input.service import Service, fit_to_be_read, refused

PROVIDERS = "https://transfer.actions.globus.org"
SECRET = "do not read"


@dataclass(frozen=True, slots=True)
class Ground:
    """Two collections side by side; outside of them lies a file that nobody may have."""

    service: Service
    base: Path
    source: str
    target: str

    def act(self, provider: str, **parameters: Any) -> tuple[str, str]:
        """Status of a run of one action, and what it says."""
        state = {"Type": "Action", "ActionUrl": f"{PROVIDERS}/{provider}", "Parameters": parameters, "End": True}
        run = self.service.run({"StartAt": "S", "States": {"S": state}})
        assert SECRET not in json.dumps([run.details, list(run.log())])
        return run.status, json.dumps(run.details, ensure_ascii=False)

    def transfer(self, source: str, target: str) -> tuple[str, str]:
        item = {"source_path": source, "destination_path": target}
        return self.act(
            "transfer", source_endpoint_id=self.source, destination_endpoint_id=self.target, transfer_items=[item]
        )


@pytest.fixture(scope="module")
def ground(service: Service, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Ground]:
    base = tmp_path_factory.mktemp("ground")
    owner = identity_urn(service.house.installation.administrator_id)
    ids = []
    for name in ("source", "target"):
        (base / name).mkdir()
        ids.append(service.house.collections.create(name, str(base / name), owner).collection_id)
    (base / "secret.txt").write_text(SECRET)
    (base / "source" / "a.txt").write_text("good")
    (base / "source" / "out").symlink_to(base)
    yield Ground(service, base, *ids)
    assert sorted(entry.name for entry in base.iterdir()) == ["secret.txt", "source", "target"]
    assert (base / "secret.txt").read_text() == SECRET


#: Path -> what the sentence shows of it.
WRONG = {
    "../secret.txt": "../secret.txt",
    "/a/../../secret.txt": "/a/../../secret.txt",
    "~/../secret.txt": "~/../secret.txt",
    "x" * 5_000: "xxx",
    "/out/secret.txt": "/out",
    "/etc/passwd": "/etc",
    "a.txt/b": "a.txt",
    "\u202e/x": "\u202e",
}


def stays_inside(ground: Ground) -> None:
    """Every wrong path, read, written, listed and made."""
    for path, shown in WRONG.items():
        for status, said in (
            ground.transfer(path, "/new.txt"),
            ground.act("ls", endpoint_id=ground.source, path=path),
        ):
            assert status == "FAILED", (path, said)
            assert shown in said or json.dumps(shown)[1:-1] in said, (shown, said[:500])
            _check(ground, said)
        status, said = ground.act("stat", endpoint_id=ground.source, path=path)
        assert status == "FAILED" or "NotFound" in said, (path, said)  # nothing is there: no failure
        _check(ground, said)
    for path in ("../new.txt", "/../../new.txt", "y" * 5_000, "/"):
        for status, said in (
            ground.transfer("/a.txt", path),
            ground.act("mkdir", endpoint_id=ground.target, path=path),
        ):
            assert status == "FAILED", (path, said)
            _check(ground, said)
    assert list((ground.base / "target").iterdir()) == []


def _check(ground: Ground, said: str) -> None:
    fit_to_be_read(said)
    assert str(ground.base) not in said


ROWS = [Row("B87 paths of transfers", stays_inside)]


@by_id(ROWS)
def test_a_path_stays_inside_its_collection(ground: Ground, row: Any) -> None:
    row.check(ground)


def test_a_path_with_nul_ends_before_it_gets_anywhere(service: Service) -> None:
    """It cannot even be written into a definition."""
    state = {"Type": "Action", "ActionUrl": f"{PROVIDERS}/ls", "Parameters": {"path": "a\0b"}, "End": True}
    refused(service.create({"StartAt": "S", "States": {"S": state}}), 422, "BAD_TEXT", "Parameters.path", "NUL")
