"""The official ``globus`` command as a user runs it: a process of its own, a private home, the variables of ``flows env``.

Nothing else of this process's environment reaches it but the search path, so a developer's own login can neither help
nor be harmed.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.conformance.sdk.server import Credentials


@dataclass(frozen=True, slots=True)
class Outcome:
    """What a command printed, and its exit code."""

    arguments: tuple[str, ...]
    code: int
    stdout: str
    stderr: str

    @property
    def document(self) -> Any:
        return json.loads(self.stdout)

    def __str__(self) -> str:
        return f"globus {' '.join(self.arguments)}\nexit code {self.code}\n{self.stdout}\n{self.stderr}"


@dataclass(frozen=True, slots=True)
class GlobusCli:
    """``home`` is where it keeps its tokens from one command to the next."""

    home: Path
    variables: Mapping[str, str]
    who: Credentials

    def __call__(self, *arguments: str, code: int = 0) -> Outcome:
        """Run one command; it must end with this exit code."""
        done = subprocess.run(
            [sys.executable, "-m", "globus_cli", *arguments],
            env=self.environment,
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        outcome = Outcome(arguments, done.returncode, done.stdout, done.stderr)
        assert outcome.code == code, str(outcome)
        assert "Traceback" not in outcome.stderr, str(outcome)
        return outcome

    @property
    def environment(self) -> dict[str, str]:
        return {
            "PATH": os.environ["PATH"],
            "HOME": str(self.home),
            "COLUMNS": "200",
            **self.variables,
            "GLOBUS_CLI_CLIENT_ID": self.who.client_id,
            "GLOBUS_CLI_CLIENT_SECRET": self.who.client_secret,
        }


def leaf_commands() -> set[str]:
    """Every command that the installed CLI has, as ``"flows run show"``; hidden ones are left out."""
    import click
    from globus_cli import main

    def walk(command: click.Command, path: tuple[str, ...]) -> set[str]:
        if command.hidden:
            return set()
        if not isinstance(command, click.Group):
            return {" ".join(path)}
        context = click.Context(command)
        children = ((name, command.get_command(context, name)) for name in command.list_commands(context))
        return {leaf for name, child in children if child is not None for leaf in walk(child, (*path, name))}

    return walk(main, ())
