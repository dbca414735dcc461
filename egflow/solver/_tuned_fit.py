"""Fitting `Tuned`: the coefficients by least squares for a grid, the grid by search, on the flow's own paths."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from egflow.solver._solution import VelocityFn, check_problem, check_velocity, not_finite
from egflow.solver._tuned import Tuned

REFERENCE_STEPS = 50  # of RK4, whose error is then 1e-6 where the methods fitted here reach 1e-4
MOST_NUMBERS = 800_000  # of trajectories times entries: the reference holds 2 * 51 states, 330 MB in float32
SEARCHED = 400  # trajectories used while the grid is searched: 70 % to fit on, 30 % to choose by
RIDGE = 1e-10
KNOTS = 8
STRIDES = (0.6, 0.3, 0.15)


@torch.no_grad()
def fit_tuned(fn: VelocityFn, y0: Tensor, t0: float, t1: float, nfe: int) -> tuple[Tuned, float]:
    """Fit a `Tuned` solver of nfe evaluations to one flow, and measure it.

    Every step's coefficients are the least-squares solution that carries the points reached so far to an accurate
    solution (50 steps of RK4) at the next time; the density of the times is searched for the smallest error at the end.
    The last 20 % of the trajectories are kept out and give the error. About 200 evaluations of the batch and 80 solves
    of 400 trajectories: some ten seconds for a small network on one core.

    Arguments:
        fn: the velocity, see `VelocityFn`. y0: `(batch, *event)`, about 1,000 starts, with their conditions in fn.
        t0, t1: the times of the solve. nfe: evaluations a sample, at least 2.

    Returns:
        The solver, and its root-mean-square error over samples and entries on the trajectories kept out.

    Raises:
        ValueError: nfe < 2, or fewer than 20 starts. SolverError: the velocity is not finite.
    """
    check_problem(y0, t0, t1, 1.0, 1.0, None)
    if isinstance(nfe, bool) or not isinstance(nfe, int) or nfe < 2:
        raise ValueError(f"nfe must be a whole number of at least 2, got {nfe!r}; 16 is a good start")
    if len(y0) < 20:
        raise ValueError(f"y0 must hold at least 20 starts to fit on, got {len(y0)}; about 1,000 are best")
    y0 = y0[: max(20, min(len(y0), MOST_NUMBERS // max(1, y0[0].numel())))]
    everything = _reference(fn, y0, t0, t1)
    fitted, kept_out = slice(0, int(0.8 * len(y0))), slice(int(0.8 * len(y0)), len(y0))
    small = everything.first(min(SEARCHED, fitted.stop))
    small_fit, small_choice = slice(0, int(0.7 * small.batch)), slice(int(0.7 * small.batch), small.batch)

    def error_of(shape: Tensor) -> float:
        return _fit(fn, small, _grid(shape, t0, t1, nfe), small_fit, small_choice)[1]

    shape = _search(error_of)
    return _fit(fn, everything, _grid(shape, t0, t1, nfe), fitted, kept_out)


@dataclass(frozen=True, slots=True)
class _Reference:
    """States and velocities `(steps + 1, batch, *event)` on equal times, read between them by cubic Hermite."""

    y: Tensor
    v: Tensor
    t0: float
    t1: float

    @property
    def batch(self) -> int:
        return self.y.shape[1]

    def first(self, count: int) -> _Reference:
        return _Reference(self.y[:, :count], self.v[:, :count], self.t0, self.t1)

    def at(self, t: float) -> Tensor:
        steps = len(self.y) - 1
        place = (t - self.t0) / (self.t1 - self.t0) * steps
        i = min(max(int(place), 0), steps - 1)
        u, h = place - i, (self.t1 - self.t0) / steps
        rise = (self.y[i + 1] - self.y[i]).double()
        v0, v1 = self.v[i].double() * h, self.v[i + 1].double() * h
        return self.y[i].double() + u * (v0 + u * ((3 * rise - 2 * v0 - v1) + u * (v0 + v1 - 2 * rise)))


def _reference(fn: VelocityFn, y0: Tensor, t0: float, t1: float) -> _Reference:
    rows = torch.arange(len(y0), device=y0.device)

    def velocity(y: Tensor, t: float) -> Tensor:
        v = fn(y, torch.full((len(y),), t, dtype=y.dtype, device=y.device), rows)
        check_velocity(v, y)
        return v

    h = (t1 - t0) / REFERENCE_STEPS
    y, ys, vs = y0, [y0], []
    for step in range(REFERENCE_STEPS):
        t = t0 + step * h
        k1 = velocity(y, t)
        k2 = velocity(y + h / 2 * k1, t + h / 2)
        k3 = velocity(y + h / 2 * k2, t + h / 2)
        k4 = velocity(y + h * k3, t1 if step == REFERENCE_STEPS - 1 else t + h)
        y = y + h / 6 * (k1 + 2 * k2 + 2 * k3 + k4)
        vs.append(k1)
        ys.append(y)
    vs.append(velocity(y, t1))
    bad = ~torch.isfinite(y.flatten(1)).all(1)
    if bool(bad.any()):
        raise not_finite(t1, rows[bad])
    return _Reference(torch.stack(ys), torch.stack(vs), t0, t1)


def _grid(shape: Tensor, t0: float, t1: float, nfe: int) -> list[float]:
    """nfe + 1 times whose density is exp of the piecewise linear function through `shape` at equal distances."""
    fine = torch.linspace(0, len(shape) - 1, 401, dtype=torch.float64)
    left = fine.long().clamp(max=len(shape) - 2)
    density = torch.lerp(shape[left], shape[left + 1], fine - left).exp()
    mass = torch.cat([density.new_zeros(1), ((density[1:] + density[:-1]) / 2).cumsum(0)])
    wanted = torch.linspace(0, 1, nfe + 1, dtype=torch.float64)[1:-1] * mass[-1]
    i = torch.searchsorted(mass, wanted).clamp(1, 400)
    inner = (i - 1 + (wanted - mass[i - 1]) / (mass[i] - mass[i - 1])) / 400
    return [t0, *(t0 + (t1 - t0) * inner).tolist(), t1]


def _fit(
    fn: VelocityFn, reference: _Reference, times: list[float], fitted: slice, judged: slice
) -> tuple[Tuned, float]:
    """Coefficients for the grid from the trajectories `fitted`; the error at the end on those in `judged`."""
    y0 = reference.y[0]
    rows = torch.arange(len(y0), device=y0.device)
    past = y0.new_empty(len(times), len(y0), y0[0].numel())
    past[0] = y0.flatten(1)
    coefficients: list[tuple[float, ...]] = []
    # Normal equations, grown by one row a step, of the columns (y_0, f_0, f_1, ...).
    basis = y0.new_empty(len(times), past[0, fitted].numel(), dtype=torch.float64)
    basis[0] = past[0, fitted].flatten()
    gram = basis.new_zeros(len(times), len(times))
    gram[0, 0] = basis[0] @ basis[0]
    y = target = y0
    for n, t in enumerate(times[:-1]):
        past[n + 1] = fn(y, torch.full((len(y),), t, dtype=y.dtype, device=y.device), rows).flatten(1)
        m = n + 2
        basis[n + 1] = past[n + 1, fitted].flatten()
        gram[: n + 2, n + 1] = gram[n + 1, : n + 2] = basis[: n + 2] @ basis[n + 1]
        target = reference.at(times[n + 1]).flatten(1)
        wanted = basis[:m] @ (target[fitted].flatten() - basis[0])
        ridge = RIDGE * gram[:m, :m].diagonal().mean() * torch.eye(m, dtype=torch.float64, device=y0.device)
        row = torch.linalg.solve(gram[:m, :m] + ridge, wanted)
        coefficients.append(tuple(row.tolist()))
        y = torch.addmv(past[0].flatten(), past[:m].flatten(1).T, row.to(y0.dtype)).view_as(y0)
    end = (y.flatten(1).double() - target)[judged]
    return Tuned(tuple(times), tuple(coefficients)), math.sqrt(float(end.square().mean()))


def _search(error_of: Callable[[Tensor], float]) -> Tensor:
    """The log-density of times with the smallest error: each knot in turn up or down, in shrinking strides."""
    best = torch.zeros(KNOTS, dtype=torch.float64)
    least = error_of(best)
    for stride in STRIDES:
        for knot in [*range(KNOTS)] * 2:
            for change in (stride, -stride):
                tried = best.clone()
                tried[knot] += change
                error = error_of(tried)
                if error < least:
                    best, least = tried, error
                    break
    return best
