"""Critics, values and actors: plain MLPs, the members of an ensemble as one batched matrix product.

Observations are standardised and actions in [-1, 1] units throughout. Every layer starts as `torch.nn.Linear` does,
each member with draws of its own: weights and biases uniform in ±1/√(inputs). The widths are the published ones.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Sequence
from functools import partial

import torch
from torch import Tensor, nn
from torch.nn import functional as F

ACTIVATIONS: dict[str, Callable[[Tensor], Tensor]] = {
    "relu": F.relu,
    "mish": F.mish,
    "gelu": partial(F.gelu, approximate="tanh"),  # as in JAX, whose papers name it
    "silu": F.silu,
}


class Ensemble(nn.Module):
    """MLPs of one shape and separate weights: (batch, sizes[0]) -> (members, batch, sizes[-1]).

    Args:
        sizes: inputs, hidden widths, outputs.
        members: how many.
        activation: one of `ACTIVATIONS`, after every layer but the last.
        layer_norm: normalise after each activation, as in FQL's critics (arXiv 2502.02538).

    Raises:
        ValueError: for an unknown activation, or no member.

    Example:
        >>> Ensemble([3, 8, 1], members=2)(torch.zeros(5, 3)).shape
        torch.Size([2, 5, 1])
    """

    def __init__(
        self, sizes: Sequence[int], members: int = 1, activation: str = "relu", layer_norm: bool = False
    ) -> None:
        super().__init__()
        if activation not in ACTIVATIONS:
            raise ValueError(f"activation must be one of {', '.join(ACTIVATIONS)}, got {activation!r}")
        if members < 1 or min(sizes) < 1 or len(sizes) < 2:
            raise ValueError(f"members and sizes must be 1 or more, got members={members}, sizes={list(sizes)}")
        self.members, self.activation = members, ACTIVATIONS[activation]
        self.weights, self.biases = nn.ParameterList(), nn.ParameterList()
        for inputs, outputs in itertools.pairwise(sizes):
            bound = 1 / math.sqrt(inputs)
            self.weights.append(nn.Parameter(torch.empty(members, inputs, outputs).uniform_(-bound, bound)))
            self.biases.append(nn.Parameter(torch.empty(members, 1, outputs).uniform_(-bound, bound)))
        hidden = sizes[1:-1] if layer_norm else []
        self.gains = nn.ParameterList(nn.Parameter(torch.ones(members, 1, width)) for width in hidden)
        self.shifts = nn.ParameterList(nn.Parameter(torch.zeros(members, 1, width)) for width in hidden)

    def forward(self, x: Tensor) -> Tensor:
        """x (batch, inputs), or (members, batch, inputs) of one's own for each -> (members, batch, outputs)."""
        x = x.expand(self.members, *x.shape[-2:])
        return self._run(x, lambda h, weight, bias: torch.baddbmm(bias, h, weight), lambda parameter: parameter)

    def one(self, x: Tensor, member: int = 0) -> Tensor:
        """A single member: x (batch, inputs) -> (batch, outputs)."""
        return self._run(x, lambda h, weight, bias: torch.addmm(bias, h, weight), lambda parameter: parameter[member])

    def _run(
        self, h: Tensor, affine: Callable[[Tensor, Tensor, Tensor], Tensor], pick: Callable[[Tensor], Tensor]
    ) -> Tensor:
        last = len(self.weights) - 1
        for layer, (weight, bias) in enumerate(zip(self.weights, self.biases, strict=True)):
            h = affine(h, pick(weight), pick(bias))
            if layer < last:
                h = self.activation(h)
            if layer < len(self.gains):
                h = F.layer_norm(h, h.shape[-1:], eps=1e-6)
                h = torch.addcmul(pick(self.shifts[layer]), h, pick(self.gains[layer]))
        return h


class TwinQ(nn.Module):
    """Q_k(s, a), k = 1 … members: two by default.

    Args:
        observation_size, action_size: lengths of s and a.
        width, depth: hidden layers.
        members: critics of separate weights.
        activation, layer_norm: as in `Ensemble`.
        shift, unit: Q = shift + unit · what the network gives, so that it need not grow to the size of the returns.

    Example:
        >>> TwinQ(11, 3, width=32)(torch.zeros(5, 11), torch.zeros(5, 3)).shape
        torch.Size([2, 5])
    """

    def __init__(
        self,
        observation_size: int,
        action_size: int,
        width: int = 256,
        depth: int = 2,
        members: int = 2,
        activation: str = "relu",
        layer_norm: bool = False,
        shift: float = 0.0,
        unit: float = 1.0,
    ) -> None:
        super().__init__()
        self.shift, self.unit = shift, unit
        self.config = {
            "observation_size": observation_size,
            "action_size": action_size,
            "width": width,
            "depth": depth,
            "members": members,
            "activation": activation,
            "layer_norm": layer_norm,
            "shift": shift,
            "unit": unit,
        }
        sizes = [observation_size + action_size, *[width] * depth, 1]
        self.body = Ensemble(sizes, members, activation, layer_norm)

    def forward(self, observations: Tensor, actions: Tensor) -> Tensor:
        """observations (batch, obs), actions (batch, act) -> (members, batch)."""
        return self.shift + self.unit * self.body(torch.cat([observations, actions], -1)).squeeze(-1)

    def first(self, observations: Tensor, actions: Tensor) -> Tensor:
        """Q_1 alone, at half the price of two: -> (batch,)."""
        return self.shift + self.unit * self.body.one(torch.cat([observations, actions], -1)).squeeze(-1)


