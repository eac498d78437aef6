from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import timedelta

import jwt
import pytest
from sqlalchemy import func, select

from flows_engine.auth import tables
from flows_engine.auth.bootstrap import Installation
from flows_engine.auth.clients import Client, ProviderScope
from flows_engine.auth.keys import Keys
from flows_engine.auth.scopes import ScopeBook
from flows_engine.auth.service import AuthService, AuthSettings
from flows_engine.store.db import SqlDatabase
from schemas.errors import NotFound, ServiceError, StateConflict, Unprocessable
from schemas.ports import Authorizer
from schemas.scopes import flow_scope
from tests.fakes.clock import VirtualClock

from .conftest import COLLECTION_ID, FLOW_ID, PUBLIC_URL

FLOWS_ALL = "https://auth.globus.org/scopes/eec9b274-0c81-4334-bdc2-54e90e689b9a/all"
TRANSFER = "urn:globus:auth:scope:transfer.api.globus.org:all"
TIMER = "https://auth.globus.org/scopes/524230d7-ea86-4a52-8312-86065a9e0417/timer"
DATA_ACCESS = f"https://auth.globus.org/scopes/{COLLECTION_ID}/data_access"
USER = flow_scope(FLOW_ID)


def token(auth: AuthService, client: Client, scope: str = FLOWS_ALL) -> str:
    text: str = auth.client_credentials(client, scope)["access_token"]
    return text


def is_refused(auth: AuthService, bearer: str) -> bool:
    try:
        auth.authenticate(bearer)
    except ServiceError as error:
        return (error.status, error.code) == (401, "AUTHENTICATION_ERROR")
    return False


# Tokens


def test_one_token_is_issued_per_resource_server(auth: AuthService, client: Client) -> None:
    scope = f"{TRANSFER} openid {FLOWS_ALL} {TRANSFER}[*{DATA_ACCESS}] email openid"
    answer = auth.client_credentials(client, scope)

    issued = {one["resource_server"]: one["scope"] for one in [answer, *answer["other_tokens"]]}
    assert issued == {
        "transfer.api.globus.org": TRANSFER,
        "auth.globus.org": "openid email",
        "flows.globus.org": FLOWS_ALL,
    }
    assert answer["expires_in"] == 172_800
    assert answer["token_type"] == "Bearer"


def test_caller_holds_what_the_token_says(auth: AuthService, client: Client, installation: Installation) -> None:
    authorizer: Authorizer = auth
    caller = authorizer.authenticate(token(auth, client, f"{FLOWS_ALL} {FLOWS_ALL.replace('/all', '/run_status')}"))

    assert caller.identity_id == client.client_id == caller.client_id
    assert caller.username == f"{client.client_id}@clients.auth.globus.org"
    assert caller.identities == {installation.client_id, installation.administrator_id}
    assert caller.groups == {f"group-of-{one}" for one in caller.identities}
    assert caller.scopes == {FLOWS_ALL, FLOWS_ALL.replace("/all", "/run_status")}
    assert caller.audience == "flows.globus.org"
    assert caller.is_service_administrator
    assert caller.token_info["exp"] - caller.token_info["iat"] == 172_800


def test_token_for_a_flow_has_the_flow_as_audience(auth: AuthService, client: Client) -> None:
    assert auth.authenticate(token(auth, client, USER)).audience == FLOW_ID


@pytest.mark.parametrize(
    "scope",
    ["nope", flow_scope("22222222-2222-4333-8444-555555555555"), f"{TRANSFER}[nope]", DATA_ACCESS.replace("9999", "8")],
)
def test_unknown_scope_is_refused_by_name(auth: AuthService, client: Client, scope: str) -> None:
    with pytest.raises(ServiceError) as caught:
        auth.client_credentials(client, f"openid {scope}")
    assert (caught.value.status, caught.value.code) == (400, "UNKNOWN_SCOPE")
    assert "openid" not in str(caught.value)


def test_scope_of_an_installed_provider_can_be_asked_for(auth: AuthService, client: Client) -> None:
    answer = auth.client_credentials(client, "https://example.org/scopes/plugin")
    assert answer["resource_server"] == "plugin.example.org"


