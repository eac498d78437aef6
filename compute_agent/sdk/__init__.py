"""The SDK: ``Client`` for functions, endpoints and tasks, ``Executor`` for futures."""

from __future__ import annotations

from ..errors import ApiError, ClientError, UnreachableError
from ..framing import FramingError
from ..serialize import DeserializationError, PickleRefused, SerializationError
from ..shell import ShellFunction, ShellResult
from .batch import Batch
from .client import Client
from .errors import (
    NoEndpointError,
    NoServerError,
    PayloadTooLargeError,
    PythonVersionWarning,
    TaskFailed,
    TaskLost,
    TaskPending,
    TaskUnknownError,
)
from .executor import Executor
from .futures import ComputeFuture

__all__ = [
    "ApiError",
    "Batch",
    "Client",
    "ClientError",
    "ComputeFuture",
    "DeserializationError",
    "Executor",
    "FramingError",
    "NoEndpointError",
    "NoServerError",
    "PayloadTooLargeError",
    "PickleRefused",
    "PythonVersionWarning",
    "SerializationError",
    "ShellFunction",
    "ShellResult",
    "TaskFailed",
    "TaskLost",
    "TaskPending",
    "TaskUnknownError",
    "UnreachableError",
]
