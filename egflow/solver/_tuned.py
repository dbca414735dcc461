"""A linear multistep method whose grid and coefficients were fitted to one flow."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from itertools import pairwise

import torch
from torch import Tensor

from egflow.solver._solution import Solution, VelocityFn, check_problem, check_velocity, not_finite


@dataclass(frozen=True, slots=True)
class Tuned:
    """A fixed number of evaluations, spent where `fit_tuned` found them worth most for one flow.

    p_0 = y_0,  f_n = v(p_n, t_n),  p_{n+1} = (1 + a_{n,0}) y_0 + sum_{j <= n} a_{n,j+1} f_j,  the answer p_N.
    The coefficients know the flow's mean curvature, so the same error costs fewer evaluations than with a general
    method; they hold for the flow, the direction and the times they were fitted on, and for nothing else.

    Attributes:
        times: N + 1 increasing or decreasing times, from t0 to t1.
        coefficients: N rows; row n has n + 2 numbers, the first for y_0.

    >>> Tuned(times=(0.0, 1.0), coefficients=((0.0, 1.0),)).nfe
    1
    """

    times: tuple[float, ...]
    coefficients: tuple[tuple[float, ...], ...]

    def __post_init__(self) -> None:
        if len(self.times) < 2 or len(self.coefficients) != len(self.times) - 1:
            raise ValueError(
                f"tuned needs a row of coefficients a step, got {len(self.times)} times, {len(self.coefficients)} rows"
            )
        if any(len(row) != n + 2 for n, row in enumerate(self.coefficients)):
            raise ValueError(f"row n of coefficients needs n + 2 numbers, got {[len(r) for r in self.coefficients]}")
        if not all(math.isfinite(x) for row in (self.times, *self.coefficients) for x in row):
            raise ValueError("times and coefficients must be finite; tune the flow again")
        signs = {b > a for a, b in pairwise(self.times)}
        if len(signs) != 1 or len(set(self.times)) != len(self.times):
            raise ValueError(f"times must increase or decrease strictly, got {self.times}")

    @property
    def nfe(self) -> int:
        """Evaluations a sample."""
        return len(self.coefficients)

    @torch.no_grad()
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
    ) -> Solution:
        """Integrate y0 `(batch, *event)` from t0 to t1, which must be the fitted times; the tolerances have no use."""
        check_problem(y0, t0, t1, rtol, atol, norm_dims)
        if not (math.isclose(t0, self.times[0], abs_tol=1e-9) and math.isclose(t1, self.times[-1], abs_tol=1e-9)):
            raise ValueError(
                f"tuned was fitted from t={self.times[0]:g} to {self.times[-1]:g} and cannot go from {t0:g} to {t1:g}; "
                "use solver='adams'"
            )
        rows = torch.arange(len(y0), device=y0.device)
        nfe = torch.full_like(rows, self.nfe)
        past = y0.new_empty(self.nfe + 1, y0.numel())
        past[0] = y0.flatten()
        y = y0
        for n, row in enumerate(self.coefficients if len(y0) else ()):
            v = fn(y, torch.full((len(y),), self.times[n], dtype=y.dtype, device=y.device), rows)
            check_velocity(v, y)
            past[n + 1] = v.flatten()
            y = torch.addmv(past[0], past[: n + 2].T, y0.new_tensor(row)).view_as(y0)
        bad = ~torch.isfinite(y.flatten(1)).all(1) if len(y0) else rows.bool()
        if bool(bad.any()):
            raise not_finite(t1, rows[bad])
        return Solution(y.clone() if y is y0 else y, nfe, torch.zeros_like(rows))

    def to_dict(self) -> dict[str, object]:
        """What JSON can hold; `from_dict` reads it back."""
        return {"times": list(self.times), "coefficients": [list(row) for row in self.coefficients]}

    @classmethod
    def from_dict(cls, content: object) -> Tuned:
        """The solver of `to_dict`'s content. Raises ValueError where it is not that."""
        if not isinstance(content, Mapping) or set(content) != {"times", "coefficients"}:
            got = sorted(map(str, content)) if isinstance(content, Mapping) else type(content).__name__
            raise ValueError(f"a tuned solver is stored as 'times' and 'coefficients', got {got}")
        times, rows = content["times"], content["coefficients"]
        if not isinstance(rows, list) or not all(_numbers(row) for row in (times, *rows)):
            raise ValueError("times must be a list of numbers and coefficients a list of such lists")
        return cls(tuple(map(float, times)), tuple(tuple(map(float, row)) for row in rows))


def _numbers(row: object) -> bool:
    return isinstance(row, list) and all(isinstance(x, int | float) and not isinstance(x, bool) for x in row)
