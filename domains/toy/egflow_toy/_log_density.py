"""Exact log densities of the toy sets that are curves blurred by a normal.

A point is m(θ) + s·ε with θ of a known density h on an interval, so  p(x) = ∫ h(θ) N(x; m(θ), s²·I) dθ.  The integrand
is smooth and no narrower than s / |m'(θ)|: Gauss–Legendre nodes a fifth of that apart give all of float64's digits,
also far outside the data, for the sum is taken in logarithms. Rings have a closed form.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from functools import cache

import numpy as np
import torch
from torch import Tensor

_CELLS = 2**22  # points x nodes worked on at once, so that memory does not grow with n


@cache
def _nodes(low: float, high: float, n: int) -> tuple[Tensor, Tensor]:
    """Gauss–Legendre nodes of [low, high] and the logarithms of their weights, both (n,) float64."""
    node, weight = np.polynomial.legendre.leggauss(n)
    half = (high - low) / 2
    return torch.from_numpy(low + half * (node + 1)), torch.from_numpy(np.log(half * weight))


def _integral(x: Tensor, nodes: int, log_integrand: Callable[[Tensor], Tensor]) -> Tensor:
    """log Σ_nodes exp(log_integrand) of x (batch, 2) in chunks; (batch,), in x's dtype."""
    parts = [torch.logsumexp(log_integrand(part), dim=1) for part in x.double().split(max(1, _CELLS // nodes))]
    return torch.cat(parts).to(x)


def _log_normal(x: Tensor, centre: Tensor, std: float) -> Tensor:
    """log N(x; centre, std²·I) of x (batch, 2) at centres (k, 2); (batch, k)."""
    squared = (x[:, :1] - centre[:, 0]).square_() + (x[:, 1:] - centre[:, 1]).square_()
    return squared.mul_(-0.5 / std**2).sub_(math.log(2 * math.pi * std**2))


def swissroll_log_prob(x: Tensor) -> Tensor:
    """log density of the swissroll at (batch, 2) points: θ uniform on 1.5π·[1, 3], m = θ·(cos θ, sin θ)/5, s = 1/5."""
    angle, log_weight = _nodes(1.5 * math.pi, 4.5 * math.pi, 400)
    centre = torch.stack([angle * angle.cos(), angle * angle.sin()], dim=1) / 5
    log_h = log_weight - math.log(3 * math.pi)
    return _integral(x, len(angle), lambda part: _log_normal(part, centre, 1 / 5) + log_h)


def rings_log_prob(x: Tensor, radii: Sequence[float], std: float) -> Tensor:
    """log density of rings of equal mass at (batch, 2) points.

    A circle of radius r blurred by a normal is  exp(−(ρ² + r²) / 2s²) · I_0(ρ r / s²) / (2π s²)  at radius ρ (Rice).
    """
    radius = x.double().norm(dim=1, keepdim=True)
    ring = torch.tensor(radii, dtype=torch.float64)
    bessel = torch.special.i0e(radius * ring / std**2).log()  # scaled: exp(−ρ r / s²) is in the square below
    log_ring = bessel - (radius - ring).square() / (2 * std**2) - math.log(2 * math.pi * std**2)
    return (torch.logsumexp(log_ring, dim=1) - math.log(len(radii))).to(x)


def moons_log_prob(x: Tensor) -> Tensor:
    """log density of moons at (batch, 2) points: two half circles of radius 2, the angle uniform, s = .2."""
    angle, log_weight = _nodes(0.0, math.pi, 160)
    upper = 2 * torch.stack([angle.cos(), angle.sin()], dim=1)
    centre = torch.cat([upper + torch.tensor([-1.0, -0.2]), torch.tensor([1.0, 0.8]) - upper]).double()
    log_h = (log_weight - math.log(2 * math.pi)).repeat(2)
    return _integral(x, len(centre), lambda part: _log_normal(part, centre, 0.2) + log_h)


def spirals_log_prob(x: Tensor) -> Tensor:
    """log density of 2spirals at (batch, 2) points: arc a of density 2a / (3π)² on [0, 3π], either arm.

    Around m(a) = ±(−a cos a, a sin a)/3 each coordinate is a uniform on [0, ±1/6] plus a normal of s = .1, so its
    density is 6 · (Φ((u + 1/12)/s) − Φ((u − 1/12)/s)), with u counted from the middle.
    """
    arc, log_weight = _nodes(0.0, 3 * math.pi, 600)
    middle = torch.stack([-arc.cos() * arc + 0.25, arc.sin() * arc + 0.25], dim=1) / 3
    centre = torch.cat([middle, -middle])
    log_h = (log_weight + (2 * arc / (3 * math.pi) ** 2).log() - math.log(2)).repeat(2)

    def log_integrand(part: Tensor) -> Tensor:
        distance = torch.cdist(part, centre)
        # nodes 1.2 further off than the nearest one add less than exp(−50) of its share
        row, node = (distance < distance.amin(dim=1, keepdim=True) + 1.2).nonzero(as_tuple=True)
        each = [_log_blurred_box(part[row, i] - centre[node, i], 1 / 12, 0.1) for i in range(2)]
        return distance.fill_(-math.inf).index_put_((row, node), each[0] + each[1] + log_h[node])

    return _integral(x, len(centre), log_integrand)


def _log_blurred_box(u: Tensor, half: float, std: float) -> Tensor:
    """log density of a uniform on [−half, half] plus N(0, std²), right in the far tail as well."""
    u = u.abs() / (std * math.sqrt(2))  # both sides of the difference are then in the same tail: no digits are lost
    width = half / (std * math.sqrt(2))
    box = torch.special.erfc(u - width) - torch.special.erfc(u + width)
    # erfc underflows at 26; from there on its first term, relative error 1 / 2u²
    tail = -(u - width).square() - (math.sqrt(math.pi) * u).log()
    return torch.where(u < 20, box.clamp_min(1e-300).log(), tail) - math.log(4 * half)


def checkerboard_log_prob(x: Tensor) -> Tensor:
    """log density of the checkerboard at (batch, 2) points: 1/32 on eight squares of side 2, −inf elsewhere."""
    column, row = (x / 2).floor().unbind(1)
    inside = (x.abs() < 4).all(dim=1) & ((column + row) % 2 == 0)
    return torch.where(inside, -math.log(32), -math.inf).to(x)
