"""Flow Q-learning: Park, Li & Levine 2025, arXiv 2502.02538: a one-step actor μ_ω(s, z), z ~ N(0, I), kept near a flow.

    y      = r + γ(1 − d)·mean_k Q̄_k(s', clip(μ_ω(s', z')))                               (min_k by option)
    L_Q    = E[mean_k (Q_k(s, a) − y)²]
    L_ω    = E[α·‖μ_ω(s, z) − clip(μ_θ(s, z))‖² / act − mean_k Q_k(s, clip(μ_ω(s, z)))]

μ_θ(s, z) carries the same z along the behaviour flow in ten Euler steps. That flow is egflow's own, trained before on
the velocity objective with which the paper trains it alongside, and is frozen here. Both losses are taken at the old
weights, then both step, then Q̄ follows by tau.

The paper has no default for locomotion: α is tuned by task (10 on antmaze and in its code, 30 on humanoid mazes, up to
30,000 on adroit), for it trades against the rewards' scale. The authors advise ``normalize_q=True``, which divides the
Q term by mean |Q|, and α from .03 to 10 for new tasks: with dense rewards do so.
"""

from __future__ import annotations

import copy

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from egflow.flow import Flow
from egflow_offline_rl._learn import adam, follow
from egflow_offline_rl.networks import OneStepActor, TwinQ
from egflow_offline_rl.replay import Replay
from egflow_offline_rl.support import bfloat16_is_fast


class FQL(nn.Module):
    """A `Learner`; its ``actor`` is the policy, one network evaluation an action.

    Args:
        observation_size, action_size: lengths of s and a.
        behaviour: a trained flow of actions in [-1, 1] units, conditional on standardised observations. It is neither
            trained nor saved here.
        width, depth: hidden layers of actor and critics (GELU; the critics with layer norm).
        alpha: weight of the distillation.
        normalize_q: divide the Q term by mean |Q| (no gradient).
        pessimistic: the smaller target critic instead of their mean.
        flow_steps: Euler steps of the behaviour.
        discount, tau: γ, and the rate of the target critics.
        learning_rate: of both.

    Raises:
        ValueError: for a behaviour of other actions or observations.
    """

    def __init__(
        self,
        observation_size: int,
        action_size: int,
        behaviour: Flow,
        *,
        width: int = 512,
        depth: int = 4,
        alpha: float = 10.0,
        normalize_q: bool = False,
        pessimistic: bool = False,
        flow_steps: int = 10,
        discount: float = 0.99,
        tau: float = 0.005,
        learning_rate: float = 3e-4,
    ) -> None:
        super().__init__()
        have = (behaviour.event_shape, behaviour.condition_shape)
        if have != ((action_size,), (observation_size,)):
            raise ValueError(
                f"behaviour must be a flow of ({action_size},) given ({observation_size},), got one of {have[0]} given "
                f"{have[1]}: train it on the same rows"
            )
        self.behaviour, self.solver = behaviour, f"euler:{flow_steps}"
        self.alpha, self.normalize_q, self.pessimistic = alpha, normalize_q, pessimistic
        self.discount, self.tau = discount, tau
        self.actor = OneStepActor(observation_size, action_size, width, depth)
        self.critic = TwinQ(observation_size, action_size, width, depth, activation="gelu", layer_norm=True)
        self.target_critic = copy.deepcopy(self.critic).requires_grad_(False)
        self.optimisers: dict[str, torch.optim.Optimizer] = {
            "actor": adam(self.actor.parameters(), learning_rate),
            "critic": adam(self.critic.parameters(), learning_rate),
        }

    def update(self, batch: Replay, generator: torch.Generator, step: int) -> dict[str, Tensor]:
        """One step of the critics and one of the actor."""
        noise, next_noise = torch.randn(2, *batch.actions.shape, generator=generator).to(batch.actions)
        q = self.critic(batch.observations, batch.actions)
        critic_loss = (q - self.critic_target(batch, next_noise)).square().mean()
        distill_loss, q_loss = self.actor_losses(batch, noise)
        for name, loss in (("critic", critic_loss), ("actor", self.alpha * distill_loss + q_loss)):
            self.optimisers[name].zero_grad(set_to_none=True)
            loss.backward(inputs=self.optimisers[name].param_groups[0]["params"])
        for optimiser in self.optimisers.values():
            optimiser.step()
        follow(self.target_critic, self.critic, self.tau)
        figures = {"critic_loss": critic_loss, "distill_loss": distill_loss, "q_loss": q_loss, "q": q.mean()}
        return {name: figure.detach() for name, figure in figures.items()}

    @torch.no_grad()
    def critic_target(self, batch: Replay, noise: Tensor) -> Tensor:
        """y, (batch,), the actor's next actions made from noise (batch, act)."""
        actions = self.actor.from_noise(batch.next_observations, noise).clamp(-1, 1)
        q = self.target_critic(batch.next_observations, actions)
        q = q.amin(0) if self.pessimistic else q.mean(0)
        return batch.rewards + self.discount * (1 - batch.terminations) * q

    def actor_losses(self, batch: Replay, noise: Tensor) -> tuple[Tensor, Tensor]:
        """The distillation error, per dimension and before alpha, and the Q term; two ()."""
        actions = self.actor.from_noise(batch.observations, noise)
        distill_loss = F.mse_loss(actions, self.behaviour_actions(batch.observations, noise))
        q = self.critic(batch.observations, actions.clamp(-1, 1)).mean(0)
        return distill_loss, -q.mean() / (q.detach().abs().mean() if self.normalize_q else 1)

    @torch.no_grad()
    def behaviour_actions(self, observations: Tensor, noise: Tensor) -> Tensor:
        """μ_θ: noise (batch, act) carried along the behaviour flow, then clipped; (batch, act)."""
        flow = self.behaviour
        with torch.autocast(noise.device.type, torch.bfloat16, enabled=bfloat16_is_fast()):
            z = flow.integrate(noise, 0.0, flow.path.t_end, observations, solver=self.solver).y
        return (flow.shift + flow.scale * z.float()).clamp(-1, 1)
