"""Every case of the corpus that the ASL dialect can express behaves as AWS recorded it.

Compared are the status with the output or error name, and for a validation case whether it is accepted. Agreement of
cause texts is reported, not required. There is no list of expected failures.
"""

from __future__ import annotations

from collections.abc import Callable

import pytest

from flows_engine.asl.dialects import ASL
from flows_engine.asl.validate import validate
from schemas.errors import InvalidJson
from schemas.json_text import loads
from tests.conformance.asl.corpus import FOLDER, Case, load
from tests.conformance.asl.driver import End, execute
from tests.conformance.asl.matching import difference, sample

CASES = load()

_SHOWN_CHARS = 2_000

Record = Callable[[str, object], None]


if not CASES:
    pytest.skip(
        f"NO ASL CONFORMANCE CHECKED: there is no corpus at {FOLDER}; name its folder in ASL_CORPUS",
        allow_module_level=True,
    )


@pytest.mark.parametrize("case", CASES, ids=[case.id for case in CASES])
def test_case_agrees_with_the_recorded_answer(case: Case, record_property: Record) -> None:
    record_property("asl_group", case.group)
    if missing := case.missing(ASL):
        record_property("asl_missing", missing)
        pytest.skip("needs " + ", ".join(missing))
    if case.kind == "validation":
        _check_validation(case)
    else:
        _check_execution(case, record_property)


def _check_validation(case: Case) -> None:
    problems = _problems(case)
    assert (not problems) == case.expected["valid"], f"expected {case.expected}, found {problems}"


def _problems(case: Case) -> list[str]:
    try:
        document = loads(case.body["definition_text"]) if "definition_text" in case.body else case.body["definition"]
    except InvalidJson as error:
        return [error.detail]
    return [str(problem.to_json()) for problem in validate(document, ASL)]


def _check_execution(case: Case, record_property: Record) -> None:
    expected = case.expected
    assert _problems(case) == [], "AWS accepted the definition"
    end = execute(
        case.body["definition"],
        sample(case.body.get("input", {})),
        express=case.body.get("type") == "EXPRESS",
        synchronous=bool(case.body.get("sync")),
    )
    if end.status == expected["status"] == "FAILED":
        same_cause = difference(expected.get("cause"), end.cause) is None
        record_property("asl_cause", "same" if same_cause else "other")
    found = _result_difference(expected, end)
    assert found is None, f"{found}\nexpected: {_shown(expected)}\nended: {_shown(end)}"


def _result_difference(expected: dict[str, object], end: End) -> str | None:
    if end.status != expected["status"]:
        return f"the status is {end.status}"
    if end.status == "SUCCEEDED":
        return difference(expected.get("output"), end.output)
    return difference(expected.get("error"), end.error)


def _shown(value: object) -> str:
    text = repr(value)
    return text if len(text) <= _SHOWN_CHARS else f"{text[:_SHOWN_CHARS]}... ({len(text)} characters)"
