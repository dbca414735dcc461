"""Exact draws of the tilted swissroll, for where weighted draws of p run out of effective points.

p is a mixture over the roll: x = m(θ) + s ε, with s = 1/5 and θ uniform. With E = −‖x‖²/9 each component stays normal:

    N(x; m, s²)·exp(β‖x‖²/9) ∝ Z(θ)·N(x; m / (1 − κ), s² / (1 − κ)),   κ = 2 β s² / 9,
    log Z(θ) = β ‖m(θ)‖² / (9 (1 − κ)) − log(1 − κ)

so θ is drawn ∝ Z by inverse CDF and x from its normal. At beta 20 some .0002 of N points are effective, or fewer.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

_GRID = 200_001
_STD = 1 / 5


def _roll(beta: float) -> tuple[float, Tensor, Tensor]:
    """κ, the roll's angles (_GRID,) float64, and log Z(θ) there. Raises ValueError where q cannot be normalised."""
    kappa = 2 * beta * _STD**2 / 9
    if kappa >= 1:
        raise ValueError(
            f"beta must be below {9 / (2 * _STD**2):g}, where the tilted roll has no normalisation: {beta}"
        )
    angle = 1.5 * math.pi * torch.linspace(1, 3, _GRID, dtype=torch.float64)
    return kappa, angle, beta * (angle / 5).square() / (9 * (1 - kappa)) - math.log1p(-kappa)


def swissroll_tilt(n: int, beta: float, seed: int = 0) -> Tensor:
    """Draw n points of q ∝ p·exp(−beta·E) for the swissroll and its own energy, (n, 2) float32.

    Raises:
        ValueError: for a beta past 9 / (2 s²) = 112.5, where q cannot be normalised.
    """
    kappa, angle, log_z = _roll(beta)
    generator = torch.Generator().manual_seed(seed)
    cdf = torch.softmax(log_z, 0).cumsum(0)
    place = torch.searchsorted(cdf, torch.rand(n, generator=generator, dtype=torch.float64) * cdf[-1])
    theta = angle[place.clamp_max(_GRID - 1)]
    centre = torch.stack([theta * theta.cos(), theta * theta.sin()], 1) / (5 * (1 - kappa))
    noise = torch.randn(n, 2, generator=generator, dtype=torch.float64)
    return (centre + _STD / math.sqrt(1 - kappa) * noise).float()


def swissroll_figures(beta: float) -> tuple[float, float]:
    """E_q[E] and log Z = log E_p[exp(−beta·E)] of the tilted swissroll, by quadrature over the roll.

    Raises:
        ValueError: as `swissroll_tilt`.

    Example:
        >>> round(swissroll_figures(20.0)[0], 4)
        -1.2623
    """
    kappa, angle, log_z = _roll(beta)
    log_z[0] += math.log(0.5)  # the trapezoid rule's ends
    log_z[-1] += math.log(0.5)
    squared = (angle / 5 / (1 - kappa)).square() + 2 * _STD**2 / (1 - kappa)
    return float(torch.softmax(log_z, 0) @ squared) / -9, float(torch.logsumexp(log_z, 0)) - math.log(_GRID - 1)
