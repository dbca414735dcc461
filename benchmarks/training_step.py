"""The cost of egflow's training loop over a bare hand-written one of the same work.

Both train the same residual MLP, 4 hidden layers of 256, on 400,000 two-dimensional points with batches of 512: draw,
straight path, regression, gradient clipping at norm 1, fused Adam on a cosine schedule, exponential moving average. The
loops take turns in blocks of steps, in one process, and the ratio is that of the median block. Goal: at most 1.03.
"""

from __future__ import annotations

import copy
import math
import statistics
import time
from pathlib import Path

import torch
from egflow_toy.densities import density
from torch import Tensor, nn

from egflow.coupling import independent
from egflow.network import MLP
from egflow.objective import cefm
from egflow.path import CondOT
from egflow.training import FlowMatching, Population, TrainingOptions, train
from egflow.weights import Resample

TITLE = "Training step against a bare loop (goal: ratio ≤ 1.03)"
COMMAND = "python -m egflow.benchmark suite=training_step"
BATCH = 512


def run(out: Path, quick: bool = False) -> list[dict[str, object]]:
    """One row: milliseconds a step of both, and their ratio."""
    steps, blocks = (60, 7) if quick else (200, 15)
    x = density("swissroll").sample(400_000, seed=0)
    torch.manual_seed(0)
    network = MLP((2,), width=256, depth=4)
    flat = torch.zeros(len(x), dtype=torch.float64)
    problem = FlowMatching(
        CondOT(), cefm, independent, "velocity", Population(x, None, Resample().prepare(flat, flat)), None
    )
    quiet = TrainingOptions(progress="quiet")
    ours, bare = [], []
    for block in range(-1, blocks):  # the first pair warms up
        pair = []
        for own in (True, False):
            copied = copy.deepcopy(network)
            start = time.perf_counter()
            if own:
                train(copied, problem, steps=steps, batch_size=BATCH, seed=block, options=quiet)
            else:
                bare_loop(copied, x, steps)
            pair.append((time.perf_counter() - start) / steps * 1e3)
        if block >= 0:
            ours.append(pair[0])
            bare.append(pair[1])
    ratios = [a / b for a, b in zip(ours, bare, strict=True)]
    return [{
        "network": "MLP 4x256",
        "batch": BATCH,
        "threads": torch.get_num_threads(),
        "egflow ms": round(statistics.median(ours), 3),
        "bare ms": round(statistics.median(bare), 3),
        "ratio": round(statistics.median(ours) / statistics.median(bare), 3),
        "ratio of pairs, quartiles": " – ".join(f"{q:.3f}" for q in statistics.quantiles(ratios, n=4)[::2]),
    }]  # fmt: skip


def bare_loop(network: nn.Module, x: Tensor, steps: int) -> None:
    """What one would write by hand."""
    parameters = list(network.parameters())
    average = [p.detach().clone() for p in parameters]
    optimiser = torch.optim.Adam(parameters, lr=1e-3, fused=True)
    for step in range(steps):
        x_1 = x[torch.randint(len(x), (BATCH,))]
        x_0, t = torch.randn_like(x_1), torch.rand(BATCH)
        x_t = t[:, None] * x_1 + (1 - t[:, None]) * x_0
        loss = (network(x_t, t) - (x_1 - x_0)).square().mean()
        optimiser.param_groups[0]["lr"] = 0.5e-3 * (1 + math.cos(math.pi * step / steps))
        optimiser.zero_grad(set_to_none=True)
        loss.backward()
        norm = nn.utils.clip_grad_norm_(parameters, 1.0)
        if not math.isfinite(norm):
            raise RuntimeError("loss is not finite")
        optimiser.step()
        with torch.no_grad():
            for kept, new in zip(average, parameters, strict=True):
                kept.lerp_(new, 1e-3)
