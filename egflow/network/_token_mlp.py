"""A network for short sequences of few tokens, looking at all positions at once: a residual MLP."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from egflow.network._context import ContextEmbedding, check_tokens
from egflow.network._embedding import TIME_FEATURES, time_features


class TokenMLP(nn.Module):
    """Residual MLP: h_0 = Σ_i A_i[x_i] / √length + C(condition) + B(beta) + T(t), h_{k+1} = h_k + W_k silu(h_k).

    All positions are read off the last h. Where sequences are few enough to count (some thousands), it learns their
    conditionals in a tenth of a transformer's time; past that a `Transformer`, which shares what it learns between
    positions, is better.

    Args:
        inputs: number of token ids that may come in: 0 … inputs − 1.
        outputs: number of tokens that are predicted: logits over 0 … outputs − 1.
        length: number of positions.
        width: of the hidden layers.
        depth: number of hidden width-by-width layers.
        timed: t is an input (the uniform path needs it; on the masked path the masks tell the time).
        condition_dim: length of a vector condition, or 0.
        num_classes: number of condition labels, or 0.
        beta_dim: number of energies whose beta is an input, or 0.

    Raises:
        ValueError: for a size below 1.

    Example:
        >>> net = TokenMLP(inputs=6, outputs=5, length=4, width=16)
        >>> net(torch.zeros(3, 4, dtype=torch.long), torch.zeros(3)).shape
        torch.Size([3, 4, 5])
    """

    place: Tensor

    def __init__(
        self,
        inputs: int,
        outputs: int,
        length: int,
        width: int = 256,
        depth: int = 3,
        timed: bool = False,
        condition_dim: int = 0,
        num_classes: int = 0,
        beta_dim: int = 0,
    ) -> None:
        super().__init__()
        self.config = {
            "inputs": inputs,
            "outputs": outputs,
            "length": length,
            "width": width,
            "depth": depth,
            "timed": timed,
            "condition_dim": condition_dim,
            "num_classes": num_classes,
            "beta_dim": beta_dim,
        }
        for name in ("inputs", "outputs", "length", "width", "depth"):
            if self.config[name] < 1:
                raise ValueError(f"{name}={self.config[name]} must be at least 1")
        self.length, self.outputs = length, outputs
        self.embed = nn.Embedding(inputs * length, width)
        self.register_buffer("place", inputs * torch.arange(length), persistent=False)
        self.time = nn.Linear(TIME_FEATURES, width) if timed else None
        self.context = ContextEmbedding(width, condition_dim, num_classes, beta_dim)
        self.hidden = nn.ModuleList(nn.Linear(width, width) for _ in range(depth))
        self.head = nn.Linear(width, length * outputs)

    def forward(
        self, x: Tensor, t: Tensor | None = None, condition: Tensor | None = None, beta: Tensor | None = None
    ) -> Tensor:
        """Tokens (batch, length) long -> logits at every position, (batch, length, outputs).

        Args:
            x: inputs, all ``length`` positions.
            t: (batch,), used only if the network is timed.
            condition: (batch,) labels or (batch, condition_dim).
            beta: (batch, beta_dim), scaled to [0, 1].

        Raises:
            ValueError: for x that is no batch of tokens of this length, or a missing t, condition or beta.
        """
        check_tokens(x, self.length, self.length)
        h, context = self.embed(x + self.place).sum(1) / self.length**0.5, self.context(condition, beta)
        if context is not None:
            h = h + context
        if self.time is not None:
            if t is None:
                raise ValueError("t is None, and this network was built with timed=True: pass t (batch,)")
            h = h + self.time(time_features(t.to(h.dtype)))
        for layer in self.hidden:
            h = h + layer(F.silu(h))
        return self.head(F.silu(h)).unflatten(1, (self.length, self.outputs))
