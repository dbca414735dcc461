"""Draws that can be weighted into q at any beta, and the pool of all of them.

Draws of a known distribution g (the data of p itself, or a flow so far) become draws of q_beta by

    w(x) = p(x) / g(x) · exp(−beta · E(x)),

always against p itself: nothing is compounded over rounds, so an error of one round's flow is no error of the next
one's target. Constants of p and g cancel, for each set of draws is normalised by itself; sets are then mixed ∝ their
n_eff at that beta, which needs no constant either and keeps the earlier ones as a defensive share (Owen & Zhou 2000).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from egflow.energy import EnergyValues
from egflow.report import held_out_split


@dataclass(frozen=True, slots=True, eq=False)
class Proposals:
    """Draws of one distribution g.

    Attributes:
        x: (n, *event) on the CPU.
        energies: of x.
        log_ratio: (n,) float64, log p − log g up to a constant; −inf where p has no mass.
        log_halves: (2, m) float64, the log densities of two half-data bases minus the base's, at the first m rows; None
            where there are no such bases.
    """

    x: Tensor
    energies: EnergyValues
    log_ratio: Tensor
    log_halves: Tensor | None = None

    def __len__(self) -> int:
        return len(self.x)

    def log_w(self, beta: float) -> Tensor:
        """(n,) float64 log-weights for q at beta, −inf where forbidden or outside p."""
        return (self.log_ratio - beta * self.energies.values).masked_fill(self.energies.forbidden, -math.inf)

    @property
    def alive(self) -> bool:
        """Whether any draw carries weight."""
        return bool((self.log_w(0.0) > -math.inf).any())


def effective(log_w: Tensor) -> float:
    """n_eff of log-weights (n,), 0 where none is above −inf."""
    top = log_w.max()
    if not top > -math.inf:
        return 0.0
    w = (log_w - top).exp()
    return float(w.sum().square() / w.square().sum())


def pool_log_w(parts: Sequence[Proposals], beta: float) -> Tensor:
    """Log-weights (Σ n,) of all draws for q at beta; each set's total is its n_eff. n_eff of the whole is the sum."""
    return torch.cat([part.log_w(beta) + mixing(part, beta) for part in parts])


def mixing(part: Proposals, beta: float) -> float:
    """log of what a set's weights are multiplied by in the pool: its n_eff over its total weight."""
    log_w = part.log_w(beta)
    left = effective(log_w)
    return math.log(left) - float(torch.logsumexp(log_w, 0)) if left > 0 else -math.inf


def split_parts(parts: Sequence[Proposals]) -> tuple[Tensor, Tensor]:
    """Rows of the pool to train on, and the tenth of each set that no round ever trains on."""
    train, held, before = [], [], 0
    for part in parts:
        mine = held_out_split(len(part))
        train.append(mine[0] + before)
        held.append(mine[1] + before)
        before += len(part)
    return torch.cat(train), torch.cat(held)


def arranged(train: Tensor, held: Tensor) -> Tensor:
    """An order of rows whose `held_out_split` holds out rows of ``held`` alone; some ten rows a set are left over."""
    n = len(train) + len(held)
    while True:
        train_place, held_place = held_out_split(n)
        if len(train_place) <= len(train) and len(held_place) <= len(held):
            break
        n -= 1
    order = torch.empty(n, dtype=torch.long)
    order[train_place], order[held_place] = train[: len(train_place)], held[: len(held_place)]
    return order
