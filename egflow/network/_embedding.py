"""Embeddings of time and condition."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

TIME_FEATURES = 9


def time_features(t: Tensor) -> Tensor:
    """(batch,) -> (batch, 9): t, and sin and cos of π k t for k = 1 … 4.

    Low frequencies only: a field that is rough in t costs the adaptive solver steps.
    """
    angle = math.pi * t[:, None] * torch.arange(1, 5, device=t.device, dtype=t.dtype)
    return torch.cat([t[:, None], angle.sin(), angle.cos()], dim=1)


class BetaEmbedding(nn.Module):
    """Embeds betas (batch, beta_dim), scaled to [0, 1], as (batch, width); zero until it is trained.

    Args:
        width: of the output.
        beta_dim: number of energies.
    """

    def __init__(self, width: int, beta_dim: int) -> None:
        super().__init__()
        self.embed = nn.Linear(9 * beta_dim, width)
        nn.init.zeros_(self.embed.weight)
        nn.init.zeros_(self.embed.bias)

    def forward(self, beta: Tensor) -> Tensor:
        """(batch, beta_dim) -> (batch, width): linear in s, s², cos(π k s), and exp(−5 s), exp(−20 s) from either end.

        The last are steep at the ends: near beta 0, where energies vary most, q changes fastest with beta.
        """
        waves = [torch.cos(math.pi * k * beta) for k in (1, 2, 3)]
        steep = [torch.exp(-rate * end) for rate in (5.0, 20.0) for end in (beta, 1 - beta)]
        return self.embed(torch.cat([beta, beta.square(), *waves, *steep], dim=1))


class ConditionEmbedding(nn.Module):
    """Embeds labels (batch,) long, or vectors (batch, condition_dim) float, as (batch, width).

    Args:
        width: of the output.
        condition_dim: length of a vector condition, or 0.
        num_classes: number of labels, or 0. One of the two must be given.
    """

    def __init__(self, width: int, condition_dim: int = 0, num_classes: int = 0) -> None:
        super().__init__()
        if bool(condition_dim) == bool(num_classes):
            raise ValueError("give one of condition_dim and num_classes")
        self.embed = nn.Embedding(num_classes, width) if num_classes else nn.Linear(condition_dim, width)

    def forward(self, condition: Tensor) -> Tensor:
        """(batch,) long or (batch, condition_dim) float -> (batch, width)."""
        return self.embed(condition)
