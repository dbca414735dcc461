"""How far an answer depends on a fitted base's tail, which the data hardly show.

Where p means the base flow, q at a far beta lives where the base was fitted to few points or none. Two things are
looked at, both as an error of the mean energy:

- two bases fitted to the two halves of the data: the same proposals, weighted by each of the three bases, give three
  means of E; their range says what other data would have given;
- a fitted base can be wrong in the same way twice: as long as 100 points of either half stay effective, each half's
  base is held against the other half's weighted data; a gap of over 4 standard errors is carried on to all farther
  betas.

It is an estimate from three fits, not a bound: past the data nothing checks what all bases have in common.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from egflow.rounds._proposals import Proposals, effective

LIMIT = 0.1
"""Standard deviations of E under p: a run stops where the error bar is larger."""
_LEAST = 100.0  # effective points of half the data that can be held against a base
_FEWEST = 30.0  # effective proposals for a half's mean to be believed
_ERRORS = 4.0


def tilted_mean(log_w: Tensor, values: Tensor) -> tuple[float, float]:
    """Self-normalised mean of values (n,) under log-weights (n,), and its standard error."""
    share = torch.softmax(log_w, 0)
    mean = float(share @ values)
    return mean, math.sqrt(float(share.square() @ (values - mean).square()))


@dataclass(frozen=True, slots=True, eq=False)
class Tail:
    """What the error is measured with.

    Attributes:
        halves: the two halves of the data; each half's base was fitted to the half of the same place.
        limit: the error that stops a run, on the energy's own scale.
    """

    halves: tuple[Proposals, Proposals]
    limit: float

    def error(self, fresh: Proposals, beta: float, carried: float = 0.0) -> float:
        """The error of the mean energy at beta by these proposals: the range of the bases plus the gap to the data.

        Args:
            carried: the gap found so far.

        Returns:
            inf where a half's base leaves hardly a proposal effective.
        """
        means = self._means(fresh, beta)
        return math.inf if means is None else max(means) - min(means) + max(carried, self.gap(fresh, beta))

    def gap(self, fresh: Proposals, beta: float) -> float:
        """|mean E by the halves' bases − mean E of the data| at beta, where the data can tell; else 0."""
        means = self._means(fresh, beta)
        if means is None:
            return 0.0
        gaps, variance = [], 0.0
        for mean, other in zip(means[1:], reversed(self.halves), strict=True):
            log_w = other.log_w(beta)
            if effective(log_w) < _LEAST:
                return 0.0
            wanted, error = tilted_mean(log_w, other.energies.values)
            gaps.append(mean - wanted)
            variance += error**2
        own = tilted_mean(self._rows(fresh, beta), fresh.energies.values[: self._count(fresh)])[1]
        found, error = abs(sum(gaps)) / 2, math.hypot(math.sqrt(variance) / 2, own)
        return found if found > _ERRORS * error else 0.0

    def farthest(self, fresh: Proposals, here: float, goal: float, carried: float) -> float:
        """The farthest beta towards the goal whose error is within the limit, on a grid of 32; ``here`` if none."""
        last = here
        for step in range(1, 33):
            beta = here + step / 32 * (goal - here)
            carried = max(carried, self.gap(fresh, beta))
            if self.error(fresh, beta, carried) > self.limit:
                break
            last = beta
        return last

    def _means(self, fresh: Proposals, beta: float) -> list[float] | None:
        assert fresh.log_halves is not None
        log_w, values = self._rows(fresh, beta), fresh.energies.values[: self._count(fresh)]
        several = [log_w, *(log_w + half for half in fresh.log_halves)]
        if min(effective(one) for one in several) < _FEWEST:
            return None
        return [tilted_mean(one, values)[0] for one in several]

    def _rows(self, fresh: Proposals, beta: float) -> Tensor:
        return fresh.log_w(beta)[: self._count(fresh)]

    def _count(self, fresh: Proposals) -> int:
        assert fresh.log_halves is not None
        return fresh.log_halves.shape[1]
