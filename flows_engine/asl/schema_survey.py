"""A JSON Schema as a graph: its subschemas, the references between them, and how much one value may cost.

A survey looks at the text of a schema only, in time linear in its size, and bears a malformed one. References never
leave the schema: a fragment (``#``, ``#/definitions/x``, ``#anchor``) is the only kind there is.
"""

from __future__ import annotations

import copy
from collections.abc import Iterator
from dataclasses import dataclass, field
from graphlib import CycleError, TopologicalSorter
from typing import TypeAlias
from urllib.parse import unquote

from schemas.json_text import Json

Pointer: TypeAlias = tuple[str | int, ...]

MAX_SUBSCHEMAS = 2_000
MAX_DEPTH = 32
#: How many subschemas may apply to one and the same value, counted with references unfolded, and how deep.
MAX_APPLIED = 10_000
MAX_CHAIN = 64

_ONE = (
    "additionalItems",
    "additionalProperties",
    "contains",
    "contentSchema",
    "else",
    "if",
    "items",
    "not",
    "propertyNames",
    "then",
    "unevaluatedItems",
    "unevaluatedProperties",
)
_LIST = ("allOf", "anyOf", "items", "oneOf", "prefixItems")
_MAP = ("$defs", "definitions", "dependencies", "dependentSchemas", "patternProperties", "properties")
#: Keywords whose subschemas apply to the value itself, not to a part of it.
_IN_PLACE = frozenset({"allOf", "anyOf", "dependencies", "dependentSchemas", "else", "if", "not", "oneOf", "then"})
_REFERENCES = ("$ref", "$dynamicRef", "$recursiveRef")
_NAMES = ("$id", "id", "$anchor", "$dynamicAnchor")
_ONLY_WHOLE = frozenset({*_NAMES, "$schema", "$recursiveAnchor", "$dynamicRef", "$recursiveRef"})


@dataclass(frozen=True, slots=True)
class Finding:
    """What is wrong with a schema: where in it, a sentence, and whether it is a matter of cost."""

    pointer: Pointer
    msg: str
    is_cost: bool = False


@dataclass(slots=True)
class Survey:
    """Subschemas and references of a schema. ``findings`` is empty when it may be used."""

    schema: Json
    has_id_keyword: bool  # draft 4 spells $id as id
    findings: list[Finding] = field(default_factory=list)
    nodes: dict[Pointer, Json] = field(default_factory=dict)
    references: dict[Pointer, Pointer] = field(default_factory=dict)
    _in_place: dict[Pointer, list[Pointer]] = field(default_factory=dict)
    _anchors: dict[str, Pointer] = field(default_factory=dict)
    _texts: list[tuple[Pointer, str, str]] = field(default_factory=list)

    def patterns(self) -> Iterator[tuple[Pointer, str]]:
        """Every regular expression in the schema."""
        for pointer, node in self.nodes.items():
            if not isinstance(node, dict):
                continue
            if isinstance(pattern := node.get("pattern"), str):
                yield (*pointer, "pattern"), pattern
            if isinstance(by_pattern := node.get("patternProperties"), dict):
                for key in by_pattern:
                    yield (*pointer, "patternProperties", key), key

    def uses(self, *keywords: str) -> bool:
        return any(isinstance(node, dict) and not node.keys().isdisjoint(keywords) for node in self.nodes.values())

    def localised(self) -> Json:
        """A copy in which every reference is a JSON Pointer from the root and nothing else names a place.

        Evaluators then have nothing to look up elsewhere, and no subschema changes the dialect.
        """
        result = copy.deepcopy(self.schema)
        for pointer in self.nodes:
            node = _at(result, pointer)
            if not isinstance(node, dict):
                continue
            for key in _ONLY_WHOLE & node.keys():
                if key != "id" or self.has_id_keyword:
                    del node[key]
            if (target := self.references.get(pointer)) is not None:
                node["$ref"] = "#" + "".join(f"/{_escape(part)}" for part in target)
        return result


def survey(schema: Json, *, has_id_keyword: bool = False) -> Survey:
    """Walk a schema and everything it refers to."""
    result = Survey(schema, has_id_keyword)
    _walk(result, (), schema)
    while result._texts and not result.findings:
        _resolve(result, *result._texts.pop())
    if not result.findings:
        _weigh(result)
    return result


def _walk(result: Survey, start: Pointer, schema: Json) -> None:
    is_rebased = False
    waiting: list[tuple[Pointer, Json, int, bool]] = [(start, schema, 1, is_rebased)]
    while waiting and not result.findings:
        pointer, node, depth, is_rebased = waiting.pop()
        if pointer in result.nodes:
            continue
        result.nodes[pointer] = node
        result._in_place[pointer] = []
        if depth > MAX_DEPTH:
            result.findings.append(Finding(pointer, f"schemas are nested more than {MAX_DEPTH} levels deep", True))
        elif len(result.nodes) > MAX_SUBSCHEMAS:
            result.findings.append(Finding((), f"the schema has more than {MAX_SUBSCHEMAS} subschemas", True))
        elif isinstance(node, dict):
            is_rebased = _note_names(result, pointer, node, is_rebased)
            for keyword, place, child in _children(node):
                inner = (*pointer, *place)
                waiting.append((inner, child, depth + 1, is_rebased))
                if keyword in _IN_PLACE:
                    result._in_place[pointer].append(inner)


