"""Evaluates expressions with named arguments and places their values in the details. The evaluator is injected: the kit
does not know the language.

Source: Globus, "Hosted action providers: Expression evaluation" (legacy).
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from datetime import datetime
from typing import Any, ClassVar, TypeAlias

from schemas.json_text import Json

from ..provider import Action, ActionProvider, Description, Failed, Outcome, Succeeded

#: Value of an expression given named arguments. Raises ValueError with a sentence for the author of the expression.
Evaluate: TypeAlias = Callable[[str, Mapping[str, Json]], Json]

_PATH = re.compile(r"(?:\$\.)?([^.$\[\]\s][^.$\[\]]*(?:\.[^.$\[\]]+)*)")

_ONE: dict[str, Any] = {
    "expression": {"type": "string", "minLength": 1, "maxLength": 4096},
    "arguments": {"type": "object"},
    "result_path": {"type": "string", "minLength": 1, "maxLength": 512},
}
_INPUT_SCHEMA: dict[str, Any] = {
    "type": "object",
    "additionalProperties": False,
    "properties": {
        **_ONE,
        "expressions": {
            "type": "array",
            "minItems": 1,
            "maxItems": 100,
            "items": {
                "type": "object",
                "additionalProperties": False,
                "required": ["expression"],
                "properties": _ONE,
            },
        },
    },
    "oneOf": [{"required": ["expression"]}, {"required": ["expressions"]}],
}


class ExpressionEval(ActionProvider):
    pure = True
    description: ClassVar[Description] = Description(
        path="expression_eval",
        title="Expression evaluation",
        subtitle="Computes values from expressions and arguments",
        description="Evaluates one expression, or several in order, and places each value in the result at its "
        "result_path. A later value may overwrite an earlier one.",
        keywords=("expression", "compute"),
        scope="https://auth.globus.org/scopes/5fac2e64-c734-4e6b-90ea-ff12ddbf9653/expression",
        synchronous=True,
        input_schema=_INPUT_SCHEMA,
    )

    def __init__(self, evaluate: Evaluate) -> None:
        self._evaluate = evaluate

    def run(self, action: Action, now: datetime) -> Outcome:  # noqa: ARG002 - part of the contract
        details: dict[str, Json] = {}
        for place, one in enumerate(action.body.get("expressions") or [action.body]):
            try:
                value = self._evaluate(one["expression"], one.get("arguments", {}))
                _put(details, one.get("result_path", "result"), value)
            except ValueError as error:
                return Failed({"code": "ExpressionError", "description": str(error), "expression_number": place})
        return Succeeded(details)


def _put(details: dict[str, Json], path: str, value: Json) -> None:
    """Place the value at ``$.a.b`` or ``a.b``, making objects on the way."""
    match = _PATH.fullmatch(path)
    if match is None:
        raise ValueError(f"the result_path {path!r} must be names joined by dots, such as result or $.sums.total")
    *parents, last = match[1].split(".")
    here = details
    for name in parents:
        here = here.setdefault(name, {})
        if not isinstance(here, dict):
            raise ValueError(f"the result_path {path!r} leads through {name!r}, which is not an object")
    here[last] = value
