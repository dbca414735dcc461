"""Monte-Carlo guidance against the exact guided velocity of Gaussians, and its convergence."""

import pytest
import torch
from gaussians import GaussianVelocity, gaussian_base, points

from egflow.guidance import monte_carlo_guidance, network_passes
from egflow.guidance._monte_carlo import PointsVelocity

MEAN, STD = torch.tensor([0.5, -1.0]), torch.tensor([0.8, 1.3])


def draws(n: int, seed: int = 0) -> torch.Tensor:
    return MEAN + STD * torch.randn(n, 2, generator=torch.Generator().manual_seed(seed))


@pytest.mark.parametrize("path", ["cond_ot", "cosine"])
def test_converges_to_the_exact_velocity(path: str) -> None:
    """E = ½‖x‖², beta 1: q is Gaussian. The error falls as M^−½, by 4 from M = 1,000 to 16,000 (2 is asked for)."""
    precision = STD**-2 + 1.0
    exact = GaussianVelocity(path, MEAN * STD**-2 / precision, precision**-0.5)
    base, generator = gaussian_base(MEAN, STD, path), torch.Generator().manual_seed(1)
    t = 0.1 + 0.5 * torch.rand(300, generator=generator)  # later, sigma is small and the points few
    noise = torch.randn(300, 2, generator=generator)
    x = base.path.alpha(t)[0][:, None] * draws(300, seed=2) + base.path.sigma(t)[0][:, None] * noise
    errors = []
    for n in (1_000, 16_000):
        guided = monte_carlo_guidance(base, lambda x: 0.5 * x.square().sum(1), 1.0, data=draws(n), n_points=n)
        errors.append(float((guided.velocity(x, t) - exact(x, t)).square().mean().sqrt()))
    assert errors[1] < errors[0] / 2 and errors[1] < 0.05


def test_samples_follow_the_target() -> None:
    precision = STD**-2 + 1.0
    data = draws(4_096)
    guided = monte_carlo_guidance(gaussian_base(MEAN, STD), lambda x: 0.5 * x.square().sum(1), 1.0, data=data)
    samples = guided.sample(2_000, solver="midpoint:20", seed=1)
    weight = torch.softmax(-0.5 * data.double().square().sum(1), 0)
    effective = float(1 / weight.square().sum())
    # 4 standard errors of the points' n_eff and of the samples, + .02 standard deviations of the grid
    allowed = 4 * (1 / effective + 1 / 2_000) ** 0.5 + 0.02
    assert ((samples.mean(0) - MEAN * STD**-2 / precision).abs() * precision.sqrt() < allowed).all()
    assert ((samples.std(0) * precision.sqrt() - 1).abs() < allowed).all()


def test_equals_the_sum_over_points() -> None:
    """By hand, in float64, from the definition; also where the weights underflow float32, and with forbidden points."""
    generator = torch.Generator().manual_seed(3)
    bank = torch.randn(50, 3, generator=generator)
    log_w = -200.0 * torch.rand(50, generator=generator)
    log_w[::7] = -torch.inf
    base = gaussian_base(torch.zeros(3), torch.ones(3))
    x, t = points(40, 3)
    got = PointsVelocity(base, bank, log_w).change_of_mean(x, t)
    squared = (x[:, None].double() - t[:, None, None].double() * bank.double()).square().sum(-1)
    log_p = -squared / (2 * (1 - t[:, None].double()).square())
    wanted = torch.softmax(log_p + log_w.double(), 1) @ bank.double() - torch.softmax(log_p, 1) @ bank.double()
    torch.testing.assert_close(got.double(), wanted, rtol=1e-3, atol=1e-3)


def test_beta_0_is_the_base_and_costs_its_passes() -> None:
    base = gaussian_base(MEAN, STD)
    guided = monte_carlo_guidance(base, lambda x: x[:, 0], 0.0, data=draws(200))
    x, t = points(20, 2)
    torch.testing.assert_close(guided.velocity(x, t), base.velocity(x, t))
    solution = guided.solve(3, solver="euler:10")
    assert network_passes(guided, solution).tolist() == [10] * 3


def test_refusals() -> None:
    base = gaussian_base(MEAN, STD)
    with pytest.raises(ValueError, match="event shape"):
        monte_carlo_guidance(base, lambda x: x[:, 0], 1.0, data=torch.randn(50, 3))
    with pytest.raises(ValueError, match="n_points"):
        monte_carlo_guidance(base, lambda x: x[:, 0], 1.0, data=draws(50), n_points=0)
    base.condition_shape, base.num_classes = (), 3
    with pytest.raises(ValueError, match="without conditions"):
        monte_carlo_guidance(base, lambda x: x[:, 0], 1.0, data=draws(50))
