"""The densities: drawn as a function of (n, seed), on their known scale, with exact log densities where stated."""

import math

import pytest
import torch
from egflow_toy.densities import (
    DENSITIES,
    GAUSSIAN_COVARIANCE,
    GAUSSIAN_MEAN,
    MIXTURE_CENTRES,
    MIXTURE_STD,
    RING_RADII,
    density,
)

NAMES = list(DENSITIES)


@pytest.mark.parametrize("name", NAMES)
def test_points_are_a_function_of_n_and_seed(name: str) -> None:
    x = density(name).sample(1000, seed=3)
    assert x.shape == (1000, 2) and x.dtype == torch.float32 and bool(x.isfinite().all())
    assert torch.equal(x, density(name).sample(1000, seed=3))
    assert not torch.equal(x, density(name).sample(1000, seed=4))


@pytest.mark.parametrize("name", NAMES)
def test_drawing_leaves_the_global_generator_alone(name: str) -> None:
    torch.manual_seed(0)
    expected = torch.rand(1)
    torch.manual_seed(0)
    density(name).sample(10)
    assert torch.equal(torch.rand(1), expected)


@pytest.mark.parametrize(
    ("name", "second_moment"),
    [
        # E‖x‖², by hand from the definition of each set
        ("8gaussians", float(MIXTURE_CENTRES[0].square().sum()) + 2 * MIXTURE_STD**2),
        ("swissroll", ((1.5 * math.pi) ** 2 * (1 + 3 + 9) / 3 + 2) / 25),  # E a² of a uniform on 1.5π·[1, 3]
        ("rings", sum(r**2 for r in RING_RADII) / 4 + 2 * 0.08**2),
        # 4·(E of both coordinates' squares, noise .1 each) about (−1, −.2): arcs centred at (−1, −.2) and (1, .8)
        ("moons", (4 + 1.04 + 2 * 2 * 2 / math.pi * -0.2) / 2 + (4 + 1.64 - 2 * 2 * 2 / math.pi * 0.8) / 2 + 8 * 0.01),
        ("checkerboard", 2 * 16 / 3),  # uniform on half the squares of [−4, 4]²
        ("gaussian", float(GAUSSIAN_COVARIANCE.trace() + GAUSSIAN_MEAN.square().sum())),
    ],
)
def test_second_moment(name: str, second_moment: float) -> None:
    squared = density(name).sample(200_000, seed=0).double().square().sum(dim=1)
    stderr = float(squared.std()) / math.sqrt(len(squared))
    assert abs(float(squared.mean()) - second_moment) < 4 * stderr


def test_the_two_spirals_are_each_others_mirror_images() -> None:
    x = density("2spirals").sample(200_000, seed=0).double()
    assert x.mean(dim=0).abs().max() < 4 * x.std() / math.sqrt(len(x))
    assert abs(float(x.norm(dim=1).quantile(0.999)) - math.pi) < 0.35  # arms end at arc 3π, divided by 3


@pytest.mark.parametrize("name", ["8gaussians", "gaussian"])
def test_log_prob_integrates_to_one(name: str) -> None:
    side, step = torch.linspace(-9, 9, 901, dtype=torch.float64), 0.02
    log_prob = density(name).log_prob
    assert log_prob is not None
    total = log_prob(torch.cartesian_prod(side, side)).exp().sum() * step**2
    assert abs(float(total) - 1) < 1e-6


@pytest.mark.parametrize("name", ["8gaussians", "gaussian"])
def test_log_prob_is_that_of_the_points(name: str) -> None:
    """Share of points in each quadrant against the integral of exp(log_prob) there."""
    log_prob = density(name).log_prob
    assert log_prob is not None
    side = torch.arange(-9, 9, 0.02, dtype=torch.float64) + 0.01
    grid = torch.cartesian_prod(side, side)
    share = log_prob(grid).exp() * 0.02**2
    x = density(name).sample(200_000, seed=1)
    for sign in (1, -1):
        expected = float(share[(grid[:, 0] > 0.3) & (sign * grid[:, 1] > 0.3)].sum())
        found = float(((x[:, 0] > 0.3) & (sign * x[:, 1] > 0.3)).double().mean())
        assert abs(found - expected) < 4 * math.sqrt(expected * (1 - expected) / len(x)) + 1e-3


@pytest.mark.parametrize("name", [name for name in NAMES if name not in ("8gaussians", "gaussian")])
def test_no_log_prob_is_claimed_without_a_closed_form(name: str) -> None:
    assert density(name).log_prob is None


def test_an_unknown_name_is_met_with_the_nearest() -> None:
    with pytest.raises(ValueError, match=r"data=swisroll is not a toy density. Did you mean 'swissroll'\?"):
        density("swisroll")
