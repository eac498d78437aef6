"""Checks of Choice rules (ASL, "Choice Rule"): one operator each, with an operand of its type."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TypeAlias

from schemas.json_text import Json

from .validate_fields import (
    Findings,
    Loc,
    check_keys,
    check_path,
    check_time,
    is_boolean,
    is_filled_list,
    is_number,
    is_object,
    is_required,
    is_text,
)

_Check: TypeAlias = Callable[[Findings, Loc, Json], object]

_ORDERS = ("Equals", "LessThan", "GreaterThan", "LessThanEquals", "GreaterThanEquals")
_ORDERED: dict[str, _Check] = {"String": is_text, "Numeric": is_number, "Timestamp": check_time}
_TESTS = ("IsNull", "IsPresent", "IsNumeric", "IsString", "IsBoolean", "IsTimestamp")


def _comparators() -> dict[str, _Check]:
    table: dict[str, _Check] = {"BooleanEquals": is_boolean, "StringMatches": is_text}
    table |= {family + order: check for family, check in _ORDERED.items() for order in _ORDERS}
    table |= {f"{name}Path": check_path for name in list(table) if name != "StringMatches"}
    return table | dict.fromkeys(_TESTS, is_boolean)


#: Comparison operator -> check of its operand.
COMPARATORS: Mapping[str, _Check] = _comparators()
_COMBINERS = ("And", "Or", "Not")


def check_choices(findings: Findings, loc: Loc, choices: Json) -> None:
    """The ``Choices`` of a state. Whether each ``Next`` names a state is checked with the other transitions."""
    if not is_filled_list(findings, loc, choices):
        return
    for index, rule in enumerate(choices):
        here = (*loc, index)
        if is_object(findings, here, rule):
            _check_rule(findings, here, rule)
            if is_required(findings, here, rule, "Next"):
                is_text(findings, (*here, "Next"), rule["Next"])


def _check_nested(findings: Findings, loc: Loc, rule: Json) -> None:
    if not is_object(findings, loc, rule):
        return
    if "Next" in rule:
        findings.add((*loc, "Next"), "a rule inside And, Or or Not has no Next of its own", "value_error.extra")
    _check_rule(findings, loc, rule)


def _check_rule(findings: Findings, loc: Loc, rule: Mapping[str, Json]) -> None:
    operators = _check_operators(findings, loc, rule)
    for operator in operators:
        here, operand = (*loc, operator), rule[operator]
        if operator == "Not":
            _check_nested(findings, here, operand)
        elif operator in _COMBINERS:
            if is_filled_list(findings, here, operand):
                for index, nested in enumerate(operand):
                    _check_nested(findings, (*here, index), nested)
        else:
            COMPARATORS[operator](findings, here, operand)
    if "Variable" in rule:
        check_path(findings, (*loc, "Variable"), rule["Variable"])
    elif any(operator in COMPARATORS for operator in operators):
        is_required(findings, loc, rule, "Variable")


def _check_operators(findings: Findings, loc: Loc, rule: Mapping[str, Json]) -> list[str]:
    """Operators of the rule; problems when they are not exactly one, or when other keys stand beside it."""
    plain = {"Variable", "Next", "Comment"} if findings.is_asl else {"Variable", "Next"}
    operators = [key for key in rule if key in COMPARATORS or key in _COMBINERS]
    unknown = [key for key in rule if key not in plain and key not in operators]
    check_keys(findings, loc, rule, [*COMPARATORS, *_COMBINERS, *plain])
    if len(operators) > 1:
        findings.add(loc, f"a rule has exactly one operator, this one has {len(operators)}: {', '.join(operators)}")
    elif not operators and not unknown:
        findings.add(loc, "a rule needs an operator, such as StringEquals, NumericLessThan or And")
    elif operators and operators[0] in _COMBINERS and "Variable" in rule:
        findings.add((*loc, "Variable"), f"a rule with {operators[0]} has no Variable of its own", "value_error.extra")
    return operators
