"""Which server a client finds, as whom it speaks there, and what it is told when there is none."""

from __future__ import annotations

import fcntl
import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from compute_agent.sdk import NoServerError
from compute_agent.sdk.locate import Access, locate

LOCAL = "http://127.0.0.1:4567"
OTHER = "https://flows.example.org"
SECRETS = {"FLOWS_CLIENT_ID": "id", "FLOWS_CLIENT_SECRET": "secret"}
FOREIGN = {"GLOBUS_COMPUTE_CLIENT_ID": "gid", "GLOBUS_COMPUTE_CLIENT_SECRET": "gsecret"}


def private(path: Path, document: dict[str, Any]) -> Path:
    path.write_text(json.dumps(document))
    path.chmod(0o600)
    return path


@pytest.fixture
def home(tmp_path: Path) -> Iterator[Path]:
    """A data directory on which a server runs."""
    document = {"url": LOCAL, "public_url": f"{LOCAL}/", "pid": 1, "started": "now", "operator_key": "k"}
    private(tmp_path / "client.json", {"client_id": "local", "client_secret": "own"})
    descriptor = os.open(private(tmp_path / "server.json", document), os.O_RDONLY)
    fcntl.flock(descriptor, fcntl.LOCK_EX)
    yield tmp_path
    os.close(descriptor)


@pytest.mark.parametrize(
    ("arguments", "environ", "expected"),
    [
        ({}, {}, Access(url=LOCAL, client_id="local", client_secret="own")),
        ({"url": LOCAL}, {}, Access(url=LOCAL, client_id="local", client_secret="own")),
        ({"token": "t"}, {}, Access(url=LOCAL, token="t")),
        ({"url": OTHER, "token": "t"}, SECRETS, Access(url=OTHER, token="t")),
        ({}, {"FLOWS_URL": OTHER, "FLOWS_TOKEN": "e", **SECRETS}, Access(url=OTHER, token="e")),
        ({}, {"FLOWS_URL": OTHER, **SECRETS}, Access(url=OTHER, client_id="id", client_secret="secret")),
        ({}, {"FLOWS_URL": OTHER, **FOREIGN}, Access(url=OTHER, client_id="gid", client_secret="gsecret")),
        (
            {"client_id": "a", "client_secret": "b"},
            {"FLOWS_URL": OTHER, **SECRETS},
            Access(url=OTHER, client_id="a", client_secret="b"),
        ),
    ],
    ids=str,
)
def test_what_is_named_goes_before_the_environment_and_that_before_this_machine(
    home: Path, arguments: dict[str, Any], environ: dict[str, str], expected: Access
) -> None:
    assert locate(**arguments, environ={"FLOWS_DATA_DIR": str(home), **environ}) == expected


def test_credentials_of_the_environment_are_not_sent_to_the_local_server(home: Path) -> None:
    access = locate(environ={"FLOWS_DATA_DIR": str(home), **FOREIGN, **SECRETS, "FLOWS_TOKEN": "t"})
    assert (access.client_id, access.token) == ("local", "")


def test_a_data_directory_that_is_named_goes_before_the_environment(home: Path) -> None:
    assert locate(data_dir=home, environ={"FLOWS_URL": OTHER, "FLOWS_TOKEN": "t"}).url == LOCAL


def test_no_server_at_all_says_every_way_to_name_one(tmp_path: Path) -> None:
    with pytest.raises(NoServerError) as caught:
        locate(environ={"FLOWS_DATA_DIR": str(tmp_path)})
    for words in (
        str(tmp_path),
        "flows serve",
        "FLOWS_URL",
        "FLOWS_TOKEN",
        "FLOWS_CLIENT_SECRET",
        "token=",
        "data_dir=",
    ):
        assert words in str(caught.value)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [({"url": OTHER}, "no credentials"), ({"url": OTHER, "client_id": "a"}, "without client_secret")],
)
def test_missing_credentials_are_named(home: Path, arguments: dict[str, Any], words: str) -> None:
    with pytest.raises(NoServerError, match=words):
        locate(**arguments, environ={"FLOWS_DATA_DIR": str(home)})


def test_a_secret_is_not_shown() -> None:
    assert "hidden" not in repr(Access(url=OTHER, client_id="a", client_secret="hidden", token="hidden"))
