"""What correction at sampling gains, and what it cannot: distances before and after, to two targets.

On three toy sets a base is fitted to N = 400,000 points (3,000 steps) and tilted at beta 3 and 10, once with 300 steps
and once with 3,000. 20,000 samples of each tilt are weighted by base·exp(−beta·E)/q, and 5,000 resampled from them.

- `n_eff / m`: the share of samples that stays effective: 1 where q is the base's tilt.
- `base's`: sliced W2 over its floor (as in `report.json`, n = 5,000) to fresh draws of the base, weighted by
  exp(−beta·E), of which 10,000 are effective (`points`). This is what the correction aims at. `perfect` is what draws
  of the target itself would show. Before: the mean of four lots of 5,000; after: of four resamplings of 5,000.
- `data's`: the same to fresh draws of the known p, weighted (for the swissroll: exact draws of q). What is left there
  after the correction is the base's error, which no weights of the base repair.
- `seconds`: of the weights (two likelihoods), for 20,000 samples.

Cells are kept in `correction_cells/` while the suite runs: stopped and started again, it goes on.
"""

from __future__ import annotations

import json
import shutil
import statistics
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import torch
from egflow_toy.densities import density
from egflow_toy.domain import Toy
from egflow_toy.exact import swissroll_tilt
from torch import Tensor

import egflow
from egflow.energy import EnergyModel, EnergyValues, evaluate
from egflow.flow import Flow
from egflow.training import TrainingOptions
from egflow.weights import log_weights, n_eff, resample

TITLE = "Correction at sampling: distance / floor to the base's target and to the data's, before and after"
SETS = ("8gaussians", "swissroll", "rings")
BETAS = (3.0, 10.0)
STEPS = (300, 3_000)
N = 400_000
MOST = 800_000  # draws of the base for a reference
QUIET = TrainingOptions(progress="quiet")


def run(out: Path, quick: bool = False) -> Iterator[dict[str, object]]:
    """Yield a row for each set, beta and number of steps. quick: one cell, barely trained."""
    cells = out / "correction_cells"
    cells.mkdir(parents=True, exist_ok=True)
    scale = 50 if quick else 1
    for name in SETS[:1] if quick else SETS:
        energy, base = Toy().energies[name](), None
        for beta in BETAS[:1] if quick else BETAS:
            rows = [cells / f"{name}-{beta:g}-{steps}.json" for steps in STEPS]
            if not all(row.exists() for row in rows):
                x = density(name).sample(N // scale, seed=0)
                base = _base(x, cells / f"{name}-base", 3_000 // scale) if base is None else base
                targets = {
                    "base's": reference(_base_draw(base), energy, beta, 10_000 // scale),
                    "data's": _data_reference(name, energy, beta, 10_000 // scale),
                }
                for steps, row in zip(STEPS, rows, strict=True):
                    guided = egflow.tilt(base, energy, beta, data=x, steps=steps // scale, options=QUIET)
                    found = measure(guided, base, energy, beta, targets, 5_000 // scale)
                    row.write_text(json.dumps({"set": name, "beta": beta, "steps": steps // scale} | found))
            yield from (json.loads(row.read_text()) for row in rows)
    shutil.rmtree(cells)


Reference = tuple[Tensor, EnergyValues, float]
"""Points, their energies, and the beta that is left to weight them with."""


def measure(
    guided: Flow, base: Flow, energy: EnergyModel, beta: float, targets: dict[str, Reference], n: int
) -> dict[str, object]:
    """The figures of one tilt: four lots of n samples before, and four times n resampled of all of them after."""
    samples = guided.sample(4 * n, seed=1)
    start = time.perf_counter()
    log_w, values = egflow.correction_log_weights(samples, guided, base, energy, beta)
    seconds = time.perf_counter() - start
    order = values.values.argsort()  # as `egflow.correct` does
    after = [samples[order[resample(log_w[order], (torch.arange(n) + (k + 0.5) / 4) / n)]] for k in range(4)]
    row: dict[str, object] = {"n_eff / m": round(n_eff(log_w) / len(log_w), 3)}
    for whose, (points, energies, left) in targets.items():
        for moment, lots in (("before", samples.split(n)), ("after", after)):
            blocks = [
                egflow.report(made, energy, left, points, energies=energies, reference="base").distance for made in lots
            ]
            ratios = [block["value"] / block["floor"] for block in blocks if block is not None]
            row[f"{whose}: {moment}"] = round(statistics.mean(ratios), 2) if ratios else None
            first = blocks[0]  # too few effective points have no distance
            row[f"{whose}: perfect"] = None if first is None else round(first["expected"] / first["floor"], 2)
        row[f"{whose}: points"] = round(n_eff(log_weights(energies, left)))
    return row | {"seconds": round(seconds, 1)}


def reference(draw: Callable[[int], Tensor], energy: EnergyModel, beta: float, effective: int) -> Reference:
    """Fresh draws, doubled until so many of them stay effective, or there are 800,000."""
    n = 4 * effective
    while True:
        points = draw(n)
        energies = evaluate(energy, points)
        if n >= MOST or n_eff(log_weights(energies, beta)) >= effective:
            return points, energies, beta
        n = min(2 * n, MOST)


def _base(x: Tensor, folder: Path, steps: int) -> Flow:
    if not folder.exists():
        egflow.fit(x, steps=steps, options=QUIET).save(folder)
    return Flow.load(folder)


def _base_draw(base: Flow) -> Callable[[int], Tensor]:
    return lambda n: base.sample(n, rtol=1e-4, atol=1e-4, seed=2)


def _data_reference(name: str, energy: EnergyModel, beta: float, effective: int) -> Reference:
    if name == "swissroll":
        points = swissroll_tilt(2 * effective, beta, seed=1)
        return points, evaluate(energy, points), 0.0
    return reference(lambda n: density(name).sample(n, seed=1), energy, beta, effective)
