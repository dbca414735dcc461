"""torchdiffeq's methods behind the solver protocol: the reference for tests and benchmarks."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from egflow.solver._solution import Solution, SolverError, VelocityFn, check_problem, check_velocity, not_finite

ADAPTIVE = ("dopri5", "dopri8", "bosh3", "fehlberg2", "adaptive_heun")
# Evaluations a step, which sets the default number of steps: about 100 evaluations in all.
STAGES = {"euler": 1, "midpoint": 2, "heun2": 2, "heun3": 3, "rk4": 4, "explicit_adams": 1, "implicit_adams": 2}


@dataclass(frozen=True, slots=True)
class TorchDiffEq:
    """One of torchdiffeq's methods, by its own name.

    The adaptive ones (dopri5, dopri8, bosh3, fehlberg2, adaptive_heun) hold one step size for the whole batch, by the
    root mean square of the error over all samples: a sample's result depends on its batch mates, and every sample pays
    for the hardest. The fixed-step ones (euler, midpoint, heun2, heun3, rk4, explicit_adams, implicit_adams) take equal
    steps and ignore the tolerances. Choose `Adams` to sample; this for a reference, or for a method a paper names.

    Arguments:
        name: torchdiffeq's name. steps: for the fixed-step methods only; None is about 100 evaluations.

    Raises:
        ValueError: an unknown name, steps < 1, or steps given to an adaptive method.

    >>> import torch
    >>> solution = TorchDiffEq("rk4", steps=10).solve(lambda y, t, rows: -y, torch.ones(2, 1), 0.0, 1.0)
    >>> round(solution.y[0].item(), 5), solution.nfe.tolist()
    (0.36788, [40, 40])
    """

    name: str
    steps: int | None = None

    def __post_init__(self) -> None:
        if self.name not in (*ADAPTIVE, *STAGES):
            raise ValueError(f"name must be one of {', '.join((*ADAPTIVE, *STAGES))}; got {self.name!r}")
        if self.steps is not None and self.name in ADAPTIVE:
            raise ValueError(f"steps is for fixed-step methods; {self.name} chooses its own from rtol and atol")
        if self.steps is not None and (not isinstance(self.steps, int) or self.steps < 1):
            raise ValueError(f"steps must be a positive whole number, got {self.steps!r}")

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
        """Integrate y0 `(batch, *event)` from t0 to t1. See `Solver`; raises SolverError, ValueError, TypeError."""
        from torchdiffeq import odeint  # it imports scipy, which costs as much time as torch's own import

        check_problem(y0, t0, t1, rtol, atol, norm_dims)
        counted = _Counted(fn, len(y0), y0.device)
        if len(y0) == 0:
            return Solution(y0.clone(), counted.rows, counted.rows)
        # torchdiffeq keeps the clock in float64 and hands the function a time of y's dtype.
        clock = torch.float32 if y0.device.type == "mps" else torch.float64
        times = torch.tensor([t0, t1], dtype=clock, device=y0.device)
        func = _Watched(counted) if self.name in ADAPTIVE else counted
        try:
            y = odeint(func, y0, times, rtol=rtol, atol=atol, method=self.name, options=self._options(norm_dims, times))
        except AssertionError as err:  # torchdiffeq asserts on a step that underflows and on too many steps
            raise SolverError(f"{self.name} gave up ({err}); raise rtol and atol (now {rtol:g}, {atol:g})") from err
        assert isinstance(y, Tensor)
        nfe, rejected = (torch.full_like(counted.rows, count) for count in (counted.calls, counted.rejected))
        return Solution(y[-1], nfe, rejected)

    def _options(self, norm_dims: int | None, times: Tensor) -> dict[str, object]:
        if self.name not in ADAPTIVE:
            steps = self.steps or 100 // STAGES[self.name]

            def grid(func: object, y: Tensor, t: Tensor) -> Tensor:
                inner = torch.arange(1, steps, dtype=t.dtype, device=t.device) / steps
                return torch.cat([t[:1], t[0] + (t[-1] - t[0]) * inner, t[-1:]])

            # Adams-Bashforth of torchdiffeq's default order, 12, is unstable at any useful step.
            order: dict[str, object] = {"max_order": 4} if self.name.endswith("adams") else {}
            return {"grid_constructor": grid, **order}
        # step_t ends on t1; else torchdiffeq steps past it, to times no flow was trained on, and interpolates back.
        options: dict[str, object] = {"max_num_steps": 20_000, "step_t": times[-1:]}
        if norm_dims is not None:
            options["norm"] = lambda x: x.flatten(1)[:, :norm_dims].square().mean().sqrt()
        return options


class _Counted:
    """The velocity as torchdiffeq calls it, (t, y); counts calls and stops at the first NaN."""

    def __init__(self, fn: VelocityFn, batch: int, device: torch.device) -> None:
        self.fn, self.rows = fn, torch.arange(batch, device=device)
        self.calls = self.rejected = 0

    def __call__(self, t: Tensor, y: Tensor) -> Tensor:
        self.calls += 1
        v = self.fn(y, t.to(y.dtype).expand(len(y)), self.rows)
        check_velocity(v, y)
        finite = torch.isfinite(v).flatten(1).all(1)
        if not bool(finite.all()):
            raise not_finite(float(t), self.rows[~finite])
        return v


class _Watched:
    """The same with torchdiffeq's call-back for rejected steps, which only its adaptive methods know."""

    def __init__(self, counted: _Counted) -> None:
        self.counted = counted

    def __call__(self, t: Tensor, y: Tensor) -> Tensor:
        return self.counted(t, y)

    def callback_reject_step(self, t: Tensor, y: Tensor, h: Tensor) -> None:
        self.counted.rejected += 1
