"""The command ``compute-agent``: make endpoints, start and stop them, look at them.

Results go to standard output, everything else to standard error. Nothing here loads an engine but ``start``.
"""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import signal
import sys
import threading
import time
from pathlib import Path
from typing import IO, Any, get_args

import click

from schemas.scopes import COMPUTE_SCOPE

from ..errors import ApiError, ClientError
from ..extras import missing_extra
from ..private_files import create_private_file
from . import credentials, logs
from .directory import EndpointBusy, EndpointDirectory, NoSuchEndpoint, default_config_dir, find, find_all, wrong_name
from .endings import Exit, exit_code_of
from .shown import engine_type, status_lines, table
from .starter_files import CONFIG, ENVIRONMENT, SCHEMA, TEMPLATES, EngineKind
from .yaml_text import ConfigError

#: How much longer than its grace time an agent gets to end.
_STOP_MARGIN_S = 60.0
#: A stop that takes longer says what it waits for.
_SILENT_S = 3.0


class Failure(click.ClickException):
    """One sentence on standard error, as JSON where the command's output is JSON."""

    exit_code: int  # type: ignore[misc]  # each failure has its own; click declares one for the class

    def __init__(self, message: str, exit_code: int, *, as_json: bool = False) -> None:
        super().__init__(message)
        self.exit_code = int(exit_code)
        self._as_json = as_json

    def show(self, file: IO[Any] | None = None) -> None:
        if self._as_json:
            click.echo(json.dumps({"error": self.message, "exit_code": self.exit_code}), file=file, err=True)
        else:
            click.echo(f"Error: {self.message}", file=file, err=True)


@click.group(context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
@click.version_option(package_name="flows-engine", prog_name="compute-agent")
@click.option(
    "-c",
    "--config-dir",
    type=click.Path(file_okay=False, path_type=Path),
    help="Directory of endpoints.  [default: $FLOWS_COMPUTE_DIR, else ~/.flows-compute]",
)
@click.pass_context
def compute_agent(context: click.Context, config_dir: Path | None) -> None:
    """Offer this machine, or the cluster behind it, as an endpoint that runs functions.

    Exit codes: 0 done, 1 failed, 2 wrong usage, 3 no such endpoint, 65 a wrong configuration or a refused registration,
    69 the endpoint may not be served, 70 a wrong answer of the service, 73 it is served already, 75 no network,
    77 not signed in or not allowed.
    """
    context.obj = (config_dir or default_config_dir()).expanduser().absolute()


_as_json = click.option("--json", "as_json", is_flag=True, help="Print JSON.")


@compute_agent.command()
@click.argument("name")
@click.option("--url", help="Address of the server, such as https://flows.example.org.")
@click.option("--client-id", help="Client to sign in as; its secret is asked for, or read from FLOWS_CLIENT_SECRET.")
@click.option("--engine", type=click.Choice(get_args(EngineKind)), default="parsl", show_default=True)
@click.option("--display-name", default="", help="Name for people.")
@_as_json
@click.pass_obj
def configure(
    config_dir: Path,
    name: str,
    url: str | None,
    client_id: str | None,
    engine: EngineKind,
    display_name: str,
    as_json: bool,
) -> None:
    """Write the files of a new endpoint, or new credentials of one that is there.

    Without --url the endpoint belongs to the server of this machine (its data directory). With --url alone a token is
    asked for, or read from FLOWS_TOKEN.
    """
    if reason := wrong_name(name):
        raise Failure(f"{name!r} cannot be the name of an endpoint: {reason}", Exit.USAGE, as_json=as_json)
    if client_id and not url:
        raise Failure("--client-id needs the --url of its server", Exit.USAGE, as_json=as_json)
    directory = EndpointDirectory(config_dir / name)
    is_new = not directory.config.exists()
    if not is_new and not url:
        raise Failure(f"there is an endpoint {name!r} already: edit {directory.config}", Exit.FAILED, as_json=as_json)
    who = None if url is None else _ask(url, client_id)
    directory.make()
    if who is not None:
        who.write(directory.credentials)
    if is_new:
        _write_starter_files(directory, engine, display_name or name)
    if as_json:
        click.echo(json.dumps({"name": name, "directory": str(directory.path), "is_new": is_new}))
    else:
        click.echo(f"{'wrote' if is_new else 'wrote new credentials to'} {directory.path}")
        click.echo(f"Edit the files there if you like, then: compute-agent start {name}", err=True)


@compute_agent.command()
@click.argument("name")
@click.option("--detach", is_flag=True, help="Go on in the background once the endpoint is registered.")
@click.option("--until-stdin-closes", is_flag=True, hidden=True)
@click.option("--print-ready", is_flag=True, hidden=True)
@click.option("--report-fd", type=int, hidden=True)
@_as_json
@click.pass_obj
def start(
    config_dir: Path,
    name: str,
    detach: bool,
    until_stdin_closes: bool,
    print_ready: bool,
    report_fd: int | None,
    as_json: bool,
) -> None:
    """Serve an endpoint until stopped."""
    from .process import Started, StartFailed, reporting_to, serve, start_detached

    directory = _find(config_dir, name, as_json=as_json)

    def say(started: Started) -> None:
        if print_ready or as_json:
            click.echo(json.dumps(started.to_json()))
        else:
            click.echo(f"endpoint {started.endpoint_id} ({name}) is up; Ctrl-C stops it", err=True)

    try:
        if detach:
            command = [
                sys.executable,
                "-m",
                "compute_agent.agent.cli",
                "-c",
                str(config_dir),
                "start",
                name,
                "--report-fd",
            ]
            found = start_detached(command, directory)
            text = (
                f"endpoint {found['endpoint_id']} ({name}) is up as process {found['pid']}; its log is {directory.log}"
            )
            click.echo(json.dumps(found) if as_json else text)
            return
        if report_fd is None:
            code = serve(directory, started=say, until_stdin_closes=until_stdin_closes)
        else:
            with reporting_to(report_fd) as report:
                code = serve(directory, started=report, is_detached=True)
    except StartFailed as error:
        raise Failure(str(error), error.exit_code, as_json=as_json) from error
    sys.exit(code)


@compute_agent.command()
@click.argument("name")
@click.option("--timeout", type=float, default=None, help="Seconds to wait for its end.")
@_as_json
@click.pass_obj
def stop(config_dir: Path, name: str, timeout: float | None, as_json: bool) -> None:
    """Stop an endpoint in order: what has not begun is given back, what runs gets its grace time."""
    directory = _find(config_dir, name, as_json=as_json)
    pid = directory.agent_pid()
    if pid is None:
        _say({"name": name, "was_running": False}, f"endpoint {name} is not running here", as_json=as_json)
        return
    if pid:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGTERM)
    within_s = _stop_time_s(directory) if timeout is None else timeout
    if within_s > _SILENT_S and not directory.wait_until_free(within_s=_SILENT_S):
        click.echo(f"waiting for its running tasks, for up to {within_s:g} s; 'stop' again makes it hurry", err=True)
        within_s -= _SILENT_S
    if not directory.wait_until_free(within_s=within_s):
        text = f"endpoint {name} (process {pid}) has not ended within {within_s:g} s; 'stop' again makes it hurry"
        raise Failure(text, Exit.FAILED, as_json=as_json)
    _say({"name": name, "was_running": True}, f"endpoint {name} is stopped", as_json=as_json)


