"""The ``engine`` block of the Parsl engine, checked, with defaults that are right for one machine.

Names are those that the hosted service publishes for its GlobusComputeEngine. The command line that starts workers is
put together here.
"""

from __future__ import annotations

import os
import re
import shlex
import shutil
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from parsl.executors.high_throughput.manager_selector import BlockIdManagerSelector, RandomManagerSelector
from parsl.providers import LocalProvider
from parsl.providers.base import ExecutionProvider

from . import containers
from .base import EngineConfigError
from .options import OptionReader
from .parsl_parts import make_provider

STRATEGIES = ("none", "simple", "htex_auto_scale")
_AFFINITIES = ("none", "block", "block-reverse", "alternating")
_SELECTORS = {"RandomManagerSelector": RandomManagerSelector, "BlockIdManagerSelector": BlockIdManagerSelector}
#: Parsl puts paths unquoted into scripts.
_PLAIN_PATH = re.compile(r"[\w@%+=:,./-]+")
#: What Parsl fills in; the braces of ``block_id`` are doubled because it does so in two turns.
_POOL_OPTIONS = (
    "{debug} {max_workers_per_node} -a {addresses} -p {prefetch_capacity} -c {cores_per_worker} -m {mem_per_worker}"
    " --poll {poll_period} --port={worker_port} --cert_dir {cert_dir} --logdir={logdir} --block_id={{block_id}}"
    " --hb_period={heartbeat_period} {address_probe_timeout_string} --hb_threshold={heartbeat_threshold}"
    " --drain_period={drain_period} --cpu-affinity {cpu_affinity} {enable_mpi_mode} --mpi-launcher={mpi_launcher}"
    " --available-accelerators {accelerators}"
)


@dataclass(frozen=True, slots=True, kw_only=True)
class ParslOptions:
    """``executor`` holds keyword arguments for Parsl's executor, all but the provider, which every life of the executor
    makes anew. ``workers_per_node`` is 0 when only the node knows."""

    label: str
    provider_block: Mapping[str, Any]
    provider_type: str
    executor: Mapping[str, Any]
    strategy: str
    strategy_period_s: float
    max_idletime_s: float
    workers_per_node: int
    most_nodes: int
    working_dir: Path
    run_in_sandbox: bool
    start_markers: bool

    def make_provider(self) -> ExecutionProvider:
        return make_provider(self.provider_block)

    @classmethod
    def read(cls, options: Mapping[str, Any], *, run_dir: Path) -> ParslOptions:
        """Raises EngineConfigError."""
        if not _PLAIN_PATH.fullmatch(str(run_dir)):
            raise EngineConfigError(
                f"the engine's directory {str(run_dir)!r} holds a character that Parsl's scripts cannot carry;"
                " use a path of letters, digits and . _ - / alone"
            )
        reader = OptionReader("engine", options)
        provider_block = reader.raw("provider") or {"type": "LocalProvider"}
        provider = make_provider(provider_block)
        is_local = isinstance(provider, LocalProvider)
        workers = reader.integer("max_workers_per_node", (os.cpu_count() or 1) if is_local else 0, least=1)
        # Where one node is all there is, tasks that wait on the node keep its workers busy and block nobody else.
        one_node = provider.max_blocks * provider.nodes_per_block == 1
        prefetch = max(workers, 8) if one_node and workers else 0
        job_status = _job_status(reader)
        read = cls(
            label=_label(reader),
            provider_block=provider_block,
            provider_type=str(provider_block["type"]),
            executor=_executor(reader, provider, run_dir, workers=workers, prefetch=prefetch),
            strategy=job_status.choice("strategy", STRATEGIES, reader.choice("strategy", STRATEGIES, "simple")),
            strategy_period_s=job_status.number("strategy_period", reader.number("strategy_period", 5.0)),
            max_idletime_s=job_status.number("max_idletime", reader.number("max_idletime", 120.0)),
            workers_per_node=workers,
            most_nodes=provider.max_blocks * provider.nodes_per_block,
            working_dir=run_dir / reader.text("working_dir", "tasks_working_dir"),
            run_in_sandbox=reader.flag("run_in_sandbox", default=False),
            start_markers=reader.flag("start_markers", default=True),
        )
        # A task that a lost node took along is settled by the service, by its function's ``on_loss``.
        reader.integer("max_retries_on_system_failure", 0)
        job_status.finish()
        reader.finish()
        return read


def _label(reader: OptionReader) -> str:
    label = reader.text("label", "parsl")
    if not re.fullmatch(r"[\w.-]{1,100}", label):
        raise reader.wrong(
            "label", label, "letters, digits and . _ - alone, 100 at most, since directories are named after it"
        )
    return label


def _job_status(reader: OptionReader) -> OptionReader:
    block = reader.raw("job_status_kwargs")
    if block is not None and not isinstance(block, Mapping):
        raise reader.wrong("job_status_kwargs", block, "a block with max_idletime, strategy, strategy_period")
    return OptionReader("engine.job_status_kwargs", block or {})


