"""Every folder of examples/ does what its ``expected.json`` says, through the engine and with its own files.

``expected.json``: ``status``; ``output``, members that the output has at least; ``files``, exactly the files of a
collection afterwards; ``never_shown``, texts that no view of the run or flow holds; ``not_ended_before``, a time.
An example that needs a compute endpoint says so by its ``functions.py``.
"""

from __future__ import annotations

import importlib.util
import shutil
from datetime import UTC, datetime, timedelta
from pathlib import Path
from string import Template
from typing import Any

import pytest
import yaml

from schemas.json_text import dumps, loads
from schemas.times import format_time, parse_rfc3339
from tests.examples.running_house import RunningHouse

EXAMPLES = Path(__file__).parents[2] / "examples"
FOLDERS = sorted(path.parent for path in EXAMPLES.glob("*/definition.*"))
_MEMBERS = {"status", "output", "files", "never_shown", "not_ended_before"}


class Example:
    """An example with its placeholders filled in and its collections made."""

    def __init__(self, folder: Path, house: RunningHouse, place: Path) -> None:
        self.folder = folder
        self.roots = {"source": place / "source", "target": place / "target"}
        if (folder / "source").is_dir():
            shutil.copytree(folder / "source", self.roots["source"])
        self._values = {name.upper(): house.add_collection(root) for name, root in self.roots.items()}
        self._values |= {f"{name.upper()}_ROOT": str(root) for name, root in self.roots.items()}
        if (folder / "functions.py").exists():
            self._values["ENDPOINT"] = house.endpoint_id
            self._values["FUNCTION"] = house.compute.register_function(_function(folder))
        self._values["SOON"] = format_time(datetime.now(UTC) + timedelta(seconds=1.5))
        self.definition = _definition(folder)
        self.schema = loads((folder / "input_schema.json").read_bytes())
        self.input = self._filled("input.json")
        self.expected = self._filled("expected.json")

    def _filled(self, name: str) -> Any:
        return loads(Template((self.folder / name).read_text()).substitute(self._values))

    def files_of(self, collection: str) -> list[str]:
        root = self.roots[collection]
        return sorted(str(path.relative_to(root)) for path in root.rglob("*") if path.is_file())


def _definition(folder: Path) -> Any:
    if (folder / "definition.yaml").exists():
        return yaml.safe_load((folder / "definition.yaml").read_text())
    return loads((folder / "definition.json").read_bytes())


def _function(folder: Path) -> Any:
    """The function of the example, as its ``functions.py`` would register it."""
    spec = importlib.util.spec_from_file_location(f"functions_of_{folder.name}", folder / "functions.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module.function


def part_of(expected: Any, actual: Any) -> Any:
    """What ``actual`` has of the members that ``expected`` names, so that a comparison shows the difference."""
    if isinstance(expected, dict) and isinstance(actual, dict):
        return {key: part_of(value, actual[key]) for key, value in expected.items() if key in actual}
    return actual


@pytest.mark.parametrize("folder", FOLDERS, ids=lambda folder: folder.name)
def test_example_ends_as_expected(folder: Path, house: RunningHouse, tmp_path: Path) -> None:
    example = Example(folder, house, tmp_path)
    expected = example.expected
    assert set(expected) <= _MEMBERS, "expected.json has a member that nothing looks at"

    run = house.run(folder.name, example.definition, example.schema, example.input)

    assert run.status == expected["status"], dumps(run.document["details"])
    output = run.document["details"].get("output")
    assert part_of(expected.get("output"), output) == expected.get("output")
    for collection, files in expected.get("files", {}).items():
        assert example.files_of(collection) == files
    shown = dumps([run.document, list(run.log())])
    assert [text for text in expected.get("never_shown", ()) if text in shown] == []
    if "not_ended_before" in expected:
        assert parse_rfc3339(run.document["completion_time"]) >= parse_rfc3339(expected["not_ended_before"])


@pytest.mark.parametrize("folder", FOLDERS, ids=lambda folder: folder.name)
def test_example_is_complete_and_refuses_other_input(folder: Path, house: RunningHouse) -> None:
    text = (folder / "README.md").read_text()
    schema = loads((folder / "input_schema.json").read_bytes())

    answer = house.client.validate_flow(_definition(folder), schema)

    assert text.startswith("# ")
    assert f"examples/{folder.name}/" in text
    assert answer["analysis"]
    assert schema["additionalProperties"] is False
    assert folder.name in (EXAMPLES / "README.md").read_text()


def test_example_says_what_a_person_has_to_change(house: RunningHouse, tmp_path: Path) -> None:
    example = Example(EXAMPLES / "transfer_with_filters", house, tmp_path)
    (example.roots["target"] / "scan-results").mkdir()

    taken = house.run("taken", example.definition, example.schema, example.input)
    shutil.rmtree(example.roots["source"] / "scan")
    gone = house.run("gone", example.definition, example.schema, example.input)

    assert [one.document["details"]["details"] for one in (taken, gone)] == [
        {
            "state_name": "TargetIsTaken",
            "error": "TargetIsTaken",
            "cause": "/scan-results/ exists already; name a new folder",
        },
        {
            "state_name": "SourceIsMissing",
            "error": "SourceIsMissing",
            "cause": "There is no folder /scan/ to copy from",
        },
    ]


def test_examples_are_listed() -> None:
    assert len(FOLDERS) >= 9
