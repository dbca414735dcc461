"""Samples against one weighted reference: energies and distance."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from egflow._rows import Rows
from egflow.energy import EnergyValues
from egflow.report._distance import Halved, halved_distance
from egflow.report._energies import ks_noise, weighted_ks, weighted_mean, weighted_w1
from egflow.weights import normalise

Mean = tuple[float, float]


@dataclass(frozen=True, slots=True, eq=False)
class Reference:
    """Points and their weights: x (n, dim) on the CPU, log_w and log_s (n,), both −inf where forbidden."""

    x: Rows
    energies: EnergyValues
    log_w: Tensor
    log_s: Tensor

    @property
    def alive(self) -> bool:
        """Whether any point carries weight."""
        return bool((self.log_w > -math.inf).any())

    def at(self, index: Tensor) -> Reference:
        """The part at index (n,) long or bool."""
        return Reference(self.x.at(index), self.energies.at(index), self.log_w[index], self.log_s[index])


@dataclass(frozen=True, slots=True)
class Comparison:
    """Means come as (value, standard error); None where they could not be had."""

    base: Mean | None
    target: Mean | None
    generated: Mean | None
    base_std: float
    ks: float | None
    w1: float | None
    ks_noise: float
    distance: Halved | None

    def means(self, trusted: bool) -> dict[str, float | None]:
        """`energy_mean` of report.json; the target's standard error only where it can be trusted."""
        return {
            "base": self.base[0] if self.base else None,
            "target": self.target[0] if self.target else None,
            "target_stderr": self.target[1] if self.target and trusted else None,
            "generated": self.generated[0] if self.generated else None,
            "generated_stderr": self.generated[1] if self.generated else None,
        }

    def energies(self, trusted: bool) -> dict[str, Any]:
        """What is said of one energy: means, KS and W1."""
        return {"energy_mean": self.means(trusted), "energy_ks": self.ks, "energy_w1": self.w1}


def compare(reference: Reference, samples: Tensor | None, made: EnergyValues) -> Comparison:
    """Energies and distance of samples (m, dim) to a weighted reference; of forbidden ones the distance only.

    Without samples (None) the energies alone.
    """
    finite = made.values[~made.forbidden]
    generated = weighted_mean(finite, torch.full_like(finite, 1 / len(finite))) if len(finite) else None
    if not reference.alive:
        return Comparison(None, None, generated, 0.0, None, None, 0.0, None)
    values, share, untilted = reference.energies.values, normalise(reference.log_w), normalise(reference.log_s)
    base, target = weighted_mean(values, untilted), weighted_mean(values, share)
    base_std = math.sqrt(float(untilted @ (values - base[0]).square()))
    kept = share > 0
    ks = w1 = None
    noise = 0.0
    if len(finite):
        ks = weighted_ks(values[kept], finite, share[kept])
        w1 = weighted_w1(values[kept], finite, share[kept])
        noise = ks_noise(values[kept], share[kept], len(finite))
    distance = None if samples is None else halved_distance(reference.x, share, samples)
    return Comparison(base, target, generated, base_std, ks, w1, noise, distance)