@compute_agent.command(name="list")
@_as_json
@click.pass_obj
def list_endpoints(config_dir: Path, as_json: bool) -> None:
    """The endpoints of this directory."""
    rows = [_local_state(one) for one in find_all(config_dir)]
    if as_json:
        click.echo(json.dumps(rows))
        return
    click.echo(table(rows))
    if not rows:
        click.echo(f"No endpoints in {config_dir}; 'compute-agent configure NAME' makes one", err=True)


@compute_agent.command()
@click.argument("name")
@_as_json
@click.pass_obj
def status(config_dir: Path, name: str, as_json: bool) -> None:
    """How an endpoint is, here and as the service sees it."""
    directory = _find(config_dir, name, as_json=as_json)
    document = _local_state(directory)
    if document["endpoint_id"]:
        try:
            path = f"/compute/v2/endpoints/{document['endpoint_id']}/status"
            document["service"] = (
                credentials.load(directory.credentials).connect().call("GET", path, scope=COMPUTE_SCOPE)
            )
        except (ClientError, ConfigError, PermissionError, credentials.NoServer) as error:
            document["service_error"] = str(error)
    if as_json:
        click.echo(json.dumps(document))
        return
    for line in status_lines(document):
        click.echo(line)


@compute_agent.command()
@click.argument("name")
@click.option("--yes", is_flag=True, help="Do not ask.")
@click.option("--force", is_flag=True, help="Delete the files here even if the service cannot be told.")
@_as_json
@click.pass_obj
def delete(config_dir: Path, name: str, yes: bool, force: bool, as_json: bool) -> None:
    """Delete an endpoint, here and at the service. Its unfinished tasks fail."""
    directory = _find(config_dir, name, as_json=as_json)
    if not yes:
        click.confirm(f"Delete endpoint {name} and all of {directory.path}?", abort=True, err=True)
    try:
        with directory.served():
            try:
                _delete_at_service(directory)
            except (ClientError, ConfigError, PermissionError, credentials.NoServer) as error:
                if not force:
                    code = exit_code_of(error) if isinstance(error, ClientError) else Exit.FAILED
                    text = f"{error}; nothing was deleted (--force deletes the files here alone)"
                    raise Failure(text, code, as_json=as_json) from error
            shutil.rmtree(directory.path)
    except EndpointBusy as error:
        raise Failure(str(error), Exit.BUSY, as_json=as_json) from error
    _say({"name": name, "deleted": True}, f"endpoint {name} is deleted", as_json=as_json)


