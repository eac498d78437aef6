"""B21-B32, B34, B35, B38-B42, B44-B48, B51-B54, B58-B66: definitions and schemas that no flow may be made of.

Each is published as a user would; the answer is 422, leads to the place, and nothing is stored.
"""

from __future__ import annotations

import time
from typing import Any

from tests.conformance.bad_input.rows import Check, by_id, rows_of
from tests.conformance.bad_input.service import HELLO, Service, refused

CODE = "UNPROCESSABLE_ENTITY"
END: dict[str, Any] = {"Type": "Pass", "End": True}


def machine(state: Any, **more: Any) -> dict[str, Any]:
    """A definition whose one state of interest is ``S``."""
    return {"StartAt": "S", "States": {"S": state, **more}}


def action(**fields: Any) -> dict[str, Any]:
    return machine({"Type": "Action", "ActionUrl": HELLO, "Parameters": {}, "End": True} | fields)


def wait(**fields: Any) -> dict[str, Any]:
    return machine({"Type": "Wait", "End": True} | fields)


def choice(*rules: Any) -> dict[str, Any]:
    return machine({"Type": "Choice", "Choices": list(rules), "Default": "E"}, E=END)


def parameters(**values: Any) -> dict[str, Any]:
    """An ExpressionEval with these Parameters; in keys ``__path`` stands for ``.$`` and ``__is`` for ``.=``."""
    named = {key.replace("__path", ".$").replace("__is", ".="): value for key, value in values.items()}
    return machine({"Type": "ExpressionEval", "Parameters": named, "ResultPath": "$.r", "End": True})


def wrong(*cases: tuple[Any, str, str]) -> Check:
    """Every definition is refused; a problem stands at the place and says the words."""

    def check(service: Service) -> None:
        for definition, place, says in cases:
            refused(service.create(definition), 422, CODE, place, says)

    return check


def wrong_schema(*cases: tuple[Any, str, str], within_s: float | None = None) -> Check:
    def check(service: Service) -> None:
        for schema, place, says in cases:
            began = time.monotonic()
            refused(service.create(machine(END), input_schema=schema), 422, CODE, place, says)
            assert within_s is None or time.monotonic() - began < within_s

    return check


def fast_inputs(schema: Any, good: Any, bad: Any, says: str, *, within_s: float) -> Check:
    """The schema is accepted, and inputs are checked against it in no time."""

    def check(service: Service) -> None:
        flow = service.create(machine(END), input_schema=schema)
        assert flow.status_code == 201, flow.text
        path = f"/flows/flows/{flow.json()['id']}/validate_run"
        scope = flow.json()["globus_auth_scope"]
        service.token(scope)
        began = time.monotonic()
        assert service.send("POST", path, body={"body": good}, scope=scope).status_code == 200
        refused(service.send("POST", path, body={"body": bad}, scope=scope), 400, "FLOW_INPUT_ERROR", says)
        assert time.monotonic() - began < within_s
        assert service.send("DELETE", f"/flows/flows/{flow.json()['id']}").status_code == 200

    return check


def nested_references(depth: int) -> dict[str, Any]:
    """A schema that is small to read and doubles with every level."""
    twice = {f"d{i}": {"allOf": [{"$ref": f"#/definitions/d{i + 1}"}] * 2} for i in range(depth)}
    return {"definitions": {**twice, f"d{depth}": {"type": "string"}}, "$ref": "#/definitions/d0"}


def zero_seconds(service: Service) -> None:
    wrong(
        (wait(Seconds=-1), "S.Seconds", "greater than or equal to 0"),
        (wait(Seconds=1.5), "S.Seconds", "not a valid integer"),
        (wait(Seconds="5"), "S.Seconds", "not a valid integer"),
        (wait(Seconds=True), "S.Seconds", "not a valid integer"),
        (wait(Seconds=10**12), "S.Seconds", "less than or equal to"),
    )(service)
    refused(
        service.send("POST", "/flows/flows", raw=b'{"title":"t","definition":{"Seconds":NaN}}'),
        400,
        "BAD_NUMBER",
        "NaN",
    )
    assert service.run(wait(Seconds=0)).status == "SUCCEEDED"


