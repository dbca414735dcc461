"""The exact tilted swissroll against weighted draws of p, and the known mean at beta 20."""

import pytest
import torch
from egflow_toy.densities import density
from egflow_toy.energies import ClassicEnergy
from egflow_toy.exact import swissroll_figures, swissroll_tilt

from egflow.energy import evaluate
from egflow.weights import log_weights, log_z, n_eff, normalise


@pytest.mark.parametrize("beta", [0.0, 3.0, -4.0])
def test_against_weighted_draws(beta: float) -> None:
    energy = ClassicEnergy("swissroll")
    x, y = density("swissroll").sample(200_000, seed=3), swissroll_tilt(200_000, beta, seed=4)
    values = evaluate(energy, x)
    log_w = log_weights(values, beta)
    share = normalise(log_w)
    error = 4 * (1 / n_eff(log_w) + 1 / 200_000) ** 0.5
    for statistic in (energy, lambda x: x[:, 0], lambda x: x[:, 1], lambda x: x[:, 0].square()):
        a, b = statistic(x).double(), statistic(y).double()
        assert float(share @ a) == pytest.approx(float(b.mean()), abs=error * float(b.std()))


def test_the_mean_at_beta_20_is_the_published_one() -> None:
    e = -ClassicEnergy("swissroll")(swissroll_tilt(400_000, 20.0, seed=0)).double()
    assert float(e.mean()) == pytest.approx(1.2623, abs=4 * float(e.std()) / 400_000**0.5 + 5e-5)


@pytest.mark.parametrize("beta", [-4.0, 0.0, 3.0])
def test_figures_against_weighted_draws(beta: float) -> None:
    values = evaluate(ClassicEnergy("swissroll"), density("swissroll").sample(400_000, seed=5))
    log_w = log_weights(values, beta)
    mean, log_norm = swissroll_figures(beta)
    error = 4 / n_eff(log_w) ** 0.5
    assert float(normalise(log_w) @ values.values) == pytest.approx(mean, abs=error * float(values.values.std()))
    found, stderr = log_z(log_w)
    assert found == pytest.approx(log_norm, abs=4 * stderr + 1e-6)


def test_figures_at_beta_20() -> None:
    """The published mean, and log Z as the integral of the mean from 0 to 20 (d log Z / d beta = −E_q[E])."""
    mean, log_norm = swissroll_figures(20.0)
    assert mean == pytest.approx(-1.2623, abs=5e-5)
    steps = torch.linspace(0, 20, 2_001, dtype=torch.float64)
    means = torch.tensor([swissroll_figures(float(beta))[0] for beta in steps[::10]], dtype=torch.float64)
    assert log_norm == pytest.approx(float(torch.trapezoid(-means, steps[::10])), abs=1e-3)


def test_a_beta_without_normalisation_is_refused() -> None:
    with pytest.raises(ValueError, match=r"112\.5"):
        swissroll_tilt(10, 120.0)
