"""Correction at sampling: importance resampling of samples by exact likelihoods."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from egflow.energy import EnergyModel, evaluate
from egflow.flow import Flow
from egflow.training import check_count, mix
from egflow.weights import Resample, check_beta, log_weights


def correct(
    samples: Tensor,
    flow: Flow,
    base: Flow,
    energy: EnergyModel | Callable[[Tensor], Tensor],
    beta: float,
    *,
    condition: Tensor | None = None,
    n: int | None = None,
    seed: int = 0,
) -> Tensor:
    """Resample samples of a flow q by  base(x) · exp(−beta · E(x)) / q(x), self-normalised.

    What comes out follows the base's tilt up to the error of the weights; rows repeat, the more the fewer points stay
    effective: draw several times as many samples as are wanted.

    Args:
        samples: (m, *event), drawn from ``flow``.
        flow: q, whose density is asked for.
        base: the flow of p.
        energy: E; forbidden samples are never returned.
        beta: inverse temperature.
        condition: (m, ...) the samples' condition, one and the same for all rows, or None.
        n: how many to return; None is m.
        seed: of the resampling.

    Returns:
        (n, *event).

    Raises:
        ValueError: for conditions that differ (resampling would tilt their marginal), or if every sample is forbidden.
    """
    beta = check_beta(beta)
    if condition is not None and bool((condition != condition[:1]).any()):
        raise ValueError("correct resamples across rows, so all rows must share one condition: correct each on its own")
    values = evaluate(energy, samples, condition, allow_all_forbidden=True)
    if bool(values.forbidden.all()):
        raise ValueError("every sample is forbidden (energy +inf): nothing is left to resample")
    ratio = base.log_prob(samples, condition).double() - flow.log_prob(samples, condition).double()
    log_w = log_weights(values, beta) + ratio.cpu()
    count = len(samples) if n is None else check_count("n", n)
    generator = torch.Generator().manual_seed(mix(seed, -5))
    offset = torch.rand((), generator=generator, dtype=torch.float64)
    # systematic positions in a random order, so that copies of one row do not stand together
    u = (torch.randperm(count, generator=generator) + offset) / count
    index, _ = Resample().prepare(log_w, torch.zeros_like(log_w))(u)
    return samples[index.to(samples.device)]
