"""The entry point of the ``flows`` command. A command's module is loaded when the command is used."""

from __future__ import annotations

import importlib
import os
import sys
import threading

import click

import flows_engine
from compute_agent.extras import missing_extra

from .logs import log_briefly, log_everything
from .options import Group

#: Command -> its module and name there, and its line in the list.
_COMMANDS = {
    "serve": ("serve", "serve", "Run the engine and its APIs until stopped."),
    "env": ("env", "env", "Print what points the official globus CLI and SDK here."),
    "run": ("run", "run", "Run the flow in a file and print its output."),
    "validate": ("validate", "validate", "Check a definition: every problem with line and column."),
    "deploy": ("flows", "deploy", "Publish a definition as a flow, or change a flow."),
    "start": ("flows", "start", "Start a run of a flow."),
    "list": ("flows", "list_flows", "List flows."),
    "show": ("flows", "show", "Show a flow."),
    "delete": ("flows", "delete", "Withdraw a flow."),
    "runs": ("runs", "runs", "Look at runs and steer them."),
    "collections": ("collections", "collections", "Offer directories of this machine for transfers."),
    "clients": ("clients", "clients", "Register programs that sign in here."),
    "doctor": ("doctor", "doctor", "Check this installation."),
}


class _Commands(Group):
    """The commands of the table above."""

    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002 - the signature is click's
        return list(_COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:  # noqa: ARG002 - click's too
        if cmd_name not in _COMMANDS:
            return None
        module, name, _ = _COMMANDS[cmd_name]
        command = getattr(importlib.import_module(f"{__package__}.{module}"), name)
        assert isinstance(command, click.Command)
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:  # noqa: ARG002 - click's too
        with formatter.section("Commands"):
            formatter.write_dl([(name, text) for name, (_, _, text) in _COMMANDS.items()])


@click.group(cls=_Commands, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
@click.version_option(flows_engine.__version__, prog_name="flows")
def flows() -> None:
    """Run Globus flows on your own machine: durable, self-hosted, with the official clients or this command.

    Commands speak to the server of the data directory when it is up ('flows serve'), and do without it otherwise.

    Exit codes: 0 done, 1 failed, 2 wrong usage or unreadable input, 3 no such thing, 4 not signed in or not allowed,
    75 data directory in use, 130 interrupted.
    """
    if os.environ.get("FLOWS_DEBUG"):
        log_everything()
    else:
        log_briefly()


def main() -> None:
    """Run the command and leave with its exit code."""
    try:
        flows(prog_name="flows")
    except ModuleNotFoundError as error:
        if (sentence := missing_extra(error, "server")) is None:
            raise
        click.echo(f"Error: {sentence}", err=True)
        sys.exit(1)
    except SystemExit as error:
        _leave(error)


def _leave(error: SystemExit) -> None:
    """End the process without waiting for calls to providers that are still under way: they are taken up again."""
    others = [one for one in threading.enumerate() if one is not threading.main_thread() and not one.daemon]
    if not others:
        raise error
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(error.code if isinstance(error.code, int) else 1)
