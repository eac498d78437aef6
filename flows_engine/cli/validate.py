"""``flows validate``: whether a definition may be published, without any installation."""

from __future__ import annotations

import click

from flows_engine.asl.dialects import DIALECTS
from flows_engine.asl.validate import validate as problems_of
from flows_engine.asl.validate import warnings
from flows_engine.asl.validate_fields import sentence
from schemas.errors import InvalidJson, Problem
from schemas.json_text import Json

from .documents import Sources, json_path, problem_line, read_file
from .failures import Exit, Usage
from .options import Options, common
from .output import note, print_json


@click.command()
@click.argument("file")
@click.option(
    "--input-schema", "schema_file", metavar="FILE", help="A JSON Schema for the flow's input, to be checked too."
)
@click.option(
    "--dialect",
    type=click.Choice(sorted(DIALECTS)),
    help="globus accepts what the hosted service accepts, asl the Amazon States Language, union both. "
    "Default: $FLOWS_DIALECT, else union.",
)
@common
def validate(options: Options, file: str, schema_file: str | None, dialect: str | None) -> None:
    """Check a definition (JSON or YAML): every problem, with its file, line and column.

    FILE may be - for standard input. Exits with 1 when there are problems.
    """
    settings = options.settings()
    name = dialect or settings.dialect
    sources: Sources = {}
    problems: list[Problem] = []
    for member, path in (("definition", file), ("input_schema", schema_file)):
        if path is None:
            continue
        try:
            source = read_file(path)
        except Usage as error:
            if isinstance(error.__cause__, InvalidJson):  # a file that is no JSON is what this command is to find
                _report_unreadable(options, error)
            raise
        sources[member] = (source, path)
        if member == "definition":
            allow_http = settings.allow_http_actions or bool(settings.allowed_hosts)
            problems += problems_of(source.document, DIALECTS[name], allow_http=allow_http)
        else:
            from flows_engine.asl.input_schema import check_schema  # slow to load, and not always needed

            problems += check_schema(source.document)
    problems.sort(key=lambda one: _place(one, sources))
    definition = sources["definition"][0].document
    remarks = [] if problems else warnings(definition)
    if options.as_json:
        print_json(_report(problems, remarks, sources, name))
    else:
        _print(problems, remarks, sources, definition, name)
    if problems:
        raise click.exceptions.Exit(Exit.FAILED)


def _report_unreadable(options: Options, error: Usage) -> None:
    if options.as_json:
        print_json({"valid": False, "problems": [{"message": error.message}]})
    else:
        click.echo(error.message)
    raise click.exceptions.Exit(Exit.FAILED)


def _print(problems: list[Problem], remarks: list[Problem], sources: Sources, definition: Json, dialect: str) -> None:
    for problem in problems:
        click.echo(_line(problem, sources))
    for remark in remarks:
        click.echo(_line(remark, sources).replace(": ", ": warning: ", 1))
    _, path = sources["definition"]
    if problems:
        note(f"{path} has {_count(len(problems), 'problem')} in the {dialect} dialect")
        return
    note(f"{path} is valid in the {dialect} dialect: {_count(len(definition['States']), 'state')}")


def _line(problem: Problem, sources: Sources) -> str:
    return problem_line({"loc": problem.loc, "msg": sentence(problem.to_json())}, sources)


def _report(problems: list[Problem], remarks: list[Problem], sources: Sources, dialect: str) -> Json:
    return {
        "valid": not problems,
        "dialect": dialect,
        "problems": [_located(one, sources) for one in problems],
        "warnings": [_located(one, sources) for one in remarks],
    }


def _located(problem: Problem, sources: Sources) -> Json:
    line, column = _place(problem, sources)[1:]
    return {
        "file": sources[str(problem.loc[0])][1],
        "line": line,
        "column": column,
        "path": json_path(problem.loc[1:]),
        "message": sentence(problem.to_json()),
        "type": problem.type,
    }


def _place(problem: Problem, sources: Sources) -> tuple[str, int, int]:
    """Where it stands: the definition first, then by line and column."""
    member = str(problem.loc[0])
    return (member, *(sources[member][0].locate(problem.loc[1:]) or (1, 1)))


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}{'' if number == 1 else 's'}"
