"""Rounds on Gaussians, where a refit is the weighted mean and covariance and every answer is known.

p = N(0, I), E(x) = x_0, so q_beta = N(−beta·e_0, I) and log Z = beta² / 2: at beta 8 it is 8 standard deviations away.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

import torch
from torch import Tensor

from egflow.energy import EnergyValues
from egflow.rounds import Proposals, pool_log_w


def energy(x: Tensor) -> Tensor:
    return x[:, 0].double()


@dataclass
class Normal:
    """N(mean, covariance) in float64, in a flow's place."""

    mean: Tensor
    covariance: Tensor

    def log_prob(self, x: Tensor) -> Tensor:
        return torch.distributions.MultivariateNormal(self.mean, self.covariance).log_prob(x)

    def sample(self, n: int, seed: int) -> Tensor:
        noise = torch.randn(n, len(self.mean), generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
        return self.mean + noise @ torch.linalg.cholesky(self.covariance).T


def standard(dim: int = 2) -> Normal:
    return Normal(torch.zeros(dim, dtype=torch.float64), torch.eye(dim, dtype=torch.float64))


@dataclass
class GaussianSteps:
    """`Steps` with exact densities. ``spoil`` may replace a refitted flow; ``halves`` are half-data bases."""

    p: Normal = field(default_factory=standard)
    spoil: Callable[[Normal, int], Normal] = lambda flow, number: flow
    energy: Callable[[Tensor], Tensor] = energy
    halves: tuple[Normal, Normal] | None = None
    refits: list[tuple[float, bool]] = field(default_factory=list)

    def draws_of_p(self, n: int, seed: int = 0) -> Proposals:
        return self._evaluated(self.p, n, seed)

    def propose(self, flow: Normal, n: int, number: int) -> Proposals:
        return self._evaluated(flow, n, number)

    def refit(self, flow: Normal, parts: list[Proposals], beta: float, number: int, last: bool) -> Normal:
        self.refits.append((beta, last))
        x, share = torch.cat([part.x for part in parts]), torch.softmax(pool_log_w(parts, beta), 0)
        mean = share @ x
        return self.spoil(Normal(mean, (x - mean).T @ (share[:, None] * (x - mean))), number)

    def sample(self, flow: Normal, n: int, number: int) -> Tensor:
        return flow.sample(n, 1_000 + number)

    def features(self, x: Tensor) -> Tensor:
        return x

    def _evaluated(self, flow: Normal, n: int, seed: int) -> Proposals:
        x = flow.sample(n, seed)
        values = EnergyValues.from_tensor(self.energy(x))
        halves = None
        if self.halves is not None:
            halves = torch.stack([half.log_prob(x[:4_000]) - self.p.log_prob(x[:4_000]) for half in self.halves])
        counted = EnergyValues(values.values, values.forbidden, calls=n)
        return Proposals(x, counted, self.p.log_prob(x) - flow.log_prob(x), halves)