@pytest.mark.parametrize(
    "wrong",
    [
        "",
        "nonsense",
        "fe_aaaaaaaa_" + "b" * 43,
        "x" * 100_000,
        "eyJhbGciOiJub25lIn0.eyJzdWIiOiJ4In0.",
        "fe_aaaaaaaa_" + "b" * 43 + "\n",
    ],
)
def test_token_that_was_not_issued_is_refused(auth: AuthService, client: Client, wrong: str) -> None:
    assert is_refused(auth, wrong)


def test_token_with_another_secret_under_the_same_id_is_refused(auth: AuthService, client: Client) -> None:
    real = token(auth, client)
    assert is_refused(auth, real[:-1] + ("A" if real[-1] != "A" else "B"))
    assert not is_refused(auth, real)


def test_token_expires_although_it_was_seen_a_moment_before(
    auth: AuthService, client: Client, clock: VirtualClock
) -> None:
    bearer = token(auth, client)
    clock.advance(48 * 3600 - 1)
    assert not is_refused(auth, bearer)
    clock.advance(1)
    assert is_refused(auth, bearer)
    assert not auth.is_active(bearer)


def test_revoked_token_is_refused_at_once(auth: AuthService, client: Client) -> None:
    bearer = token(auth, client)
    auth.authenticate(bearer)
    auth.revoke(bearer)
    assert is_refused(auth, bearer)


def test_token_revoked_through_another_process_is_refused_within_the_cache_age(
    auth: AuthService,
    client: Client,
    clock: VirtualClock,
    database: SqlDatabase,
    installation: Installation,
    book: ScopeBook,
) -> None:
    settings = AuthSettings(public_url=PUBLIC_URL, cache_age=timedelta(seconds=10))
    other_process = AuthService(database, clock, keys=installation.keys, settings=settings, book=book)
    bearer = token(auth, client)
    assert not is_refused(other_process, bearer)

    auth.revoke(bearer)

    clock.advance(10)
    assert is_refused(other_process, bearer)


def test_cache_older_than_thirty_seconds_is_not_allowed(
    database: SqlDatabase, clock: VirtualClock, installation: Installation, book: ScopeBook
) -> None:
    settings = AuthSettings(public_url=PUBLIC_URL, cache_age=timedelta(seconds=31))
    with pytest.raises(ValueError, match="at most 30 s"):
        AuthService(database, clock, keys=installation.keys, settings=settings, book=book)


def test_token_issued_under_another_pepper_is_refused(
    auth: AuthService,
    client: Client,
    clock: VirtualClock,
    database: SqlDatabase,
    installation: Installation,
    book: ScopeBook,
) -> None:
    keys = Keys(b"another pepper of 32 bytes......", installation.keys.signing_key)
    other = AuthService(database, clock, keys=keys, settings=AuthSettings(public_url=PUBLIC_URL), book=book)
    assert is_refused(other, token(auth, client))


def test_token_text_is_not_in_the_database(auth: AuthService, client: Client, database: SqlDatabase) -> None:
    bearer = token(auth, client)
    with database.read() as tx:
        rows = repr(tx.execute(select(tables.tokens)).all())
    assert bearer[3:11] in rows
    assert bearer[12:] not in rows


def test_expired_tokens_are_purged_after_a_day(
    auth: AuthService, client: Client, clock: VirtualClock, database: SqlDatabase
) -> None:
    token(auth, client)
    clock.advance(72 * 3600)
    assert auth.purge_expired() == 0
    token(auth, client)
    clock.advance(1)
    assert auth.purge_expired() == 1
    with database.read() as tx:
        assert tx.execute(select(func.count()).select_from(tables.tokens)).scalar() == 1


def test_id_token_names_the_client_and_is_bound_to_the_access_token(auth: AuthService, client: Client) -> None:
    answer = auth.client_credentials(client, f"{FLOWS_ALL} openid profile")
    key = jwt.PyJWK(auth.jwks()["keys"][0]).key
    claims = jwt.decode(
        answer["id_token"], key, algorithms=["RS512"], audience=client.client_id, options={"verify_exp": False}
    )
    assert claims["sub"] == client.client_id
    assert claims["iss"] == PUBLIC_URL.rstrip("/")
    assert claims["preferred_username"].startswith(client.client_id)
    assert len(claims["at_hash"]) == 43
    assert "id_token" not in auth.client_credentials(client, FLOWS_ALL)


# Minted tokens


