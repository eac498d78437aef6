"""The collections of this installation and their access rules, and the way into their files.

A collection the caller may not see is answered as one that does not exist.
"""

from __future__ import annotations

import os
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path
from typing import Any, get_args

from sqlalchemy import Connection, and_, delete, func, insert, or_, select, update
from sqlalchemy.exc import IntegrityError

from schemas.ports import Clock, Database
from schemas.principals import Caller, group_of, identity_of, is_identity_or_group, normal_uuid
from schemas.times import from_us, to_us

from .access import Access, AccessRule, Collection, Need, Permissions, PrincipalType
from .faults import Kind, TransferError
from .paths import brief, parse
from .tables import access_rules, collections, mkdir_intents
from .tree import Tree

#: As the hosted service.
MAX_RULES_PER_COLLECTION = 1000
_INTENT_KEPT = timedelta(days=7)
#: Not storage: their files are the kernel's.
_PSEUDO = ("/proc", "/sys", "/dev")


class Collections:
    """Use cases on collections; each method is one transaction."""

    def __init__(self, db: Database, clock: Clock) -> None:
        self._db = db
        self._clock = clock

    def create(
        self,
        display_name: str,
        root: str,
        owner_urn: str,
        *,
        collection_id: str | None = None,
        description: str | None = None,
        read_only: bool = False,
        public: bool = False,
    ) -> Collection:
        """Offer the existing directory ``root``; links in its path are resolved now, once.

        Raises:
            TransferError: the sentence says what is wrong with the directory, the owner or the id.
        """
        if not is_identity_or_group(owner_urn):
            raise _bad(f"the owner {brief(owner_urn)} is not a principal such as urn:globus:auth:identity:<uuid>")
        if not display_name.strip():
            raise _bad("a collection needs a display name")
        identifier = normal_uuid(collection_id) if collection_id is not None else str(uuid.uuid4())
        if identifier is None:
            raise _bad(f"the collection id {brief(collection_id or '')} is not a UUID")
        collection = Collection(
            collection_id=identifier,
            display_name=display_name,
            description=description,
            root=_real_root(root),
            owner_urn=owner_urn,
            read_only=read_only,
            public=public,
            created_at=self._clock.now(),
        )
        try:
            with self._db.begin() as tx:
                tx.execute(insert(collections).values(**_collection_row(collection)))
        except IntegrityError as error:
            raise TransferError(Kind.EXISTS, f"a collection with id {identifier} exists already") from error
        return collection

    def get(self, collection_id: str) -> Collection:
        """
        Raises:
            TransferError: there is none.
        """
        with self._db.read() as tx:
            return _load(tx, collection_id)

    def access(self, caller: Caller, collection_id: str) -> Access:
        """What the caller may do in the collection, as the rules stand now.

        Raises:
            TransferError: there is none, or none that the caller may see.
        """
        with self._db.read() as tx:
            collection = _load(tx, collection_id)
            access = Access.of(caller, collection, _rules_of(tx, collection.collection_id))
        if not access.may_see:
            raise _no_collection(collection_id)
        return access

    def list_for(self, caller: Caller) -> list[Collection]:
        """Collections the caller may see, by name."""
        granted = _rule_for(caller)
        visible = or_(
            collections.c.owner.in_(sorted(caller.principals)),
            collections.c.public,
            collections.c.collection_id.in_(select(access_rules.c.collection_id).where(granted)),
        )
        query = select(collections).order_by(collections.c.display_name, collections.c.collection_id)
        if not caller.is_service_administrator:
            query = query.where(visible)
        with self._db.read() as tx:
            return [_collection(row) for row in tx.execute(query).mappings()]

    def delete(self, collection_id: str) -> None:
        """Offer the directory no more; its files stay."""
        with self._db.begin() as tx:
            found = _load(tx, collection_id)
            tx.execute(delete(access_rules).where(access_rules.c.collection_id == found.collection_id))
            tx.execute(delete(collections).where(collections.c.collection_id == found.collection_id))

    def may(self, caller: Caller, collection: Collection, path: str, need: Need) -> bool:
        """Whether the caller may read (``r``) or write (``rw``) the path; see ``Access.may``."""
        with self._db.read() as tx:
            access = Access.of(caller, collection, _rules_of(tx, collection.collection_id))
        return access.may(parse(path), need)

    @contextmanager
    def open(self, caller: Caller, collection_id: str) -> Iterator[Tree]:
        """The collection's files, as far as the caller may use them."""
        access = self.access(caller, collection_id)
        with Tree(access.collection.root, access.require) as tree:
            yield tree

    def add_rule(
        self,
        collection_id: str,
        *,
        path: str,
        principal_type: str,
        principal: str,
        permissions: str,
        rule_id: str | None = None,
    ) -> AccessRule:
        """Add an access rule. With a ``rule_id`` that exists the rule of that id is returned: the request was repeated.

        Raises:
            TransferError: the sentence says which member is wrong.
        """
        now = self._clock.now()
        with self._db.begin() as tx:
            collection = _load(tx, collection_id)
            rule = AccessRule(
                rule_id=rule_id or str(uuid.uuid4()),
                collection_id=collection.collection_id,
                path=_rule_path(path),
                principal_type=_principal_type(principal_type),
                principal=_principal(principal_type, principal),
                permissions=_permissions(permissions),
                created_at=now,
            )
            existing = tx.execute(select(access_rules).where(access_rules.c.rule_id == rule.rule_id)).mappings().first()
            if existing is not None:
                return _rule(existing)
            _require_room(tx, collection)
            _require_new(tx, rule)
            tx.execute(insert(access_rules).values(**_rule_row(rule)))
        return rule

    def update_rule(self, collection_id: str, rule_id: str, permissions: str) -> AccessRule:
        """Change what the rule gives; its path and principal stay."""
        level = _permissions(permissions)
        with self._db.begin() as tx:
            _load(tx, collection_id)
            where = _one_rule(collection_id, rule_id)
            if tx.execute(update(access_rules).where(where).values(permissions=level)).rowcount == 0:
                raise _no_rule(collection_id, rule_id)
            return _rule(tx.execute(select(access_rules).where(where)).mappings().one())

    def delete_rule(self, collection_id: str, rule_id: str, *, deleted_by: str | None = None) -> None:
        """Take the rule back. ``deleted_by`` is the action that asks: asked again, it is no error.

        Raises:
            TransferError: there is no such rule.
        """
        with self._db.begin() as tx:
            _load(tx, collection_id)
            where = _one_rule(collection_id, rule_id)
            values = {"deleted_at": to_us(self._clock.now()), "deleted_by": deleted_by}
            if tx.execute(update(access_rules).where(where).values(**values)).rowcount:
                return
            before = select(access_rules.c.deleted_by).where(access_rules.c.rule_id == rule_id)
            if deleted_by is None or tx.execute(before).scalar() != deleted_by:
                raise _no_rule(collection_id, rule_id)

    def list_rules(self, collection_id: str) -> list[AccessRule]:
        """Every rule, oldest first."""
        with self._db.read() as tx:
            return _rules_of(tx, _load(tx, collection_id).collection_id)

    def intend_directory(self, action_id: str) -> None:
        """Note that the action is about to make its directory."""
        now = self._clock.now()
        with self._db.begin() as tx:
            tx.execute(delete(mkdir_intents).where(mkdir_intents.c.created_at < to_us(now - _INTENT_KEPT)))
            tx.execute(insert(mkdir_intents).values(action_id=action_id, created_at=to_us(now)))

    def intended_directory(self, action_id: str) -> bool:
        """Whether the action was about to make its directory before."""
        with self._db.read() as tx:
            query = select(mkdir_intents.c.action_id).where(mkdir_intents.c.action_id == action_id)
            return tx.execute(query).first() is not None


