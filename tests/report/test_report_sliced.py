"""Distances against closed forms and against brute force on a merged grid."""

import math

import numpy as np
import pytest
import torch
from scipy.optimize import linear_sum_assignment

from egflow.report import directions, sliced_w2


def brute_force(x, wx, y, wy):
    """W2² in 1-D by the integral of squared quantile differences over the merged grid of cumulated weights."""
    ox, oy = np.argsort(x), np.argsort(y)
    cx, cy = np.cumsum(wx[ox]) / wx.sum(), np.cumsum(wy[oy]) / wy.sum()
    grid = np.unique(np.concatenate(([0.0], cx, cy, [1.0])).clip(0, 1))
    middle = 0.5 * (grid[1:] + grid[:-1])
    a = x[ox][np.searchsorted(cx, middle).clip(max=len(x) - 1)]
    b = y[oy][np.searchsorted(cy, middle).clip(max=len(y) - 1)]
    return float(np.sum(np.diff(grid) * (a - b) ** 2))


@pytest.mark.parametrize("seed", range(5))
def test_weighted_quantiles_are_exact_in_one_dimension(seed):
    rng = np.random.default_rng(seed)
    n, m = rng.integers(1, 40, size=2)
    x, y = rng.normal(size=n), rng.normal(1, 2, size=m).round(1)  # with ties
    wx, wy = rng.exponential(size=n), rng.exponential(size=m) * (rng.random(m) < 0.7)
    wy[0] = 1.0
    got = sliced_w2(*(torch.from_numpy(v)[:, None] for v in (x, y)), torch.from_numpy(wx), torch.from_numpy(wy))
    assert got**2 == pytest.approx(brute_force(x, wx, y, wy), rel=1e-9, abs=1e-12)


def test_equal_weights_are_the_best_assignment():
    generator = torch.Generator().manual_seed(0)
    x, y = torch.randn(2, 30, 3, generator=generator, dtype=torch.float64)
    squared = []
    for theta in directions(3):
        cost = ((x @ theta)[:, None] - (y @ theta)[None]).square().numpy()
        squared.append(cost[linear_sum_assignment(cost)].mean())
    assert sliced_w2(x, y) == pytest.approx(math.sqrt(np.mean(squared)), rel=1e-9)


@pytest.mark.parametrize("dim", [1, 2, 3, 64, 200])
def test_a_shift_has_a_closed_form(dim):
    generator = torch.Generator().manual_seed(dim)
    x, shift = torch.randn(50, dim, generator=generator), torch.randn(dim, generator=generator)
    theta = directions(dim)
    assert torch.allclose(theta.norm(dim=1), torch.ones(len(theta), dtype=torch.float64))
    expected = float((theta @ shift.double()).square().mean().sqrt())
    assert sliced_w2(x, x + shift) == pytest.approx(expected, rel=1e-4)
    if dim in (2, 64):  # the directions are evenly spread: the mean of (θ·s)² is exactly |s|²/dim
        assert expected == pytest.approx(float(shift.norm()) / math.sqrt(dim), rel=1e-5)


def test_far_from_the_origin_no_digits_are_lost():
    x = torch.randn(200, 2, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    near, far = sliced_w2(x, x[:100]), sliced_w2(x + 1e6, x[:100] + 1e6)
    assert far == pytest.approx(near, rel=1e-6)
    assert sliced_w2(x, x) < 1e-6


def test_a_weight_of_two_is_a_point_twice():
    x = torch.randn(40, 1, 2, generator=torch.Generator().manual_seed(0))
    y = torch.randn(30, 1, 2, generator=torch.Generator().manual_seed(1))
    assert sliced_w2(torch.cat((x, x[:5])), y) == pytest.approx(
        sliced_w2(x, y, torch.where(torch.arange(40) < 5, 2.0, 1.0)), rel=1e-9
    )


@pytest.mark.parametrize("x, y", [(torch.zeros(3, 2), torch.zeros(3, 1)), (torch.zeros(0, 2), torch.zeros(3, 2))])
def test_sets_that_cannot_be_compared(x, y):
    with pytest.raises(ValueError, match="shape"):
        sliced_w2(x, y)