def test_minted_token_acts_for_its_owner_without_an_administrators_power(
    auth: AuthService, client: Client, clock: VirtualClock
) -> None:
    bearer = auth.mint(client.client_id, TRANSFER, client_id=FLOW_ID, actor=FLOW_ID, life_s=600)
    caller = auth.authenticate(bearer)

    assert (caller.identity_id, caller.client_id, caller.audience) == (
        client.client_id,
        FLOW_ID,
        "transfer.api.globus.org",
    )
    assert not caller.is_service_administrator
    assert caller.identities == auth.caller_for_identity(client.client_id, {TRANSFER}).identities
    clock.advance(600)
    assert is_refused(auth, bearer)


def test_minted_token_may_be_for_a_provider_we_do_not_know(auth: AuthService, client: Client) -> None:
    bearer = auth.mint(client.client_id, "urn:theirs", audience="https://provider.example", client_id=FLOW_ID)
    assert auth.authenticate(bearer).audience == "https://provider.example"
    with pytest.raises(ServiceError, match="urn:theirs"):
        auth.mint(client.client_id, "urn:theirs", client_id=FLOW_ID)


def test_token_for_a_provider_is_good_at_that_provider_alone(auth: AuthService, client: Client) -> None:
    at_home, _ = auth.clients.create_client("P", scopes=[ProviderScope("run")], audience="Provider.example:8443")

    def audience(scope: str, origin: str) -> str:
        bearer = auth.mint_for_provider(client.client_id, scope, origin=origin, actor=FLOW_ID)
        return auth.authenticate(bearer).audience

    assert audience("urn:theirs", "anywhere.example") == "anywhere.example"
    assert audience(at_home.scopes[0], "provider.example:8443") == at_home.client_id
    assert audience(USER, "flows.example.org") == FLOW_ID, "a flow of ours may be an action"


def test_provider_that_asks_for_the_scope_of_somebody_else_gets_no_token(auth: AuthService, client: Client) -> None:
    at_home, _ = auth.clients.create_client("P", scopes=[ProviderScope("run")], audience="provider.example")
    homeless, _ = auth.clients.create_client("Q", scopes=[ProviderScope("run")])
    for scope in (TRANSFER, FLOWS_ALL, USER, DATA_ACCESS, at_home.scopes[0], homeless.scopes[0]):
        with pytest.raises(ServiceError, match=r"at evil\.example may not") as caught:
            auth.mint_for_provider(client.client_id, scope, origin="evil.example", actor=FLOW_ID)
        assert caught.value.status == 403


@pytest.mark.parametrize("scope", [f"urn:theirs {TRANSFER}", "", "a[b]", "a\nb"])
def test_provider_cannot_smuggle_a_second_scope_into_its_name(auth: AuthService, client: Client, scope: str) -> None:
    with pytest.raises(ServiceError) as caught:
        auth.mint_for_provider(client.client_id, scope, origin="evil.example", actor=FLOW_ID)
    assert (caught.value.status, caught.value.code) == (400, "INVALID_SCOPE")


def test_flow_acts_as_itself_under_its_own_id(auth: AuthService) -> None:
    flow = auth.ensure_flow_identity(FLOW_ID, "Copy")
    renamed = auth.ensure_flow_identity(FLOW_ID, "Move")
    caller = auth.authenticate(auth.mint(FLOW_ID, TRANSFER, client_id=FLOW_ID, actor=FLOW_ID))

    assert flow.username == f"{FLOW_ID}@clients.auth.globus.org"
    assert (renamed.identity_id, renamed.name) == (FLOW_ID, "Move")
    assert caller.identities == {FLOW_ID}


def test_nobody_acts_as_an_unknown_identity(auth: AuthService) -> None:
    for attempt in (
        lambda: auth.mint(FLOW_ID, TRANSFER, client_id=FLOW_ID),
        lambda: auth.caller_for_identity(FLOW_ID, {TRANSFER}),
    ):
        with pytest.raises(ServiceError) as caught:
            attempt()
        assert caught.value.status == 403


# Provider clients


def provider(auth: AuthService, *dependent: str) -> tuple[Client, str]:
    """A registered action provider and the scope it serves."""
    client, _secret = auth.clients.create_client("Provider", scopes=[ProviderScope("action_all", dependent)])
    return client, client.scopes[0]


