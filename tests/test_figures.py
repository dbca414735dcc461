"""Figures the docs publish, at default settings; slow."""

import pytest
import torch
from egflow_toy.densities import density
from egflow_toy.energies import ClassicEnergy, Linear, gaussian_tilt
from egflow_toy.exact import swissroll_tilt

import egflow
from egflow.training import TrainingOptions

QUIET = TrainingOptions(progress="quiet")
pytestmark = pytest.mark.slow


def test_swissroll_at_beta_3_against_exact_draws() -> None:
    energy, x = ClassicEnergy("swissroll"), density("swissroll").sample(400_000, seed=0)
    base = egflow.fit(x, options=QUIET)
    guided = egflow.tilt(base, energy, 3.0, data=x, options=QUIET)
    exact = swissroll_tilt(400_000, 3.0, seed=1)
    made = egflow.report(guided.sample(100_000, seed=1), energy, 0.0, exact, reference="base")
    assert made.distance is not None and made.energy_ks is not None
    assert made.distance["value"] <= 1.3 * made.distance["floor"]
    assert made.energy_ks <= 0.02
    assert "within noise" in guided.report.verdict  # type: ignore[union-attr]


def test_achieved_beta_on_a_gaussian() -> None:
    energy, x = Linear(), density("gaussian").sample(400_000, seed=0)
    base = egflow.fit(x, options=QUIET)
    guided = egflow.tilt(base, energy, 1.0, data=x, options=QUIET)
    assert guided.report is not None and guided.report.tilt_r2 is not None
    assert guided.report.achieved_beta == pytest.approx(1.0, rel=0.03) and guided.report.tilt_r2 >= 0.99
    mean, covariance = gaussian_tilt(energy, 1.0)
    samples = guided.sample(100_000, seed=1).to(mean)
    # 4 standard errors of 100,000 samples, and 1 % for the training
    assert ((samples.mean(0) - mean).abs() / covariance.diagonal().sqrt() < 4 / 100_000**0.5 + 0.01).all()
    assert float((samples.T.cov() - covariance).norm() / covariance.norm()) < 0.03
    assert torch.isfinite(samples).all()
