"""What a token network is told beside the tokens: the condition and beta, as one vector a row."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from egflow.network._embedding import BetaEmbedding, ConditionEmbedding


class ContextEmbedding(nn.Module):
    """C(condition) + B(beta), (batch, width); B starts at zero. None where the network takes neither.

    Args:
        width: of the output.
        condition_dim: length of a vector condition, or 0.
        num_classes: number of condition labels, or 0.
        beta_dim: number of energies whose beta is an input, or 0.
    """

    def __init__(self, width: int, condition_dim: int = 0, num_classes: int = 0, beta_dim: int = 0) -> None:
        super().__init__()
        self.condition = ConditionEmbedding(width, condition_dim, num_classes) if condition_dim + num_classes else None
        self.beta = BetaEmbedding(width, beta_dim) if beta_dim else None

    def forward(self, condition: Tensor | None, beta: Tensor | None) -> Tensor | None:
        """(batch,) long or (batch, condition_dim), and (batch, beta_dim) in [0, 1] -> (batch, width) or None.

        Raises:
            ValueError: where the network was built with an input that is not given.
        """
        parts = []
        if self.condition is not None:
            if condition is None:
                raise ValueError("condition is None, and this network was built with one: pass condition=")
            parts.append(self.condition(condition))
        if self.beta is not None:
            if beta is None:
                raise ValueError("beta is None, and this network was built with beta_dim: pass beta= (batch, beta_dim)")
            parts.append(self.beta(beta.to(self.beta.embed.weight.dtype)))
        return torch.stack(parts).sum(0) if parts else None


def check_tokens(x: Tensor, longest: int, shortest: int = 1) -> None:
    """Tokens are whole numbers (batch, shortest to longest). Raises ValueError."""
    if x.ndim != 2 or x.is_floating_point() or not shortest <= x.shape[1] <= longest:
        lengths = f"{longest}" if shortest == longest else f"{shortest} to {longest}"
        raise ValueError(
            f"x has shape {tuple(x.shape)} and dtype {x.dtype}, "
            f"this network takes whole-number tokens (batch, {lengths})"
        )
