"""The operator's client: collections and clients of the installation, through the routes of ``operator_api``."""

from __future__ import annotations

from collections.abc import Sequence
from urllib.parse import quote, urlsplit

import requests
from requests.adapters import BaseAdapter

from compute_agent.errors import ClientError, UnreachableError, api_error
from schemas.errors import InvalidJson
from schemas.json_text import Json, dumps, loads

#: Where the operator's routes are.
MOUNT = "/operator"

_TIMEOUT_S = (10.0, 60.0)


class Operator:
    """``key`` is the one the routes were mounted with."""

    def __init__(self, url: str, key: str, *, transport: BaseAdapter | None = None) -> None:
        parts = urlsplit(url)
        self._url = url.rstrip("/")
        self._session = requests.Session()
        self._session.trust_env = False  # the key is for this machine: no proxy, no .netrc
        self._session.headers["Authorization"] = f"Operator {key}"
        if transport is not None:
            self._session.mount(f"{parts.scheme}://{parts.netloc}", transport)

    def close(self) -> None:
        self._session.close()

    def collections(self) -> list[dict[str, Json]]:
        found: list[dict[str, Json]] = self._call("GET", "/collections")["collections"]
        return found

    def add_collection(
        self,
        display_name: str,
        path: str,
        *,
        collection_id: str | None = None,
        description: str | None = None,
        read_only: bool = False,
        public: bool = False,
    ) -> dict[str, Json]:
        body: dict[str, Json] = {
            "display_name": display_name,
            "path": path,
            "id": collection_id,
            "description": description,
            "read_only": read_only,
            "public": public,
        }
        return self._call("POST", "/collections", body)

    def remove_collection(self, collection_id: str) -> dict[str, Json]:
        """Offer the directory no more; its files stay."""
        return self._call("DELETE", f"/collections/{quote(collection_id, safe='')}")

    def clients(self) -> list[dict[str, Json]]:
        found: list[dict[str, Json]] = self._call("GET", "/clients")["clients"]
        return found

    def add_client(
        self,
        name: str,
        *,
        scopes: Sequence[str] = (),
        dependent_scopes: Sequence[str] = (),
        audience: str | None = None,
    ) -> dict[str, Json]:
        """Register a client; the answer holds its ``client_secret``, which cannot be had again."""
        body: dict[str, Json] = {
            "name": name,
            "scopes": list(scopes),
            "dependent_scopes": list(dependent_scopes),
            "audience": audience,
        }
        return self._call("POST", "/clients", body)

    def remove_client(self, client_id: str) -> dict[str, Json]:
        return self._call("DELETE", f"/clients/{quote(client_id, safe='')}")

    def rotate_secret(self, client_id: str) -> dict[str, Json]:
        """Give the client a new secret; the one before and all tokens issued for it end at once."""
        return self._call("POST", f"/clients/{quote(client_id, safe='')}/secret")

    def _call(self, method: str, path: str, body: Json = None) -> dict[str, Json]:
        headers = {} if body is None else {"Content-Type": "application/json"}
        try:
            response = self._session.request(
                method,
                f"{self._url}{MOUNT}{path}",
                data=None if body is None else dumps(body),
                headers=headers,
                timeout=_TIMEOUT_S,
                allow_redirects=False,
            )
        except requests.RequestException as error:
            raise UnreachableError(f"the server at {self._url} gave no answer") from error
        if response.status_code >= 300:
            raise api_error(response)
        try:
            document: dict[str, Json] = loads(response.content, what="the answer")
        except InvalidJson as error:
            raise ClientError(f"{self._url} did not answer with JSON; is it a flows server?") from error
        return document
