"""The beta that was achieved against the beta asked for: regression of log q − log base on −E at held-out points.

A base is fitted to N = 400,000 points and tilted, at default settings. Gaussians have a closed form: `mean error` and
`covariance error` are those of 100,000 samples against the exact tilted Gaussian, the mean's in units of its standard
deviations, the covariance's relative, in Frobenius norm. Goal: achieved beta within 3 % and R² ≥ .99.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from pathlib import Path

from egflow_toy.densities import density
from egflow_toy.energies import ClassicEnergy, Linear, Quadratic, gaussian_tilt

import egflow
from egflow.training import TrainingOptions

TITLE = "Achieved beta (goals: within 3 % of asked, R² ≥ .99)"
PRESETS = {"linear": Linear, "quadratic": Quadratic, "8gaussians": partial(ClassicEnergy, "8gaussians")}
CASES = (("gaussian", "linear", 1.0), ("gaussian", "quadratic", 1.0), ("8gaussians", "8gaussians", 3.0))


def run(out: Path, quick: bool = False) -> Iterator[dict[str, object]]:
    """Yield a row for each case."""
    quiet, steps = TrainingOptions(progress="quiet"), 100 if quick else 5_000
    for name, preset, beta in CASES:
        x, energy = density(name).sample(400_000, seed=0), PRESETS[preset]()
        base = egflow.fit(x, steps=steps, options=quiet)
        guided = egflow.tilt(base, energy, beta, data=x, steps=steps, options=quiet)
        report = guided.report
        assert report is not None and report.achieved_beta is not None and report.tilt_r2 is not None
        row: dict[str, object] = {
            "set": name,
            "energy": preset,
            "beta": beta,
            "achieved": round(report.achieved_beta, 4),
            "off by": f"{100 * (report.achieved_beta / beta - 1):+.1f} %",
            "R²": round(report.tilt_r2, 4),
        }
        if isinstance(energy, Linear | Quadratic):
            mean, covariance = gaussian_tilt(energy, beta)
            samples = guided.sample(100_000, seed=1).to(mean)
            miss = (samples.mean(0) - mean) / covariance.diagonal().sqrt()
            row["mean error"] = round(float(miss.abs().max()), 4)
            row["covariance error"] = round(float((samples.T.cov() - covariance).norm() / covariance.norm()), 4)
        reached = abs(report.achieved_beta / beta - 1) <= 0.03 and report.tilt_r2 >= 0.99
        yield row | {"goal": "met" if reached else "missed"}
