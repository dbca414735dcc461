"""Weights of many energies: seconds for all of them, microseconds for a batch of draws.

`weigh`: log-weights, n_eff, log Z with its error, and the table that draws look up. `solve`: beta for an effective
fraction of .3. `draw`: a batch of 512 indices, which takes O(log N) a draw.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path

import torch

from egflow.energy import EnergyValues
from egflow.weights import Resample, log_weights, log_z, n_eff, solve_beta

TITLE = "Weights of N energies"


def run(out: Path, quick: bool = False) -> Iterator[dict[str, object]]:
    """Yield a row for each N."""
    for n in (10_000,) if quick else (100_000, 1_000_000, 10_000_000):
        energies = EnergyValues.from_tensor(torch.randn(n, dtype=torch.float64))
        start = time.perf_counter()
        log_w = log_weights(energies, 1.0)
        n_eff(log_w)
        log_z(log_w)
        batches = Resample().prepare(log_w, torch.zeros_like(log_w))
        weighed = time.perf_counter()
        solve_beta(energies, 0.3)
        solved = time.perf_counter()
        for step in range(200):
            batches((torch.arange(512, dtype=torch.float64) + step / 200) / 512, torch.Generator())
        drawn = time.perf_counter()
        yield {
            "N": f"{n:,}",
            "weigh, s": round(weighed - start, 3),
            "solve, s": round(solved - weighed, 3),
            "draw 512, µs": round((drawn - solved) / 200 * 1e6, 1),
        }
