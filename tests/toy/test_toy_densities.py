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


def cells(name: str, step: float) -> tuple[torch.Tensor, torch.Tensor]:
    """Midpoints of a grid on [−8, 8]² and the mass of each of its cells: a sum that converges exponentially."""
    side = torch.arange(-8, 8, step, dtype=torch.float64) + step / 2
    log_prob = density(name).log_prob
    assert log_prob is not None
    grid = torch.cartesian_prod(side, side)
    return grid, log_prob(grid).exp() * step**2


# steps that divide ½, at most .63 of the narrowest normal of the set, where a midpoint sum errs by exp(−50) or less
STEPS = {"8gaussians": 0.125, "swissroll": 0.1, "rings": 0.05, "moons": 0.1, "2spirals": 0.05}
STEPS |= {"checkerboard": 0.25, "gaussian": 0.25}


@pytest.mark.parametrize("name", STEPS)
def test_log_prob_is_that_of_the_points(name: str) -> None:
    """It integrates to one, and counts in every cell of side ½ that expects 20 points are within 5 standard errors."""
    grid, mass = cells(name, STEPS[name])
    assert abs(float(mass.sum()) - 1) < 1e-6

    def cell(x: torch.Tensor) -> torch.Tensor:
        return ((x[:, 0] * 2).floor() * 32 + (x[:, 1] * 2).floor()).long() + 16 * 33

    expected = torch.zeros(32 * 32, dtype=torch.float64)
    expected.index_add_(0, cell(grid), mass)
    x = density(name).sample(100_000, seed=1)
    found = torch.bincount(cell(x.double()), minlength=32 * 32).double()
    expected *= len(x)
    seen = expected >= 20
    assert float(((found - expected).abs() / expected.sqrt())[seen].max()) < 5
    assert float(found[~seen].sum()) < 1.2 * float(expected[~seen].sum()) + 20


@pytest.mark.parametrize("name", ["swissroll", "moons", "2spirals", "rings"])
def test_log_prob_far_outside_the_data_is_finite(name: str) -> None:
    log_prob = density(name).log_prob
    assert log_prob is not None
    x = torch.tensor([[30.0, 0.0], [0.0, -60.0]])
    far = log_prob(x)
    assert bool(far.isfinite().all()) and float(far.max()) < -1_000 and float(far[1]) < float(far[0])


def test_outside_the_checkerboard_the_density_is_nil() -> None:
    log_prob = density("checkerboard").log_prob
    assert log_prob is not None
    x = torch.tensor([[0.5, 0.5], [0.5, -0.5], [4.5, 0.5], [0.5, -4.5]])
    assert log_prob(x).isfinite().tolist() == [True, False, False, False]


def test_no_log_prob_is_claimed_without_one() -> None:
    assert density("pinwheel").log_prob is None


def test_an_unknown_name_is_met_with_the_nearest() -> None:
    with pytest.raises(ValueError, match=r"data=swisroll is not a toy density. Did you mean 'swissroll'\?"):
        density("swisroll")
