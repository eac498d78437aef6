"""Times of the compute service: a lease is never so short that one late heartbeat costs an agent its tasks."""

from __future__ import annotations

from pathlib import Path

import pytest

from flows_engine.settings import load


@pytest.mark.parametrize(
    ("environ", "lease_s", "heartbeat_s"),
    [
        ({}, 75.0, 30.0),
        ({"FLOWS_COMPUTE_LEASE_MS": "1000"}, 1.0, 0.4),
        ({"FLOWS_COMPUTE_LEASE_MS": "1000", "FLOWS_COMPUTE_HEARTBEAT_MS": "200"}, 1.0, 0.2),
        ({"FLOWS_COMPUTE_LEASE_MS": "300000"}, 300.0, 30.0),
    ],
)
def test_the_heartbeat_follows_a_shorter_lease(
    tmp_path: Path, environ: dict[str, str], lease_s: float, heartbeat_s: float
) -> None:
    settings = load(data_dir=tmp_path, environ=environ)
    assert (settings.compute_lease_s, settings.compute_heartbeat_s) == (lease_s, heartbeat_s)


def test_a_lease_of_less_than_two_heartbeats_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"FLOWS_COMPUTE_LEASE_MS is 75000; .* twice FLOWS_COMPUTE_HEARTBEAT_MS"):
        load(data_dir=tmp_path, environ={"FLOWS_COMPUTE_HEARTBEAT_MS": "40000"})
