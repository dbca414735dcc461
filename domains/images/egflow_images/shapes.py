"""Coloured discs whose hue, size, position and number are known: every factor has an exact distribution.

A picture holds one, two or three discs of one hue and one radius, apart from each other, on white. Factors are read
back from any picture (`read`), generated ones too, so that a tilt can be held against the exact one: of factors drawn
by the million, weighted by exp(−beta·E).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from scipy.ndimage import label
from torch import Tensor

FACTORS = ("hue", "radius", "x", "count")
SIZE = 16
RADIUS = (1.7, 2.7)
MOST = 3
LEVELS = 256
_APART = 1.5  # pixels between the rims of two discs, at least
_MARGIN = 0.5  # and between a rim and the edge
_SEEN = 0.15  # cover below which a pixel is white


@dataclass(frozen=True, slots=True)
class Factors:
    """What a picture is made from, or reads as; each (n,) float32.

    Attributes:
        hue: in [0, 1), red at 0.
        radius: of each disc, in pixels.
        x: of the discs' common centre, in pixels from the left edge.
        count: of discs.
    """

    hue: Tensor
    radius: Tensor
    x: Tensor
    count: Tensor

    def __getitem__(self, index: Tensor) -> Factors:
        return Factors(self.hue[index], self.radius[index], self.x[index], self.count[index])


def shapes(n: int, seed: int = 0, size: int = SIZE) -> tuple[Tensor, Factors]:
    """n pictures (n, 3, size, size) float32 in [0, 1], of 256 levels, and their factors.

    Hue, radius and count are uniform and independent; the centres are uniform where discs are apart.

    Args:
        n: how many.
        seed: fixes them.
        size: height and width, at least 16.

    Raises:
        ValueError: for a size in which three discs hardly have room.

    Example:
        >>> x, factors = shapes(4)
        >>> x.shape, factors.count.shape
        (torch.Size([4, 3, 16, 16]), torch.Size([4]))
    """
    if size < SIZE:
        raise ValueError(f"size={size}: three discs need {SIZE} pixels")
    generator = torch.Generator().manual_seed(seed)
    hue, share = torch.rand(2, n, generator=generator).unbind(0)
    radius = RADIUS[0] + share * (RADIUS[1] - RADIUS[0])
    count = torch.randint(1, MOST + 1, (n,), generator=generator)
    centre = _centres(radius, count, size, generator)
    real = torch.arange(MOST) < count[:, None]
    x = (centre[..., 0] * real).sum(1) / count
    place = torch.arange(size) + 0.5
    dx = place[None, None, None, :] - centre[..., 0, None, None]
    dy = place[None, None, :, None] - centre[..., 1, None, None]
    cover = (radius[:, None, None, None] - (dx.square() + dy.square()).sqrt() + 0.5).clamp(0, 1)
    cover = torch.where(real[..., None, None], cover, 0.0).amax(1)
    pictures = 1 - cover[:, None] * (1 - colour(hue)[..., None, None])
    return (pictures * (LEVELS - 1)).round() / (LEVELS - 1), Factors(hue, radius, x, count.float())


def colour(hue: Tensor) -> Tensor:
    """The full colour of each hue, (n,) in [0, 1) -> (n, 3): the rim of the HSV cone."""
    channel = torch.tensor([0.0, 2 / 3, 1 / 3])
    return (((hue[:, None] + channel) % 1.0 * 6 - 3).abs() - 1).clamp(0, 1)


def read(x: Tensor) -> Factors:
    """The factors of pictures (n, 3, size, size), as they look: of `shapes`, nearly those they are made from.

    Hue is the direction of the mean colour, radius that of discs whose areas add up to what is covered, x the centre of
    what is covered, count the number of connected parts. A white picture has count 0, and hue, radius and x 0.
    """
    x = x.detach().float().cpu().clamp(0, 1)
    cover = 1 - x.amin(1)
    cover = torch.where(cover < _SEEN, 0.0, cover)
    count = torch.tensor([_parts(one) for one in (cover > 0.5).numpy()])
    area = cover.sum((1, 2))
    seen = area.clamp_min(1e-6)
    ink = ((1 - x) * (cover > 0)[:, None]).sum((2, 3))  # 1 − colour, times the area
    radius = (area / (torch.pi * count.clamp_min(1))).sqrt() * (count > 0)
    place = torch.arange(x.shape[-1]) + 0.5
    return Factors(_hue(1 - ink / seen[:, None]), radius, (cover.sum(1) * place).sum(1) / seen, count)


def _parts(mask: np.ndarray) -> float:
    """Connected parts of a mask (h, w)."""
    found: Any = label(mask)
    return float(found[1])


def _hue(rgb: Tensor) -> Tensor:
    """The hue (n,) of colours (n, 3), in [0, 1)."""
    red, green, blue = rgb.unbind(1)
    return (torch.atan2(3**0.5 * (green - blue), 2 * red - green - blue) / (2 * torch.pi)) % 1.0


def _centres(radius: Tensor, count: Tensor, size: int, generator: torch.Generator) -> Tensor:
    """(n, MOST, 2) centres, drawn anew until the real ones of a picture are apart."""
    centre = torch.empty(len(radius), MOST, 2)
    left = torch.arange(len(radius))
    while len(left):
        r = radius[left, None, None]
        drawn = r + _MARGIN + torch.rand(len(left), MOST, 2, generator=generator) * (size - 2 * (r + _MARGIN))
        gap = (drawn[:, :, None] - drawn[:, None]).square().sum(-1).sqrt() + 1e3 * torch.eye(MOST)
        real = torch.arange(MOST) < count[left, None]
        both = real[:, :, None] & real[:, None]
        apart = (gap >= 2 * radius[left, None, None] + _APART) | ~both
        good = apart.flatten(1).all(1)
        centre[left[good]] = drawn[good]
        left = left[~good]
    return centre
