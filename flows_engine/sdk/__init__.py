"""The Python client of the Flows API: publish flows, start runs and follow them.

``Client`` speaks HTTP to any server; ``flows_engine.local.open_client`` gives one for the data directory on this
machine, with or without a server. Standard library and ``requests`` only.
"""

from compute_agent.errors import ApiError, ClientError, UnreachableError

from .client import Client
from .run import Run, RunNotFinishedError

__all__ = ["ApiError", "Client", "ClientError", "Run", "RunNotFinishedError", "UnreachableError"]
