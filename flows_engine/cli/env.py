"""``flows env``: the environment in which the official clients use this installation."""

from __future__ import annotations

import shlex

import click

from flows_engine.local import credentials, find_server
from flows_engine.settings import Settings

from .options import Options, common
from .output import note, print_json

_SERVICES = ("auth", "flows", "timer", "transfer", "search", "groups", "compute")


@click.command()
@common
def env(options: Options) -> None:
    """Print what points the official globus CLI and SDK here; use it as: eval "$(flows env)"

    The lines hold the secret of this installation's client: do not log them.
    """
    settings = options.settings()
    server = find_server(settings.data_dir)
    if server is None:
        note("# No server is running on this data directory; start it with: flows serve")
    values = environment(settings, server.public_url if server else settings.base_url)
    if options.as_json:
        print_json(values)
        return
    for name, value in values.items():
        click.echo(f"export {name}={shlex.quote(value)}")


def environment(settings: Settings, url: str) -> dict[str, str]:
    """Variables by name.

    The environment's name is this installation's own: the CLI keeps tokens by that name, and under the public one it
    would send the tokens of the public service to this server.
    """
    client_id, secret = credentials(settings.data_dir)
    base = url.rstrip("/")
    return {
        "GLOBUS_SDK_ENVIRONMENT": f"flows-engine-{client_id.replace('-', '')[:8]}",
        **{f"GLOBUS_SDK_SERVICE_URL_{name.upper()}": f"{base}/{name}/" for name in _SERVICES},
        "GLOBUS_SDK_SERVICE_URL_APP": f"{base}/",
        "GLOBUS_CLI_CLIENT_ID": client_id,
        "GLOBUS_CLI_CLIENT_SECRET": secret,
    }
