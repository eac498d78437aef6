"""Which URLs mean which provider: the hosted Globus providers under their present and earlier addresses, this server's
own URLs, and what the operator adds.

An alias replaces a URL prefix, of whole path segments; the longest that fits counts and the rest of the path is kept.
Its destination is a built-in provider's path (``"transfer"``) or another server's URL. http and https are alike:
nothing is sent to the URL that is replaced.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from pathlib import Path

from .addresses import parse_target

#: First part of the path of a flow that is used as an action: ``flows/<flow id>``.
FLOWS = "flows"

#: Published flows use all of these hosts (Globus docs, "Hosted action providers", and public flow definitions).
HOSTED_ALIASES: Mapping[str, str] = {
    "https://actions.globus.org": "",
    "https://actions.automate.globus.org": "",
    "https://actions.globus.org/transfer/set_permission": "transfer/manage_permission",
    "https://actions.automate.globus.org/transfer/set_permission": "transfer/manage_permission",
    "https://transfer.actions.globus.org": "transfer",
    "https://transfer.actions.globus.org/set_permission": "transfer/manage_permission",
    "https://compute.actions.globus.org": "compute",
    "https://compute.actions.globus.org/fxap": "compute",
    "https://compute.actions.globus.org/v2": "compute",
    "https://automate.funcx.org": "compute",
    "https://flows.globus.org/flows": FLOWS,
    "https://flows.automate.globus.org/flows": FLOWS,
}

_TRANSFER_SCOPE = "urn:globus:auth:scope:transfer.api.globus.org:all"
_ACTIONS_SCOPES = "https://auth.globus.org/scopes/actions.globus.org"
_OLDER_SCOPES = "https://auth.globus.org/scopes/5fac2e64-c734-4e6b-90ea-ff12ddbf9653"
_COMPUTE_SCOPE = "https://auth.globus.org/scopes/b3db7e59-a6f1-4947-95c2-59d6b7a70f8c/action_all"

#: Scopes of the hosted providers by their path here, for flows whose provider this server does not have.
HOSTED_SCOPES: Mapping[str, str] = {
    "hello_world": f"{_ACTIONS_SCOPES}/hello_world",
    "expression_eval": f"{_OLDER_SCOPES}/expression",
    "search/ingest": f"{_ACTIONS_SCOPES}/search/ingest",
    "search/delete": f"{_OLDER_SCOPES}/search_delete",
    "notification/notify": f"{_OLDER_SCOPES}/notification_notify",
    "weboption/wait_for_option": f"{_OLDER_SCOPES}/weboption_wait_for_option",
    "datacite/mint/basic_auth": f"{_OLDER_SCOPES}/datacite_mint_basic_auth_action_all",
    "transfer/gcsv5/create_guest_collection": (
        "urn:globus:auth:scope:transfer.actions.globus.org:create_guest_collection"
    ),
    "transfer": _TRANSFER_SCOPE,
    "compute": _COMPUTE_SCOPE,
}


class Aliases:
    """URL prefixes and what they stand for. A later mapping overrides an earlier one."""

    def __init__(self, *mappings: Mapping[str, str]) -> None:
        self._places: dict[tuple[str, ...], str] = {}
        for mapping in mappings:
            for prefix, destination in mapping.items():
                self._places[_steps(prefix)] = destination.rstrip("/")

    def replaced(self, url: str) -> str | None:
        """The built-in provider's path, or the URL, that ``url`` stands for; None when it stands for itself.

        Raises:
            ValueError: when ``url`` is not a URL that may be called at all.
        """
        steps = _steps(url)
        for length in range(len(steps), 0, -1):
            destination = self._places.get(steps[:length])
            if destination is not None:
                return "/".join([part for part in (destination, *steps[length:]) if part])
        return None


def own_aliases(base_urls: Iterable[str]) -> dict[str, str]:
    """This server's providers are at ``{base_url}/actions/{path}``, its flows at ``{base_url}/flows/flows/{id}``."""
    bases = [base.rstrip("/") for base in base_urls]
    return {f"{base}/actions": "" for base in bases} | {f"{base}/flows/flows": FLOWS for base in bases}


def load_aliases(file: Path) -> dict[str, str]:
    """Read the operator's file: ``{"https://host/path": "transfer/ls" or "https://internal.example/provider"}``.

    Raises:
        ValueError: naming the file and the entry.
    """
    try:
        document = json.loads(file.read_text("utf-8"))
    except ValueError as error:
        raise ValueError(f"{file} is not JSON: {error}") from error
    if not isinstance(document, dict):
        raise ValueError(f"{file} must hold one JSON object that maps URLs to provider paths or URLs")
    for prefix, destination in document.items():
        if not isinstance(destination, str):
            raise ValueError(
                f"{file}: {prefix!r} must map to a provider path or a URL, not to {type(destination).__name__}"
            )
        for url in (prefix, destination) if "://" in destination else (prefix,):
            try:
                parse_target(url)
            except ValueError as error:
                raise ValueError(f"{file}: {url!r}: {error}") from error
    return document


def hosted_scope(path: str) -> str:
    """Scope of the hosted provider at ``path`` or of the family that it belongs to; empty when it is not known."""
    steps = path.split("/")
    for length in range(len(steps), 0, -1):
        if scope := HOSTED_SCOPES.get("/".join(steps[:length])):
            return scope
    return ""


def _steps(url: str) -> tuple[str, ...]:
    """Host with a port that is not the scheme's own, and the segments of the path; empty segments do not count."""
    target = parse_target(url)
    return (target.authority, *[part for part in target.path.split("/") if part])