def _children(node: dict[str, Json]) -> Iterator[tuple[str, Pointer, Json]]:
    for keyword in _ONE:
        if isinstance(child := node.get(keyword), dict | bool):
            yield keyword, (keyword,), child
    for keyword in _LIST:
        if isinstance(children := node.get(keyword), list):
            yield from ((keyword, (keyword, i), one) for i, one in enumerate(children) if isinstance(one, dict | bool))
    for keyword in _MAP:
        if isinstance(named := node.get(keyword), dict):
            yield from ((keyword, (keyword, k), one) for k, one in named.items() if isinstance(one, dict | bool))


def _note_names(result: Survey, pointer: Pointer, node: dict[str, Json], is_rebased: bool) -> bool:
    """Remember anchors and references; says whether references here and below are relative to another base."""
    for key in ("$anchor", "$dynamicAnchor"):
        if isinstance(anchor := node.get(key), str):
            result._anchors.setdefault(anchor, pointer)
    identifier = node.get("id" if result.has_id_keyword else "$id")
    if isinstance(identifier, str) and identifier.startswith("#") and "/" not in identifier:
        result._anchors.setdefault(identifier[1:], pointer)
    elif isinstance(identifier, str) and pointer and not identifier.startswith("#"):
        is_rebased = True
    if pointer and node.get("$schema", _root_dialect(result)) != _root_dialect(result):
        result.findings.append(Finding((*pointer, "$schema"), "a subschema must not be of another dialect"))
    found = [key for key in _REFERENCES if isinstance(node.get(key), str)]
    if len(found) > 1:
        result.findings.append(Finding(pointer, f"{' and '.join(found)} cannot stand in one schema"))
    elif found and is_rebased:
        result.findings.append(Finding((*pointer, found[0]), "references below a nested $id are not supported"))
    elif found:
        result._texts.append((pointer, found[0], node[found[0]]))
    return is_rebased


def _root_dialect(result: Survey) -> Json:
    return result.schema.get("$schema") if isinstance(result.schema, dict) else None


def _resolve(result: Survey, pointer: Pointer, keyword: str, text: str) -> None:
    here = (*pointer, keyword)
    root_id = result.schema.get("id" if result.has_id_keyword else "$id") if isinstance(result.schema, dict) else None
    fragment = text
    if isinstance(root_id, str) and root_id and text.partition("#")[0] == root_id.partition("#")[0]:
        fragment = "#" + text.partition("#")[2]
    if not fragment.startswith("#"):
        msg = f"{text[:80]!r}: references must stay inside the schema; write one such as '#/definitions/name'"
        result.findings.append(Finding(here, msg))
        return
    target = _pointer(result, unquote(fragment[1:]))
    node = None if target is None else _at(result.schema, target)
    if target is None or not isinstance(node, dict | bool):
        result.findings.append(Finding(here, f"{text[:80]!r} leads to no schema"))
        return
    result.references[pointer] = target
    result._in_place[pointer].append(target)
    _walk(result, target, node)


def _pointer(result: Survey, fragment: str) -> Pointer | None:
    if not fragment:
        return ()
    if not fragment.startswith("/"):
        return result._anchors.get(fragment)
    pointer: list[str | int] = []
    here = result.schema
    for token in fragment[1:].split("/"):
        part: str | int = token.replace("~1", "/").replace("~0", "~")
        if isinstance(here, list):
            if not (token.isascii() and token.isdigit() and len(token) < 6 and int(token) < len(here)):
                return None
            part = int(token)
        elif not isinstance(here, dict) or part not in here:
            return None
        here = here[part]
        pointer.append(part)
    return tuple(pointer)


def _weigh(result: Survey) -> None:
    """Refuse references that never end, and those that unfold to too many subschemas for one value."""
    try:
        order = list(TopologicalSorter(result._in_place).static_order())
    except CycleError as error:
        cycle: list[Pointer] = error.args[1]
        way = " -> ".join(format_pointer(pointer) for pointer in cycle[:6])
        msg = f"the schema refers to itself without end: {way}"
        result.findings.append(Finding(min(cycle, key=lambda pointer: (len(pointer), format_pointer(pointer))), msg))
        return
    applied: dict[Pointer, int] = {}
    chain: dict[Pointer, int] = {}
    for pointer in order:
        children = result._in_place[pointer]
        applied[pointer] = 1 + sum(applied[child] for child in children)
        chain[pointer] = 1 + max((chain[child] for child in children), default=0)
        if applied[pointer] > MAX_APPLIED or chain[pointer] > MAX_CHAIN:
            msg = f"the references of this schema unfold to more than {MAX_APPLIED} subschemas for one value"
            if chain[pointer] > MAX_CHAIN:
                msg = f"references and combinations for one value are chained more than {MAX_CHAIN} deep"
            result.findings.append(Finding(pointer, msg, True))
            return


def format_pointer(pointer: Pointer) -> str:
    return "#" + "".join(f"/{part}" for part in pointer)


def _escape(part: str | int) -> str:
    return str(part).replace("~", "~0").replace("/", "~1").replace("%", "%25")


def _at(document: Json, pointer: Pointer) -> Json:
    for part in pointer:
        document = document[part]
    return document
