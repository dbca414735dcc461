"""A state's support: some actions of the behaviour or the policy, and the weights exp(beta·Q) within it.

    w_j(s) = exp(beta Q(s, a_j)) / Σ_k exp(beta Q(s, a_k)),        Σ_j w_j(s) = 1 in every state

A support of M actions can tilt only so far: past beta·σ_Q ≈ 1 it is best of M. So what is reported is σ_Q, the
effective number of actions, the largest weight and the beta achieved, never beta alone.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache

import torch
from torch import Tensor

from egflow.flow import Flow
from egflow.training import mix
from egflow.weights import Drawn
from egflow_offline_rl._progress import StepsLine

ACT = "midpoint:5"
"""Ten evaluations. Ten Euler steps, as published code takes, shrink a normal's variance by a fifth on the straight
path, and by as much again in every round that starts from their samples."""
_CHUNK = 8_192


@dataclass(frozen=True, slots=True)
class Support:
    """Actions of some states with their Q.

    Attributes:
        observations: (S, obs) standardised.
        actions: (S, K, act) in [-1, 1].
        q: (S, K).
    """

    observations: Tensor
    actions: Tensor
    q: Tensor

    @property
    def sigma_q(self) -> float:
        """Mean over states of the standard deviation of Q within the support."""
        return float(self.q.double().std(1).mean())


def draw_actions(
    flow: Flow, observations: Tensor, m: int, *, seed: int, solver: str = ACT, progress: str = "none"
) -> Tensor:
    """m actions of a flow at each observation, clipped to the bounds once they are made.

    Args:
        flow: of actions (act,), conditional on observations.
        observations: (n, obs) standardised.
        m: actions a state.
        seed: fixes them.
        solver: as in `Flow.sample`.
        progress: as in `StepsLine`, for many states.

    Returns:
        (n, m, act) in [-1, 1].
    """
    parts = []
    with StepsLine("support", len(observations), "none" if progress == "quiet" else progress) as line:
        for k, part in enumerate(observations.split(max(1, _CHUNK // m))):
            condition = part.repeat_interleave(m, 0)
            with torch.autocast(part.device.type, torch.bfloat16, enabled=bfloat16_is_fast()):
                made = flow.sample(len(condition), condition, solver=solver, seed=mix(seed, k))
            parts.append(made.float().clamp(-1, 1).reshape(len(part), m, -1))
            line.show(sum(map(len, parts)), f"{m} actions each")
    return torch.cat(parts)


@cache
def bfloat16_is_fast() -> bool:
    """Whether this CPU multiplies bfloat16 natively; an action of a support is right to 1 % either way."""
    try:
        with open("/proc/cpuinfo", encoding="utf-8") as stream:
            return "avx512_bf16" in stream.read()
    except OSError:
        return False


def log_weights_within(q: Tensor, beta: float | Tensor) -> Tensor:
    """log w_j(s): q (S, K), beta a number or (S, 1) -> (S, K) float64."""
    return torch.log_softmax(beta * q.double(), 1)


def effective(log_w: Tensor) -> Tensor:
    """Effective number of actions of each state, 1 / Σ_j w_j²: (S, K) -> (S,)."""
    return torch.exp(-torch.logsumexp(2 * log_w, 1))


def solve_step(q: Tensor, target_ess: float, most: float) -> float:
    """The largest beta, at most ``most``, at which the mean effective share of the support is still ``target_ess``.

    Args:
        q: (S, K), on the scale that beta is meant on.
        target_ess: a share of K between 1/K and 1.
        most: what is left of beta; negative for a negative beta.

    Returns:
        A number between 0 and ``most``.

    Example:
        >>> q = torch.randn(1000, 8, generator=torch.Generator().manual_seed(0))
        >>> step = solve_step(q, 0.5, 10.0)
        >>> round(float(effective(log_weights_within(q, step)).mean() / 8), 3)
        0.5
    """

    def share(beta: float) -> float:
        return float(effective(log_weights_within(q, beta)).mean()) / q.shape[1]

    if share(most) >= target_ess:
        return most
    low, high = 0.0, most
    for _ in range(50):
        middle = 0.5 * (low + high)
        low, high = (middle, high) if share(middle) >= target_ess else (low, middle)
    return low


@dataclass(frozen=True, slots=True)
class StateDraws:
    """Draws (state, action) with states uniform and the action ∝ its weight within the state's support.

    The gradient of  Σ_s Σ_j w_j(s) ‖v_θ(a_t) − u_t‖² / S  has this one-action estimate's as its mean, at a K-th
    of the cost. Rows are numbered state · K + action.

    Attributes:
        cumulated: (S, K) float64, weights of each state cumulated.
    """

    cumulated: Tensor

    @classmethod
    def of(cls, weights: Tensor) -> StateDraws:
        """From weights (S, K), not negative, of any positive sum within a state."""
        cumulated = weights.double().cumsum(1)
        return cls(cumulated / cumulated[:, -1:])

    def __call__(self, u: Tensor, generator: torch.Generator) -> Drawn:
        """Positions u (batch,) in [0, 1) over the states, and a generator for the action; see `egflow.weights`."""
        states, count = self.cumulated.shape
        state = (u * states).long().clamp_(max=states - 1)
        inside = torch.rand(len(u), 1, generator=generator, dtype=torch.float64)
        action = (self.cumulated[state] <= inside).sum(1).clamp_(max=count - 1)
        return Drawn(state * count + action)
