"""Schemas from strangers are checked when published; input is checked against them in bounded time."""

from __future__ import annotations

import json
from pathlib import Path

import jsonschema
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from flows_engine.asl.input_schema import check_input, check_schema
from flows_engine.asl.schema_evaluation import canonical

CORPUS = Path(__file__).parents[3].parent / "shared" / "corpus" / "flows"
DRAFT_2020 = "https://json-schema.org/draft/2020-12/schema"


def errors(schema, value):
    return [(found.loc, found.msg) for found in check_input(schema, value)]


def is_accepted(schema, value):
    assert check_schema(schema) == []
    return check_input(schema, value) == []


BAD_SCHEMAS = [  # (id, schema, rest of the location, words)
    ("list", [], (), "is an object, or true or false"),
    ("null", None, (), "none is not an allowed value"),
    ("B59 remote", {"$ref": "http://example.org/s.json"}, ("$ref",), "references must stay inside the schema"),
    ("B59 relative", {"$ref": "other.json#/a"}, ("$ref",), "references must stay inside the schema"),
    ("B60 file", {"items": {"$ref": "file:///etc/passwd"}}, ("items", "$ref"), "must stay inside the schema"),
    ("dangling", {"$ref": "#/definitions/x"}, ("$ref",), "leads to no schema"),
    ("B62", {"pattern": r"(a)\1"}, ("pattern",), "look-around and back-references are not"),
    ("B62 look", {"patternProperties": {"(?=a)": {}}}, ("patternProperties", "(?=a)"), "is not supported"),
    ("B64", {"$ref": "#"}, (), "refers to itself without end: # -> #"),
    ("B64 ring", {"definitions": {"a": {"$ref": "#/definitions/b"}, "b": {"not": {"$ref": "#/definitions/a"}}}},
     ("definitions", "a"), "refers to itself without end"),
    ("B66 multipleOf", {"multipleOf": 0}, ("multipleOf",), "multipleOf: 0 is less than or equal to the minimum of 0"),
    ("B66 minLength", {"minLength": -1}, ("minLength",), "minLength: -1 is less than the minimum of 0"),
    ("B66 type", {"items": {"type": "strng"}}, ("items", "type"), "did you mean 'string'?"),
    ("B66 2020", {"$schema": DRAFT_2020, "properties": {"a": {"type": "strng"}}}, ("properties", "a", "type"),
     "did you mean 'string'?"),
    ("required", {"required": "a"}, ("required",), "is not of type 'array'"),
    ("dialect", {"$schema": "http://json-schema.org/draft-03/schema#"}, ("$schema",), "not supported"),
    ("mixed", {"items": {"$schema": DRAFT_2020}}, ("items", "$schema"), "another dialect"),
    ("rebased", {"items": {"$id": "http://x.example/a", "not": {"$ref": "#/b"}}}, ("items", "not", "$ref"),
     "below a nested $id"),
]  # fmt: skip


@pytest.mark.parametrize(("schema", "loc", "words"), [r[1:] for r in BAD_SCHEMAS], ids=[r[0] for r in BAD_SCHEMAS])
def test_a_bad_schema_is_refused_when_published(schema, loc, words):
    (found,) = check_schema(schema)
    assert found.loc == ("input_schema", *loc)
    assert words in found.msg
    assert check_input(schema, {}) != [] or schema is None


def doubling(depth):
    """Each definition refers twice to the next: 2**depth subschemas for one value."""
    twice = {f"d{i}": {"allOf": [{"$ref": f"#/definitions/d{i + 1}"}] * 2} for i in range(depth)}
    return {"definitions": {**twice, f"d{depth}": {}}, "$ref": "#/definitions/d0"}


def nested(depth):
    return {"not": nested(depth - 1)} if depth else {}


