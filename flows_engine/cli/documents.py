"""Files that the user gives: definitions, schemas and inputs, as JSON or YAML; ``-`` is stdin."""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from compute_agent.errors import ApiError
from flows_engine.asl.source import MAX_SOURCE_BYTES, Source, read_document
from flows_engine.asl.validate_fields import sentence
from schemas.errors import InvalidJson
from schemas.json_text import Json

from .failures import Exit, Failure, Usage

#: Documents that belong together and the paths they were read from, by the member they are sent in (``definition``).
Sources = dict[str, tuple[Source, str]]


def read_file(path: str) -> Source:
    """The document in the file, with the places of its parts.

    Raises:
        Usage: a sentence that names the file and, where there is one, the line and column.
    """
    name = "standard input" if path == "-" else path
    try:
        raw = sys.stdin.buffer.read(MAX_SOURCE_BYTES + 1) if path == "-" else _read(Path(path))
    except OSError as error:
        raise Usage(f"{name} cannot be read: {error.strerror or error}") from error
    try:
        return read_document(raw, name=name)
    except InvalidJson as error:
        raise Usage(str(error)) from error


def read_flow(definition: str, input_schema: str | None, *others: str | None) -> Sources:
    """A definition and the schema that belongs to it, if there is one. ``others`` are files to be read besides.

    Raises:
        Usage: as ``read_file``, or when more than one of all the files is standard input.
    """
    if [definition, input_schema, *others].count("-") > 1:
        raise Usage("only one file can come from standard input")
    sources = {"definition": (read_file(definition), definition)}
    if input_schema is not None:
        sources["input_schema"] = (read_file(input_schema), input_schema)
    return sources


def read_input(path: str | None) -> dict[str, Json]:
    """The input of a run; an empty one when there is no file."""
    if path is None:
        return {}
    document = read_file(path).document
    if not isinstance(document, dict):
        name = "Standard input" if path == "-" else path
        raise Usage(f'{name} holds {_kind(document)}; the input of a run is an object, such as {{"name": "value"}}')
    return document


def place_of(source: Source, path: str, loc: Sequence[str | int]) -> str:
    """``file:line:column`` of a location in the document."""
    place = source.locate(loc)
    line, column = place or (1, 1)
    return f"{path}:{line}:{column}"


def refusal(error: ApiError, sources: Sources) -> Failure:
    """The failure that a refused document is: with the file, line and column of each problem."""
    if not error.problems:
        raise error
    lines = [problem_line(one, sources) for one in error.problems]
    count = len(lines)
    text = "\n".join([f"{count} problem{'' if count == 1 else 's'}:", *lines])
    return Failure(text, Exit.FAILED, code=error.code, document=error.detail)


def problem_line(problem: Mapping[str, Any], sources: Sources) -> str:
    """``file:line:column: what is wrong  [where in the document]``."""
    loc = tuple(problem.get("loc", ()))
    where = json_path(loc[1:])
    message = sentence(problem)
    if loc and loc[0] in sources:
        source, path = sources[loc[0]]
        return f"{place_of(source, path, loc[1:])}: {message}{f'  [{where}]' if where else ''}"
    return f"{'.'.join(map(str, loc)) or 'request'}: {message}"


def json_path(loc: Sequence[str | int]) -> str:
    """``States.Copy.Choices[0].Next``."""
    path = ""
    for part in loc:
        path += f"[{part}]" if isinstance(part, int) else f".{part}" if path else part
    return path


def _read(path: Path) -> bytes:
    with path.open("rb") as file:
        return file.read(MAX_SOURCE_BYTES + 1)


def _kind(document: Json) -> str:
    match document:
        case None:
            return "null"
        case bool():
            return "true or false"
        case int() | float():
            return "a number"
        case str():
            return "a text"
        case _:
            return "a list"
