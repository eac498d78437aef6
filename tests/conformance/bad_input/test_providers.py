"""B56, B57, B81: action providers that are not there, or do not answer as providers do.

Each case is a run against a provider on a real socket; the server may call that one port of this machine.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from tests.conformance.bad_input.rows import Check, by_id, rows_of
from tests.conformance.bad_input.service import Service, fit_to_be_read, refused, running_service
from tests.fakes.flaky_provider import FlakyProvider, answer, document

SCOPE = "https://auth.globus.org/scopes/00000000-0000-4000-8000-000000000001/x"


@pytest.fixture(scope="module")
def provider() -> Iterator[FlakyProvider]:
    with FlakyProvider() as running:
        long_id = answer(document("SUCCEEDED", action_id="i" * 900_000))
        running.modes["long-id"] = lambda visit: visit.send(long_id)
        running.modes["introspects-html"] = lambda visit: visit.send(answer("<html>", content_type="text/html"))
        running.modes["introspects-list"] = lambda visit: visit.send(answer("[]"))
        running.modes["introspects-404"] = lambda visit: visit.send(answer("no", status="404 Not Found"))
        running.modes["introspects-no-scope"] = lambda visit: visit.send(answer("{}"))
        yield running


@pytest.fixture(scope="module")
def service(provider: FlakyProvider, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    """A server of its own, which may call the provider's port."""
    allowed = {"FLOWS_ALLOWED_HOSTS": f"127.0.0.1:{provider.port}"}
    with running_service(tmp_path_factory.mktemp("service"), environ=allowed) as running:
        running.provider = provider  # type: ignore[attr-defined]  # a row is given the service alone
        yield running


def asks(url: str, *, scope: str | None = SCOPE) -> dict[str, Any]:
    state: dict[str, Any] = {"Type": "Action", "ActionUrl": url, "Parameters": {}, "WaitTime": 2, "End": True}
    if scope:
        state["ActionScope"] = scope
    return {"StartAt": "S", "States": {"S": state}}


def unresolvable(service: Service) -> None:
    run = service.run(asks("https://provider.invalid/x"))
    failure = run.details["details"]
    assert run.status == "FAILED"
    assert failure["exception"] == "ActionUnableToRun"
    assert "provider.invalid does not resolve" in failure["cause"]
    fit_to_be_read(failure["cause"])


def not_introspected(service: Service) -> None:
    """Publishing asks the provider for its scope; what is no provider is refused, what is away is not."""
    before = service.stored()
    for mode in ("introspects-html", "introspects-list", "introspects-404", "introspects-no-scope"):
        url = service.provider.url(mode)  # type: ignore[attr-defined]  # see the fixture
        refused(service.create(asks(url, scope=None)), 409, "SCOPE_RESOLUTION_FAILED", url)
    assert service.stored() == before
    assert service.create(asks("https://provider.invalid/x", scope=None)).status_code == 201


def answers(*modes: str) -> Check:
    """Every wrong answer of a provider ends its run with a sentence, and the worker goes on."""

    def check(service: Service) -> None:
        flows = {mode: service.create(asks(service.provider.url(mode))) for mode in modes}  # type: ignore[attr-defined]  # see the fixture
        runs = {mode: service.client.run_flow(flow.json()["id"]) for mode, flow in flows.items()}
        for mode, run in runs.items():
            run.wait(30)
            assert run.status == "FAILED", (mode, run.document)
            failure = run.details["details"]
            assert failure["exception"] in ("ActionUnableToRun", "ActionTimeout", "ActionFailedException"), (
                mode,
                failure,
            )
            assert len(failure["cause"]) < 20_000, mode
            fit_to_be_read(failure["cause"])

    return check


ROWS = rows_of(
    {
        "B56 host that does not resolve": unresolvable,
        "B57 provider that is none": not_introspected,
        "B81 answers of a broken provider": answers(
            "html", "cut-json", "truncated", "long-id", "list", "nan", "deep", "10-mb", "empty", "not-http", "reset",
            "redirect", "gzip", "not-utf8", "huge-integer", "duplicate-keys", "lone-surrogate", "400-html", "400-long",
        ),
    }
)  # fmt: skip


@by_id(ROWS)
def test_a_provider_is_not_believed(service: Service, row: Any) -> None:
    row.check(service)
