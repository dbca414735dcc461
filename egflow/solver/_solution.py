"""What every solver takes and gives: a velocity, a start, two times; the end, and what it cost."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor

from egflow._kinds import as_number, shown

VelocityFn = Callable[[Tensor, Tensor, Tensor], Tensor]
"""`fn(y, t, rows)`: y `(active, *event)`, t `(active,)` of y's dtype, rows `(active,)` long, the places of these
samples in the batch that was given to `solve` (to look up their conditions). Returns dy/dt, of y's shape."""


class SolverError(RuntimeError):
    """A solve could not be finished: the velocity is not finite, or the steps ran out."""


@dataclass(frozen=True, slots=True)
class Solution:
    """The end of a solve and its price.

    Attributes:
        y: `(batch, *event)`, the state at `t1`, in the dtype of the start.
        nfe: `(batch,)` long, evaluations of the velocity spent on each sample, rejected ones included.
        rejected: `(batch,)` long, steps that were tried and thrown away.
    """

    y: Tensor
    nfe: Tensor
    rejected: Tensor


class Solver(Protocol):
    """Anything that integrates dy/dt = fn(y, t) from t0 to t1; t0 > t1 goes backwards.

    `norm_dims` names the columns that count in the error norm: the first `norm_dims` entries of the flattened event
    (all of them for None). A state that carries extra columns, as the divergence in `log_prob`, can leave them out.
    Solvers with a fixed number of steps take `rtol`, `atol` and `norm_dims` and have no use for them.
    """

    def solve(
        self,
        fn: VelocityFn,
        y0: Tensor,
        t0: float,
        t1: float,
        *,
        rtol: float = 1e-5,
        atol: float = 1e-5,
        norm_dims: int | None = None,
    ) -> Solution: ...


def check_problem(y0: Tensor, t0: float, t1: float, rtol: float, atol: float, norm_dims: int | None) -> None:
    """Refuse what no solver can integrate, naming the argument. Raises TypeError or ValueError."""
    if not isinstance(y0, Tensor) or y0.dtype not in (torch.float32, torch.float64):
        got = y0.dtype if isinstance(y0, Tensor) else type(y0).__name__
        raise TypeError(f"y0 must be a float32 or float64 tensor (batch, *event), got {got}; convert it with .float()")
    if y0.ndim < 2:
        raise ValueError(f"y0 must have shape (batch, *event), got {tuple(y0.shape)}; write y0[:, None]")
    if not (math.isfinite(t0) and math.isfinite(t1)) or t0 == t1:
        raise ValueError(f"t0 and t1 must be finite and differ, got t0={t0}, t1={t1}; sampling goes from 0 to 1")
    for name, value in (("rtol", rtol), ("atol", atol)):
        if not 0 < as_number(name, value) < 1e300:
            raise ValueError(f"{name} must be a positive number, got {shown(value)}; 1e-5 is the default")
    width = math.prod(y0.shape[1:])
    if norm_dims is not None and not 1 <= norm_dims <= width:
        raise ValueError(f"norm_dims must lie in 1..{width} (columns of the flattened event), got {norm_dims}")
    if not bool(torch.isfinite(y0).all()):
        raise ValueError("y0 holds NaN or inf; every entry of the start must be finite")


def check_velocity(v: Tensor, y: Tensor) -> None:
    """Refuse a velocity of the wrong shape (it would broadcast in silence). Raises ValueError."""
    if v.shape != y.shape:
        raise ValueError(f"the velocity has shape {tuple(v.shape)}; it must be the state's, {tuple(y.shape)}")


def not_finite(t: float, rows: Tensor) -> SolverError:
    """The error for a velocity with NaN or inf, with the time and the first samples concerned."""
    some = ", ".join(str(int(row)) for row in rows[:5])
    return SolverError(
        f"the velocity is NaN or inf near t={t:.4g} in {len(rows)} samples (rows {some}); check the network"
    )
