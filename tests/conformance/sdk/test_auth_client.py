"""The Auth clients of ``globus_sdk``, unmodified: tokens, introspection, identities, consents, discovery."""

from __future__ import annotations

import uuid
from collections.abc import Iterator

import globus_sdk
import jwt
import pytest
from globus_sdk import scopes

from tests.conformance.sdk.flows import NESTED_SCOPE, PASS
from tests.conformance.sdk.server import Credentials, Server

FLOWS_ALL = str(scopes.FlowsScopes.all)
VIEW_GROUPS = str(scopes.GroupsScopes.view_my_groups_and_memberships)


def confidential(who: Credentials) -> globus_sdk.ConfidentialAppAuthClient:
    return globus_sdk.ConfidentialAppAuthClient(who.client_id, who.client_secret)


@pytest.fixture
def mine(server: Server, environment: None) -> Iterator[globus_sdk.ConfidentialAppAuthClient]:
    with confidential(server.owner) as client:
        yield client


@pytest.fixture
def auth(app: globus_sdk.ClientApp) -> Iterator[globus_sdk.AuthClient]:
    with globus_sdk.AuthClient(app=app) as client:
        client.add_app_scope([scopes.AuthScopes.view_identities, scopes.AuthScopes.manage_projects])
        client.add_app_scope([scopes.AuthScopes.profile, scopes.AuthScopes.email, scopes.AuthScopes.view_identity_set])
        yield client


@pytest.fixture
def provider(server: Server) -> Credentials:
    """A registered action provider whose scope brings the groups scope along."""
    return server.register("Provider", scopes=["action_all"], dependent=VIEW_GROUPS)


def scope_of(provider: Credentials) -> str:
    return f"https://auth.globus.org/scopes/{provider.client_id}/action_all"


def test_one_request_gives_one_token_for_each_service(mine: globus_sdk.ConfidentialAppAuthClient) -> None:
    answer = mine.oauth2_client_credentials_tokens(
        requested_scopes=[FLOWS_ALL, NESTED_SCOPE, "openid", "profile", f"{FLOWS_ALL}"]
    )

    tokens = answer.by_resource_server
    assert set(tokens) == {"flows.globus.org", "transfer.api.globus.org", "auth.globus.org"}
    assert tokens["flows.globus.org"]["scope"] == FLOWS_ALL
    assert len({one["access_token"] for one in tokens.values()}) == 3
    assert answer.decode_id_token()["sub"] == str(mine.client_id)


def test_the_id_token_is_verified_by_the_published_key(mine: globus_sdk.ConfidentialAppAuthClient) -> None:
    answer = mine.oauth2_client_credentials_tokens(requested_scopes="openid")
    configuration = mine.get_openid_configuration()
    key = mine.get_jwk(openid_configuration=configuration, as_pem=True)

    claims = jwt.decode(
        answer["id_token"],
        key,
        algorithms=configuration["id_token_signing_alg_values_supported"],
        audience=str(mine.client_id),
        issuer=configuration["issuer"],
    )
    assert claims["sub"] == str(mine.client_id)


def test_a_token_is_introspected_until_it_is_revoked(mine: globus_sdk.ConfidentialAppAuthClient) -> None:
    answer = mine.oauth2_client_credentials_tokens(requested_scopes=FLOWS_ALL)
    token = answer.by_resource_server["flows.globus.org"]["access_token"]

    seen = mine.oauth2_token_introspect(token, include="identity_set,session_info")
    assert seen["active"] is True
    assert (seen["sub"], seen["client_id"], seen["scope"]) == (str(mine.client_id), str(mine.client_id), FLOWS_ALL)
    assert "flows.globus.org" in seen["aud"]
    assert str(mine.client_id) in seen["identity_set"]
    assert isinstance(seen["session_info"]["authentications"], dict)

    assert mine.oauth2_revoke_token(token)["active"] is False
    assert mine.oauth2_token_introspect(token).data == {"active": False}


def test_what_belongs_to_others_cannot_be_introspected(
    server: Server, mine: globus_sdk.ConfidentialAppAuthClient
) -> None:
    answer = mine.oauth2_client_credentials_tokens(requested_scopes=FLOWS_ALL)

    with confidential(server.stranger) as other:
        assert other.oauth2_token_introspect(answer["access_token"]).data == {"active": False}


