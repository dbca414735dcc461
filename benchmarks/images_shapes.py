"""Images: tilts of shapes whose exact distribution is known, beside gradient guidance and best-of-N.

One base of 16x16 pictures of discs (50,000, 8,000 steps of 64), and for each energy a tilt of 2,000 steps of 64 from
it, one thread, bfloat16. The goal is .05 in the four total variations.

- `hue`, `radius`, `x`, `count`: total variation of each factor, read from 5,000 generated pictures (1,000 of the
  peers), against the data weighted by exp(−beta·E), in 12 bins; `floor`: the largest that so many exact draws show.
- `KS`: of the energy, against the weighted data.
- `gradient guidance` asks for a gradient, which counting and measuring discs do not have: colour alone.
- `best of 4`: the lowest of 4 draws of the base, whatever beta is.
- `seconds`: CPU, for 1,000 pictures, adams at 1e-3; `training`: CPU minutes, for each energy.
"""

from __future__ import annotations

import json
import shutil
import time
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import torch
from egflow_images.energies import Colour, Factor
from egflow_images.metrics import factor_metrics
from egflow_images.shapes import FACTORS, shapes
from torch import Tensor

import egflow
from egflow import guidance
from egflow._account import ReportOptions
from egflow._files import write_text
from egflow.energy import EnergyModel, evaluate
from egflow.flow import Flow
from egflow.report import weighted_ks
from egflow.training import TrainingOptions
from egflow.weights import log_weights, n_eff, normalise

TITLE = "Images: shapes under energies of their factors"
N, STEPS, BATCH, TILT_STEPS = 50_000, 8_000, 64, 2_000
MADE, PEERS = 5_000, 1_000
TOLERANCE = 1e-3
ENERGIES: dict[str, tuple[EnergyModel, float]] = {
    "none": (Factor("hue", 0.0), 0.0),
    "colour(target='red')": (Colour("red"), 5.0),
    "hue(target=0)": (Factor("hue", 0.0), 8.0),
    "radius(target=2.7)": (Factor("radius", 2.7), 4.0),
    "x(target=4)": (Factor("x", 4.0), 0.5),
    "count(target=3)": (Factor("count", 3.0), 1.0),
}


def run(out: Path, quick: bool = False) -> Iterator[dict[str, object]]:
    """Yield a row for each energy and method. quick: a few steps, few pictures."""
    folder = out / "images_shapes_cells"
    folder.mkdir(parents=True, exist_ok=True)
    torch.set_num_threads(1)
    part = 100 if quick else 1
    x = shapes(N // (10 if quick else 1))[0]
    base = fitted(x, folder, STEPS // part)
    for name, (energy, beta) in ENERGIES.items():
        file = folder / f"{name.partition('(')[0]}.json"
        if not file.exists():
            write_text(file, json.dumps(rows_of(base, name, energy, beta, x, folder, part), indent=1) + "\n")
        yield from json.loads(file.read_text())
    shutil.rmtree(folder)


def fitted(x: Tensor, folder: Path, steps: int) -> Flow:
    """The base, from its folder where it was made before."""
    if not (folder / "base" / "model.json").exists():
        started = time.process_time()
        options = TrainingOptions(autocast=True, folder=folder, stage="base", resume=True, progress="plain")
        base = egflow.fit(x, steps=steps, batch_size=BATCH, options=options)
        print(f"base: {(time.process_time() - started) / 60:.1f} CPU minutes")
        base.save(folder / "base")
    return Flow.load(folder / "base")


def rows_of(
    base: Flow, name: str, energy: EnergyModel, beta: float, x: Tensor, folder: Path, part: int
) -> list[dict[str, Any]]:
    """The rows of one energy."""
    values = evaluate(energy, x)
    log_w = log_weights(values, beta)
    flow, minutes = base, 0.0
    if beta:
        stage = "tilt-" + name.partition("(")[0]
        options = TrainingOptions(autocast=True, folder=folder, stage=stage, resume=True, progress="plain")
        started = time.process_time()
        reporting = ReportOptions(n=100, has_density=False, rtol=TOLERANCE, atol=TOLERANCE)
        flow = egflow.tilt(
            base,
            energy,
            beta,
            data=x,
            steps=TILT_STEPS // part,
            batch_size=BATCH,
            options=options,
            reporting=reporting,
            energies=[values],
        )
        minutes = (time.process_time() - started) / 60
    found: list[tuple[str, Any, int]] = [("egflow" if beta else "base", flow, MADE // part)]
    if isinstance(energy, Colour):
        found.append(("gradient guidance", guidance.gradient_guidance(base, energy, beta), PEERS // part))
    if beta:
        found.append(("best of 4", guidance.best_of_n(base, energy, 4), PEERS // part))
    rows = []
    for method, sampler, n in found:
        started = time.process_time()
        made = sampler.sample(n, rtol=TOLERANCE, atol=TOLERANCE, seed=1)
        seconds = time.process_time() - started
        known: Any = SimpleNamespace(data=x, samples=made, log_w=log_w)
        metrics = factor_metrics(known)
        ks = weighted_ks(values.values, evaluate(energy, made).values, normalise(log_w))
        rows.append({
            "energy": name,
            "beta": beta,
            "n_eff": round(n_eff(log_w)),
            "method": method,
            **{factor: metrics[f"{factor}_tv"] for factor in FACTORS},
            "floor": max(metrics[f"{factor}_tv_floor"] for factor in FACTORS),
            "KS": round(ks, 4) if beta else None,
            "seconds": round(seconds * 1_000 / n, 1),
            "training": round(minutes, 1) if method == "egflow" else None,
        })  # fmt: skip
        print(rows[-1], flush=True)
    return rows
