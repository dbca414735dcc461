"""The density of a flow, by the change of variables along its trajectories (Chen et al. 2018, arXiv 1806.07366).

    log q(z_1) = log N(z_0; 0, I) − ∫_0^1 ∇·v(z_t, t) dt,

the integral being one more column of the state, carried along with z in either direction.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from egflow.flow._divergence import divergence
from egflow.solver import Solver

_CHUNK = 8_192  # rows integrated at once, so that memory does not grow with n

Velocity = Callable[[Tensor, Tensor, Tensor | None], Tensor]
"""(z, t, condition) -> (batch, *event)."""


@dataclass(frozen=True, slots=True)
class DensitySettings:
    """How a density is integrated: Hutchinson's probes (None is the exact divergence), solver, tolerances, seed."""

    probes: int | None
    solver: Solver
    rtol: float
    atol: float
    seed: int


def log_density(
    velocity: Velocity, z: Tensor, condition: Tensor | None, t_end: float, settings: DensitySettings
) -> tuple[Tensor, Tensor]:
    """log q of preprocessed points z (n, *event), carried from t_end back to their source.

    Returns:
        (n,) float64 log-densities, and their standard errors over the probes (0 where exact).
    """
    z_0, gained = _carry(velocity, z, condition, t_end, 0.0, settings)
    return log_normal(z_0) + gained.mean(1), _error(gained, settings)


def push_density(
    velocity: Velocity, z_0: Tensor, condition: Tensor | None, t_end: float, settings: DensitySettings
) -> tuple[Tensor, Tensor]:
    """Carry source points z_0 (n, *event) to t_end; returns them and their log q (n,) float64."""
    z, gained = _carry(velocity, z_0, condition, 0.0, t_end, settings)
    return z, log_normal(z_0) - gained.mean(1)


def log_normal(z: Tensor) -> Tensor:
    """log N(z; 0, I) of (n, *event), in float64."""
    flat = z.flatten(1).double()
    return -0.5 * flat.square().sum(1) - 0.5 * flat.shape[1] * math.log(2 * math.pi)


def _carry(
    velocity: Velocity, z: Tensor, condition: Tensor | None, t_0: float, t_1: float, settings: DensitySettings
) -> tuple[Tensor, Tensor]:
    """z at t_1, and ∫ ∇·v dt from t_0 to t_1 (n, probes) float64."""
    probes = settings.probes
    event, columns = z.shape[1:], 1 if probes is None else probes
    size = math.prod(event)
    if len(z) == 0:
        return z, z.new_zeros(0, columns, dtype=torch.float64)
    generator = torch.Generator().manual_seed(settings.seed)
    parts = []
    for start in range(0, len(z), _CHUNK):
        rows_z = z[start : start + _CHUNK]
        c = None if condition is None else condition[start : start + _CHUNK]
        probe = None
        if probes is not None:
            probe = (2 * torch.randint(0, 2, (probes, *rows_z.shape), generator=generator) - 1).to(rows_z)

        def field(y: Tensor, t: Tensor, rows: Tensor, c: Tensor | None = c, probe: Tensor | None = probe) -> Tensor:
            some_c = None if c is None else c[rows]
            some_probe = None if probe is None else probe[:, rows]
            v, div = divergence(lambda z: velocity(z, t, some_c), y[:, :size].reshape(-1, *event), some_probe)
            return torch.cat([v.flatten(1), div], dim=1)

        state = torch.cat([rows_z.flatten(1), rows_z.new_zeros(len(rows_z), columns)], dim=1)
        parts.append(settings.solver.solve(field, state, t_0, t_1, rtol=settings.rtol, atol=settings.atol).y)
    end = torch.cat(parts)
    return end[:, :size].reshape(-1, *event), end[:, size:].double()


def _error(gained: Tensor, settings: DensitySettings) -> Tensor:
    if settings.probes is None or len(gained) == 0:
        return torch.zeros_like(gained[:, 0])
    return gained.std(1) / math.sqrt(gained.shape[1])
