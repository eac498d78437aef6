"""Which URLs stand for which provider."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from flows_engine.actions.aliases import HOSTED_ALIASES, Aliases, hosted_scope, load_aliases, own_aliases

TRANSFER = ("transfer", "delete", "mkdir", "ls", "collection_info")


@pytest.mark.parametrize("scheme", ["https", "http"])
@pytest.mark.parametrize("end", ["", "/"])
@pytest.mark.parametrize(
    ("place", "path"),
    [
        *((f"{host}/hello_world", "hello_world") for host in ("actions.globus.org", "actions.automate.globus.org")),
        ("actions.globus.org/expression_eval", "expression_eval"),
        *((f"transfer.actions.globus.org/{name}", f"transfer/{name}") for name in TRANSFER),
        *((f"actions.globus.org/transfer/{name}", f"transfer/{name}") for name in TRANSFER),
        *((f"actions.automate.globus.org/transfer/{name}", f"transfer/{name}") for name in TRANSFER),
        ("transfer.actions.globus.org/stat", "transfer/stat"),
        ("transfer.actions.globus.org/manage_permission", "transfer/manage_permission"),
        ("actions.globus.org/transfer/set_permission", "transfer/manage_permission"),
        ("actions.automate.globus.org/transfer/set_permission", "transfer/manage_permission"),
        ("Actions.Globus.ORG:443/hello_world", "hello_world"),
        ("compute.actions.globus.org", "compute"),
        ("compute.actions.globus.org/fxap", "compute"),
        ("compute.actions.globus.org/v3", "compute/v3"),
        ("automate.funcx.org", "compute"),
        ("actions.globus.org/search/ingest", "search/ingest"),
        ("actions.automate.globus.org/weboption/wait_for_option", "weboption/wait_for_option"),
        ("actions.globus.org/datacite/mint/basic_auth", "datacite/mint/basic_auth"),
        ("actions.globus.org/something_new", "something_new"),
        ("flows.example:8765/actions/transfer/ls", "transfer/ls"),
        ("flows.example:8765/other/transfer/ls", None),
        ("actions.globus.org.evil.example/hello_world", None),
        ("evil.example/actions.globus.org/hello_world", None),
    ],
)
def test_every_address_of_a_hosted_provider_stands_for_one_path(
    scheme: str, end: str, place: str, path: str | None
) -> None:
    aliases = Aliases(HOSTED_ALIASES, own_aliases(["http://flows.example:8765/"]))
    if scheme == "http":
        place = place.replace(":443", ":80")

    assert aliases.replaced(f"{scheme}://{place}{end}") == path


def test_the_operators_aliases_come_before_ours_and_keep_the_rest_of_the_path() -> None:
    aliases = Aliases(
        HOSTED_ALIASES,
        {
            "https://actions.globus.org/search": "https://search.internal/providers/",
            "https://old.example/a": "transfer/ls",
        },
    )

    assert aliases.replaced("https://actions.globus.org/search/ingest/") == "https://search.internal/providers/ingest"
    assert aliases.replaced("https://actions.globus.org/searching") == "searching"
    assert aliases.replaced("https://old.example/a") == "transfer/ls"
    assert aliases.replaced("https://old.example/b") is None


def test_an_alias_cannot_be_left_through_dot_segments() -> None:
    aliases = Aliases({"https://public.example/search": "https://internal.example/search"})

    with pytest.raises(ValueError, match="segments"):
        aliases.replaced("https://public.example/search/..%2f../admin".replace("%2f", "/"))


def test_the_alias_file_is_read(tmp_path: Path) -> None:
    file = tmp_path / "aliases.json"
    file.write_text(
        json.dumps({"https://old.example/ls": "transfer/ls", "https://b.example": "https://c.internal:8443"})
    )

    assert load_aliases(file) == {
        "https://old.example/ls": "transfer/ls",
        "https://b.example": "https://c.internal:8443",
    }


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("{", "is not JSON"),
        ("[]", "one JSON object"),
        ('{"https://a.example": 7}', "not to int"),
        ('{"a.example": "transfer/ls"}', "'a.example': the URL must begin with https://"),
        ('{"https://a.example": "ftp://b.example"}', "'ftp://b.example': the URL must begin with https://"),
    ],
)
def test_a_wrong_alias_file_names_file_and_entry(tmp_path: Path, text: str, told: str) -> None:
    file = tmp_path / "aliases.json"
    file.write_text(text)

    with pytest.raises(ValueError, match=told) as caught:
        load_aliases(file)

    assert str(file) in str(caught.value)


@pytest.mark.parametrize(
    ("path", "end"),
    [
        ("transfer/ls", "transfer.api.globus.org:all"),
        ("transfer/gcsv5/create_guest_collection", ":create_guest_collection"),
        ("search/delete", "/search_delete"),
        ("compute/v3", "/action_all"),
        ("something_new", ""),
    ],
)
def test_hosted_scopes_are_known_without_asking(path: str, end: str) -> None:
    assert hosted_scope(path).endswith(end)
    assert bool(hosted_scope(path)) == bool(end)
