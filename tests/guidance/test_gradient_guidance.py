"""Gradient guidance against closed forms: exact where it is exact, and its known bias where it is not."""

import pytest
import torch
from gaussians import GaussianVelocity, gaussian_base, points
from torch import Tensor

from egflow.energy import EnergyModel
from egflow.guidance import gradient_guidance, network_passes


class BlackBoxEnergy(EnergyModel):
    @property
    def differentiable(self) -> bool:
        return False

    def forward(self, x: Tensor, condition: Tensor | None = None) -> Tensor:
        return (x[:, 0] > 0).float()


MEAN, STD = torch.tensor([0.5, -1.0]), torch.tensor([0.8, 1.3])


@pytest.mark.parametrize("path", ["cond_ot", "cosine", "vp"])
def test_exact_for_a_linear_energy_of_a_gaussian(path: str) -> None:
    """q = N(mean − beta·std²·slope, std²), whose velocity is known."""
    slope, beta = torch.tensor([1.0, 0.5]), 1.5
    guided = gradient_guidance(gaussian_base(MEAN, STD, path), lambda x: x @ slope, beta)
    x, t = points(200, 2)
    exact = GaussianVelocity(path, MEAN - beta * STD**2 * slope, STD)(x, t)
    torch.testing.assert_close(guided.velocity(x, t), exact, rtol=2e-4, atol=2e-4)


def test_exact_in_units_of_data_with_preprocessing() -> None:
    """x = shift + scale·z: p = N(shift + scale·mean, (scale·std)²), and the linear energy is one of x."""
    slope, shift, scale = torch.tensor([1.0, 0.5]), torch.tensor([3.0, -1.0]), torch.tensor([2.0, 0.5])
    guided = gradient_guidance(gaussian_base(MEAN, STD, shift=shift, scale=scale), lambda x: x @ slope, 0.7)
    samples = guided.sample(10_000, solver="midpoint:30", seed=1)
    expected = shift + scale * MEAN - 0.7 * (scale * STD) ** 2 * slope
    # 4 standard errors of 10,000 samples, + .01 standard deviations for the 30 steps and the cut at t < .01
    assert ((samples.mean(0) - expected).abs() / (scale * STD) < 4 / 10_000**0.5 + 0.01).all()
    assert ((samples.std(0) / (scale * STD) - 1).abs() < 4 / 20_000**0.5 + 0.01).all()


def test_known_bias_on_a_quadratic() -> None:
    """For p = N(0, 1), E = x²/2: Δ∇log p_t is −beta·k·x_t, and it should be −beta·k·x_t / (1 + beta·V)."""
    beta, base = 2.0, gaussian_base(torch.zeros(1), torch.ones(1))
    guided = gradient_guidance(base, lambda x: 0.5 * x[:, 0].square(), beta)
    x, t = points(200, 1)
    a, s = t[:, None], 1 - t[:, None]
    factor = s.square() / a + s  # Δv per Δ∇log p_t on the straight path
    change = (guided.velocity(x, t) - base.velocity(x, t)) / factor
    k, variance = a.square() / (a.square() + s.square()).square(), s.square() / (a.square() + s.square())
    torch.testing.assert_close(change, -beta * k * x, rtol=1e-3, atol=1e-4)
    exact = GaussianVelocity("cond_ot", torch.zeros(1), torch.tensor([(1 + beta) ** -0.5]))(x, t)
    should = (exact - base.velocity(x, t)) / factor
    torch.testing.assert_close(change, should * (1 + beta * variance), rtol=2e-3, atol=1e-4)


def test_bias_reaches_the_samples() -> None:
    """dx/dt = c(t)·x with the biased field has a standard deviation by quadrature; it is not q's (1 + beta)^−½."""
    beta = 2.0
    guided = gradient_guidance(gaussian_base(torch.zeros(1), torch.ones(1)), lambda x: 0.5 * x[:, 0].square(), beta)
    t = torch.linspace(0, 1, 200_001, dtype=torch.float64)
    a, s = t, 1 - t
    total = a.square() + s.square()
    rate = (a - s) / total - beta * (s.square() + s * a) * a / total.square()
    expected = float(torch.trapezoid(rate, t).exp())
    measured = float(guided.sample(20_000, solver="midpoint:50", seed=0).std())
    assert measured == pytest.approx(expected, rel=4 / 40_000**0.5 + 0.01)  # 4 standard errors + 1 % of the solver
    assert abs(expected - (1 + beta) ** -0.5) > 0.1


def test_counts_two_passes() -> None:
    guided = gradient_guidance(gaussian_base(MEAN, STD), lambda x: x[:, 0], 1.0)
    solution = guided.solve(3, solver="euler:10")
    assert network_passes(guided, solution).tolist() == [20] * 3


def test_conditions_reach_the_base_and_the_energy() -> None:
    base = gaussian_base(torch.zeros(1), torch.ones(1))
    base.condition_shape, base.num_classes = (), 3

    class Sloped(EnergyModel):
        def forward(self, x: Tensor, condition: Tensor | None = None) -> Tensor:
            assert condition is not None
            return x[:, 0] * condition

    guided = gradient_guidance(base, Sloped(), 1.0)
    x, t = points(6, 1)
    c = torch.tensor([0, 1, 2, 0, 1, 2])
    exact = GaussianVelocity("cond_ot", torch.zeros(1), torch.ones(1))(x, t, torch.zeros(6))  # mean c − c
    torch.testing.assert_close(guided.velocity(x, t, c), exact, rtol=1e-4, atol=1e-4)


def test_black_boxes_are_refused() -> None:
    base = gaussian_base(MEAN, STD)
    with pytest.raises(TypeError, match=r"needs ∇E.*use egflow\.tilt"):
        gradient_guidance(base, BlackBoxEnergy(), 1.0)
    with pytest.raises(TypeError, match="does not depend on x"):
        gradient_guidance(base, lambda x: x[:, 0].detach(), 1.0).sample(2)
    with pytest.raises(ValueError, match="beta must be finite"):
        gradient_guidance(base, lambda x: x[:, 0], float("nan"))
    with pytest.raises(ValueError, match="Gaussian path"):
        gradient_guidance(object(), lambda x: x[:, 0], 1.0)  # type: ignore[arg-type]
