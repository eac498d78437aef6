"""Cases of the ASL corpus: ``ASL_CORPUS`` names the folder, by default one beside the repository."""

from __future__ import annotations

import json
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from flows_engine.asl.dialects import Dialect
from tests.conformance.asl.language import missing_features

_BESIDE = Path(__file__).parents[4] / "shared" / "corpus" / "asl" / "public"

_NAMED = os.environ.get("ASL_CORPUS")

FOLDER = Path(_NAMED or _BESIDE)

#: Kinds of cases that ask an API for something other than running or checking a definition.
_OTHER_KINDS = {"test_state": "TestState API", "variable_references": "list of variable references"}


@dataclass(frozen=True)
class Case:
    """One recorded case; ``body`` is its document as the corpus README describes it."""

    body: dict[str, Any]

    @property
    def id(self) -> str:
        return str(self.body["id"])

    @property
    def group(self) -> str:
        return str(self.body["group"])

    @property
    def kind(self) -> str:
        return str(self.body["kind"])

    @property
    def expected(self) -> dict[str, Any]:
        expected: dict[str, Any] = self.body["expected"]
        return expected

    def missing(self, dialect: Dialect) -> list[str]:
        """Features this case needs and the dialect, or this runner, does not have."""
        if self.kind in _OTHER_KINDS:
            return [_OTHER_KINDS[self.kind]]
        missing = missing_features(self.body.get("definition"), dialect)
        if self.kind == "execution":
            missing |= {f"service {name}" for name in self.body.get("needs", ())}
        return sorted(missing)


def load() -> list[Case]:
    """All cases, by file; an empty list when there is no corpus and nobody has named one."""
    files = sorted(path for path in FOLDER.glob("*.json") if path.name != "index.json")
    if _NAMED and not files:
        raise FileNotFoundError(f"ASL_CORPUS names {FOLDER}, which holds no cases")
    return [Case(body) for path in files for body in json.loads(path.read_text("utf-8"))["cases"]]
