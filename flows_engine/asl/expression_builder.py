"""The forms of the expression language and what each means: a syntax tree becomes closures over ``Work``.

Every form and operator is named here or refused. A closure never sees Python objects other than JSON values, and every
one of them pays for its work before it does it.
"""

from __future__ import annotations

import ast
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final, TypeAlias

from schemas.json_text import Json

from . import expression_values as values
from .errors import EvaluationError
from .expression_functions import FUNCTIONS, METHODS, call_method, check_argument_count, find_path, state_path
from .expression_operators import BINARY, COMPARISONS, UNARY
from .expression_syntax import Source, parse_expression
from .expression_values import OperationError, Work
from .paths import MISSING, Path, keys_there_are
from .scope import Scope

MAX_LOOPS = 3

_CONTEXT = "_context"
Evaluate: TypeAlias = Callable[[Work], Json]
_Emit: TypeAlias = Callable[[Work, Any], None]

#: JSON's spelling of constants; a key of the state with such a name comes first.
_WORDS: Final[Mapping[str, Json]] = {"true": True, "false": False, "null": None}

_REFUSED: Final[Mapping[type[ast.AST], str]] = {
    ast.Lambda: "functions cannot be defined in an expression",
    ast.NamedExpr: "':=' is not part of the expression language",
    ast.GeneratorExp: "write [ ] around 'x for x in y'",
    ast.Set: "sets are not JSON; write [ ] instead of { }",
    ast.SetComp: "sets are not JSON; write [ ] instead of { }",
    ast.Starred: "'*' before an argument is not part of the expression language",
}


@dataclass(frozen=True, slots=True)
class Built:
    """Closure of an expression, the top-level names that it reads, and its paths between backticks."""

    evaluate: Evaluate
    names: frozenset[str]
    paths: tuple[Path, ...]


def build_expression(text: str) -> Built:
    """Raises ExpressionSyntaxError for text that is not of the language."""
    source = parse_expression(text)
    builder = _Builder(source)
    evaluate = builder.build(source.tree)
    if not _is_plain_read(source.tree):
        evaluate = builder.checked(source.tree, evaluate)
    return Built(evaluate, frozenset(builder.names), tuple(source.paths.values()))


