"""Scope strings that more than one room must spell alike."""

from __future__ import annotations

#: Opens the compute service; clients and agents of functions ask for it.
COMPUTE_SCOPE = "https://auth.globus.org/scopes/facd7ccc-c5f4-42aa-916b-a0e270e2c2a9/all"


def flow_scope(flow_id: str) -> str:
    """The scope that starts runs of one flow, exactly as ``globus_sdk.SpecificFlowClient`` builds it."""
    return f"https://auth.globus.org/scopes/{flow_id}/flow_{flow_id.replace('-', '_')}_user"
