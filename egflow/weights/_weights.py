"""Log-weights of energies, and what they say about how many points are left.

    w_i = s_i · exp(−beta · E_i),        n_eff = (Σ w)² / Σ w²,        Z = Σ s_i exp(−beta E_i) / Σ s_i

with s_i the user's sample weights (1 if none). A forbidden point (E = +inf) has w = 0 at every beta, 0 included.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from egflow._kinds import as_number, as_tensor

if TYPE_CHECKING:
    from egflow.energy import EnergyValues


def check_beta(beta: float) -> float:
    """Beta as a finite float. Raises ValueError otherwise; negative is allowed (it prefers high energy)."""
    return as_number("beta", beta)


def check_sample_weight(sample_weight: Tensor, n: int) -> Tensor:
    """Sample weights as float64 (N,): finite, not negative, not all zero. Raises ValueError otherwise."""
    weight = as_tensor("sample_weight", sample_weight, "a tensor (N,) of numbers")
    if weight.is_complex():
        raise ValueError("sample_weight must be real, got complex numbers")
    weight = weight.double()
    if weight.shape != (n,):
        raise ValueError(f"sample_weight must have shape ({n},), one weight a sample, got {tuple(weight.shape)}")
    if not bool(torch.isfinite(weight).all()) or bool((weight < 0).any()):
        raise ValueError("sample_weight must be finite and not negative")
    if not bool((weight > 0).any()):
        raise ValueError("sample_weight is zero everywhere: no sample is left")
    return weight


def log_weights(energies: EnergyValues, beta: float, sample_weight: Tensor | None = None) -> Tensor:
    """log w = −beta · E + log s, with −inf where the point is forbidden.

    Args:
        energies: the energies of N points.
        beta: inverse temperature, on the energy's own scale; finite, of either sign.
        sample_weight: (N,) weights s, not negative, or None for 1.

    Returns:
        (N,) float64, not normalised.

    Raises:
        ValueError: for a beta that is not finite, a beta·E beyond float64, bad sample weights, or no point of positive
            weight.

    Example:
        >>> from egflow.energy import EnergyValues
        >>> E = EnergyValues.from_tensor(torch.tensor([0.0, 1.0, float("inf")]))
        >>> log_weights(E, 2.0).tolist()
        [-0.0, -2.0, -inf]
    """
    log_w = -check_beta(beta) * energies.values
    if not bool(torch.isfinite(log_w).all()):
        most = float(energies.values.abs().max())
        raise ValueError(f"beta={beta:g} times an energy of {most:g} is beyond float64: lower beta or scale the energy")
    if sample_weight is not None:
        log_w = log_w + check_sample_weight(sample_weight, len(log_w)).to(log_w.device).log()
    log_w = log_w.masked_fill(energies.forbidden, -math.inf)
    if not bool((log_w > -math.inf).any()):
        raise ValueError("no sample is left: every one is forbidden (energy +inf) or has sample_weight 0")
    return log_w


def per_condition_weights(log_w: Tensor, condition: Tensor, sample_weight: Tensor | None = None) -> Tensor:
    """Log-weights normalised within each discrete condition, so that p(c) is left as it is.

    Weighting over (x, c) tilts the marginal of c to p(c)·Z(c); here each c keeps its mass Σ_{i: c_i = c} s_i.

    Args:
        log_w: (N,) from `log_weights`.
        condition: (N,) long labels.
        sample_weight: (N,) the weights s that log_w already holds, or None.

    Raises:
        ValueError: if the condition is not discrete, or some label has no point of positive weight.
    """
    if condition.ndim != 1 or condition.is_floating_point():
        raise ValueError("per_condition=True needs discrete conditions: a long tensor (N,) of labels")
    _, label = torch.unique(condition.to(log_w.device), return_inverse=True)
    mass = torch.ones_like(log_w) if sample_weight is None else sample_weight.to(log_w)
    k = int(label.max()) + 1
    log_mass = torch.zeros(k, dtype=log_w.dtype, device=log_w.device).index_add_(0, label, mass).log()
    top = torch.full((k,), -math.inf, dtype=log_w.dtype, device=log_w.device)
    top = top.scatter_reduce(0, label, log_w, reduce="amax")
    if bool((top == -math.inf).any()):
        raise ValueError("per_condition=True: every sample of some condition is forbidden or has sample_weight 0")
    total = torch.zeros_like(top).index_add_(0, label, (log_w - top[label]).exp()).log() + top
    return log_w - (total - log_mass)[label]


def normalise(log_w: Tensor) -> Tensor:
    """Shares w_i / Σ w, (N,) float64."""
    return torch.softmax(log_w.double(), dim=0)


def n_eff(log_w: Tensor) -> float:
    """Kish's effective number of points (Σ w)² / Σ w², between 1 and N."""
    return float(1.0 / normalise(log_w).square().sum())


def ess_fraction(log_w: Tensor) -> float:
    """n_eff as a fraction of N."""
    return n_eff(log_w) / len(log_w)


def max_weight(log_w: Tensor) -> float:
    """The largest single share of the total weight."""
    return float(normalise(log_w).max())


def log_z(log_w: Tensor, sample_weight: Tensor | None = None) -> tuple[float, float]:
    """log of Z = E_p[exp(−beta·E)] (0 for forbidden points) with its standard error by the delta method.

    Args:
        log_w: (N,) from `log_weights`.
        sample_weight: the weights s that log_w holds, or None.

    Returns:
        (log Z, standard error of log Z), natural logarithm.
    """
    mass = torch.ones_like(log_w) if sample_weight is None else sample_weight.to(log_w)
    share = mass / mass.sum()
    value = torch.logsumexp(log_w, 0) - mass.sum().log()
    ratio = torch.where(mass > 0, (log_w - mass.log() - value).exp(), 0.0)
    return float(value), float((share.square() * (ratio - 1).square()).sum().sqrt())
