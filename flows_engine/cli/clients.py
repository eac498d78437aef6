"""``flows clients``: programs that may sign in here, such as action providers on other hosts."""

from __future__ import annotations

import click

from flows_engine.local import open_operator

from .lookup import find_id
from .options import Group, Options, common
from .output import note, print_fields, print_json, print_table, short_time


@click.group(cls=Group)
def clients() -> None:
    """Register programs with an id and a secret, such as action providers on other hosts."""


@clients.command()
@click.argument("name")
@click.option(
    "--scope",
    "scopes",
    multiple=True,
    metavar="SUFFIX",
    help="A scope it serves, such as action_all. May be given again.",
)
@click.option(
    "--dependent-scope",
    "dependent_scopes",
    multiple=True,
    metavar="SCOPE",
    help="A scope it may use in turn for its callers. May be given again.",
)
@click.option(
    "--audience", metavar="HOST[:PORT]", help="Where it is reached: tokens for its scopes are sent nowhere else."
)
@common
def create(
    options: Options, name: str, scopes: tuple[str, ...], dependent_scopes: tuple[str, ...], audience: str | None
) -> None:
    """Register a client and print its secret, which is shown this once."""
    with open_operator(options.settings()) as operator:
        made = operator.add_client(name, scopes=scopes, dependent_scopes=dependent_scopes, audience=audience)
    if options.as_json:
        print_json(made)
        return
    print_fields(
        {
            "client id": made["client_id"],
            "client secret": made["client_secret"],
            "audience": made["audience"],
            "scopes": " ".join(made["scopes"]),
        }
    )
    note("Keep the secret now: it is stored as a digest and cannot be shown again.")


@clients.command(name="list")
@common
def list_clients(options: Options) -> None:
    """List the clients, oldest first."""
    with open_operator(options.settings()) as operator:
        found = operator.clients()
    if options.as_json:
        print_json(found)
        return
    rows = [
        [
            one["client_id"],
            short_time(one["created_at"]),
            f"{one['name']}{' (of this installation)' if one['is_installation_client'] else ''}",
            " ".join(one["scopes"]),
        ]
        for one in found
    ]
    print_table(["ID", "CREATED (UTC)", "NAME", "SCOPES"], rows)


@clients.command()
@click.argument("client_id")
@click.option("--yes", is_flag=True, help="Do not ask.")
@common
def delete(options: Options, client_id: str, yes: bool) -> None:
    """Remove a client. Its tokens and what was granted to it end at once."""
    identifier = find_id(client_id, "client")
    if not yes:
        click.confirm(f"Remove the client {identifier}?", abort=True, err=True)
    with open_operator(options.settings()) as operator:
        gone = operator.remove_client(identifier)
    if options.as_json:
        print_json(gone)
    else:
        note(f"Removed the client {identifier}")


@clients.command()
@click.argument("client_id")
@common
def rotate(options: Options, client_id: str) -> None:
    """Give a client a new secret. The one before and all its tokens end at once."""
    identifier = find_id(client_id, "client")
    with open_operator(options.settings()) as operator:
        changed = operator.rotate_secret(identifier)
    if changed["is_installation_client"]:
        del changed["client_secret"]  # it went to its file
    if options.as_json:
        print_json(changed)
    elif changed["is_installation_client"]:
        note('The client of this installation has a new secret; use it with: eval "$(flows env)"')
    else:
        print_fields({"client id": identifier, "client secret": changed["client_secret"]})
        note("Keep the secret now: it is stored as a digest and cannot be shown again.")
