"""Templates: the ``Parameters`` of a state, where values are built from the run's state.

``"name.$": "$.path"`` takes the value at a path, ``"name.=": "a + b"`` that of an expression; other keys are constants,
looked through at any depth. ``__Private_Parameters`` names sibling keys that nobody may see; the list itself is never
part of a value. A compiled template shares its constants with every value it makes.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol, TypeAlias

from schemas.errors import Problem
from schemas.json_text import Json

from .errors import EvaluationError, ExpressionSyntaxError, PathSyntaxError
from .expression import Expression, compile_expression
from .paths import MISSING, Path, compile_path, kind_of
from .private import PRIVATE_PARAMETERS, bare_name
from .scope import Scope

Loc: TypeAlias = tuple[str | int, ...]


class _Node(Protocol):
    """A part of a template. ``render_both`` gives the value, and the value without what is private."""

    @property
    def hides(self) -> bool: ...

    def render(self, scope: Scope) -> Json: ...

    def render_both(self, scope: Scope) -> tuple[Json, Json]: ...


@dataclass(frozen=True, slots=True)
class Template:
    """A compiled template. ``sources`` lists its paths and expressions with the keys that lead to them."""

    sources: tuple[tuple[Loc, Path | Expression], ...]
    _root: _Node = field(repr=False)

    @property
    def hides(self) -> bool:
        """Whether anything in it is private."""
        return self._root.hides

    def render(self, scope: Scope) -> Json:
        """The value.

        Raises:
            EvaluationError: ``States.Runtime``; the cause names the field.
        """
        return self._root.render(scope)

    def private_render(self, scope: Scope) -> tuple[Json, Json]:
        """The value, and the value for eyes: without the keys that ``__Private_Parameters`` names.

        Both are the same object when nothing is private. Raises as ``render``.
        """
        return self._root.render_both(scope)


def compile_template(body: Json, *, expressions: bool, extended: bool = False) -> Template:
    """Compile a template once. ``expressions`` admits ``.=`` keys, ``extended`` the extended forms of paths.

    Raises:
        PathSyntaxError, ExpressionSyntaxError: the first problem, with the field named.
    """
    compiler = _Compiler(expressions=expressions, extended=extended)
    root = compiler.compile(body, ())
    for _, error in compiler.errors:
        raise error
    return Template(tuple(compiler.sources), root)


def template_problems(body: Json, *, expressions: bool, extended: bool = False) -> list[Problem]:
    """Everything that is wrong with a template; each ``loc`` begins inside ``body``."""
    compiler = _Compiler(expressions=expressions, extended=extended)
    compiler.compile(body, ())
    return [Problem(loc, str(error)) for loc, error in compiler.errors]


@dataclass(frozen=True, slots=True)
class _Constant:
    value: Json
    shown: Json

    @property
    def hides(self) -> bool:
        return self.value is not self.shown

    def render(self, scope: Scope) -> Json:  # noqa: ARG002 - the signature of a node
        return self.value

    def render_both(self, scope: Scope) -> tuple[Json, Json]:  # noqa: ARG002 - the signature of a node
        return self.value, self.shown


@dataclass(frozen=True, slots=True)
class _PathField:
    key: str
    path: Path
    hides: bool = False

    def render(self, scope: Scope) -> Json:
        value = self.path.find(scope)
        if value is MISSING:
            # The first sentence is the hosted service's, word for word.
            raise EvaluationError(
                f"The path '{self.path.text}' specified for the field '{self.key}' could not be found in the state "
                f"input. {_sentence(self.path.explain_absence(scope))}"
            )
        return value

    def render_both(self, scope: Scope) -> tuple[Json, Json]:
        value = self.render(scope)
        return value, value


@dataclass(frozen=True, slots=True)
class _ExpressionField:
    key: str
    expression: Expression
    hides: bool = False

    def render(self, scope: Scope) -> Json:
        try:
            return self.expression.evaluate(scope)
        except EvaluationError as error:
            raise EvaluationError(
                f"The expression specified for the field '{self.key}' could not be evaluated: {error.cause}.",
                error=error.error,
            ) from error

    def render_both(self, scope: Scope) -> tuple[Json, Json]:
        value = self.render(scope)
        return value, value


@dataclass(frozen=True, slots=True)
class _Object:
    members: tuple[tuple[str, _Node], ...]
    private: frozenset[str]
    hides: bool

    def render(self, scope: Scope) -> Json:
        return {name: node.render(scope) for name, node in self.members}

    def render_both(self, scope: Scope) -> tuple[Json, Json]:
        if not self.hides:
            value = self.render(scope)
            return value, value
        both = {name: node.render_both(scope) for name, node in self.members}
        return (
            {name: value for name, (value, _) in both.items()},
            {name: shown for name, (_, shown) in both.items() if name not in self.private},
        )


@dataclass(frozen=True, slots=True)
class _Array:
    items: tuple[_Node, ...]
    hides: bool

    def render(self, scope: Scope) -> Json:
        return [node.render(scope) for node in self.items]

    def render_both(self, scope: Scope) -> tuple[Json, Json]:
        if not self.hides:
            value = self.render(scope)
            return value, value
        both = [node.render_both(scope) for node in self.items]
        return [value for value, _ in both], [shown for _, shown in both]


class _Compiler:
    """Collects problems instead of stopping at the first, so that an author sees them all."""

    def __init__(self, *, expressions: bool, extended: bool) -> None:
        self.expressions = expressions
        self.extended = extended
        self.errors: list[tuple[Loc, PathSyntaxError | ExpressionSyntaxError]] = []
        self.sources: list[tuple[Loc, Path | Expression]] = []

    def compile(self, body: Json, loc: Loc) -> _Node:
        if isinstance(body, dict):
            return self.compile_object(body, loc)
        if isinstance(body, list):
            return _array(body, [self.compile(item, (*loc, index)) for index, item in enumerate(body)])
        return _Constant(body, body)

    def compile_object(self, body: Mapping[str, Json], loc: Loc) -> _Node:
        members: dict[str, _Node] = {}
        for key, value in body.items():
            if key == PRIVATE_PARAMETERS:
                continue
            name, node = self.compile_member(key, value, (*loc, key))
            if name in members:
                self.refuse((*loc, key), f"the object has more than one value for {name!r}; keep one of them")
            members[name] = node
        return _object(body, members, self.private_names(body, members, loc))

    def compile_member(self, key: str, value: Json, loc: Loc) -> tuple[str, _Node]:
        if key.endswith(".$"):
            return key[:-2], self.compile_path_field(key, value, loc)
        if self.expressions and key.endswith(".="):
            return key[:-2], self.compile_expression_field(key, value, loc)
        return key, self.compile(value, loc)

    def compile_path_field(self, key: str, value: Json, loc: Loc) -> _Node:
        try:
            path = compile_path(value, extended=self.extended)
        except PathSyntaxError as error:
            self.errors.append((loc, PathSyntaxError(f"the field '{field_name(loc)}': {error}")))
            return _Constant(None, None)
        self.sources.append((loc, path))
        return _PathField(key, path)

    def compile_expression_field(self, key: str, value: Json, loc: Loc) -> _Node:
        try:
            expression = compile_expression(value)
        except ExpressionSyntaxError as error:
            self.errors.append((loc, ExpressionSyntaxError(f"the field '{field_name(loc)}': {error}")))
            return _Constant(None, None)
        self.sources.append((loc, expression))
        return _ExpressionField(key, expression)

    def private_names(self, body: Mapping[str, Json], members: Mapping[str, Any], loc: Loc) -> frozenset[str]:
        names = body.get(PRIVATE_PARAMETERS, [])
        here = (*loc, PRIVATE_PARAMETERS)
        if not isinstance(names, list) or not all(isinstance(name, str) for name in names):
            self.refuse(here, f"the names of private fields are an array of texts, not {kind_of(names)}")
            return frozenset()
        for name in names:
            if bare_name(name) not in members:
                self.refuse(here, f"there is no field {name!r} beside it")
        return frozenset(map(bare_name, names))

    def refuse(self, loc: Loc, reason: str) -> None:
        self.errors.append((loc, PathSyntaxError(f"the field '{field_name(loc)}': {reason}")))


def field_name(loc: Loc) -> str:
    """``files[0].name.$``: the place of a field as text."""
    text = ""
    for part in loc:
        text += f"[{part}]" if isinstance(part, int) else f".{part}" if text else part
    return text


def _object(body: Mapping[str, Json], members: Mapping[str, _Node], private: frozenset[str]) -> _Node:
    constants = {name: node for name, node in members.items() if isinstance(node, _Constant)}
    hides = bool(private) or any(node.hides for node in members.values())
    if len(constants) < len(members):
        return _Object(tuple(members.items()), private, hides)
    same = members.keys() == body.keys() and all(body[name] is node.value for name, node in constants.items())
    value = body if same else {name: node.value for name, node in constants.items()}
    if not hides:
        return _Constant(value, value)
    return _Constant(value, {name: node.shown for name, node in constants.items() if name not in private})


def _array(body: list[Json], items: list[_Node]) -> _Node:
    constants = [node for node in items if isinstance(node, _Constant)]
    hides = any(node.hides for node in items)
    if len(constants) < len(items):
        return _Array(tuple(items), hides)
    same = all(old is node.value for old, node in zip(body, constants, strict=True))
    value = body if same else [node.value for node in constants]
    return _Constant(value, [node.shown for node in constants] if hides else value)


def _sentence(text: str) -> str:
    return text[:1].upper() + text[1:]
