"""The engine of this machine's data directory, wherever it runs: a server that is up, or this very process.

``open_client()`` gives an SDK client for it, ``open_operator()`` the operator's door. One client code serves both:
without a server its requests go to the web application in this process. Nothing here decides about flows.
"""

from compute_agent.local_server import NoCredentialsError, RunningServer, credentials, find_server

from .server_file import ServerFile, ServerIsUp
from .session import (
    Session,
    check_database,
    install_operator,
    open_client,
    open_operator,
    open_session,
)

__all__ = [
    "NoCredentialsError",
    "RunningServer",
    "ServerFile",
    "ServerIsUp",
    "Session",
    "check_database",
    "credentials",
    "find_server",
    "install_operator",
    "open_client",
    "open_operator",
    "open_session",
]
