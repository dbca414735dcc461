"""The default solver: variable-step Adams, predict-evaluate-correct, each sample with steps of its own."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from egflow.solver._adams_steps import adams_weights, step_factor
from egflow.solver._solution import Solution, SolverError, VelocityFn, check_problem, check_velocity, not_finite

# The PEC scheme keeps f(p) in its history where f(y) belongs, so a step leaves an error of about h L |y - p| with L the
# velocity's Lipschitz constant. Squared, (h L)^2 |y - p|, the estimate spreads the steps more evenly, which took fewer
# evaluations at equal RMSE on every learned field tried. STIFFNESS stands for L times the solve's length; 10.5 puts the
# RMSE reached on trained flows within a factor of about 3 of the tolerance.
STIFFNESS = 10.5
GOAL = 0.25  # the next step aims at this share of the tolerance: a rejected step costs more than a short one
DAMPING = 0.5  # of the change of step: learned fields are rough, and chasing their every wrinkle wastes steps
SHRINK, GROW = 0.2, 3.0
LONGEST = 1 / 8  # of the whole solve: no step may jump over a feature that none of its nodes has seen


@dataclass(frozen=True, slots=True)
class Adams:
    """Variable-step Adams predictor-corrector with one evaluation a step (PEC) and a step size per sample.

    With Phi*_j the modified divided differences of the velocities met so far (order k, HNW III.5):
    p = y + h sum_{j<k} g_j Phi*_j,  f = v(p, t + h),  y' = p + h g_k (f - sum_{j<k} Phi*_j).
    The corrector's difference, weighted by the step, is the error:
    (10.5 h / |t1 - t0|)^2 rms((y' - p) / (atol + rtol max(|y|, |y'|))), the root mean square over the event's entries;
    a step is kept where it is <= 1. Order 1 at the start, one more each step up to `order`. Finished samples leave the
    batch; nothing a sample does depends on its batch mates.

    On trained flows the RMSE over samples is .2 to 3 times `rtol = atol` between 1e-2 and 1e-5. It falls as about the
    0.7th power of the tolerance, and a field that sends neighbours to different modes amplifies it. Choose `Tuned`
    where one flow is sampled again and again, and `TorchDiffEq("dopri5")` for a reference.

    Arguments:
        order: of the predictor, 1 to 8. On learned fields more than 4 costs stability.
        max_steps: rejected ones included; more raise SolverError.

    >>> import torch
    >>> solution = Adams().solve(lambda y, t, rows: -y, torch.ones(3, 2), 0.0, 1.0, rtol=1e-5, atol=1e-5)
    >>> bool((solution.y - 0.367879).abs().max() < 1e-4), solution.nfe.shape
    (True, torch.Size([3]))
    """

    order: int = 4
    max_steps: int = 2_000

    def __post_init__(self) -> None:
        if not 1 <= self.order <= 8:
            raise ValueError(f"order must lie in 1..8, got {self.order}; 4 is the default")
        if self.max_steps < 1:
            raise ValueError(f"max_steps must be at least 1, got {self.max_steps}")

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
        check_problem(y0, t0, t1, rtol, atol, norm_dims)
        batch, event, dtype = len(y0), y0.shape[1:], y0.dtype
        clock = torch.float32 if y0.device.type == "mps" else torch.float64
        length, sign = abs(t1 - t0), (1.0 if t1 > t0 else -1.0)
        end = y0.flatten(1).clone()
        nfe = torch.zeros(batch, dtype=torch.long, device=y0.device)
        rejected = torch.zeros_like(nfe)
        if batch == 0:
            return Solution(y0.clone(), nfe, rejected)

        def velocity(y: Tensor, s: Tensor, rows: Tensor) -> Tensor:
            """dy/ds at s = |t - t0|: inside, time always grows from 0 to length."""
            t = torch.where(s >= length, t1, t0 + sign * s).to(dtype)
            shaped = y.reshape(-1, *event)
            v = fn(shaped, t, rows)
            check_velocity(v, shaped)
            v = v.reshape(y.shape)
            return v if sign > 0 else -v

        def norm(x: Tensor) -> Tensor:
            return x[:, :norm_dims].square().mean(1).sqrt().to(clock)

        rows = torch.arange(batch, device=y0.device)
        y, s = end, torch.zeros(batch, dtype=clock, device=y0.device)
        f = velocity(y, s, rows)
        nfe += 1
        speed = norm(f / (atol + rtol * y.abs()))
        _refuse_not_finite(speed, t0, rows)
        # Order 1 has the error (STIFFNESS h / length)^2 h^2 |y''| / 2; |y'| / length stands in for |y''|.
        h = length * (GOAL / (STIFFNESS**2 / 2 * length * speed + 1e-30)).pow(1 / 4).clamp(max=LONGEST / 2)
        phi = [f, *(torch.zeros_like(f) for _ in range(self.order - 1))]
        place = torch.arange(self.order, dtype=clock, device=y0.device)[:, None]
        nodes = (-place * length).repeat(1, batch)  # `known` counts the real ones
        known = torch.ones_like(nfe)

        for _ in range(self.max_steps):
            left = length - s
            h = torch.where(h * 1.1 >= left, left, torch.minimum(h, left / 2))
            last = h == left
            s_new = torch.where(last, length, s + h)
            beta, g = adams_weights(h, nodes, known)
            now = beta.to(dtype).unsqueeze(-1)
            weight = (h * g[:-1]).to(dtype).unsqueeze(-1)
            star = [b * p for b, p in zip(now, phi, strict=True)]
            predicted = y
            for w, p in zip(weight, star, strict=True):
                predicted = torch.addcmul(predicted, w, p)
            new = [velocity(predicted, s_new, rows)]
            for p in star:
                new.append(new[-1] - p)
            nfe[rows] += 1
            correction = (h * g.gather(0, known[None])[0]).to(dtype).unsqueeze(-1) * new.pop()
            corrected = predicted + correction
            scale = atol + rtol * torch.maximum(y.abs(), corrected.abs())
            error = (STIFFNESS / length * h).square() * norm(correction / scale)
            kept = error <= 1
            ahead = h + (nodes[:1] - nodes)
            used = known
            if bool(kept.all()):
                y, s, phi = corrected, s_new, new
                nodes = torch.cat([s[None], nodes[:-1]])
                known = (known + 1).clamp(max=self.order)
                finished = last
            else:
                _refuse_not_finite(error, t0 + sign * float(s_new[~torch.isfinite(error)].mean()), rows)
                s = torch.where(kept, s_new, s)
                new[0] = torch.where(kept[:, None], new[0], phi[0])  # not in place: it may be the caller's own tensor
                back = (~kept).nonzero()[:, 0]
                for a, b in zip([corrected, *new[1:]], [y, *phi[1:]], strict=True):
                    a[back] = b[back]
                y, phi = corrected, new
                nodes = torch.where(kept, torch.cat([s_new[None], nodes[:-1]]), nodes)
                known = torch.where(kept, (known + 1).clamp(max=self.order), known)
                rejected[rows] += ~kept
                finished = last & kept
            factor = step_factor(error, h, ahead, nodes, used, GOAL)
            ceiling = torch.where(kept, GROW, 0.7)
            h = (h * factor.pow(DAMPING).clamp(min=SHRINK).minimum(ceiling)).clamp(max=LONGEST * length)
            if bool(finished.any()):
                end[rows[finished]] = y[finished]
                rest = (~finished).nonzero()[:, 0]
                if len(rest) == 0:
                    return Solution(end.reshape(y0.shape), nfe, rejected)
                rows, y, s, h, known = rows[rest], y[rest], s[rest], h[rest], known[rest]
                phi, nodes = [p[rest] for p in phi], nodes[:, rest]
        raise SolverError(
            f"adams took {self.max_steps} steps and {len(rows)} samples are still before t={t1:g} (the slowest at "
            f"t={t0 + sign * float(s.min()):.4g}); raise rtol and atol (now {rtol:g}, {atol:g}) or max_steps"
        )


def _refuse_not_finite(x: Tensor, t: float, rows: Tensor) -> None:
    bad = ~torch.isfinite(x)
    if bool(bad.any()):
        raise not_finite(t, rows[bad])
