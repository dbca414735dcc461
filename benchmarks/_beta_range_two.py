"""Two energies on the 8gaussians, whose tilts are mixtures of normals again: exact draws of them, and their judge.

With E = β_a·a·x + β_b·‖x − c‖²·k/2 each component N(m, s²I) becomes a normal of precision Λ = 1/s² + β_b·k and mean
(m/s² − β_a·a + β_b·k·c)/Λ, and its share is multiplied by Z(m) = ∫ N(x; m, s²)·exp(−E(x)) dx.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from egflow_toy.densities import MIXTURE_CENTRES, MIXTURE_STD, density
from egflow_toy.energies import Linear, Quadratic
from torch import Tensor

import egflow
from egflow.energy import evaluate

SLOPE, CENTRE, STRENGTH = (0.5, 0.0), (0.0, 3.0), 0.25
TWO = [Linear(SLOPE), STRENGTH * Quadratic(CENTRE)]
GRID = tuple((a, b) for a in (0.0, 2.0, 4.0) for b in (0.0, 2.0, 4.0))


def exact_two(beta: Sequence[float], n: int, seed: int) -> Tensor:
    """n exact draws at betas (2,), (n, 2) float32."""
    a, k = beta[0] * torch.tensor(SLOPE, dtype=torch.float64), beta[1] * STRENGTH
    m, c = MIXTURE_CENTRES.double(), torch.tensor(CENTRE, dtype=torch.float64)
    precision = 1 / MIXTURE_STD**2
    mean = (precision * m - a + k * c) / (precision + k)
    # log Z = ½ Λ‖mean‖² − ½‖m‖²/s² + what all components share
    log_z = 0.5 * (precision + k) * mean.square().sum(1) - 0.5 * precision * m.square().sum(1)
    generator = torch.Generator().manual_seed(seed)
    which = torch.multinomial(torch.softmax(log_z, 0), n, replacement=True, generator=generator)
    noise = torch.randn(n, 2, generator=generator, dtype=torch.float64)
    return (mean[which] + noise / (precision + k) ** 0.5).float()


def judge_two(samples: Tensor, exact: Tensor) -> dict[str, Any]:
    """Distance over floor; bias of both mean energies in base standard deviations, and both KS."""
    p = density("8gaussians").sample(100_000, seed=2)
    made = egflow.report(samples, TWO[0], 0.0, exact, reference="base")
    assert made.distance is not None
    bias, ks = [], []
    for energy in TWO:
        ours, target, spread = (evaluate(energy, x).values for x in (samples, exact, p))
        bias.append(float((ours.mean() - target.mean()) / spread.std()))
        ks.append(kolmogorov(ours, target))
    return {"ratio": made.distance["value"] / made.distance["floor"], "bias": bias, "ks": ks}


def kolmogorov(a: Tensor, b: Tensor) -> float:
    """The largest difference of the distribution functions of a (n,) and b (m,)."""
    at = torch.cat([a, b])
    shares = [torch.searchsorted(x.sort().values, at, right=True) / len(x) for x in (a, b)]
    return float((shares[0] - shares[1]).abs().max())