TOO_COMPLEX_SCHEMAS = {
    "B63": doubling(25),
    "bytes": {"description": "x" * 65_536},
    "nodes": {"properties": {f"k{i}": {} for i in range(2_000)}},
    "depth": nested(40),
    "chain": {"$ref": "#/$defs/d0", "$defs": {f"d{i}": {"$ref": f"#/$defs/d{i + 1}"} for i in range(90)} | {"d90": {}}},
}


@pytest.mark.parametrize("schema", TOO_COMPLEX_SCHEMAS.values(), ids=TOO_COMPLEX_SCHEMAS.keys())
def test_a_schema_beyond_the_limits_is_too_complex(schema):
    assert [found.type for found in check_schema(schema)] == ["SCHEMA_TOO_COMPLEX"]


def deep(depth):
    return {"a": deep(depth - 1)} if depth else {}


COSTLY = {  # harmless to look at, ruinous for a naive evaluator
    "references that double per level": (
        {"properties": {"a": {"allOf": [{"$ref": "#"}, {"$ref": "#"}]}}},
        deep(60),
    ),
    "alternatives times items": ({"items": {"anyOf": [{"type": "string"}] * 900}}, [1] * 60_000),
    "empty schemas times items": ({"allOf": [{"items": {}}] * 900}, [1] * 60_000),
    "properties times objects": ({"items": {"properties": {f"k{i}": {} for i in range(1_900)}}}, [{}] * 20_000),
    "a pattern of 8,000 instructions": ({"pattern": "(x|.{0,900}y)z"}, "ab" * 131_072),
    "unevaluated properties": (
        {"$schema": DRAFT_2020, "unevaluatedProperties": False, "properties": {f"k{i}": {} for i in range(1_500)}},
        {f"k{i}": 1 for i in range(10_000)},
    ),
}


@pytest.mark.parametrize(("schema", "value"), COSTLY.values(), ids=COSTLY.keys())
def test_an_evaluation_stops_when_its_budget_is_spent(schema, value):
    assert check_schema(schema) == []
    assert [found.type for found in check_input(schema, value)] == ["SCHEMA_TOO_COMPLEX"]


CHEAP = {  # honest inputs at the size limit
    "a list of numbers": ({"items": {"type": "integer"}}, [1] * 100_000),
    "file names": ({"items": {"pattern": "^.{1,255}$"}}, ["f" * 100] * 2_500),
    "B61 nested quantifiers": ({"pattern": "^(a+)+$"}, "a" * 100_000),
    "B65 unique objects": ({"uniqueItems": True}, [{"a": i, "b": [i]} for i in range(4_000)]),
    "a tree": ({"properties": {"a": {"$ref": "#"}}, "additionalProperties": False}, deep(60)),
}


@pytest.mark.parametrize(("schema", "value"), CHEAP.values(), ids=CHEAP.keys())
def test_honest_input_at_the_size_limit_is_within_the_budget(schema, value):
    assert is_accepted(schema, value)


@pytest.mark.parametrize("schema", [None, {}, True])
def test_no_schema_means_no_validation(schema):
    assert check_input(schema, {"anything": 1}) == []


def test_an_error_reads_as_the_hosted_service_words_it():
    schema = {"type": "object", "properties": {"bool": {"type": "boolean"}}}
    assert [found.to_json() for found in check_input(schema, {"bool": "not-a-boolean"})] == [
        {"loc": ["$.bool"], "type": "InvalidActionInput", "msg": "'not-a-boolean' is not of type 'boolean'"}
    ]


def test_the_type_of_an_error_is_the_callers_choice():
    assert check_input({"type": "null"}, 1, error_type="BAD_BODY")[0].type == "BAD_BODY"


def test_every_error_is_found_up_to_a_hundred():
    schema = {"items": {"type": "string"}}
    assert [loc for loc, _ in errors(schema, [1, "a", 2])] == [("$[0]",), ("$[2]",)]
    assert len(errors(schema, [1] * 1_000)) == 100


