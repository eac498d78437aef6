"""YAML of configurations: read by the safe loader, with the line of every key, and without three surprises of YAML 1.1:
a repeated key is refused, ``01:30:00`` stays the text that a scheduler wants, and so do dates."""

from __future__ import annotations

import re
from collections.abc import Hashable, Mapping
from typing import Any

import yaml

#: Most characters of one configuration file, or of what a template makes of one.
MAX_CHARS = 262_144
_MAX_DEPTH = 32


class ConfigError(Exception):
    """A configuration that cannot be used. The text names file, line or key, value and what would be right."""


class _Loader(yaml.SafeLoader):
    """The safe loader, with the few implicit types that a configuration needs."""


_Loader.yaml_implicit_resolvers = {
    first: [(tag, pattern) for tag, pattern in resolvers if tag.rpartition(":")[2] in ("bool", "null", "merge")]
    for first, resolvers in yaml.SafeLoader.yaml_implicit_resolvers.items()
}
_Loader.add_implicit_resolver(
    "tag:yaml.org,2002:int", re.compile(r"[-+]?(0|[1-9][0-9_]*|0x[0-9a-fA-F]+)\Z"), list("-+0123456789")
)
_Loader.add_implicit_resolver(
    "tag:yaml.org,2002:float",
    re.compile(r"[-+]?([0-9][0-9_]*\.[0-9_]*([eE][-+]?[0-9]+)?|[0-9]+[eE][-+]?[0-9]+|\.[0-9]+([eE][-+]?[0-9]+)?)\Z"),
    list("-+0123456789."),
)


class YamlText:
    """One YAML document whose root is a mapping; ``name`` is the file for error texts.

    Raises:
        ConfigError: it is not YAML, or not a mapping, or too large.
    """

    def __init__(self, text: str, name: str) -> None:
        self.name = name
        if len(text) > MAX_CHARS:
            raise ConfigError(f"{name} has {len(text)} characters; at most {MAX_CHARS} are read")
        try:
            loader = _Loader(text)
            try:
                node = loader.get_single_node()
                self._lines: dict[tuple[str, ...], int] = {}
                if node is not None:
                    self._note_lines(node, ())
                document = {} if node is None else loader.construct_document(node)
            finally:
                loader.dispose()
        except yaml.YAMLError as error:
            raise ConfigError(f"{name}{_place(error)}: this is not YAML: {_reason(error)}") from error
        except (ValueError, RecursionError) as error:
            raise ConfigError(f"{name}: this is not YAML that can be used: {error}") from error
        if not isinstance(document, dict):
            raise ConfigError(f"{name} holds {_kind(document)}; it must hold 'key: value' lines")
        self.document: dict[str, Any] = document

    def where(self, *path: str) -> str:
        """``config.yaml, line 3: engine.type``, with the line of the deepest key of the path that is there."""
        for length in range(len(path), 0, -1):
            if (line := self._lines.get(path[:length])) is not None:
                return f"{self.name}, line {line}: {'.'.join(path)}"
        return f"{self.name}: {'.'.join(path)}" if path else self.name

    def _note_lines(self, node: yaml.Node, path: tuple[str, ...]) -> None:
        if len(path) > _MAX_DEPTH:
            raise ConfigError(
                f"{self.name}, line {node.start_mark.line + 1}: nested more than {_MAX_DEPTH} levels deep"
            )
        if isinstance(node, yaml.SequenceNode):
            for index, item in enumerate(node.value):
                self._note_lines(item, (*path, str(index)))
        if not isinstance(node, yaml.MappingNode):
            return
        seen: set[Hashable] = set()
        for key, value in node.value:
            if not isinstance(key, yaml.ScalarNode):
                raise ConfigError(f"{self.name}, line {key.start_mark.line + 1}: a key must be a word, not a {key.id}")
            here = (*path, str(key.value))
            line = key.start_mark.line + 1
            if key.value in seen:
                first = self._lines[here]
                raise ConfigError(
                    f"{self.name}, line {line}: {'.'.join(here)} is there already, in line {first}; remove one"
                )
            seen.add(key.value)
            self._lines[here] = line
            self._note_lines(value, here)


def text_keys(document: Mapping[Any, Any], source: YamlText) -> None:
    """Check that the keys of a mapping are words: ``yes:`` and ``1:`` are not."""
    for key in document:
        if not isinstance(key, str):
            raise ConfigError(f"{source.name}: the key {key!r} is not a word; put it in quotes if it is meant")


def _place(error: yaml.YAMLError) -> str:
    mark = getattr(error, "problem_mark", None)
    return "" if mark is None else f", line {mark.line + 1}, column {mark.column + 1}"


def _reason(error: yaml.YAMLError) -> str:
    problem = getattr(error, "problem", None) or getattr(error, "reason", None) or str(error)
    if "'\\t'" in problem:
        return "a tab stands there; YAML is indented with spaces"
    context = getattr(error, "context", None)
    return f"{problem} {context}" if context else str(problem)


def _kind(value: object) -> str:
    if isinstance(value, list):
        return "a list"
    return f"the {type(value).__name__} {str(value)[:40]!r}"
