"""What only the operator may do: offer directories as collections, register clients. Mounted at ``/operator``.

The operator is whoever can read the data directory: requests carry the key in ``server.json``, which is made anew at
every start. No token of any user opens these routes, an administrator's neither: they reach the host's file system.
"""

from __future__ import annotations

import hmac
from collections.abc import Mapping

from flask import Blueprint, Response, request

from action_providers.transfer.access import Collection
from action_providers.transfer.faults import Kind, TransferError
from flows_engine.api.envelope import answer, error_answer, install, read_json
from flows_engine.app import House
from flows_engine.auth.bootstrap import write_client_file
from flows_engine.auth.clients import Client, ProviderScope
from schemas.errors import Problem, ServiceError, Unprocessable
from schemas.json_text import Json
from schemas.principals import Caller, identity_urn
from schemas.times import format_time

from .operator import MOUNT

_MAX_BODY_BYTES = 64 * 1024
_STATUSES: Mapping[Kind, tuple[int, str]] = {
    Kind.NO_COLLECTION: (404, "NOT_FOUND"),
    Kind.EXISTS: (409, "STATE_CONFLICT"),
}


def create_blueprint(house: House, key: str) -> Blueprint:
    """The operator's routes; ``key`` opens them."""
    blueprint = Blueprint("operator_api", __name__, url_prefix=MOUNT)
    install(blueprint)

    @blueprint.before_request
    def require_key() -> None:
        given = request.headers.get("Authorization", "")
        if not hmac.compare_digest(given.encode("latin-1", "replace"), f"Operator {key}".encode()):
            raise ServiceError(401, "AUTHENTICATION_ERROR", "This is for the operator of this installation alone")

    _add_collection_routes(blueprint, house)
    _add_client_routes(blueprint, house)
    return blueprint


def _add_collection_routes(blueprint: Blueprint, house: House) -> None:
    collections = house.collections

    @blueprint.errorhandler(TransferError)
    def transfer_error(error: TransferError) -> Response:
        status, code = _STATUSES.get(error.kind, (400, "BAD_REQUEST"))
        return error_answer(ServiceError(status, code, error.description))

    @blueprint.get("/collections")
    def list_collections() -> Response:
        operator = Caller(
            identity_id=house.installation.administrator_id, username="operator", is_service_administrator=True
        )
        return answer({"collections": [_collection_document(one) for one in collections.list_for(operator)]})

    @blueprint.post("/collections")
    def add_collection() -> Response:
        body = _Members(read_json(_MAX_BODY_BYTES))
        name, path = body.text("display_name"), body.text("path")
        description, collection_id = body.optional_text("description"), body.optional_text("id")
        read_only, public = body.flag("read_only"), body.flag("public")
        body.check()
        made = collections.create(
            name,
            path,
            identity_urn(house.installation.administrator_id),
            collection_id=collection_id,
            description=description,
            read_only=read_only,
            public=public,
        )
        return answer(_collection_document(made), 201)

    @blueprint.delete("/collections/<collection_id>")
    def remove_collection(collection_id: str) -> Response:
        document = _collection_document(collections.get(collection_id))
        collections.delete(collection_id)
        return answer(document)


def _add_client_routes(blueprint: Blueprint, house: House) -> None:
    clients = house.auth.clients

    def shown(client: Client) -> dict[str, Json]:
        return _client_document(client, is_own=client.client_id == house.installation.client_id)

    @blueprint.get("/clients")
    def list_clients() -> Response:
        return answer({"clients": [shown(one) for one in clients.list_clients()]})

    @blueprint.post("/clients")
    def add_client() -> Response:
        body = _Members(read_json(_MAX_BODY_BYTES))
        name, audience = body.text("name"), body.optional_text("audience")
        suffixes, beneath = body.texts("scopes"), body.texts("dependent_scopes")
        body.check()
        scopes = [ProviderScope(suffix, tuple(beneath)) for suffix in suffixes]
        client, secret = clients.create_client(name, scopes=scopes, audience=audience)
        return answer(shown(client) | {"client_secret": secret}, 201)

    @blueprint.delete("/clients/<client_id>")
    def remove_client(client_id: str) -> Response:
        clients.delete_client(client_id)
        return answer({"client_id": client_id, "deleted": True})

    @blueprint.post("/clients/<client_id>/secret")
    def rotate_secret(client_id: str) -> Response:
        secret = clients.rotate_secret(client_id)
        is_own = client_id == house.installation.client_id
        if is_own:
            write_client_file(house.installation.client_file, client_id, secret)
        return answer({"client_id": client_id, "client_secret": secret, "is_installation_client": is_own})


def _collection_document(collection: Collection) -> dict[str, Json]:
    return {
        "id": collection.collection_id,
        "display_name": collection.display_name,
        "description": collection.description,
        "path": collection.root,
        "owner": collection.owner_urn,
        "read_only": collection.read_only,
        "public": collection.public,
        "created_at": format_time(collection.created_at),
    }


def _client_document(client: Client, *, is_own: bool) -> dict[str, Json]:
    return {
        "client_id": client.client_id,
        "name": client.name,
        "audience": client.audience,
        "scopes": list(client.scopes),
        "created_at": format_time(client.created_at),
        "secret_changed_at": format_time(client.secret_changed_at),
        "is_installation_client": is_own,
    }


class _Members:
    """Reads the members of a body and collects what is wrong with them."""

    def __init__(self, document: Json) -> None:
        self._members = document if isinstance(document, dict) else {}
        self._problems: list[Problem] = []
        if not isinstance(document, dict):
            self._problems.append(Problem((), "an object is expected"))

    def text(self, name: str) -> str:
        value = self.optional_text(name)
        if not value:
            self._problems.append(Problem((name,), "a text is required"))
        return value or ""

    def optional_text(self, name: str) -> str | None:
        value = self._members.get(name)
        if value is not None and not isinstance(value, str):
            self._problems.append(Problem((name,), "a text is expected"))
            return None
        return value

    def texts(self, name: str) -> list[str]:
        value = self._members.get(name) or []
        if not isinstance(value, list) or not all(isinstance(one, str) for one in value):
            self._problems.append(Problem((name,), "a list of texts is expected"))
            return []
        return value

    def flag(self, name: str) -> bool:
        value = self._members.get(name, False)
        if not isinstance(value, bool):
            self._problems.append(Problem((name,), "true or false is expected"))
        return value is True

    def check(self) -> None:
        if self._problems:
            raise Unprocessable(self._problems)
