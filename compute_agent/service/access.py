"""Who may see and use functions and endpoints: pure functions of what is stored and the caller.

A function belongs to its owner; members of its group and, when it is public, everybody may see and run it. An endpoint
belongs to its owner; its ``users`` may see it and submit to it; everybody may see a public one.
"""

from __future__ import annotations

from schemas.principals import ALL_AUTHENTICATED_USERS, Caller, group_urn

from .rows.endpoints import Endpoint
from .rows.functions import Function


def owns(owner: str, caller: Caller) -> bool:
    """Whether the owner's URN is one of the caller's own or linked identities."""
    return owner in caller.principals


def may_use_function(function: Function, caller: Caller) -> bool:
    """See it and run it."""
    if function.public or owns(function.owner, caller):
        return True
    return function.group_id is not None and group_urn(function.group_id) in caller.principals


def may_submit(endpoint: Endpoint, caller: Caller) -> bool:
    if owns(endpoint.owner, caller):
        return True
    principals = caller.principals
    return any(one == ALL_AUTHENTICATED_USERS or one in principals for one in endpoint.users)


def may_see_endpoint(endpoint: Endpoint, caller: Caller) -> bool:
    return endpoint.public or may_submit(endpoint, caller)
