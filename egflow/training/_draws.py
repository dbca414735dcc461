"""Every random number of a step, as a pure function of (seed, step, index in the global batch).

The draws have less variance than independent ones and the same means:

- x_1 by systematic resampling: positions (i + u)/B in the cumulated weights, one u a step;
- t stratified: a random permutation of (i + u)/B, one u a step;
- x_0 antithetic: the second half of the batch is minus the first.
"""

from __future__ import annotations

import operator
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from egflow._kinds import shown

_MASK = (1 << 63) - 1


def mix(*parts: int) -> int:
    """One 63-bit seed from several whole numbers (splitmix64's finaliser, chained). Raises ValueError for others."""
    state = 0
    for part in parts:
        try:
            whole = operator.index(part)
        except (TypeError, ValueError, RuntimeError):
            raise ValueError(f"seed must be a whole number, got {shown(part)}") from None
        state = (state ^ (whole & _MASK)) + 0x9E3779B97F4A7C15
        state = ((state ^ (state >> 30)) * 0xBF58476D1CE4E5B9) & ((1 << 64) - 1)
        state = ((state ^ (state >> 27)) * 0x94D049BB133111EB) & ((1 << 64) - 1)
        state ^= state >> 31
    return state & _MASK


@dataclass(frozen=True, slots=True)
class StepDraws:
    """The draws of one step.

    Attributes:
        u: (batch,) float64 positions in [0, 1), increasing, for x_1.
        t: (batch,) flow times in [0, 1).
        generator: seeded for the step, for what else a problem draws, always in the same order.
    """

    u: Tensor
    t: Tensor
    generator: torch.Generator

    @classmethod
    def at(cls, seed: int, step: int, batch: int, generator: torch.Generator) -> StepDraws:
        """The draws of one step. The generator is only a place to draw in: it is seeded here."""
        generator.manual_seed(mix(seed, step))
        offset = torch.rand(2, generator=generator, dtype=torch.float64)
        strata = torch.arange(batch, dtype=torch.float64)
        order = torch.randperm(batch, generator=generator)
        return cls((strata + offset[0]) / batch, ((strata[order] + offset[1]) / batch).float(), generator)

    def normal(self, event_shape: Sequence[int]) -> Tensor:
        """(batch, *event_shape) standard normal, antithetic."""
        batch = len(self.u)
        half = torch.randn((batch + 1) // 2, *event_shape, generator=self.generator)
        return torch.cat([half, -half[: batch // 2]])

    def uniform(self, *shape: int) -> Tensor:
        """(batch, *shape) uniform in [0, 1)."""
        return torch.rand(len(self.u), *shape, generator=self.generator)
