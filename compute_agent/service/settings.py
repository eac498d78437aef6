"""What an operator may set of the compute service, with the values it has otherwise."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class ComputeSettings:
    """``heartbeat_s`` and ``lease_s`` are told to agents at registration; ``max_*`` are per user."""

    heartbeat_s: float = 30.0
    lease_s: float = 75.0
    max_unfinished_tasks: int = 200_000
    max_functions: int = 10_000
    max_endpoints: int = 200
    #: Most times a task is queued again after a loss, whatever its function asks for; what it gets if it names none.
    max_requeues: int = 3
    results_kept_s: float = 14 * 86_400.0
    #: How long ``lock_endpoint`` keeps an agent from registering.
    lock_s: float = 60.0

    @property
    def offline_after_s(self) -> float:
        """An endpoint that was not heard of for so long is offline."""
        return 2.5 * self.heartbeat_s
