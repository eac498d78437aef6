"""B33, B36, B37, B43, B49, B50, B55, B82: values that turn out bad while a run uses them.

The run ends FAILED with the error's name and a sentence, its log tells the same, and the worker goes on.
"""

from __future__ import annotations

from typing import Any

import pytest

from schemas.json_text import MAX_DATA_DEPTH
from tests.conformance.bad_input.rows import Check, by_id, rows_of
from tests.conformance.bad_input.service import HELLO, Service, fit_to_be_read, refused
from tests.conformance.bad_input.test_definitions import END, action, choice, machine, parameters

LOOP = {"Type": "Choice", "Choices": [{"Variable": "$.never", "IsPresent": True, "Next": "E"}], "Default": "S"}


def fails(definition: Any, body: dict[str, Any], error: str, *says: str) -> Check:
    def check(service: Service) -> None:
        found, cause = service.failure(definition, body)
        assert found == error, cause
        missing = [one for one in says if one not in cause]
        assert not missing, f"{missing} not in {cause}"

    return check


def no_match(service: Service) -> None:
    """Operands of another type do not match; whatever they are, the Default is taken."""
    comparators = {
        "StringEquals": "a",
        "StringMatches": "a*",
        "NumericLessThan": 1,
        "NumericEqualsPath": "$.b",
        "BooleanEquals": True,
        "TimestampGreaterThan": "2026-01-01T00:00:00Z",
    }
    rules = [{"Variable": "$.a", operator: operand, "Next": "E"} for operator, operand in comparators.items()]
    definition = choice(*rules)
    definition["States"]["S"]["Default"] = "Other"
    definition["States"]["Other"] = {"Type": "Pass", "Result": {"other": True}, "End": True}
    for value in (None, [], {}, [1], {"a": 1}, "9", "2026-01-01"):
        run = service.run(definition, {"a": value, "b": "text"})
        assert (run.status, run.output) == ("SUCCEEDED", {"other": True})


def in_the_past(service: Service) -> None:
    run = service.run(machine({"Type": "Wait", "Timestamp": "1996-01-01T00:00:00Z", "End": True}))
    assert run.status == "SUCCEEDED"
    assert [entry["code"] for entry in run.log()].count("WaitCompleted") == 1


def bad_times_from_data(service: Service) -> None:
    """What publishing cannot see is found at run time: a Wait whose time comes from the input."""
    for field, value, says in (
        ("SecondsPath", -1, "must be 0 or more"),
        ("SecondsPath", "5", "not a whole number of seconds"),
        ("SecondsPath", 10**12, "the longest wait"),
        ("TimestampPath", "2026-01-01", "is not a timestamp"),
        ("TimestampPath", {"a": 1}, "not a string"),
        ("TimestampPath", "9999-12-31T23:59:59Z", "the longest wait"),
    ):
        fails(machine({"Type": "Wait", field: "$.t", "End": True}), {"t": value}, "States.Runtime", "$.t", says)(
            service
        )


#: This machine, as addresses are written that hope to get past a check.
LOOPBACK = (
    "127.0.0.1", "localhost", "127.1", "2130706433", "0x7f000001", "0177.0.0.1", "0x7f.1", "[::1]",
    "[::ffff:127.0.0.1]", "[0:0:0:0:0:0:0:1]", "127.0.0.1.", "0.0.0.0",
)  # fmt: skip


def loopback(service: Service) -> None:
    for host in LOOPBACK:
        definition = action(ActionUrl=f"https://{host}:9443/x", ActionScope="urn:x", WaitTime=2)
        answer = service.create(definition)
        if answer.status_code != 201:
            refused(answer, 422, "UNPROCESSABLE_ENTITY", "S.ActionUrl")
            continue
        run = service.client.run_flow(answer.json()["id"]).wait(20)
        assert run.status == "FAILED", host
        failure = run.details["details"]
        assert failure["exception"] == "ActionUnableToRun", failure
        assert "ADDRESS_NOT_ALLOWED" in failure["cause"] or "does not resolve" in failure["cause"], failure
        fit_to_be_read(failure["cause"])


def nested(depth: int) -> dict[str, Any]:
    value: dict[str, Any] = {}
    for _ in range(depth):
        value = {"d": value}
    return value


