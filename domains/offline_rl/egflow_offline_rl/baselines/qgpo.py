"""QGPO: Lu et al. 2023, arXiv 2304.12824: a behaviour flow guided by a contrastively trained intermediate energy.

    L  = −Σ_j softmax_j(β·Q(s, a_j))·log softmax_j(f(a_j,t, s, t)),    a_1 … a_K ~ μ(·|s), one t for the K
    ∇log π_t(a_t|s) = ∇log μ_t(a_t|s) + scale·∇f(a_t, s, t)

The critic Q, in-support softmax Q-learning, is given; so is the behaviour; here f is trained, one for one β. The loss,
the guided velocity and the flow are the core's own (`egflow.guidance`). f sees what `Potential` makes of a_t.

β = 3 is published for locomotion rewards multiplied by `reward_scale`; the authors then choose ``scale``, up to 10, for
each task by the return of the rollouts, which no offline user can.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from egflow.flow import Flow
from egflow.guidance import ContrastiveVelocity, Potential, contrastive_loss
from egflow.network import MLP
from egflow_offline_rl._learn import adam
from egflow_offline_rl.replay import Replay
from egflow_offline_rl.support import Support


class GuidedActor(nn.Module):
    """An `Actor`: actions of the behaviour flow, guided by ∇f.

    Args:
        behaviour: flow of actions, conditional on observations; not a sub-module, and not trained here.
        width, depth: of f: an `egflow.network.MLP` of SiLU, an inlet and depth − 1 layers on top of it.
        scale: of ∇f; 1 is what f was trained for.
        solver: about 15 evaluations as published, each of three network passes.
    """

    def __init__(
        self, behaviour: Flow, width: int = 256, depth: int = 4, scale: float = 1.0, solver: str = "midpoint:8"
    ) -> None:
        super().__init__()
        assert behaviour.condition_shape is not None
        self.config = {"width": width, "depth": depth, "scale": scale, "solver": solver}
        self.flows = {"behaviour": behaviour}
        (observation_size,) = behaviour.condition_shape
        body = MLP(behaviour.event_shape, width, depth - 1, condition_dim=observation_size)
        self.behaviour, self.scale, self.solver = behaviour, scale, solver
        self.potential = Potential(body, behaviour.path).to(behaviour.device)

    def forward(self, observations: Tensor, seed: int = 0) -> Tensor:
        """observations (n, obs) -> actions (n, act)."""
        with torch.inference_mode(False), torch.no_grad():  # ∇f needs a graph even where a caller wants none
            return self.flow().sample(len(observations), observations.clone(), solver=self.solver, seed=seed)

    def flow(self) -> Flow:
        """The guided flow, with this actor's weights as they are now."""
        base = self.behaviour
        network = ContrastiveVelocity(base, _Scaled(self.potential, self.scale))
        flow = Flow(network, base.event_shape, path=base.path, prediction="velocity")
        flow.shift, flow.scale = base.shift, base.scale
        flow.condition_shape, flow.base = base.condition_shape, base
        return flow


class QGPO(nn.Module):
    """A `Learner` of f; its ``actor`` is the guided behaviour.

    Args:
        behaviour: a trained flow of actions in [-1, 1] units, conditional on standardised observations.
        support: K = 16 actions of that behaviour at each of the states, with their Q, evaluated once: Q is frozen.
        beta: on Q's own scale.
        width, depth: of f, four layers of 256 as in the authors' code.
        scale: of the guidance.
        learning_rate: of f.

    Raises:
        ValueError: for a support of one action a state, or of other sizes than the behaviour's.
    """

    def __init__(
        self,
        behaviour: Flow,
        support: Support,
        *,
        beta: float = 3.0,
        width: int = 256,
        depth: int = 4,
        scale: float = 1.0,
        learning_rate: float = 3e-4,
    ) -> None:
        super().__init__()
        have = (behaviour.event_shape, behaviour.condition_shape)
        got = (tuple(support.actions.shape[2:]), tuple(support.observations.shape[1:]))
        k = support.actions.shape[1]
        if have != got or k < 2:
            raise ValueError(
                f"support must be 2 or more actions {have[0]} at states {have[1]}, got {k} of {got[0]} at {got[1]}: "
                "draw it from this behaviour"
            )
        self.support, self.beta = support, beta
        self.actor = GuidedActor(behaviour, width, depth, scale)
        self.optimisers: dict[str, torch.optim.Optimizer] = {
            "f": adam(self.actor.potential.parameters(), learning_rate)
        }

    def update(self, batch: Replay, generator: torch.Generator, step: int) -> dict[str, Tensor]:
        """One step of f at as many states of the support as the batch has rows; of the batch itself nothing is used."""
        rows = torch.randint(len(self.support.q), (len(batch),), generator=generator)
        t = torch.rand(len(rows), generator=generator)
        x_0 = torch.randn(len(rows), *self.support.actions.shape[1:], generator=generator)
        loss = self.loss(rows, t, x_0)
        self.optimisers["f"].zero_grad(set_to_none=True)
        loss.backward()
        self.optimisers["f"].step()
        return {"loss": loss.detach()}

    def loss(self, rows: Tensor, t: Tensor, x_0: Tensor) -> Tensor:
        """L at states (n,), times t (n,) in [0, 1) shared by a state's actions, and noise x_0 (n, K, act); ()."""
        flow, potential = self.actor.behaviour, self.actor.potential
        n, k = len(rows), x_0.shape[1]
        z = ((self.support.actions[rows].to(flow.shift) - flow.shift) / flow.scale).flatten(0, 1)
        times = (t.to(z) * flow.path.t_end).repeat_interleave(k)
        point = flow.path.sample(x_0.to(z).flatten(0, 1), z, times)
        f = potential(point.x_t, point.t, self.support.observations[rows].to(z).repeat_interleave(k, 0))
        return contrastive_loss(f.reshape(n, k), self.beta * self.support.q[rows].to(f))


class _Scaled(Potential):
    """scale·f, of the same weights."""

    def __init__(self, potential: Potential, scale: float) -> None:
        super().__init__(potential.body, potential.path)
        self.scale = scale

    def forward(self, z: Tensor, t: Tensor, condition: Tensor | None = None) -> Tensor:
        return self.scale * super().forward(z, t, condition)
