"""The bias of the published in-batch softmax weights, and its absence where x_1 is drawn ∝ w (swissroll, beta 20).

`mean e` is E[Σ_i weight_i e(x_i)] / E[Σ_i weight_i] over batches of the training data, with e = −E: the mean that the
loss is minimised for, before any network is trained. `error` is its difference from the exact weighted mean
of the same data, with the standard error of the mean over batches. `trained` is the mean e of 20,000
samples of a network trained from scratch for 5,000 steps with those weights.

The data are those of seed 7, the first whose n_eff at this beta is 150 or more: with fewer, one outlier is the target.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import torch
from egflow_toy.densities import density
from egflow_toy.energies import ClassicEnergy

import egflow
from egflow.energy import evaluate
from egflow.training import TrainingOptions
from egflow.weights import log_weights, make_draw, n_eff, normalise

TITLE = "In-batch softmax beside resampling: swissroll, beta 20"
BETA = 20.0


def run(out: Path, quick: bool = False) -> Iterator[dict[str, object]]:
    """Yield a row for each form of the weights and batch size."""
    x, energy = density("swissroll").sample(400_000, seed=7), ClassicEnergy("swissroll")
    e = -evaluate(energy, x).values
    log_w = log_weights(evaluate(energy, x), BETA)
    exact = float(normalise(log_w) @ e)
    generator = torch.Generator().manual_seed(1)
    for weights in ("softmax", "resample"):
        batches = make_draw(weights).prepare(log_w, torch.zeros_like(log_w))
        for batch in (16, 256, 2_048):
            means = []
            for _ in range(200 if quick else max(2_000, 400_000 // batch)):
                # independent positions, as the paper draws its batches
                drawn = batches(torch.rand(batch, generator=generator, dtype=torch.float64), generator)
                share = torch.full((batch,), 1.0, dtype=torch.float64) if drawn.weight is None else drawn.weight
                means.append(share @ e[drawn.index] / batch)
            mean = torch.stack(means)
            row: dict[str, object] = {
                "weights": weights,
                "batch": batch,
                "n_eff of the data": round(n_eff(log_w)),
                "exact": round(exact, 4),
                "mean e": round(float(mean.mean()), 4),
                "error": round(float(mean.mean()) - exact, 4),
                "standard error": round(float(mean.std()) / len(mean) ** 0.5, 4),
            }
            if batch == 256:
                guided = egflow.tilt(
                    None,
                    energy,
                    BETA,
                    data=x,
                    weights=weights,
                    batch_size=batch,
                    steps=100 if quick else 5_000,
                    options=TrainingOptions(progress="quiet"),
                )
                row["trained"] = round(float(-energy(guided.sample(20_000, seed=1)).double().mean()), 4)
            yield row
