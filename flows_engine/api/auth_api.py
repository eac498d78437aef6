"""The Auth API: tokens, identities, consents and discovery, for mounting under ``/auth``.

Every answer that is an error has the Auth envelope, the wrong path and the wrong method included: official clients read
``errors[].code``. Bodies of OAuth requests are forms (RFC 6749); a parameter given twice is refused.
"""

from __future__ import annotations

import base64
import binascii
import logging
import uuid
from collections.abc import Callable, Sequence
from http import HTTPStatus

from flask import Blueprint, Response, request
from werkzeug.exceptions import HTTPException

from flows_engine.auth.clients import Client
from flows_engine.auth.service import AuthService
from schemas import json_text
from schemas.errors import ServiceError
from schemas.json_text import Json
from schemas.principals import normal_uuid

from . import stray
from .bearer import bearer_token, refuse_credentials_in_address

DEPENDENT_TOKEN_GRANT = "urn:globus:auth:grant_type:dependent_token"  # noqa: S105 - the name of a grant type
MAX_BODY_BYTES = 64 * 1024

_METHODS = ("GET", "POST", "PUT", "PATCH", "DELETE", "OPTIONS")
_BASIC_REALM = 'Basic realm="flows-engine"'
#: What other rooms call errors -> what Auth calls them.
_CODES = {"AUTHENTICATION_ERROR": "UNAUTHORIZED", "UNPROCESSABLE_ENTITY": "INVALID_REQUEST"}
_log = logging.getLogger(__name__)

View = Callable[..., Response]


def create_blueprint(auth: AuthService) -> Blueprint:
    """The routes of the Auth API over ``auth``."""
    blueprint = Blueprint("auth_api", __name__)
    views = _Views(auth)
    _route(blueprint, "/v2/oauth2/token", POST=views.token)
    _route(blueprint, "/v2/oauth2/token/introspect", POST=views.introspect)
    _route(blueprint, "/v2/oauth2/token/validate", POST=views.validate)
    _route(blueprint, "/v2/oauth2/token/revoke", POST=views.revoke)
    _route(blueprint, "/v2/oauth2/userinfo", GET=views.userinfo)
    _route(blueprint, "/v2/api/identities", GET=views.identities)
    _route(blueprint, "/v2/api/identities/<identity_id>/consents", GET=views.consents)
    _route(blueprint, "/.well-known/openid-configuration", GET=views.openid_configuration)
    _route(blueprint, "/jwk.json", GET=views.jwks)
    for path in ("/", "/<path:rest>"):
        blueprint.add_url_rule(path, f"{stray.PREFIX}{len(path)}", _not_found, methods=_METHODS)
    blueprint.before_request(_limit_request)
    blueprint.register_error_handler(ServiceError, _service_error)
    blueprint.register_error_handler(HTTPException, _http_error)
    blueprint.register_error_handler(Exception, _our_fault)
    return blueprint