class Value(nn.Module):
    """V(s): (batch, obs) -> (batch,). Arguments as in `TwinQ`."""

    def __init__(self, observation_size: int, width: int = 256, depth: int = 2, activation: str = "relu") -> None:
        super().__init__()
        self.config = {"observation_size": observation_size, "width": width, "depth": depth, "activation": activation}
        self.body = Ensemble([observation_size, *[width] * depth, 1], activation=activation)

    def forward(self, observations: Tensor) -> Tensor:
        """observations (batch, obs) -> (batch,)."""
        return self.body.one(observations).squeeze(-1)


class DeterministicActor(nn.Module):
    """a = tanh(MLP(s)), an `Actor`: the seed changes nothing. Arguments as in `TwinQ`."""

    def __init__(
        self, observation_size: int, action_size: int, width: int = 256, depth: int = 2, activation: str = "relu"
    ) -> None:
        super().__init__()
        self.config = _sizes(observation_size, action_size, width, depth, activation)
        self.body = Ensemble([observation_size, *[width] * depth, action_size], activation=activation)

    def forward(self, observations: Tensor, seed: int = 0) -> Tensor:
        """observations (n, obs) -> actions (n, act) in (-1, 1)."""
        return self.body.one(observations).tanh()


class GaussianActor(nn.Module):
    """N(tanh(MLP(s)), σ²) with one log σ for each action dimension, the same in every state (IQL, arXiv 2110.06169).

    As an `Actor` it answers with the mean, which is how IQL is evaluated. Arguments as in `TwinQ`.
    """

    LOG_STD = (-5.0, 2.0)  # the authors' bounds

    def __init__(
        self, observation_size: int, action_size: int, width: int = 256, depth: int = 2, activation: str = "relu"
    ) -> None:
        super().__init__()
        self.config = _sizes(observation_size, action_size, width, depth, activation)
        self.body = Ensemble([observation_size, *[width] * depth, action_size], activation=activation)
        self.log_std = nn.Parameter(torch.zeros(action_size))

    def forward(self, observations: Tensor, seed: int = 0) -> Tensor:
        """observations (n, obs) -> means (n, act) in (-1, 1)."""
        return self.body.one(observations).tanh()

    def log_prob(self, observations: Tensor, actions: Tensor) -> Tensor:
        """Natural log-density of actions (batch, act) at observations (batch, obs) -> (batch,)."""
        log_std = self.log_std.clamp(*self.LOG_STD)
        error = (actions - self(observations)) * torch.exp(-log_std)
        return -(0.5 * error.square() + log_std + 0.5 * math.log(2 * math.pi)).sum(-1)


class OneStepActor(nn.Module):
    """a = MLP(s, z) with z ~ N(0, I) of the action's size: FQL's one-step policy (arXiv 2502.02538), GELU, no tanh.

    Arguments as in `TwinQ`.

    Example:
        >>> actor = OneStepActor(11, 3, width=32)
        >>> bool((actor(torch.zeros(5, 11), seed=1) == actor(torch.zeros(5, 11), seed=1)).all())
        True
    """

    def __init__(
        self, observation_size: int, action_size: int, width: int = 512, depth: int = 4, activation: str = "gelu"
    ) -> None:
        super().__init__()
        self.config = _sizes(observation_size, action_size, width, depth, activation)
        self.action_size = action_size
        self.body = Ensemble([observation_size + action_size, *[width] * depth, action_size], activation=activation)

    def forward(self, observations: Tensor, seed: int = 0) -> Tensor:
        """observations (n, obs) -> actions (n, act), unclipped; the noise is drawn from the seed."""
        generator = torch.Generator().manual_seed(seed)
        noise = torch.randn(len(observations), self.action_size, generator=generator)
        return self.from_noise(observations, noise.to(observations))

    def from_noise(self, observations: Tensor, noise: Tensor) -> Tensor:
        """observations (n, obs), noise (n, act) -> actions (n, act), unclipped."""
        return self.body.one(torch.cat([observations, noise], -1))


def _sizes(observation_size: int, action_size: int, width: int, depth: int, activation: str) -> dict[str, int | str]:
    return {
        "observation_size": observation_size,
        "action_size": action_size,
        "width": width,
        "depth": depth,
        "activation": activation,
    }