def test_provider_sees_tokens_for_its_scope_and_no_others(auth: AuthService, client: Client) -> None:
    own, scope = provider(auth)
    other, _ = provider(auth)
    bearer = token(auth, client, scope)
    elsewhere = token(auth, client, TRANSFER)

    seen = auth.introspect(own, bearer, include={"identity_set", "session_info"})
    assert seen["active"] is True
    assert seen["aud"] == [own.client_id]
    assert (seen["sub"], seen["client_id"], seen["scope"]) == (client.client_id, client.client_id, scope)
    assert client.client_id in seen["identity_set"]
    assert seen["session_info"]["authentications"][client.client_id]["auth_time"] == seen["iat"]
    assert {"email", "name", "username", "exp", "nbf", "iss"} <= seen.keys()
    assert auth.introspect(client, bearer)["active"] is True, "the client it was issued to may look too"
    assert "session_info" not in auth.introspect(client, bearer)
    for who, what in [(other, bearer), (own, elsewhere), (own, "nonsense"), (own, "fe_" + "a" * 8 + "_" + "b" * 43)]:
        assert auth.introspect(who, what) == {"active": False}


def test_provider_with_an_audience_sees_tokens_minted_for_that(auth: AuthService, client: Client) -> None:
    named, _ = auth.clients.create_client("Named", audience="https://provider.example")
    bearer = auth.mint(client.client_id, "any", audience="https://provider.example", client_id=FLOW_ID, actor=FLOW_ID)
    seen = auth.introspect(named, bearer)
    assert seen["aud"] == ["https://provider.example"]
    assert seen["act"] == {"sub": FLOW_ID}


def test_dependent_tokens_cover_declared_and_consented_scopes(auth: AuthService, client: Client) -> None:
    own, scope = provider(auth, TRANSFER)
    bearer = token(auth, client, f"{scope}[{TIMER}]")

    answers = auth.dependent_tokens(own, bearer)
    assert {one["resource_server"] for one in answers} == {
        "transfer.api.globus.org",
        "524230d7-ea86-4a52-8312-86065a9e0417",
    }
    caller = auth.authenticate(answers[0]["access_token"])
    assert (caller.identity_id, caller.client_id) == (client.client_id, own.client_id)
    assert [one["scope"] for one in auth.dependent_tokens(own, bearer, TIMER)] == [TIMER]


def test_dependent_tokens_die_with_the_token_they_came_from(auth: AuthService, client: Client) -> None:
    own, scope = provider(auth, TRANSFER)
    bearer = token(auth, client, scope)
    dependent = auth.dependent_tokens(own, bearer)[0]["access_token"]
    auth.revoke(bearer)
    assert is_refused(auth, dependent)


def test_dependent_tokens_reach_down_a_chain_of_providers(auth: AuthService, client: Client) -> None:
    far, far_scope = provider(auth)
    near, near_scope = provider(auth, far_scope)
    first = token(auth, client, f"{near_scope}[{far_scope}[{TRANSFER}]]")
    second = auth.dependent_tokens(near, first)[0]["access_token"]
    third = auth.dependent_tokens(far, second)

    assert [one["resource_server"] for one in third] == ["transfer.api.globus.org"]
    alone = token(auth, client, far_scope)
    assert auth.dependent_tokens(far, alone) == [], "granted only while serving the near provider"


def test_engine_minted_token_carries_what_was_granted_beneath_the_flow(auth: AuthService, client: Client) -> None:
    own, scope = provider(auth)
    token(auth, client, f"{USER}[{scope}[{TRANSFER}]]")
    bearer = auth.mint(client.client_id, scope, client_id=FLOW_ID, actor=FLOW_ID)

    answer = auth.dependent_tokens(own, bearer)
    assert [one["resource_server"] for one in answer] == ["transfer.api.globus.org"]
    assert not auth.authenticate(answer[0]["access_token"]).is_service_administrator


def test_dependent_token_without_consent_names_what_is_required(auth: AuthService, client: Client) -> None:
    own, scope = provider(auth)
    with pytest.raises(ServiceError) as caught:
        auth.dependent_tokens(own, token(auth, client, scope), TRANSFER)
    assert (caught.value.status, caught.value.code) == (403, "CONSENT_REQUIRED")
    assert caught.value.extra == {"code": "ConsentRequired", "required_scopes": [f"{scope}[{TRANSFER}]"]}


