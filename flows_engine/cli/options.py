"""The options every command has, and the group that turns what commands raise into exit codes."""

from __future__ import annotations

import difflib
import functools
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import click

from flows_engine import settings as settings_of
from flows_engine.settings import Settings

from .failures import Exit, Failure, Usage, failure_of

_JSON = f"{__name__}.json"

F = TypeVar("F", bound=Callable[..., Any])


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """``--data-dir``, ``--database-url`` and ``--json``, as given."""

    data_dir: Path | None
    database_url: str | None
    as_json: bool

    def settings(self, *, host: str | None = None, port: int | None = None) -> Settings:
        """The settings of the installation that the command is about."""
        try:
            return settings_of.load(data_dir=self.data_dir, database_url=self.database_url, host=host, port=port)
        except ValueError as error:
            raise Usage(str(error)) from error


def common(command: F) -> F:
    """Add the common options; the command is called with ``Options`` first."""

    @click.option("--json", "as_json", is_flag=True, help="Print JSON for programs.")
    @click.option(
        "--database-url",
        metavar="URL",
        help="Default: $FLOWS_DATABASE_URL, else what the data directory was first used with, else SQLite in it.",
    )
    @click.option(
        "--data-dir",
        type=click.Path(file_okay=False, path_type=Path),
        help="Default: $FLOWS_DATA_DIR, else ~/.flows-engine.",
    )
    @functools.wraps(command)
    def with_options(
        *arguments: Any, data_dir: Path | None, database_url: str | None, as_json: bool, **more: Any
    ) -> Any:
        click.get_current_context().meta[_JSON] = as_json
        options = Options(data_dir=data_dir, database_url=database_url, as_json=as_json)
        return command(options, *arguments, **more)

    return with_options  # type: ignore[return-value]  # click reads the wrapped function's parameters


class Group(click.Group):
    """Commands in the order in which they were added, and failures as exit codes."""

    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002 - the signature is click's
        return list(self.commands)

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        try:
            return super().resolve_command(ctx, args)
        except click.UsageError as error:
            near = difflib.get_close_matches(args[0], self.list_commands(ctx), n=1)
            if not near or "Did you mean" in error.message:
                raise
            raise click.UsageError(f"{error.message} Did you mean '{near[0]}'?", ctx) from error

    def invoke(self, ctx: click.Context) -> Any:
        try:
            return super().invoke(ctx)
        except (click.ClickException, click.Abort, click.exceptions.Exit, BrokenPipeError) as error:
            if isinstance(error, Failure):
                error.as_json = bool(ctx.meta.get(_JSON))
            raise
        except KeyboardInterrupt as error:
            raise Failure("Interrupted", Exit.INTERRUPTED, code="INTERRUPTED") from error
        except Exception as error:
            failure = failure_of(error)
            failure.as_json = bool(ctx.meta.get(_JSON))
            raise failure from error