def test_a_long_value_leaves_the_reason_in_the_message():
    ((_, msg),) = errors({"type": "integer"}, "x" * 100_000)
    assert len(msg) <= 512
    assert msg.endswith("xxx' is not of type 'integer'")


@pytest.mark.parametrize(
    ("form", "good", "bad"),
    [
        ("uuid", "a6f165fa-aee2-4fe5-95f3-97429c28bf82", "a6f165faaee24fe595f397429c28bf82"),
        ("email", "ada@example.org", "ada at example.org"),
        ("date-time", "2026-01-31T12:00:00Z", "2026-01-31"),
        ("date", "2026-01-31", "2026-02-31"),
        ("time", "12:00:00Z", "25:00:00Z"),
        ("duration", "P1D", "one day"),
        ("uri", "https://example.org/a", "not a uri"),
        ("hostname", "example.org", "-.org"),
        ("ipv4", "127.0.0.1", "127.0.0.256"),
        ("ipv6", "::1", "::g"),
        ("regex", "^a(?=b)", "("),
        ("json-pointer", "/a/b", "a/b"),
    ],
)
def test_standard_formats_are_enforced(form, good, bad):
    assert errors({"format": form}, good) == []
    assert errors({"format": form}, bad) == [(("$",), f"{bad!r} is not a {form!r}")]


@pytest.mark.parametrize(
    "form", ["globus-collection", "globus-principal", "globus-transfer-transfer#0.10", "unheard-of"]
)
def test_hints_for_forms_never_fail_a_value(form):
    schema = {"type": "object", "format": form, "propertyOrder": ["path", "id"]}
    assert is_accepted(schema, {"id": 5})


@pytest.mark.parametrize(
    ("pattern", "text", "found"),
    [
        ("b", "abc", True),
        ("^b", "abc", False),
        (r"^\u00e9$", "é", True),
        (r"^[\u4e00-\u9fff]+$", "中文", True),
        (r"^[\u4e00-\u9fff]+$", "abc", False),
        (r"^\\u00e9$", r"\u00e9", True),
        ("^.$", "é", True),
        (r"^\p{L}+$", "Ünal", True),
    ],
)
def test_patterns_search_as_ecma_262_does(pattern, text, found):
    assert is_accepted({"pattern": pattern}, text) is found
    assert is_accepted({"patternProperties": {pattern: False}}, {text: 1}) is not found


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [
        (1, 1.0, True),
        (1, True, False),
        (0, False, False),
        ({"a": 1, "b": 2}, {"b": 2, "a": 1.0}, True),
        ("1", 1, False),
    ],
)
def test_values_are_compared_as_json_schema_compares_them(one, other, same):
    assert is_accepted({"uniqueItems": True}, [one, other]) is not same
    assert is_accepted({"enum": [one]}, other) is same


@pytest.mark.parametrize(
    ("schema", "value", "accepted"),
    [
        ({"$ref": "#/definitions/a", "definitions": {"a": {"type": "string"}}, "type": "null"}, "x", True),
        ({"$id": "http://x.example/s", "$ref": "http://x.example/s#/$defs/a", "$defs": {"a": {"type": "null"}}}, 1,
         False),
        ({"definitions": {"a": {"$id": "#name", "type": "null"}}, "items": {"$ref": "#name"}}, [1], False),
        ({"definitions": {"a b%/~": {"type": "null"}}, "$ref": "#/definitions/a%20b%25~1~0"}, 1, False),
        ({"$schema": DRAFT_2020, "$dynamicAnchor": "n",
          "properties": {"v": {"type": "null"}, "c": {"$dynamicRef": "#n"}}}, {"c": {"v": 1}}, False),
        ({"$schema": DRAFT_2020, "$defs": {"a": {"$anchor": "n", "type": "null"}}, "$ref": "#n", "const": 1}, 1, False),
        ({"$schema": "http://json-schema.org/draft-04/schema#", "minimum": 3, "exclusiveMinimum": True}, 3, False),
        ({"$schema": "http://json-schema.org/draft-06/schema#", "exclusiveMinimum": 3}, 4, True),
        ({"$schema": "https://json-schema.org/draft/2019-09/schema", "$recursiveAnchor": True,
          "properties": {"c": {"$recursiveRef": "#"}}, "unevaluatedProperties": False}, {"c": {"d": 1}}, False),
        ({"$schema": "http://json-schema.org/draft-07/schema", "properties": {"$schema": {"const": 1}}}, {"$schema": 2},
         False),
    ],
)  # fmt: skip
def test_references_and_drafts_mean_what_they_say(schema, value, accepted):
    assert is_accepted(schema, value) is accepted


