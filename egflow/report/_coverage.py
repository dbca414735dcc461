"""Which part of the target has no samples: a lost mode, found in any dimension.

The space is cut into cells around centres (k-means of points that are not counted), and the target's mass and the
samples' share of each cell are compared, each with its error.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from egflow._rows import Rows
from egflow.weights import resample

MOST_CELLS = 32
_STARVED = 0.25  # a cell is missed when it has less than this fraction of its mass
_SEED = 31


@dataclass(frozen=True, slots=True)
class Coverage:
    """Cells whose samples are missing: their number, the mass they should hold and the share of samples they hold."""

    cells: int
    starved: int
    mass: float
    share: float

    def block(self) -> dict[str, float | int]:
        """The entry of report.json."""
        return {"cells": self.cells, "missed_cells": self.starved, "missed_mass": self.mass, "their_share": self.share}


def nearest(x: Tensor, centres: Tensor) -> Tensor:
    """Index (n,) of the centre nearest to each row of x (n, dim)."""
    return torch.cdist(x, centres).argmin(1)


def k_means(x: Tensor, k: int, rounds: int = 8) -> Tensor:
    """Centres (k, dim) of points x (n, dim): k-means++ start (D² draws), then Lloyd's rounds; deterministic."""
    generator = torch.Generator().manual_seed(_SEED)
    centres = x[:1]
    squared = torch.full((len(x),), float("inf"))
    for _ in range(k - 1):
        squared = torch.minimum(squared, (x - centres[-1]).square().sum(1).float())
        if not bool(squared.any()):
            break
        centres = torch.cat((centres, x[torch.multinomial(squared, 1, generator=generator)]))
    for _ in range(rounds):
        owner = nearest(x, centres)
        count = torch.bincount(owner, minlength=len(centres))
        moved = torch.zeros_like(centres).index_add_(0, owner, x) / count.clamp_min(1)[:, None]
        centres = torch.where(count[:, None] > 0, moved, centres)
    return centres


def cells_of(x: Rows, share: Tensor, effective: float) -> Tensor | None:
    """Centres of the target's cells from rows of x drawn ∝ share; about 15 effective points a cell, None below 60."""
    k = min(MOST_CELLS, int(effective / 15))
    if k < 4:
        return None
    u = torch.rand(3000, generator=torch.Generator().manual_seed(_SEED), dtype=torch.float64)
    drawn = resample(share.log(), u)
    return k_means(x[drawn].float(), k)


def coverage(owner: Tensor, share: Tensor, made: Tensor, k: int) -> Coverage:
    """Compare the cells' mass under the weighted reference with their share of samples.

    A cell is missed where the samples' share is under a quarter of the mass and the gap is over five standard errors
    (of mass and share together).

    Args:
        owner: (n,) cell of each reference point.
        share: (n,) its weight, summing to 1.
        made: (m,) cell of each sample.
        k: number of cells.
    """
    squares = torch.zeros(k, dtype=torch.float64).index_add_(0, owner, share.square())
    mass = torch.zeros(k, dtype=torch.float64).index_add_(0, owner, share)
    total = squares.sum()
    # Σ_i w̃² (1[i in cell] − mass)²
    variance = squares * (1 - mass).square() + (total - squares) * mass.square()
    got = torch.bincount(made, minlength=k).double() / len(made)
    error = (variance + torch.maximum(got, mass) / len(made)).sqrt()
    missed = (got < _STARVED * mass) & (mass - got > 5 * error)
    return Coverage(k, int(missed.sum()), float(mass[missed].sum()), float(got[missed].sum()))
