"""A part that was not installed is named, with the command that installs it."""

from __future__ import annotations

import pytest

from compute_agent.extras import missing_extra


def test_missing_module_of_an_extra_is_named_with_the_command() -> None:
    said = missing_extra(ModuleNotFoundError("No module named 'flask.views'", name="flask.views"), "server")

    assert said is not None
    assert "'flask'" in said
    assert "pip install 'flows-engine[server]'" in said


@pytest.mark.parametrize("name", ["flows_engine.app", "compute_agent", None])
def test_missing_module_of_ours_is_a_fault_and_no_missing_extra(name: str | None) -> None:
    assert missing_extra(ModuleNotFoundError(name=name), "server") is None
