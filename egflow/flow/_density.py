"""The density of a flow, by the change of variables along its trajectories (Chen et al. 2018, arXiv 1806.07366)."""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
from torch import Tensor

from egflow.flow._divergence import divergence
from egflow.solver import Solver

_CHUNK = 8_192  # rows integrated at once, so that memory does not grow with n


def integrate_density(
    velocity: Callable[[Tensor, Tensor, Tensor | None], Tensor],
    z: Tensor,
    condition: Tensor | None,
    t_end: float,
    probes: int | None,
    solver: Solver,
    rtol: float,
    atol: float,
    seed: int,
) -> tuple[Tensor, Tensor]:
    """log q(z) = log N(z_0; 0, I) − ∫ ∇·v dt, carrying z from t_end back to its source z_0.

    Args:
        velocity: (z, t, condition) -> (batch, *event).
        z: (n, *event) preprocessed points.
        condition: (n, …) or None.
        t_end: where the path ends.
        probes: Hutchinson's, or None for the exact divergence.
        solver, rtol, atol: of the ODE; the divergence is one more column of its state for each probe.
        seed: of the probes.

    Returns:
        (n,) float64 log-densities, and their standard errors over the probes (0 where exact).
    """
    if len(z) == 0:
        return z.new_zeros(0, dtype=torch.float64), z.new_zeros(0, dtype=torch.float64)
    event, columns = z.shape[1:], 1 if probes is None else probes
    size = math.prod(event)
    generator = torch.Generator().manual_seed(seed)
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
        parts.append(solver.solve(field, state, t_end, 0.0, rtol=rtol, atol=atol).y)
    end = torch.cat(parts).double()
    z_0, change = end[:, :size], end[:, size:]
    log_normal = -0.5 * z_0.square().sum(1) - 0.5 * size * math.log(2 * math.pi)
    error = torch.zeros_like(log_normal) if probes is None else change.std(1) / math.sqrt(columns)
    return log_normal + change.mean(1), error
