"""The expression language of flows (``"name.=": "a.b + 1"``): an interpreter of an allow-list of Python's forms.

A name is a key of the run's state, or ``_context``; ``a.b`` and ``a['b']`` look up keys and never touch a Python
attribute; a JSONPath may stand between backticks. Only the functions and methods of ``expression_functions`` can be
called. An evaluation changes nothing, takes bounded time and memory, and gives a plain JSON value or an error with its
column (Globus Flows, "Expressions").
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import lru_cache

from schemas.json_text import Json

from .errors import ExpressionSyntaxError
from .expression_builder import Evaluate, build_expression
from .expression_values import Work
from .paths import Path, kind_of
from .scope import Scope


@dataclass(frozen=True, slots=True)
class Expression:
    """A compiled expression.

    ``names`` are the top-level names that it reads (not those asked for by ``is_present`` and ``getattr``); ``paths``
    what stands between backticks. What a conditional form skips is named too.
    """

    text: str
    names: frozenset[str]
    paths: tuple[Path, ...]
    _evaluate: Evaluate = field(repr=False, compare=False)

    def evaluate(self, scope: Scope) -> Json:
        """The value, a plain JSON value that may share parts with the scope.

        Raises:
            EvaluationError: ``States.Runtime``; the cause names the column, never a value.
        """
        return self._evaluate(Work(scope))


def compile_expression(text: str) -> Expression:
    """Parse and check an expression once; equal texts share one object.

    Raises:
        ExpressionSyntaxError: the sentence names the column.
    """
    if not isinstance(text, str):
        raise ExpressionSyntaxError(f"an expression must be text, not {kind_of(text)}")
    return _compile(text)


def evaluate_with(text: str, arguments: Mapping[str, Json]) -> Json:
    """Value of an expression whose names are ``arguments``, as the expression_eval action provider offers it.

    Raises:
        ExpressionSyntaxError, EvaluationError: as above.
    """
    return compile_expression(text).evaluate(Scope(document=dict(arguments)))


@lru_cache(maxsize=2048)
def _compile(text: str) -> Expression:
    built = build_expression(text)
    return Expression(text, built.names, built.paths, built.evaluate)
