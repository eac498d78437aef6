"""Scopes: the grammar of scope strings, and which resource server each scope opens.

Pure. Scope and resource server names are opaque identifiers that the official clients hold in their code; they are
honoured verbatim and never contacted. The scopes of flows, collections, endpoints and registered clients are not in the
table: ``ScopeBook`` asks whether the thing they belong to exists.
"""

from __future__ import annotations

import re
import uuid
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field

from schemas.errors import ServiceError

AUTH_RESOURCE_SERVER = "auth.globus.org"
#: Client ids that stand in the scope strings of the service.
FLOWS_CLIENT_ID = "eec9b274-0c81-4334-bdc2-54e90e689b9a"
TIMERS_CLIENT_ID = "524230d7-ea86-4a52-8312-86065a9e0417"
COMPUTE_CLIENT_ID = "facd7ccc-c5f4-42aa-916b-a0e270e2c2a9"
ACTIONS_CLIENT_ID = "5fac2e64-c734-4e6b-90ea-ff12ddbf9653"
COMPUTE_ACTIONS_CLIENT_ID = "b3db7e59-a6f1-4947-95c2-59d6b7a70f8c"

OPENID, PROFILE, EMAIL = "openid", "profile", "email"

MAX_SCOPE_CHARS = 16_384
MAX_SCOPES = 200
MAX_DEPTH = 10

_NAME = re.compile(r"[\x21\x23-\x29\x2b-\x5a\x5e-\x7e]{1,512}")
_SPACES = re.compile(r"[ \t\r\n]*")
_ITEM = re.compile(r"(\*?)([^ \t\r\n\[\]*]+)(\[?)")
_UUID = "[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}"
_FLOW_SCOPE = re.compile(f"https://auth\\.globus\\.org/scopes/({_UUID})/flow_([0-9a-f_]{{36}})_user")
_COLLECTION_SCOPE = re.compile(f"https://auth\\.globus\\.org/scopes/({_UUID})/(?:data_access|https)")
_ENDPOINT_SCOPE = re.compile(f"urn:globus:auth:scope:({_UUID}):manage_collections")


def url_scope(owner: str, name: str) -> str:
    """``https://auth.globus.org/scopes/<owner>/<name>``"""
    return f"https://auth.globus.org/scopes/{owner}/{name}"


def urn_scope(owner: str, name: str) -> str:
    """``urn:globus:auth:scope:<owner>:<name>``"""
    return f"urn:globus:auth:scope:{owner}:{name}"


def scope_id(scope_string: str) -> str:
    """UUID of a scope; the same everywhere, because it is made from the string."""
    return str(uuid.uuid5(uuid.NAMESPACE_URL, scope_string))


@dataclass(frozen=True, slots=True)
class ScopeNode:
    """A scope with the scopes asked for beneath it. ``optional``: written with ``*``, may be revoked by itself."""

    name: str
    children: tuple[ScopeNode, ...] = ()
    optional: bool = False

    def walk(self) -> Iterator[ScopeNode]:
        """This node and all beneath it, parents first."""
        yield self
        for child in self.children:
            yield from child.walk()


@dataclass(frozen=True, slots=True)
class Scope:
    """A scope that can be granted. ``owner`` is the client id of its resource server."""

    name: str
    resource_server: str
    owner: str
    dependent_scopes: tuple[str, ...] = ()


def parse(text: str) -> tuple[ScopeNode, ...]:
    """The scope trees of ``name[children] *optional ...``; equal roots, and equal children of one parent, are merged.

    Raises:
        ServiceError: 400 ``INVALID_SCOPE``, with the column where the text goes wrong.
    """
    if len(text) > MAX_SCOPE_CHARS:
        raise _invalid(f"it has {len(text)} characters; the limit is {MAX_SCOPE_CHARS}")
    return _Reader(text).forest()


def require_name(text: str) -> None:
    """Raises ``ServiceError`` 400 unless the text is one scope name.

    Names are kept parted by spaces, so a "name" with a space in it would be two scopes.
    """
    if not _NAME.fullmatch(text):
        raise _invalid(f"{text[:80]!r} is not one scope name")


def unknown_scope(names: Iterable[str]) -> ServiceError:
    listed = ", ".join(name[:200] for name in names)
    return ServiceError(400, "UNKNOWN_SCOPE", f"No such scope: {listed}. Scope names are compared verbatim.")


def _exists_not(_identifier: str) -> bool:
    return False


@dataclass(frozen=True, slots=True, kw_only=True)
class ScopeBook:
    """Finds the resource server of a scope. ``extra`` maps scopes of installed providers to resource servers."""

    flow_exists: Callable[[str], bool] = _exists_not
    collection_exists: Callable[[str], bool] = _exists_not
    endpoint_exists: Callable[[str], bool] = _exists_not
    extra: Mapping[str, str] = field(default_factory=dict)

    def find(self, name: str) -> Scope | None:
        """The scope, or None when there is none of this name. May read the database: call it outside transactions."""
        if (server := SERVICE_SCOPES.get(name)) is not None:
            return Scope(name, server, owner_of(server))
        if (server := self.extra.get(name)) is not None:
            return Scope(name, server, owner_of(server))
        if match := _FLOW_SCOPE.fullmatch(name):
            known = match[2] == match[1].replace("-", "_") and self.flow_exists(match[1])
        elif match := _COLLECTION_SCOPE.fullmatch(name):
            known = self.collection_exists(match[1])
        elif match := _ENDPOINT_SCOPE.fullmatch(name):
            known = self.endpoint_exists(match[1])
        else:
            return None
        return Scope(name, match[1], match[1]) if known else None


