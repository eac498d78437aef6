from __future__ import annotations

import contextlib

import pytest
from globus_sdk import scopes as sdk
from globus_sdk.scopes import ScopeParser
from hypothesis import given
from hypothesis import strategies as st

from flows_engine.auth.scopes import ScopeBook, ScopeNode, parse
from schemas.errors import ServiceError
from schemas.scopes import flow_scope

FLOW_ID = "11111111-2222-4333-8444-555555555555"
TRANSFER = "urn:globus:auth:scope:transfer.api.globus.org:all"


def written(nodes: tuple[ScopeNode, ...]) -> str:
    """The forest as text, for comparison."""
    return " ".join(
        f"{'*' if node.optional else ''}{node.name}{f'[{written(node.children)}]' if node.children else ''}"
        for node in nodes
    )


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", ""),
        ("  openid\tprofile ", "openid profile"),
        ("openid openid profile email", "openid profile email"),
        ("a a[*b]", "a[*b]"),
        ("a[b] a[c d[e]]", "a[b c d[e]]"),
        ("a[*b] a[b]", "a[b]"),
        ("a[ b  c ]", "a[b c]"),
        ("a[b[c]] a[b[d] *e]", "a[b[c d] *e]"),
        ("a[b]\nc", "a[b] c"),
    ],
)
def test_scope_strings_are_merged_into_one_forest(text: str, expected: str) -> None:
    assert written(parse(text)) == expected


@pytest.mark.parametrize(
    ("text", "column"),
    [
        ("a[", 3),
        ("a[]", 3),
        ("a[ ]", 4),
        ("a]", 2),
        ("[a]", 1),
        ("a [b]", 3),
        ("*", 1),
        ("* a", 1),
        ("**a", 1),
        ("a*b", 2),
        ("a[b]c", 5),
        ("a[b][c]", 5),
        ('a"b', 1),
        ("a\\b", 1),
        ("ä", 1),
        ("a[b", 4),
        ("a\0", 1),
        ("x" * 513, 1),
    ],
)
def test_malformed_scope_string_is_refused_with_the_column(text: str, column: int) -> None:
    with pytest.raises(ServiceError, match=rf"column {column}:") as caught:
        parse(text)
    assert (caught.value.status, caught.value.code) == (400, "INVALID_SCOPE")


@pytest.mark.parametrize("text", ["a[" * 12 + "b" + "]" * 12, " ".join(f"s{n}" for n in range(201)), "s " * 9000])
def test_scope_string_beyond_a_limit_is_refused(text: str) -> None:
    with pytest.raises(ServiceError, match=r"limit|more than"):
        parse(text)


_trees = st.recursive(
    st.tuples(st.sampled_from("abcd"), st.booleans(), st.just(())),
    lambda inner: st.tuples(st.sampled_from("abcd"), st.booleans(), st.lists(inner, min_size=1, max_size=3)),
    max_leaves=8,
)


def _text(tree: tuple[str, bool, list[object]]) -> str:
    name, optional, children = tree
    inner = f"[{' '.join(_text(one) for one in children)}]" if children else ""  # type: ignore[arg-type]  # same shape
    return f"{'*' if optional else ''}{name}{inner}"


@given(st.lists(_trees, max_size=4))
def test_parsing_what_was_written_changes_nothing(trees: list[tuple[str, bool, list[object]]]) -> None:
    once = parse(" ".join(_text(tree) for tree in trees))
    assert parse(written(once)) == once


@given(st.text(alphabet="ab*[] \t", max_size=30))
def test_any_text_is_parsed_or_refused(text: str) -> None:
    with contextlib.suppress(ServiceError):  # any other exception fails the test
        assert parse(written(parse(text))) == parse(text)


@pytest.mark.parametrize("text", ["a[b *c[d]] e", "x[y]", "*a"])
def test_trees_read_as_the_official_parser_reads_them(text: str) -> None:
    def official(scope: sdk.Scope) -> tuple[str, bool, frozenset[object]]:
        return scope.scope_string, scope.optional, frozenset(official(one) for one in scope.dependencies)

    def ours(node: ScopeNode) -> tuple[str, bool, frozenset[object]]:
        return node.name, node.optional, frozenset(ours(one) for one in node.children)

    assert {ours(node) for node in parse(text)} == {official(one) for one in ScopeParser.parse(text)}


@pytest.mark.parametrize(
    "collection",
    [
        sdk.AuthScopes,
        sdk.TransferScopes,
        sdk.GroupsScopes,
        sdk.SearchScopes,
        sdk.FlowsScopes,
        sdk.TimersScopes,
        sdk.ComputeScopes,
        sdk.NexusScopes,
    ],
)
def test_every_scope_of_the_official_client_opens_the_service_it_names(collection: sdk.StaticScopeCollection) -> None:
    book = ScopeBook()
    for scope in collection:
        found = book.find(scope.scope_string)
        assert found is not None, scope
        assert found.resource_server == collection.resource_server


def test_flow_scope_is_the_one_the_official_client_builds() -> None:
    assert flow_scope(FLOW_ID) == sdk.SpecificFlowScopes(FLOW_ID).user.scope_string


@pytest.mark.parametrize(
    ("name", "server"),
    [
        (flow_scope(FLOW_ID), FLOW_ID),
        (f"https://auth.globus.org/scopes/{FLOW_ID}/data_access", FLOW_ID),
        (f"https://auth.globus.org/scopes/{FLOW_ID}/https", FLOW_ID),
        (f"urn:globus:auth:scope:{FLOW_ID}:manage_collections", FLOW_ID),
        ("https://auth.globus.org/scopes/actions.globus.org/hello_world", "actions.globus.org"),
        ("https://auth.globus.org/scopes/5fac2e64-c734-4e6b-90ea-ff12ddbf9653/expression",
         "5fac2e64-c734-4e6b-90ea-ff12ddbf9653"),
    ],
)  # fmt: skip
def test_scope_opens_its_resource_server_when_that_exists(name: str, server: str) -> None:
    def exists(identifier: str) -> bool:
        return identifier == FLOW_ID

    found = ScopeBook(flow_exists=exists, collection_exists=exists, endpoint_exists=exists).find(name)
    assert found is not None
    assert found.resource_server == server


@pytest.mark.parametrize(
    "name",
    [
        "nonsense",
        TRANSFER + "x",
        TRANSFER.upper(),
        flow_scope(FLOW_ID),
        f"https://auth.globus.org/scopes/{FLOW_ID}/data_access",
        f"urn:globus:auth:scope:{FLOW_ID}:manage_collections",
    ],
)
def test_scope_of_nothing_is_not_found(name: str) -> None:
    assert ScopeBook().find(name) is None


def test_flow_scope_with_the_name_of_another_flow_is_not_found() -> None:
    other = "22222222-2222-4333-8444-555555555555"
    name = f"https://auth.globus.org/scopes/{FLOW_ID}/flow_{other.replace('-', '_')}_user"
    assert ScopeBook(flow_exists=lambda _id: True).find(name) is None
