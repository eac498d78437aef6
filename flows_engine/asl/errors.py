"""Errors of evaluating a definition. They never leave the interpreter: it turns them into a StateError value."""

from __future__ import annotations


class EvaluationError(Exception):
    """A path, template, expression or field value cannot be used with the data at hand.

    ``error`` is the name a Catcher matches (``States.Runtime``, ``States.ResultPathMatchFailure``), ``cause`` the
    sentence for the person who reads the run.
    """

    def __init__(self, cause: str, error: str = "States.Runtime") -> None:
        super().__init__(cause)
        self.error = error
        self.cause = cause


class PathSyntaxError(ValueError):
    """Text that is not a path of a supported form; the message is a sentence for the flow's author."""


class ExpressionSyntaxError(ValueError):
    """Text that is not an expression of the language; the message names the column."""
