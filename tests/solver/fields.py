"""Velocities with known solutions."""

from __future__ import annotations

import math

import torch
from torch import Tensor

A = torch.tensor([[-0.5, 2.0], [-2.0, 0.3]], dtype=torch.float64)


def linear(y: Tensor, t: Tensor, rows: Tensor) -> Tensor:
    """dy/dt = A y: y(1) = expm(A) y(0)."""
    return y @ A.to(y.dtype).T


def linear_end(y0: Tensor, length: float = 1.0) -> Tensor:
    return y0 @ torch.linalg.matrix_exp(A * length).to(y0.dtype).T


def logistic(y: Tensor, t: Tensor, rows: Tensor) -> Tensor:
    """dy/dt = y (1 - y) cos(3 t), not linear, time-dependent: logit y(t) = logit y(0) + sin(3 t) / 3."""
    return y * (1 - y) * torch.cos(3 * t).view(-1, *[1] * (y.ndim - 1))


def logistic_end(y0: Tensor) -> Tensor:
    return torch.special.expit(torch.logit(y0) + math.sin(3.0) / 3)


def gaussian(mean: float = 1.5, std: float = 0.3):
    """The flow of the straight path from N(0, 1) to N(mean, std²): x(t) = t mean + sqrt((1 - t)² + t² std²) x_0."""

    def velocity(y: Tensor, t: Tensor, rows: Tensor) -> Tensor:
        t = t.view(-1, *[1] * (y.ndim - 1))
        variance = (1 - t) ** 2 + (t * std) ** 2
        return mean + (t * std**2 - (1 - t)) / variance * (y - t * mean)

    return velocity, lambda x_0: mean + std * x_0


def mixture(y: Tensor, t: Tensor, rows: Tensor) -> Tensor:
    """The straight path's velocity for eight Gaussians on a circle: samples that part ways at the middle."""
    angle = torch.arange(8, dtype=y.dtype) * math.pi / 4
    centres, std = 2.8 * torch.stack([angle.cos(), angle.sin()], 1), 0.35
    t = t[:, None, None]
    variance = (1 - t) ** 2 + (t * std) ** 2
    away = y[:, None] - t * centres
    share = torch.softmax(-away.square().sum(2, keepdim=True) / (2 * variance), 1)
    return (share * (centres + (t * std**2 - (1 - t)) / variance * away)).sum(1)


def calls_of(fn, batch: int):
    """`fn` that counts, for each row, how often it was evaluated, and checks what it is given."""
    counts = torch.zeros(batch, dtype=torch.long)

    def counted(y: Tensor, t: Tensor, rows: Tensor) -> Tensor:
        assert t.shape == (len(y),) and rows.shape == (len(y),) and rows.dtype == torch.long
        assert t.dtype == y.dtype
        counts.index_add_(0, rows, torch.ones_like(rows))
        return fn(y, t, rows)

    return counted, counts
