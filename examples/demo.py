"""The demo: two flows on files of this machine, and everything they say is checked afterwards.

The first copies the measurements that matter from an instrument to an archive. The second packs a folder into a tar file
by a function on the compute endpoint that comes with the server, and moves the file to the archive.

    make demo                                  in a new temporary directory
    .venv/bin/python examples/demo.py DIR      in a directory of your own; may be repeated there
    .venv/bin/python examples/demo.py --keep   leaves the server running

It drives the product from outside: a server process, its HTTP API through the SDKs, and the flows of the examples
``transfer_with_filters`` and ``tar_and_transfer``, exactly as they lie there. Ends with 0 only when every check held.
"""

from __future__ import annotations

import argparse
import hashlib
import importlib.util
import json
import random
import shlex
import signal
import subprocess
import sys
import tarfile
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.text import Text

from compute_agent.sdk import Client as FunctionsClient
from flows_engine.local import open_operator, open_session
from flows_engine.sdk import ClientError, Run
from flows_engine.settings import Settings, load

EXAMPLES = Path(__file__).parent
COPY = EXAMPLES / "transfer_with_filters"
PACK = EXAMPLES / "tar_and_transfer"
KEEP = ["*.json", "*.csv", "*.tif"]
_START_S = 30.0
_ENDPOINT_S = 90.0
_STOP_S = 20.0
_RUN_S = 120.0

console = Console(highlight=False, soft_wrap=True)


class DemoError(Exception):
    """Something is not as it must be; the text says what."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Server:
    url: str
    process: subprocess.Popen[bytes]
    settings: Settings

    def endpoint(self) -> dict[str, Any]:
        """What the server says of its compute endpoint, once that takes functions."""
        with console.status("the compute endpoint is starting ..."):
            return _said(self.process, _ENDPOINT_S, "the compute endpoint did not start")


def main() -> int:
    options = _options()
    began = time.monotonic()
    place = (options.directory or Path(tempfile.mkdtemp(prefix="flows-demo-"))).expanduser().resolve()
    console.print("1  A flow copies the measurements that matter from an instrument to an archive.\n", style="bold")
    try:
        with serving(place / "engine", keep=options.keep) as server:
            tell("Server", f"[bold]{server.url}[/]{'' if options.keep else '   (stays up with --keep)'}")
            run, folder = copy_measurements(server, place)
            verify(run, place / "instrument" / "measurements", place / "archive" / folder)
            packed = pack_and_move(server, place)
            verify_archive(
                packed, place / "instrument" / "measurements" / "monday", place / "archive" / "monday.tar.gz"
            )
            tell("Done", f"[green]everything was verified[/] in {time.monotonic() - began:.1f} s")
            farewell(server, run, keep=options.keep)
        return 0
    except (DemoError, ClientError, OSError) as error:
        console.print(Text("Failed ", style="bold red").append(str(error), style="not bold"))
        return 1
    except KeyboardInterrupt:
        console.print("Interrupted; the server was stopped")
        return 130


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="Run a real flow on files of this machine, and check what it did.")
    parser.add_argument("directory", nargs="?", type=Path, help="where to work; default: a new temporary directory")
    parser.add_argument("--keep", action="store_true", help="leave the server running")
    return parser.parse_args()


# What the demo does


def copy_measurements(server: Server, place: Path) -> tuple[Run, str]:
    """Make files, offer two directories as collections, publish the flow, run it; the run and the folder it filled."""
    source, target = place / "instrument", place / "archive"
    made = make_measurements(source / "measurements")
    target.mkdir(parents=True, exist_ok=True)
    folder = next(name for n in range(1, 10_000) if not (target / (name := f"measurements-{n}")).exists())
    tell("Files", f"{len(made)} files, {size_of(made.values())}, in {source / 'measurements'}")
    ids = offer(server, source, target)
    tell("Offered", f"{source.name} and {target.name} as collections")
    with open_session(server.settings) as session:
        flow = session.client.create_flow(
            "Copy what matters", read_json(COPY / "definition.json"), read_json(COPY / "input_schema.json")
        )
        tell("Flow", f"{flow['title']}   {flow['id']}")
        body = {
            "source": {"id": ids[0], "path": "/measurements/"},
            "target": {"id": ids[1], "path": f"/{folder}/"},
            "keep": KEEP,
        }
        run = session.client.run_flow(flow["id"], body, label="The demo's run")
        tell("Run", f"{run.run_id}   keep {', '.join(KEEP)}")
        console.print()
        run.wait(_RUN_S, on_event=LiveLog())
        console.print()
    return run, folder


def pack_and_move(server: Server, place: Path) -> Run:
    """Have a function pack Monday's folder on the endpoint, and the flow move the archive."""
    console.print(
        "\n2  A flow packs a folder by a function on the compute endpoint, and moves the archive.\n", style="bold"
    )
    source, target = place / "instrument", place / "archive"
    ids = offer(server, source, target)
    endpoint = server.endpoint()
    tell("Endpoint", f"{endpoint['compute_endpoint']}   {endpoint['engine']}, {endpoint['workers']} workers")
    with FunctionsClient(data_dir=server.settings.data_dir) as functions:
        function = functions.register_function(the_examples_function(), name="make_archive")
    tell("Function", f"make_archive   {function}")
    with open_session(server.settings) as session:
        flow = session.client.create_flow(
            "Pack and move", read_json(PACK / "definition.json"), read_json(PACK / "input_schema.json")
        )
        body = {
            "pack": {
                "endpoint_id": endpoint["compute_endpoint"],
                "function_id": function,
                "arguments": {
                    "folder": str(source / "measurements" / "monday"),
                    "archive": str(source / "monday.tar.gz"),
                },
            },
            "transfer": {
                "source_collection": ids[0],
                "source_path": "/monday.tar.gz",
                "target_collection": ids[1],
                "target_path": "/monday.tar.gz",
            },
        }
        run = session.client.run_flow(flow["id"], body, label="The demo's second run")
        tell("Run", run.run_id)
        console.print()
        run.wait(_RUN_S, on_event=LiveLog())
        console.print()
    return run