class _Builder:
    """Turns the tree into closures over ``Work``; a form without a method here is not part of the language."""

    def __init__(self, source: Source) -> None:
        self.source = source
        self.names: set[str] = set()
        self.bound: frozenset[str] = frozenset()
        self.loops = 0
        self.forms: Mapping[type[ast.AST], Callable[[Any], Evaluate]] = {
            ast.Attribute: self.attribute,
            ast.BinOp: self.binary,
            ast.BoolOp: self.boolean,
            ast.Call: self.call,
            ast.Compare: self.compare,
            ast.Dict: self.object,
            ast.DictComp: self.object_comprehension,
            ast.IfExp: self.conditional,
            ast.JoinedStr: self.joined_text,
            ast.List: self.array,
            ast.ListComp: self.array_comprehension,
            ast.Name: self.name,
            ast.Subscript: self.subscript,
            ast.Tuple: self.array,
            ast.UnaryOp: self.unary,
        }

    def build(self, node: ast.expr) -> Evaluate:
        if isinstance(node, ast.Constant):
            value = self.constant(node)
            return lambda _work: value
        form = self.forms.get(type(node))
        if form is None:
            raise self.source.refuse(node, _REFUSED.get(type(node), "this form is not part of the expression language"))
        return self.located(node, form(node))

    def located(self, node: ast.expr, evaluate: Evaluate) -> Evaluate:
        """Pay for the node, and say where it stands when it fails."""
        place = self.source.place(node)

        def run(work: Work) -> Json:
            try:
                work.spend(1)
                return evaluate(work)
            except OperationError as fault:
                raise EvaluationError(f"{fault} ({place})") from None

        return run

    def checked(self, node: ast.expr, evaluate: Evaluate) -> Evaluate:
        return self.located(node, lambda work: values.check_result(evaluate(work)))

    def constant(self, node: ast.Constant) -> Json:
        value = node.value
        try:
            if isinstance(value, str):
                return _checked_literal(value)
            if value is None or isinstance(value, bool):
                return value
            if isinstance(value, int | float):
                return values.check_number(value)
        except OperationError as fault:
            raise self.source.refuse(node, str(fault)) from None
        raise self.source.refuse(node, "only JSON values can be written: text, numbers, True, False, None")

    def name(self, node: ast.Name) -> Evaluate:
        name = node.id
        path = self.source.paths.get((node.lineno, node.col_offset)) if name == "_" else None
        if path is not None:
            return _path_reader(path)
        if name in self.bound:
            return lambda work: work.variables[name]
        if name not in _WORDS:
            self.names.add(name)

        def read(work: Work) -> Json:
            scope = work.scope
            if name == _CONTEXT and scope.context is not None:
                return scope.context if isinstance(scope.context, dict) else dict(scope.context)
            if isinstance(scope.document, dict) and name in scope.document:
                return scope.document[name]
            if name in _WORDS:
                return _WORDS[name]
            raise OperationError(_unknown_name(name, scope))

        return read

    def attribute(self, node: ast.Attribute) -> Evaluate:
        """``a.b.c``; a chain from a name is the usual case and costs little more than one form."""
        keys, base = [node.attr], node.value
        while isinstance(base, ast.Attribute):
            keys.insert(0, base.attr)
            base = base.value
        inner = self.name(base) if isinstance(base, ast.Name) else self.build(base)
        cost = len(keys) // 2

        def run(work: Work) -> Json:
            work.spend(cost)
            value = inner(work)
            for key in keys:
                value = values.key_of(value, key)
            return value

        return run

    def subscript(self, node: ast.Subscript) -> Evaluate:
        inner = self.build(node.value)
        if not isinstance(node.slice, ast.Slice):
            index = self.build(node.slice)
            return lambda work: values.item_of(inner(work), index(work))
        start, stop, step = (
            self.build(bound) if bound is not None else _nothing
            for bound in (node.slice.lower, node.slice.upper, node.slice.step)
        )
        return lambda work: values.slice_of(work, inner(work), start(work), stop(work), step(work))

    def binary(self, node: ast.BinOp) -> Evaluate:
        operate = BINARY.get(type(node.op))
        if operate is None:
            raise self.source.refuse(node, "bit operators are not part of the expression language")
        left, right = self.build(node.left), self.build(node.right)
        return lambda work: operate(work, left(work), right(work))

    def unary(self, node: ast.UnaryOp) -> Evaluate:
        if isinstance(node.op, ast.USub) and isinstance(node.operand, ast.Constant) and node.operand.value == 2**63:
            return lambda _work: -(2**63)
        operate = UNARY.get(type(node.op))
        if operate is None:
            raise self.source.refuse(node, "'~' is not part of the expression language")
        operand = self.build(node.operand)
        return lambda work: operate(work, operand(work))

    def boolean(self, node: ast.BoolOp) -> Evaluate:
        stops_at = isinstance(node.op, ast.Or)
        operands = [self.build(operand) for operand in node.values]

        def run(work: Work) -> Json:
            value: Json = None
            for operand in operands:
                value = operand(work)
                if bool(value) is stops_at:
                    break
            return value

        return run

    def compare(self, node: ast.Compare) -> Evaluate:
        first = self.build(node.left)
        links = []
        for operator, operand in zip(node.ops, node.comparators, strict=True):
            if isinstance(operator, ast.Is | ast.IsNot) and not _is_singleton(operand):
                raise self.source.refuse(operand, "'is' compares with None, True or False only; use '=='")
            links.append((COMPARISONS[type(operator)], self.build(operand)))

        def run(work: Work) -> bool:
            work.spend(len(links) - 1)
            left = first(work)
            for holds, operand in links:
                right = operand(work)
                if not holds(work, left, right):
                    return False
                left = right
            return True

        return run

    def conditional(self, node: ast.IfExp) -> Evaluate:
        test, then, otherwise = self.build(node.test), self.build(node.body), self.build(node.orelse)
        return lambda work: then(work) if test(work) else otherwise(work)

    def array(self, node: ast.List | ast.Tuple) -> Evaluate:
        items = [self.build(item) for item in node.elts]
        return lambda work: [item(work) for item in items]

    def object(self, node: ast.Dict) -> Evaluate:
        members = []
        for key, value in zip(node.keys, node.values, strict=True):
            if key is None:
                raise self.source.refuse(value, "'**' is not part of the expression language")
            members.append((self.build(key), self.build(value)))
        return lambda work: {values.check_key(key(work)): value(work) for key, value in members}

    def joined_text(self, node: ast.JoinedStr) -> Evaluate:
        parts = [self.text_part(part) for part in node.values]

        def run(work: Work) -> str:
            texts = [values.text_of(work, part(work)) for part in parts]
            values.check_text_size(sum(map(len, texts)))
            work.spend_on_text(*texts)
            return "".join(texts)

        return run

    def text_part(self, node: ast.expr) -> Evaluate:
        if not isinstance(node, ast.FormattedValue):
            return self.build(node)
        if node.conversion != -1 or node.format_spec is not None:
            raise self.source.refuse(node, "'!' and ':' formats are not part of the expression language")
        return self.build(node.value)

    def call(self, node: ast.Call) -> Evaluate:
        if node.keywords:
            raise self.source.refuse(node, "arguments are given by place, without names")
        arguments = [self.build(argument) for argument in node.args]
        if isinstance(node.func, ast.Attribute):
            return self.method_call(node.func, arguments)
        if not isinstance(node.func, ast.Name) or node.func.id not in FUNCTIONS:
            what = (
                f"there is no function {node.func.id!r}" if isinstance(node.func, ast.Name) else "this is no function"
            )
            raise self.source.refuse(node, f"{what}; the functions are {', '.join(FUNCTIONS)}")
        signature = FUNCTIONS[node.func.id]
        try:
            check_argument_count(node.func.id, signature, len(arguments))
            if node.func.id in ("is_present", "getattr") and isinstance(node.args[0], ast.Constant):
                path = state_path(node.args[0].value)  # now, so that a bad one is found when the flow is published
                arguments[0] = lambda _work: path
        except OperationError as fault:
            raise self.source.refuse(node, str(fault)) from None
        return lambda work: signature.call(work, *[argument(work) for argument in arguments])

    def method_call(self, node: ast.Attribute, arguments: list[Evaluate]) -> Evaluate:
        method = node.attr
        if method not in METHODS:
            raise self.source.refuse(
                node, f"there is no method {method!r}; the methods are {', '.join(sorted(METHODS))}"
            )
        inner = self.build(node.value)
        return lambda work: call_method(work, inner(work), method, [argument(work) for argument in arguments])

    def array_comprehension(self, node: ast.ListComp) -> Evaluate:
        def element() -> _Emit:
            value = self.build(node.elt)

            def emit(work: Work, found: list[Json]) -> None:
                found.append(value(work))
                values.check_item_count(len(found))

            return emit

        return self.comprehension(node, node.generators, element, list)

    def object_comprehension(self, node: ast.DictComp) -> Evaluate:
        def element() -> _Emit:
            key, value = self.build(node.key), self.build(node.value)

            def emit(work: Work, found: dict[str, Json]) -> None:
                found[values.check_key(key(work))] = value(work)
                values.check_item_count(len(found))

            return emit

        return self.comprehension(node, node.generators, element, dict)

    def comprehension(
        self,
        node: ast.expr,
        loops: list[ast.comprehension],
        element: Callable[[], _Emit],
        start: type[list[Json]] | type[dict[str, Json]],
    ) -> Evaluate:
        """``element`` is built last, when the loop variables are known."""
        bound_outside, loops_outside = self.bound, self.loops
        self.loops += len(loops)
        if self.loops > MAX_LOOPS:
            raise self.source.refuse(node, f"'for' is nested more than {MAX_LOOPS} deep")
        built = [self.loop(loop) for loop in loops]
        emit = element()
        self.bound, self.loops = bound_outside, loops_outside
        for loop in reversed(built):
            emit = loop(emit)

        def run(work: Work) -> Json:
            variables = work.variables
            work.variables = dict(variables)
            found = start()
            emit(work, found)
            work.variables = variables
            return found

        return run

    def loop(self, loop: ast.comprehension) -> Callable[[_Emit], _Emit]:
        if loop.is_async:
            raise self.source.refuse(loop.target, "'async' is not part of the expression language")
        items = self.build(loop.iter)
        targets = self.targets(loop.target)
        conditions = [self.build(condition) for condition in loop.ifs]

        def around(inner: _Emit) -> _Emit:
            def emit(work: Work, found: Any) -> None:
                for item in values.items_to_visit(items(work)):
                    work.spend(1)
                    _bind(work, targets, item)
                    if all(condition(work) for condition in conditions):
                        inner(work, found)

            return emit

        return around

    def targets(self, node: ast.expr) -> str | list[str]:
        """The loop's variable, or several (``for key, value in x.items()``); they are bound from here on."""
        parts = node.elts if isinstance(node, ast.Tuple | ast.List) else [node]
        names = [part.id for part in parts if isinstance(part, ast.Name)]
        if not names or len(names) != len(parts):
            raise self.source.refuse(node, "'for' takes a name, or names with commas between them")
        self.bound |= set(names)
        return names[0] if isinstance(node, ast.Name) else names


