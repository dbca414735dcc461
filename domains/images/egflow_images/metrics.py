"""What is measured of generated pictures beside the core's report: copies, features, factors, shares of the digits."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from egflow.report import halved_distance
from egflow.weights import n_eff, normalise
from egflow_images.classifier import ColourClassifier, DigitClassifier, digit_classifier, emoji_classifier
from egflow_images.shapes import FACTORS, read

if TYPE_CHECKING:
    from egflow.report import Evidence

_OWN = 4_000  # training pictures whose distances from each other say what is near
_BINS = 12  # of a factor
_NEIGHBOUR = 3
_SAME = 1e-4  # of two pictures that are one
_MOST, _LEAST = 2_000, 50  # pictures on each side of precision and recall
_PART = 512


def picture_metrics(evidence: Evidence, name: str | None) -> dict[str, Any]:
    """Flat keys for ``domain_metrics``.

    ``near_copy_share``: share of generated pictures nearer to a training picture than 1 % of the training pictures
    are to one another; ``near_copy_share_held_out``: the same of the held-out pictures, which cannot be copies. Then
    those of `feature_metrics`, and of `factor_metrics` of shapes or `digit_shares` of digits.
    """
    held_out = torch.zeros(len(evidence.data), dtype=torch.bool)
    held_out[evidence.held_out] = True
    train = evidence.data[~held_out]
    found: dict[str, Any] = {
        "near_copy_share": near_copy_share(evidence.samples, train),
        "near_copy_share_held_out": near_copy_share(evidence.data[held_out], train),
    }
    if classifier := digit_classifier() if name == "digits" else _of_colour(evidence.data):
        found |= feature_metrics(evidence, classifier)
    own = {"shapes": factor_metrics, "digits": digit_shares}.get(str(name))
    return found | (own(evidence) if own else {})


def _of_colour(x: Tensor) -> ColourClassifier | None:
    return emoji_classifier() if x.shape[1] == 3 and x.shape[-1] >= 8 else None


def near_copy_share(samples: Tensor, train: Tensor) -> float:
    """Share of samples nearer to a training picture than the 1st percentile of the training's own nearest distances.

    Those distances are of the first 4,000 training pictures from one another, repeated pictures left out.

    Args:
        samples: (n, c, h, w).
        train: (N, c, h, w), N ≥ 2.

    Returns:
        A share in [0, 1]. About .01 is what fresh pictures would show; 1 is a generator that copies.
    """
    some = train[:_OWN].flatten(1).double()  # in float32 the distance of a picture from itself is not 0
    own = torch.cdist(some, some).fill_diagonal_(torch.inf).min(dim=1).values
    own = own[own > _SAME]
    if not len(own):
        return 0.0
    train = train.flatten(1).double()
    nearest = torch.cat(
        [torch.cdist(part, train).min(dim=1).values for part in samples.flatten(1).double().split(1024)]
    )
    return round(float((nearest < own.quantile(0.01)).double().mean()), 4)


def feature_metrics(evidence: Evidence, classifier: DigitClassifier | ColourClassifier) -> dict[str, Any]:
    """Generated pictures against the weighted data in the space of a classifier's features (it is trained here).

    - ``feature_distance``, ``feature_distance_floor``: sliced W2 to the held-out part as in the core's report, and what
      as many exact draws show. It is no FID: another network, another distance.
    - ``feature_precision``: share of generated pictures nearer to a picture of the weighted data than that is to its
      third neighbour; ``feature_recall``: the same with the two exchanged (Kynkaanniemi et al. 2019, arXiv 1904.06991).
      ``…_of_data`` is what other draws of the weighted data show in place of the generated. Up to 2,000 draws of all
      data a side and at most a quarter of n_eff; none of the four where that leaves fewer than 50.
    """
    known, made = (
        torch.cat([classifier.features(part) for part in x.float().split(_PART)])
        for x in (evidence.data, evidence.samples)
    )
    held, found = evidence.held_out, {}
    halved = halved_distance(known[held], normalise(evidence.log_w[held]), made)
    if halved is not None:
        found = {
            "feature_distance": round(halved.value, 5),
            "feature_distance_floor": round(halved.floor, 5),
        }
    size = min(_MOST, len(made), int(n_eff(evidence.log_w) / 4))
    if size < _LEAST:
        return found
    generator, share = torch.Generator().manual_seed(0), normalise(evidence.log_w)
    drawn = torch.multinomial(share, 2 * size, replacement=True, generator=generator)
    first, second = drawn[:size].unique(), drawn[size:].unique()
    second = second[~torch.isin(second, first)]  # no row is its own neighbour
    target, other, made = known[first], known[second], made[: len(second)]
    return found | {
        "feature_precision": within(made, target),
        "feature_precision_of_data": within(other, target),
        "feature_recall": within(target, made),
        "feature_recall_of_data": within(target, other),
    }


def within(points: Tensor, centres: Tensor) -> float:
    """Share of points (m, dim) that lie within some centre's (n, dim) distance to its third nearest fellow.

    >>> within(torch.tensor([[0.5], [9.0]]), torch.arange(4.0)[:, None])
    0.5
    """
    radius = torch.cdist(centres, centres).kthvalue(_NEIGHBOUR + 1, dim=1).values
    return round(float((torch.cdist(points, centres) <= radius).any(1).double().mean()), 4)


def digit_shares(evidence: Evidence) -> dict[str, float]:
    """``digit_0_target``, ``digit_0_generated``, …: shares of the weighted data and of the generated, as classified."""
    classify = digit_classifier()
    target = torch.zeros(10, dtype=torch.float64).index_add(
        0, classify(evidence.data).argmax(dim=1), normalise(evidence.log_w)
    )
    generated = torch.bincount(classify(evidence.samples).argmax(dim=1), minlength=10).double() / len(evidence.samples)
    return {
        f"digit_{digit}_{side}": round(float(shares[digit]), 4)
        for digit in range(10)
        for side, shares in (("target", target), ("generated", generated))
    }


def factor_metrics(evidence: Evidence) -> dict[str, Any]:
    """Total variation of each factor, generated against all weighted data, in 12 bins.

    Pictures are read alike on both sides (`egflow_images.shapes.read`). ``<factor>_tv_floor`` is what as many exact
    draws would show in the mean, √(2 / πn) · Σ √(p(1 − p)) / 2.
    """
    data, made = read(evidence.data), read(evidence.samples)
    weight = normalise(evidence.log_w)
    found: dict[str, Any] = {}
    for name in FACTORS:
        known, new = getattr(data, name).double(), getattr(made, name).double()
        if name == "count":
            edges = torch.arange(-0.5, max(float(known.max()), float(new.max())) + 1.0, dtype=torch.float64)
        else:
            edges = torch.linspace(float(known.min()), float(known.max()) + 1e-9, _BINS + 1, dtype=torch.float64)
        places = [torch.bucketize(values, edges[1:-1], right=True) for values in (known, new)]
        target = torch.zeros(len(edges) - 1, dtype=torch.float64).index_add_(0, places[0], weight)
        share = torch.bincount(places[1], minlength=len(target)).double() / len(new)
        floor = (target * (1 - target)).sqrt().sum() * (2 / (torch.pi * len(new))) ** 0.5 / 2
        found[f"{name}_tv"] = round(float((share - target).abs().sum() / 2), 4)
        found[f"{name}_tv_floor"] = round(float(floor), 4)
    return found
