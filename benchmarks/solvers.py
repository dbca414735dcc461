"""Evaluations of the network that each solver needs for the same error, on flows that egflow fitted itself.

For 8gaussians, swissroll, checkerboard and scikit-learn's digits (64 numbers each) a base flow is fitted with default
settings. 1,000 starting points (which neither the fit nor the tuning saw) are then carried to t = 1 by

- `dopri5` (torchdiffeq) and `adams`, over tolerances rtol = atol from 1e-1 to 1e-6, four to the decade;
- `rk4` (torchdiffeq) with 2 to 30 equal steps, and `tuned` fitted for 8, 12, 16, 20 and 24 evaluations;
- dopri5 in float64 at 1e-9, which is the reference.

RMSE is the root mean square, over points and entries, of the distance to the reference, in units of preprocessed data.
Evaluations are the mean over points, rejected steps included, read off at three RMSE by interpolation of log RMSE along
the lower envelope of each solver's curve; a curve that starts below an RMSE counts with its first point, and a field is
empty where a curve does not reach. Goals: adams at most 0.5 of dopri5's evaluations, tuned at most 0.35. All curves are
in `solvers_curves.json`.
"""

from __future__ import annotations

import copy
import json
import math
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path

import torch
from egflow_images.digits import digits
from egflow_toy.densities import density
from torch import Tensor

import egflow
from egflow.flow import Flow
from egflow.solver import Solution, Solver, TorchDiffEq
from egflow.training import TrainingOptions

TITLE = "Evaluations at equal error, by solver (goals: adams/dopri5 ≤ 0.5, tuned/dopri5 ≤ 0.35)"
TARGETS = (1e-2, 1e-3, 2.5e-4)
POINTS = 1_000
STEPS = 5_000

Curve = list[tuple[float, float]]  # (RMSE, mean evaluations)


def run(out: Path, quick: bool = False) -> Iterator[dict[str, object]]:
    """Yield a row for each data set and RMSE; write the curves to `out`. quick: one set, barely trained."""
    curves: dict[str, dict[str, Curve]] = {}
    for name in ("8gaussians",) if quick else ("8gaussians", "swissroll", "checkerboard", "digits"):
        steps = 200 if quick else STEPS
        x = digits()[0].flatten(1) if name == "digits" else density(name).sample(200_000, seed=1)
        options = TrainingOptions(progress="quiet")
        flow = egflow.fit(x, steps=steps, batch_size=512, options=options, seed=0)
        curves[name] = measure(flow, (8,) if quick else (8, 12, 16, 20, 24), 200 if quick else POINTS)
        (out / "solvers_curves.json").write_text(json.dumps(curves, indent=1) + "\n")
        for target in TARGETS:
            cost = {solver: evaluations_at(curve, target) for solver, curve in curves[name].items()}
            row: dict[str, object] = {"data": name, "RMSE": target}
            row |= {solver: "" if math.isnan(n) else round(n, 1) for solver, n in cost.items()}
            for solver in ("adams", "tuned"):
                ratio = cost[solver] / cost["dopri5"]
                row[f"{solver} / dopri5"] = "" if math.isnan(ratio) else round(ratio, 2)
            yield row


def measure(flow: Flow, tuned_nfe: tuple[int, ...], points: int) -> dict[str, Curve]:
    """The curve of every solver on one flow."""
    z_0 = torch.randn(points, *flow.event_shape, generator=torch.Generator().manual_seed(12345))
    end = flow.path.t_end
    exact = copy.deepcopy(flow).to(dtype=torch.float64)
    reference = exact.integrate(z_0.double(), 0.0, end, solver="dopri5", rtol=1e-9, atol=1e-9).y

    def point(solution: Solution) -> tuple[float, float]:
        return rmse(solution.y, reference), float(solution.nfe.double().mean())

    def at(solver: str | Solver, tolerance: float = 1e-5) -> tuple[float, float]:
        return point(flow.integrate(z_0, 0.0, end, solver=solver, rtol=tolerance, atol=tolerance))

    tolerances = [10 ** (-1 - i / 4) for i in range(21)]
    curves = {solver: [at(solver, tolerance) for tolerance in tolerances] for solver in ("dopri5", "adams")}
    curves["tuned"] = []
    for nfe in tuned_nfe:
        flow.tune(nfe)
        curves["tuned"].append(at("tuned"))
    curves["rk4"] = [at(TorchDiffEq("rk4", steps=steps)) for steps in (*range(2, 11), 12, 14, 17, 20, 25, 30)]
    return curves


def rmse(y: Tensor, reference: Tensor) -> float:
    """Root mean square over points and entries."""
    return math.sqrt(float((y.double() - reference).square().mean()))


def evaluations_at(curve: Curve, target: float) -> float:
    """Evaluations at which the lower envelope of a curve reaches an RMSE; NaN where it does not.

    A curve that starts below the RMSE needs no more than its first point, which is what counts then.

    >>> evaluations_at([(1e-1, 10), (1e-3, 30)], 1e-2)
    20.0
    """
    envelope: Curve = []
    for error, nfe in sorted(curve, key=lambda p: p[1]):
        if not envelope or error < envelope[-1][0]:
            envelope.append((error, nfe))
    if envelope[0][0] <= target:
        return envelope[0][1]
    for (high, few), (low, many) in pairwise(envelope):
        if low <= target <= high:
            return few + (many - few) * math.log(high / target) / math.log(high / low)
    return math.nan
