"""Whether a function that goes as bytecode can run at an endpoint: bytecode is of one minor version of Python."""

from __future__ import annotations

import platform


def advice(python_version: str, endpoint_id: str, *, here: str = platform.python_version()) -> str:
    """A sentence when the endpoint runs another Python than this one; empty when it can be used, or does not say."""
    if not python_version or _minor(python_version) == _minor(here):
        return ""
    return (
        f"endpoint {endpoint_id} runs Python {python_version} and this is Python {here}: functions travel as bytecode, which"
        " only the same version can run, so this task will probably fail. Send source code instead "
        "(register_source_code and submit_to_registered_function) or a command (ShellFunction), or use "
        f"Python {'.'.join(_minor(python_version))} here"
    )


def _minor(version: str) -> tuple[str, ...]:
    return tuple(version.split(".")[:2])
