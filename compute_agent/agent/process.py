"""One process that serves one endpoint: in the foreground, or detached from the terminal with word of how its start went.

SIGTERM and SIGINT stop it in order; a second one makes it hurry.
"""

from __future__ import annotations

import contextlib
import errno
import json
import logging
import os
import signal
import subprocess
import sys
import threading
import uuid
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

from ..engines.base import EngineFault
from ..engines.catalog import make_engine
from ..errors import ClientError
from ..local_server import NoCredentialsError
from . import credentials
from .desk import Ending
from .directory import EndpointBusy, EndpointDirectory
from .endings import Exit, exit_code_of, told
from .journal import Journal, JournalFull, JournalTooNew, boot_id
from .logs import log_to, log_to_file, stop_logging
from .loop import Agent
from .markers import Markers
from .prepare import Prepared, prepare
from .templates import UserConfigRefused
from .yaml_text import ConfigError

log = logging.getLogger(__name__)

#: How long the first worker of this machine is waited for before an endpoint counts as started.
_FIRST_WORKER_S = 10.0


class StartFailed(Exception):
    """An endpoint could not be started; the text says why and what to do."""

    def __init__(self, message: str, exit_code: Exit) -> None:
        super().__init__(message)
        self.exit_code = exit_code


@dataclass(frozen=True, slots=True, kw_only=True)
class Started:
    """``workers`` is 0 while no engine is up."""

    endpoint_id: str
    name: str
    engine: str
    workers: int

    def to_json(self) -> dict[str, Any]:
        return {"endpoint_id": self.endpoint_id, "name": self.name, "engine": self.engine, "workers": self.workers}


def serve(
    directory: EndpointDirectory,
    *,
    started: Callable[[Started], None],
    is_detached: bool = False,
    until_stdin_closes: bool = False,
) -> int:
    """Serve an endpoint until told to stop; returns the exit code. ``started`` is called once it is registered.

    Raises:
        StartFailed: nothing was registered, or that failed.
    """
    with _start_failures(directory), directory.served():
        handlers = [log_to_file(directory.log)]
        if not is_detached:
            handlers.append(log_to(sys.stderr, logging.WARNING))
        try:
            with _start_failures(directory):
                return _serve(directory, started=started, until_stdin_closes=until_stdin_closes)
        except StartFailed as error:
            stop_logging(handlers[1:])  # there the command says it
            log.error("the endpoint was not started", extra={"reason": error})
            raise
        finally:
            stop_logging(handlers)


def start_detached(command: list[str], directory: EndpointDirectory) -> dict[str, Any]:
    """Start ``command`` (a foreground start that reports to the descriptor that is appended to it) on its own; returns
    what it says once it is registered.

    Raises:
        StartFailed: as the new process says, or it ended without a word.
    """
    reading, writing = os.pipe()
    with os.fdopen(reading, "rb") as word:
        try:
            with directory.log.open("ab") as output:
                process = subprocess.Popen(  # noqa: S603 - this program itself, with arguments that were checked
                    [*command, str(writing)],
                    stdin=subprocess.DEVNULL,
                    stdout=output,
                    stderr=output,
                    pass_fds=[writing],
                    start_new_session=True,
                )
        finally:
            os.close(writing)
        line = word.readline()
    if not line:
        code = process.wait()
        raise StartFailed(
            f"the agent ended with code {code} before it was registered; see {directory.log}", Exit.FAILED
        )
    said: dict[str, Any] = json.loads(line)
    if "error" in said:
        raise StartFailed(str(said["error"]), Exit(said["exit_code"]))
    return {**said, "pid": process.pid}


@contextlib.contextmanager
def reporting_to(descriptor: int) -> Iterator[Callable[[Started], None]]:
    """Tell the process that waits at the other end how the start went, in one line."""
    with os.fdopen(descriptor, "w", encoding="utf-8") as word:

        def say(document: dict[str, Any]) -> None:
            if not word.closed:
                word.write(json.dumps(document) + "\n")
                word.close()

        try:
            yield lambda started: say(started.to_json())
        except StartFailed as error:
            say({"error": str(error), "exit_code": int(error.exit_code)})
            raise


