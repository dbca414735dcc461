"""The known q of a toy set: exact draws of it, what samples are judged by against them, and tilts without a report."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import torch
from egflow_toy.densities import density
from egflow_toy.energies import ClassicEnergy
from egflow_toy.exact import swissroll_tilt
from torch import Tensor

import egflow
from egflow._fit import train_flow, warm_start
from egflow._weighting import Weighted
from egflow.energy import EnergyValues, evaluate
from egflow.flow import Flow
from egflow.objective import METHODS
from egflow.training import TrainingOptions
from egflow.weights import log_weights, make_draw

QUIET = TrainingOptions(progress="quiet")
N = 400_000
EFFECTIVE = 100_000
_LEAST_ENERGY = -1.0  # of every classic energy but the swissroll's, which has none


def exact_draws(name: str, energy: Callable[..., Tensor], beta: float, n: int, seed: int) -> Tensor:
    """n independent draws of q ∝ p·exp(−beta·E), (n, 2): fresh draws of p, kept with probability exp(−beta·(E + 1)).

    The swissroll's energy has no least value; its q is drawn in closed form.
    """
    if name == "swissroll":
        return swissroll_tilt(n, beta, seed=seed)
    kept: list[Tensor] = []
    generator = torch.Generator().manual_seed(seed)
    while sum(map(len, kept)) < n:
        x = density(name).sample(1_000_000, seed=1_000 * seed + len(kept))
        accepted = torch.exp(-beta * (evaluate(energy, x).values - _LEAST_ENERGY))
        kept.append(x[torch.rand(len(x), generator=generator, dtype=torch.float64) < accepted])
    return torch.cat(kept)[:n]


def train_tilt(
    base: Flow, x: Tensor, energies: EnergyValues, beta: float, weights: str, steps: int, batch_size: int
) -> Flow:
    """What `egflow.tilt(base, energy, beta, data=x, weights=…)` trains, bit for bit, without its report."""
    weighting = Weighted(make_draw(weights), log_weights(energies, beta), log_weights(energies, 0.0))
    objective = METHODS["cefm"]
    return train_flow(warm_start(base), x, None, weighting, objective, steps, batch_size, 0, QUIET)


@dataclass(frozen=True, slots=True)
class Judged:
    """Figures of one sampler: distance and its floor, the bias of the mean energy in base standard deviations, KS."""

    distance: float
    floor: float
    bias: float
    ks: float

    @property
    def ratio(self) -> float:
        """Distance in floors."""
        return self.distance / self.floor


@dataclass(frozen=True, slots=True)
class Target:
    """Exact draws of one q, with their energies."""

    name: str
    beta: float
    energy: ClassicEnergy
    points: Tensor
    energies: EnergyValues
    spread: float

    @classmethod
    def of(cls, name: str, beta: float, effective: int = EFFECTIVE) -> Target:
        """The target of a set at a beta; none of its draws is ever trained on."""
        energy = ClassicEnergy(name)
        points = exact_draws(name, energy, beta, effective, seed=1)
        spread = float(evaluate(energy, density(name).sample(N, seed=2)).values.std())
        return cls(name, beta, energy, points, evaluate(energy, points), spread)

    def judge(self, samples: Tensor) -> Judged:
        """Hold samples against the draws, by `egflow.report`: beta 0, for the draws are those of q itself."""
        made = egflow.report(samples, self.energy, 0.0, self.points, energies=self.energies, reference="base")
        mean = made.energy_mean
        generated, target = mean["generated"], mean["target"]
        assert made.distance is not None and made.energy_ks is not None
        assert generated is not None and target is not None
        bias = (generated - target) / self.spread
        return Judged(made.distance["value"], made.distance["floor"], bias, made.energy_ks)

    def allowed_bias(self, samples: int, n_eff: float) -> float:
        """3 standard errors (of the draws, the samples and the training data's own n_eff) + .01 standard deviations."""
        variance = float(self.energies.values.var())
        return 3 * math.sqrt(variance * (1 / len(self.points) + 1 / samples + 1 / n_eff)) / self.spread + 0.01
