"""TD3+BC: Fujimoto & Gu 2021, arXiv 2106.06860, on the TD3 of Fujimoto et al. 2018, arXiv 1802.09477.

    y      = r + γ(1 − d)·min_k Q̄_k(s', a'),    a' = clip(π̄(s') + clip(σ·ε, −c, c), −1, 1)
    L_Q    = Σ_k E[(Q_k(s, a) − y)²]                                                            every step
    L_π    = E[−λ·Q_1(s, π(s)) + ‖π(s) − a‖² / act],    λ = α / E|Q_1(s, π(s))|  (no gradient)  every second step

The targets (bars) follow by tau after each step of the actor.
"""

from __future__ import annotations

import copy

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from egflow_offline_rl._learn import adam, follow
from egflow_offline_rl.networks import DeterministicActor, TwinQ
from egflow_offline_rl.replay import Replay


class TD3BC(nn.Module):
    """A `Learner`; its ``actor`` is the policy.

    Args:
        observation_size, action_size: lengths of s and a.
        width, depth: hidden layers of actor and critics.
        alpha: weight of Q against cloning; free of the rewards' scale, for λ divides by |Q|.
        discount, tau: γ, and the rate of the targets.
        noise, noise_clip: σ and c of the target policy's smoothing, in action units.
        policy_delay: the actor learns at every such step, first at step policy_delay − 1, steps counted from 0.
        learning_rate: of both.
    """

    def __init__(
        self,
        observation_size: int,
        action_size: int,
        *,
        width: int = 256,
        depth: int = 2,
        alpha: float = 2.5,
        discount: float = 0.99,
        tau: float = 0.005,
        noise: float = 0.2,
        noise_clip: float = 0.5,
        policy_delay: int = 2,
        learning_rate: float = 3e-4,
    ) -> None:
        super().__init__()
        self.alpha, self.discount, self.tau = alpha, discount, tau
        self.noise, self.noise_clip, self.policy_delay = noise, noise_clip, policy_delay
        self.actor = DeterministicActor(observation_size, action_size, width, depth)
        self.critic = TwinQ(observation_size, action_size, width, depth)
        self.target_actor = copy.deepcopy(self.actor).requires_grad_(False)
        self.target_critic = copy.deepcopy(self.critic).requires_grad_(False)
        self.last_actor_loss: Tensor
        self.register_buffer("last_actor_loss", torch.zeros(()))  # so that every step has a figure
        self.optimisers: dict[str, torch.optim.Optimizer] = {
            "actor": adam(self.actor.parameters(), learning_rate),
            "critic": adam(self.critic.parameters(), learning_rate),
        }

    def update(self, batch: Replay, generator: torch.Generator, step: int) -> dict[str, Tensor]:
        """One step of the critics and, every ``policy_delay`` steps, one of the actor and the targets."""
        q = self.critic(batch.observations, batch.actions)
        critic_loss = (q - self.critic_target(batch, generator)).square().mean(1).sum()
        self._descend("critic", critic_loss)
        if (step + 1) % self.policy_delay == 0:
            actor_loss = self.actor_loss(batch)
            self._descend("actor", actor_loss)
            self.last_actor_loss.copy_(actor_loss.detach())
            follow(self.target_critic, self.critic, self.tau)
            follow(self.target_actor, self.actor, self.tau)
        figures = {"critic_loss": critic_loss, "q": q.mean(), "actor_loss": self.last_actor_loss.clone()}
        return {name: figure.detach() for name, figure in figures.items()}

    @torch.no_grad()
    def critic_target(self, batch: Replay, generator: torch.Generator) -> Tensor:
        """y, (batch,)."""
        noise = self.noise * torch.randn(batch.actions.shape, generator=generator).to(batch.actions)
        smoothed = self.target_actor(batch.next_observations) + noise.clamp(-self.noise_clip, self.noise_clip)
        q = self.target_critic(batch.next_observations, smoothed.clamp(-1, 1)).amin(0)
        return batch.rewards + self.discount * (1 - batch.terminations) * q

    def actor_loss(self, batch: Replay) -> Tensor:
        """L_π, ()."""
        actions = self.actor(batch.observations)
        q = self.critic.first(batch.observations, actions)
        weight = self.alpha / q.detach().abs().mean()
        return F.mse_loss(actions, batch.actions) - weight * q.mean()

    def _descend(self, name: str, loss: Tensor) -> None:
        optimiser = self.optimisers[name]
        optimiser.zero_grad(set_to_none=True)
        loss.backward(inputs=optimiser.param_groups[0]["params"])  # the actor's loss has no business with Q's weights
        optimiser.step()