def _bind(work: Work, targets: str | list[str], item: Json) -> None:
    if isinstance(targets, str):
        work.variables[targets] = item
    elif isinstance(item, list) and len(item) == len(targets):
        work.variables.update(zip(targets, item, strict=True))
    else:
        raise OperationError(f"'for' expects arrays of {len(targets)} items")


def _path_reader(path: Path) -> Evaluate:
    def read(work: Work) -> Json:
        value = find_path(work, path)
        if value is MISSING:
            raise OperationError(
                f"the path '{path.text}' could not be found: {path.explain_absence(work.scope).rstrip('.')}"
            )
        return value

    return read


def _nothing(_work: Work) -> None:
    return None


def _is_singleton(node: ast.expr) -> bool:
    return isinstance(node, ast.Constant) and (node.value is None or isinstance(node.value, bool))


def _checked_literal(text: str) -> str:
    if "\0" in text or any("\ud800" <= char <= "\udfff" for char in text):
        raise OperationError("the text holds a character that JSON documents here cannot hold")
    return text


def _unknown_name(name: str, scope: Scope) -> str:
    if name in FUNCTIONS:
        return f"{name!r} is a function; it is called as {name}(...)"
    keys = keys_there_are(scope.document) if isinstance(scope.document, dict) else ""
    known = keys.replace("'", "") + (f"{', ' if keys else ''}{_CONTEXT}" if scope.context is not None else "")
    return f"no value named {name!r}; available: {known or 'nothing'}"


def _is_plain_read(node: ast.expr) -> bool:
    """Whether the value is a part of the state as it is, which no limit of ours concerns."""
    while isinstance(node, ast.Attribute | ast.Subscript):
        node = node.value
    return isinstance(node, ast.Name)
