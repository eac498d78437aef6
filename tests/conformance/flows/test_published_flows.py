"""Published definitions, unmodified: each deploys, and each runs as far as there are providers for it.

Reads ``$FLOWS_CORPUS``, by default the corpus that lies beside this repository.
"""

from __future__ import annotations

from pathlib import Path

import pytest

from flows_engine.actions.resolve import BuiltIn, Missing, Remote
from schemas.json_text import dumps
from tests.conformance.flows import corpus
from tests.conformance.flows.corpus import Published
from tests.conformance.flows.inputs import World, input_for, source_files
from tests.conftest import missing
from tests.examples.running_house import PATIENCE_S, RunningHouse


@pytest.fixture
def published(flow: Published | None) -> Published:
    if flow is None:
        missing("the corpus of published flows", f"put it at {corpus.folder()}, or name its folder with FLOWS_CORPUS")
    assert flow is not None
    return flow


def test_published_flow_deploys_unmodified(published: Published, house: RunningHouse) -> None:
    house.client.validate_flow(published.definition, published.schema)

    flow = house.client.create_flow(published.name, published.definition, published.schema)

    assert flow["definition"] == published.definition
    assert flow["input_schema"] == (published.schema or {})


def test_published_flow_runs(published: Published, house: RunningHouse, tmp_path: Path) -> None:
    places = {url: house.house.directory.place(url) if url else None for _, url in published.actions()}
    if any(isinstance(place, Remote) for place in places.values()):
        pytest.skip("needs a provider on another server")
    world = World(house, tmp_path)
    body = input_for(published, world)
    flow = house.client.create_flow(published.name, published.definition, published.schema)

    run = house.client.run_flow(flow["id"], body).wait(PATIENCE_S)

    log = list(run.log())
    absent = {place.path for place in places.values() if isinstance(place, Missing)}
    if absent or None in places.values():
        _assert_stopped_cleanly(run.status, log, absent)
        return
    assert run.status == "SUCCEEDED", dumps([body, run.document["details"], log[-4:]])
    assert [entry["code"] for entry in log if entry["code"] in ("ActionFailed", "FlowFailed")] == []
    paths = {place.description.path for place in places.values() if isinstance(place, BuiltIn)}
    if "transfer/transfer" in paths:
        _assert_copied(world)
    if not paths.isdisjoint({"compute", "compute/v3"}):
        _assert_computed(log)
    if paths == {"transfer/delete"}:
        assert not [file for root in world.roots.values() for file in root.rglob("*") if file.is_file()]


def _assert_stopped_cleanly(status: str, log: list[dict[str, object]], absent: set[str]) -> None:
    """The first action without a provider was refused in words that name it, and the run ended as the flow has it."""
    failures = [entry["details"] for entry in log if entry["code"] == "ActionFailed"]
    assert failures, dumps(log[-2:])
    assert failures[0]["exception"] == "ActionUnableToRun"
    assert any(path in str(failures[0]["cause"]) for path in absent)
    assert "not available on this server" in str(failures[0]["cause"])
    assert status in ("FAILED", "SUCCEEDED")  # the latter when the flow catches it
    if status == "FAILED":
        assert log[-1]["code"] == "FlowFailed"


def _assert_copied(world: World) -> None:
    arrived = world.arrived()
    assert arrived, f"nothing is at {world.targets}"
    assert {name: source_files()[name] for name in arrived} == arrived


def _assert_computed(log: list[dict[str, object]]) -> None:
    """A function was called, and the run has what it returned."""
    text = dumps(log)
    assert '"given":[[],{}]' in text
    assert '"task_group_id"' in text


def test_folder_that_is_named_must_hold_definitions(tmp_path: Path) -> None:
    (tmp_path / "notes.json").write_text('{"States": "of the union"}')

    with pytest.raises(ValueError, match="holds no flow definition"):
        corpus.published(tmp_path)


def test_definitions_are_found_by_what_they_are(tmp_path: Path) -> None:
    definition = '{"StartAt": "A", "States": {"A": {"Type": "Pass", "End": true}}}'
    (tmp_path / "one").mkdir()
    (tmp_path / "one" / "anything.json").write_text(definition)
    (tmp_path / "one" / "schema.json").write_text('{"type": "object", "properties": {"n": {"type": "integer"}}}')
    (tmp_path / "two").mkdir()
    (tmp_path / "two" / "move_flow.json").write_text('{"title": "Move", "definition": ' + definition + "}")
    (tmp_path / "two" / "move_input.yaml").write_text("n: 1")
    (tmp_path / "two" / "copy_flow.json").write_text(definition)

    found = {one.name: one for one in corpus.published(tmp_path)}

    assert sorted(found) == ["one", "two/copy_flow", "two/move_flow"]
    assert found["one"].schema == {"type": "object", "properties": {"n": {"type": "integer"}}}
    assert found["two/move_flow"].sample == {"n": 1}
    assert found["two/copy_flow"].sample is None
