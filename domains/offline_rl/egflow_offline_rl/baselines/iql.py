"""Implicit Q-learning: Kostrikov, Nair & Levine 2022, arXiv 2110.06169. No action outside the data is ever valued.

    L_V    = E[|τ − 1(u < 0)|·u²],    u = min_k Q̄_k(s, a) − V(s)                          (their equation 5)
    L_π    = −E[min(exp(β(min_k Q̄_k(s, a) − V(s))), 100)·log π(a | s)]                    (equation 7)
    L_Q    = Σ_k E[(r + γ(1 − d)·V(s') − Q_k(s, a))²]                                     (equation 6)

in this order, V being the updated one in the last two; then Q̄ follows by tau. β is on the scale of the rewards: the
published 3 is for locomotion rewards multiplied by `reward_scale`, and .7 the expectile there (mazes: 10, .9, r − 1).
"""

from __future__ import annotations

import copy
import math

import torch
from torch import Tensor, nn

from egflow_offline_rl._learn import adam, follow
from egflow_offline_rl.networks import GaussianActor, TwinQ, Value
from egflow_offline_rl.replay import Replay

_MAX_WEIGHT = 100.0


class IQL(nn.Module):
    """A `Learner`; its ``actor`` answers with the mean.

    Args:
        observation_size, action_size: lengths of s and a.
        width, depth: hidden layers of all networks.
        expectile: τ of the value's regression; .5 is the mean over the data's actions, towards 1 their best.
        temperature: β, an inverse temperature by its effect: 0 clones.
        discount, tau: γ, and the rate of the targets.
        learning_rate: of all; the actor's falls to 0 along a cosine.
        actor_steps: the length of that cosine, the number of updates meant.
    """

    def __init__(
        self,
        observation_size: int,
        action_size: int,
        *,
        width: int = 256,
        depth: int = 2,
        expectile: float = 0.7,
        temperature: float = 3.0,
        discount: float = 0.99,
        tau: float = 0.005,
        learning_rate: float = 3e-4,
        actor_steps: int = 1_000_000,
    ) -> None:
        super().__init__()
        self.expectile, self.temperature, self.discount, self.tau = expectile, temperature, discount, tau
        self.learning_rate, self.actor_steps = learning_rate, actor_steps
        self.actor = GaussianActor(observation_size, action_size, width, depth)
        self.critic = TwinQ(observation_size, action_size, width, depth)
        self.value = Value(observation_size, width, depth)
        self.target_critic = copy.deepcopy(self.critic).requires_grad_(False)
        self.optimisers: dict[str, torch.optim.Optimizer] = {
            name: adam(network.parameters(), learning_rate)
            for name, network in (("actor", self.actor), ("critic", self.critic), ("value", self.value))
        }

    def update(self, batch: Replay, generator: torch.Generator, step: int) -> dict[str, Tensor]:
        """One step of the value, the actor and the critics, in this order; no noise is drawn."""
        with torch.no_grad():
            q = self.target_critic(batch.observations, batch.actions).amin(0)
        value_loss = expectile_loss(q - self.value(batch.observations), self.expectile)
        self._descend("value", value_loss)

        with torch.no_grad():
            here, ahead = self.value(torch.cat([batch.observations, batch.next_observations])).chunk(2)
            weights = advantage_weights(q - here, self.temperature)
            target = batch.rewards + self.discount * (1 - batch.terminations) * ahead
        actor_loss = -(weights * self.actor.log_prob(batch.observations, batch.actions)).mean()
        progress = min(1.0, step / self.actor_steps)
        self.optimisers["actor"].param_groups[0]["lr"] = 0.5 * self.learning_rate * (1 + math.cos(math.pi * progress))
        self._descend("actor", actor_loss)

        values = self.critic(batch.observations, batch.actions)
        critic_loss = (values - target).square().mean(1).sum()
        self._descend("critic", critic_loss)
        follow(self.target_critic, self.critic, self.tau)
        clipped = (weights >= _MAX_WEIGHT).float().mean()
        figures = {"critic_loss": critic_loss, "value_loss": value_loss, "actor_loss": actor_loss}
        figures |= {"q": q.mean(), "weight": weights.mean(), "weights_clipped": clipped}
        return {name: figure.detach() for name, figure in figures.items()}

    def _descend(self, name: str, loss: Tensor) -> None:
        self.optimisers[name].zero_grad(set_to_none=True)
        loss.backward()
        self.optimisers[name].step()


def expectile_loss(difference: Tensor, expectile: float) -> Tensor:
    """E[|τ − 1(u < 0)|·u²] over u (batch,) -> ().

    Example:
        >>> round(float(expectile_loss(torch.tensor([1.0, -1.0]), 0.7)), 3)
        0.5
        >>> round(float(expectile_loss(torch.tensor([2.0]), 0.7)), 3)
        2.8
    """
    return (torch.where(difference < 0, 1 - expectile, expectile) * difference.square()).mean()


def advantage_weights(advantage: Tensor, temperature: float) -> Tensor:
    """min(exp(β·A), 100), (batch,)."""
    return (temperature * advantage).exp().clamp(max=_MAX_WEIGHT)


def reward_scale(episode_returns: Tensor) -> float:
    """1000 / (best − worst return): what the authors multiply locomotion rewards by, so that one β serves all.

    Args:
        episode_returns: (E,) undiscounted returns of the data.

    Raises:
        ValueError: if all returns are equal.

    Example:
        >>> reward_scale(torch.tensor([100.0, 600.0, 2100.0]))
        0.5
    """
    spread = float(episode_returns.max() - episode_returns.min())
    if not spread > 0:
        raise ValueError(f"episode_returns must differ to scale rewards by them, got {len(episode_returns)} equal ones")
    return 1000.0 / spread