def test_a_provider_exchanges_the_token_it_was_sent_for_those_beneath(
    mine: globus_sdk.ConfidentialAppAuthClient, provider: Credentials
) -> None:
    answer = mine.oauth2_client_credentials_tokens(requested_scopes=scope_of(provider))
    sent = answer.by_resource_server[provider.client_id]["access_token"]

    with confidential(provider) as service:
        assert service.oauth2_token_introspect(sent)["sub"] == str(mine.client_id)
        dependent = service.oauth2_get_dependent_tokens(sent)
        assert dependent.by_scopes[VIEW_GROUPS]["resource_server"] == "groups.api.globus.org"
        with pytest.raises(globus_sdk.AuthAPIError) as caught:
            service.oauth2_get_dependent_tokens(sent, scope=NESTED_SCOPE)
    assert caught.value.http_status == 403
    assert caught.value.info.consent_required.required_scopes
    with pytest.raises(globus_sdk.AuthAPIError, match="INVALID_GRANT"):
        mine.oauth2_get_dependent_tokens(sent)


def test_userinfo_and_identities_name_the_client(server: Server, auth: globus_sdk.AuthClient) -> None:
    me = auth.userinfo()
    assert me["sub"] == server.owner.client_id
    assert me["preferred_username"] == f"{server.owner.client_id}@clients.auth.globus.org"
    assert {one["sub"] for one in me["identity_set"]} >= {server.owner.client_id}

    both = auth.get_identities(ids=[server.owner.client_id, server.stranger.client_id, str(uuid.uuid4())])
    assert {one["id"] for one in both["identities"]} == {server.owner.client_id, server.stranger.client_id}
    assert both["identities"][0]["status"] == "used"
    new = auth.get_identities(usernames="new.person@example.org", provision=True)["identities"][0]
    assert auth.get_identities(ids=new["id"])["identities"][0]["username"] == "new.person@example.org"


def test_nested_scopes_are_found_again_among_the_consents(
    server: Server, app: globus_sdk.ClientApp, flows: globus_sdk.FlowsClient, auth: globus_sdk.AuthClient
) -> None:
    flow = flows.create_flow("Consents", PASS, {})
    wanted = globus_sdk.Scope(flow["globus_auth_scope"], dependencies=(globus_sdk.Scope(NESTED_SCOPE),))
    with confidential(server.owner) as mine:
        mine.oauth2_client_credentials_tokens(requested_scopes=wanted)

    forest = auth.get_consents(server.owner.client_id).to_forest()
    assert forest.meets_scope_requirements(wanted)
    assert forest.meets_scope_requirements(flow["globus_auth_scope"])
    assert not forest.meets_scope_requirements(f"{FLOWS_ALL}[{NESTED_SCOPE}]")
    other = globus_sdk.ClientApp(
        "other", client_id=server.stranger.client_id, client_secret=server.stranger.client_secret
    )
    with other, globus_sdk.AuthClient(app=other) as theirs:
        theirs.add_app_scope([scopes.AuthScopes.manage_projects])
        with pytest.raises(globus_sdk.AuthAPIError) as caught:
            theirs.get_consents(server.owner.client_id)
    assert caught.value.http_status == 403


@pytest.mark.parametrize(
    ("scope", "secret", "status", "code"),
    [
        ("urn:no:such:scope", None, 400, "UNKNOWN_SCOPE"),
        ("openid[", None, 400, "INVALID_SCOPE"),
        (FLOWS_ALL, "not the secret", 401, "UNAUTHORIZED"),
        (str(scopes.SpecificFlowScopes(str(uuid.UUID(int=7))).user), None, 400, "UNKNOWN_SCOPE"),
    ],
)
def test_a_refused_token_request_says_why_and_is_not_retried(
    requests: list[str], server: Server, environment: None, scope: str, secret: str | None, status: int, code: str
) -> None:
    requests.clear()
    who = Credentials(server.owner.client_id, secret or server.owner.client_secret)
    with confidential(who) as client, pytest.raises(globus_sdk.AuthAPIError) as caught:
        client.oauth2_client_credentials_tokens(requested_scopes=scope)

    error = caught.value
    assert (error.http_status, error.code) == (status, code)
    assert error.message
    assert uuid.UUID(error.request_id)
    assert requests == ["POST /auth/v2/oauth2/token"]


def test_an_app_logs_out(server: Server, app: globus_sdk.ClientApp, flows: globus_sdk.FlowsClient) -> None:
    flows.list_flows()
    token = app.token_storage.get_token_data("flows.globus.org").access_token

    app.logout()

    late = globus_sdk.FlowsClient(authorizer=globus_sdk.AccessTokenAuthorizer(token))
    with late, pytest.raises(globus_sdk.FlowsAPIError) as caught:
        late.list_flows()
    assert (caught.value.http_status, caught.value.code) == (401, "AUTHENTICATION_ERROR")
