"""A parameter sweep whose points sometimes fail: what can be mended is tried again, the rest is reported.

    .venv/bin/python examples/functions/sweep/sweep.py

The simulation stands for any program that fails for reasons of its own: some parameters are impossible for ever, some
points fail only the first time.
"""

from __future__ import annotations

import itertools
import os
import sys
import tempfile
from concurrent.futures import Future

from rich.console import Console
from rich.table import Table

from compute_agent.sdk import Executor, TaskFailed

TRIES = 3
TEMPERATURES = (250, 275, 300, 325, 350)
PRESSURES = (0.5, 1.0, 2.0, -1.0)

Point = tuple[int, float]


def simulate(temperature: int, pressure: float, scratch: str) -> float:
    """Runs on the endpoint. Gives the density of an ideal gas of nitrogen, in kg/m³."""
    from pathlib import Path

    if pressure <= 0:
        raise ValueError(f"a pressure of {pressure} bar does not exist")
    licence = Path(scratch) / f"{temperature}-{pressure}"
    if temperature == 300 and not licence.exists():  # a licence server that is busy the first time
        licence.touch()
        raise ConnectionError("the licence server is busy")
    return pressure * 1e5 * 0.0280134 / (8.314462618 * temperature)


def main() -> int:
    scratch = tempfile.mkdtemp(prefix="sweep-")
    points = list(itertools.product(TEMPERATURES, PRESSURES))
    densities: dict[Point, float] = {}
    hopeless: dict[Point, str] = {}
    with Executor(os.environ.get("ENDPOINT")) as executor:
        for attempt in range(1, TRIES + 1):
            left = [point for point in points if point not in densities and point not in hopeless]
            futures: dict[Point, Future[float]] = {point: executor.submit(simulate, *point, scratch) for point in left}
            for point, future in futures.items():
                try:
                    densities[point] = future.result()
                except ConnectionError as error:  # the remote exception's own type: worth another try
                    print(f"try {attempt}: {point} failed: {str(error).splitlines()[-1]}")
                except TaskFailed as error:
                    hopeless[point] = str(error).splitlines()[-1]
    show(densities, hopeless)
    print(f"{len(densities)} of {len(points)} points, {len(hopeless)} impossible")
    return 0 if len(densities) == 15 and len(hopeless) == 5 else 1


def show(densities: dict[Point, float], hopeless: dict[Point, str]) -> None:
    table = Table("K", *(f"{pressure} bar" for pressure in PRESSURES), title="density, kg/m³")
    for temperature in TEMPERATURES:
        cells = [
            f"{densities[point]:.3f}" if (point := (temperature, pressure)) in densities else "-"
            for pressure in PRESSURES
        ]
        table.add_row(str(temperature), *cells)
    console = Console()
    console.print(table)
    for reason in sorted(set(hopeless.values())):
        console.print(f"- : {reason}", highlight=False)


if __name__ == "__main__":
    sys.exit(main())
