"""Operators of the expression language over JSON values; each checks the size of its result before it makes it."""

from __future__ import annotations

import ast
from collections.abc import Callable, Mapping
from typing import Final

from schemas.json_text import Json

from .expression_values import (
    CHARS_PER_CELL,
    OperationError,
    Work,
    cells_of,
    check_item_count,
    check_number,
    check_text_size,
    is_count,
    is_number,
)
from .paths import kind_of


def add(work: Work, left: Json, right: Json) -> Json:
    if is_number(left) and is_number(right):
        return check_number(left + right)
    if isinstance(left, str) and isinstance(right, str):
        check_text_size(len(left) + len(right))
        work.spend_on_text(left, right)
        return left + right
    if isinstance(left, list) and isinstance(right, list):
        check_item_count(len(left) + len(right))
        work.spend((len(left) + len(right)) // 8)
        return left + right
    hint = "; str(...) makes text of a value" if isinstance(left, str) or isinstance(right, str) else ""
    raise OperationError(f"'+' cannot join {kind_of(left)} and {kind_of(right)}{hint}")


def subtract(_work: Work, left: Json, right: Json) -> Json:
    _need_numbers("-", left, right)
    return check_number(left - right)


def multiply(work: Work, left: Json, right: Json) -> Json:
    if is_number(left) and is_number(right):
        return check_number(left * right)
    if is_count(left):
        left, right = right, left
    if isinstance(left, str) and is_count(right):
        check_text_size(len(left) * right)
        work.spend(max(0, len(left) * right) // CHARS_PER_CELL)
        return left * right
    if isinstance(left, list) and is_count(right):
        check_item_count(len(left) * right)
        work.spend(max(0, len(left) * right) // 8)
        return left * right
    raise OperationError(f"'*' cannot multiply {kind_of(left)} and {kind_of(right)}")


def divide(_work: Work, left: Json, right: Json) -> Json:
    _need_numbers("/", left, right)
    _need_divisor(right)
    return check_number(left / right)


def floor_divide(_work: Work, left: Json, right: Json) -> Json:
    _need_numbers("//", left, right)
    _need_divisor(right)
    return check_number(left // right)


def remainder(_work: Work, left: Json, right: Json) -> Json:
    if isinstance(left, str):
        raise OperationError("'%' does not format text; join texts with '+' or write f'...{value}...'")
    _need_numbers("%", left, right)
    _need_divisor(right)
    return check_number(left % right)


def power(_work: Work, left: Json, right: Json) -> Json:
    _need_numbers("**", left, right)
    if left == 0 and right < 0:
        raise OperationError("division by zero")
    if isinstance(left, int) and isinstance(right, int) and right > 0 and (abs(left).bit_length() - 1) * right > 63:
        raise OperationError("the whole number does not fit 64 bits")
    try:
        return check_number(left**right)
    except OverflowError:
        raise OperationError("the result is not a finite number") from None


def negate(_work: Work, value: Json) -> Json:
    if not is_number(value):
        raise OperationError(f"'-' needs a number, not {kind_of(value)}")
    return check_number(-value)


def keep_sign(_work: Work, value: Json) -> Json:
    if not is_number(value):
        raise OperationError(f"'+' needs a number, not {kind_of(value)}")
    return check_number(+value)


def equal(work: Work, left: Json, right: Json) -> bool:
    if isinstance(left, list | dict) and isinstance(right, list | dict):
        work.spend(cells_of(left, work.fuel))
    elif isinstance(left, str):
        work.spend_on_text(left)
    return bool(left == right)


def unequal(work: Work, left: Json, right: Json) -> bool:
    return not equal(work, left, right)


def less(work: Work, left: Json, right: Json) -> bool:
    _need_ordered(work, "<", left, right)
    return bool(left < right)


def less_or_equal(work: Work, left: Json, right: Json) -> bool:
    _need_ordered(work, "<=", left, right)
    return bool(left <= right)


def greater(work: Work, left: Json, right: Json) -> bool:
    _need_ordered(work, ">", left, right)
    return bool(left > right)


def greater_or_equal(work: Work, left: Json, right: Json) -> bool:
    _need_ordered(work, ">=", left, right)
    return bool(left >= right)


def contains(work: Work, item: Json, container: Json) -> bool:
    if isinstance(container, dict):
        return isinstance(item, str) and item in container
    if isinstance(container, list):
        each = cells_of(item, work.fuel) if isinstance(item, str | list | dict) else 1
        work.spend(len(container) * each // 16)
        return item in container
    if isinstance(container, str):
        if not isinstance(item, str):
            raise OperationError(f"'in' looks for text inside text, not for {kind_of(item)}")
        work.spend_on_text(container, item)
        return item in container
    raise OperationError(f"'in' needs an array, an object or text, not {kind_of(container)}")


def lacks(work: Work, item: Json, container: Json) -> bool:
    return not contains(work, item, container)


def _need_numbers(sign: str, left: Json, right: Json) -> None:
    if not (is_number(left) and is_number(right)):
        raise OperationError(f"'{sign}' needs two numbers, not {kind_of(left)} and {kind_of(right)}")


def _need_divisor(right: Json) -> None:
    if right == 0:
        raise OperationError("division by zero")


def _need_ordered(work: Work, sign: str, left: Json, right: Json) -> None:
    if isinstance(left, str) and isinstance(right, str):
        work.spend_on_text(left)
    elif not (is_number(left) and is_number(right)):
        raise OperationError(f"'{sign}' cannot compare {kind_of(left)} and {kind_of(right)}")


BINARY: Final[Mapping[type[ast.operator], Callable[[Work, Json, Json], Json]]] = {
    ast.Add: add,
    ast.Sub: subtract,
    ast.Mult: multiply,
    ast.Div: divide,
    ast.FloorDiv: floor_divide,
    ast.Mod: remainder,
    ast.Pow: power,
}
COMPARISONS: Final[Mapping[type[ast.cmpop], Callable[[Work, Json, Json], bool]]] = {
    ast.Eq: equal,
    ast.NotEq: unequal,
    ast.Lt: less,
    ast.LtE: less_or_equal,
    ast.Gt: greater,
    ast.GtE: greater_or_equal,
    ast.In: contains,
    ast.NotIn: lacks,
    ast.Is: lambda _work, left, right: left is right,
    ast.IsNot: lambda _work, left, right: left is not right,
}
UNARY: Final[Mapping[type[ast.unaryop], Callable[[Work, Json], Json]]] = {
    ast.USub: negate,
    ast.UAdd: keep_sign,
    ast.Not: lambda _work, value: not value,
}
