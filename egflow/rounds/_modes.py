"""Whether a refitted flow has lost a mode: clusters' shares of its samples against their weighted shares."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from egflow.report._coverage import k_means, nearest
from egflow.weights import normalise

_LOST = 0.5  # of its weighted share
_ERRORS = 4.0
_MOST = 12
_POINTS = 3_000  # that clusters are made of
_EACH = 50  # effective points a cluster


@dataclass(frozen=True, slots=True)
class Lost:
    """A mode that is missing: its share of the samples, and the share it should have."""

    share: float
    wanted: float

    def __str__(self) -> str:
        return f"a cluster that holds {self.wanted:.1%} of the weighted draws has {self.share:.1%} of the samples"


def lost_mode(features: Tensor, log_w: Tensor, samples: Tensor) -> Lost | None:
    """The worst cluster whose share of samples is under half of its weighted share, by over 4 standard errors.

    Args:
        features: (n, k) weighted draws, float.
        log_w: (n,) their log-weights.
        samples: (m, k) of the flow.

    Returns:
        None where there is none, or fewer than 100 effective draws to make clusters of.
    """
    share = normalise(log_w)
    count = min(_MOST, int(1 / (_EACH * float(share.square().sum()))))
    if count < 2:
        return None
    drawn = torch.multinomial(share, _POINTS, replacement=True, generator=torch.Generator().manual_seed(_POINTS))
    centres = k_means(features[drawn].float(), count)
    kept = share > 0
    owner, got = nearest(features[kept].float(), centres), nearest(samples.float(), centres)
    share = share[kept]
    wanted = torch.zeros(len(centres), dtype=torch.float64).index_add_(0, owner, share)
    squares = torch.zeros(len(centres), dtype=torch.float64).index_add_(0, owner, share.square())
    found = torch.bincount(got, minlength=len(centres)).double() / len(samples)
    # of a self-normalised share: Σ_i w̃_i² (1[i in cluster] − share)²
    variance = squares * (1 - wanted).square() + (squares.sum() - squares) * wanted.square()
    error = (variance + torch.maximum(found, wanted) / len(samples)).sqrt()
    lost = (found < _LOST * wanted) & (wanted - found > _ERRORS * error)
    if not bool(lost.any()):
        return None
    worst = int(torch.where(lost, wanted - found, -1.0).argmax())
    return Lost(float(found[worst]), float(wanted[worst]))
