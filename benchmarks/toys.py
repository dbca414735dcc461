"""Toy sets: egflow and the peers of `egflow.guidance`, how close they come to a known q, and what they cost.

For each set a base is fitted to N = 400,000 points at default settings, and q ∝ p·exp(−beta·E) is sampled by each
method from that base, with the set's own energy; moons and checkerboard at 3 only, for their energies saturate.
10,000 samples of each are judged against 100,000 exact draws of q: fresh draws of the known p, thinned by rejection (in
closed form for the swissroll), none of which was trained on.

Methods that train take 5,000 steps of 256 points, the published batch, from the same data. CEP and Monte-Carlo guidance
are sampled on a fixed grid of 25 steps (fourth-order Adams–Bashforth, 31 evaluations), the others by the default
solver. Samples of each are drawn into `docs/figures/toys_methods.png`.

- `distance / floor`: sliced W2 over that of two halves of the draws, 10,000 points a side. "exact draws" are 10,000
  more of them, what a perfect sampler shows.
- `energy bias`: generated − target mean of E, in standard deviations of E under p; `KS` that of the energies.
- `seconds to train`: of one processor, the base's fit not counted.
- `passes a sample`: passes of any network, a backward one counted as one more.
- `∇E`: whether the method asks for the energy's gradient. `n_eff`: of the training data: what there was to learn from.

Goals for egflow: with n_eff ≥ 10,000 distance ≤ 1.5 floors, bias within 3 standard errors + .01, KS ≤ .02; with 150 to
10,000 distance ≤ 2 floors and KS ≤ 1.5/√n_eff; with less, none is set. Cells are kept in `toys_cells/` while the suite
runs: stopped and started again, it goes on.
"""

from __future__ import annotations

import json
import math
import shutil
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from _toys_figure import methods_figure
from _toys_target import EFFECTIVE, QUIET, N, Target, exact_draws, train_tilt
from egflow_toy.densities import density
from safetensors.torch import load_file, save_file
from torch import Tensor

import egflow
from egflow import guidance
from egflow.energy import evaluate
from egflow.flow import Flow
from egflow.solver import Solution
from egflow.weights import log_weights, n_eff

TITLE = "Toy sets: egflow and its peers"
ALL = (3.0, 10.0, 20.0)
SETS = {
    "8gaussians": ALL,
    "swissroll": ALL,
    "rings": ALL,
    "2spirals": ALL,
    "moons": (3.0,),
    "checkerboard": (3.0,),
    "pinwheel": ALL,
}
GENERATED = 10_000
STEPS, BATCH = 5_000, 256
POINTS = 4_096
FAR = 1_000.0  # floors
DRAWS = 16
GRID = "explicit_adams:25"
FIGURE = Path(__file__).resolve().parents[1] / "docs" / "figures" / "toys_methods.png"

Samples = tuple[Tensor, float, float]  # points, network passes a sample, seconds to train


def run(out: Path, quick: bool = False) -> Iterator[dict[str, object]]:
    """Yield a row for each set, beta and method. quick: one set, one beta, barely trained."""
    sets = {"8gaussians": (3.0,)} if quick else SETS
    cells = out / "toys_cells"
    cells.mkdir(parents=True, exist_ok=True)
    rows = []
    for name, betas in sets.items():
        for beta in betas:
            for row in cell(cells, name, beta, quick):
                rows.append(row)
                yield row
    if not quick and out == Path(__file__).resolve().parent / "results":
        methods_figure(rows, FIGURE)
    shutil.rmtree(cells)


def cell(cells: Path, name: str, beta: float, quick: bool) -> Iterator[dict[str, object]]:
    """The rows of one set and beta; what was measured before is read."""
    bench, target = None, None
    for method, sample in METHODS.items():
        file = cells / f"{name}-{beta:g}-{method.replace(' ', '_')}.json"
        if not file.exists():
            bench = bench or Bench(cells, name, beta, quick)
            target = target or Target.of(name, beta, 5_000 if quick else EFFECTIVE)
            file.write_text(json.dumps({"set": name, "beta": beta, "method": method} | judge(bench, target, sample)))
        yield json.loads(file.read_text())


class Bench:
    """What all methods of a cell share: data, energy, the base, and the base's draws."""

    def __init__(self, cells: Path, name: str, beta: float, quick: bool) -> None:
        self.name, self.beta, self.quick = name, beta, quick
        self.steps, self.generated = (100, 2_000) if quick else (STEPS, GENERATED)
        self.x, self.energy = density(name).sample(N, seed=0), Target.of(name, beta, 1).energy
        self.energies = evaluate(self.energy, self.x)
        self.n_eff = n_eff(log_weights(self.energies, beta))
        self.file, saved = cells / f"{name}-pool.safetensors", cells / f"{name}-base"
        if not saved.exists():
            egflow.fit(self.x, steps=self.steps, options=QUIET).save(saved)
        self.base = Flow.load(saved)

    def pool(self) -> Solution:
        """16 draws of the base for each sample, the same ones for every beta."""
        if not self.file.exists():
            solution = self.base.solve(DRAWS * self.generated, seed=1)
            save_file({"y": solution.y, "nfe": solution.nfe, "rejected": solution.rejected}, self.file)
        return Solution(**load_file(self.file))


