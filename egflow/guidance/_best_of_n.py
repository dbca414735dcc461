"""Best-of-N: draw N from the base and keep one (Stiennon et al. 2020, arXiv 2009.01325, whose appendix has the KL;
its resampled form is the sampling-importance-resampling of Rubin 1987).

Neither samples q. With F(e) = P_p(E ≤ e) and w = exp(−beta·E):

    lowest energy    P(E ≤ e) = 1 − (1 − F(e))^N, and x ~ p given its E. For a continuous E the density is
                     N·p(x)·(1 − F(E(x)))^(N−1). No beta enters; KL to p is at most log N − (N − 1)/N (equal where E
                     is continuous), so that N grows exponentially with what is asked for.
    resampled        one of the N by softmax(−beta·E): density p(x)·w(x)·E[1 / mean_j w_j | x among the N], which is p
                     at N = 1 and tends to q as N → ∞ with an error of O(1/N): N well above 1/ess_fraction is needed.

No training, no gradient; N times the base's evaluations, and N of the energy, a sample.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from egflow.energy import EnergyModel, as_energy, evaluate
from egflow.flow import Flow
from egflow.solver import Solution, Solver
from egflow.training import check_count, mix
from egflow.weights import check_beta

_CHUNK = 65_536  # draws of the base held at once


@dataclass(frozen=True, slots=True)
class BestOfN:
    """A sampler that keeps one of N draws of the base: see `best_of_n`."""

    base: Flow
    energy: EnergyModel
    count: int
    beta: float | None = None

    def sample(
        self,
        n: int,
        condition: Tensor | int | None = None,
        *,
        solver: str | Solver | None = None,
        rtol: float = 1e-5,
        atol: float = 1e-5,
        seed: int = 0,
    ) -> Tensor:
        """n samples (n, *event); the arguments are those of `Flow.sample`."""
        return self.solve(n, condition, solver=solver, rtol=rtol, atol=atol, seed=seed).y

    def solve(
        self,
        n: int,
        condition: Tensor | int | None = None,
        *,
        solver: str | Solver | None = None,
        rtol: float = 1e-5,
        atol: float = 1e-5,
        seed: int = 0,
    ) -> Solution:
        """As `sample`, with the evaluations of all N draws counted to the one that is kept."""
        check_count("n", n)
        rows, parts = max(1, _CHUNK // self.count), []
        labels = None if condition is None else torch.as_tensor(condition)
        each = labels is not None and labels.ndim > 0 and len(labels) == n
        for number, start in enumerate(range(0, n, rows)):
            size = min(rows, n - start)
            c = (
                labels[start : start + size].repeat_interleave(self.count, 0)
                if each and labels is not None
                else condition
            )
            place = mix(seed, 7, number)
            drawn = self.base.solve(size * self.count, c, solver=solver, rtol=rtol, atol=atol, seed=place)
            parts.append(self.choose(drawn, c if isinstance(c, Tensor) else None, mix(place, 1)))
        return Solution(*(torch.cat([getattr(part, name) for part in parts]) for name in ("y", "nfe", "rejected")))

    def choose(self, drawn: Solution, condition: Tensor | None, seed: int) -> Solution:
        """Keep one of each N successive rows."""
        energy = evaluate(self.energy, drawn.y, condition, allow_all_forbidden=True).energy.reshape(-1, self.count)
        merit = -energy
        if self.beta is not None:
            uniform = torch.rand(energy.shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
            # Gumbel-max: argmax(log w + G) is a draw of softmax(log w); forbidden ones never win against allowed ones
            merit = torch.where(energy == torch.inf, -torch.inf, -self.beta * energy - (-uniform.log()).log())
        kept = merit.argmax(1)
        rows = (torch.arange(len(kept)) * self.count + kept).to(drawn.y.device)
        nfe, rejected = (cost.reshape(-1, self.count).sum(1) for cost in (drawn.nfe, drawn.rejected))
        return Solution(drawn.y[rows], nfe, rejected)


def best_of_n(base: Flow, energy: EnergyModel | Callable[..., Tensor], n: int, beta: float | None = None) -> BestOfN:
    """Keep the lowest energy of n draws, or, with a beta, one of them drawn by softmax(−beta·E).

    Args:
        base: the flow of p, with or without conditions.
        energy: (batch, *event) -> (batch,), low is good, +inf is forbidden; black boxes are fine.
        n: draws a sample.
        beta: None keeps the lowest.

    Returns:
        A sampler. Where all n draws are forbidden, one of them is returned, and the report counts it.

    Raises:
        ValueError: for n below 1, or a beta that is not finite.

    Example:
        >>> base = Flow(lambda z, t, condition, beta=None: torch.zeros_like(z), (1,))
        >>> x = best_of_n(base, lambda x: x[:, 0], 4).sample(10_000)
        >>> round(float(x.mean()), 1)  # the mean of the least of four normals is −1.03
        -1.0
    """
    check_count("n", n)
    model = energy if isinstance(energy, EnergyModel) else as_energy(energy)
    return BestOfN(base, model, n, None if beta is None else check_beta(beta))