def the_examples_function() -> Callable[..., Any]:
    """The function of the example, as its own file has it."""
    spec = importlib.util.spec_from_file_location("tar_and_transfer_functions", PACK / "functions.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    function: Callable[..., Any] = module.function
    return function


def offer(server: Server, *roots: Path) -> list[str]:
    """Ids of collections for these directories, made where there are none yet."""
    with open_operator(server.settings) as operator:
        offered = {one["path"]: one["id"] for one in operator.collections()}
        return [offered.get(str(root)) or operator.add_collection(root.name, str(root))["id"] for root in roots]


def make_measurements(root: Path) -> dict[str, int]:
    """The same four dozen files every time; sizes by path."""
    chance = random.Random(20)  # noqa: S311 - contents of test files
    contents: dict[str, bytes] = {"README.txt": b"Measurements of the demo.\n"}
    for day in ("monday", "tuesday", "wednesday"):
        contents[f"{day}/shift.log"] = b"08:00 beam on\n16:00 beam off\n"
        for sample in ("lysozyme", "silicon", "blank"):
            where = f"{day}/{sample}"
            rows = "".join(f"{n},{chance.random():.6f}\n" for n in range(400))
            contents[f"{where}/sample.json"] = json.dumps({"sample": sample, "day": day}).encode()
            contents[f"{where}/intensity.csv"] = b"channel,counts\n" + rows.encode()
            contents[f"{where}/frames/frame-1.tif"] = chance.randbytes(200_000 + chance.randrange(300_000))
            contents[f"{where}/frames/frame-2.tif"] = chance.randbytes(200_000 + chance.randrange(300_000))
            contents[f"{where}/detector.tmp"] = chance.randbytes(5_000)
    for name, content in contents.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_bytes(content)
    return {name: len(content) for name, content in contents.items()}


class LiveLog:
    """Prints the run's log entry by entry: when, what, in which state, and how long the state took."""

    def __init__(self) -> None:
        self._first: datetime | None = None
        self._entered: dict[str, datetime] = {}

    def __call__(self, entry: dict[str, Any]) -> None:
        at = datetime.fromisoformat(entry["time"])
        self._first = self._first or at
        details = entry.get("details") or {}
        state, code = details.get("state_name") or "", entry["code"]
        line = Text().append(f"  {(at - self._first).total_seconds():7.3f} s  ", style="dim")
        line.append(f"{code:<25}", style=_style(code)).append(f"{state:<13}", style="bold")
        if code.endswith("Started"):
            self._entered[state] = at
        elif state in self._entered:
            took_s = (at - self._entered[state]).total_seconds()
            line.append(f"{took_s * 1000:6.0f} ms  ", style="dim").append(_remark(entry))
        line.rstrip()
        console.print(line)


def _style(code: str) -> str:
    if code.endswith("Failed"):
        return "red"
    return "green" if code.endswith(("Completed", "Succeeded")) else "cyan"


def _remark(entry: dict[str, Any]) -> str:
    """What a newcomer may want to know of the entry."""
    details = entry["details"]
    output = details.get("output") or {}
    if entry["code"] == "FlowSucceeded":
        return "in all"
    if details.get("state_name") == "Judge":
        return ", ".join(f"{name.replace('_', ' ')}: {'yes' if yes else 'no'}" for name, yes in _verdicts(output))
    answer = output.get("details") or {}
    if results := answer.get("result"):
        return f"the function says: {results[0]['files']} files packed"
    if answer.get("type") == "TRANSFER":
        checked = size_of([answer["bytes_checksummed"]])
        return f"{answer['files_transferred']} files, {size_of([answer['bytes_transferred']])}, checksums of {checked}"
    if answer.get("code") == "NotFound":
        return f"nothing is at {answer['path']} yet"
    if answer.get("code") == "DirectoryCreated":
        return f"made {answer['path']}"
    return "it is a folder" if answer.get("type") == "dir" else str(details.get("cause") or "")


def _verdicts(output: dict[str, Any]) -> list[tuple[str, bool]]:
    return [(name, value) for name, value in output["verdict"].items() if isinstance(value, bool)]


# What the demo checks, without asking the engine


def verify(run: Run, source: Path, target: Path) -> None:
    """Compare both trees by what is on the disk.

    Raises:
        DemoError: the run failed, or the copy is not what the filters ask for.
    """
    if run.status != "SUCCEEDED":
        raise DemoError(f"the run ended {run.status}: {json.dumps(run.details)[:600]}")
    there, here = tree(source), tree(target)
    wanted = {name for name in there if any(fnmatchcase(Path(name).name, pattern) for pattern in KEEP)}
    missing, extra = wanted - here.keys(), here.keys() - wanted
    if missing or extra:
        raise DemoError(f"missing at the target: {sorted(missing)}; too many: {sorted(extra)}")
    if different := [name for name in sorted(wanted) if there[name] != here[name]]:
        raise DemoError(f"the contents differ: {different}")
    if run.details["output"]["summary"]["files"] != len(wanted):
        raise DemoError(f"the run says it copied {run.details['output']['summary']['files']} files, not {len(wanted)}")
    console.print("  Both ends, read again from the disk and compared by SHA-256:")
    console.print()
    totals, copied = (Counter(Path(name).suffix for name in names) for names in (there, here))
    for suffix, total in sorted(totals.items(), key=lambda one: (-copied[one[0]], one[0])):
        verdict = "[green]copied, identical[/]" if copied[suffix] else "[dim]left out by the filters[/]"
        console.print(f"    {'*' + suffix:<8}{total:>4} file{'s' if total > 1 else ' '}   {verdict}")
    console.print()
    tell("Copy", f"{len(here)} of {len(there)} files in {target}")
    entries = sum(1 for _ in read_log(run))
    tell(
        "Status", f"[green]{run.status}[/]   {entries} log entries; output: {run.details['output']['summary']['text']}"
    )


def verify_archive(run: Run, folder: Path, archive: Path) -> None:
    """Compare the folder with what the archive holds.

    Raises:
        DemoError: the run failed, or the archive is not the folder.
    """
    if run.status != "SUCCEEDED":
        raise DemoError(f"the run ended {run.status}: {json.dumps(run.details)[:600]}")
    with tarfile.open(archive) as file, tempfile.TemporaryDirectory() as unpacked:
        file.extractall(unpacked, filter="data")
        there, here = tree(folder), tree(Path(unpacked) / folder.name)
    if there != here:
        raise DemoError(f"the archive differs from the folder in {sorted(there.items() ^ here.items())[:5]}")
    tell("Archive", f"{len(here)} files, {size_of([archive.stat().st_size])}, [green]identical[/] in {archive}")
    tell("Status", f"[green]{run.status}[/]")


def tree(root: Path) -> dict[str, str]:
    """SHA-256 of every file by its path below the root."""
    files = (path for path in sorted(root.rglob("*")) if path.is_file())
    return {path.relative_to(root).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest() for path in files}


def read_log(run: Run) -> Iterator[dict[str, Any]]:
    return run.log()


def farewell(server: Server, run: Run, *, keep: bool) -> None:
    """How to go on from here."""
    flows, globus = _command("flows"), _command("globus")
    where = f"--data-dir {shlex.quote(str(server.settings.data_dir))}"
    console.print()
    if keep:
        console.print(f"  The server keeps running at [bold]{server.url}[/] (stop it with: kill {server.process.pid})")
    else:
        console.print(f"  Start the server again    {flows} serve {where}")
    console.print(f"  The run's log             {flows} runs log {run.run_id} {where}")
    console.print(f'  The official globus CLI   eval "$({flows} env {where})"  &&  {globus} flows list')
    console.print()


# The server


@contextmanager
def serving(data_dir: Path, *, keep: bool) -> Iterator[Server]:
    """A server process on the data directory, at a free port; stopped at the end unless it is to be kept."""
    data_dir.parent.mkdir(parents=True, exist_ok=True)
    log = data_dir.with_name("server.log")
    command = [sys.executable, "-m", "flows_engine.cli", "serve", "--port", "0", "--json", "--data-dir", str(data_dir)]
    with log.open("ab") as errors:
        process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=errors, start_new_session=True)  # noqa: S603 - our own program
    done = False
    try:
        url: str = _said(process, _START_S, f"the server did not start, see {log}")["url"]
        yield Server(url=url, process=process, settings=load(data_dir=data_dir))
        done = True
    finally:
        if not (keep and done):
            _stop(process)
        if process.stdout is not None:
            process.stdout.close()


