"""Published definitions are accepted; machines of AWS's corpus are judged as AWS judged them.

The corpora are other people's work: they are read where they lie, beside the repository, and never copied.
"""

from __future__ import annotations

import json
from pathlib import Path

import jsonschema
import pytest

from flows_engine.asl.dialects import ASL, GLOBUS
from flows_engine.asl.source import read_document
from flows_engine.asl.validate import validate

ROOT = Path(__file__).parents[3]
CORPUS = ROOT.parent / "shared" / "corpus"
OWN_SCHEMA = ROOT / "schemas" / "documents" / "flow_definition.schema.json"
HOSTED_SCHEMA = CORPUS / "flows" / "schema" / "flow_definition_schema.json"

pytestmark = pytest.mark.skipif(not CORPUS.is_dir(), reason="the corpora are not beside the repository")

DEFINITIONS = sorted(
    path
    for path in (CORPUS / "flows").glob("*/*/*")
    if path.name in ("definition.json", "definition.yaml", "flow.json")
)
SERVED_TYPES = {"Choice", "Pass", "Wait", "Fail", "Succeed"}
#: What the dialect does not have yet, as it shows in the text of a machine.
NOT_SERVED = ('"JSONata"', '"Assign"', "States.Format(", "States.UUID(", '"States.')


def read(path):
    return read_document(path.read_bytes(), name=path.name).document


@pytest.mark.parametrize("path", DEFINITIONS, ids=lambda path: f"{path.parts[-3]}/{path.parts[-2]}")
def test_published_flows_are_accepted(path):
    document = read(path)
    assert [found.to_json() for found in validate(document, GLOBUS)] == []
    jsonschema.Draft7Validator(json.loads(OWN_SCHEMA.read_text())).validate(document)
    jsonschema.Draft7Validator(json.loads(HOSTED_SCHEMA.read_text())).validate(document)


def types_of(value):
    if isinstance(value, list):
        return set().union(*map(types_of, value))
    if not isinstance(value, dict):
        return set()
    found = set().union(*map(types_of, value.values()))
    states = value.get("States")
    if isinstance(states, dict):
        found |= {state.get("Type") for state in states.values() if isinstance(state, dict)}
    return found


def machines():
    for path in sorted((CORPUS / "asl" / "public").glob("*.json")):
        for case in json.loads(path.read_text())["cases"]:
            definition = case.get("definition")
            if case["kind"] in ("validation", "execution") and isinstance(definition, dict):
                is_valid = case["expected"].get("valid", True)  # AWS created what it executed
                if types_of(definition) <= SERVED_TYPES and not (
                    is_valid and any(mark in json.dumps(definition) for mark in NOT_SERVED)
                ):
                    yield pytest.param(definition, is_valid, id=case["id"])


@pytest.mark.parametrize(("definition", "is_valid"), list(machines()))
def test_machines_are_judged_as_aws_judged_them(definition, is_valid):
    problems = [found.to_json() for found in validate(definition, ASL)]
    assert (problems == []) is is_valid, problems
