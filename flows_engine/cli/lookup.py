"""Flows by what the user calls them: an id, or a title that only one flow has."""

from __future__ import annotations

from flows_engine.sdk import Client
from schemas.json_text import Json
from schemas.principals import normal_uuid

from .failures import Exit, Failure, Usage
from .output import shown


def find_flow(client: Client, name: str) -> dict[str, Json]:
    """The flow with this id or title.

    Raises:
        Failure: there is none, or there are several with this title.
    """
    if identifier := normal_uuid(name):
        return client.get_flow(identifier)
    wanted = name.strip().casefold()
    if not wanted:
        raise Usage("An id or a title of a flow is expected, not an empty text")
    # A title with a comma would be taken for two texts to look for.
    longest = max(wanted.split(","), key=len).strip()
    candidates = client.list_flows(filter_title=longest) if longest else client.list_flows()
    found = [flow for flow in candidates if flow["title"].strip().casefold() == wanted]
    if len(found) == 1:
        return found[0]
    if not found:
        raise Failure(
            f"No flow has the id or title {shown(name)!r}; see them with: flows list", Exit.NOT_FOUND, code="NOT_FOUND"
        )
    ids = "\n  ".join(flow["id"] for flow in found)
    raise Usage(f"{len(found)} flows have the title {shown(name)!r}; name one by its id:\n  {ids}")


def find_id(text: str, what: str) -> str:
    """The text as an id; raises ``Usage`` when it cannot be one."""
    if identifier := normal_uuid(text):
        return identifier
    raise Usage(f"{shown(text)!r} is not the id of a {what}; an id looks like 6b63ebe4-0f4c-4b5c-a1fb-7c5d1f3f4f51")
