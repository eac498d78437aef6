"""Two collections in temporary directories, callers, and a driver that plays the kit's part."""

from __future__ import annotations

import json
import uuid
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from jsonschema import Draft7Validator

from action_providers.provider import Action, ActionProvider, Active, Failed, Outcome, Succeeded, Work
from action_providers.transfer import Collections
from action_providers.transfer.access import Collection
from action_providers.transfer.tables import metadata
from flows_engine.store.db import SqlDatabase
from schemas.json_text import dumps, loads_trusted
from schemas.principals import Caller

NOW = datetime(2026, 1, 31, 12, tzinfo=UTC)


class FixedClock:
    def now(self) -> datetime:
        return NOW


def caller(number: int, **members: Any) -> Caller:
    return Caller(identity_id=str(uuid.UUID(int=number)), username=f"user{number}@example.org", **members)


OWNER, GUEST, STRANGER = caller(1), caller(2, groups=frozenset({str(uuid.UUID(int=77))})), caller(3)
ADMINISTRATOR = caller(4, is_service_administrator=True)


class Crash(BaseException):
    """The process is gone."""


@dataclass
class World:
    base: Path
    collections: Collections = field(init=False)
    source: Collection = field(init=False)
    target: Collection = field(init=False)

    def __post_init__(self) -> None:
        self.db = SqlDatabase(f"sqlite:///{self.base / 'test.db'}")
        with self.db.begin() as tx:
            metadata.create_all(tx)
        self.collections = Collections(self.db, FixedClock())
        self.source = self.offer("source")
        self.target = self.offer("target")

    def offer(self, name: str, **options: Any) -> Collection:
        (self.base / name).mkdir(exist_ok=True)
        return self.collections.create(name, str(self.base / name), OWNER.urn, **options)

    @property
    def source_dir(self) -> Path:
        return self.base / "source"

    @property
    def target_dir(self) -> Path:
        return self.base / "target"

    def transfer_body(self, *items: tuple[str, str] | Mapping[str, Any], **options: Any) -> dict[str, Any]:
        data = [
            dict(one) if isinstance(one, Mapping) else {"source_path": one[0], "destination_path": one[1]}
            for one in items
        ]
        return {
            "source_endpoint": self.source.collection_id,
            "destination_endpoint": self.target.collection_id,
            "DATA": data,
            **options,
        }

    def grant(self, path: str, permissions: str, who: Caller = GUEST, *, on: Collection | None = None) -> str:
        rule = self.collections.add_rule(
            (on or self.source).collection_id,
            path=path,
            principal_type="identity",
            principal=who.identity_id,
            permissions=permissions,
        )
        return rule.rule_id


def action_for(provider: ActionProvider, body: Any, who: Caller = OWNER, action_id: str = "") -> Action:
    """The action as the kit hands it over: the body adapted, checked against the input schema, and read back."""
    adapted = loads_trusted(dumps(provider.adapt(json.loads(json.dumps(body)))))
    Draft7Validator.check_schema(provider.description.input_schema)
    errors = [error.message for error in Draft7Validator(provider.description.input_schema).iter_errors(adapted)]
    assert errors == []
    return Action(action_id=action_id or str(uuid.UUID(int=0xAC)), body=adapted, caller=who, label=None, started_at=NOW)


def carry_on(
    provider: ActionProvider, action: Action, report: Callable[[Mapping[str, Any]], None] = lambda details: None
) -> Outcome:
    """Call ``advance`` until the action ends, keeping state as the kit does: through JSON."""
    for _ in range(100_000):
        outcome = provider.advance(action, Work(now=NOW, report=report))
        dumps(outcome.details)
        if not isinstance(outcome, Active):
            return outcome
        action = replace(action, state=loads_trusted(dumps(outcome.state)), details=outcome.details)
    raise AssertionError("the action never ends")


def perform(provider: ActionProvider, body: Any, who: Caller = OWNER, action_id: str = "") -> Outcome:
    action = action_for(provider, body, who, action_id)
    outcome = provider.run(action, NOW)
    dumps(outcome.details)
    if not isinstance(outcome, Active):
        return outcome
    return carry_on(provider, replace(action, state=outcome.state, details=outcome.details))


def succeeded(outcome: Outcome) -> Mapping[str, Any]:
    assert isinstance(outcome, Succeeded), outcome
    return outcome.details


def failed(outcome: Outcome, code: str, *words: str) -> Mapping[str, Any]:
    """The details of a failure with the code, whose sentence has all the words."""
    assert isinstance(outcome, Failed), outcome
    assert outcome.details["code"] == code, outcome.details
    for word in words:
        assert word in outcome.details["description"], outcome.details["description"]
    return outcome.details


def snapshot(directory: Path) -> dict[str, bytes | str | None]:
    """Every path below the directory: contents of files, None for directories, ``-> target`` for links."""
    found: dict[str, bytes | str | None] = {}
    for path in sorted(directory.rglob("*")):
        name = str(path.relative_to(directory))
        if path.is_symlink():
            found[name] = f"-> {path.readlink()}"
        else:
            found[name] = path.read_bytes() if path.is_file() else None
    return found


def plant(directory: Path, files: Mapping[str, bytes | None]) -> None:
    """Make files (bytes) and directories (None)."""
    for name, content in files.items():
        path = directory / name
        if content is None:
            path.mkdir(parents=True, exist_ok=True)
        else:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(content)
