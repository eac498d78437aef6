"""From the text of an expression to a checked Python syntax tree. Nothing is compiled or run by Python.

Python's own parser reads the text, because the language of published flows is a part of Python's. Everything that could
make that costly is refused before: length and depth of brackets. The tree is then measured; which of its forms belong
to the language is decided where they get their meaning, in ``expression``.
"""

from __future__ import annotations

import ast
import re
import warnings
from collections.abc import Mapping
from dataclasses import dataclass

from .errors import ExpressionSyntaxError, PathSyntaxError
from .paths import Path, compile_path

MAX_EXPRESSION_CHARS = 4_096
MAX_NODES = 500
MAX_DEPTH = 40
MAX_PATHS = 100

_FILE_NAME = "<flow expression>"
_STRING = re.compile(
    r"'''(?:[^\\]|\\.)*?'''|\"\"\"(?:[^\\]|\\.)*?\"\"\"|'(?:[^'\\\n]|\\.)*'|\"(?:[^\"\\\n]|\\.)*\"", re.DOTALL
)
_BACKTICKS = re.compile(r"`([^`]*)`")
_CONTROL = re.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f]")


@dataclass(frozen=True, slots=True)
class Source:
    """A parsed expression. ``paths`` holds what stood between backticks, by (line, byte) of its place in the tree."""

    text: str
    tree: ast.expr
    paths: Mapping[tuple[int, int], Path]
    lines: tuple[str, ...]
    lead: int

    def place(self, node: ast.AST) -> str:
        """``column 5``, or ``line 2, column 5`` in a text of several lines."""
        line, byte = getattr(node, "lineno", 1), getattr(node, "col_offset", 0)
        column = len(self.lines[line - 1].encode()[:byte].decode(errors="ignore")) if line <= len(self.lines) else byte
        return _place(self.lines, self.lead, line, column + 1)

    def refuse(self, node: ast.AST, reason: str) -> ExpressionSyntaxError:
        return ExpressionSyntaxError(f"{reason} ({self.place(node)})")


def parse_expression(text: str) -> Source:
    """Read the text.

    Raises:
        ExpressionSyntaxError: the sentence names the column.
    """
    if len(text) > MAX_EXPRESSION_CHARS:
        raise ExpressionSyntaxError(
            f"the expression has {len(text)} characters; the limit is {MAX_EXPRESSION_CHARS} "
            f"(column {MAX_EXPRESSION_CHARS + 1})"
        )
    if not text.strip():
        raise ExpressionSyntaxError("the expression is empty (column 1)")
    if found := _CONTROL.search(text):
        raise ExpressionSyntaxError(f"a control character cannot stand in an expression (column {found.start() + 1})")
    body = text.strip().replace("\r\n", "\n").replace("\r", "\n")
    lead = len(text) - len(text.lstrip())
    prepared, paths = _replace_paths(body, lead)
    tree = _parse(prepared, lead)
    source = Source(text, tree, paths, tuple(prepared.split("\n")), lead)
    _measure(source)
    return source


def _replace_paths(body: str, lead: int) -> tuple[str, dict[tuple[int, int], Path]]:
    """Put a name of the same length in the place of every `` `$.path` `` outside of text, and count brackets.

    The tree's node at that place stands for the path: the path's text, and the value it leads to, never become code.
    """
    pieces: list[str] = []
    paths: dict[tuple[int, int], Path] = {}
    at = depth = 0
    while at < len(body):
        char = body[at]
        if char in "'\"":
            quoted = _STRING.match(body, at)
            if quoted is None:
                raise ExpressionSyntaxError(f"the text has no closing {char} (column {lead + at + 1})")
            pieces.append(quoted.group())
            at = quoted.end()
            continue
        if char == "`":
            found = _BACKTICKS.match(body, at)
            if found is None:
                raise ExpressionSyntaxError(f"the path after '`' has no closing '`' (column {lead + at + 1})")
            if len(paths) == MAX_PATHS:
                raise ExpressionSyntaxError(f"there are more than {MAX_PATHS} paths (column {lead + at + 1})")
            pieces.append(" " if pieces else "")  # apart from a name before it; a text must not begin with a space
            before = "".join(pieces)
            place = before.count("\n") + 1, len(before.rpartition("\n")[2].encode())
            paths[place] = _compile(found.group(1), lead + at + 1)
            pieces.append("_".ljust(len(found.group()) - len(pieces[-1])))
            at = found.end()
            continue
        depth += (char in "([{") - (char in ")]}")
        if depth > MAX_DEPTH:
            raise ExpressionSyntaxError(f"brackets are nested more than {MAX_DEPTH} deep (column {lead + at + 1})")
        pieces.append(char)
        at += 1
    return "".join(pieces), paths


def _compile(text: str, column: int) -> Path:
    try:
        return compile_path(text)
    except PathSyntaxError as error:
        raise ExpressionSyntaxError(f"{error} (column {column})") from None


def _parse(body: str, lead: int) -> ast.expr:
    lines = tuple(body.split("\n"))
    try:
        # The parser warns about texts like "1if 0": a user must not be able to fill the log. Should two threads be in
        # here at once, the worst they leave behind is this filter, which matches nothing else.
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", module=re.escape(_FILE_NAME))
            return ast.parse(body, filename=_FILE_NAME, mode="eval").body
    except SyntaxError as error:
        line, column = error.lineno or 0, error.offset or 0
        if not (1 <= line <= len(lines) and column >= 1):  # the parser's way to say: at the end
            line, column = len(lines), len(lines[-1]) + 1
        place = _place(lines, lead, line, column)
        raise ExpressionSyntaxError(f"the expression cannot be read: {error.msg} ({place})") from None
    except (ValueError, RecursionError, MemoryError, OverflowError):
        raise ExpressionSyntaxError(
            f"the expression cannot be read: it is too deep or too long (column {lead + 1})"
        ) from None


def _measure(source: Source) -> None:
    count = 0
    stack: list[tuple[ast.AST, int]] = [(source.tree, 1)]
    while stack:
        node, depth = stack.pop()
        count += isinstance(node, ast.expr)
        if count > MAX_NODES:
            raise source.refuse(node, f"the expression has more than {MAX_NODES} parts")
        if depth > MAX_DEPTH:
            raise source.refuse(node, f"the expression is nested more than {MAX_DEPTH} deep")
        stack.extend((child, depth + isinstance(child, ast.expr)) for child in ast.iter_child_nodes(node))


def _place(lines: tuple[str, ...], lead: int, line: int, column: int) -> str:
    if len(lines) > 1:
        return f"line {line}, column {column}"
    return f"column {lead + column}"
