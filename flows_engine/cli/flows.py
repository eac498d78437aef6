"""``flows deploy``, ``start``, ``list``, ``show`` and ``delete``: what is done with flows."""

from __future__ import annotations

from typing import Any

import click

from flows_engine.local import open_session
from flows_engine.sdk import ApiError
from schemas.json_text import Json

from .documents import read_flow, read_input, refusal
from .follow import wait_and_report
from .lookup import find_flow, find_id
from .options import Options, common
from .output import note, print_fields, print_json, print_table, short_time, shown


@click.command()
@click.argument("file")
@click.option("--title", help="Title of the flow; required for a new one.")
@click.option("--input-schema", "schema_file", metavar="FILE", help="JSON Schema of the flow's input (JSON or YAML).")
@click.option("--flow-id", help="Change this flow instead of making a new one; its runs go on as they started.")
@click.option("--subtitle", help="A line about the flow.")
@click.option("--description", help="A text about the flow.")
@click.option("--keyword", "keywords", multiple=True, help="May be given again.")
@click.option("--viewer", "flow_viewers", multiple=True, metavar="PRINCIPAL", help="A principal's URN, or 'public'.")
@click.option(
    "--starter", "flow_starters", multiple=True, metavar="PRINCIPAL", help="A URN, or 'all_authenticated_users'."
)
@click.option("--administrator", "flow_administrators", multiple=True, metavar="PRINCIPAL", help="A principal's URN.")
@common
def deploy(options: Options, file: str, schema_file: str | None, flow_id: str | None, **metadata: Any) -> None:
    """Publish the definition in FILE (JSON or YAML) as a flow."""
    if flow_id is None and not metadata["title"]:
        raise click.UsageError("a new flow needs a --title (or name the flow to change with --flow-id)")
    sources = read_flow(file, schema_file)
    given: dict[str, Json] = {name: source.document for name, (source, _) in sources.items()}
    for name, value in metadata.items():
        if value not in (None, ()):
            given[name] = list(value) if isinstance(value, tuple) else value
    with open_session(options.settings()) as session:
        try:
            if flow_id is None:
                flow = session.client.create_flow(**given)
            else:
                flow = session.client.update_flow(find_id(flow_id, "flow"), **given)
        except ApiError as error:
            raise refusal(error, sources) from error
    if options.as_json:
        print_json(flow)
        return
    click.echo(flow["id"])
    note(
        f"{'Published' if flow_id is None else 'Changed'} {shown(flow['title'])!r}; start it with: flows start {flow['id']}"
    )


@click.command()
@click.argument("flow")
@click.option("--input", "input_file", metavar="FILE", help="Input of the run (JSON or YAML); - is standard input.")
@click.option("--label", help="A name for the run.")
@click.option("--tag", "tags", multiple=True, help="May be given again.")
@click.option("--idempotency-key", help="Starting again with the same key within a day gives the same run.")
@click.option("--wait", is_flag=True, help="Follow the run to its end and print its output.")
@common
def start(
    options: Options,
    flow: str,
    input_file: str | None,
    label: str | None,
    tags: tuple[str, ...],
    idempotency_key: str | None,
    wait: bool,
) -> None:
    """Start a run of FLOW, which is an id or a title.

    Prints the run's id; with --wait the run's output instead, and exits with 1 when the run does not succeed.
    """
    body = read_input(input_file)
    with open_session(options.settings(), work=wait) as session:
        client = session.client
        found = find_flow(client, flow)
        run = client.run_flow(found["id"], body, label=label, tags=tags, idempotency_key=idempotency_key)
        if wait:
            note(f"Run {run.run_id} of {shown(found['title'])!r}")
            wait_and_report(options, run, continues=session.server is not None)
            return
    if options.as_json:
        print_json(run.document)
        return
    click.echo(run.run_id)
    if session.server is None:
        note(
            "No server is running: the run begins with 'flows serve', or now with "
            f"'flows runs log {run.run_id} --follow'"
        )
    else:
        note(f"Follow it with: flows runs log {run.run_id} --follow")


@click.command(name="list")
@click.option("--title", help="Only flows whose title holds this text.")
@common
def list_flows(options: Options, title: str | None) -> None:
    """List the flows you may see, newest first."""
    query = {"filter_title": title} if title else {}
    with open_session(options.settings()) as session:
        flows = list(session.client.list_flows(**query))
    if options.as_json:
        print_json(flows)
    elif flows:
        rows = [[one["id"], short_time(one["created_at"]), one["title"]] for one in flows]
        print_table(["ID", "CREATED (UTC)", "TITLE"], rows)
    else:
        note("No flows; publish one with: flows deploy FILE --title TITLE")


@click.command()
@click.argument("flow")
@click.option("--definition", "definition_only", is_flag=True, help="Print the definition alone, as JSON.")
@common
def show(options: Options, flow: str, definition_only: bool) -> None:
    """Show FLOW, which is an id or a title."""
    with open_session(options.settings()) as session:
        document = find_flow(session.client, flow)
    if definition_only:
        print_json(document["definition"])
    elif options.as_json:
        print_json(document)
    else:
        print_fields(
            {
                "id": document["id"],
                "title": document["title"],
                "subtitle": document["subtitle"],
                "description": document["description"],
                "keywords": ", ".join(document["keywords"]),
                "created": short_time(document["created_at"]),
                "changed": short_time(document["updated_at"]),
                "owner": document["flow_owner"],
                "your roles": ", ".join(document["user_roles"]),
                "starts at": document["definition"]["StartAt"],
                "states": ", ".join(document["definition"]["States"]),
                "address": document["flow_url"],
                "scope": document["globus_auth_scope"],
            }
        )


@click.command()
@click.argument("flow")
@click.option("--yes", is_flag=True, help="Do not ask.")
@common
def delete(options: Options, flow: str, yes: bool) -> None:
    """Withdraw FLOW, which is an id or a title. Its runs go on and stay."""
    with open_session(options.settings()) as session:
        found = find_flow(session.client, flow)
        if not yes:
            click.confirm(f"Withdraw {shown(found['title'])!r} ({found['id']})?", abort=True, err=True)
        document = session.client.delete_flow(found["id"])
    if options.as_json:
        print_json(document)
    else:
        note(f"Withdrew {shown(found['title'])!r} ({found['id']})")
