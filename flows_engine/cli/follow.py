"""Following a run: its log as it grows, on stderr, and what it came to, on stdout."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import click
from rich.console import Console

from flows_engine.sdk import Run
from schemas.errors import InvalidJson
from schemas.json_text import Json, dumps, loads

from .failures import Exit, Failure
from .options import Options
from .output import note, print_json, shown

_MAX_CAUSE_CHARS = 400
_BAD = frozenset({"ActionFailed", "FlowFailed", "EngineQuarantine"})

OnEvent = Callable[[dict[str, Json]], None]


def event_line(entry: dict[str, Json]) -> str:
    """``12:00:01.250  ActionStarted    State Copy of type Action started``."""
    details = entry.get("details") or {}
    text = f"{entry['time'][11:23]}  {entry['code']:<23}  {entry['description']}"
    name = details.get("exception") or details.get("error")
    if name or details.get("reason"):
        text += f": {': '.join(str(one) for one in (name, _cause(details)) if one)}"
    return shown(text)


@contextmanager
def live() -> Iterator[OnEvent]:
    """Prints events: with what is going on below them when stderr is a terminal, else as plain lines."""
    console = Console(stderr=True, highlight=False, soft_wrap=True)
    if not console.is_terminal:
        yield lambda entry: note(event_line(entry))
        return
    with console.status("waiting for the first event", spinner="dots") as status:

        def show(entry: dict[str, Json]) -> None:
            style = "red" if entry["code"] in _BAD else None
            console.print(event_line(entry), style=style, markup=False)
            state = (entry.get("details") or {}).get("state_name")
            if state and entry["code"].endswith("Started"):
                status.update(f"in state {_plain(shown(str(state)))}")

        yield show


def wait_and_report(options: Options, run: Run, *, continues: bool) -> None:
    """Follow the run to its end and print its result; the exit code says how it ended.

    ``continues`` says whether the run goes on when this process ends.
    """
    try:
        with live() as show:
            run.wait(on_event=show)
    except KeyboardInterrupt as error:
        raise Failure(_farewell(run, continues=continues), Exit.INTERRUPTED, code="INTERRUPTED") from error
    report(options, run)


def report(options: Options, run: Run) -> None:
    """Print what the run came to.

    Raises:
        Failure: it did not succeed.
    """
    if options.as_json:
        print_json(run.document)
    elif run.status == "SUCCEEDED":
        print_json(run.output)
    if run.status != "SUCCEEDED":
        sys.stdout.flush()
        raise Failure(outcome(run), Exit.FAILED, code=f"RUN_{run.status}", document=run.details)


def outcome(run: Run) -> str:
    """A sentence about how the run stands."""
    inner = run.details.get("details") or {}
    if run.details.get("code") == "FlowCanceled":
        return f"Run {run.run_id} was cancelled"
    match run.status:
        case "FAILED":
            name = inner.get("exception") or inner.get("error") or ""
            state = f" in state {inner['state_name']}" if inner.get("state_name") else ""
            text = ": ".join(str(one) for one in (name, _cause(inner)) if one)
            return f"Run {run.run_id} failed{state}{f': {shown(text)}' if text else ''}"
        case "INACTIVE":
            reason = shown(str(run.details.get("description", "somebody has to act")))
            return f"Run {run.run_id} stands still: {reason}. Then let it go on with: flows runs resume {run.run_id}"
        case "SUCCEEDED":
            return f"Run {run.run_id} succeeded"
        case status:
            return f"Run {run.run_id} is {status}"


def _farewell(run: Run, *, continues: bool) -> str:
    again = f"flows runs log {run.run_id} --follow"
    if continues:
        return f"Interrupted; the server goes on with the run. Follow it again with: {again}"
    return f"Interrupted; run {run.run_id} is kept as it stands. Go on with: {again}   (or: flows serve)"


def _cause(details: dict[str, Json]) -> str:
    cause = details.get("cause") or details.get("reason")
    text = _sentence(cause) or ("" if cause is None else cause if isinstance(cause, str) else dumps(cause))
    return text if len(text) <= _MAX_CAUSE_CHARS else f"{text[:_MAX_CAUSE_CHARS]}..."


def _sentence(cause: Json) -> str:
    """What the provider says in the status document or error document that the cause is; else nothing.

    A status document begins with ids, and its reason would be cut off with the rest.
    """
    try:
        document = loads(cause) if isinstance(cause, str) and cause.startswith("{") else cause
    except InvalidJson:  # a text that only begins like a document
        return ""
    for part in (document.get("details"), document) if isinstance(document, dict) else ():
        if isinstance(part, dict) and isinstance(description := part.get("description"), str) and description:
            return f"{description} ({part['code']})" if isinstance(part.get("code"), str) else description
    return ""


def _plain(text: str) -> str:
    """Text without rich's markup."""
    return text.replace("[", r"\[")


def print_events_so_far(run: Run) -> None:
    """The log as it is, on stdout."""
    for entry in run.log():
        click.echo(event_line(entry))
