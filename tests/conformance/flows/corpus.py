"""Published flow definitions in a folder, with the input schemas and sample inputs that lie beside them.

A definition is known by what it is (an object with ``StartAt`` and ``States``, alone or as the member ``definition`` of a
flow document), not by its name.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import takewhile
from pathlib import Path
from typing import Any

import yaml

from schemas.errors import InvalidJson
from schemas.json_text import loads

_DEFAULT = Path(__file__).parents[4] / "shared" / "corpus" / "flows"


@dataclass(frozen=True, slots=True, kw_only=True)
class Published:
    """``schema`` and ``sample`` are None where nothing was published with the definition."""

    name: str
    definition: dict[str, Any]
    schema: dict[str, Any] | None
    sample: dict[str, Any] | None

    def actions(self) -> Iterator[tuple[dict[str, Any], str]]:
        """Every Action state with the URL of its provider; empty where it has a Handler of another kind."""
        for state in self.definition["States"].values():
            if state.get("Type") == "Action":
                handler = state.get("Handler")
                yield state, state.get("ActionUrl") or (handler.get("Url", "") if isinstance(handler, dict) else "")


def folder() -> Path:
    """``$FLOWS_CORPUS``, else the place where it usually lies."""
    return Path(os.environ.get("FLOWS_CORPUS") or _DEFAULT)


def is_named() -> bool:
    return bool(os.environ.get("FLOWS_CORPUS"))


def published(root: Path) -> list[Published]:
    """Every definition below the folder, by name.

    Raises:
        ValueError: there is none.
    """
    found = [one for place in sorted({file.parent for file in root.rglob("*")}) for one in _in_one_folder(root, place)]
    if not found:
        raise ValueError(f"{root} holds no flow definition; FLOWS_CORPUS must name a folder with definitions below it")
    return found


def _in_one_folder(root: Path, place: Path) -> Iterator[Published]:
    documents = {file: document for file in sorted(place.iterdir()) if isinstance(document := _read(file), dict)}
    schemas = {file: one for file, one in documents.items() if _is_schema(file, one)}
    definitions = {file: found for file, one in documents.items() if (found := _definition_in(one)) is not None}
    samples = {
        file: one
        for file, one in documents.items()
        if file not in schemas and file not in definitions and "input" in file.stem.lower()
    }
    for file, definition in definitions.items():
        own = documents[file].get("input_schema")
        yield Published(
            name=f"{file.relative_to(root).parent}/{file.stem}"
            if len(definitions) > 1
            else str(place.relative_to(root)),
            definition=definition,
            schema=own if isinstance(own, dict) else _nearest(file, schemas, alone=len(definitions) == 1),
            sample=_nearest(file, samples, alone=len(definitions) == 1),
        )


def _read(file: Path) -> Any:
    if not file.is_file() or file.suffix not in (".json", ".yaml", ".yml"):
        return None
    try:
        return loads(file.read_bytes()) if file.suffix == ".json" else yaml.safe_load(file.read_text("utf-8"))
    except (InvalidJson, yaml.YAMLError, UnicodeDecodeError):
        return None


def _definition_in(document: dict[str, Any]) -> dict[str, Any] | None:
    inner = document.get("definition")
    for one in (document, inner):
        if isinstance(one, dict) and isinstance(one.get("States"), dict) and "StartAt" in one:
            return one
    return None


def _is_schema(file: Path, document: dict[str, Any]) -> bool:
    return isinstance(document.get("properties"), dict) and ("schema" in file.stem.lower() or "type" in document)


def _nearest(file: Path, others: dict[Path, dict[str, Any]], *, alone: bool) -> dict[str, Any] | None:
    """What belongs to the definition: what begins with its name, or whatever is there when it is alone."""
    named = [one for one in others if _shared(one, file) >= min(4, len(file.stem))]
    best = max(named, key=lambda one: _shared(one, file), default=None)
    if best is None and alone:
        best = next(iter(others), None)
    return None if best is None else others[best]


def _shared(one: Path, other: Path) -> int:
    """How many characters both names begin with."""
    return sum(1 for _ in takewhile(lambda pair: pair[0] == pair[1], zip(one.stem, other.stem, strict=False)))
