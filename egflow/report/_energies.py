"""Weighted statistics of one-dimensional quantities: the energies of data and samples.

Means are self-normalised importance sampling: μ = Σ w̃ E with shares w̃, standard error sqrt(Σ w̃² (E − μ)²).
"""

from __future__ import annotations

import math

import torch
from torch import Tensor


def weighted_mean(values: Tensor, share: Tensor) -> tuple[float, float]:
    """(mean, standard error) of values (n,) under shares (n,) that sum to 1."""
    mean = share @ values
    return float(mean), float((share.square() @ (values - mean).square()).sqrt())


def _two_cdfs(x: Tensor, share_x: Tensor, y: Tensor, share_y: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Both distribution functions at every distinct value of the two sets: grid (k,), F_x (k,), F_y (k,)."""
    grid, place = torch.cat((x, y)).unique(return_inverse=True)
    mass = torch.zeros(2, len(grid), dtype=torch.float64)
    mass[0].index_add_(0, place[: len(x)], share_x / share_x.sum())
    mass[1].index_add_(0, place[len(x) :], share_y / share_y.sum())
    below = mass.cumsum(1)
    return grid, below[0], below[1]


def _equal(x: Tensor, weight: Tensor | None) -> Tensor:
    return torch.ones(len(x), dtype=torch.float64) if weight is None else weight.double()


def weighted_ks(x: Tensor, y: Tensor, weight_x: Tensor | None = None, weight_y: Tensor | None = None) -> float:
    """Kolmogorov–Smirnov distance sup |F_x − F_y| of weighted values; ties count as one place.

    Args:
        x: (n,) values.
        y: (m,) values.
        weight_x: (n,) weights, or None for equal ones.
        weight_y: (m,) weights, or None.

    Example:
        >>> weighted_ks(torch.tensor([0.0, 1.0]), torch.tensor([1.0, 1.0]))
        0.5
    """
    _, fx, fy = _two_cdfs(x.double(), _equal(x, weight_x), y.double(), _equal(y, weight_y))
    found = float((fx - fy).abs().max())
    return found if found > 1e-12 else 0.0  # what is left of cumulated shares that are equal


def weighted_w1(x: Tensor, y: Tensor, weight_x: Tensor | None = None, weight_y: Tensor | None = None) -> float:
    """Wasserstein-1 distance ∫ |F_x − F_y| of weighted values, in their own units. Arguments as `weighted_ks`.

    Example:
        >>> weighted_w1(torch.zeros(3), torch.ones(4))
        1.0
    """
    grid, fx, fy = _two_cdfs(x.double(), _equal(x, weight_x), y.double(), _equal(y, weight_y))
    return float(((fx - fy).abs()[:-1] * grid.diff()).sum())


def ks_noise(values: Tensor, share: Tensor, m: int) -> float:
    """The KS distance that chance alone exceeds about once in 1,000, for a weighted set against m equal samples.

    1.95 / √n for n equal points is 1.95 · 2 times the largest standard deviation of the distribution function (.5/√n,
    at the median). With weights that deviation is  Var F(e) = (1 − F)² Σ_{E ≤ e} w̃² + F² Σ_{E > e} w̃².
    """
    order = values.argsort()
    w = share[order] / share.sum()
    below, squares = w.cumsum(0), w.square().cumsum(0)
    variance = ((1 - below).square() * squares + below.square() * (squares[-1] - squares)).max()
    return 3.9 * math.sqrt(float(variance) + 0.25 / m)


def matched_beta(values: Tensor, log_s: Tensor, mean: float, mean_stderr: float) -> tuple[float, float] | None:
    """The beta at which the reweighted data have a given mean energy, with its standard error.

    The mean falls with beta (its slope is −Var E), so bisection finds it. This is an inference about a generator's
    tilt from its mean energy alone, not a measurement of its density.

    Args:
        values: (n,) finite energies of the data.
        log_s: (n,) log sample weights.
        mean: the mean energy to meet.
        mean_stderr: its standard error.

    Returns:
        (beta, standard error); None where no beta gives this mean, or only one that leaves under ten points effective.
    """
    low_e, high_e = float(values.min()), float(values.max())
    if not low_e < mean < high_e:
        return None

    def share_at(beta: float) -> Tensor:
        return torch.softmax(log_s - beta * (values - mean), 0)

    def above(beta: float) -> bool:
        return float(share_at(beta) @ values) > mean

    unit = 1.0 / (high_e - low_e)
    low, high = -unit, unit
    while not above(low) and low > -1e9 * unit:
        low *= 2
    while above(high) and high < 1e9 * unit:
        high *= 2
    for _ in range(100):
        middle = 0.5 * (low + high)
        low, high = (middle, high) if above(middle) else (low, middle)
        if high - low < 1e-10 * (abs(low) + unit):
            break
    beta = 0.5 * (low + high)
    share = share_at(beta)
    _, stderr = weighted_mean(values, share)
    slope = float(share @ (values - mean).square())
    if slope <= 0 or 1.0 / float(share.square().sum()) < 10:
        return None
    return beta, math.hypot(stderr, mean_stderr) / slope
