"""Who may see and use functions and endpoints."""

from __future__ import annotations

import uuid
from typing import Any

import pytest

from compute_agent.service import access
from compute_agent.service.rows.endpoints import Endpoint
from compute_agent.service.rows.functions import Function
from schemas.principals import Caller, group_urn, identity_urn

OWNER, OTHER, GROUP = (str(uuid.UUID(int=number)) for number in (1, 2, 3))
owner = Caller(identity_id=OWNER, username="owner")
linked = Caller(identity_id=str(uuid.UUID(int=4)), username="linked", identities=frozenset({OWNER}))
other = Caller(identity_id=OTHER, username="other")
member = Caller(identity_id=OTHER, username="member", groups=frozenset({GROUP}))


def function(**members: Any) -> Function:
    values: dict[str, Any] = {
        "function_no": 1,
        "function_id": OTHER,
        "owner": identity_urn(OWNER),
        "name": "f",
        "description": "",
        "meta": {},
        "public": False,
        "group_id": None,
        "on_loss": "report",
        "max_requeues": 3,
        "python_version": "",
        "created_at": 0,
        "sha256": "",
        "code_bytes": 1,
    }
    return Function(**values | members)


def endpoint(**members: Any) -> Endpoint:
    values: dict[str, Any] = dict.fromkeys(Endpoint.__slots__, 0)
    return Endpoint(**values | {"owner": identity_urn(OWNER), "public": False, "users": ()} | members)


@pytest.mark.parametrize(
    ("stored", "caller", "may"),
    [
        (function(), owner, True),
        (function(), linked, True),
        (function(), other, False),
        (function(public=True), other, True),
        (function(group_id=GROUP), other, False),
        (function(group_id=GROUP), member, True),
        (function(group_id=OTHER), other, False),
    ],
)
def test_a_function_is_used_by_owner_group_and_when_public_everybody(
    stored: Function, caller: Caller, may: bool
) -> None:
    assert access.may_use_function(stored, caller) is may


@pytest.mark.parametrize(
    ("stored", "caller", "may_see", "may_submit"),
    [
        (endpoint(), owner, True, True),
        (endpoint(), linked, True, True),
        (endpoint(), other, False, False),
        (endpoint(public=True), other, True, False),
        (endpoint(users=("all_authenticated_users",)), other, True, True),
        (endpoint(users=(identity_urn(OTHER),)), other, True, True),
        (endpoint(users=(group_urn(GROUP),)), other, False, False),
        (endpoint(users=(group_urn(GROUP),)), member, True, True),
    ],
)
def test_an_endpoint_is_used_by_its_owner_and_its_users_and_seen_by_all_when_public(
    stored: Endpoint, caller: Caller, may_see: bool, may_submit: bool
) -> None:
    assert access.may_see_endpoint(stored, caller) is may_see
    assert access.may_submit(stored, caller) is may_submit
