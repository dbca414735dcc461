"""Training-free Monte-Carlo guidance: Feng et al. 2025, "On the guidance of flow matching", arXiv 2502.02150, g^MC.

The exact change of the velocity is an expectation over x_1 ~ p (their equations of g_t and g^MC, for J = beta·E):

    g_t(x_t) = E[ (exp(−beta·E(x_1)) / Z_t(x_t) − 1) · p_t(x_t | x_1) / p_t(x_t) · u_t(x_t | x_1) ]
    Z_t(x_t) = E[ exp(−beta·E(x_1)) · p_t(x_t | x_1) / p_t(x_t) ],      p_t(x_t) = E[ p_t(x_t | x_1) ]

with all expectations over the same M data points. The source is integrated out: p_t(x_t | x_1) is the normal
N(alpha x_1, sigma² I) of the path, and u_t is linear in x_1, so that g_t is the difference of two predicted x_1,

    x̂_1 = Σ_j softmax_j(log p_t(x_t | x_j) − beta·E_j) x_j  −  Σ_j softmax_j(log p_t(x_t | x_j)) x_j

No gradient, no training; the estimate converges with M, and M distances are computed for each sample and evaluation.
Past the time where sigma is below the points' spacing both sums end on the same nearest point and g_t is 0. The guided
flow needs points of q among the M: what it follows is worth the n_eff of those, not of the data.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn

from egflow._inputs import check_data
from egflow.energy import EnergyModel, as_energy, evaluate
from egflow.flow import Flow
from egflow.guidance._guided import base_velocity, change_of_velocity, check_guided_base, guided_flow, inside
from egflow.training import check_count, mix
from egflow.weights import check_beta, log_weights

_ENTRIES = 2**20  # of the table samples x points held at once: what fits in the cache is five times as fast
_LEAST_LOG, _LEAST_MASS = -60.0, 1e-15  # kernels below e⁻⁶⁰ count as that: subnormal numbers are slow


def monte_carlo_guidance(
    base: Flow,
    energy: EnergyModel | Callable[..., Tensor],
    beta: float,
    *,
    data: Tensor,
    n_points: int = 8_192,
    seed: int = 0,
) -> Flow:
    """Guide the base by the weighted mean of data points, estimated anew at each evaluation.

    Args:
        base: the flow of p, without conditions.
        energy: (batch, *event) -> (batch,), low is good, +inf is forbidden.
        beta: on the energy's own scale.
        data: (N, *event) samples of p.
        n_points: M, how many of the data are used, chosen at random.
        seed: of that choice.

    Returns:
        The guided flow.

    Raises:
        ValueError: for bad input, naming the argument; `egflow.energy.EnergyError` with the energy's own message.

    Example:
        >>> base = Flow(lambda z, t, condition, beta=None: torch.zeros_like(z), (2,))
        >>> monte_carlo_guidance(base, lambda x: x[:, 0], 1.0, data=torch.randn(100, 2)).sample(4).shape
        torch.Size([4, 2])
    """
    check_guided_base(base)
    beta = check_beta(beta)
    check_count("n_points", n_points)
    if base.condition_shape is not None:
        raise ValueError("base must be without conditions: the points of one condition alone would be too few")
    x, model = check_data(data, "data"), energy if isinstance(energy, EnergyModel) else as_energy(energy)
    if tuple(x.shape[1:]) != base.event_shape:
        raise ValueError(f"data must have the base's event shape {base.event_shape}, got {tuple(x.shape[1:])}")
    chosen = torch.randperm(len(x), generator=torch.Generator().manual_seed(mix(seed, 6)))[:n_points]
    log_w = log_weights(evaluate(model, x[chosen]), beta)
    points = (x[chosen].to(base.shift) - base.shift) / base.scale
    return guided_flow(base, PointsVelocity(base, points, log_w.to(base.shift)), model, beta)


class PointsVelocity(nn.Module):
    """v + Δv for a change of the predicted x_1. One pass of the base, and one over the M points."""

    passes = 1

    def __init__(self, base: Flow, points: Tensor, log_w: Tensor) -> None:
        super().__init__()
        self.base = base
        flat = points.flatten(1)
        self.points, self.log_w, self.half_squares = flat, log_w, 0.5 * flat.square().sum(1)
        weight = (log_w - log_w.max()).clamp_min(_LEAST_LOG).exp()[:, None]
        weight = torch.where(log_w[:, None] > -torch.inf, weight, 0.0)
        # one table of kernels gives all four sums: x and 1, both plain and weighted
        self.columns = torch.cat([flat, torch.ones_like(weight), weight * flat, weight], 1)

    def forward(self, z: Tensor, t: Tensor, condition: Tensor | None = None, beta: Tensor | None = None) -> Tensor:
        at, flat = inside(t), z.flatten(1)
        rows = max(1, _ENTRIES // len(self.points))
        parts = [self.change_of_mean(*part) for part in zip(flat.split(rows), at.split(rows), strict=True)]
        change = torch.cat(parts).reshape(z.shape)
        return base_velocity(self.base, z, t, condition) + change_of_velocity(self.base.path, change, at, "x_1")

    def change_of_mean(self, z: Tensor, t: Tensor) -> Tensor:
        """E_q[x_1 | x_t] − E_p[x_1 | x_t] over the points: z (batch, dim), t (batch,) -> (batch, dim)."""
        alpha, sigma = self.base.path.alpha(t)[0][:, None], self.base.path.sigma(t)[0][:, None]
        gain = alpha / sigma.square()
        log_p = (gain * z) @ self.points.T - gain * alpha * self.half_squares  # log N(z; alpha x_j, sigma²) + const
        kernel = (log_p - log_p.amax(1, keepdim=True)).clamp_min_(_LEAST_LOG).exp_()
        plain, one, weighted, mass = (kernel @ self.columns).split([z.shape[1], 1, z.shape[1], 1], 1)
        change = weighted / mass - plain / one
        lost = (mass < _LEAST_MASS).squeeze(1)  # every near point has a weight that underflows: once more, in logs
        if bool(lost.any()):
            far = torch.softmax(log_p[lost] + self.log_w, 1) @ self.points - (plain / one)[lost]
            change = change.index_put((lost.nonzero().squeeze(1),), far)
        return change