def test_only_the_resource_server_of_a_token_gets_dependent_tokens(auth: AuthService, client: Client) -> None:
    _, scope = provider(auth, TRANSFER)
    thief, _ = provider(auth)
    for bearer in (token(auth, client, scope), "nonsense"):
        with pytest.raises(ServiceError) as caught:
            auth.dependent_tokens(thief, bearer)
        assert (caught.value.status, caught.value.code) == (400, "INVALID_GRANT")


# Consents


def names(auth: AuthService, identity_id: str, *, root_client: str | None = None) -> list[list[str]]:
    """Consents as the scope names along their paths."""
    caller = replace(auth.caller_for_identity(identity_id, ()), client_id=root_client)
    found = auth.consents_of(caller, identity_id, root_client=root_client)
    by_no = {one["id"]: one["scope_name"] for one in found}
    return sorted([by_no[no] for no in one["dependency_path"]] for one in found)


def test_nested_scopes_are_recorded_once_as_a_forest(auth: AuthService, client: Client) -> None:
    for _ in range(2):
        auth.client_credentials(client, f"{TIMER}[{TRANSFER}[*{DATA_ACCESS}]] {TRANSFER}")
    assert names(auth, client.client_id) == sorted(
        [[TIMER], [TIMER, TRANSFER], [TIMER, TRANSFER, DATA_ACCESS], [TRANSFER]]
    )
    assert auth.has_consent(client.client_id, [TIMER, TRANSFER, DATA_ACCESS])
    assert not auth.has_consent(client.client_id, [TRANSFER, DATA_ACCESS])
    assert not auth.has_consent(client.client_id, [])


def test_what_was_granted_beneath_a_scope_is_known_at_any_depth_and_nowhere_else(
    auth: AuthService, client: Client
) -> None:
    before = auth.consent_changes
    auth.client_credentials(client, f"{USER}[{TRANSFER}[*{DATA_ACCESS}]] {FLOWS_ALL} {TIMER}[{USER}]")

    assert auth.granted_beneath(client.client_id, USER) == {TRANSFER, DATA_ACCESS}
    assert auth.granted_beneath(client.client_id, TRANSFER) == frozenset(), "it was granted beneath the flow's alone"
    assert auth.granted_beneath(FLOW_ID, USER) == frozenset()
    assert auth.consent_changes > before


def test_requests_at_the_same_moment_record_one_consent_each(auth: AuthService, client: Client) -> None:
    asked = [f"{TIMER}[{TRANSFER}] {TRANSFER}", f"{TRANSFER} {TIMER}[{TRANSFER}]"] * 4
    with ThreadPoolExecutor(len(asked)) as threads:
        answers = list(threads.map(lambda scope: auth.client_credentials(client, scope), asked))
    assert len({one["access_token"] for one in answers}) == len(asked)
    assert names(auth, client.client_id) == sorted([[TIMER], [TIMER, TRANSFER], [TRANSFER]])


def test_consent_names_who_may_use_the_scope(auth: AuthService, client: Client, clock: VirtualClock) -> None:
    auth.client_credentials(client, f"{TIMER}[*{TRANSFER}]")
    clock.advance(60)
    auth.client_credentials(client, TIMER)
    root, child = auth.consents_of(
        auth.caller_for_identity(client.client_id, ()), client.client_id, root_client=client.client_id
    )

    assert (root["client"], child["client"]) == (client.client_id, "524230d7-ea86-4a52-8312-86065a9e0417")
    assert (root["atomically_revocable"], child["atomically_revocable"]) == (False, True)
    assert child["dependency_path"] == [root["id"], child["id"]]
    assert root["last_used"] > root["created"] == child["last_used"]
    assert len(root) == 13


def test_consents_of_another_client_are_shown_only_when_all_are_asked_for(auth: AuthService, client: Client) -> None:
    auth.client_credentials(client, TRANSFER)
    assert names(auth, client.client_id, root_client=FLOW_ID) == []
    assert names(auth, client.client_id) == [[TRANSFER]]


def test_consents_are_shown_to_their_owner_and_to_administrators(auth: AuthService, client: Client) -> None:
    other, _ = auth.clients.create_client("Other")
    stranger = auth.authenticate(token(auth, other))
    administrator = auth.authenticate(token(auth, client))

    assert auth.consents_of(administrator, other.client_id, root_client=None)
    with pytest.raises(ServiceError) as caught:
        auth.consents_of(stranger, client.client_id, root_client=None)
    assert caught.value.status == 403


# The registry


