"""Collections and their rules, on every database."""

from __future__ import annotations

import uuid
from pathlib import Path

import pytest

from action_providers.transfer import Collections
from action_providers.transfer.faults import TransferError
from action_providers.transfer.tables import metadata
from flows_engine.store.db import SqlDatabase
from tests.unit.transfer.world import GUEST, NOW, OWNER, STRANGER, FixedClock


def test_a_collection_lives_and_dies(database: SqlDatabase, tmp_path: Path):
    metadata.create_all(database.engine)
    collections = Collections(database, FixedClock())
    made = collections.create("data", str(tmp_path), OWNER.urn, description="d")
    assert made.created_at == NOW
    assert collections.get(made.collection_id.upper()) == made

    rule = collections.add_rule(
        made.collection_id, path="/~/a/", principal_type="identity", principal=GUEST.urn, permissions="r"
    )
    group = collections.add_rule(
        made.collection_id, path="/g/", principal_type="group", principal=str(uuid.UUID(int=77)), permissions="rw"
    )
    assert rule.path == "/a/"
    assert collections.list_rules(made.collection_id) == [rule, group]
    assert collections.list_for(GUEST) == collections.list_for(OWNER) == [made]
    assert collections.list_for(STRANGER) == []
    assert collections.update_rule(made.collection_id, rule.rule_id, "rw").permissions == "rw"
    collections.delete_rule(made.collection_id, rule.rule_id)
    with pytest.raises(TransferError, match="no access rule"):
        collections.delete_rule(made.collection_id, rule.rule_id)

    assert not collections.intended_directory("an action")
    collections.intend_directory("an action")
    assert collections.intended_directory("an action")

    with pytest.raises(TransferError, match="exists already"):
        collections.create("again", str(tmp_path), OWNER.urn, collection_id=made.collection_id)
    collections.delete(made.collection_id)
    with pytest.raises(TransferError, match="no collection"):
        collections.access(OWNER, made.collection_id)
    metadata.drop_all(database.engine)