def _executor(
    reader: OptionReader, provider: ExecutionProvider, run_dir: Path, *, workers: int, prefetch: int
) -> dict[str, Any]:
    is_local = isinstance(provider, LocalProvider)
    period = reader.integer("heartbeat_period", 5 if is_local else 30, least=1)
    threshold = reader.integer("heartbeat_threshold", 30 if is_local else 120, least=2)
    if threshold <= period:
        raise reader.wrong("heartbeat_threshold", threshold, f"more than heartbeat_period, which is {period}")
    given: dict[str, Any] = {
        "address": reader.text("address", "127.0.0.1" if is_local else "") or None,
        "loopback_address": reader.text("loopback_address", "127.0.0.1"),
        "worker_port": reader.integer("worker_port", 0) or None,
        "worker_port_range": _ports(reader, "worker_ports") or _ports(reader, "worker_port_range") or (54000, 55000),
        "interchange_port_range": _ports(reader, "interchange_port_range") or (55000, 56000),
        "worker_debug": reader.flag("worker_debug", default=False),
        "cores_per_worker": _cores(reader, workers=workers, is_local=is_local),
        "mem_per_worker": reader.number("mem_per_worker", 0.0) or None,
        "max_workers_per_node": workers or None,
        "cpu_affinity": _affinity(reader),
        "available_accelerators": _accelerators(reader),
        "prefetch_capacity": reader.integer("prefetch_capacity", prefetch),
        "heartbeat_period": period,
        "heartbeat_threshold": threshold,
        "drain_period": reader.integer("drain_period", 0) or None,
        "poll_period": reader.integer("poll_period", 100, least=1),
        "address_probe_timeout": reader.integer("address_probe_timeout", 0) or None,
        "worker_logdir_root": reader.text("worker_logdir_root") or None,
        "manager_selector": _selector(reader),
        "encrypted": reader.flag("encrypted", default=True),
        "interchange_launch_cmd": [sys.executable, "-P", "-m", "compute_agent.engines.parsl_interchange"],
    }
    given["launch_cmd"] = _launch_command(reader, provider, run_dir)
    return given


def _cores(reader: OptionReader, *, workers: int, is_local: bool) -> float:
    """Cores per worker. On the agent's host the default lets as many workers start as ``max_workers_per_node`` says."""
    return reader.number("cores_per_worker", min(1.0, (os.cpu_count() or 1) / workers) if is_local else 1.0)


def _launch_command(reader: OptionReader, provider: ExecutionProvider, run_dir: Path) -> str:
    kind = reader.choice("container_type", containers.TYPES)
    uri, options = reader.text("container_uri"), reader.text("container_cmd_options")
    own = reader.text("launch_cmd")
    if not kind:
        if uri or options:
            raise reader.wrong(
                "container_type", None, f"given with container_uri: one of {', '.join(containers.TYPES)}"
            )
        return own or f"{_worker_python(provider)} -P -m compute_agent.engines.parsl_node {_POOL_OPTIONS}"
    launch = own or f"python3 -P -m compute_agent.engines.parsl_node {_POOL_OPTIONS}"
    command = containers.contained(launch, kind=kind, uri=uri, options=options, run_dir=str(run_dir))
    _check_container_command(kind, command, provider)
    return command


def _check_container_command(kind: str, command: str, provider: ExecutionProvider) -> None:
    """Here when blocks run here; elsewhere the block says what it lacks. ``worker_init`` may put it on PATH."""
    if not isinstance(provider, LocalProvider) or provider.worker_init.strip():
        return
    program = containers.COMMANDS.get(kind) or shlex.split(command)[0]
    if shutil.which(program) is None:
        raise EngineConfigError(
            f'engine.container_type {kind}: there is no command "{program}" on this machine\'s PATH; install {program},'
            " or load it in provider.worker_init, or leave container_type out"
        )


def _worker_python(provider: ExecutionProvider) -> str:
    """The interpreter of workers: the agent's own, unless ``worker_init`` puts another environment first on PATH.

    An environment is told by Parsl's ``process_worker_pool.py``, which lies beside its interpreter.
    """
    if not getattr(provider, "worker_init", "").strip():
        return sys.executable
    ours = Path(sys.executable).parent / "process_worker_pool.py"
    return f"$(dirname $(command -v process_worker_pool.py || echo {ours}))/python3"


def _ports(reader: OptionReader, name: str) -> tuple[int, int] | None:
    value = reader.raw(name)
    if value is None:
        return None
    whole = isinstance(value, list | tuple) and all(isinstance(one, int) and 0 < one < 65536 for one in value)
    if not whole or len(value) != 2 or value[0] >= value[1]:
        raise reader.wrong(name, value, "two ports, the lower first, such as [54000, 55000]")
    return value[0], value[1]


def _affinity(reader: OptionReader) -> str:
    value = reader.text("cpu_affinity", "none")
    if value not in _AFFINITIES and not re.fullmatch(r"list(:[\d,-]+)+", value):
        raise reader.wrong("cpu_affinity", value, f"one of {', '.join(_AFFINITIES)}, or list:0-1:2-3")
    return value


def _accelerators(reader: OptionReader) -> int | list[str]:
    value = reader.raw("available_accelerators")
    if value is None:
        return []
    if isinstance(value, int) and not isinstance(value, bool) and value >= 0:
        return value
    if isinstance(value, list) and all(isinstance(one, str | int) for one in value):
        return [str(one) for one in value]
    raise reader.wrong("available_accelerators", value, "how many there are, or a list of their names")


def _selector(reader: OptionReader) -> Any:
    block = reader.raw("manager_selector")
    name = block.get("type") if isinstance(block, Mapping) else block
    if name is None and block is None:
        return RandomManagerSelector()
    if name not in _SELECTORS:
        raise reader.wrong("manager_selector", block, f"a block whose type is one of {', '.join(_SELECTORS)}")
    return _SELECTORS[name]()
