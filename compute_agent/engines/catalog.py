"""Engines by the ``type`` in a configuration: our names, those that the hosted service publishes, and what plugins add."""

from __future__ import annotations

from collections.abc import Mapping
from importlib.metadata import EntryPoint, entry_points
from pathlib import Path
from typing import Any, cast

from .base import GROUP, Engine, EngineConfigError
from .options import nearest

#: Published type names, and the entry point that each stands for.
PUBLISHED_NAMES = {
    "GlobusComputeEngine": "parsl",
    "HighThroughputEngine": "parsl",
    "ProcessPoolEngine": "process",
    "ThreadPoolEngine": "thread",
}
#: Published types that are not there, and what to use in their place.
NOT_HERE = {
    "GlobusMPIEngine": (
        'use "GlobusComputeEngine" with max_workers_per_node: 1, provider.nodes_per_block: as many nodes as the program'
        " needs, and provider.launcher: {type: SimpleLauncher}; a ShellFunction then starts the program with srun or"
        " mpiexec on all nodes of its block"
    ),
}


def engine_types() -> list[str]:
    """Every value that ``type`` may have here."""
    return sorted([*_found(), *PUBLISHED_NAMES])


def make_engine(block: Mapping[str, Any], *, run_dir: Path) -> Engine:
    """The engine that an ``engine`` block describes, not started.

    Raises:
        EngineConfigError: the type is unknown, or an option cannot be used.
    """
    if not isinstance(block, Mapping):
        raise EngineConfigError(f"engine: {block!r} cannot be used, it must be a block with a type and its options")
    wanted = block.get("type")
    if not isinstance(wanted, str):
        raise EngineConfigError(f"engine.type: {_shown(wanted)}; it must be one of {', '.join(engine_types())}")
    found = _found()
    point = found.get(PUBLISHED_NAMES.get(wanted, wanted))
    if point is None and wanted in NOT_HERE:
        raise EngineConfigError(f'engine.type: there is no engine "{wanted}" here; {NOT_HERE[wanted]}')
    if point is None:
        allowed = engine_types()
        raise EngineConfigError(
            f'engine.type: there is no engine "{wanted}"{nearest(wanted, allowed) or ";"}'
            f" the types are {', '.join(allowed)}"
        )
    try:
        engine_class = point.load()
    except ImportError as error:
        raise EngineConfigError(
            f'engine.type "{wanted}" needs a library that is not installed ({error}); run: pip install "flows-engine[agent]"'
        ) from error
    options = {key: value for key, value in block.items() if key != "type"}
    return cast(Engine, engine_class(options, run_dir=run_dir))


def _found() -> dict[str, EntryPoint]:
    return {point.name: point for point in entry_points(group=GROUP)}


def _shown(value: object) -> str:
    return "it is missing" if value is None else f"{value!r} is not a name"
