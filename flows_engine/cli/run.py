"""``flows run``: from a definition in a file to its result, in one command."""

from __future__ import annotations

from pathlib import Path

import click

from flows_engine.local import open_session
from flows_engine.sdk import ApiError, Client
from schemas.json_text import Json

from .documents import Sources, read_flow, read_input, refusal
from .follow import wait_and_report
from .options import Options, common
from .output import note, shown

#: Marks the flows that this command publishes: one per file, changed when the file changes.
_KEYWORD = "flows-run"
_MAX_TITLE_CHARS = 128


@click.command()
@click.argument("definition")
@click.option("--input", "input_file", metavar="FILE", help="Input of the run (JSON or YAML); - is standard input.")
@click.option("--input-schema", "schema_file", metavar="FILE", help="JSON Schema of the input.")
@click.option("--label", help="A name for the run.")
@common
def run(options: Options, definition: str, input_file: str | None, schema_file: str | None, label: str | None) -> None:
    """Run the flow in the file DEFINITION (JSON or YAML) and print its output.

    No server is needed: without one, this command is the engine. The run is durable either way: interrupt it and go on
    with it later. Events go to stderr, the output to stdout; exits with 1 when the run does not succeed.
    """
    sources = read_flow(definition, schema_file, input_file)
    body = read_input(input_file)
    with open_session(options.settings(), work=True) as session:
        try:
            flow = _publish(session.client, definition, sources)
        except ApiError as error:
            raise refusal(error, sources) from error
        started = session.client.run_flow(flow["id"], body, label=label)
        note(f"Run {started.run_id} of {shown(flow['title'])!r}")
        wait_and_report(options, started, continues=session.server is not None)


def _publish(client: Client, path: str, sources: Sources) -> dict[str, Json]:
    """The file's flow: the one that was made for it before, changed if need be, or a new one."""
    place = "standard input" if path == "-" else str(Path(path).resolve())
    definition = sources["definition"][0].document
    schema = sources["input_schema"][0].document if "input_schema" in sources else {}
    description = f"Published by 'flows run' from {place}"
    for flow in client.list_flows(filter_keywords=_KEYWORD):
        is_ours = "flow_owner" in flow["user_roles"] and _KEYWORD in flow["keywords"]
        if is_ours and flow["description"] == description:
            if (flow["definition"], flow["input_schema"]) == (definition, schema):
                return flow
            return client.update_flow(flow["id"], definition=definition, input_schema=schema)
    return client.create_flow(_title(path), definition, schema, description=description, keywords=[_KEYWORD])


def _title(path: str) -> str:
    """The file's name, or its folder's when the file is named after what it is."""
    if path == "-":
        return "standard input"
    file = Path(path).resolve()
    name = file.parent.name if file.stem in ("definition", "flow") else file.stem
    return (shown(name).strip() or "flow")[:_MAX_TITLE_CHARS]
