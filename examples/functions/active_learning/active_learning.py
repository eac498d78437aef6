"""Active learning: measure where the model knows least, and do not wait for the slowest measurement.

    .venv/bin/python examples/functions/active_learning/active_learning.py

An unknown curve is measured point by point on the endpoint; each measurement takes a while and is noisy. Whenever one
comes in (``wait`` with FIRST_COMPLETED, the loop form of ``as_completed``), the model is refitted there too, and the next
point is the one of which its members disagree most. At the end the curve is known better than from an even grid.
"""

from __future__ import annotations

import os
import random
import sys
from concurrent.futures import FIRST_COMPLETED, Future, as_completed, wait

from compute_agent.sdk import Executor

START = 6
BUDGET = 30
AT_ONCE = 3
GRID = [number / 200 for number in range(201)]

Sample = list[float]


def measure(x: float, seed: int) -> Sample:
    """Runs on the endpoint: the experiment. A sharp peak on a gentle slope, with noise."""
    import math
    import random

    noise = random.Random(seed).gauss(0, 0.01)  # noqa: S311 - a simulation
    return [x, 0.3 * x + math.exp(-(((x - 0.72) / 0.05) ** 2)) + noise]


def disagreement(samples: list[Sample], candidates: list[float], seed: int) -> list[float]:
    """Runs on the endpoint: how much a committee of 12 models, each fitted on a part of the samples, disagrees."""
    import bisect
    import random

    def model(part: list[Sample], x: float) -> float:
        xs = [point[0] for point in part]
        right = min(max(bisect.bisect(xs, x), 1), len(xs) - 1)
        (x0, y0), (x1, y1) = part[right - 1], part[right]
        return y0 + (y1 - y0) * (x - x0) / (x1 - x0)

    chance = random.Random(seed)  # noqa: S311 - a simulation
    ordered = sorted(samples)
    committee = [sorted([*chance.sample(ordered[1:-1], len(ordered) - 4), ordered[0], ordered[-1]]) for _ in range(12)]
    spreads = []
    for x in candidates:
        guesses = [model(part, x) for part in committee]
        mean = sum(guesses) / len(guesses)
        gap = min(abs(x - sample[0]) for sample in ordered)
        spreads.append(gap * (0.05 + sum((guess - mean) ** 2 for guess in guesses)))
    return spreads


def main() -> int:
    chance = random.Random(7)  # noqa: S311 - a simulation
    samples: list[Sample] = []
    with Executor(os.environ.get("ENDPOINT")) as executor:
        first = [executor.submit(measure, number / (START - 1), number) for number in range(START)]
        for future in as_completed(first):
            samples.append(future.result())
        asked = START
        measuring: dict[Future[Sample], float] = {}
        while len(samples) < BUDGET:
            while len(measuring) < AT_ONCE and asked < BUDGET:
                candidates = [x for x in GRID if all(abs(x - other) > 0.004 for other in measuring.values())]
                spreads = executor.submit(disagreement, samples, candidates, asked).result()
                best = candidates[max(range(len(spreads)), key=spreads.__getitem__)]
                measuring[executor.submit(measure, best, chance.randrange(10**9))] = best
                asked += 1
            done, _ = wait(measuring, return_when=FIRST_COMPLETED)
            for future in done:
                x = measuring.pop(future)
                samples.append(future.result())
                print(f"{len(samples):3} measured at {x:.3f}: {samples[-1][1]:.3f}")
    near_peak = sum(abs(x - 0.72) < 0.12 for x, _ in samples)
    even_grid = 0.24 * len(samples)
    top = max(samples, key=lambda sample: sample[1])
    print(
        f"{near_peak} of {len(samples)} measurements are near the peak; the highest, {top[1]:.2f}, is at {top[0]:.3f}"
    )
    return 0 if abs(top[0] - 0.72) < 0.03 and near_peak > even_grid else 1


if __name__ == "__main__":
    sys.exit(main())