@compute_agent.command(name="logs")
@click.argument("name")
@click.option("-f", "--follow", is_flag=True, help="Go on with what is added, until interrupted.")
@click.option("-n", "--lines", type=click.IntRange(0), default=100, show_default=True)
@click.pass_obj
def show_logs(config_dir: Path, name: str, follow: bool, lines: int) -> None:
    """The log of an endpoint's agent."""
    directory = _find(config_dir, name)
    text, position = logs.tail(directory.log, lines)
    click.echo(text, nl=False)
    if follow:
        with contextlib.suppress(KeyboardInterrupt):
            for added in logs.follow(directory.log, position, pause=lambda: time.sleep(0.3)):
                click.echo(added, nl=False)


def main() -> None:
    """Run the command and leave with its exit code, also when threads of user functions are left."""
    try:
        compute_agent(prog_name="compute-agent")
    except ModuleNotFoundError as error:
        if (sentence := missing_extra(error, "agent")) is None:
            raise
        click.echo(f"Error: {sentence}", err=True)
        sys.exit(1)
    except SystemExit as error:
        others = [one for one in threading.enumerate() if one is not threading.main_thread() and not one.daemon]
        if not others:
            raise
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(error.code if isinstance(error.code, int) else 1)


def _find(config_dir: Path, name: str, *, as_json: bool = False) -> EndpointDirectory:
    try:
        return find(config_dir, name)
    except NoSuchEndpoint as error:
        raise Failure(str(error), Exit.NOT_FOUND, as_json=as_json) from error


def _ask(url: str, client_id: str | None) -> credentials.Credentials:
    def prompt(what: str) -> str:
        return str(click.prompt(what, hide_input=True, err=True))

    if client_id:
        secret = credentials.ask_secret(f"Secret of client {client_id}", credentials.SECRET_VARIABLE, prompt=prompt)
        who = credentials.Credentials(url=url, client_id=client_id, client_secret=secret)
    else:
        secret = credentials.ask_secret(f"Token for {url}", credentials.TOKEN_VARIABLE, prompt=prompt)
        who = credentials.Credentials(url=url, token=secret)
    if not secret:
        what, variable = (
            (f"the secret of client {client_id}", credentials.SECRET_VARIABLE)
            if client_id
            else (f"the token for {url}", credentials.TOKEN_VARIABLE)
        )
        raise Failure(f"{what} is empty; type it, or give it on standard input or in {variable}", Exit.USAGE)
    try:
        who.connect().close()
    except ClientError as error:
        raise Failure(str(error), Exit.USAGE) from error
    return who


def _write_starter_files(directory: EndpointDirectory, engine: EngineKind, display_name: str) -> None:
    files = {
        directory.template: TEMPLATES[engine],
        directory.schema: SCHEMA,
        directory.environment: ENVIRONMENT,
        directory.config: CONFIG.replace("{display_name}", json.dumps(display_name)),
    }
    for path, text in files.items():
        create_private_file(path, text.encode())


def _delete_at_service(directory: EndpointDirectory) -> None:
    endpoint_id = directory.endpoint_id()
    if endpoint_id is None:
        return
    http = credentials.load(directory.credentials).connect()
    try:
        http.call("DELETE", f"/compute/v2/endpoints/{endpoint_id}", scope=COMPUTE_SCOPE)
    except ApiError as error:
        if error.status != 404:
            raise


def _local_state(directory: EndpointDirectory) -> dict[str, Any]:
    """The published words: Initialized before the first start, Running, Stopped."""
    pid = directory.agent_pid()
    try:
        endpoint_id = directory.endpoint_id()
    except ConfigError:
        endpoint_id = None
    word = "Running" if pid is not None else "Stopped" if endpoint_id else "Initialized"
    return {
        "name": directory.name,
        "status": word,
        "engine": engine_type(directory),
        "endpoint_id": endpoint_id,
        "pid": pid,
        "directory": str(directory.path),
    }


def _stop_time_s(directory: EndpointDirectory) -> float:
    from .config import read_config

    try:
        return read_config(directory.config.read_text(encoding="utf-8")).grace_period + _STOP_MARGIN_S
    except (ConfigError, OSError, UnicodeDecodeError):
        return _STOP_MARGIN_S


def _say(document: dict[str, Any], text: str, *, as_json: bool) -> None:
    click.echo(json.dumps(document) if as_json else text)


if __name__ == "__main__":
    main()
