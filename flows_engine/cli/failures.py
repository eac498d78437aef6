"""What a command ends with when it could not do its work: one sentence on stderr and an exit code, never a traceback.

Exit codes: 0 done; 1 it failed (a run, a check, a request); 2 wrong usage or unreadable input; 3 no such thing;
4 not signed in, or not allowed; 75 the data directory is in use (``EX_TEMPFAIL`` of sysexits.h); 130 interrupted.
"""

from __future__ import annotations

import json
import logging
import os
import re
from enum import IntEnum
from typing import IO, Any

import click

from compute_agent.errors import ApiError, ClientError
from schemas.errors import InvalidJson

log = logging.getLogger(__name__)

#: How a text is refused where the input's schema wants ``"format": "uuid"``.
_NO_UUID = re.compile(r" is not a 'uuid'")


class Exit(IntEnum):
    OK = 0
    FAILED = 1
    USAGE = 2
    NOT_FOUND = 3
    AUTHENTICATION = 4
    BUSY = 75
    INTERRUPTED = 130


class Failure(click.ClickException):
    """``as_json`` shows it as ``{"error": {"code", "detail"}, "exit_code"}`` on stderr."""

    exit_code: int  # type: ignore[misc]  # each failure has its own; click declares one for the class

    def __init__(
        self, message: str, exit_code: int = Exit.FAILED, *, code: str = "FAILED", document: Any = None
    ) -> None:
        super().__init__(message)
        self.exit_code = int(exit_code)
        self.code = code
        self.document = document
        self.as_json = False

    def show(self, file: IO[Any] | None = None) -> None:
        if self.as_json:
            error = {"code": self.code, "detail": self.document or self.message}
            click.echo(json.dumps({"error": error, "exit_code": self.exit_code}), file=file, err=True)
        elif self.message:
            click.echo(f"Error: {self.message}", file=file, err=True)


class Usage(Failure):
    """What the user gave cannot be used."""

    def __init__(self, message: str) -> None:
        super().__init__(message, Exit.USAGE, code="USAGE")


def failure_of(error: Exception) -> Failure:
    """The sentence and exit code of anything that a command may raise."""
    # Only failing commands pay for loading these.
    from sqlalchemy.exc import DBAPIError, SQLAlchemyError

    from flows_engine.local import NoCredentialsError, ServerIsUp
    from flows_engine.store.address import WrongDatabase
    from flows_engine.store.lock import DatabaseInUse
    from flows_engine.store.migrate import SchemaTooNew

    match error:
        case Failure():
            return error
        case ApiError():
            return _of_api(error)
        case NoCredentialsError():
            return Failure(_sentence(error), Exit.AUTHENTICATION, code="NO_CREDENTIALS")
        case ClientError():
            return Failure(_sentence(error), code="NO_ANSWER")
        case DatabaseInUse() | ServerIsUp():
            return Failure(_sentence(error), Exit.BUSY, code="BUSY")
        case SchemaTooNew() | PermissionError():
            return Failure(_sentence(error), code=type(error).__name__.upper())
        case InvalidJson() | WrongDatabase():
            return Usage(_sentence(error))
        case DBAPIError():
            first = str(error.orig).strip().partition("\n")[0] or type(error.orig).__name__
            return Failure(f"The database cannot be used: {first}", code="DATABASE")
        case SQLAlchemyError():
            return Failure(f"The database address cannot be used: {str(error).partition(chr(10))[0]}", code="DATABASE")
        case OSError():
            where = f" ({error.filename})" if error.filename else ""
            return Failure(f"The system refused: {error.strerror or error}{where}", code="SYSTEM")
        case ValueError():
            return Failure(_sentence(error), code="FAILED")
        case _:
            return _of_our_fault(error)


def _of_api(error: ApiError) -> Failure:
    exit_code = {401: Exit.AUTHENTICATION, 403: Exit.AUTHENTICATION, 404: Exit.NOT_FOUND}.get(error.status, Exit.FAILED)
    return Failure(f"{_sentence(error)}{_hint(error)}", exit_code, code=error.code, document=error.detail)


def _hint(error: ApiError) -> str:
    """What helps those who gave the name of a collection in the input of a run, where its id belongs."""
    if error.code != "FLOW_INPUT_ERROR" or not _NO_UUID.search(str(error)):
        return ""
    return "\nIds of collections are shown by: flows collections list"


def _of_our_fault(error: Exception) -> Failure:
    advice = "set FLOWS_DEBUG=1 to see where"
    if os.environ.get("FLOWS_DEBUG"):
        log.error("the command failed", exc_info=error)
        advice = "see above"
    return Failure(f"This is a fault of flows itself: {type(error).__name__}: {error} ({advice})", code="INTERNAL")


def _sentence(error: Exception) -> str:
    """Its text with a capital letter, unless it begins with a name such as ``flow.json`` or ``title:``."""
    text = str(error).strip() or type(error).__name__
    return f"{text[:1].upper()}{text[1:]}" if text.split()[0].isalpha() else text