def endless(service: Service) -> None:
    """A loop that nothing leads out of is refused; one that could end runs without holding up anybody else."""
    wrong((machine({"Type": "Pass", "Next": "S"}), "definition.States.S", "the run can never end: S -> S"))(service)
    loop = choice({"Variable": "$.done", "IsPresent": True, "Next": "E"})
    loop["States"]["S"]["Default"] = "S"
    flow = service.create(loop).json()
    run = service.client.run_flow(flow["id"])
    assert service.run(machine(END)).status == "SUCCEEDED"
    assert run.refresh().status == "ACTIVE"
    run.cancel()
    assert run.wait(20).details["code"] == "FlowCanceled"


MANY = {
    "StartAt": "s0",
    "States": {f"s{i}": {"Type": "Pass", "Next": f"s{i + 1}"} for i in range(1_000)} | {"s1000": END},
}
DATE = "2026-01-31T12:00:00Z"
IS_ONE = {"Variable": "$.a", "NumericEquals": 1}
LONG = "x" * 5_000

ROWS = rows_of(
    {
        "B21 definition is no object": wrong(
            (None, "definition", "none is not an allowed value"),
            ([], "definition", "not a valid dict"),
            ("text", "definition", "not a valid dict"),
            (5, "definition", "not a valid dict"),
        ),
        "B22 no StartAt": wrong(({"States": {"S": END}}, "definition.StartAt", "field required")),
        "B23 StartAt names no state": wrong(
            ({"StartAt": "Frist", "States": {"First": END}}, "definition.StartAt", "'Frist'; did you mean 'First'?")
        ),
        "B24 Next to itself": endless,
        "B25 state never reached": wrong(
            (machine(END, Lost=END), "definition.States.Lost", "'Lost' is never reached")
        ),
        "B26 no way to an end": wrong(
            (
                machine({"Type": "Pass", "Next": "T"}, T={"Type": "Pass", "Next": "S"}),
                "definition.States.S",
                "the run can never end: S -> T -> S",
            )
        ),
        "B27 Next and End": wrong(
            (machine({"Type": "Pass", "Next": "E", "End": True}, E=END), "States.S", "must be defined as either"),
            (machine({"Type": "Pass"}), "States.S", 'terminal ("End": true) or transitional ("Next": "NextStateId")'),
        ),
        "B28 unknown Type": wrong(
            (machine({"Type": "action", "End": True}), "States.S", "did you mean 'Action'?"),
            (machine({"Type": "Teleport", "End": True}), "States.S", "allowed values: 'Action', 'ExpressionEval'"),
            (machine({"End": True}), "States.S", "Discriminator 'type' is missing"),
            (machine({"Type": ["Pass"], "End": True}), "States.S", "allowed values"),
        ),
        "B29 1,001 states": wrong((MANY, "definition.States", "has 1001 states; the limit is 1000")),
        "B30 state names": wrong(
            *(
                ({"StartAt": name, "States": {name: END}}, "definition.States", says)
                for name, says in (
                    ("n" * 129, "has 129 characters; the limit is 128"),
                    ("", "must not be empty"),
                    ("   ", "must not be empty or blank"),
                    ("a\nb", "U+000A"),
                    ("a\u202eb", "U+202E"),
                )
            )
        ),
        "B31 names that look the same": wrong(
            (
                {"StartAt": "caf\u00e9", "States": {"caf\u00e9": {"Type": "Pass", "Next": "cafe\u0301"}, "cafe\u0301": END}},
                "States.cafe\u0301",
                "look the same",
            )
        ),
        "B32 Choices": wrong(
            (choice(), "S.Choices", "at least 1 items"),
            (choice({**IS_ONE, "IsNull": True, "Next": "E"}), "S.Choices.0", "exactly one operator, this one has 2"),
            (choice({"And": [], "Next": "E"}), "S.Choices.0.And", "at least 1 items"),
            (choice({"Variable": "$.a", "Next": "E"}), "S.Choices.0", "a rule needs an operator"),
        ),
        "B34 Variable without $": wrong(
            (choice({"Variable": "a", "IsNull": True, "Next": "E"}), "0.Variable", "begin with '$': 'a'; write '$.a'")
        ),
        "B35 forms of paths": wrong(
            *(
                (machine({"Type": "Pass", "InputPath": path, "End": True}), "S.InputPath", says)
                for path, says in (
                    ("$.", "this form of path is not supported: '$.': a name is expected at column 3"),
                    ("$.a[", "column 4"),
                    ("$[-999999999999]", "out of range"),
                    ("$." + "a" * 10_240, "10242 characters; the limit is 1024"),
                    ("$.a[?(@.x =~ 'y')]", "regular expressions inside a filter are not supported"),
                )
            ),
            *(
                (machine({"Type": "Pass", "ResultPath": path, "End": True}), "S.ResultPath", says)
                for path, says in (("$..a", "'..'"), ("$[?(@.x)]", "filters"), ("$[*]", "must name one place"))
            ),
        ),
        "B38 ResultPath into the context": wrong(
            (action(ResultPath="$._context.x"), "S.ResultPath", "'$._context' is reserved"),
            (machine({"Type": "Pass", "ResultPath": "$._context", "End": True}), "S.ResultPath", "reserved"),
        ),
        "B39 Seconds": zero_seconds,
        "B40 Timestamp without zone": wrong(
            (wait(Timestamp="2026-01-31T12:00:00"), "S.Timestamp", "add Z or an offset such as +02:00")
        ),
        "B41 leap second": wrong(
            (wait(Timestamp="2016-12-31T23:59:60Z"), "S.Timestamp", "leap seconds are not supported")
        ),
        "B42 dates of no calendar": wrong(
            (wait(Timestamp="10000-01-01T00:00:00Z"), "S.Timestamp", "is not an RFC 3339 time such as"),
            (wait(Timestamp="0000-01-01T00:00:00Z"), "S.Timestamp", "not a date and time of the calendar"),
            (wait(Timestamp="2026-02-30T00:00:00Z"), "S.Timestamp", "not a date and time of the calendar"),
            (wait(Timestamp="0001-01-01T00:00:00+01:00"), "S.Timestamp", "not a date and time of the calendar"),
        ),
        "B44 WaitTime": wrong(
            (action(WaitTime=0), "S.WaitTime", "greater than or equal to 1"),
            (action(WaitTime=-1), "S.WaitTime", "greater than or equal to 1"),
            (action(WaitTime=10**10), "S.WaitTime", "less than or equal to 31536000"),
            (action(WaitTime="1"), "S.WaitTime", "not a valid integer"),
        ),
        "B45 Parameters and InputPath": wrong(
            (action(InputPath="$"), "States.S", "needs exactly one of Parameters and InputPath; this one has Parameters and")
        ),
        "B46 three values for one key": wrong(
            (parameters(x=1, x__path="$.a", x__is="1"), "S.Parameters.x", "three values for 'x'")
        ),
        "B47 expression is not text": wrong((parameters(x__is=1), "S.Parameters.x.=", "must be an expression, as text")),
        "B48 expressions that cannot be read": wrong(
            (parameters(x__is=""), "S.Parameters.x.=", "empty"),
            (parameters(x__is="1+" * 2_500 + "1"), "S.Parameters.x.=", "4096"),
            (parameters(x__is="1 +"), "S.Parameters.x.=", "column"),
            (parameters(x__is=")"), "S.Parameters.x.=", "column 1"),
            (parameters(x__is="(lambda: 1)()"), "S.Parameters.x.=", "column"),
            (parameters(x__is="[x for x in y if (yield)]"), "S.Parameters.x.=", "column"),
        ),
        "B51 Retry": wrong(
            (
                action(Retry=[{"ErrorEquals": ["x"], "IntervalSeconds": 0, "MaxAttempts": 10**6, "BackoffRate": 0.1}]),
                "S.Retry",
                "extra fields not permitted",
            )
        ),
        "B52 Catch after States.ALL": wrong(
            (
                action(Catch=[{"ErrorEquals": ["States.ALL"], "Next": "S"}, {"ErrorEquals": ["x"], "Next": "S"}]),
                "S.Catch.0.ErrorEquals",
                "the catchers after it are unreachable",
            )
        ),
        "B53 ErrorEquals empty": wrong(
            (action(Catch=[{"ErrorEquals": [], "Next": "S"}]), "S.Catch.0.ErrorEquals", "at least 1 items")
        ),
        "B54 ActionUrl": wrong(
            *(
                (action(ActionUrl=url), "S.ActionUrl", says)
                for url, says in (
                    ("http://example.org/x", "must begin with https://"),
                    ("ftp://example.org/x", "must begin with https://"),
                    ("file:///etc/passwd", "must begin with https://"),
                    ("javascript:alert(1)", "must begin with https://"),
                    ("https://user:secret@example.org/", "must not hold a user name or password"),
                    ("https://example.org/\r\nX: y", "control characters"),
                    ("https://example.org/" + "x" * 3_000, "the limit is 2048"),
                    ("https://ex\u0430mple.org/", "write it in its xn-- form"),
                    ("https://", "names no host"),
                    ("https://example.org:99999/", "is not an address"),
                )
            )
        ),
        "B58 private field that is missing": wrong(
            (
                action(Parameters={"secret": 1, "__Private_Parameters": ["sekret"]}),
                "S.Parameters.__Private_Parameters.0",
                "no parameter 'sekret' beside this list to keep private; did you mean 'secret'?",
            )
        ),
        "B59 remote reference": wrong_schema(
            ({"$ref": "https://example.org/schema.json"}, "input_schema", "must stay inside the schema")
        ),
        "B60 reference to a file": wrong_schema(
            ({"properties": {"a": {"$ref": "file:///etc/passwd"}}}, "input_schema.properties.a", "must stay inside")
        ),
        "B61 pattern of exponential time": fast_inputs(
            {"properties": {"a": {"pattern": "^(a+)+$"}}}, {"a": "aaa"}, {"a": "a" * 50_000 + "!"}, "$.a", within_s=5.0
        ),
        "B62 back-reference": wrong_schema(
            ({"properties": {"a": {"pattern": "(a)\\1"}}}, "input_schema.properties.a", "is not supported")
        ),
        "B63 nested references": wrong_schema(
            (nested_references(25), "input_schema.definitions", "unfold to more than 10000 subschemas"), within_s=5.0
        ),
        "B64 schema of itself": wrong_schema(
            ({"$ref": "#"}, "input_schema", "itself"),
            ({"definitions": {"a": {"$ref": "#/definitions/a"}}, "$ref": "#/definitions/a"}, "input_schema", "itself"),
        ),
        "B65 uniqueItems": fast_inputs(
            {"properties": {"a": {"type": "array", "uniqueItems": True}}},
            {"a": [{"n": i} for i in range(4_000)]},
            {"a": [{"n": i} for i in range(4_000)] + [{"n": 0}]},
            "non-unique",
            within_s=5.0,
        ),
        "B66 wrong keywords": wrong_schema(
            ({"multipleOf": 0}, "input_schema.multipleOf", "multipleOf"),
            ({"minLength": -1}, "input_schema.minLength", "minLength"),
            ({"type": "strng"}, "input_schema.type", "did you mean 'string'?"),
        ),
    }
)  # fmt: skip
#: Rows of which a part is accepted, so that something is stored.
_STORING = {"B24 Next to itself", "B39 Seconds", "B61 pattern of exponential time", "B65 uniqueItems"}


@by_id(ROWS)
def test_a_definition_is_refused_with_its_place(service: Service, row: Any) -> None:
    before = service.stored()
    row.check(service)
    if row.id not in _STORING:
        assert service.stored() == before
