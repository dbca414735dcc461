"""Does a generator repeat its training data? The nearest data point of a sample is asked which side it is on.

Training and held-out points are one sample of p, cut at random. For a generator that knows p or q but not the single
points, whatever its tilt, the point nearest to a sample is a training point with probability |train| / N. A copy's
nearest point always is one. With k_j samples nearest to data point j, the share has the permutation variance
f (1 − f) Σ_j (k_j / m)², exact whatever the samples are.

Where data repeat (sequences), equal rows are one point of n_j rows, on the training side with the fraction of them that
is there: the variance is then f (1 − f) Σ_j (k_j / m)² / n_j. On a small space where every sequence recurs on both
sides that fraction is about f for all of them, and nothing is mistaken for a copy.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from egflow._rows import Rows

_SEED = 13


@dataclass(frozen=True, slots=True)
class Memory:
    """Share of samples whose nearest data point was trained on, what chance gives, its error, and samples asked."""

    share: float
    expected: float
    stderr: float
    n: int

    @property
    def copied(self) -> float:
        """The share of samples that must be copies to give this share: 0 for chance, 1 for nothing but copies."""
        return max(0.0, (self.share - self.expected) / (1 - self.expected))

    @property
    def found(self) -> bool:
        """Over four standard errors and over a tenth of the samples."""
        return self.share - self.expected > 4 * self.stderr and self.copied > 0.1

    def block(self) -> dict[str, float | int]:
        """The entry of report.json."""
        return {"share": self.share, "expected": self.expected, "stderr": self.stderr, "n": self.n}


def nearest_rows(x: Tensor, data: Rows) -> Tensor:
    """Index (n,) of the data row nearest to each row of x; of equal ones the first, which knows no side."""
    centre = data[: max(1, 2**22 // x.shape[1])].float().mean(0)
    x = x.float() - centre
    exact = x.shape[1] <= 16  # the matrix product loses digits that tight low-dimensional data need
    mode = "donot_use_mm_for_euclid_dist" if exact else "use_mm_for_euclid_dist"
    best = torch.full((len(x),), float("inf"))
    index = torch.zeros(len(x), dtype=torch.long)
    rows = max(1, 2**22 // max(x.shape[0], x.shape[1], 1))
    for start in range(0, len(data), rows):
        distance, place = torch.cdist(x, data[start : start + rows].float() - centre, compute_mode=mode).min(1)
        nearer = distance < best
        best = torch.where(nearer, distance, best)
        index = torch.where(nearer, place + start, index)
    return index


def memory(samples: Tensor, data: Rows, trained: Tensor, same: Tensor | None = None) -> Memory:
    """Ask up to 2,000 samples (fewer for large data, at least 200) for the side of their nearest data point.

    All data are searched: were they thinned, a copy's original would mostly be missing.

    Args:
        samples: (m, dim) generated points.
        data: (N, dim) training and held-out points.
        trained: (N,) bool, True where the point was for training.
        same: (N,) long, one number for all rows of the data that are equal; None: each row is a point of its own.
    """
    budget = 2e8 / (len(data) * max(1.0, data.shape[1] / 16))
    m = min(len(samples), max(200, min(2000, int(budget))))
    picked = torch.randperm(len(samples), generator=torch.Generator().manual_seed(_SEED))[:m]
    index = nearest_rows(samples[picked], data)
    same = torch.arange(len(data)) if same is None else same
    rows = torch.bincount(same).double()
    side = torch.zeros_like(rows).index_add_(0, same, trained.double()) / rows
    hit = torch.bincount(same[index], minlength=len(rows)).double() / m
    share, expected = min(float(side @ hit), 1.0), float(trained.double().mean())
    return Memory(share, expected, math.sqrt(expected * (1 - expected) * float((hit.square() / rows).sum())), m)
