"""The Auth API as the official client sees it, over a real socket, and as a careless or hostile one sees it."""

from __future__ import annotations

import base64
import http.client
import json
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import globus_sdk
import pytest
from flask import Flask, jsonify, request
from flask.testing import FlaskClient
from globus_sdk.scopes import FlowsScopes, GCSCollectionScopes, SpecificFlowScopes, TimersScopes, TransferScopes
from globus_sdk.token_storage import MemoryTokenStorage
from werkzeug.serving import make_server
from werkzeug.test import TestResponse

from flows_engine.api.auth_api import MAX_BODY_BYTES, create_blueprint
from flows_engine.api.bearer import bearer_token, optional_bearer_token
from flows_engine.auth import bootstrap, tables
from flows_engine.auth.bootstrap import Installation
from flows_engine.auth.clients import ProviderScope
from flows_engine.auth.keys import Keys
from flows_engine.auth.scopes import ScopeBook
from flows_engine.auth.service import AuthService, AuthSettings
from flows_engine.clock import SystemClock
from flows_engine.store.db import SqlDatabase
from schemas.errors import ServiceError

FLOW_ID = "11111111-2222-4333-8444-555555555555"
COLLECTION_ID = "99999999-2222-4333-8444-555555555555"
FLOWS = FlowsScopes.all.scope_string
TRANSFER = TransferScopes.all.scope_string
TOKEN = "/auth/v2/oauth2/token"


