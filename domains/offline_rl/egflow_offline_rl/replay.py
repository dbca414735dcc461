"""The rows all learners train on: observations standardised, actions in units of the action space, [-1, 1]."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import torch
from torch import Tensor

if TYPE_CHECKING:
    from egflow_offline_rl.dataset import Transitions

_HELD_OUT = 0.05  # of the episodes


@dataclass(frozen=True, slots=True)
class Scaling:
    """Between the environment's units and a network's.

    Attributes:
        shift, scale: (obs,) mean and standard deviation of the observations; a constant one has scale 1.
        low, high: (act,) bounds of the action space, which become -1 and 1.
    """

    shift: Tensor
    scale: Tensor
    low: Tensor
    high: Tensor

    @classmethod
    def of(cls, transitions: Transitions) -> Scaling:
        """The scaling of a data set."""
        observations = transitions.observations.double()
        shift, scale = observations.mean(0), observations.std(0)
        scale = torch.where(scale > 1e-6, scale, 1.0)
        low, high = transitions.action_low.float(), transitions.action_high.float()
        return cls(shift.float(), scale.float(), low, torch.where(high > low, high, low + 1))  # one that cannot vary

    def observations(self, observations: Tensor) -> Tensor:
        """(n, obs) of the environment -> standardised."""
        return (observations - self.shift) / self.scale

    def to_unit(self, actions: Tensor) -> Tensor:
        """(n, act) of the environment -> [-1, 1]."""
        return 2 * (actions - self.low) / (self.high - self.low) - 1

    def to_environment(self, actions: Tensor) -> Tensor:
        """(n, act) in units of the space -> the environment's, clipped to its bounds."""
        return self.low + (actions.clamp(-1, 1) + 1) / 2 * (self.high - self.low)


@dataclass(frozen=True, slots=True)
class Replay:
    """Transitions as networks see them.

    Attributes:
        observations: (N, obs) standardised.
        actions: (N, act) in [-1, 1].
        rewards: (N,), shifted and scaled as the options say.
        next_observations: (N, obs).
        terminations: (N,) float: 1 where the episode ended for good, which alone stops the bootstrap.
        next_support: (N, M, act) actions of the behaviour at the next observations, or None.
    """

    observations: Tensor
    actions: Tensor
    rewards: Tensor
    next_observations: Tensor
    terminations: Tensor
    next_support: Tensor | None = None

    @classmethod
    def of(cls, transitions: Transitions, scaling: Scaling, *, shift: float = 0.0, scale: float = 1.0) -> Replay:
        """All rows of a data set; rewards become (reward + shift) · scale."""
        return cls(
            scaling.observations(transitions.observations),
            scaling.to_unit(transitions.actions).clamp(-1, 1),
            (transitions.rewards + shift) * scale,
            scaling.observations(transitions.next_observations),
            transitions.terminations.float(),
        )

    def __len__(self) -> int:
        return len(self.observations)

    def rows(self, index: Tensor) -> Replay:
        """The rows of an index (batch,) long."""
        support = None if self.next_support is None else self.next_support[index]
        return Replay(
            self.observations[index],
            self.actions[index],
            self.rewards[index],
            self.next_observations[index],
            self.terminations[index],
            support,
        )

    def with_support(self, next_support: Tensor) -> Replay:
        """The same rows with actions (N, M, act) at the next observations."""
        return replace(self, next_support=next_support)

    def to(self, device: torch.device) -> Replay:
        """The same rows on a device."""
        return Replay(
            self.observations.to(device),
            self.actions.to(device),
            self.rewards.to(device),
            self.next_observations.to(device),
            self.terminations.to(device),
            None if self.next_support is None else self.next_support.to(device),
        )


def held_out_rows(episode: Tensor) -> tuple[Tensor, Tensor]:
    """Rows to learn from and rows only looked at: whole episodes, one in twenty, a fixed function of their number.

    Args:
        episode: (N,) long, 0 … E − 1.

    Returns:
        Two (·,) long indices. Of fewer than four episodes none is held out.

    Example:
        >>> kept, held = held_out_rows(torch.arange(40).repeat_interleave(3))
        >>> len(kept), len(held)
        (114, 6)
    """
    count = int(episode.max()) + 1
    if count < 4:
        return torch.arange(len(episode)), torch.arange(0)
    order = torch.randperm(count, generator=torch.Generator().manual_seed(0))
    held = torch.zeros(count, dtype=torch.bool)
    held[order[: max(1, round(_HELD_OUT * count))]] = True
    return (~held[episode]).nonzero().squeeze(1), held[episode].nonzero().squeeze(1)
