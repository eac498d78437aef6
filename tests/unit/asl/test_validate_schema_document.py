"""The schema of a definition that editors read agrees with the validator about structure."""

from __future__ import annotations

import json
from pathlib import Path

import jsonschema
import pytest

from flows_engine.asl.dialects import UNION
from flows_engine.asl.validate import validate
from flows_engine.asl.validate_choice import COMPARATORS

SCHEMA = json.loads((Path(__file__).parents[3] / "schemas/documents/flow_definition.schema.json").read_text())
END = {"Type": "Pass", "End": True}
ACTION = {"Type": "Action", "ActionUrl": "https://a.example/", "Parameters": {}, "End": True}


def accepts(state):
    document = {"StartAt": "S", "States": {"S": state}}
    if "'Done'" in repr(state):
        document["States"]["Done"] = END
    by_schema = jsonschema.Draft7Validator(SCHEMA).is_valid(document)
    assert by_schema is (validate(document) == []), "the schema and the validator disagree"
    return by_schema


def test_the_document_is_a_schema():
    jsonschema.Draft7Validator.check_schema(SCHEMA)


def test_it_knows_the_types_fields_and_operators_of_the_dialect():
    definitions = SCHEMA["definitions"]
    for kind, fields in UNION.state_fields.items():
        assert set(definitions[kind]["properties"]) == fields | {"Type", "Comment"}
    assert set(SCHEMA["properties"]) == UNION.top_level_fields
    assert set(definitions["Rule"]["properties"]) == {*COMPARATORS, "And", "Or", "Not", "Variable", "Comment"}


RULE = {"Variable": "$.a", "IsNull": True}


@pytest.mark.parametrize(
    "state",
    [
        END,
        ACTION | {"Catch": [{"ErrorEquals": ["E"], "Next": "Done"}]},
        {
            "Type": "Action",
            "Handler": {"Type": "ActionProvider", "Url": "https://a.example/"},
            "InputPath": "$.x",
            "End": True,
        },
        {"Type": "Choice", "Choices": [{"And": [RULE, {"Not": RULE}], "Next": "Done"}]},
        {"Type": "Wait", "Seconds": 5, "Next": "Done"},
        {"Type": "ExpressionEval", "Parameters": {"x.=": "1"}, "ResultPath": "$.x", "End": True},
        {"Type": "Pass", "End": False, "Next": "Done"},
        {"Type": "Succeed"},
        {"Type": "Fail", "Error": "E", "CausePath": "$.c"},
    ],
)
def test_it_accepts_what_the_validator_accepts(state):
    assert accepts(state)


@pytest.mark.parametrize(
    "state",
    [
        {"Type": "Task", "End": True},
        {"End": True},
        {"Type": "Pass"},
        END | {"Next": "Done"},
        END | {"Nxt": "Done"},
        ACTION | {"InputPath": "$.x"},
        ACTION | {"WaitTime": 0},
        ACTION | {"Handler": {"Type": "ActionProvider", "Url": "https://a.example/"}},
        ACTION | {"Catch": [{"ErrorEquals": [], "Next": "Done"}]},
        {"Type": "Choice", "Choices": []},
        {"Type": "Choice", "Choices": [RULE]},
        {"Type": "Choice", "Choices": [{"And": [RULE | {"Next": "Done"}], "Next": "Done"}]},
        {"Type": "Choice", "Choices": [{"Variable": "$.a", "StringEquals": 1, "Next": "Done"}]},
        {"Type": "Choice", "Choices": [{"Variable": "$.a", "Next": "Done"}]},
        {"Type": "Choice", "Choices": [RULE | {"IsString": True, "Next": "Done"}]},
        {"Type": "Wait", "Seconds": 5, "SecondsPath": "$.s", "End": True},
        {"Type": "Wait", "End": True},
        {"Type": "ExpressionEval", "Parameters": {}, "End": True},
        {"Type": "Fail", "Error": "E", "ErrorPath": "$.e"},
    ],
)
def test_it_refuses_what_the_validator_refuses(state):
    assert not accepts(state)