@pytest.fixture(scope="module")
def keys_made_once(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("installation")
    Keys.open(folder)
    return folder


class Site:
    """The Auth API under ``/auth`` of an application, with the credentials of its installation."""

    def __init__(self, db: SqlDatabase, data_dir: Path) -> None:
        tables.metadata.create_all(db.engine)
        self.installation: Installation = bootstrap.ensure_installation(db, SystemClock(), data_dir)
        credentials = json.loads(self.installation.client_file.read_text())
        self.client_id, self.secret = credentials["client_id"], credentials["client_secret"]
        self.app = Flask("site")
        self.server = make_server("127.0.0.1", 0, self.app, threaded=True)
        self.url = f"http://127.0.0.1:{self.server.server_port}/auth/"
        self.auth = AuthService(
            db,
            SystemClock(),
            keys=self.installation.keys,
            settings=AuthSettings(public_url=self.url),
            book=ScopeBook(flow_exists=FLOW_ID.__eq__, collection_exists=COLLECTION_ID.__eq__),
        )
        self.app.register_blueprint(create_blueprint(self.auth), url_prefix="/auth")

    @property
    def basic(self) -> dict[str, str]:
        encoded = base64.b64encode(f"{self.client_id}:{self.secret}".encode()).decode()
        return {"Authorization": f"Basic {encoded}"}

    def bearer(self, scope: str = "openid") -> dict[str, str]:
        answer = self.auth.client_credentials(self.auth.authenticate_client(self.client_id, self.secret), scope)
        return {"Authorization": f"Bearer {answer['access_token']}"}


@pytest.fixture
def site(database: SqlDatabase, tmp_path: Path, keys_made_once: Path) -> Iterator[Site]:
    data_dir = tmp_path / "data"
    (data_dir / "keys").mkdir(parents=True)
    for file in (keys_made_once / "keys").iterdir():
        (data_dir / "keys" / file.name).touch(mode=0o600)
        (data_dir / "keys" / file.name).write_bytes(file.read_bytes())
    one = Site(database, data_dir)
    yield one
    one.server.server_close()


@pytest.fixture
def http_client(site: Site) -> FlaskClient:
    return site.app.test_client()


@pytest.fixture
def running(site: Site, monkeypatch: pytest.MonkeyPatch) -> Iterator[Site]:
    """The site, listening, with the official client pointed at it as a user would do it."""
    monkeypatch.setenv("GLOBUS_SDK_ENVIRONMENT", "flows-engine-tests")
    monkeypatch.setenv("GLOBUS_SDK_SERVICE_URL_AUTH", site.url)
    thread = threading.Thread(target=site.server.serve_forever)
    thread.start()
    yield site
    site.server.shutdown()
    thread.join()


def login(site: Site) -> globus_sdk.ConfidentialAppAuthClient:
    return globus_sdk.ConfidentialAppAuthClient(site.client_id, site.secret)


# The official client


def test_official_client_gets_tokens_across_services(running: Site) -> None:
    client = login(running)
    answer = client.oauth2_client_credentials_tokens(
        requested_scopes=[FlowsScopes.all, TransferScopes.all, "openid", "email", SpecificFlowScopes(FLOW_ID).user]
    )
    assert set(answer.by_resource_server) == {
        "flows.globus.org",
        "transfer.api.globus.org",
        "auth.globus.org",
        FLOW_ID,
    }
    assert answer.decode_id_token()["sub"] == running.client_id
    assert client.oauth2_token_introspect(answer.by_resource_server[FLOW_ID]["access_token"])["active"] is True


def test_official_app_fetches_and_forgets_tokens(running: Site) -> None:
    config = globus_sdk.GlobusAppConfig(token_storage=MemoryTokenStorage())
    app = globus_sdk.ClientApp("tests", client_id=running.client_id, client_secret=running.secret, config=config)
    client = globus_sdk.AuthClient(app=app)

    assert client.userinfo()["sub"] == running.client_id
    app.add_scope_requirements({"transfer.api.globus.org": TransferScopes.all})
    bearer = app.get_authorizer("transfer.api.globus.org").get_authorization_header()
    assert running.auth.is_active(str(bearer).removeprefix("Bearer "))
    app.logout()
    assert not running.auth.is_active(str(bearer).removeprefix("Bearer "))


def test_official_client_introspects_validates_and_revokes(running: Site) -> None:
    client = login(running)
    bearer = client.oauth2_client_credentials_tokens("openid").by_resource_server["auth.globus.org"]["access_token"]

    seen = client.oauth2_token_introspect(bearer, include="identity_set,session_info")
    assert seen["username"] == f"{running.client_id}@clients.auth.globus.org"
    assert set(seen["identity_set"]) == {running.client_id, running.installation.administrator_id}
    assert list(seen["session_info"]["authentications"]) == [running.client_id]
    validate = "/v2/oauth2/token/validate"
    assert client.post(validate, data={"token": bearer}, encoding="form")["active"] is True

    assert client.oauth2_revoke_token(bearer)["active"] is False
    assert client.oauth2_token_introspect(bearer).data == {"active": False}
    assert client.post(validate, data={"token": bearer}, encoding="form")["active"] is False


def test_official_client_reads_userinfo_and_identities(running: Site) -> None:
    scope = "openid profile email urn:globus:auth:scope:auth.globus.org:view_identity_set"
    answer = login(running).oauth2_client_credentials_tokens(scope)
    token = answer.by_resource_server["auth.globus.org"]["access_token"]
    client = globus_sdk.AuthClient(authorizer=globus_sdk.AccessTokenAuthorizer(token))

    userinfo = client.userinfo()
    assert userinfo["preferred_username"] == f"{running.client_id}@clients.auth.globus.org"
    assert {one["sub"] for one in userinfo["identity_set"]} == {
        running.client_id,
        running.installation.administrator_id,
    }
    assert client.get_identities(usernames="new@example.org")["identities"] == []
    (made,) = client.get_identities(usernames="new@example.org", provision=True)["identities"]
    assert (made["username"], made["status"]) == ("new@example.org", "unused")
    names = globus_sdk.IdentityMap(client, ["new@example.org", running.client_id])
    assert names["new@example.org"]["id"] == made["id"]
    assert names[running.client_id]["username"] == userinfo["preferred_username"]


def test_official_client_finds_the_nested_consents_it_asked_for(running: Site) -> None:
    nested = TimersScopes.timer.with_dependency(
        TransferScopes.all.with_dependency(GCSCollectionScopes(COLLECTION_ID).data_access.with_optional(True))
    )
    client = login(running)
    client.oauth2_client_credentials_tokens(nested)
    token = client.oauth2_client_credentials_tokens("openid").by_resource_server["auth.globus.org"]["access_token"]
    consents = globus_sdk.AuthClient(authorizer=globus_sdk.AccessTokenAuthorizer(token))

    forest = consents.get_consents(running.client_id).to_forest()
    assert forest.meets_scope_requirements(nested)
    assert forest.meets_scope_requirements("openid")
    assert not forest.meets_scope_requirements(TransferScopes.all)
    assert consents.get_consents(running.client_id, all=True).to_forest().meets_scope_requirements(nested)


def test_official_client_of_a_provider_acts_on_for_its_caller(running: Site) -> None:
    provider, secret = running.auth.clients.create_client("Provider", scopes=[ProviderScope("action_all", (TRANSFER,))])
    (scope,) = provider.scopes
    bearer = login(running).oauth2_client_credentials_tokens(scope).by_resource_server[provider.client_id]
    service = globus_sdk.ConfidentialAppAuthClient(provider.client_id, secret)

    assert service.oauth2_token_introspect(bearer["access_token"])["aud"] == [provider.client_id]
    dependent = service.oauth2_get_dependent_tokens(bearer["access_token"])
    token = dependent.by_resource_server["transfer.api.globus.org"]["access_token"]
    assert running.auth.authenticate(token).identity_id == running.client_id
    with pytest.raises(globus_sdk.AuthAPIError) as caught:
        service.oauth2_get_dependent_tokens(bearer["access_token"], scope=FLOWS)
    assert caught.value.info.consent_required
    assert caught.value.info.consent_required.required_scopes == [f"{scope}[{FLOWS}]"]


def test_official_client_understands_our_errors(running: Site) -> None:
    with pytest.raises(globus_sdk.AuthAPIError) as caught:
        globus_sdk.ConfidentialAppAuthClient(running.client_id, "wrong").oauth2_client_credentials_tokens("openid")
    assert (caught.value.http_status, caught.value.code) == (401, "UNAUTHORIZED")
    assert caught.value.request_id
    with pytest.raises(globus_sdk.AuthAPIError, match="No such scope: nope") as caught:
        login(running).oauth2_client_credentials_tokens("openid nope")
    assert (caught.value.http_status, caught.value.raw_json["error"]) == (400, "unknown_scope")  # type: ignore[index]  # an object
    with pytest.raises(globus_sdk.AuthAPIError) as caught:
        globus_sdk.AuthClient(authorizer=globus_sdk.AccessTokenAuthorizer("nonsense")).userinfo()
    assert (caught.value.http_status, caught.value.code) == (401, "UNAUTHORIZED")


def test_two_authorization_headers_are_refused(running: Site) -> None:
    token = running.bearer()["Authorization"]
    connection = http.client.HTTPConnection("127.0.0.1", running.server.server_port)
    connection.putrequest("GET", "/auth/v2/oauth2/userinfo")
    connection.putheader("Authorization", token)
    connection.putheader("Authorization", token)
    connection.endheaders()
    assert connection.getresponse().status == 401
    connection.close()


# Anybody else


def envelope(response: TestResponse) -> dict[str, Any]:
    """The one error of an answer that has the Auth envelope, complete."""
    assert response.mimetype == "application/json"
    document = response.json
    assert document is not None
    (error,) = document["errors"]
    assert error["status"] == str(response.status_code)
    assert set(error) == {"status", "id", "code", "detail", "title"}
    assert document["error"] == error["code"].lower()
    assert document["error_description"] == error["detail"]
    return dict(error)


@pytest.mark.parametrize(
    ("method", "path", "status", "code"),
    [
        ("GET", "/auth/", 404, "NOT_FOUND"),
        ("GET", "/auth/v2/nothing", 404, "NOT_FOUND"),
        ("DELETE", "/auth/v2/api/clients/x", 404, "NOT_FOUND"),
        ("GET", TOKEN, 405, "METHOD_NOT_ALLOWED"),
        ("PUT", "/auth/v2/oauth2/userinfo", 405, "METHOD_NOT_ALLOWED"),
        ("OPTIONS", TOKEN, 405, "METHOD_NOT_ALLOWED"),
        ("POST", "/auth/v2/api/identities", 405, "METHOD_NOT_ALLOWED"),
        ("GET", "/auth/v2/oauth2/userinfo", 401, "UNAUTHORIZED"),
        ("GET", "/auth/v2/api/identities?ids=x", 401, "UNAUTHORIZED"),
        ("GET", f"/auth/v2/api/identities/{FLOW_ID}/consents", 401, "UNAUTHORIZED"),
        ("POST", TOKEN, 401, "UNAUTHORIZED"),
    ],
)
def test_every_error_has_the_auth_envelope(
    http_client: FlaskClient, method: str, path: str, status: int, code: str
) -> None:
    response = http_client.open(path, method=method)
    assert response.status_code == status
    assert envelope(response)["code"] == code
    assert ("Allow" in response.headers) == (status == 405)
    assert ("WWW-Authenticate" in response.headers) == (status == 401)


@pytest.mark.parametrize(
    ("form", "status", "code"),
    [
        ({}, 400, "INVALID_REQUEST"),
        ({"grant_type": "password"}, 400, "UNSUPPORTED_GRANT_TYPE"),
        ({"grant_type": "client_credentials"}, 400, "INVALID_SCOPE"),
        ({"grant_type": "client_credentials", "scope": "a[b"}, 400, "INVALID_SCOPE"),
        ({"grant_type": "client_credentials", "scope": "nope"}, 400, "UNKNOWN_SCOPE"),
        ({"grant_type": "client_credentials", "scope": "openid", "client_id": FLOW_ID}, 400, "INVALID_REQUEST"),
        ({"grant_type": "client_credentials", "scope": "openid", "client_secret": "x"}, 400, "INVALID_REQUEST"),
        ({"grant_type": "client_credentials", "scope": ["openid", "email"]}, 400, "INVALID_REQUEST"),
        ({"grant_type": "urn:globus:auth:grant_type:dependent_token"}, 400, "INVALID_REQUEST"),
        ({"grant_type": "urn:globus:auth:grant_type:dependent_token", "token": "x"}, 400, "INVALID_GRANT"),
    ],
)
def test_token_request_that_is_wrong_is_refused(
    http_client: FlaskClient, site: Site, form: dict[str, Any], status: int, code: str
) -> None:
    response = http_client.post(TOKEN, data=form, headers=site.basic)
    assert (response.status_code, envelope(response)["code"]) == (status, code)


def test_client_may_prove_itself_in_the_form(http_client: FlaskClient, site: Site) -> None:
    form = {"grant_type": "client_credentials", "scope": FLOWS}
    good = http_client.post(TOKEN, data={**form, "client_id": site.client_id, "client_secret": site.secret})
    bad = http_client.post(TOKEN, data={**form, "client_id": site.client_id, "client_secret": site.secret[:-1]})
    assert good.json is not None
    assert (good.json["resource_server"], good.json["other_tokens"]) == ("flows.globus.org", [])
    assert good.headers["Cache-Control"] == "no-store"
    assert bad.status_code == 401


@pytest.mark.parametrize("header", ["Basic", "Basic !!!", "Basic bm9jb2xvbg==", "Basic //79", "Digest x", "Bearer x"])
def test_client_authentication_that_cannot_be_read_is_refused(http_client: FlaskClient, header: str) -> None:
    response = http_client.post(TOKEN, data={"grant_type": "client_credentials"}, headers={"Authorization": header})
    assert response.status_code == 401
    assert response.headers["WWW-Authenticate"].startswith("Basic")


def test_body_that_is_not_a_form_or_too_large_is_refused(http_client: FlaskClient, site: Site) -> None:
    as_json = http_client.post(TOKEN, json={"grant_type": "client_credentials"}, headers=site.basic)
    assert (as_json.status_code, envelope(as_json)["code"]) == (415, "UNSUPPORTED_MEDIA_TYPE")
    large = http_client.post(TOKEN, data={"scope": "x" * MAX_BODY_BYTES}, headers=site.basic)
    assert (large.status_code, envelope(large)["code"]) == (413, "REQUEST_ENTITY_TOO_LARGE")


@pytest.mark.parametrize(
    "path",
    [
        "/auth/v2/oauth2/userinfo?access_token={}",
        "/auth/v2/oauth2/userinfo?x={}",
        "/auth/v2/api/identities?ids={}",
        "/auth/v2/oauth2/userinfo?Access_Token=anything",
    ],
)
def test_token_in_the_address_is_refused_even_with_a_good_header(
    http_client: FlaskClient, site: Site, path: str
) -> None:
    header = site.bearer()
    response = http_client.get(path.format(header["Authorization"].removeprefix("Bearer ")), headers=header)
    assert response.status_code == 400
    assert "send it in the Authorization header" in envelope(response)["detail"]


def test_secret_in_the_address_of_a_token_request_is_refused(http_client: FlaskClient, site: Site) -> None:
    query = {"client_id": site.client_id, "client_secret": site.secret}
    assert http_client.post(TOKEN, query_string=query, data={"grant_type": "client_credentials"}).status_code == 400


@pytest.mark.parametrize(
    "header", ["", "Bearer", "Bearer ", "Basic x", "Bearer a b", "Bearer ä", "Bearer " + "x" * 100_000]
)
def test_bearer_header_that_is_wrong_is_refused(http_client: FlaskClient, header: str) -> None:
    response = http_client.get("/auth/v2/oauth2/userinfo", headers={"Authorization": header})
    assert (response.status_code, envelope(response)["code"]) == (401, "UNAUTHORIZED")


def test_token_of_another_service_opens_nothing_here(http_client: FlaskClient, site: Site) -> None:
    header = site.bearer(TRANSFER)
    for path in ("oauth2/userinfo", "api/identities?ids=x", f"api/identities/{site.client_id}/consents"):
        response = http_client.get(f"/auth/v2/{path}", headers=header)
        assert (response.status_code, envelope(response)["code"]) == (403, "FORBIDDEN"), path


def test_revoking_nothing_and_revoking_without_credentials_succeed(http_client: FlaskClient, site: Site) -> None:
    token = site.bearer()["Authorization"].removeprefix("Bearer ")
    revoke = "/auth/v2/oauth2/token/revoke"
    for form in (
        {},
        {"client_id": site.client_id},
        {"token": "nonsense"},
        {"client_id": site.client_id, "token": token},
    ):
        response = http_client.post(revoke, data=form)
        assert (response.status_code, response.json) == (200, {"active": False})
    assert not site.auth.is_active(token)
    wrong = base64.b64encode(f"{site.client_id}:wrong".encode()).decode()
    assert http_client.post(revoke, headers={"Authorization": f"Basic {wrong}"}).status_code == 401


@pytest.mark.parametrize(
    ("query", "status"),
    [
        ("", 400),
        ("ids=x&usernames=y", 400),
        ("usernames=a@b.org&provision=perhaps", 400),
        ("usernames=not%20one&provision=1", 422),
        ("usernames=a%00b", 200),
        ("ids=", 200),
        (f"ids={FLOW_ID},{FLOW_ID}", 200),
        ("ids=" + ",".join([FLOW_ID] * 101), 400),
    ],
)
def test_identities_query_is_checked(http_client: FlaskClient, site: Site, query: str, status: int) -> None:
    response = http_client.get(f"/auth/v2/api/identities?{query}", headers=site.basic)
    assert response.status_code == status
    if status == 200:
        assert response.json == {"identities": []}
    else:
        envelope(response)


def test_consents_of_something_that_is_no_identity_are_refused(http_client: FlaskClient, site: Site) -> None:
    response = http_client.get("/auth/v2/api/identities/me/consents", headers=site.bearer())
    assert (response.status_code, envelope(response)["code"]) == (400, "INVALID_REQUEST")


def test_our_own_fault_answers_with_the_envelope_and_no_details(
    http_client: FlaskClient, site: Site, database: SqlDatabase
) -> None:
    tables.metadata.drop_all(database.engine)
    response = http_client.post(TOKEN, data={"grant_type": "client_credentials"}, headers=site.basic)
    assert response.status_code == 500
    assert "auth_clients" not in envelope(response)["detail"]


def test_discovery_leads_to_the_routes_there_are(http_client: FlaskClient, site: Site) -> None:
    document = http_client.get("/auth/.well-known/openid-configuration").json
    assert document is not None
    assert document["issuer"] == site.url.rstrip("/")
    for member in ("token_endpoint", "revocation_endpoint", "introspection_endpoint", "userinfo_endpoint", "jwks_uri"):
        path = document[member].removeprefix(site.url.removesuffix("/auth/"))
        assert http_client.open(path, method="POST").status_code != 404, member
    keys = http_client.get("/auth/jwk.json").json
    assert keys is not None
    assert [key["kty"] for key in keys["keys"]] == ["RSA"]
    assert "d" not in keys["keys"][0]


@pytest.mark.parametrize(
    ("headers", "query", "expected"),
    [
        ({"Authorization": "bearer abc"}, "", ("abc", "abc")),
        ({}, "", (401, None)),
        ({"Authorization": "Bearer a,Bearer b"}, "", (401, 401)),
        ({"Authorization": "Basic abc"}, "", (401, 401)),
        ({"Authorization": "Bearer abc"}, "?token=abc", (400, 400)),
        ({}, "?access_token=abc", (400, 400)),
    ],
)
def test_other_apis_read_the_bearer_token_by_the_same_rules(
    headers: dict[str, str], query: str, expected: tuple[object, object]
) -> None:
    app = Flask("other")

    def attempt(read: Any) -> object:
        try:
            return read(request)
        except ServiceError as error:
            return error.status

    app.add_url_rule("/", view_func=lambda: jsonify([attempt(bearer_token), attempt(optional_bearer_token)]))
    assert app.test_client().get(f"/{query}", headers=headers).json == list(expected)
