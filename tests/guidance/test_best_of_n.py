"""Best-of-N against the distribution that it is said to have, by order statistics and by enumeration."""

from math import comb, exp

import pytest
import torch
from torch import Tensor

from egflow.energy import EnergyModel
from egflow.flow import Flow
from egflow.guidance import best_of_n, network_passes

BASE = Flow(lambda z, t, condition, beta=None: torch.zeros_like(z), (1,))  # type: ignore[arg-type]  # N(0, 1) itself
SAMPLES = 20_000
KS_LIMIT = 1.95 / SAMPLES**0.5  # the .999 quantile of Kolmogorov's distribution


def ks(values: Tensor, cdf: Tensor) -> float:
    """Kolmogorov–Smirnov distance of sorted values whose distribution function there is cdf."""
    steps = torch.arange(len(values) + 1, dtype=torch.float64) / len(values)
    return float(torch.maximum((cdf - steps[:-1]).abs(), (steps[1:] - cdf).abs()).max())


@pytest.mark.parametrize("n", [1, 4, 16])
def test_lowest_energy_is_the_first_order_statistic(n: int) -> None:
    """E = x, p = N(0, 1): P(X ≤ x) = 1 − (1 − Φ(x))^N; that of N + 1 is told apart."""
    sampler = best_of_n(BASE, lambda x: x[:, 0], n)
    x = sampler.sample(SAMPLES, solver="euler:1", seed=n)[:, 0].double().sort().values
    above = torch.special.ndtr(-x)
    assert ks(x, 1 - above**n) < KS_LIMIT < ks(x, 1 - above ** (n + 1))


@pytest.mark.parametrize("beta", [0.0, 2.0, 50.0])
def test_resampled_form_by_enumeration(beta: float) -> None:
    """Two equal levels, E = 0 and 1. With k of N low: P(low | k) = k / (k + (N − k) exp(−beta)); not q's."""
    n, sampler = 4, best_of_n(BASE, lambda x: (x[:, 0] > 0).float(), 4, beta)
    low = float((sampler.sample(SAMPLES, solver="euler:1", seed=3) <= 0).double().mean())
    expected = sum(comb(n, k) * 0.5**n * k / (k + (n - k) * exp(-beta)) for k in range(1, n + 1))
    assert low == pytest.approx(expected, abs=4 * (0.25 / SAMPLES) ** 0.5)  # 4 standard errors
    if beta:
        assert abs(expected - 1 / (1 + exp(-beta))) > 4 * (0.25 / SAMPLES) ** 0.5


def test_resampled_form_tends_to_q() -> None:
    """E = x, beta 1: q = N(−1, 1); of the order of 1/N off, and less with more."""
    errors = []
    for n in (4, 64):
        x = best_of_n(BASE, lambda x: x[:, 0], n, 1.0).sample(SAMPLES, solver="euler:1", seed=n)
        errors.append(abs(float(x.mean()) + 1))
    assert errors[0] > 0.1 and errors[1] < 0.05


class Conditional(EnergyModel):
    def forward(self, x: Tensor, condition: Tensor | None = None) -> Tensor:
        assert condition is not None
        return x[:, 0] * condition


def test_conditions_and_costs() -> None:
    base = Flow(BASE.network, (1,))
    base.condition_shape, base.num_classes = (), 3
    sampler = best_of_n(base, Conditional(), 8)
    solution = sampler.solve(3_000, torch.arange(3).repeat(1_000), solver="euler:2")
    means = solution.y.reshape(1_000, 3).mean(0)
    # class 0 has a constant energy, and its first draw is kept; E|first of 8 normals| is 1.42 (order statistics)
    assert abs(float(means[0])) < 0.15 and means[1:].tolist() == pytest.approx([-1.42, -1.42], abs=0.1)
    assert network_passes(sampler, solution).tolist() == [16] * 3_000


def test_chunks_do_not_matter_for_size_and_seed() -> None:
    sampler = best_of_n(BASE, lambda x: x[:, 0], 40_000)  # two rows do not fit one chunk
    x = sampler.sample(3, solver="euler:1", seed=5)
    assert x.shape == (3, 1) and len(x.unique()) == 3
    assert torch.equal(x, sampler.sample(3, solver="euler:1", seed=5))


class HalfForbidden(EnergyModel):
    def forward(self, x: Tensor, condition: Tensor | None = None) -> Tensor:
        return torch.where(x[:, 0] > 0, torch.inf, 0.0)


@pytest.mark.parametrize("beta", [None, 3.0])
def test_forbidden_draws_lose(beta: float | None) -> None:
    """Forbidden is chosen only where all N are: with probability 2^−N."""
    x = best_of_n(BASE, HalfForbidden(), 4, beta).sample(SAMPLES, solver="euler:1")
    assert float((x > 0).double().mean()) == pytest.approx(2**-4, abs=4 * (2**-4 / SAMPLES) ** 0.5)


def test_refusals() -> None:
    with pytest.raises(ValueError, match="n must be a whole number"):
        best_of_n(BASE, lambda x: x[:, 0], 0)
    with pytest.raises(ValueError, match="beta must be finite"):
        best_of_n(BASE, lambda x: x[:, 0], 2, float("inf"))