def test_deleted_client_leaves_nothing_that_works(auth: AuthService, client: Client) -> None:
    own, scope = provider(auth, TRANSFER)
    in_its_name, for_its_scope = token(auth, own), token(auth, client, scope)
    dependent = auth.dependent_tokens(own, for_its_scope)[0]["access_token"]
    auth.authenticate(in_its_name)

    auth.clients.delete_client(own.client_id)

    assert all(is_refused(auth, one) for one in (in_its_name, for_its_scope, dependent))
    assert names(auth, client.client_id) == []
    assert own.client_id not in {one.client_id for one in auth.clients.list_clients()}
    assert auth.identities_by_id([own.client_id])[0]["status"] == "closed"
    with pytest.raises(ServiceError, match="No such scope"):
        token(auth, client, scope)


def test_client_of_the_installation_cannot_be_deleted(auth: AuthService, client: Client) -> None:
    with pytest.raises(StateConflict):
        auth.clients.delete_client(client.client_id)


def test_rotation_ends_the_old_secret_and_the_tokens_it_gave(auth: AuthService) -> None:
    created, old = auth.clients.create_client("Provider")
    bearer = token(auth, created)
    new = auth.clients.rotate_secret(created.client_id)

    assert is_refused(auth, bearer)
    assert auth.authenticate_client(created.client_id, new).client_id == created.client_id
    with pytest.raises(ServiceError) as caught:
        auth.authenticate_client(created.client_id, old)
    assert (caught.value.status, caught.value.code) == (401, "UNAUTHORIZED")


def test_unknown_client_cannot_be_changed(auth: AuthService) -> None:
    for attempt in (auth.clients.delete_client, auth.clients.rotate_secret):
        with pytest.raises(NotFound):
            attempt(FLOW_ID)


@pytest.mark.parametrize(
    ("name", "scopes", "audience", "complaint"),
    [
        ("  ", [], None, "a client needs a name"),
        ("Provider", ["two words"], None, "not the end of a scope"),
        ("Provider", ["a", "a"], None, "named twice"),
        ("Provider", ["/a"], None, "not the end of a scope"),
        ("Provider", [], "transfer.api.globus.org", "not free"),
        ("Provider", [], "taken.example", "audience of another client"),
    ],
)
def test_unacceptable_client_is_refused(
    auth: AuthService, name: str, scopes: list[str], audience: str | None, complaint: str
) -> None:
    auth.clients.create_client("First", audience="taken.example")
    with pytest.raises(Unprocessable, match=complaint):
        auth.clients.create_client(name, scopes=[ProviderScope(one) for one in scopes], audience=audience)


def test_client_with_a_dependency_that_does_not_exist_is_refused(auth: AuthService) -> None:
    with pytest.raises(ServiceError, match="No such scope: nope"):
        provider(auth, "nope")


# Identities


def test_identities_are_found_and_the_unknown_left_out(
    auth: AuthService, client: Client, installation: Installation
) -> None:
    ids = [installation.administrator_id, FLOW_ID, "not-a-uuid", client.client_id.upper()]
    assert {one["id"] for one in auth.identities_by_id(ids)} == {installation.administrator_id, client.client_id}
    found = auth.identities_by_username([f"{client.client_id}@Clients.auth.globus.org", "x@y.org", "a\0b"])
    assert [one["id"] for one in found] == [client.client_id]


def test_provisioned_identity_is_unused_and_stays_the_same(auth: AuthService, client: Client) -> None:
    first = auth.provision_identities(["Alice@Example.org", "alice@example.org"])
    again = auth.provision_identities(["alice@example.org"])
    assert first == again
    assert (first[0]["username"], first[0]["status"], first[0]["email"]) == (
        "alice@example.org",
        "unused",
        "alice@example.org",
    )


@pytest.mark.parametrize("username", ["alice", "a b@c.org", "a@b\r\nBcc: x@y.org", "@c.org", "a@", "a@b..c", "x" * 300])
def test_text_that_is_no_username_is_not_provisioned(auth: AuthService, username: str) -> None:
    with pytest.raises(Unprocessable, match=r"such as alice@example\.org"):
        auth.provision_identities([username])


def test_more_than_a_hundred_identities_at_once_are_refused(auth: AuthService) -> None:
    with pytest.raises(ServiceError, match="limit is 100"):
        auth.identities_by_id([FLOW_ID] * 101)
