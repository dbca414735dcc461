"""Samples and densities of many processes: each integrates its rows, and all get the whole."""

from __future__ import annotations

from dataclasses import fields, replace
from typing import Any

import torch
from torch import Tensor

from egflow._group import group
from egflow.flow import Flow, TokenFlow
from egflow.solver import Solution
from egflow.training import mix


def solve_together(
    flow: Flow, n: int, condition: Tensor | int | None = None, *, seed: int, **settings: Any
) -> Solution:
    """`Flow.solve` by all processes: of points the same samples, to rounding; of tokens others than one would draw.

    A solver with one step size for its batch, as torchdiffeq's adaptive ones, gives the same to its tolerance.

    Args:
        flow: at one beta.
        n, condition, seed: as in `Flow.solve`; all processes give the same.
        settings: solver, rtol, atol.

    Returns:
        All n, everywhere, on the flow's device.
    """
    together = group()
    if together.size == 1:
        return flow.solve(n, condition, seed=seed, **settings)
    rows = together.rows(n)
    c = flow._check_condition(condition, n)

    def own() -> Solution | None:
        if rows.start == rows.stop:
            return None
        some = None if c is None else c[rows]
        if isinstance(flow, TokenFlow):
            own_seed = mix(seed, together.rank) if together.rank else seed
            part = flow.solve(rows.stop - rows.start, some, seed=own_seed, **settings)
        else:
            part = flow.integrate(flow._source(n, seed)[rows], 0.0, flow.path.t_end, some, **settings)
            part = replace(part, y=flow.shift + flow.scale * part.y)
        return _moved(part, torch.device("cpu"))

    parts = [part for part in together.gather(own) if part is not None]
    joined = {
        field.name: torch.cat([getattr(part, field.name) for part in parts])
        for field in fields(parts[0])
        if isinstance(getattr(parts[0], field.name), Tensor)
    }
    return _moved(replace(parts[0], **joined), flow.device)


def log_prob_together(flow: Flow, x: Tensor, condition: Tensor | None = None, *, seed: int, **settings: Any) -> Tensor:
    """`Flow.log_prob` by all processes, each with probes of its own; (batch,) on the CPU, everywhere.

    Args:
        flow: at one beta.
        x, condition, seed: as in `Flow.log_prob`; all processes give the same.
        settings: probes, solver, rtol, atol.
    """
    together = group()
    if together.size == 1:
        return flow.log_prob(x, condition, seed=seed, **settings).cpu()
    rows = together.rows(len(x))

    def own() -> Tensor | None:
        if rows.start == rows.stop:
            return None
        some = None if condition is None else condition[rows]
        own_seed = mix(seed, together.rank) if together.rank else seed
        return flow.log_prob(x[rows], some, seed=own_seed, **settings).cpu()

    return torch.cat([part for part in together.gather(own) if part is not None])


def _moved(solution: Solution, device: torch.device) -> Solution:
    tensors = {field.name: getattr(solution, field.name) for field in fields(solution)}
    return replace(solution, **{name: x.to(device) for name, x in tensors.items() if isinstance(x, Tensor)})
