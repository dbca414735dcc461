"""The default network for vectors: a residual MLP."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from egflow.network._embedding import TIME_FEATURES, BetaEmbedding, ConditionEmbedding, time_features


class MLP(nn.Module):
    """Residual MLP: h_0 = A x + B τ(t) + C(c), h_{k+1} = h_k + W_k silu(h_k), output W silu(h).

    The activation is smooth, so the learned field is too and the solver takes few steps. The output starts at zero.

    Args:
        event_shape: shape of one sample; it is flattened.
        width: of the hidden layers.
        depth: number of hidden width-by-width layers.
        frequencies: ω for which sin ωx and cos ωx of each coordinate are inputs too (Tancik et al. 2020): sharp
            structure in few dimensions is learnt sooner.
        condition_dim: length of a vector condition, or 0.
        num_classes: number of condition labels, or 0.
        beta_dim: number of betas the field is a function of, or 0.

    Example:
        >>> net = MLP((2,), width=16, depth=2)
        >>> net(torch.zeros(5, 2), torch.rand(5)).shape
        torch.Size([5, 2])
    """

    def __init__(
        self,
        event_shape: Sequence[int],
        width: int = 256,
        depth: int = 4,
        frequencies: Sequence[float] = (),
        condition_dim: int = 0,
        num_classes: int = 0,
        beta_dim: int = 0,
    ) -> None:
        super().__init__()
        self.config = {
            "event_shape": list(event_shape),
            "width": width,
            "depth": depth,
            "frequencies": list(frequencies),
            "condition_dim": condition_dim,
            "num_classes": num_classes,
            "beta_dim": beta_dim,
        }
        size = math.prod(event_shape)
        self.frequencies = tuple(frequencies)
        self.inlet = nn.Linear(size * (1 + 2 * len(self.frequencies)) + TIME_FEATURES, width)
        self.condition = ConditionEmbedding(width, condition_dim, num_classes) if condition_dim + num_classes else None
        self.beta = BetaEmbedding(width, beta_dim) if beta_dim else None
        self.hidden = nn.ModuleList(nn.Linear(width, width) for _ in range(depth))
        self.outlet = nn.Linear(width, size)
        nn.init.zeros_(self.outlet.weight)
        nn.init.zeros_(self.outlet.bias)

    def forward(self, x: Tensor, t: Tensor, condition: Tensor | None = None, beta: Tensor | None = None) -> Tensor:
        """x (batch, *event), t (batch,), condition (batch,) or (batch, condition_dim), beta -> (batch, *event)."""
        flat = x.flatten(1)
        waves = [wave(frequency * flat) for frequency in self.frequencies for wave in (torch.sin, torch.cos)]
        h = self.inlet(torch.cat([flat, *waves, time_features(t)], dim=1))
        if self.condition is not None:
            h = h + self.condition(condition)
        if self.beta is not None:
            h = h + self.beta(beta)
        for layer in self.hidden:
            h = h + layer(F.silu(h))
        return self.outlet(F.silu(h)).reshape(x.shape)