def _serve(directory: EndpointDirectory, *, started: Callable[[Started], None], until_stdin_closes: bool) -> int:
    who = credentials.load(directory.credentials)
    credentials.clear_secrets(os.environ)
    endpoint_id = directory.endpoint_id() or str(uuid.uuid4())
    prepared = prepare(directory, make_engine, environ=os.environ)
    for note in prepared.notes:
        log.warning(note)
    os.environ["GLOBUS_COMPUTE_ENDPOINT_NAME"] = directory.name
    directory.run_dir.mkdir(mode=0o700, exist_ok=True)
    markers = Markers(directory.markers, is_used=prepared.config.start_markers)
    circumstances = f"{boot_id()} markers={markers.is_used}"
    with contextlib.closing(Journal(directory.journal, circumstances=circumstances)) as journal:
        agent = Agent(
            who.connect(),
            config=prepared.config,
            blocks=prepared.blocks,
            journal=journal,
            markers=markers,
            make_engine=make_engine,
            run_dir=directory.run_dir,
            document=prepared.document,
            endpoint_id=endpoint_id,
            facts={"endpoint_version": prepared.document["metadata"]["endpoint_version"]},
        )
        with _stopped_by_signals(agent):
            return _run(agent, directory, prepared, url=who.url, started=started, until_stdin_closes=until_stdin_closes)


def _run(
    agent: Agent,
    directory: EndpointDirectory,
    prepared: Prepared,
    *,
    url: str,
    started: Callable[[Started], None],
    until_stdin_closes: bool,
) -> int:
    try:
        if prepared.config.warm_start:
            agent.warm()
        directory.keep_endpoint_id(agent.endpoint_id, url)
        agent.begin()
    except BaseException:
        agent.pool.stop(grace_s=0.0)
        raise
    is_local = any(info.provider_type in ("", "LocalProvider") for info in agent.pool.infos())
    workers = agent.wait_for_workers(within_s=_FIRST_WORKER_S if is_local else 0.0)
    started(
        Started(endpoint_id=agent.endpoint_id, name=directory.name, engine=prepared.default_engine, workers=workers)
    )
    if until_stdin_closes:
        threading.Thread(target=_watch_stdin, args=(agent,), name="stdin", daemon=True).start()
    ending = agent.wait()
    if ending.exit_code:
        print(f"compute-agent: {ending.reason}", file=sys.stderr)
    return ending.exit_code


@contextlib.contextmanager
def _stopped_by_signals(agent: Agent) -> Iterator[None]:
    """The handler only starts a thread: it may interrupt code that holds the agent's lock."""

    def handle(number: int, _frame: object) -> None:
        ending = Ending(f"signal {signal.Signals(number).name}")
        threading.Thread(target=agent.end, args=(ending,), name="signal", daemon=True).start()

    before = {number: signal.signal(number, handle) for number in (signal.SIGTERM, signal.SIGINT)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _watch_stdin(agent: Agent) -> None:
    with contextlib.suppress(OSError):
        while os.read(0, 4096):
            pass
    agent.end(Ending("standard input was closed"))


@contextlib.contextmanager
def _start_failures(directory: EndpointDirectory) -> Iterator[None]:
    """Give everything that keeps an endpoint from starting a sentence and an exit code."""
    try:
        yield
    except ConfigError as error:
        raise StartFailed(str(error), Exit.REFUSED) from error
    except EndpointBusy as error:
        raise StartFailed(str(error), Exit.BUSY) from error
    except credentials.NoServer as error:
        raise StartFailed(str(error), Exit.NETWORK) from error
    except (NoCredentialsError, PermissionError) as error:
        raise StartFailed(str(error), Exit.NOT_ALLOWED) from error
    except EngineFault as error:
        raise StartFailed(f"the engine cannot be started: {error}", Exit.FAILED) from error
    except UserConfigRefused as error:
        raise StartFailed(
            f"warm_start needs an engine that needs no user_endpoint_config: {error}", Exit.REFUSED
        ) from error
    except (JournalFull, JournalTooNew) as error:
        raise StartFailed(str(error), Exit.FAILED) from error
    except ClientError as error:
        raise StartFailed(told(error, directory), exit_code_of(error)) from error
    except OSError as error:
        where = error.filename or directory.path
        advice = "; make room on its disk" if error.errno in (errno.ENOSPC, errno.EDQUOT) else ""
        raise StartFailed(f"{where} cannot be used: {error.strerror or error}{advice}", Exit.FAILED) from error
