"""Printing: JSON for programs, columns and fields for people. Results go to stdout, everything else to stderr.

Texts of flows and runs may come from other people, so nothing that steers a terminal is printed.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence

import click

from schemas.json_text import Json, dumps


def print_json(document: Json) -> None:
    """One document, indented."""
    click.echo(json.dumps(document, indent=2, ensure_ascii=False))


def print_json_line(document: Json) -> None:
    """One document of a stream, on a line of its own."""
    click.echo(dumps(document))


def print_table(headings: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    """Aligned columns; the last one is not padded."""
    cells = [[shown(cell) for cell in row] for row in rows]
    widths = [max([len(heading), *(len(row[i]) for row in cells)]) for i, heading in enumerate(headings)]
    head = "  ".join(heading.ljust(width) for heading, width in zip(headings, widths, strict=True)).rstrip()
    click.echo(click.style(head, bold=True))
    for row in cells:
        click.echo("  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip())


def print_fields(fields: Mapping[str, str | None]) -> None:
    """``name  value`` lines; fields without a value are left out."""
    present = {name: value for name, value in fields.items() if value not in (None, "")}
    width = max(map(len, present), default=0)
    for name, value in present.items():
        click.echo(f"{click.style(name.ljust(width), bold=True)}  {shown(str(value))}")


def note(text: str) -> None:
    """A remark for people, on stderr."""
    click.echo(text, err=True)


def shown(text: str) -> str:
    """The text on one line, without characters that a terminal would act upon."""
    return "".join(one if one.isprintable() else " " for one in text)


def short_time(text: str | None) -> str:
    """``2026-01-31T12:00:00.123456+00:00`` as ``2026-01-31 12:00:00``; every time of the service is UTC."""
    return "" if text is None else text[:19].replace("T", " ")
