"""``flows collections``: directories of this machine that transfers may use."""

from __future__ import annotations

from pathlib import Path

import click

from flows_engine.local import open_operator
from schemas.principals import normal_uuid

from .failures import Exit, Failure
from .options import Group, Options, common
from .output import note, print_json, print_table, shown


@click.group(cls=Group)
def collections() -> None:
    """Offer directories of this machine for transfers."""


@collections.command()
@click.argument("name")
@click.argument("path", type=click.Path(path_type=Path))
@click.option("--id", "collection_id", metavar="UUID", help="Use this id instead of a new one.")
@click.option("--description", help="A text about the collection.")
@click.option("--read-only", is_flag=True, help="Nobody may write.")
@click.option("--public", is_flag=True, help="Everybody may see that it exists; reading still needs permission.")
@common
def add(
    options: Options,
    name: str,
    path: Path,
    collection_id: str | None,
    description: str | None,
    read_only: bool,
    public: bool,
) -> None:
    """Offer the directory PATH as the collection NAME. You own it; others need an access rule."""
    with open_operator(options.settings()) as operator:
        same = [one["id"] for one in operator.collections() if one["display_name"] == name]
        made = operator.add_collection(
            name,
            str(path.expanduser().absolute()),
            collection_id=collection_id,
            description=description,
            read_only=read_only,
            public=public,
        )
    if same:
        note(
            f"Warning: the name {shown(name)!r} is taken by {', '.join(same)} as well; commands need the id from now on"
        )
    if options.as_json:
        print_json(made)
        return
    click.echo(made["id"])
    note(f"Offers {shown(made['path'])} as {shown(made['display_name'])!r}{' (read only)' if read_only else ''}")


@collections.command(name="list")
@common
def list_collections(options: Options) -> None:
    """List the collections of this installation."""
    with open_operator(options.settings()) as operator:
        found = operator.collections()
    if options.as_json:
        print_json(found)
    elif found:
        rows = [
            [one["id"], _traits(one["read_only"], one["public"]), one["display_name"], one["path"]] for one in found
        ]
        print_table(["ID", "ACCESS", "NAME", "DIRECTORY"], rows)
    else:
        note("No collections; offer a directory with: flows collections add NAME PATH")


@collections.command()
@click.argument("collection")
@common
def remove(options: Options, collection: str) -> None:
    """Offer COLLECTION (id or name) no more. Its files stay."""
    with open_operator(options.settings()) as operator:
        wanted = normal_uuid(collection)
        found = [one for one in operator.collections() if wanted == one["id"] or one["display_name"] == collection]
        if len(found) != 1:
            what = "no collection has" if not found else f"{len(found)} collections have"
            raise Failure(
                f"{what[:1].upper()}{what[1:]} the id or name {shown(collection)!r}; see them with: flows collections list",
                Exit.NOT_FOUND,
                code="NOT_FOUND",
            )
        gone = operator.remove_collection(found[0]["id"])
    if options.as_json:
        print_json(gone)
    else:
        note(f"Offers {shown(gone['path'])} no more")


def _traits(read_only: bool, public: bool) -> str:
    return f"{'read' if read_only else 'read/write'}{', public' if public else ''}"
