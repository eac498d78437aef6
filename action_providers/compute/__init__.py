"""Functions on compute endpoints as actions: the Compute providers in their second and third published version.

Rules of the room: an action's tasks are submitted once, however often that is tried; arguments and results are JSON,
and nothing is ever unpickled here; who may call what is decided by the compute service alone.
"""

from __future__ import annotations

from compute_agent.service.compute import ComputeService

from ..provider import ActionProvider
from .provider import Compute, ComputeV3

__all__ = ["providers"]


def providers(service: ComputeService) -> list[ActionProvider]:
    """The Compute providers on this service.

    The task group of an action has the action's id, unless the caller named a group. So ``Actions.nudge`` is what the
    service's ``finished`` wants: ids of groups that are no actions are passed over.
    """
    return [Compute(service), ComputeV3(service)]
