"""The cost of drawing x_1 at many betas, beside the training step that uses the draws.

A step of `egflow.tilt(beta=(low, high))` draws 512 rows at 32 fresh betas, exactly ∝ exp(−beta·E) at each. The step is
that of the default network for the plane (4 x 128, with a beta input) and of the one for more dimensions (4 x 256);
draws and steps take turns in blocks, in one process, and medians are compared. `prepare` is what it takes once, before
the first step. Times are those of the processor. Goal: draws ≤ .10 of the step at N = 1,000,000.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import torch
from torch import Tensor

from egflow.coupling import independent
from egflow.network import MLP
from egflow.objective import cefm
from egflow.path import CondOT
from egflow.training import FlowMatching, Population, TrainingOptions, train
from egflow.weights import beta_range_batches

TITLE = "Draws over a range of beta, beside the training step (goal: ≤ .10 of it at N = 1,000,000)"
BATCH = 512
KINDS = ("normal", "log-normal", "two energies")
QUIET = TrainingOptions(progress="quiet")


def energies(kind: str, n: int) -> tuple[Tensor, list[tuple[float, float]]]:
    """(n, k) energies and the range of each beta."""
    x = torch.randn(n, 2, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    if kind == "normal":
        return x[:, :1], [(0.0, 8.0)]
    if kind == "log-normal":
        return (2 * x[:, :1]).exp(), [(0.0, 8.0)]
    return x, [(0.0, 4.0), (0.0, 4.0)]


def run(out: Path, quick: bool = False) -> Iterator[dict[str, object]]:
    """Yield a row for each N and kind of energy."""
    sizes = (10_000,) if quick else (100_000, 1_000_000, 10_000_000)
    for n in sizes:
        for kind in KINDS[:2] if n == 10_000_000 else KINDS:
            yield measure(n, kind, blocks=3 if quick else 5, steps=10 if quick else 25)


def measure(n: int, kind: str, blocks: int, steps: int) -> dict[str, object]:
    """One row."""
    values, ranges = energies(kind, n)
    low, high = torch.tensor(ranges, dtype=torch.float64).unbind(1)
    log_s = torch.zeros(n, dtype=torch.float64)
    start = time.process_time()
    batches = beta_range_batches(values, log_s, low, high)
    prepared = time.process_time() - start
    population = Population(torch.randn(n, 2), None, batches)
    problem = FlowMatching(CondOT(), cefm, independent, "velocity", population, None, ranges)
    generator, u = torch.Generator(), (torch.arange(BATCH, dtype=torch.float64) + 0.5) / BATCH

    def draw(block: int) -> None:
        for step in range(steps):
            batches(u, generator.manual_seed(block * steps + step))

    def plain(width: int) -> Callable[[int], None]:
        network = MLP((2,), width=width, depth=4, frequencies=(1.0, 2.0, 4.0), beta_dim=len(ranges))
        return lambda block: train(network, problem, steps=steps, batch_size=BATCH, seed=block, options=QUIET) and None

    jobs = {"draws": draw, "step 128": plain(128), "step 256": plain(256)}
    taken: dict[str, list[float]] = {name: [] for name in jobs}
    for block in range(-1, blocks):  # the first round warms up
        for name, job in jobs.items():
            start = time.process_time()
            job(block + 1)
            if block >= 0:
                taken[name].append((time.process_time() - start) / steps * 1e3)
    median = {name: statistics.median(times) for name, times in taken.items()}
    return {
        "N": f"{n:,}",
        "energy": kind,
        "prepare, s": round(prepared, 2),
        "draws, ms": round(median["draws"], 3),
        "step 4x128, ms": round(median["step 128"], 2),
        "of it": round(median["draws"] / median["step 128"], 3),
        "step 4x256, ms": round(median["step 256"], 2),
        "of it ": round(median["draws"] / median["step 256"], 3),
    }
