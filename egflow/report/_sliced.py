"""Sliced Wasserstein-2 distance between weighted samples, over directions that never change.

    SW2²(P, Q) = mean over directions θ of W2²(θ·P, θ·Q),    W2²(P, Q) = ∫_0^1 (F_P⁻¹(u) − F_Q⁻¹(u))² du in 1-D

(Bonneel et al. 2015). The integral is exact for weighted points: both quantile functions are steps. Expanding the
square leaves one cross term, Σ_i x_i [S(c_i) − S(c_{i−1})], with c the cumulated weights of x and S(u) = ∫_0^u F_Q⁻¹,
a piecewise linear function: one interpolation over sorted points, no merged grid.
"""

from __future__ import annotations

import math

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from egflow._rows import Rows, chunks

Array = NDArray[np.float64]

_PLANE, _SPACE = 32, 64


def directions(dim: int) -> Tensor:
    """The fixed directions of a dimension, (k, dim) float64 of unit length.

    One in 1-D, 32 evenly spaced angles in the plane, 64 above it (orthogonal in blocks, drawn once from a constant
    seed).
    """
    if dim == 1:
        return torch.ones(1, 1, dtype=torch.float64)
    if dim == 2:
        angle = (torch.arange(_PLANE, dtype=torch.float64) + 0.5) * (math.pi / _PLANE)
        return torch.stack((angle.cos(), angle.sin()), 1)
    gaussian = torch.randn(_SPACE, dim, generator=torch.Generator().manual_seed(7), dtype=torch.float64)
    if dim <= 4096:  # beyond, random directions are orthogonal by themselves and a QR costs seconds
        gaussian = torch.cat([torch.linalg.qr(block.T)[0].T for block in gaussian.split(dim)])
    return gaussian / gaussian.norm(dim=1, keepdim=True)


def centre_of(x: Tensor | Rows, share: Tensor) -> Tensor:
    """Σ share·x over rows of x (n, dim), in float64, some at a time."""
    total, low = torch.zeros(x.shape[1], dtype=torch.float64), 0
    for part in chunks(x):
        total += share[low : low + len(part)] @ part.double()
        low += len(part)
    return total


def project(x: Tensor | Rows, theta: Tensor, centre: Tensor) -> Array:
    """θ·(x − centre) for rows of x (n, dim), as (k, n) float64; centred, for the squares are to lose no digits."""
    work = torch.float64 if x.shape[1] <= 64 else torch.float32
    theta = theta.to(work)
    rows = [(part.double() - centre).to(work) @ theta.T for part in x.split(max(1, 2**22 // x.shape[1]))]
    return torch.cat(rows).T.double().contiguous().numpy()


def cumulated(weight: Array) -> Array:
    """0, then cumulated shares that end at exactly 1: (n,) -> (n + 1,)."""
    total = np.empty(len(weight) + 1)
    total[0] = 0.0
    np.cumsum(weight, out=total[1:])
    total /= total[-1]
    return total


def w2_squared(x: Array, cx: Array, y: Array, cy: Array) -> float:
    """Exact W2² in 1-D of sorted points x (n,), y (m,) with cumulated shares cx (n + 1,), cy (m + 1,)."""
    # plain slices: np.diff's own overhead would be a third of a small report's time
    mass = y * (cy[1:] - cy[:-1])
    integral = np.zeros(len(y) + 1)
    np.cumsum(mass, out=integral[1:])
    at = np.interp(cx, cy, integral)
    cross = x @ (at[1:] - at[:-1])
    return max(float((cx[1:] - cx[:-1]) @ (x * x) + mass @ y - 2.0 * cross), 0.0)


def sliced_w2(x: Tensor, y: Tensor, weight_x: Tensor | None = None, weight_y: Tensor | None = None) -> float:
    """Sliced W2 between two sets of weighted points; in 1-D, W2 itself.

    Args:
        x: (n, *event) points.
        y: (m, *event) points.
        weight_x: (n,) weights, not negative, need not sum to 1; None for equal ones.
        weight_y: (m,) weights of y, likewise.

    Returns:
        The distance in the units of x, never negative.

    Raises:
        ValueError: if the events' shapes differ, or a set is empty.

    Example:
        >>> a = torch.zeros(5, 1)
        >>> round(sliced_w2(a, a + 2.0), 6)
        2.0
    """
    if x.shape[1:] != y.shape[1:] or len(x) == 0 or len(y) == 0:
        raise ValueError(
            f"x and y must be non-empty and of one event shape, got shapes {tuple(x.shape)} and {tuple(y.shape)}"
        )
    flat_x, flat_y = x.detach().cpu().reshape(len(x), -1), y.detach().cpu().reshape(len(y), -1)
    theta, centre = directions(flat_x.shape[1]), flat_x.double().mean(0)
    sides = []
    for flat, weight in ((flat_x, weight_x), (flat_y, weight_y)):
        share = np.ones(len(flat)) if weight is None else weight.detach().double().cpu().numpy()
        points = project(flat[torch.from_numpy(share > 0)], theta, centre)
        order = np.argsort(points, axis=1, kind="stable")
        sides.append((np.take_along_axis(points, order, 1), share[share > 0][order]))
    (px, wx), (py, wy) = sides
    squared = [w2_squared(a, cumulated(u), b, cumulated(v)) for a, u, b, v in zip(px, wx, py, wy, strict=True)]
    return math.sqrt(sum(squared) / len(squared))
