"""Draws of x_1 at many betas of a range, exact at each of them.

A step takes fresh betas, and at each of them x_1 ∝ s·exp(−beta·E). Weighing all N rows again would cost O(N) a step, so
the rows are put into cells of E once. At a beta, with bound_c the largest weight exp(−beta·E) that cell c can hold,

    a cell c is drawn ∝ S_c·bound_c,  S_c = Σ_{i in c} s_i,   a row i inside it ∝ s_i,
    the row is kept with probability exp(−beta·E_i) / bound_c, else cell and row are drawn again.

What is kept follows s·exp(−beta·E) exactly (rejection sampling, von Neumann 1951), whatever the cells; they decide only
how much is thrown away.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Generator, Tensor

from egflow.weights._cells import ends_often, energy_cells
from egflow.weights._draw import Batches, Drawn

Floats = NDArray[np.float64]
Integers = NDArray[np.int64]

_TRIES = 6


def beta_range_batches(
    energies: Tensor, log_s: Tensor, low: Tensor | Sequence[float], high: Tensor | Sequence[float], *, groups: int = 32
) -> Batches:
    """Draws for one model of every beta in a box.

    A step's rows are split evenly over ``groups`` betas. Each coordinate of beta is stratified over its range, under an
    arcsine law with an eighth at each end (`ends_often`).

    Args:
        energies: (N, k) float64, k energies of each row; those of forbidden rows are not looked at.
        log_s: (N,) logarithm of the sample weights, −inf where the row is forbidden or weightless.
        low, high: (k,) ends of the range of each beta.
        groups: betas a step.

    A batch of 512 takes a fraction of a millisecond for one to three energies, whatever N; with four or more over wide
    ranges cells are coarse, and much is drawn again.

    Returns:
        Batches whose draws hold index (batch,), weight None and beta (batch, k) float64.

    Raises:
        ValueError: for a range that is empty or not finite, shapes that do not fit, or no row that can be drawn.

    Example:
        >>> E = torch.tensor([[0.0], [1.0], [torch.inf]], dtype=torch.float64)
        >>> batches = beta_range_batches(E, torch.tensor([0.0, 0.0, -torch.inf]), [0.0], [8.0])
        >>> batches(torch.arange(4, dtype=torch.float64) / 4, torch.Generator().manual_seed(0)).beta.shape
        torch.Size([4, 1])
    """
    if energies.ndim != 2 or log_s.shape != energies.shape[:1]:
        raise ValueError(
            f"energies must be (N, k) and log_s (N,), got shapes {tuple(energies.shape)} and {tuple(log_s.shape)}"
        )
    ends = [torch.as_tensor(end, dtype=torch.float64, device="cpu") for end in (low, high)]
    if any(end.shape != energies.shape[1:] for end in ends):
        raise ValueError(f"beta must have a range for each of the {energies.shape[1]} energies: low and high (k,)")
    for a, b in zip(*(end.tolist() for end in ends), strict=True):
        if not (math.isfinite(a) and math.isfinite(b) and a < b):
            raise ValueError(f"beta=({a:g}, {b:g}) must be a range of two finite numbers, the lower first")
    if isinstance(groups, bool) or not isinstance(groups, int) or groups < 1:
        raise ValueError(f"groups must be a whole number of at least 1, got {groups!r}")
    return _RangeBatches(energies, log_s, ends[0], ends[1], groups)


class _RangeBatches:
    """The draws. All tables are on the CPU, so that the draws are the same on every device.

    Rows are sorted by cell. ``rows`` (n,) are their places in the data, ``energy`` k columns above the least;
    ``inside`` (n,) is, increasing, c + the share of cell c's weight up to and with that row, or None if even.
    Tables are made in torch, whose exp is vectorised, and looked up in numpy, whose calls on 512 numbers cost a third.
    """

    def __init__(self, energies: Tensor, log_s: Tensor, low: Tensor, high: Tensor, groups: int) -> None:
        self.device, self.low, self.high, self.groups = energies.device, low, high, groups
        log_s = log_s.detach().double().cpu()
        rows = torch.nonzero(log_s > -math.inf).squeeze(1)
        if len(rows) == 0:
            raise ValueError("no sample is left: every one is forbidden (energy +inf) or has sample_weight 0")
        energy = energies.detach().double().cpu()[rows]
        if not bool(torch.isfinite(energy).all()) or not bool((log_s[rows] < math.inf).all()):
            raise ValueError("energies and log_s must be finite where log_s is not -inf")
        energy -= energy.amin(0)
        cell, self.boxes = energy_cells(energy, log_s[rows], low, high)
        cell, order = cell.sort(stable=True)
        rows, energy = rows[order], energy[order]

        share = (log_s[rows] - self.boxes.log_mass[cell]).exp_()
        even = bool((log_s[rows] == log_s[rows[0]]).all())
        size = torch.bincount(cell, minlength=len(self.boxes.log_mass))
        ends = size.cumsum(0)
        summed = torch.cat([torch.zeros(1, dtype=torch.float64), share.cumsum(0)])
        before = summed[ends - size]
        total = summed[ends] - before  # 1, but for rounding
        self.inside = None if even else (cell + (summed[1:] - before[cell]) / total[cell]).numpy()
        self.rows, self.energy = rows.numpy(), [column.contiguous().numpy() for column in energy.T]
        self.starts, self.size = (ends - size).numpy(), size.numpy()

    def __call__(self, u: Tensor, generator: Generator) -> Drawn:
        groups = min(self.groups, len(u))
        beta = self._betas(groups, generator)
        floor = self.boxes.exponents(beta)
        log_w = self.boxes.log_mass - floor
        cdf = (log_w - log_w.amax(1, keepdim=True)).exp_().cumsum_(1)
        cdf = (cdf / cdf[:, -1:]).add_(torch.arange(groups, dtype=torch.float64)[:, None])
        table, least = np.concatenate([np.zeros(1), cdf.flatten().numpy()]), floor.flatten().numpy()
        betas = [column.contiguous().numpy() for column in beta.T]

        place = u.double().cpu().numpy() * groups
        group = np.minimum(place.astype(np.int64), groups - 1)
        # the fractions of a batch are alike in every group: unshifted, groups of one beta would draw the same rows
        place = group + (place - group + _uniform(groups, generator)[group]) % 1.0
        index, todo, owner, tries = np.empty(len(u), np.int64), np.arange(len(u)), group, 1
        while True:
            row, at = self._propose(table, place, owner)
            excess = -least.take(at)
            for b, column in zip(betas, self.energy, strict=True):
                excess += b.take(owner) * column.take(row)
            kept = (_uniform(len(row), generator) < np.exp(-excess)).reshape(-1, tries)
            found = kept.any(1)
            index[todo[found]] = row.reshape(-1, tries)[found, kept[found].argmax(1)]
            todo = todo[~found]
            if len(todo) == 0:
                break
            tries = min(_TRIES, 1 + len(u) // len(todo))  # the first that is kept counts: so the rounds are few
            owner = group[todo].repeat(tries)
            place = owner + _uniform(len(owner), generator)
        drawn = torch.from_numpy(self.rows.take(index))
        return Drawn(drawn.to(self.device), None, beta[torch.from_numpy(group)].to(self.device))

    def _betas(self, groups: int, generator: Generator) -> Tensor:
        """Fresh betas (groups, k)."""
        k = len(self.low)
        order = torch.stack([torch.randperm(groups, generator=generator) for _ in range(k)], dim=1)
        u = (order + torch.rand(groups, k, generator=generator, dtype=torch.float64)) / groups
        return ends_often(u, self.low, self.high)

    def _propose(self, table: Floats, place: Floats, group: Integers) -> tuple[Integers, Integers]:
        """Rows for positions ``group + [0, 1)``, and where their cell stands among those of all groups.

        One position gives both: what is left of it inside the cell is uniform again.
        """
        place = np.minimum(place, np.nextafter(group + 1.0, 0.0))  # a sum may have been rounded up
        at = np.searchsorted(table, place, side="right") - 1
        cell, below = at - group * len(self.size), table.take(at)
        left = (place - below) / (table.take(at + 1) - below)
        start, size = self.starts.take(cell), self.size.take(cell)
        if self.inside is None:
            inner = (left * size).astype(np.int64)
        else:
            inner = np.searchsorted(self.inside, cell + left, side="right") - start
        return start + np.minimum(np.maximum(inner, 0), size - 1), at


def _uniform(n: int, generator: Generator) -> Floats:
    return torch.rand(n, generator=generator, dtype=torch.float64).numpy()
