"""The agent's log: one line per event, ``time level what name=value ...``. Task ids are there; code, arguments, results and
secrets never are."""

from __future__ import annotations

import contextlib
import logging
import sys
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from logging.handlers import RotatingFileHandler
from pathlib import Path
from typing import TextIO

#: Where this package's records begin.
_ROOT = "compute_agent"
_MAX_BYTES = 20 * 1024 * 1024
_KEPT = 3
_USUAL = frozenset(vars(logging.makeLogRecord({}))) | {"message", "asctime", "taskName"}


class LogFile(RotatingFileHandler):
    """What its disk does not take goes to standard error, as a line and not as a traceback."""

    def handleError(self, record: logging.LogRecord) -> None:  # noqa: N802 - the library's name
        error = sys.exc_info()[1]
        if not isinstance(error, OSError):
            super().handleError(record)
            return
        with contextlib.suppress(OSError, ValueError):
            sys.stderr.write(f"{self.baseFilename} cannot be written ({error.strerror}): {self.format(record)}\n")


class LineFormatter(logging.Formatter):
    """Values are shown on one line, without characters that steer a terminal."""

    def format(self, record: logging.LogRecord) -> str:
        at = datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds")
        facts = "".join(f" {name}={_shown(value)}" for name, value in vars(record).items() if name not in _USUAL)
        line = f"{at} {record.levelname} {_plain(record.getMessage())}{facts}"
        if record.exc_info:
            line += "\n" + self.formatException(record.exc_info)
        return line


def log_to_file(path: Path) -> logging.Handler:
    """Write the agent's log to a file that only its owner may read, and begin a new one when it is large."""
    path.touch(mode=0o600)
    handler = LogFile(path, maxBytes=_MAX_BYTES, backupCount=_KEPT, encoding="utf-8", errors="replace")
    return _attach(handler)


def log_to(stream: TextIO, level: int = logging.INFO) -> logging.Handler:
    handler = logging.StreamHandler(stream)
    handler.setLevel(level)
    return _attach(handler)


def stop_logging(handlers: list[logging.Handler]) -> None:
    for handler in handlers:
        logging.getLogger(_ROOT).removeHandler(handler)
        handler.close()


def tail(path: Path, lines: int) -> tuple[str, int]:
    """The last lines of a log, and where to go on reading."""
    try:
        with path.open("rb") as file:
            size = file.seek(0, 2)
            file.seek(max(0, size - 4096 * max(1, lines) // 8 - 65_536))
            text = file.read().decode("utf-8", "replace")
    except FileNotFoundError:
        return "", 0
    return "".join(text.splitlines(keepends=True)[-lines:]), size


def follow(path: Path, position: int, *, pause: Callable[[], object]) -> Iterator[str]:
    """What is added to a log, also when a new file takes its place. ``pause`` is called between looks."""
    while True:
        try:
            size = path.stat().st_size
        except FileNotFoundError:
            size = 0
        if size < position:
            position = 0
        if size > position:
            with path.open("rb") as file:
                file.seek(position)
                added = file.read()
            position += len(added)
            yield added.decode("utf-8", "replace")
        pause()


def _attach(handler: logging.Handler) -> logging.Handler:
    handler.setFormatter(LineFormatter())
    logger = logging.getLogger(_ROOT)
    logger.addHandler(handler)
    logger.setLevel(logging.INFO)
    logger.propagate = False
    return handler


def _shown(value: object) -> str:
    text = ",".join(map(_plain, map(str, value))) if isinstance(value, list | tuple) else _plain(str(value))
    return f'"{text}"' if " " in text else text


def _plain(text: str) -> str:
    return "".join(one if one.isprintable() else " " for one in text)
