"""Who may see, run, monitor and manage: pure functions of (document, caller).

The creator of an action and the provider's administrators monitor and manage it; ``monitor_by`` and ``manage_by`` add
others. Groups are resolved by whoever made the Caller.
"""

from __future__ import annotations

from collections.abc import Iterable

from schemas.principals import ALL_AUTHENTICATED_USERS, PUBLIC, Caller, identity_urn

from .provider import Description
from .store import Record


def may_see(description: Description, caller: Caller | None) -> bool:
    if PUBLIC in description.visible_to:
        return True
    everyone = (*description.visible_to, *description.runnable_by, *description.administered_by)
    return caller is not None and _named(everyone, caller)


def may_run(description: Description, caller: Caller) -> bool:
    return _named((*description.runnable_by, *description.administered_by), caller)


def may_monitor(record: Record, description: Description, caller: Caller) -> bool:
    return may_manage(record, description, caller) or _shared(record, "monitor_by", caller)


def may_manage(record: Record, description: Description, caller: Caller) -> bool:
    return (
        _is_creator(record, caller)
        or _named(description.administered_by, caller)
        or _shared(record, "manage_by", caller)
    )


def _is_creator(record: Record, caller: Caller) -> bool:
    return record.creator in caller.principals and _client_allowed(record, caller)


def _shared(record: Record, role: str, caller: Caller) -> bool:
    return _named(record.sharing.get(role, ()), caller) and _client_allowed(record, caller)


def _client_allowed(record: Record, caller: Caller) -> bool:
    """``allowed_clients`` narrows the clients that act on the action; the one that started it always may."""
    allowed = record.sharing.get("allowed_clients", ())
    if not allowed or PUBLIC in allowed or caller.client_id == record.caller.client_id:
        return True
    return caller.client_id is not None and (caller.client_id in allowed or identity_urn(caller.client_id) in allowed)


def _named(entries: Iterable[str], caller: Caller) -> bool:
    principals = caller.principals
    return any(one in (PUBLIC, ALL_AUTHENTICATED_USERS) or one in principals for one in entries)
