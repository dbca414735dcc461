"""How a batch of x_1 is drawn and what each one's loss is multiplied by.

All three have Σ_i loss_weight_i · ‖·‖² / batch estimate  E_p[w ‖·‖²] / E_p[w]  (arXiv 2503.04975, eq. 9), so the
minimiser is the guided velocity. They differ in variance and bias:

    resample   draw ∝ w, multiply by 1              no batch bias, no step spent on w ≈ 0 (the default)
    global     draw ∝ s, multiply by w / mean w     no batch bias, but the loss is carried by few rows
    softmax    draw ∝ s, multiply by B·softmax_B    the paper's in-batch form: biased, the more the smaller the batch
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

import torch
from torch import Tensor

from egflow._kinds import shown
from egflow.weights._weights import normalise


@dataclass(frozen=True, slots=True)
class Drawn:
    """The x_1 of one step.

    Attributes:
        index: (batch,) long.
        weight: (batch,) float64 factors of the loss, or None for 1.
        beta: (batch, k) float64, the beta of k energies each row was drawn at, or None where all rows share one.
    """

    index: Tensor
    weight: Tensor | None = None
    beta: Tensor | None = None


class Batches(Protocol):
    """Draws of one tilt, ready to be taken step by step."""

    def __call__(self, u: Tensor, generator: torch.Generator) -> Drawn:
        """Positions u (batch,) in [0, 1), and a generator for what else is drawn -> the x_1 of a step."""
        ...


@runtime_checkable
class Draw(Protocol):
    """A rule that turns weights into draws."""

    def prepare(self, log_w: Tensor, log_s: Tensor) -> Batches:
        """Take (N,) log-weights, and the (N,) log sample weights they hold, and return the draws."""
        ...


class Inverse:
    """Inverse-CDF lookup over N shares in O(log N) a draw; a point of share 0 is never returned."""

    def __init__(self, share: Tensor) -> None:
        self._support = torch.nonzero(share > 0).squeeze(1)
        self._cdf = share[self._support].cumsum(0)

    def __call__(self, u: Tensor) -> Tensor:
        place = torch.searchsorted(self._cdf, u.to(self._cdf) * self._cdf[-1], right=True)
        return self._support[place.clamp_(max=len(self._support) - 1)]


def resample(log_w: Tensor, u: Tensor) -> Tensor:
    """Indices (n,) ∝ exp(log_w (N,)) at positions u (n,) in [0, 1); a point of weight 0 is never returned."""
    return Inverse(normalise(log_w))(u)


@dataclass(frozen=True, slots=True)
class Resample:
    """Draw x_1 ∝ w.

    Attributes:
        defensive: share λ in [0, 1) of draws that come from the original data instead. The loss is then multiplied by
            w / ((1 − λ) w + λ s), all normalised, which keeps the target exact and bounds the factor by 1 / (1 − λ).
    """

    defensive: float = 0.0

    def __post_init__(self) -> None:
        if not 0.0 <= self.defensive < 1.0:
            raise ValueError(f"defensive must be a share in [0, 1), got {self.defensive}")

    def prepare(self, log_w: Tensor, log_s: Tensor) -> Batches:
        """The draws, see `Draw`."""
        share = normalise(log_w)
        if self.defensive == 0.0:
            plain = Inverse(share)
            return lambda u, generator: Drawn(plain(u))
        mixed = (1 - self.defensive) * share + self.defensive * normalise(log_s)
        draw, ratio = Inverse(mixed), share / mixed.clamp_min(torch.finfo(torch.float64).tiny)

        def batches(u: Tensor, generator: torch.Generator) -> Drawn:
            index = draw(u)
            return Drawn(index, ratio[index])

        return batches


@dataclass(frozen=True, slots=True)
class Global:
    """Draw from the data, multiply the loss by w over its mean over the whole dataset."""

    def prepare(self, log_w: Tensor, log_s: Tensor) -> Batches:
        """The draws, see `Draw`."""
        original = normalise(log_s)
        draw = Inverse(original)
        ratio = torch.where(original > 0, normalise(log_w) / original, 0.0)

        def batches(u: Tensor, generator: torch.Generator) -> Drawn:
            index = draw(u)
            return Drawn(index, ratio[index])

        return batches


@dataclass(frozen=True, slots=True)
class Softmax:
    """Draw from the data, multiply the loss by batch · softmax over the batch of −beta·E (the paper's form)."""

    def prepare(self, log_w: Tensor, log_s: Tensor) -> Batches:
        """The draws, see `Draw`."""
        draw = Inverse(normalise(log_s))
        exponent = torch.where(log_s > -math.inf, log_w - log_s, -math.inf)

        def batches(u: Tensor, generator: torch.Generator) -> Drawn:
            index = draw(u)
            inside = exponent[index]
            # a batch of forbidden points alone has no softmax: it carries no weight rather than NaN
            alive = bool((inside > -math.inf).any())
            return Drawn(index, len(u) * torch.softmax(inside, 0) if alive else torch.zeros_like(inside))

        return batches


DRAWS: dict[str, type[Resample] | type[Global] | type[Softmax]] = {
    "resample": Resample,
    "global": Global,
    "softmax": Softmax,
}


def make_draw(weights: str | Draw) -> Draw:
    """A draw by its name, or as given. Raises ValueError for an unknown name."""
    if isinstance(weights, Draw) and not isinstance(weights, type):
        return weights
    if not isinstance(weights, str) or weights not in DRAWS:
        raise ValueError(f"weights must be one of {', '.join(DRAWS)}, got {shown(weights)}")
    return DRAWS[weights]()
