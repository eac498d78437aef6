"""The server's log: one line an event on stderr, with its ids, and never a token."""

from __future__ import annotations

import logging
import re
import time

import click

#: What a credential looks like: tokens of ours, and whatever follows the name of an authorization scheme.
_SECRETS = re.compile(r"fe_[A-Za-z0-9_-]{8}_[A-Za-z0-9_-]{43}|\b(Bearer|Basic|Operator) +[^\s'\",;]+")
_STANDARD = frozenset(vars(logging.makeLogRecord({}))) | {"message", "asctime", "taskName"}


class OneLine(logging.Formatter):
    """``time level logger: message key=value ...``; a traceback follows on the same line."""

    converter = time.gmtime  # type: ignore[assignment]  # the standard library's own way to log in UTC
    default_time_format = "%Y-%m-%dT%H:%M:%S"
    default_msec_format = "%s.%03dZ"

    def __init__(self) -> None:
        super().__init__("%(asctime)s %(levelname)s %(name)s: %(message)s")

    def format(self, record: logging.LogRecord) -> str:
        text = super().format(record)
        extra = {key: value for key, value in vars(record).items() if key not in _STANDARD}
        text += "".join(f" {key}={value}" for key, value in extra.items())
        return _on_one_line(text)


class Brief(logging.Formatter):
    """The message alone, for the people who type commands."""

    def format(self, record: logging.LogRecord) -> str:
        return _on_one_line(f"{record.levelname.lower()}: {record.getMessage()}")


def log_everything() -> None:
    """The log of a server: every event from INFO on, to stderr."""
    _log(OneLine(), logging.INFO)


def log_briefly() -> None:
    """The log of a command that is its own engine: what is wrong, in one line each."""
    _log(Brief(), logging.WARNING)


class _ToStderr(logging.Handler):
    """Writes to whatever ``sys.stderr`` is when there is something to say."""

    def emit(self, record: logging.LogRecord) -> None:
        try:
            click.echo(self.format(record), err=True)
        except (OSError, ValueError):  # stderr is gone, and with it whoever would read this
            self.handleError(record)


def _log(formatter: logging.Formatter, level: int) -> None:
    handler = _ToStderr()
    handler.setFormatter(formatter)
    root = logging.getLogger()
    for earlier in [one for one in root.handlers if isinstance(one, _ToStderr)]:
        root.removeHandler(earlier)
    root.addHandler(handler)
    root.setLevel(level)
    for noisy in ("alembic", "urllib3"):
        logging.getLogger(noisy).setLevel(logging.WARNING)


def _on_one_line(text: str) -> str:
    return _SECRETS.sub("(secret)", text.replace("\r", "").replace("\n", " | "))
