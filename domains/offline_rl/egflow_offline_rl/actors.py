"""Actors made of a flow: one draw, or the best of several by a critic."""

from __future__ import annotations

from typing import Protocol

import torch
from torch import Tensor, nn

from egflow.flow import Flow
from egflow_offline_rl.critic import support_values
from egflow_offline_rl.support import ACT


class Actor(Protocol):
    """What a policy asks: standardised observations (n, obs) -> actions (n, act), [-1, 1] after clipping."""

    def __call__(self, observations: Tensor, seed: int) -> Tensor: ...


class FlowActor:
    """One action of a conditional flow.

    Args:
        flow: of actions, conditional on observations.
        solver: as in `Flow.sample`, see `egflow_offline_rl.support.ACT`.
    """

    def __init__(self, flow: Flow, solver: str = ACT) -> None:
        self.flows, self.config = {"flow": flow}, {"solver": solver}

    def __call__(self, observations: Tensor, seed: int) -> Tensor:
        flow, solver = self.flows["flow"], self.config["solver"]
        return flow.sample(len(observations), observations, solver=solver, seed=seed)


class BestOf:
    """The best by Q of N actions of an actor; N = 1 is the actor itself.

    Args:
        actor: drawn from.
        q: the critic, (members, batch) of observations and actions; the smaller of its members decides.
        n: actions drawn at each observation.
    """

    def __init__(self, actor: Actor, q: nn.Module, n: int) -> None:
        self.actor, self.q, self.n = actor, q, n

    def __call__(self, observations: Tensor, seed: int) -> Tensor:
        count = len(observations)
        made = self.actor(observations.repeat_interleave(self.n, 0), seed)
        actions = made.clamp(-1, 1).reshape(count, self.n, -1)
        with torch.no_grad():
            best = support_values(self.q, observations, actions).argmax(1)
        return actions[torch.arange(count), best]
