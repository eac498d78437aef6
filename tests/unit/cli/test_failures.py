"""What commands raise, as sentences and exit codes."""

from __future__ import annotations

import sqlite3

import pytest
from sqlalchemy.exc import OperationalError

from flows_engine.cli.failures import Exit, Failure, Usage, failure_of
from flows_engine.local import NoCredentialsError, ServerIsUp
from flows_engine.sdk import ApiError, UnreachableError
from flows_engine.store.address import WrongDatabase
from flows_engine.store.lock import DatabaseInUse
from flows_engine.store.migrate import SchemaTooNew
from schemas.errors import InvalidJson


@pytest.mark.parametrize(
    ("error", "exit_code", "sentence"),
    [
        (ApiError(404, "NOT_FOUND", "no Flow"), Exit.NOT_FOUND, "No Flow"),
        (ApiError(401, "UNAUTHORIZED", "wrong secret"), Exit.AUTHENTICATION, "Wrong secret"),
        (ApiError(403, "FORBIDDEN", "not you"), Exit.AUTHENTICATION, "Not you"),
        (ApiError(422, "UNPROCESSABLE_ENTITY", "wrong"), Exit.FAILED, "Wrong"),
        (UnreachableError("the server is away"), Exit.FAILED, "The server is away"),
        (NoCredentialsError("there is no client.json"), Exit.AUTHENTICATION, "There is no client.json"),
        (DatabaseInUse("another engine owns it"), Exit.BUSY, "Another engine owns it"),
        (ServerIsUp("another server uses it"), Exit.BUSY, "Another server uses it"),
        (WrongDatabase("not that one"), Exit.USAGE, "Not that one"),
        (SchemaTooNew("newer"), Exit.FAILED, "Newer"),
        (InvalidJson("BAD_JSON", "a.json is not JSON"), Exit.USAGE, "a.json is not JSON"),
        (Usage("not so"), Exit.USAGE, "not so"),
        (ValueError("FLOWS_PORT is odd"), Exit.FAILED, "FLOWS_PORT is odd"),
        (
            OperationalError("SELECT secret", {}, sqlite3.OperationalError("unable to open database file")),
            Exit.FAILED,
            "The database cannot be used: unable to open database file",
        ),
        (FileNotFoundError(2, "No such file", "x.pem"), Exit.FAILED, "The system refused: No such file (x.pem)"),
    ],
)
def test_every_error_is_a_sentence_and_an_exit_code(error: Exception, exit_code: Exit, sentence: str) -> None:
    failure = failure_of(error)
    assert (failure.message, failure.exit_code) == (sentence, exit_code)


def test_a_fault_of_ours_says_so_without_a_traceback(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("FLOWS_DEBUG", raising=False)
    failure = failure_of(KeyError("x"))
    assert failure.exit_code == Exit.FAILED
    assert failure.message == "This is a fault of flows itself: KeyError: 'x' (set FLOWS_DEBUG=1 to see where)"


def test_programs_get_failures_as_json(capsys: pytest.CaptureFixture[str]) -> None:
    failure = Failure("It failed", Exit.NOT_FOUND, code="NOT_FOUND")
    failure.as_json = True
    failure.show()
    assert capsys.readouterr().err == ('{"error": {"code": "NOT_FOUND", "detail": "It failed"}, "exit_code": 3}\n')
