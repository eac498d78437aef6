"""The command that starts a block's workers inside a container, by the published ``container_*`` options.

The image must hold this package with its ``agent`` extra. The engine's run directory is seen at the same path inside.
"""

from __future__ import annotations

import re
import shlex

from .base import EngineConfigError

#: Container types, and the command of each.
COMMANDS = {
    "docker": "docker",
    "podman": "podman",
    "podman-hpc": "podman-hpc",
    "apptainer": "apptainer",
    "singularity": "singularity",
}
TYPES = (*COMMANDS, "custom")
_NETWORK = re.compile(r"(^|\s)--net(work)?\b")


def contained(launch_cmd: str, *, kind: str, uri: str, options: str, run_dir: str) -> str:
    """``launch_cmd`` wrapped. For ``custom``, ``options`` is the whole command, with ``{EXECUTOR_RUNDIR}`` and
    ``{EXECUTOR_LAUNCH_CMD}`` where the run directory and the command of the workers belong.

    Raises:
        EngineConfigError: an option is missing.
    """
    options = options.replace("{EXECUTOR_RUNDIR}", run_dir)
    if kind == "custom":
        if "{EXECUTOR_LAUNCH_CMD}" not in options:
            raise EngineConfigError(
                "engine.container_cmd_options: with container_type custom it is the whole command, and must hold"
                " {EXECUTOR_LAUNCH_CMD} where the command of the workers belongs"
            )
        return options.replace("{EXECUTOR_LAUNCH_CMD}", launch_cmd)
    if not uri:
        raise EngineConfigError(f"engine.container_uri: with container_type {kind} the image must be named")
    image = shlex.quote(uri)
    bind = shlex.quote(f"{run_dir}:{run_dir}")
    command = COMMANDS[kind]
    if kind in ("apptainer", "singularity"):
        words = [command, "exec", "--bind", bind, options, image]
    else:
        # Workers call the agent's host by its own addresses, which needs the host's network.
        network = "" if _NETWORK.search(options) else "--network=host"
        words = [command, "run", "--rm", "--init", network, "--volume", bind, options, image]
    return " ".join([*(word for word in words if word), launch_cmd])