class _Views:
    """One method a route: read the request, call the use case, answer."""

    def __init__(self, auth: AuthService) -> None:
        self._auth = auth

    def token(self) -> Response:
        form = _form()
        client = self._client(form)
        match form.get("grant_type"):
            case "client_credentials":
                return _answer(self._auth.client_credentials(client, form.get("scope", "")))
            case grant if grant == DEPENDENT_TOKEN_GRANT:
                token = _required(form, "token")
                return _answer(self._auth.dependent_tokens(client, token, form.get("scope", "")))
            case None:
                raise _bad_request("grant_type is missing")
            case other:
                detail = f"{other[:80]!r} is not offered; use client_credentials or {DEPENDENT_TOKEN_GRANT}"
                raise ServiceError(400, "UNSUPPORTED_GRANT_TYPE", f"The grant type {detail}.")

    def introspect(self) -> Response:
        form = _form()
        client = self._client(form)
        include = {part.strip() for part in form.get("include", "").split(",")}
        return _answer(self._auth.introspect(client, _required(form, "token"), include=include))

    def validate(self) -> Response:
        form = _form()
        self._client_if_named(form)
        return _answer({"active": self._auth.is_active(_required(form, "token"))})

    def revoke(self) -> Response:
        """Answers the same whether there was such a token, or any token (RFC 7009, 2.2)."""
        form = _form()
        self._client_if_named(form)
        if token := form.get("token"):
            self._auth.revoke(token)
        return _answer({"active": False})

    def userinfo(self) -> Response:
        return _answer(self._auth.userinfo(bearer_token(request)))

    def identities(self) -> Response:
        self._require_caller_or_client()
        ids, usernames = _listed("ids"), _listed("usernames")
        if (ids is None) == (usernames is None):
            raise _bad_request("exactly one of ids and usernames is required")
        if ids is not None:
            found = self._auth.identities_by_id(ids)
        elif _flag("provision"):
            found = self._auth.provision_identities(usernames or [])
        else:
            found = self._auth.identities_by_username(usernames or [])
        return _answer({"identities": found})

    def consents(self, identity_id: str) -> Response:
        caller = self._auth.authenticate(bearer_token(request))
        _require_auth_audience(caller.audience)
        identity = normal_uuid(identity_id)
        if identity is None:
            raise _bad_request(f"{identity_id[:80]!r} is not the UUID of an identity")
        root = None if _flag("all") else caller.client_id
        return _answer({"consents": self._auth.consents_of(caller, identity, root_client=root)})

    def openid_configuration(self) -> Response:
        return _answer(self._auth.openid_configuration(), is_public=True)

    def jwks(self) -> Response:
        return _answer(self._auth.jwks(), is_public=True)

    def _client(self, form: dict[str, str]) -> Client:
        """The client that proves itself by HTTP Basic, or by id and secret in the form; never by both."""
        if request.headers.get("Authorization"):
            client_id, secret = _basic_credentials()
            if form.get("client_secret"):
                raise _bad_request("client credentials stand both in the Authorization header and in the form")
            if form.get("client_id", client_id).lower() != client_id.lower():
                raise _bad_request("client_id is not the client of the Authorization header")
            return self._auth.authenticate_client(client_id, secret)
        return self._auth.authenticate_client(form.get("client_id", ""), form.get("client_secret", ""))

    def _client_if_named(self, form: dict[str, str]) -> None:
        """Credentials may be left out here, because holding the token is proof enough; wrong ones are refused."""
        if request.headers.get("Authorization") or form.get("client_secret"):
            self._client(form)

    def _require_caller_or_client(self) -> None:
        refuse_credentials_in_address(request)
        if request.headers.get("Authorization", "").lower().startswith("basic "):
            self._auth.authenticate_client(*_basic_credentials())
        else:
            _require_auth_audience(self._auth.authenticate(bearer_token(request)).audience)


def _require_auth_audience(audience: str) -> None:
    if audience != "auth.globus.org":
        raise ServiceError(403, "FORBIDDEN", f"The token is for {audience}, not for Auth.")


def _basic_credentials() -> tuple[str, str]:
    """Client id and secret of the Authorization header (RFC 7617)."""
    scheme, _, encoded = request.headers.get("Authorization", "").partition(" ")
    try:
        if scheme.lower() != "basic" or len(encoded) > 1024:
            raise ValueError(scheme)
        client_id, colon, secret = base64.b64decode(encoded.strip(), validate=True).decode().partition(":")
        if not colon:
            raise ValueError(scheme)
    except (ValueError, binascii.Error) as error:  # the header is not repeated: it may hold a secret
        raise ServiceError(401, "UNAUTHORIZED", "HTTP Basic authentication of a client is expected.") from error
    return client_id, secret


def _form() -> dict[str, str]:
    """The form of the request, each parameter at most once; a request without a body has an empty one."""
    refuse_credentials_in_address(request)
    if request.content_length and request.mimetype != "application/x-www-form-urlencoded":
        detail = "The body must be a form: send it as application/x-www-form-urlencoded."
        raise ServiceError(415, "UNSUPPORTED_MEDIA_TYPE", detail)
    repeated = [name for name, values in request.form.lists() if len(values) > 1]
    if repeated:
        raise _bad_request(f"the parameter {repeated[0][:80]!r} is given more than once")
    return {name: value for name, value in request.form.items() if value != ""}


