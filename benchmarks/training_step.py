"""The cost of egflow's training loop over a bare hand-written one of the same work.

Both train the same residual MLP, 4 hidden layers of 256, on 400,000 two-dimensional points with batches of 512, or the
same U-Net on 20,000 pictures (3, 16, 16) with batches of 64 in bfloat16: draw, straight path, regression, gradient
clipping at norm 1, fused Adam on a cosine schedule, exponential moving average. The loops take turns in blocks of
steps, in one process, and the ratio is that of the median block;
`ratio of pairs, quartiles`: of blocks that stood beside one another. Goal: at most 1.03, of the U-Net 1.05.

`checkpoint`: the time of one, with its fsync, as a share of the 1,000 steps between two by default. Goal: at most 2 %.
"""

from __future__ import annotations

import copy
import math
import statistics
import tempfile
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import torch
from egflow_images.shapes import shapes
from egflow_toy.densities import density
from torch import Tensor, nn

from egflow._rows import Rows
from egflow.coupling import independent
from egflow.network import MLP, UNet
from egflow.objective import cefm
from egflow.path import CondOT
from egflow.training import FlowMatching, Population, TrainingOptions, train
from egflow.weights import Resample

TITLE = "Training step against a bare loop (goal: ratio ≤ 1.03, of the U-Net 1.05)"


def run(out: Path, quick: bool = False) -> Iterator[dict[str, object]]:
    """A row for each network: milliseconds a step of both loops, and their ratio."""
    torch.manual_seed(0)
    points = density("swissroll").sample(400_000, seed=0)
    yield compared("MLP 4x256", MLP((2,), width=256, depth=4), points, 512, False, *((60, 7) if quick else (200, 15)))
    pictures = shapes(20_000)[0]
    yield compared("U-Net, 16x16", UNet(3, 16), pictures, 64, True, *((5, 3) if quick else (40, 11)))


def compared(
    name: str, network: nn.Module, x: Tensor, batch: int, autocast: bool, steps: int, blocks: int
) -> dict[str, object]:
    """The row of one network."""
    flat = torch.zeros(len(x), dtype=torch.float64)
    shift, scale = torch.zeros(x.shape[1:]), torch.ones(x.shape[1:])
    rows = Rows(x, torch.arange(len(x)), lambda part: ((part - shift) / scale).to(shift))  # as fit has them
    population = Population(rows, None, Resample().prepare(flat, flat))
    problem = FlowMatching(CondOT(), cefm, independent, "velocity", population, None)
    quiet = TrainingOptions(progress="quiet", autocast=autocast)
    ours, bare = [], []
    for block in range(-1, blocks):  # the first pair warms up
        pair = []
        for own in (True, False):
            copied = copy.deepcopy(network)
            start = time.perf_counter()
            if own:
                train(copied, problem, steps=steps, batch_size=batch, seed=block, options=quiet)
            else:
                bare_loop(copied, x, steps, batch, autocast)
            pair.append((time.perf_counter() - start) / steps * 1e3)
        if block >= 0:
            ours.append(pair[0])
            bare.append(pair[1])
    ratios = [a / b for a, b in zip(ours, bare, strict=True)]
    return {
        "network": name,
        "batch": batch,
        "threads": torch.get_num_threads(),
        "egflow ms": round(statistics.median(ours), 3),
        "bare ms": round(statistics.median(bare), 3),
        "ratio": round(statistics.median(ours) / statistics.median(bare), 3),
        "ratio of pairs, quartiles": " – ".join(f"{q:.3f}" for q in statistics.quantiles(ratios, n=4)[::2]),
        "checkpoint": f"{checkpoint_ms(network, problem, batch, quiet) / (10 * statistics.median(ours)):.2f} %",
    }


def checkpoint_ms(
    network: nn.Module, problem: FlowMatching, batch: int, quiet: TrainingOptions, steps: int = 21
) -> float:
    """Milliseconds a checkpoint: steps with one after each, less as many without; the least of three."""
    found = []
    for _ in range(3):
        took = []
        for saving in (True, False):
            with tempfile.TemporaryDirectory() as folder:
                options = replace(quiet, folder=Path(folder), checkpoint_every=1 if saving else steps)
                start = time.perf_counter()
                train(copy.deepcopy(network), problem, steps=steps, batch_size=batch, seed=0, options=options)
                took.append(time.perf_counter() - start)
        found.append((took[0] - took[1]) / (steps - 1) * 1e3)
    return min(found)


def bare_loop(network: nn.Module, x: Tensor, steps: int, batch: int, autocast: bool) -> None:
    """What one would write by hand."""
    parameters = list(network.parameters())
    average = [p.detach().clone() for p in parameters]
    optimiser = torch.optim.Adam(parameters, lr=1e-3, fused=True)
    for step in range(steps):
        x_1 = x[torch.randint(len(x), (batch,))]
        x_0, t = torch.randn_like(x_1), torch.rand(batch)
        each = t.reshape(batch, *(1,) * (x.ndim - 1))
        x_t = each * x_1 + (1 - each) * x_0
        with torch.autocast("cpu", torch.bfloat16, enabled=autocast):
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