def owner_of(resource_server: str) -> str:
    """Client id of a resource server of the service: its own when it has one, else one made from its name."""
    if resource_server in _OWNERS:
        return _OWNERS[resource_server]
    try:
        return str(uuid.UUID(resource_server))
    except ValueError:
        return str(uuid.uuid5(uuid.NAMESPACE_DNS, resource_server))


@dataclass(slots=True)
class _Draft:
    """A node while it is read: merged by name, optional only if it is so everywhere."""

    optional: bool = False
    children: dict[str, _Draft] = field(default_factory=dict)

    def child(self, name: str, *, optional: bool) -> _Draft:
        node = self.children.setdefault(name, _Draft(optional))
        node.optional = node.optional and optional
        return node

    def frozen_children(self) -> tuple[ScopeNode, ...]:
        return tuple(ScopeNode(name, one.frozen_children(), one.optional) for name, one in self.children.items())


class _Reader:
    """Reads one scope string from left to right."""

    def __init__(self, text: str) -> None:
        self._text = text
        self._at = 0
        self._count = 0

    def forest(self) -> tuple[ScopeNode, ...]:
        roots = _Draft()
        self._items(roots, depth=1)
        if self._at < len(self._text):
            raise self._wrong("] without a [ before it")
        return roots.frozen_children()

    def _items(self, parent: _Draft, *, depth: int) -> None:
        while self._skip_spaces() not in ("", "]"):
            self._item(parent, depth=depth)

    def _item(self, parent: _Draft, *, depth: int) -> None:
        match = _ITEM.match(self._text, self._at)
        if match is None or not _NAME.fullmatch(match[2]):
            raise self._wrong("a scope name of 1 to 512 visible ASCII characters is expected")
        self._count += 1
        if self._count > MAX_SCOPES:
            raise self._wrong(f"more than {MAX_SCOPES} scopes are asked for")
        node = parent.child(match[2], optional=bool(match[1]))
        self._at = match.end()
        if match[3]:
            self._children(node, depth=depth + 1)
        if self._next() not in ("", "]", " ", "\t", "\r", "\n"):
            raise self._wrong("a space is expected between scopes")

    def _children(self, node: _Draft, *, depth: int) -> None:
        if depth > MAX_DEPTH:
            raise self._wrong(f"scopes are nested more than {MAX_DEPTH} levels deep")
        if self._skip_spaces() == "]":
            raise self._wrong("at least one scope is expected between [ and ]")
        self._items(node, depth=depth)
        if self._next() != "]":
            raise self._wrong("a ] is missing")
        self._at += 1

    def _next(self) -> str:
        return self._text[self._at : self._at + 1]

    def _skip_spaces(self) -> str:
        match = _SPACES.match(self._text, self._at)
        self._at = match.end() if match else self._at
        return self._next()

    def _wrong(self, detail: str) -> ServiceError:
        return _invalid(f"column {self._at + 1}: {detail}")


def _invalid(detail: str) -> ServiceError:
    return ServiceError(400, "INVALID_SCOPE", f"The scope parameter is not well formed: {detail}.")


_OWNERS = {"flows.globus.org": FLOWS_CLIENT_ID, "funcx_service": COMPUTE_CLIENT_ID}


def _urns(resource_server: str, *names: str) -> dict[str, str]:
    return {urn_scope(resource_server, name): resource_server for name in names}


def _urls(owner: str, resource_server: str, *names: str) -> dict[str, str]:
    return {url_scope(owner, name): resource_server for name in names}


#: Scope string -> resource server, for every service and hosted action provider whose scopes clients know by heart.
SERVICE_SCOPES: Mapping[str, str] = {
    OPENID: AUTH_RESOURCE_SERVER,
    PROFILE: AUTH_RESOURCE_SERVER,
    EMAIL: AUTH_RESOURCE_SERVER,
    **_urns(
        AUTH_RESOURCE_SERVER,
        "view_identity_set",
        "view_identities",
        "view_authentications",
        "view_consents",
        "manage_projects",
        "view_clients",
        "view_clients_and_scopes",
    ),
    **_urns("transfer.api.globus.org", "all", "gcp_install"),
    **_urns("groups.api.globus.org", "all", "view_my_groups_and_memberships"),
    **_urns("nexus.api.globus.org", "groups"),
    **_urns("search.api.globus.org", "all", "globus_connect_server", "ingest", "search"),
    **_urls(
        FLOWS_CLIENT_ID,
        "flows.globus.org",
        "all",
        "manage_flows",
        "view_flows",
        "run",
        "run_status",
        "run_manage",
        "web_input_view",
        "web_input_respond",
    ),
    **_urls(TIMERS_CLIENT_ID, TIMERS_CLIENT_ID, "timer"),
    **_urls(COMPUTE_CLIENT_ID, "funcx_service", "all"),
    **_urns("transfer.actions.globus.org", "create_guest_collection"),
    **_urls(
        "actions.globus.org",
        "actions.globus.org",
        "hello_world",
        "search/ingest",
        "transfer/transfer",
        "transfer/delete",
        "transfer/set_permission",
    ),
    **_urls(
        ACTIONS_CLIENT_ID,
        ACTIONS_CLIENT_ID,
        "search_delete",
        "notification_notify",
        "weboption_wait_for_option",
        "expression",
        "datacite_mint_basic_auth_action_all",
        "transfer_ls",
        "transfer_mkdir",
        "transfer_collection_info",
    ),
    **_urls(COMPUTE_ACTIONS_CLIENT_ID, COMPUTE_ACTIONS_CLIENT_ID, "action_all"),
}
