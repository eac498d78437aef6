"""Which files: filter rules, deadlines, names of unfinished copies, places to go on from."""

from __future__ import annotations

import pytest
from jsonschema import Draft7Validator

from action_providers.transfer import providers
from action_providers.transfer.cursor import Cursor
from action_providers.transfer.faults import TransferError
from action_providers.transfer.plan import (
    FilterRule,
    clashes,
    is_kept,
    is_temporary,
    parse_deadline,
    temporary_name,
    temporary_prefix,
)
from schemas.json_text import dumps, loads_trusted
from tests.unit.transfer.world import World

TXT_ONLY = (FilterRule("include", "*.txt", "file"), FilterRule("exclude", "*", "file"))


@pytest.mark.parametrize(
    ("rules", "name", "is_directory", "kept"),
    [
        ((), "a", False, True),
        (TXT_ONLY, "a.txt", False, True),
        (TXT_ONLY, "a.tgz", False, False),
        (TXT_ONLY, "dir", True, True),
        ((FilterRule("exclude", "*", None), FilterRule("include", "a", None)), "a", False, False),
        ((FilterRule("include", "a", None), FilterRule("exclude", "*", None)), "a", True, True),
        ((FilterRule("exclude", "cache", "dir"),), "cache", True, False),
        ((FilterRule("exclude", "cache", "dir"),), "cache", False, True),
        ((FilterRule("exclude", "?.tx[tx]", None),), "a.txt", False, False),
        ((FilterRule("exclude", "[!a].txt", None),), "a.txt", False, True),
        ((FilterRule("exclude", "*.TXT", None),), "a.txt", False, True),
        ((FilterRule("exclude", "*", None),), ".hidden", False, False),
    ],
)
def test_the_first_rule_that_matches_decides(rules: tuple[FilterRule, ...], name: str, is_directory: bool, kept: bool):
    assert is_kept(rules, name, is_directory=is_directory) is kept


@pytest.mark.parametrize(
    ("text", "seen"),
    [
        ("2030-01-31", "2030-01-31T00:00:00+00:00"),
        ("2030-01-31 12:00:00", "2030-01-31T12:00:00+00:00"),
        ("2030-01-31T12:00Z", "2030-01-31T12:00:00+00:00"),
        ("2030-01-31 12:00:00.5+02:00", "2030-01-31T10:00:00.500000+00:00"),
    ],
)
def test_deadlines_are_read_in_every_form_seen(text: str, seen: str):
    deadline = parse_deadline(text)
    assert deadline is not None
    assert deadline.isoformat() == seen


@pytest.mark.parametrize("text", ["tomorrow", "2030-13-01", "12:00", "2030-01-31T25:00:00Z"])
def test_what_is_no_deadline_is_refused(text: str):
    with pytest.raises(TransferError):
        parse_deadline(text)


@pytest.mark.parametrize("name", ["a", ".hidden", "x" * 255, "é" * 127, "日" * 85, "caf\udce9", "a\nb"])
def test_names_of_unfinished_copies_are_valid_and_known(name: str):
    action_id = "01890a5d-ac96-774b-bcce-b302099a8057"
    temporary = temporary_name(name, action_id, "0badcafe")
    assert len(temporary.encode(errors="surrogateescape")) <= 255
    assert is_temporary(temporary)
    assert temporary_prefix(action_id) in temporary
    assert not is_temporary(name)


def test_names_that_differ_only_in_case_clash():
    assert clashes(["a", "B", "A", "c", "Straße", "STRASSE"]) == ["a", "A", "Straße", "STRASSE"]
    assert clashes(["a", "b"]) == []


@pytest.mark.parametrize("cursor", [Cursor(), Cursor(3), Cursor(1, ()), Cursor(0, ("a", "é\udce9"), "b c%")])
def test_a_cursor_survives_json(cursor: Cursor):
    assert Cursor.from_json(loads_trusted(dumps(cursor.to_json()))) == cursor


def test_everything_before_a_cursor_is_done_and_nothing_after():
    cursor = Cursor(0, ("b", "m"), "k")
    assert cursor.has_left(("a",))
    assert cursor.has_left(("a", "z"))
    assert cursor.has_left(("b", "a"))
    assert not cursor.has_left(())
    assert not cursor.has_left(("b",))
    assert not cursor.has_left(("b", "m"))
    assert not cursor.has_left(("b", "m", "a"))
    assert not cursor.has_left(("c",))
    assert cursor.has_done(("b",), "z")
    assert cursor.has_done(("b", "m"), "k")
    assert not cursor.has_done(("b", "m"), "l")
    assert not cursor.has_entered(("b", "m", "a"))
    assert not Cursor(0).has_entered(())


@pytest.mark.parametrize(
    ("text", "accepted"),
    [
        ("/", True),
        ("a", True),
        ("/a/.b/..c/d../.../x.", True),
        ("/a//./b\n/", True),
        ("..", False),
        ("/a/..", False),
        ("/a/../b", False),
        ("../b", False),
        ("/a\n/../b", False),
        ("/" + "x" * 5000, False),
    ],
)
def test_input_schemas_refuse_paths_that_go_up_or_are_too_long(world: World, text: str, accepted: bool):
    id_ = world.source.collection_id
    for path, body in {
        "transfer": world.transfer_body((text, "/x")),
        "delete": {"endpoint": id_, "DATA": [{"path": text}]},
        "ls": {"endpoint_id": id_, "path": text},
        "stat": {"endpoint_id": id_, "path": text},
        "mkdir": {"endpoint_id": id_, "path": text},
        "manage_permission": {"endpoint_id": id_, "operation": "CREATE", "path": text},
    }.items():
        (provider,) = [one for one in providers(world.collections) if one.description.path == f"transfer/{path}"]
        errors = list(Draft7Validator(provider.description.input_schema).iter_errors(provider.adapt(body)))
        assert (not errors) is accepted, path
        if errors:
            assert errors[0].absolute_path[-1] in ("path", "source_path")


def test_the_family_is_mounted_where_flows_look_for_it(world: World):
    found = {provider.description.path: provider.description for provider in providers(world.collections)}
    assert set(found) == {
        f"transfer/{name}"
        for name in ("transfer", "delete", "ls", "stat", "mkdir", "collection_info", "manage_permission")
    }
    assert {one.scope for one in found.values()} == {"urn:globus:auth:scope:transfer.api.globus.org:all"}
    assert {path for path, one in found.items() if not one.synchronous} == {"transfer/transfer", "transfer/delete"}