def test_a_property_called_schema_inside_a_value_changes_nothing():
    schema = {"const": {"$schema": DRAFT_2020, "$id": "x"}}
    assert is_accepted(schema, {"$schema": DRAFT_2020, "$id": "x"})


def test_additional_properties_are_worded_as_by_the_library():
    assert errors({"properties": {"a": {}}, "additionalProperties": False}, {"b": 1, "c": 2}) == [
        (("$",), "Additional properties are not allowed ('b', 'c' were unexpected)")
    ]


VALUES = st.recursive(
    st.none() | st.booleans() | st.integers(-3, 3) | st.floats(-2, 2) | st.sampled_from(["", "a", "ab", "abc"]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(["a", "b", "ab"]), inner, max_size=3),
    max_leaves=6,
)
SCHEMAS = st.recursive(
    st.booleans()
    | st.fixed_dictionaries(
        {},
        optional={
            "type": st.sampled_from(["string", "number", "integer", "object", "array", "null", ["boolean", "null"]]),
            "enum": st.lists(VALUES, min_size=1, max_size=3, unique_by=canonical),
            "minLength": st.integers(0, 2),
            "pattern": st.sampled_from(["^a", "b$", "^ab?c?$"]),
            "uniqueItems": st.booleans(),
            "required": st.lists(st.sampled_from(["a", "b"]), max_size=2, unique=True),
            "maximum": st.integers(-1, 1),
        },
    ),
    lambda inner: st.fixed_dictionaries(
        {},
        optional={
            "properties": st.dictionaries(st.sampled_from(["a", "b"]), inner, max_size=2),
            # Not empty: for no patterns at all the library's sentence lists none of them; ours says what is wrong.
            "patternProperties": st.dictionaries(st.sampled_from(["^a", "b$"]), inner, min_size=1, max_size=2),
            "additionalProperties": inner,
            "items": inner,
            "anyOf": st.lists(inner, min_size=1, max_size=2),
            "oneOf": st.lists(inner, min_size=1, max_size=2),
            "not": inner,
            "if": inner,
            "then": inner,
        },
    ),
    max_leaves=5,
)


@settings(max_examples=200, deadline=None)
@given(SCHEMAS, VALUES)
def test_answers_are_those_of_the_library(schema, value):
    ordered = json.loads(json.dumps(schema, sort_keys=True))
    expected = {
        (error.json_path, error.message[:100]) for error in jsonschema.Draft7Validator(ordered).iter_errors(value)
    }
    assert {(found.loc[0], found.msg[:100]) for found in check_input(schema, value)} == expected


@pytest.mark.skipif(not CORPUS.is_dir(), reason="the corpora are not beside the repository")
def test_published_input_schemas_are_accepted():
    paths = [path for name in ("*schema.json",) for path in CORPUS.glob(f"*/*/{name}")]
    assert len(paths) >= 8
    for path in paths:
        assert [found.to_json() for found in check_schema(json.loads(path.read_text()))] == [], path
    for path in CORPUS.glob("*/*/*input.json"):
        schemas = [one for name in ("input_schema.json", "input-schema.json") if (one := path.parent / name).exists()]
        for schema in schemas:
            found = check_input(json.loads(schema.read_text()), json.loads(path.read_text()))
            assert [one.to_json() for one in found] == []