def _real_root(root: str) -> str:
    if "\0" in root or not root.startswith("/"):
        raise _bad(f"the directory {brief(root)} must be an absolute path")
    real = os.path.realpath(root)
    if real == "/" or any(real == one or real.startswith(f"{one}/") for one in _PSEUDO):
        raise _bad(f"the directory {brief(root)} is {real}, which cannot be offered; choose a directory made for data")
    if not Path(real).is_dir():
        raise TransferError(Kind.NOT_DIRECTORY, f"the directory {brief(root)} does not exist or is not a directory")
    return real


def _rule_path(path: str) -> str:
    if not path.startswith(("/", "~")) or not (path.endswith("/") or path == "~"):
        raise _bad(f"the path {brief(path)} of an access rule must begin and end with a slash, such as /data/")
    parts = parse(path)
    return "/" + "".join(f"{name}/" for name in parts)


def _principal_type(text: str) -> PrincipalType:
    for known in get_args(PrincipalType):
        if text == known:
            return known  # type: ignore[no-any-return] # get_args forgets that these are the literals
    raise _bad(f"principal_type {brief(text)} is not one of {', '.join(get_args(PrincipalType))}")


def _principal(principal_type: str, text: str) -> str:
    if principal_type in ("all_authenticated_users", "anonymous"):
        if text:
            raise _bad(f"principal must be empty when principal_type is {principal_type}, not {brief(text)}")
        return ""
    of_urn = identity_of(text) if principal_type == "identity" else group_of(text)
    found = of_urn or normal_uuid(text)
    if found is None:
        raise _bad(f"principal {brief(text)} is not the UUID of the {principal_type}")
    return found


