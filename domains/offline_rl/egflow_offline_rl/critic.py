"""The in-support softmax critic of QGPO and QIPO (Lu et al. 2023, arXiv 2304.12824, eq. 14; arXiv 2503.04975, §5).

    V(s') = Σ_j softmax_j(α_q Q̄(s', a'_j)) Q̄(s', a'_j),        a'_1 … a'_M ~ μ(·|s')
    L = Σ_i E (Q_i(s, a) − r − γ (1 − termination) V(s'))²

Q̄ is the smaller of two slow copies. No action outside the behaviour's support is ever asked about.
"""

from __future__ import annotations

import copy
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from egflow.training import mix
from egflow_offline_rl._learn import adam, follow
from egflow_offline_rl.networks import TwinQ
from egflow_offline_rl.replay import Replay


class InSupportCritic(nn.Module):
    """Twin Q with the in-support softmax backup; a `Learner` of rows that carry ``next_support``.

    Args:
        observation_size, action_size: of the rows.
        width, depth: of the networks.
        discount: γ.
        tau: rate at which the slow copies follow.
        temperature: α_q of the softmax backup, on Q's own scale; 0 is the behaviour's own value.
        learning_rate: Adam's.
        shift, unit: mean and standard deviation of the data's discounted returns, say: what Q starts at, and the size
            that one of the network's own is.
    """

    def __init__(
        self,
        observation_size: int,
        action_size: int,
        *,
        width: int = 256,
        depth: int = 2,
        discount: float = 0.99,
        tau: float = 0.005,
        temperature: float = 1.0,
        learning_rate: float = 3e-4,
        shift: float = 0.0,
        unit: float = 1.0,
    ) -> None:
        super().__init__()
        self.discount, self.tau, self.temperature, self.unit = discount, tau, temperature, unit
        self.q = TwinQ(observation_size, action_size, width, depth, shift=shift, unit=unit)
        self.slow = copy.deepcopy(self.q).requires_grad_(False)
        self.optimisers: dict[str, torch.optim.Optimizer] = {"q": adam(self.q.parameters(), learning_rate)}

    def update(self, batch: Replay, generator: torch.Generator, step: int) -> dict[str, Tensor]:
        """One step of Q, and of its slow copy towards it."""
        support = batch.next_support
        assert support is not None
        with torch.no_grad():
            values = support_values(self.slow, batch.next_observations, support)
            backup = batch.rewards + self.discount * (1 - batch.terminations) * soft_value(values, self.temperature)
        q = self.q(batch.observations, batch.actions)
        loss = ((q - backup) / self.unit).square().mean(1).sum()
        self.optimisers["q"].zero_grad(set_to_none=True)
        loss.backward()
        self.optimisers["q"].step()
        follow(self.slow, self.q, self.tau)
        return {"loss": loss.detach(), "q": q.detach().mean(), "sigma_q": values.std(1).mean()}


def soft_value(values: Tensor, temperature: float) -> Tensor:
    """Σ_j softmax_j(α_q Q_j) Q_j: values (n, M) -> (n,).

    Example:
        >>> soft_value(torch.tensor([[0.0, 2.0]]), 0.0)
        tensor([1.])
    """
    return (torch.softmax(temperature * values, 1) * values).sum(1)


def support_values(q: nn.Module, observations: Tensor, actions: Tensor) -> Tensor:
    """The smaller of the twins at observations (n, obs) and actions (n, M, act): (n, M)."""
    n, m, size = actions.shape
    repeated = observations[:, None].expand(n, m, -1).reshape(n * m, -1)
    return q(repeated, actions.reshape(n * m, size)).amin(0).reshape(n, m)


def evaluate_support(q: nn.Module, observations: Tensor, actions: Tensor, chunk: int = 4_096) -> Tensor:
    """As `support_values` without gradients, in chunks of states, so that memory does not grow with n."""
    with torch.no_grad():
        parts = zip(observations.split(chunk), actions.split(chunk), strict=True)
        return torch.cat([support_values(q, o, a) for o, a in parts])


@dataclass(frozen=True, slots=True)
class CriticCheck:
    """Q held against the Monte-Carlo returns of held-out episodes.

    Attributes:
        q, returns: (n,) of the same rows.
        correlation: Pearson's.
        bias: mean of Q less mean return. The behaviour's return is a lower bound of what Q is about, so a positive
            bias is expected; one many times the returns' spread is a critic that has run away.
        drift: change of Q's mean over the last tenth of the training, as a share of the returns' standard deviation.
        words: what is wrong, or None.
    """

    q: Tensor
    returns: Tensor
    correlation: float | None
    bias: float
    drift: float
    words: str | None


def check_critic(q: Tensor, returns: Tensor, history: list[float]) -> CriticCheck:
    """The usual silent failures of a critic.

    Args:
        q, returns: (n,) at held-out rows whose returns can be trusted.
        history: mean Q in the course of training.

    Returns:
        The check; its words advise against weighting by this Q where it ranks states worse than chance or ran away.
    """
    spread = float(returns.std()) if len(returns) > 1 else 0.0
    varied = spread > 0 and float(q.std()) > 0
    correlation = float(torch.corrcoef(torch.stack([q, returns]))[0, 1]) if varied else None
    bias = float(q.mean() - returns.mean())
    tail = history[-max(2, len(history) // 10) :]
    drift = (tail[-1] - tail[0]) / max(spread, 1e-6) if len(tail) > 1 else 0.0
    words = None
    if correlation is not None and correlation < 0.1:
        words = (
            f"Q hardly follows the returns of held-out episodes (correlation {correlation:.2f}): weighting by it is "
            "worse than none; train the critic longer (offline_rl.critic_steps), or use method=bc"
        )
    elif abs(bias) > 5 * max(spread, 1e-6):
        words = f"Q is {bias:+.3g} off the returns of held-out episodes, whose spread is {spread:.3g}: it has run away"
    elif abs(drift) > 0.5:
        words = f"Q was still drifting at the end ({drift:+.2f} of the returns' spread): raise offline_rl.critic_steps"
    return CriticCheck(q, returns, correlation, bias, drift, words)


def sample_rows(n: int, most: int, seed: int) -> Tensor:
    """At most ``most`` of n rows, drawn once: (min(n, most),) long, increasing."""
    if n <= most:
        return torch.arange(n)
    chosen = torch.randperm(n, generator=torch.Generator().manual_seed(mix(seed, 31)))[:most]
    return chosen.sort().values
