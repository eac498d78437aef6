"""Checks any provider against the contract of the Action Provider API, ours or a third party's.

``check_provider("https://example.org/my_tool", token=..., body={...})`` starts a few dozen actions with ``body``: give
one that is cheap and harmless. From the shell, with the token in the environment variable PROVIDER_TOKEN:
``python -m action_providers.testing https://example.org/my_tool --body '{"echo_string": "hi"}'``.
"""

from __future__ import annotations

import argparse
import json
import os
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import requests
from werkzeug.test import Client

from schemas.json_text import Json

from .contract import RULES, Broken, Reply, Rule, Skipped, Subject, Transport


@dataclass(frozen=True, slots=True)
class OverHttp:
    url: str
    timeout_s: float = 30.0

    def __call__(self, method: str, path: str, headers: Mapping[str, str], data: bytes | None) -> Reply:
        answer = requests.request(
            method,
            self.url.rstrip("/") + path,
            headers=dict(headers),
            data=data,
            timeout=self.timeout_s,
            allow_redirects=False,
        )
        return Reply(answer.status_code, {k.lower(): v for k, v in answer.headers.items()}, _json(answer.content))


@dataclass(frozen=True, slots=True)
class InProcess:
    """A WSGI application called directly; ``base`` is where the provider is mounted (``/actions/hello_world``)."""

    app: Any
    base: str

    def __call__(self, method: str, path: str, headers: Mapping[str, str], data: bytes | None) -> Reply:
        answer = Client(self.app).open(self.base.rstrip("/") + path, method=method, headers=dict(headers), data=data)
        return Reply(answer.status_code, {k.lower(): v for k, v in answer.headers.items()}, _json(answer.data))


@dataclass(frozen=True, slots=True)
class Check:
    """One rule: ``passed`` is None when it could not be tried, and ``note`` says why or what was wrong."""

    name: str
    passed: bool | None
    note: str = ""

    def __str__(self) -> str:
        mark = {True: "passed ", False: "FAILED ", None: "skipped"}[self.passed]
        return f"{mark}  {self.name}" + (f": {self.note}" if self.note else "")


@dataclass(frozen=True, slots=True)
class Report:
    checks: tuple[Check, ...]

    @property
    def passed(self) -> bool:
        """Nothing failed."""
        return not self.failures

    @property
    def failures(self) -> tuple[Check, ...]:
        return tuple(check for check in self.checks if check.passed is False)

    @property
    def skipped(self) -> tuple[Check, ...]:
        return tuple(check for check in self.checks if check.passed is None)

    def __str__(self) -> str:
        count = len(self.checks)
        good = count - len(self.failures) - len(self.skipped)
        summary = f"{good} passed, {len(self.failures)} failed, {len(self.skipped)} skipped of {count} checks"
        return "\n".join([*map(str, self.checks), summary])


def check_provider(
    target: str | Transport,
    *,
    token: str,
    body: Json,
    slow_body: Json | None = None,
    bad_body: Json | None = None,
    other_token: str | None = None,
    wait_s: float = 30.0,
) -> Report:
    """Try every rule. ``target`` is the provider's base URL or a Transport such as ``InProcess``.

    ``slow_body`` starts an action that stays ACTIVE for some seconds, ``bad_body`` breaks the input schema,
    ``other_token`` belongs to an identity that has no role on the actions: without them their rules are skipped.
    """
    subject = Subject(
        call=OverHttp(target) if isinstance(target, str) else target,
        token=token,
        body=body,
        slow_body=slow_body,
        bad_body=bad_body,
        other_token=other_token,
        wait_s=wait_s,
    )
    return Report(tuple(_try(name, rule, subject) for name, rule in RULES.items()))


def _try(name: str, rule: Rule, subject: Subject) -> Check:
    try:
        rule(subject)
    except Skipped as why:
        return Check(name, None, str(why))
    except (Broken, requests.RequestException) as why:
        return Check(name, False, str(why))
    return Check(name, True)


def _json(raw: bytes) -> Json:
    try:
        return json.loads(raw)
    except ValueError:
        return None


def main() -> int:
    """Print the report; the exit code is 1 when a rule is broken."""
    parser = argparse.ArgumentParser(prog="python -m action_providers.testing", description="Check an action provider.")
    parser.add_argument("url")
    parser.add_argument("--body", required=True, help="JSON of a cheap and harmless body")
    parser.add_argument("--slow-body", default="null", help="JSON of a body whose action stays ACTIVE for seconds")
    parser.add_argument("--bad-body", default="null", help="JSON of a body that breaks the input schema")
    given = parser.parse_args()
    report = check_provider(
        given.url,
        token=os.environ.get("PROVIDER_TOKEN", ""),
        body=json.loads(given.body),
        slow_body=json.loads(given.slow_body),
        bad_body=json.loads(given.bad_body),
    )
    print(report)
    return 0 if report.passed else 1


if __name__ == "__main__":
    raise SystemExit(main())