def growing(service: Service) -> None:
    """Neither text, nor depth, nor copies of one large part may make the data of a run larger than its limit."""
    half = machine(
        {"Type": "Pass", "Parameters": {"big.$": "$.big"}, "ResultPath": "$.more", "Next": "T"},
        T={"Type": "Pass", "Parameters": {"all.$": "$"}, "ResultPath": "$.again", "End": True},
    )
    big = {"big": {"a": "x" * 130_000, "b": "y" * 100_000}}
    limit = ("States.DataLimitExceeded", "524288")
    fails(half, big, *limit, "'T'", "bytes; the limit is", "the largest part is 'again'")(service)
    copies = machine({"Type": "Pass", "Parameters": {f"k{i}.$": "$.big" for i in range(2_000)}, "End": True})
    fails(copies, big, *limit, "the Parameters of state 'S'")(service)
    body = action(Parameters={"echo_string.$": "$", **{f"k{i}.$": "$.big" for i in range(2_000)}})
    fails(body, big, *limit, "the Parameters of state 'S'")(service)
    multiplied = parameters(x__is="[big, big, big, big, big, big, big, big, big, big]")
    fails(multiplied, big, *limit, "the Parameters of state 'S'")(service)


def deepening(service: Service) -> None:
    """Every round puts the data one level deeper."""
    deeper = machine({"Type": "Pass", "Parameters": {"a.$": "$"}, "Next": "L"}, L=LOOP, E=END)
    fails(deeper, {}, "States.DataLimitExceeded", "'S'", f"more than {MAX_DATA_DEPTH} levels deep")(service)
    through = machine(
        {"Type": "Pass", "Result": {}, "ResultPath": "$" + ".a" * 60, "Next": "T"},
        T={"Type": "Pass", "Parameters": {"a": {"b.$": "$"}}, "Next": "L"},
        L={**LOOP, "Default": "T"},
        E=END,
    )
    fails(through, {}, "States.DataLimitExceeded", "'T'", "levels deep")(service)
    error, cause = service.failure(action(ActionUrl=HELLO, Parameters={"echo_string.$": "$"}), nested(60))
    assert error == "ActionUnableToRun"
    assert "echo_string" in cause


def everything_about_size(service: Service) -> None:
    growing(service)
    deepening(service)


PASS_X = {"Type": "Pass", "Parameters": {"x.$": "$.missing.y"}, "End": True}

ROWS = rows_of(
    {
        "B33 comparator of another type": no_match,
        "B36 path not found": fails(
            machine(PASS_X), {"a": 1, "b": 2}, "States.Runtime", "'$.missing.y'", "'x.$'", "the keys there are 'a', 'b'"
        ),
        "B37 ResultPath through a number": fails(
            machine({"Type": "Pass", "ResultPath": "$.a.b", "End": True}), {"a": 1},
            "States.ResultPathMatchFailure", "'$.a.b'", "'$.a' is a number, not an object",
        ),
        "B43 timestamp in the past": in_the_past,
        "B49 name unknown": fails(
            parameters(x__is="nope + 1"), {"size": 1}, "States.Runtime", "no value named 'nope'; available: size"
        ),
        "B50 division by zero": fails(
            parameters(x__is="1 / size"), {"size": 0}, "States.Runtime", "division by zero", "column"
        ),
        "B55 ActionUrl to this machine": loopback,
        "B82 data over the limit": everything_about_size,
    }
)  # fmt: skip


@by_id(ROWS)
def test_a_run_ends_with_a_sentence(service: Service, row: Any) -> None:
    row.check(service)


def test_a_wait_for_what_is_no_time_ends_with_a_sentence(service: Service) -> None:
    bad_times_from_data(service)


@pytest.mark.parametrize("value", [{}, None, "mine", [1]])
def test_nobody_gives_a_run_the_key_that_leads_to_its_context(service: Service, value: Any) -> None:
    flow = service.create(machine(END)).json()
    before = service.stored()
    for operation in ("run", "validate_run"):
        answer = service.send(
            "POST", f"/flows/flows/{flow['id']}/{operation}", body={"body": {"_context": value}},
            scope=flow["globus_auth_scope"],
        )  # fmt: skip
        refused(answer, 422, "UNPROCESSABLE_ENTITY", "body._context: the key is reserved")
    assert service.stored() == before
