"""The ids of tokens: the user's, and the core's own, which never leave it."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True, slots=True)
class Vocabulary:
    """Tokens 0 … size − 1 of the user; inside, padding is END = size, and the next id is MASK (or BEGIN).

    Attributes:
        size: the user's ``vocab_size``.
        pad_id: the user's id of padding, inside or outside of the vocabulary; None where all rows are full.

    Example:
        >>> words = Vocabulary(3, pad_id=0)
        >>> words.encode(torch.tensor([[2, 1, 0, 0]])).tolist()
        [[2, 1, 3, 3]]
        >>> words.decode(torch.tensor([[2, 3, 1, 3]])).tolist()
        [[2, 0, 0, 0]]
    """

    size: int
    pad_id: int | None = None

    @property
    def end(self) -> int | None:
        """The id of END inside, or None without padding."""
        return None if self.pad_id is None else self.size

    @property
    def outputs(self) -> int:
        """How many ids a network tells apart: the tokens, and END."""
        return self.size + (self.pad_id is not None)

    @property
    def own(self) -> int:
        """The id of MASK (path masked) or BEGIN (path sequential)."""
        return self.outputs

    @property
    def inputs(self) -> int:
        """How many ids a network may be shown."""
        return self.own + 1

    @property
    def unused(self) -> int | None:
        """The token that only ever is padding, where ``pad_id`` lies in the vocabulary."""
        return self.pad_id if self.pad_id is not None and 0 <= self.pad_id < self.size else None

    def encode(self, x: Tensor) -> Tensor:
        """The user's tokens (n, length) as ids inside."""
        return x if self.end is None else x.masked_fill(x == self.pad_id, self.end)

    def decode(self, z: Tensor) -> Tensor:
        """Ids inside (n, length) as the user's tokens, cut at the first END and padded."""
        if self.end is None or self.pad_id is None:
            return z
        return z.masked_fill((z == self.end).cummax(1).values, self.pad_id)

    def log_softmax(self, logits: Tensor, impossible: Tensor | None = None) -> Tensor:
        """Log-probabilities (batch, …, outputs) in which what cannot be has −inf."""
        if impossible is not None:
            logits = logits.masked_fill(impossible, -torch.inf)
        if self.unused is not None:
            logits = logits.index_fill(-1, torch.tensor(self.unused, device=logits.device), -torch.inf)
        return torch.log_softmax(logits, -1)
