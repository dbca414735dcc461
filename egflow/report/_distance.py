"""The distance of a report, and the floor that a perfect generator would show.

The weighted reference is cut at random into halves (A, B), 20 times:

    floor = median SW2(B, A)            value = median SW2(n generated samples, A),    n = n_eff of B

B has as much noise as n fresh draws of the target, so a perfect generator shows about its floor. Nothing is drawn
from the weights: a resampled reference would add noise of its own.

How near to the floor depends on the energy, for n_eff is one number: where the weights differ between regions but
hardly inside them (a mode each), the reference knows the regions' masses better than n draws would, and a perfect
generator shows up to twice the floor. So the value is also set against a bootstrap of what a perfect generator would
show here: `expected` and, two of its standard deviations above that, `limit`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from egflow._rows import Rows
from egflow.report._sliced import centre_of, cumulated, directions, project, w2_squared

HALVINGS = 20
MOST_POINTS = 10_000
MOST_SAMPLES = 40_000
_SEED = 1729


@dataclass(frozen=True, slots=True)
class Halved:
    """What the halvings gave: medians, and what each of them used."""

    value: float
    floor: float
    expected: float
    limit: float
    sizes: tuple[int, ...]
    few_samples: bool
    points: int

    @property
    def n(self) -> int:
        """The median number of generated samples in a halving."""
        return int(np.median(self.sizes))

    def block(self, name: str = "sliced_w2") -> dict[str, Any]:
        """The entry of report.json."""
        return {"name": name, "value": self.value, "floor": self.floor, "n": self.n} | {
            "expected": self.expected,
            "limit": self.limit,
        }


def _kish(share: np.ndarray) -> float:
    return float(share.sum() ** 2 / (share**2).sum()) if share.any() else 0.0


def thin(share: Tensor, most: int | None = None) -> Tensor:
    """Indices of the reference points that are used, sorted.

    Points that carry less than 1e-7 of the weight together are dropped (they move nothing, and sorting them costs the
    time), and then a random part is taken where n would exceed 10,000, or `most` points where that is given.
    """
    order = share.argsort()
    kept = order[share[order].cumsum(0) > 1e-7 * share.sum()]
    generator = torch.Generator().manual_seed(_SEED)
    effective = _kish(share[kept].numpy()) / 2
    size = len(kept) if effective <= MOST_POINTS else round(len(kept) * MOST_POINTS / effective)
    if most is not None:
        size = min(size, most)
    return kept[torch.randperm(len(kept), generator=generator)[:size]].sort().values


def halved_distance(
    x: Tensor | Rows, share: Tensor, samples: Tensor, *, sizes: Sequence[int] | None = None, most: int | None = None
) -> Halved | None:
    """Distance of samples to a weighted reference, with its floor.

    Args:
        x: (N, dim) reference points.
        share: (N,) float64 weights, summing to 1.
        samples: (m, dim) generated points.
        sizes: the n of each halving, where it is to be that of another reference (like with like); no floor then.
        most: the most reference points to use.

    Returns:
        The medians, or None where a half would hold less than two effective points.
    """
    used = thin(share, most)
    x, weight = (x.at(used) if isinstance(x, Rows) else x[used]), share[used].numpy()
    rng = np.random.default_rng(_SEED)
    if len(samples) > MOST_SAMPLES:
        samples = samples[torch.from_numpy(np.sort(rng.permutation(len(samples))[:MOST_SAMPLES]))]
    plan, short = [], False
    for cut in range(HALVINGS):
        in_a = np.zeros(len(x), dtype=bool)
        in_a[rng.permutation(len(x))[: len(x) // 2]] = True
        in_b = ~in_a
        want = round(_kish(weight[in_b])) if sizes is None else sizes[cut]
        n = min(want, len(samples))
        if n < 2 or not weight[in_a].any():
            return None
        if n < want and sizes is None:  # as few points in B as there are samples, or the floor would be too low
            short = True
            rows = np.flatnonzero(in_b)
            in_b[rng.permutation(rows)[round(len(rows) * n / want) :]] = False
        picked = np.zeros(len(samples), dtype=bool)
        picked[rng.permutation(len(samples))[:n]] = True
        # the bootstrap takes the whole reference for the truth: half as many rows redrawn, and n draws of the target
        again = rng.multinomial(len(x) // 2, np.full(len(x), 1 / len(x))) * weight
        again = again if again.any() else weight
        drawn = rng.multinomial(n, weight / weight.sum())
        plan.append((in_a, in_b, picked, cumulated(np.ones(n)), again, drawn))

    theta = directions(x.shape[1])
    centre = centre_of(x, torch.from_numpy(weight) / weight.sum())
    points, made = project(x, theta, centre), project(samples, theta, centre)
    total = np.zeros((3, HALVINGS))
    for row, other in zip(points, made, strict=True):
        order, made_order = np.argsort(row), np.argsort(other)
        row, by_row, other = row[order], weight[order], other[made_order]
        for cut, (in_a, in_b, picked, even, again, drawn) in enumerate(plan):
            a, b = in_a[order], in_b[order]
            xa, ca = row[a], cumulated(by_row[a])
            total[0, cut] += w2_squared(xa, ca, other[picked[made_order]], even)
            if sizes is None:
                total[1, cut] += w2_squared(xa, ca, row[b], cumulated(by_row[b]))
                u, v = again[order], drawn[order]
                kept_u, kept_v = u > 0, v > 0
                total[2, cut] += w2_squared(row[kept_u], cumulated(u[kept_u]), row[kept_v], cumulated(v[kept_v]))
    value, floor, perfect = np.sqrt(total / len(theta))
    counts = tuple(int(picked.sum()) for _, _, picked, *_ in plan)
    expected, limit = float(np.median(perfect)), float(perfect.mean() + 2 * perfect.std(ddof=1))
    return Halved(float(np.median(value)), float(np.median(floor)), expected, limit, counts, short, len(x))
