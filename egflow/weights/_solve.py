"""The beta at which a wanted fraction of the points stays effective."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from egflow._kinds import as_number
from egflow.weights._weights import log_weights

if TYPE_CHECKING:
    from egflow.energy import EnergyValues


def solve_beta(energies: EnergyValues, target_ess: float, sample_weight: Tensor | None = None) -> float:
    """The smallest beta > 0 with ess_fraction(beta) = target_ess, by bisection.

    The fraction falls with beta (for the Rényi-2 divergence grows along the exponential family), from its value at
    beta 0 (forbidden points and sample weights count there already) to the share of points tied at the lowest energy.

    Args:
        energies: the energies of N points.
        target_ess: the fraction asked for, in (0, 1).
        sample_weight: (N,) weights multiplied in, or None.

    Returns:
        beta, within a relative 1e-6.

    Raises:
        ValueError: for a fraction outside (0, 1), or one that no beta > 0 gives (constant energies, ties, few points).
    """
    if not 0.0 < as_number("target_ess", target_ess) < 1.0:
        raise ValueError(f"target_ess must be a fraction between 0 and 1, got {target_ess}")
    finite = energies.values[~energies.forbidden]
    spread = float(finite.max() - finite.min()) if len(finite) else 0.0
    if not math.isfinite(1e3 * spread) or 0.0 < spread < 1e-290:
        raise ValueError(
            f"target_ess cannot choose beta: the energies differ by {spread:g}, beyond float64: scale them"
        )
    if spread == 0.0:
        raise ValueError("target_ess cannot choose beta: all finite energies are equal, so every beta gives the same")

    log_s = log_weights(energies, 0.0, sample_weight)
    kept = log_s > -math.inf
    base_weight, excess = log_s[kept].exp(), energies.values[kept] - energies.values[kept].min()

    def fraction(beta: float) -> float:
        w = torch.exp(-beta * excess).mul_(base_weight)
        return float(w.sum().square() / w.square().sum()) / len(log_s)

    start = fraction(0.0)
    if target_ess >= start:
        raise ValueError(f"target_ess={target_ess:g} cannot be had: at beta 0 the fraction is {start:.4g} already")
    low, high = 0.0, 1.0 / spread
    while fraction(high) > target_ess:
        low, high = high, 2.0 * high
        if high * spread > 1e15:
            raise ValueError(
                f"target_ess={target_ess:g} cannot be had: {fraction(high):.4g} of the points tie at the lowest energy"
            )
    while high - low > 1e-6 * high:
        middle = 0.5 * (low + high)
        low, high = (middle, high) if fraction(middle) > target_ess else (low, middle)
    return 0.5 * (low + high)
