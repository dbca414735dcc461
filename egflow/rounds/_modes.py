"""Whether a refitted flow has lost a mode: clusters' shares of its samples against their weighted shares."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from egflow.report._coverage import k_means, nearest
from egflow.weights import normalise, resample

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


def lost_mode(features: Tensor, log_w: Tensor, before: Tensor, samples: Tensor) -> Lost | None:
    """The worst cluster whose share of samples is under half of its weighted share, by over 4 standard errors.

    It has to be so against the weights of this round's beta and of the last one's: a cluster that is only to grow, and
    lags behind, was not lost.

    Args:
        features: (n, k) weighted draws, float.
        log_w, before: (n,) their log-weights at the beta of the samples' flow, and at the one before.
        samples: (m, k) of the flow.

    Returns:
        None where there is none, or fewer than 100 effective draws to make clusters of.
    """
    share = normalise(log_w)
    count = min(_MOST, int(1 / (_EACH * float(share.square().sum()))))
    if count < 2:
        return None
    u = torch.rand(_POINTS, generator=torch.Generator().manual_seed(_POINTS), dtype=torch.float64)
    drawn = resample(log_w, u)
    centres = k_means(features[drawn].float(), count)
    owner, got = nearest(features.float(), centres), nearest(samples.float(), centres)
    found = torch.bincount(got, minlength=len(centres)).double() / len(samples)
    lost = torch.ones(len(centres), dtype=torch.bool)
    wanted = torch.ones(len(centres), dtype=torch.float64)
    for weights in (share, normalise(before)):
        mass = torch.zeros(len(centres), dtype=torch.float64).index_add_(0, owner, weights)
        squares = torch.zeros(len(centres), dtype=torch.float64).index_add_(0, owner, weights.square())
        # of a self-normalised share: Σ_i w̃_i² (1[i in cluster] − share)²
        variance = squares * (1 - mass).square() + (squares.sum() - squares) * mass.square()
        error = (variance + torch.maximum(found, mass) / len(samples)).sqrt()
        lost &= (found < _LOST * mass) & (mass - found > _ERRORS * error)
        wanted = torch.minimum(wanted, mass)
    if not bool(lost.any()):
        return None
    worst = int(torch.where(lost, wanted - found, -1.0).argmax())
    return Lost(float(found[worst]), float(wanted[worst]))
