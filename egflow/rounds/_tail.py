"""How far an answer depends on a fitted density's tail, which the data hardly show.

Where log p is not known, q past the data is the tilt of a flow fitted to them, and lives where it saw few points or
none. Two things are looked at, both as an error of the mean energy:

- two flows fitted to the two halves of the data: the same proposals, weighted by each of the three densities, give
  three means of E; their range says what other data would have given;
- fitted flows can be wrong in the same way twice: as long as 100 points of either half stay effective, each half's
  flow is held against the other half's weighted data; a gap of over 3 standard errors is added, and carried on to all
  farther betas.

It is an estimate from three fits, not a bound: past the data nothing checks what all of them have in common.
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
_ERRORS = 3.0


def tilted_mean(log_w: Tensor, values: Tensor) -> tuple[float, float]:
    """Self-normalised mean of values (n,) under log-weights (n,), and its standard error."""
    share = torch.softmax(log_w, 0)
    mean = float(share @ values)
    return mean, math.sqrt(float(share.square() @ (values - mean).square()))


@dataclass(frozen=True, slots=True, eq=False)
class Tail:
    """What the error is measured with.

    Attributes:
        halves: the two halves of the data; each half's flow was fitted to the half of the same place.
        limit: the error that stops a run, on the energy's own scale.
    """

    halves: tuple[Proposals, Proposals]
    limit: float

    def error(self, fresh: Proposals, beta: float, carried: float = 0.0) -> float:
        """The error of the mean energy at beta by these proposals: the range of the three plus the gap to the data.

        Args:
            carried: the gap found so far.

        Returns:
            inf where a half's density leaves hardly a proposal effective.
        """
        means = self._means(fresh, beta)
        return math.inf if means is None else max(means) - min(means) + max(carried, self.gap(fresh, beta))

    def reason(self, beta: float) -> str:
        """Why a run stopped at beta."""
        return (
            f"past beta {beta:.4g} the mean energy depends on the fitted density's tail by more than {self.limit:.3g} "
            f"({LIMIT:g} standard deviations of E under p): give log_p=, or more data"
        )

    def gap(self, fresh: Proposals, beta: float) -> float:
        """|mean E by the halves' flows − mean E of the data| at beta, where the data can tell; else 0."""
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