def _permissions(text: str) -> Permissions:
    if text == "r":
        return "r"
    if text == "rw":
        return "rw"
    raise _bad(f"permissions {brief(text)} must be 'r' or 'rw'")


def _require_room(tx: Connection, collection: Collection) -> None:
    query = select(func.count()).where(_live(collection.collection_id))
    if tx.execute(query).scalar_one() >= MAX_RULES_PER_COLLECTION:
        raise TransferError(
            Kind.NO_SPACE,
            f"the collection {collection.display_name!r} has {MAX_RULES_PER_COLLECTION} access rules, which is the "
            "limit; give the permission to a group, or delete rules",
        )


def _require_new(tx: Connection, rule: AccessRule) -> None:
    same = and_(
        _live(rule.collection_id),
        access_rules.c.path == rule.path,
        access_rules.c.principal_type == rule.principal_type,
        access_rules.c.principal == rule.principal,
    )
    found = tx.execute(select(access_rules.c.rule_id).where(same)).scalar()
    if found is not None:
        raise TransferError(
            Kind.EXISTS, f"the access rule {found} for this principal on {rule.path} exists already; update it instead"
        )


def _load(tx: Connection, collection_id: str) -> Collection:
    query = select(collections).where(collections.c.collection_id == (normal_uuid(collection_id) or ""))
    row = tx.execute(query).mappings().first()
    if row is None:
        raise _no_collection(collection_id)
    return _collection(row)


def _rules_of(tx: Connection, collection_id: str) -> list[AccessRule]:
    query = (
        select(access_rules)
        .where(_live(collection_id))
        .order_by(access_rules.c.created_at, access_rules.c.path, access_rules.c.rule_id)
    )
    return [_rule(row) for row in tx.execute(query).mappings()]


def _live(collection_id: str) -> Any:
    return and_(access_rules.c.collection_id == collection_id, access_rules.c.deleted_at.is_(None))


def _one_rule(collection_id: str, rule_id: str) -> Any:
    return and_(_live(normal_uuid(collection_id) or ""), access_rules.c.rule_id == rule_id)


def _rule_for(caller: Caller) -> Any:
    identities = sorted(filter(None, map(identity_of, caller.principals)))
    groups = sorted(filter(None, map(group_of, caller.principals)))
    kind, principal = access_rules.c.principal_type, access_rules.c.principal
    return and_(
        access_rules.c.deleted_at.is_(None),
        or_(
            kind.in_(("all_authenticated_users", "anonymous")),
            and_(kind == "identity", principal.in_(identities)),
            and_(kind == "group", principal.in_(groups)),
        ),
    )


def _collection_row(collection: Collection) -> dict[str, Any]:
    return {
        "collection_id": collection.collection_id,
        "display_name": collection.display_name,
        "description": collection.description,
        "root": collection.root,
        "owner": collection.owner_urn,
        "read_only": collection.read_only,
        "public": collection.public,
        "created_at": to_us(collection.created_at),
    }


def _collection(row: Any) -> Collection:
    return Collection(
        collection_id=row["collection_id"],
        display_name=row["display_name"],
        description=row["description"],
        root=row["root"],
        owner_urn=row["owner"],
        read_only=row["read_only"],
        public=row["public"],
        created_at=from_us(row["created_at"]),
    )


def _rule_row(rule: AccessRule) -> dict[str, Any]:
    return {
        "rule_id": rule.rule_id,
        "collection_id": rule.collection_id,
        "path": rule.path,
        "principal_type": rule.principal_type,
        "principal": rule.principal,
        "permissions": rule.permissions,
        "created_at": to_us(rule.created_at),
    }


def _rule(row: Any) -> AccessRule:
    return AccessRule(
        rule_id=row["rule_id"],
        collection_id=row["collection_id"],
        path=row["path"],
        principal_type=row["principal_type"],
        principal=row["principal"],
        permissions=row["permissions"],
        created_at=from_us(row["created_at"]),
    )


def _bad(sentence: str) -> TransferError:
    return TransferError(Kind.BAD_REQUEST, sentence)


def _no_collection(collection_id: str) -> TransferError:
    return TransferError(
        Kind.NO_COLLECTION, f"no collection with id {brief(collection_id)} exists that you may see; check the id"
    )


def _no_rule(collection_id: str, rule_id: str) -> TransferError:
    return TransferError(Kind.NO_RULE, f"the collection {collection_id} has no access rule with id {brief(rule_id)}")
