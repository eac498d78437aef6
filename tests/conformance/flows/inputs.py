"""Inputs for published flows: the published sample where there is one, else made from the schema, else from what the
definition reads. What the input names is then made: collections with the ids it has, files where it copies from, a
compute endpoint and a function.

Nothing here knows a flow by its name. Meaning is read off names of members and ``format``, which is what people who fill
in such a form go by, too.
"""

from __future__ import annotations

import re
import uuid
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from schemas.principals import identity_of
from schemas.times import format_time
from tests.examples.running_house import RunningHouse

from .corpus import Published

#: Places in an input are tuples of names, outermost first.
Loc = tuple[str, ...]

_FILES = {
    "data.json": b'{"a": 1}\n',
    "table.csv": b"x,y\n1,2\n",
    "below/more.json": b"{}\n",
    "below/deep/picture.tif": bytes(range(256)) * 8,
}
_TARGET = re.compile(r"dest|target|_to\b|^to_|output|intermediate|guest|archive", re.IGNORECASE)
_COLLECTION = re.compile(r"endpoint|collection|^source$|^dest|_ep\b", re.IGNORECASE)
_NO_COLLECTION = re.compile(r"compute|function|funcx|index|flow|group|principal|user", re.IGNORECASE)
_COMPUTE = re.compile(r"compute|funcx", re.IGNORECASE)
_SLOW = re.compile(r"sleep|wait|delay|seconds|timeout|interval", re.IGNORECASE)
_PATH = re.compile(r"path|folder|director", re.IGNORECASE)
_REFERENCE = re.compile(r"\$((?:\.[A-Za-z_][\w-]*)+)")
_IN_EXPRESSION = re.compile(r"(?<![\w.'\"$`])([A-Za-z_]\w*(?:\.[A-Za-z_]\w*)+)")


@dataclass
class World:
    """What stands behind one flow's input."""

    house: RunningHouse
    place: Path
    roots: dict[str, Path] = field(default_factory=dict)
    targets: list[tuple[str, str]] = field(default_factory=list)

    def collection(self, loc: Loc) -> str:
        """Id of a collection for this member, the same whenever it is asked."""
        return str(uuid.uuid5(uuid.NAMESPACE_URL, f"{self.place}/{'/'.join(loc)}"))

    def principal(self) -> str:
        return identity_of(self.house.administrator) or ""

    def function(self) -> str:
        """Id of a function that takes any arguments."""
        return self.house.compute.register_function(anything)

    def arrived(self) -> dict[str, bytes]:
        """Files at the places that the input calls a destination, by their paths there."""
        found = {}
        for collection, path in self.targets:
            top = self.roots[collection] / path.strip("/").removeprefix("~/")
            for file in top.rglob("*"):
                if file.is_file():
                    found[str(file.relative_to(top))] = file.read_bytes()
        return found


def input_for(flow: Published, world: World) -> dict[str, Any]:
    """An input that the flow can work with, and the world that it talks of."""
    if flow.sample is not None:
        body = flow.sample
    elif flow.schema is not None:
        body = _from_schema(flow.schema, (), world)
    else:
        body = _from_references(flow, world)
    body = _hurried(body)
    _make_world(body, world)
    return body


def anything(*args: Any, **kwargs: Any) -> dict[str, Any]:
    """The function that published flows call here. It says what those that are known say, and what it was given."""
    return {"status": "success", "message": "", "data": {"manifest": {}}, "given": [args, kwargs]}


def source_files() -> dict[str, bytes]:
    return dict(_FILES)


# What a schema asks for


def _from_schema(schema: Any, loc: Loc, world: World) -> Any:
    if not isinstance(schema, dict):
        return "x"
    if "const" in schema:
        return schema["const"]
    if schema.get("enum"):
        return schema["enum"][0]
    for many in ("anyOf", "oneOf"):
        if schema.get(many):
            return _from_schema({**schema, **schema[many][0], many: None}, loc, world)
    if schema.get("format") == "globus-principal" and schema.get("type") == "object":
        return {"id": world.principal(), "type": "identity"}
    kind = schema.get("type", "object" if "properties" in schema else "string")
    match kind[0] if isinstance(kind, list) else kind:
        case "object":
            properties = schema.get("properties") or {}
            return {name: _from_schema(one, (*loc, name), world) for name, one in properties.items() if _is_schema(one)}
        case "array":
            return schema.get("default") or [_from_schema(schema.get("items", {}), loc, world)]
        case "boolean":
            return True if loc and "recursive" in loc[-1] else schema.get("default", False)
        case "integer" | "number":
            return schema.get("default", schema.get("minimum", 1))
        case "null":
            return None
        case _:
            return _text(schema, loc, world)


def _is_schema(one: Any) -> bool:
    return isinstance(one, dict)  # published schemas have misplaced keywords among their properties


def _text(schema: dict[str, Any], loc: Loc, world: World) -> str:
    known = _known_text(loc, world, is_uuid=schema.get("format") == "uuid")
    if known is not None:
        return known
    if isinstance(schema.get("default"), str):
        return schema["default"]
    match schema.get("format"):
        case "globus-principal":
            return world.house.administrator
        case "date-time":
            return format_time(datetime.now(UTC))
        case "uuid":
            return world.collection(loc)
        case "uri":
            return "https://example.org/"
    return "sample text".ljust(schema.get("minLength", 0), ".")


