"""State types by name. A new type is a module here, a line in this table and one in a dialect."""

from __future__ import annotations

from collections.abc import Mapping

from .action import Action
from .base import State
from .choice import Choice
from .expression_eval import ExpressionEval
from .pass_ import Pass
from .terminal import Fail, Succeed
from .wait import Wait

STATE_TYPES: Mapping[str, type[State]] = {
    "Action": Action,
    "Choice": Choice,
    "ExpressionEval": ExpressionEval,
    "Fail": Fail,
    "Pass": Pass,
    "Succeed": Succeed,
    "Wait": Wait,
}
