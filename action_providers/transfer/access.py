"""Who may do what in a collection. Pure: decided from the collection, its rules and the caller.

The owner and service administrators may read and write; everybody else has what the rules that match them give
together. A rule covers its path and all below; rules only ever add. A read-only collection is written by nobody.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Literal, TypeAlias

from schemas.principals import Caller, group_urn, identity_urn

from .faults import Kind, TransferError
from .paths import Parts, show, show_directory

Need: TypeAlias = Literal["pass", "r", "rw"]
PrincipalType: TypeAlias = Literal["identity", "group", "all_authenticated_users", "anonymous"]
Permissions: TypeAlias = Literal["r", "rw"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Collection:
    collection_id: str
    display_name: str
    description: str | None
    root: str
    owner_urn: str
    read_only: bool
    public: bool
    created_at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class AccessRule:
    """``path`` begins and ends with a slash; ``principal`` is a UUID, or empty where the type says it all."""

    rule_id: str
    collection_id: str
    path: str
    principal_type: PrincipalType
    principal: str
    permissions: Permissions
    created_at: datetime

    def is_for(self, caller: Caller) -> bool:
        match self.principal_type:
            case "identity":
                return identity_urn(self.principal) in caller.principals
            case "group":
                return group_urn(self.principal) in caller.principals
            case "all_authenticated_users" | "anonymous":
                return True


@dataclass(frozen=True, slots=True)
class Access:
    """What one caller may do in one collection; ``rules`` are those that are for the caller."""

    collection: Collection
    is_owner: bool
    rules: tuple[AccessRule, ...]

    @classmethod
    def of(cls, caller: Caller, collection: Collection, rules: list[AccessRule]) -> Access:
        is_owner = caller.is_service_administrator or collection.owner_urn in caller.principals
        return cls(collection, is_owner, tuple(rule for rule in rules if rule.is_for(caller)))

    @property
    def may_see(self) -> bool:
        return self.is_owner or self.collection.public or bool(self.rules)

    def may(self, parts: Parts, need: Need) -> bool:
        """Whether the caller may read (``r``), write (``rw``) or merely pass (``pass``) the place.

        Passing is what leads to a readable place: a caller who may read ``/a/b/`` sees of ``/`` only ``a``.
        """
        if need == "rw" and self.collection.read_only:
            return False
        if self.is_owner:
            return True
        here = "/" + "".join(f"{name}/" for name in parts)
        if need == "pass" and any(rule.path.startswith(here) for rule in self.rules):
            return True
        return any(here.startswith(rule.path) and (need != "rw" or rule.permissions == "rw") for rule in self.rules)

    def require(self, parts: Parts, need: Need) -> None:
        """
        Raises:
            TransferError: the caller may not; the sentence says what is missing.
        """
        if self.may(parts, need):
            return
        name = self.collection.display_name
        if need == "rw" and self.collection.read_only:
            raise TransferError(Kind.DENIED, f"{show(parts)} cannot be changed: the collection {name!r} is read-only")
        verb = "write" if need == "rw" else "read"
        raise TransferError(
            Kind.DENIED,
            f"you may not {verb} {show(parts)} on the collection {name!r}; its owner can give you the permission "
            f"{'rw' if need == 'rw' else 'r'} on {show_directory(parts[:-1])}",
        )
