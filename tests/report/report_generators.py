"""Eight Gaussians with energy −index/7, and generators of its tilt that are wrong in a known way."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from egflow.report import held_out_split

RADIUS, STD = 4 / 1.414, 0.5 / 1.414


def energy(x: Tensor) -> Tensor:
    """Of x alone: the index of the nearest centre, by angle."""
    return -((torch.atan2(x[:, 1], x[:, 0]) / (2 * math.pi) * 8).round() % 8) / 7


def _points(index: Tensor, generator: torch.Generator) -> Tensor:
    angle = index * (2 * math.pi / 8)
    return RADIUS * torch.stack((angle.cos(), angle.sin()), 1) + STD * torch.randn(len(index), 2, generator=generator)


def untilted(n: int, generator: torch.Generator) -> Tensor:
    return _points(torch.randint(8, (n,), generator=generator), generator)


def tilted(n: int, beta: float, generator: torch.Generator, lost: int | None = None) -> Tensor:
    """Draws of the tilt, of which a mode may be lost.

    The nearest-centre energy is a point's own mode's but for .2 % (sectors end 3 standard deviations from a centre).
    """
    mass = torch.softmax(beta * torch.arange(8) / 7.0, 0)
    if lost is not None:
        mass[lost] = 0
    return _points(torch.multinomial(mass, n, replacement=True, generator=generator), generator)


def memorised(data: Tensor, n: int, beta: float, generator: torch.Generator, jitter: float) -> Tensor:
    """Training points drawn ∝ w, moved by next to nothing."""
    part = data[held_out_split(len(data))[0]]
    chosen = torch.multinomial(
        torch.softmax(-beta * energy(part).double(), 0), n, replacement=True, generator=generator
    )
    return part[chosen] + jitter * torch.randn(n, 2, generator=generator)


def seeded(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)
