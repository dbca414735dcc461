"""Cells of energy: groups of rows whose weights differ little at any beta of a range.

A draw by rejection (`egflow.weights.beta_range_batches`) proposes cell c ∝ S_c·bound_c(beta), where S_c is the sum of
its sample weights and bound_c ≥ exp(−beta·E) on it, and loses what bound_c is too high by. So cells are cut where that
loses most: from one cell, the lossy ones are halved again and again, across the energy along which weights differ most,
until little is lost at all of a few betas or the cells are many.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

_LOSS = 0.05  # of the proposals
_MOST = 1_024  # cells; a step's table is this times the betas of a step
_LOOKS = 32  # betas at which the loss is looked at
_FINE_BITS = 18  # the grid of fine cells has 2¹⁸ at most
_KNEE = 30.0  # rows with beta·(E − min E) beyond this weigh less than e⁻³⁰ at the end of the range


@dataclass(frozen=True, slots=True)
class Boxes:
    """The least and the largest energies (C, k) of C cells, and the log of the sum of their sample weights (C,)."""

    least: Tensor
    most: Tensor
    log_mass: Tensor

    def exponents(self, beta: Tensor) -> Tensor:
        """The least beta·E in each box, (m, C) for beta (m, k): at the lower side of E_j where beta_j > 0."""
        return beta.clamp_min(0) @ self.least.T - (-beta).clamp_min(0) @ self.most.T

    def joined(self, cell: Tensor) -> Boxes:
        """The boxes around the boxes of each cell; cell (C,) numbers them from 0 without gaps."""
        count, by_column = int(cell.max()) + 1, cell[:, None].expand_as(self.least)
        empty = self.least.new_zeros(count, self.least.shape[1])
        top = empty[:, 0].scatter_reduce(0, cell, self.log_mass, "amax", include_self=False)
        mass = torch.zeros_like(top).index_add_(0, cell, (self.log_mass - top[cell]).exp_())
        return Boxes(
            empty.scatter_reduce(0, by_column, self.least, "amin", include_self=False),
            empty.scatter_reduce(0, by_column, self.most, "amax", include_self=False),
            top + mass.log(),
        )


def ends_often(u: Tensor, low: Tensor, high: Tensor) -> Tensor:
    """Uniform u in [0, 1] -> betas: the arcsine law, low + (high − low)·(½ − ½·1.08·cos πu), cut off at the ends.

    An eighth falls on each end itself. A regression has neighbours there on one side only, and is worst.
    """
    share = (0.5 - 0.54 * torch.cos(math.pi * u)).clamp_(0, 1)
    return torch.minimum(low + (high - low) * share, high)  # which rounding may exceed


def energy_cells(energy: Tensor, log_s: Tensor, low: Tensor, high: Tensor) -> tuple[Tensor, Boxes]:
    """Put rows into cells.

    Args:
        energy: (n, k) float64, the least of each column 0.
        log_s: (n,) finite log sample weights.
        low, high: (k,) the range of beta.

    Returns:
        The cell of each row, (n,) long, and the cells' boxes.
    """
    fine = _fine_cells(energy, low, high)
    items = Boxes(energy, energy, log_s).joined(fine)
    centre = 0.5 * (items.least + items.most)
    u = torch.quasirandom.SobolEngine(energy.shape[1], scramble=True, seed=0).draw(_LOOKS, dtype=torch.float64)
    beta = ends_often(u, low, high)
    cell = torch.zeros(len(centre), dtype=torch.long)
    while True:
        boxes = items.joined(cell)
        ranges = Boxes(centre, centre, items.log_mass).joined(cell)
        middle, spread = 0.5 * (ranges.least + ranges.most), ranges.most - ranges.least
        # were beta·E uniform over a box's slack s, (1 − e^−s)/s of what is proposed there would be kept
        width = boxes.most - boxes.least
        slack = (beta.abs() @ width.T).clamp_min_(1e-12)
        loss = torch.softmax(boxes.log_mass - boxes.exponents(beta), 1) * (1 + torch.expm1(-slack) / slack)
        worst = loss.amax(0)
        worst[spread.amax(1) == 0] = 0.0
        if float(loss.sum(1).max()) <= _LOSS or len(worst) >= _MOST or not bool((worst > 0).any()):
            return cell[fine], boxes
        lossy = torch.nonzero(worst > 0.5 * worst.mean()).squeeze(1)
        lossy = lossy[worst[lossy].argsort(descending=True)[: _MOST - len(worst)]]
        # across the energy whose share of the slack is the largest, where that can be cut
        across = (width * beta.abs().amax(0)).masked_fill(spread == 0, -1.0).argmax(1)
        upper = torch.full((len(worst),), -1, dtype=torch.long)
        upper[lossy] = torch.arange(len(worst), len(worst) + len(lossy))
        along = across[cell][:, None]
        above = centre.gather(1, along)[:, 0] > middle[cell].gather(1, along)[:, 0]
        cell = torch.where(above & (upper[cell] >= 0), upper[cell], cell)


def _fine_cells(energy: Tensor, low: Tensor, high: Tensor) -> Tensor:
    """(n,) the fine cell of each row, 0 … without gaps: what is grouped in place of the rows, for it is less.

    They are the occupied cells of a grid in z, which is beta·E at the far end of the range; past the knee z is
    logarithmic, for rows there are all but never drawn. A range that crosses 0 prefers high energies too, and the same
    is added from their end.
    """
    span, k = energy.amax(0), energy.shape[1]
    up, down = high.clamp_min(0), (-low).clamp_min(0)
    z = _warp(up * energy) + (_warp(down * span) - _warp(down * (span - energy)))
    bits = min(12, max(_FINE_BITS // k, 1))
    width = float(z.amax()) / 2**bits
    if width == 0.0:
        return torch.zeros(len(energy), dtype=torch.long)
    code = torch.zeros(len(energy), dtype=torch.long)
    for column in z.T[:_FINE_BITS]:  # of more energies than bits, the first
        code = code * 2**bits + (column / width).long().clamp_(0, 2**bits - 1)
    occupied = torch.bincount(code) > 0
    return (occupied.cumsum(0) - 1)[code]


def _warp(y: Tensor) -> Tensor:
    """y up to the knee, then with slope knee / y."""
    y = y.clamp_max(1e300)
    return torch.where(y > _KNEE, _KNEE * (1 + (y.clamp_min(_KNEE) / _KNEE).log()), y)
