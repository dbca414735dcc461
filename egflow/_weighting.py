"""How the rows a flow is trained on are weighted: at one beta, or over a range of it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor

from egflow.weights import Batches, Draw, Resample, beta_range_batches


class Weighting(Protocol):
    """How x_1 is drawn from a part of the data."""

    @property
    def equal(self) -> bool:
        """Whether draws are equally weighted, as an optimal-transport coupling needs."""
        ...

    @property
    def beta_range(self) -> tuple[tuple[float, float], ...] | None:
        """(low, high) for each energy where rows differ in beta, else None."""
        ...

    def batches(self, index: Tensor, device: torch.device, *, watch: bool) -> Batches | None:
        """The draws from rows index (n,); None where none of them carries weight. watch: for the held-out loss."""
        ...


@dataclass(frozen=True, slots=True)
class Weighted:
    """One weight a sample: (N,) log-weights, the log sample weights they hold, and how both become draws."""

    draw: Draw
    log_w: Tensor
    log_s: Tensor
    beta_range: None = None

    @property
    def equal(self) -> bool:
        """Whether draws are ∝ w."""
        return isinstance(self.draw, Resample) and not self.draw.defensive

    def batches(self, index: Tensor, device: torch.device, *, watch: bool) -> Batches | None:
        """See `Weighting`."""
        if not bool((self.log_w[index] > -torch.inf).any()):
            return None
        draw = Resample() if watch else self.draw
        return draw.prepare(self.log_w[index].to(device), self.log_s[index].to(device))


@dataclass(frozen=True, slots=True)
class Ranged:
    """Every beta of a range: (N, k) energies and (N,) log sample weights, −inf where forbidden."""

    energies: Tensor
    log_s: Tensor
    beta_range: tuple[tuple[float, float], ...]
    equal: bool = True

    def batches(self, index: Tensor, device: torch.device, *, watch: bool) -> Batches | None:
        """See `Weighting`."""
        log_s = self.log_s[index].to(device)
        if not bool((log_s > -torch.inf).any()):
            return None
        low, high = torch.tensor(self.beta_range, dtype=torch.float64, device=device).unbind(1)
        return beta_range_batches(self.energies[index].to(device), log_s, low, high)