def judge(bench: Bench, target: Target, sample: Callable[[Bench], Samples | None]) -> dict[str, Any]:
    """The figures of one method."""
    made = sample(bench)
    row: dict[str, Any] = {"distance / floor": "", "energy bias": "", "KS": "", "seconds to train": ""}
    row |= {"passes a sample": "", "∇E": "yes" if sample is gradient else "no", "n_eff": round(bench.n_eff), "goal": ""}
    if made is None:
        return row | {"∇E": "yes: this E has none"}
    points, passes, seconds = made
    found = target.judge(points)
    # samples that ran away have a distance that says nothing but that
    row["distance / floor"] = round(found.ratio, 2) if found.ratio < FAR else "runs away"
    row["energy bias"] = round(found.bias, 4) if found.ratio < FAR else ""
    row["KS"], row["seconds to train"] = round(found.ks, 4), round(seconds, 1)
    row["passes a sample"] = round(passes, 1)
    if sample is tilted:
        row["goal"] = goal(bench, target, found.ratio, found.bias, found.ks)
    return row


def goal(bench: Bench, target: Target, ratio: float, bias: float, ks: float) -> str:
    """Met, missed and by what, or none set."""
    if bench.n_eff < 150:
        return "none set"
    rich = bench.n_eff >= 10_000
    missed = [] if ratio <= (1.5 if rich else 2.0) else ["distance"]
    missed += [] if ks <= (0.02 if rich else 1.5 / math.sqrt(bench.n_eff)) else ["KS"]
    missed += [] if not rich or abs(bias) <= target.allowed_bias(bench.generated, bench.n_eff) else ["bias"]
    return "missed: " + ", ".join(missed) if missed else "met"


def trained(make: Callable[[], Flow], bench: Bench, solver: str | None = None) -> Samples:
    """Samples of a flow that is trained, with the processor's seconds of its training."""
    wall, processor = time.monotonic(), time.process_time()
    flow = make()
    share = (time.process_time() - processor) / (time.monotonic() - wall)  # others may be using the machine
    return (*drawn(flow, bench, solver)[:2], flow.train_seconds * share)


def drawn(flow: guidance.Sampler, bench: Bench, solver: str | None = None) -> Samples:
    """Samples of a flow that needs no training."""
    solution = flow.solve(bench.generated, solver=solver, seed=1)
    return solution.y, float(guidance.network_passes(flow, solution).double().mean()), 0.0


def exact(bench: Bench) -> Samples:
    """What a perfect sampler shows."""
    return exact_draws(bench.name, bench.energy, bench.beta, bench.generated, seed=2), 0.0, 0.0


def tilted(bench: Bench, weights: str = "resample") -> Samples:
    """`egflow.tilt`, with its default weights."""
    b = bench
    return trained(lambda: train_tilt(b.base, b.x, b.energies, b.beta, weights, b.steps, BATCH), b)


def in_batch_softmax(bench: Bench) -> Samples:
    """The published form of the weights."""
    return tilted(bench, "softmax")


def cep(bench: Bench) -> Samples:
    """Contrastive energy prediction."""
    b = bench
    return trained(lambda: guidance.cep(b.base, b.energy, b.beta, data=b.x, steps=b.steps, batch_size=BATCH), b, GRID)


def gradient(bench: Bench) -> Samples | None:
    """Gradient guidance, where there is a gradient."""
    if not bench.energy.differentiable:
        return None
    return drawn(guidance.gradient_guidance(bench.base, bench.energy, bench.beta), bench)


def monte_carlo(bench: Bench) -> Samples:
    """Monte-Carlo guidance over 4,096 of the data points."""
    b = bench
    return drawn(guidance.monte_carlo_guidance(b.base, b.energy, b.beta, data=b.x, n_points=POINTS), b, GRID)


def best(bench: Bench, beta: float | None = None) -> Samples:
    """The lowest energy of 16 draws."""
    kept = guidance.best_of_n(bench.base, bench.energy, DRAWS, beta).choose(bench.pool(), None, seed=1)
    return kept.y, float(kept.nfe.double().mean()), 0.0


def resampled(bench: Bench) -> Samples:
    """One of 16 draws, by its weight."""
    return best(bench, bench.beta)


METHODS: dict[str, Callable[[Bench], Samples | None]] = {
    "exact draws": exact,
    "egflow": tilted,
    "in-batch softmax": in_batch_softmax,
    "CEP": cep,
    "gradient guidance": gradient,
    "Monte-Carlo guidance": monte_carlo,
    f"best of {DRAWS}": best,
    f"one of {DRAWS} by weight": resampled,
}
