"""Prints, after a run of the corpus, how many cases of each group agree and which features the others need."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from typing import Any

import pytest


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    outcomes = [(name, _properties(report)) for name, report in _reports(terminalreporter)]
    outcomes = [(name, properties) for name, properties in outcomes if "asl_group" in properties]
    if not outcomes:
        return
    terminalreporter.section("ASL corpus")
    _write_groups(terminalreporter, outcomes)
    _write_missing(terminalreporter, outcomes)
    causes = Counter(properties["asl_cause"] for _, properties in outcomes if "asl_cause" in properties)
    if causes:
        terminalreporter.line(f"cause texts of failed executions: {causes['same']}/{causes.total()} as recorded")


def _write_groups(reporter: pytest.TerminalReporter, outcomes: list[tuple[str, dict[str, Any]]]) -> None:
    counts = Counter((properties["asl_group"], name) for name, properties in outcomes)
    groups = sorted({group for group, _ in counts})
    for group in groups:
        passed, failed, skipped = (counts[group, name] for name in ("passed", "failed", "skipped"))
        reporter.line(f"{group:<48} {passed:>4}/{passed + failed:<4} {f'{skipped} not runnable' if skipped else ''}")
    totals = Counter(name for name, _ in outcomes)
    ran = totals["passed"] + totals["failed"]
    reporter.line(f"{'all groups':<48} {totals['passed']:>4}/{ran:<4} {totals['skipped']} not runnable")


def _write_missing(reporter: pytest.TerminalReporter, outcomes: list[tuple[str, dict[str, Any]]]) -> None:
    missing = Counter(feature for _, properties in outcomes for feature in properties.get("asl_missing", ()))
    if missing:
        listed = ", ".join(f"{feature} {count}" for feature, count in missing.most_common())
        reporter.line(f"cases that need a feature the dialect lacks (some need several): {listed}")


def _reports(reporter: pytest.TerminalReporter) -> Iterator[tuple[str, pytest.TestReport]]:
    for name in ("passed", "failed", "skipped"):
        for report in reporter.getreports(name):
            if isinstance(report, pytest.TestReport) and (report.when == "call" or name == "skipped"):
                yield name, report


def _properties(report: pytest.TestReport) -> dict[str, Any]:
    return dict(report.user_properties)
