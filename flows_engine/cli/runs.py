"""``flows runs``: look at runs and steer them."""

from __future__ import annotations

import itertools

import click

from flows_engine.local import open_session
from flows_engine.sdk import Run
from schemas.json_text import Json

from .failures import Exit, Failure
from .follow import event_line, outcome, print_events_so_far
from .lookup import find_flow, find_id
from .options import Group, Options, common
from .output import note, print_fields, print_json, print_json_line, print_table, short_time

_STATUSES = ("ACTIVE", "INACTIVE", "SUCCEEDED", "FAILED", "ENDED")


@click.group(cls=Group)
def runs() -> None:
    """Look at runs and steer them."""


@runs.command(name="list")
@click.option("--status", "statuses", multiple=True, type=click.Choice(_STATUSES, case_sensitive=False))
@click.option("--flow", help="Only runs of this flow (id or title).")
@click.option("--limit", type=click.IntRange(1, 10_000), default=50, show_default=True)
@common
def list_runs(options: Options, statuses: tuple[str, ...], flow: str | None, limit: int) -> None:
    """List runs, newest first."""
    query: dict[str, Json] = {"filter_status": list(statuses)} if statuses else {}
    with open_session(options.settings()) as session:
        if flow is not None:
            query["filter_flow_id"] = find_flow(session.client, flow)["id"]
        found = list(itertools.islice(session.client.list_runs(**query), limit))
    if options.as_json:
        print_json(found)
    elif found:
        rows = [
            [one["run_id"], one["status"], short_time(one["start_time"]), one["label"] or "", one["flow_title"]]
            for one in found
        ]
        print_table(["ID", "STATUS", "STARTED (UTC)", "LABEL", "FLOW"], rows)
    else:
        note("No runs.")


@runs.command()
@click.argument("run_id")
@common
def show(options: Options, run_id: str) -> None:
    """Show a run and its output."""
    with open_session(options.settings()) as session:
        run = session.client.get_run(find_id(run_id, "run"))
    _print_run(options, run)


@runs.command()
@click.argument("run_id")
@click.option("--follow", is_flag=True, help="Print entries as they come, until the run has ended.")
@common
def log(options: Options, run_id: str, follow: bool) -> None:
    """Print the log of a run.

    With --follow and no server, this command is the engine: it goes on with the run. The exit code is then 1 when the
    run does not succeed.
    """
    identifier = find_id(run_id, "run")
    with open_session(options.settings(), work=follow) as session:
        run = session.client.get_run(identifier)
        if follow:
            _follow(options, run, continues=session.server is not None)
        elif options.as_json:
            for entry in run.log():
                print_json_line(entry)
        else:
            print_events_so_far(run)


@runs.command()
@click.argument("run_id")
@common
def cancel(options: Options, run_id: str) -> None:
    """End a run now. What its actions did stays done."""
    with open_session(options.settings()) as session:
        run = session.client.get_run(find_id(run_id, "run"))
        had_ended = run.is_final
        run.cancel()
    if options.as_json:
        print_json(run.document)
    elif had_ended:
        note(f"{outcome(run)}; it had ended before")
    else:
        note(f"Cancelled run {run.run_id}")


@runs.command()
@click.argument("run_id")
@common
def resume(options: Options, run_id: str) -> None:
    """Let a run go on that stands still (INACTIVE)."""
    with open_session(options.settings()) as session:
        run = session.client.get_run(find_id(run_id, "run"))
        before = run.status
        run.resume()
    if options.as_json:
        print_json(run.document)
    elif before != "INACTIVE":
        note(f"Run {run.run_id} does not stand still: it is {before}")
    else:
        note(f"Resumed run {run.run_id}; follow it with: flows runs log {run.run_id} --follow")


@runs.command()
@click.argument("run_id")
@click.option("--yes", is_flag=True, help="Do not ask.")
@common
def release(options: Options, run_id: str, yes: bool) -> None:
    """Remove a run that has ended, with its log."""
    identifier = find_id(run_id, "run")
    with open_session(options.settings()) as session:
        run = session.client.get_run(identifier)
        if not yes:
            click.confirm(f"Remove run {identifier} and its log?", abort=True, err=True)
        document = run.release()
    if options.as_json:
        print_json(document)
    else:
        note(f"Removed run {identifier}")


def _print_run(options: Options, run: Run) -> None:
    document = run.document
    if options.as_json:
        print_json(document)
        return
    print_fields(
        {
            "id": run.run_id,
            "status": run.status,
            "label": document["label"],
            "tags": ", ".join(document["tags"]),
            "flow": f"{document['flow_title']} ({run.flow_id})",
            "started": short_time(document["start_time"]),
            "ended": short_time(document["completion_time"]),
            "owner": document["run_owner"],
            "outcome": None if run.status in ("SUCCEEDED", "ACTIVE") else outcome(run),
        }
    )
    if run.status == "SUCCEEDED":
        print_json(run.output)


def _follow(options: Options, run: Run, *, continues: bool) -> None:
    show = print_json_line if options.as_json else lambda entry: click.echo(event_line(entry))
    try:
        run.wait(on_event=show)
    except KeyboardInterrupt as error:
        kept = "" if continues else f"; the run is kept, go on with: flows runs log {run.run_id} --follow"
        raise Failure(f"Interrupted{kept}", Exit.INTERRUPTED, code="INTERRUPTED") from error
    if run.status != "SUCCEEDED":
        raise Failure(outcome(run), Exit.FAILED, code=f"RUN_{run.status}", document=run.details)
