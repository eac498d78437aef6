"""From an ActionUrl to whoever carries it out."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from action_providers.hello_world.provider import HelloWorld
from action_providers.service import Actions
from action_providers.tables import metadata
from flows_engine.actions.addresses import AddressPolicy
from flows_engine.actions.aliases import HOSTED_ALIASES, Aliases, own_aliases
from flows_engine.actions.answers import Errand, Refused, Reported, Unknown
from flows_engine.actions.guarded_http import GuardedHttp
from flows_engine.actions.http import HttpActionClient
from flows_engine.actions.local import LocalActionClient, Order
from flows_engine.actions.resolve import ActionDirectory
from flows_engine.store.db import SqlDatabase
from schemas.errors import ServiceError
from schemas.principals import Caller
from tests.fakes.clock import VirtualClock
from tests.fakes.flaky_provider import FlakyProvider, answer

CALLER = Caller(identity_id="11111111-1111-4111-8111-111111111111", username="ada@example.org")
REQUEST = '{"request_id":"r-1","body":{}}'


@pytest.fixture
def remote() -> Iterator[FlakyProvider]:
    with FlakyProvider() as running:
        yield running


@pytest.fixture
def directory(tmp_path: Path, remote: FlakyProvider) -> ActionDirectory:
    db = SqlDatabase(f"sqlite:///{tmp_path}/actions.db")
    metadata.create_all(db.engine)
    hello = HelloWorld()
    clock = VirtualClock()
    http = GuardedHttp(AddressPolicy(own_ports=frozenset({remote.port})), deadline_s=0.5)
    actions = Actions(db, clock, {"hello_world": hello}, check_body=lambda schema, body: [])
    return ActionDirectory(
        LocalActionClient(actions),
        HttpActionClient(http, lambda errand, fresh=False: "token", clock),
        aliases=Aliases(
            HOSTED_ALIASES,
            own_aliases(["http://flows.example:8765"]),
            {"https://actions.globus.org/notification": remote.url("sync")},
        ),
        known={"hello_world": hello.description},
        http=http,
    )


def errand(url: str, scope: str | None = None) -> Errand:
    return Errand(url=url, scope=scope, caller=CALLER, flow_id="f", run_id="r")


@pytest.mark.parametrize(
    "url",
    [
        "https://actions.globus.org/hello_world",
        "https://actions.automate.globus.org/hello_world/",
        "http://flows.example:8765/actions/hello_world",
    ],
)
def test_hosted_and_own_urls_of_a_built_in_provider_are_carried_out_here(
    directory: ActionDirectory, remote: FlakyProvider, url: str
) -> None:
    begun = directory.start(errand(url), REQUEST, waiter="w")

    assert isinstance(begun, Reported)
    assert begun.pushes
    assert isinstance(directory.status(errand(url), begun.status.action_id), Reported)
    assert directory.is_local(url)
    assert directory.scope_of(url) == HelloWorld.description.scope
    assert remote.seen == []


@pytest.mark.parametrize(
    "url",
    [
        "https://compute.actions.globus.org/v3",
        "https://actions.globus.org/search/ingest",
        "http://flows.example:8765/actions/nothing",
    ],
)
def test_what_is_hosted_elsewhere_and_not_built_in_is_refused_without_asking_anybody(
    directory: ActionDirectory, url: str
) -> None:
    answers = [
        directory.start(errand(url), REQUEST, waiter="w"),
        directory.status(errand(url), "a"),
        directory.cancel(errand(url), "a"),
        directory.resume(errand(url), "a"),
        directory.release(errand(url), "a"),
    ]

    assert all(isinstance(one, Refused) and "not available on this server" in one.cause for one in answers)
    assert not directory.is_local(url)


def test_the_scope_of_a_hosted_provider_that_is_not_here_is_known_from_the_table(directory: ActionDirectory) -> None:
    assert directory.scope_of("https://actions.globus.org/search/ingest").endswith("/search/ingest")


def test_other_urls_and_operator_aliases_go_to_the_remote_client(
    directory: ActionDirectory, remote: FlakyProvider
) -> None:
    direct = directory.start(errand(remote.url("async")), REQUEST, waiter="w")
    renamed = directory.start(errand("https://actions.globus.org/notification/notify"), REQUEST, waiter="w")

    assert isinstance(direct, Reported)
    assert isinstance(renamed, Reported)
    assert [one.path for one in remote.seen] == ["/async/run", "/sync/notify/run"]


def test_many_orders_are_answered_in_the_order_of_asking(directory: ActionDirectory, remote: FlakyProvider) -> None:
    urls = [remote.url("async"), "https://actions.globus.org/hello_world", "https://automate.funcx.org", "nonsense"]

    answers = directory.start_many([Order(errand(url), REQUEST, "w") for url in urls])

    assert [type(one) for one in answers] == [Reported, Reported, Refused, Refused]
    assert [one.pushes for one in answers if isinstance(one, Reported)] == [False, True]


def test_an_impossible_url_is_refused_by_every_operation(directory: ActionDirectory) -> None:
    given = directory.start(errand("https://user@host/"), REQUEST, waiter="w")

    assert isinstance(given, Refused)
    assert given.cause.startswith("ADDRESS_NOT_ALLOWED: the URL may not hold a user name")
    assert not directory.is_local("https://user@host/")


def test_a_remote_provider_is_asked_for_its_scope(directory: ActionDirectory, remote: FlakyProvider) -> None:
    remote.modes["described"] = lambda visit: visit.send(answer({"globus_auth_scope": "urn:scope:remote"}))

    assert directory.scope_of(remote.url("described")) == "urn:scope:remote"
    assert (remote.seen[0].method, remote.seen[0].path) == ("GET", "/described")
    assert "authorization" not in remote.seen[0].headers


@pytest.mark.parametrize(
    ("mode", "reason"),
    [
        ("400-html", "answered 400"),
        ("500", "answered 500"),
        ("redirect", "answered 301"),
        ("html", "is not JSON"),
        ("list", "no text globus_auth_scope"),
        ("async", "no text globus_auth_scope"),
        ("10-mb", "sent more than"),
        ("truncated", "bytes are missing"),
    ],
)
def test_a_provider_that_describes_itself_wrongly_fails_the_resolution_of_its_scope(
    directory: ActionDirectory, remote: FlakyProvider, mode: str, reason: str
) -> None:
    with pytest.raises(ServiceError) as caught:
        directory.scope_of(remote.url(mode))

    assert (caught.value.status, caught.value.code) == (409, "SCOPE_RESOLUTION_FAILED")
    assert remote.url(mode) in str(caught.value.detail)
    assert reason in str(caught.value.detail)


def test_a_url_that_is_none_fails_the_resolution_of_its_scope(directory: ActionDirectory) -> None:
    with pytest.raises(ServiceError, match="must begin with https://"):
        directory.scope_of("ftp://example.org/")


def test_a_provider_that_is_away_or_forbidden_has_no_scope_yet(
    directory: ActionDirectory, remote: FlakyProvider
) -> None:
    assert directory.scope_of(remote.url("closes")) == ""
    assert directory.scope_of("https://127.0.0.1:1/") == ""


def test_a_remote_provider_in_trouble_is_unknown(directory: ActionDirectory, remote: FlakyProvider) -> None:
    assert isinstance(directory.start(errand(remote.url("503")), REQUEST, waiter="w"), Unknown)