def _said(process: subprocess.Popen[bytes], patience_s: float, otherwise: str) -> dict[str, Any]:
    """The next thing that the server says on its standard output."""
    assert process.stdout is not None
    watchdog = threading.Timer(patience_s, process.kill)
    watchdog.start()
    try:
        line = process.stdout.readline()
    finally:
        watchdog.cancel()
    if not line:
        raise DemoError(otherwise)
    document: dict[str, Any] = json.loads(line)
    return document


def _stop(process: subprocess.Popen[bytes]) -> None:
    if process.poll() is None:
        process.send_signal(signal.SIGTERM)
    try:
        process.wait(_STOP_S)
    except subprocess.TimeoutExpired:
        process.kill()


def _command(name: str) -> str:
    """A command of this environment as it can be typed here."""
    program = Path(sys.executable).with_name(name)
    if not program.exists():
        return name
    try:
        return shlex.quote(str(program.relative_to(Path.cwd())))
    except ValueError:
        return shlex.quote(str(program))


def read_json(path: Path) -> Any:
    return json.loads(path.read_text("utf-8"))


def size_of(sizes: Any) -> str:
    total = sum(sizes)
    return f"{total / 1e6:.1f} MB" if total >= 100_000 else f"{total / 1e3:.1f} kB"


def tell(what: str, text: str) -> None:
    console.print(f"[bold]{what:<8}[/] {text}")


if __name__ == "__main__":
    sys.exit(main())