def _known_text(loc: Loc, world: World, *, is_uuid: bool) -> str | None:
    """The value of members that have a meaning here by their names."""
    name = loc[-1] if loc else ""
    if "function" in name and (is_uuid or name.endswith("id")):
        return world.function()
    if "endpoint" in name and any(map(_COMPUTE.search, loc)):
        return world.house.endpoint_id
    if _is_collection(loc) and (is_uuid or not _PATH.search(name)):
        return world.collection(loc)
    if _PATH.search(name):
        return f"/arrivals-{len(loc)}/" if _is_target(loc) else "/departures/"
    if name == "sync_level":
        return "0"
    return None


def _is_collection(loc: Loc) -> bool:
    name = loc[-1] if loc else ""
    if any(_NO_COLLECTION.search(one) for one in loc):
        return False
    if name == "id":
        return len(loc) > 1 and not _PATH.search(loc[-2])
    return bool(_COLLECTION.search(name)) and not _PATH.search(name)


def _is_target(loc: Loc) -> bool:
    return any(_TARGET.search(name) for name in loc)


# What a definition reads, where no schema says what there must be


def _from_references(flow: Published, world: World) -> dict[str, Any]:
    """An object with everything that the states read and no state before could have written."""
    written = [_parts(state["ResultPath"]) for state in flow.definition["States"].values() if "ResultPath" in state]
    tested = {tuple(_parts(one)) for one in _members(flow.definition, "Variable")}
    body: dict[str, Any] = {}
    for loc, parameter in sorted(_references(flow)):
        made_by_a_state = any(loc[: len(one)] == tuple(one) for one in written if one)
        if made_by_a_state or loc[0] == "_context" or loc in tested:
            continue
        here = body
        for name in loc[:-1]:
            here = here.setdefault(name, {})
            if not isinstance(here, dict):
                break
        else:
            here.setdefault(loc[-1], _by_parameter(parameter, loc, world))
    return body


def _references(flow: Published) -> Iterator[tuple[Loc, str]]:
    """Places that ``Parameters`` and the like read, with the name of the member that gets the value."""
    for state in flow.definition["States"].values():
        yield from _references_in(state.get("Parameters"), "")
        for name in ("SecondsPath", "TimestampPath"):
            if name in state:
                yield _parts(state[name]), name


def _references_in(value: Any, parameter: str) -> Iterator[tuple[Loc, str]]:
    if isinstance(value, dict):
        for key, one in value.items():
            if key.endswith((".$", ".=")) and isinstance(one, str):
                for match in _REFERENCE.finditer(one):
                    yield tuple(match[1].strip(".").split(".")), key[:-2]
                if key.endswith(".="):
                    for match in _IN_EXPRESSION.finditer(one):
                        yield tuple(match[1].split(".")), key[:-2]
            else:
                yield from _references_in(one, key)
    elif isinstance(value, list):
        for one in value:
            yield from _references_in(one, parameter)


def _by_parameter(parameter: str, loc: Loc, world: World) -> Any:
    """A value for a provider's parameter, by the shapes that the hosted providers take."""
    shapes: dict[str, Any] = {
        "items": ["/departures/"],
        "DATA": [{"path": "/departures/"}],
        "recursive": True,
        "options": [{"name": "yes", "description": "Go on"}],
        "body_variables": {},
        "TimestampPath": format_time(datetime.now(UTC)),
    }
    if parameter in shapes:
        return shapes[parameter]
    return 1 if _SLOW.search(parameter) else _text({}, (*loc[:-1], parameter), world)


def _members(value: Any, name: str) -> Iterator[str]:
    if isinstance(value, dict):
        for key, one in value.items():
            if key == name and isinstance(one, str):
                yield one
            yield from _members(one, name)
    elif isinstance(value, list):
        for one in value:
            yield from _members(one, name)


def _parts(path: str) -> Loc:
    return tuple(path.strip("$.").split(".")) if path.strip("$.") else ()


# The world that the input talks of


def _hurried(value: Any) -> Any:
    """The same input with durations of a second at most: inputs may be shortened, definitions never."""
    if isinstance(value, dict):
        return {
            key: min(one, 1) if _SLOW.search(key) and type(one) is int else _hurried(one) for key, one in value.items()
        }
    return [_hurried(one) for one in value] if isinstance(value, list) else value


def _make_world(body: Any, world: World) -> None:
    leaves = list(_leaves(body, ()))
    collections = [(loc, text) for loc, text in leaves if _is_collection(loc) and _is_uuid(text)]
    for _, text in collections:
        if text not in world.roots:
            root = world.place / f"collection-{len(world.roots)}"
            world.roots[text] = root
            world.house.add_collection(root, collection_id=text)
    for loc, text in leaves:
        if not text.startswith("/") or (loc and _COLLECTION.search(loc[-1]) and not _PATH.search(loc[-1])):
            continue
        if _is_target(loc):
            world.targets += [(one, text) for place, one in collections if _is_target(place)]
            continue
        for root in world.roots.values():
            for name, content in _FILES.items():
                file = root / text.strip("/").removeprefix("~/") / name
                file.parent.mkdir(parents=True, exist_ok=True)
                file.write_bytes(content)


def _leaves(value: Any, loc: Loc) -> Iterator[tuple[Loc, str]]:
    if isinstance(value, dict):
        for key, one in value.items():
            yield from _leaves(one, (*loc, key))
    elif isinstance(value, list):
        for one in value:
            yield from _leaves(one, loc)
    elif isinstance(value, str):
        yield loc, value


def _is_uuid(text: str) -> bool:
    try:
        return str(uuid.UUID(text)) == text.lower()
    except ValueError:
        return False
