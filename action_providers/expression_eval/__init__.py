"""Expression evaluation as an action, for flows written before the ExpressionEval state."""

from .provider import Evaluate, ExpressionEval

__all__ = ["Evaluate", "ExpressionEval"]