def _required(form: dict[str, str], name: str) -> str:
    if name not in form:
        raise _bad_request(f"{name} is missing")
    return form[name]


def _listed(name: str) -> list[str] | None:
    """Entries of a comma-joined query parameter, or None when it is not given."""
    if name not in request.args:
        return None
    return [part for text in request.args.getlist(name) for raw in text.split(",") if (part := raw.strip())]


def _flag(name: str) -> bool:
    """A boolean of the query string; clients write it as True, true or 1."""
    match request.args.get(name, "false").lower():
        case "true" | "1":
            return True
        case "false" | "0" | "":
            return False
        case other:
            raise _bad_request(f"{name} must be true or false, not {other[:40]!r}")


def _answer(document: Json, *, is_public: bool = False) -> Response:
    response = Response(json_text.dumps(document), content_type="application/json")
    response.headers["Cache-Control"] = "public, max-age=3600" if is_public else "no-store"
    return response


def _limit_request() -> None:
    request.max_content_length = MAX_BODY_BYTES


def _route(blueprint: Blueprint, path: str, **views: View) -> None:
    """Add the views of a path by method, and an answer for every other method."""
    for method, view in views.items():
        blueprint.add_url_rule(path, f"{view.__name__}", view, methods=[method], provide_automatic_options=False)
    allowed = sorted([*views, *(["HEAD"] if "GET" in views else [])])

    def method_not_allowed(**_path_parts: str) -> Response:
        raise ServiceError(
            405,
            "METHOD_NOT_ALLOWED",
            f"The method {request.method} is not allowed here; use {' or '.join(allowed)}.",
            headers={"Allow": ", ".join(allowed)},
        )

    others = [method for method in _METHODS if method not in views]
    endpoint = f"{stray.PREFIX}_{'_'.join(view.__name__ for view in views.values())}"
    blueprint.add_url_rule(path, endpoint, method_not_allowed, methods=others, provide_automatic_options=False)


def _not_found(**_path_parts: str) -> Response:
    raise ServiceError(404, "NOT_FOUND", "There is nothing at this address.")


def _bad_request(detail: str) -> ServiceError:
    return ServiceError(400, "INVALID_REQUEST", f"The request is not valid: {detail}.")


def _service_error(error: ServiceError) -> Response:
    code = _CODES.get(error.code, error.code)
    detail = error.detail if isinstance(error.detail, str) else _sentences([one.msg for one in error.detail])
    response = _error(error.status, code, detail, extra=error.extra)
    response.headers.update(error.headers)
    if error.status == HTTPStatus.UNAUTHORIZED and "WWW-Authenticate" not in error.headers:
        response.headers["WWW-Authenticate"] = _BASIC_REALM if error.code == "UNAUTHORIZED" else "Bearer"
    return response


def _http_error(error: HTTPException) -> Response:
    status = HTTPStatus(error.code or 500)
    return _error(status, status.name, error.description or status.phrase)


def _our_fault(error: Exception) -> Response:
    response = _error(500, "INTERNAL_SERVER_ERROR", "The server failed; the id of this error is in its log.")
    error_id = response.headers["X-Request-Id"]
    _log.error("auth request failed", exc_info=error, extra={"error_id": error_id, "endpoint": request.endpoint})
    return response


def _error(status: int, code: str, detail: str, *, extra: dict[str, Json] | None = None) -> Response:
    """The Auth envelope: ``errors[]`` as Globus Auth answers, with the two OAuth members beside it."""
    error_id = str(uuid.uuid4())
    one = {"status": str(status), "id": error_id, "code": code, "detail": detail, "title": HTTPStatus(status).phrase}
    document = {"errors": [one], "error": code.lower(), "error_description": detail, **(extra or {})}
    response = _answer(document)
    response.status_code = status
    response.headers["X-Request-Id"] = error_id
    return response


def _sentences(messages: Sequence[str]) -> str:
    return "; ".join(messages)
