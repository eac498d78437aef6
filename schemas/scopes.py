"""Scope strings that more than one room must spell alike."""

from __future__ import annotations


def flow_scope(flow_id: str) -> str:
    """The scope that starts runs of one flow, exactly as ``globus_sdk.SpecificFlowClient`` builds it."""
    return f"https://auth.globus.org/scopes/{flow_id}/flow_{flow_id.replace('-', '_')}_user"
