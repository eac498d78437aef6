"""JSON Schemas that authors write, and values checked against them. Both come from strangers: all work is bounded.

The language is JSON Schema draft 7, or the draft that ``$schema`` names. ``propertyOrder`` and the ``globus-...``
formats are hints for forms and never fail a value.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import lru_cache
from itertools import islice
from typing import Any

from jsonschema import ValidationError
from referencing import Registry

from schemas.errors import Problem
from schemas.json_text import Json, dumps_sorted, loads_trusted, size_bytes

from .schema_evaluation import (
    DIALECTS,
    Evaluation,
    TooComplexError,
    UnsupportedPatternError,
    compile_pattern,
    shortened,
)
from .schema_survey import Survey, survey
from .validate_fields import did_you_mean, nearest

MAX_SCHEMA_BYTES = 64 * 1024
MAX_PROBLEMS = 100
TOO_COMPLEX = "SCHEMA_TOO_COMPLEX"
INVALID_SCHEMA = "value_error.json_schema"

_DRAFT_7 = "json-schema.org/draft-07/schema"
_TYPES = ("array", "boolean", "integer", "null", "number", "object", "string")


def check_schema(schema: Json, *, where: str = "input_schema") -> list[Problem]:
    """Everything wrong with a schema; an empty list means that values can be checked against it.

    ``where`` is the field the schema came in, the first part of each location.
    """
    if schema is None:
        return [Problem((where,), "none is not an allowed value", "type_error.none.not_allowed")]
    if not isinstance(schema, dict | bool):
        return [Problem((where,), "a JSON Schema is an object, or true or false", "type_error.dict")]
    if (size := size_bytes(schema)) > MAX_SCHEMA_BYTES:
        return [Problem((where,), f"the schema has {size} bytes; the limit is {MAX_SCHEMA_BYTES}", TOO_COMPLEX)]
    return [Problem((where, *problem.loc), problem.msg, problem.type) for problem in _compiled(dumps_sorted(schema))[1]]


def check_input(schema: Json, value: Json, *, error_type: str = "InvalidActionInput") -> list[Problem]:
    """What a schema has against a value, at most 100 problems; no schema (None, ``{}``) has nothing.

    Locations are ``("$.path.to",)``, messages those of python-jsonschema, cut to 512 characters.
    """
    if schema is None or schema is True or schema == {}:
        return []
    validator, problems = _compiled(dumps_sorted(schema))
    if validator is None:
        return [Problem(("$",), f"the schema for this input cannot be used: {problems[0].msg}", problems[0].type)]
    bounded = validator.evolve(format_checker=Evaluation())
    try:
        errors = list(islice(bounded.iter_errors(value), MAX_PROBLEMS))
    except (TooComplexError, RecursionError):  # values and references may alternate deeper than the interpreter's stack
        return [Problem(("$",), "checking this input against its schema takes too much work", TOO_COMPLEX)]
    return [Problem((error.json_path,), shortened(error.message), error_type) for error in errors]


@lru_cache(maxsize=256)
def _compiled(canonical_schema: str) -> tuple[Any, tuple[Problem, ...]]:
    """The validator of a schema, or None and the problems that forbid one; locations are within the schema."""
    schema = loads_trusted(canonical_schema)
    dialect = _dialect(schema)
    if dialect is None:
        msg = 'this dialect is not supported; use "http://json-schema.org/draft-07/schema#"'
        return None, (Problem(("$schema",), msg, INVALID_SCHEMA),)
    standard, bounded = DIALECTS[dialect]
    found = survey(schema, has_id_keyword=dialect.endswith("draft-04/schema"))
    problems = [Problem(one.pointer, one.msg, TOO_COMPLEX if one.is_cost else INVALID_SCHEMA) for one in found.findings]
    if not any(one.is_cost for one in found.findings):
        problems += _meta_problems(schema, standard, bounded)
        problems += _pattern_problems(found)
    if problems:
        return None, tuple(problems)
    return bounded(found.localised(), registry=Registry()), ()


def _dialect(schema: Json) -> str | None:
    """Key of DIALECTS, or None when ``$schema`` names something else."""
    text = schema.get("$schema", f"http://{_DRAFT_7}#") if isinstance(schema, dict) else f"http://{_DRAFT_7}#"
    if not isinstance(text, str):
        return _DRAFT_7  # the meta-schema says that it must be text
    name = text.removeprefix("https://").removeprefix("http://").removesuffix("#")
    if name == "json-schema.org/schema":  # "the current version", which was draft 7 for those who wrote it
        return _DRAFT_7
    return name if name in DIALECTS else None


def _meta_problems(schema: Json, standard: Any, bounded: Any) -> Iterator[Problem]:
    """What the meta-schema has against a schema.

    Up to draft 7 our bounded evaluator does it; the meta-schemas of later drafts are many files, which the library
    knows, and hold no costly keyword.
    """
    meta = standard.META_SCHEMA
    if "allOf" in meta:
        validator = standard(meta, registry=Registry())
    else:
        alone = {key: value for key, value in meta.items() if key not in ("$schema", "$id", "id")}
        validator = bounded(alone, registry=Registry()).evolve(format_checker=_no_formats())
    try:
        for error in islice(validator.iter_errors(schema), MAX_PROBLEMS):
            yield _meta_problem(_deepest(error))
    except TooComplexError:
        yield Problem((), "checking this schema takes too much work", TOO_COMPLEX)


def _no_formats() -> Evaluation:
    evaluation = Evaluation()
    evaluation.checkers = {}
    return evaluation


def _deepest(error: ValidationError) -> ValidationError:
    """The error that says most: of alternatives, the one that got furthest into the schema."""
    while error.context:
        error = max(error.context, key=lambda one: len(one.absolute_path))
    return error


def _meta_problem(error: ValidationError) -> Problem:
    loc = tuple(error.absolute_path)
    keyword = next((part for part in reversed(loc) if isinstance(part, str)), "")
    if keyword == "type" and isinstance(error.instance, str):
        hint = did_you_mean(nearest(error.instance, _TYPES))
        msg = f"{error.instance!r} is not a type: there are {', '.join(_TYPES)}{hint}"
    else:
        msg = f"{keyword}: {error.message}" if keyword else error.message
    return Problem(loc, shortened(msg), INVALID_SCHEMA)


def _pattern_problems(found: Survey) -> Iterator[Problem]:
    for pointer, pattern in found.patterns():
        try:
            compile_pattern(pattern)
        except UnsupportedPatternError as error:
            msg = (
                f"the regular expression {pattern!r} is not supported: {error} "
                "(look-around and back-references are not; matching takes linear time)"
            )
            yield Problem(pointer, shortened(msg), INVALID_SCHEMA)
    if found.uses("unevaluatedProperties") and found.uses("patternProperties"):
        yield Problem((), "unevaluatedProperties beside patternProperties is not supported", INVALID_SCHEMA)
