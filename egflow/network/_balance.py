"""Tokens that must balance, as brackets and ring bonds must in SMILES: told to a network, and kept by what it says."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F

Open = tuple[Tensor, Tensor]
"""What is open: depth (…) long, rings (…, k) bool."""

_DEEPEST = 7  # deeper nesting looks the same to the network; the rule holds at any depth


class Balance(nn.Module):
    """What is open after each token, as an input of a recurrent network, and which tokens that makes impossible.

    A sequence may end only where nothing is open; a pair may close only where it is open, and not at once. Both are
    rules of the language and not of the data, so a network need not learn to count, and never miscounts: the
    probabilities of what is impossible go to the rest, and the likelihood stays exact.

    Args:
        nest: ids of the tokens that open and close, as in ( ( ) ).
        twice: ids of tokens that open where they stand first and close where they stand again.
        end: the id that ends a sequence.
        width: of the features.

    Example:
        >>> balance = Balance((0, 1), (2,), end=4, width=8)
        >>> depth, rings = balance.read(torch.tensor([[5, 0, 2, 1, 2]]))  # BEGIN ( a ) a
        >>> depth.tolist(), rings[..., 0].tolist()
        ([[0, 1, 1, 0, 0]], [[False, False, True, True, False]])
    """

    rings: Tensor

    def __init__(self, nest: Sequence[int], twice: Sequence[int], end: int, width: int) -> None:
        super().__init__()
        self.opening, self.closing = nest
        self.end = end
        self.register_buffer("rings", torch.tensor(list(twice), dtype=torch.long), persistent=False)
        self.depth = nn.Embedding(_DEEPEST + 1, width)
        self.open = nn.Linear(len(twice), width, bias=False) if twice else None
        nn.init.zeros_(self.depth.weight)
        if self.open is not None:
            nn.init.zeros_(self.open.weight)

    def read(self, x: Tensor) -> Open:
        """Tokens (batch, length) -> what is open after each: depth (batch, length), rings (batch, length, k) bool."""
        depth = ((x == self.opening).long() - (x == self.closing).long()).cumsum(1)
        return depth, ((x[..., None] == self.rings).cumsum(1) % 2).bool()

    def forward(self, depth: Tensor, rings: Tensor) -> Tensor:
        """What is open as numbers, (…, width)."""
        h = self.depth(depth.clamp(0, _DEEPEST))
        return h if self.open is None else h + self.open(rings.to(h))

    def impossible(self, token: Tensor, opened: Open, outputs: int) -> Tensor:
        """What cannot follow a token (…), with that open after it: a bool (…, outputs)."""
        depth, rings = opened
        never = torch.zeros(*token.shape, outputs, dtype=torch.bool, device=token.device)
        never[..., self.closing] = (depth <= 0) | (token == self.opening)
        never[..., self.end] = (depth > 0) | rings.any(-1)
        return never

    def nothing(self, batch: int) -> Open:
        """What is open before the first token of ``batch`` sequences."""
        place = self.rings.device
        return torch.zeros(batch, dtype=torch.long, device=place), self.rings.new_zeros(batch, len(self.rings)).bool()

    def after(self, token: Tensor, opened: Open) -> Open:
        """What is open after one more token (batch,)."""
        depth, rings = opened
        depth = depth + (token == self.opening).long() - (token == self.closing).long()
        return depth, rings ^ (token[:, None] == self.rings)

    def through(self, weight: Tensor) -> tuple[Tensor, Tensor]:
        """Tables for `look_up`: depth and rings times a weight (out, width)."""
        rings = weight.new_zeros(0, len(weight)) if self.open is None else F.linear(self.open.weight.T, weight)
        return F.linear(self.depth.weight, weight), rings

    def look_up(self, opened: Open, tables: tuple[Tensor, Tensor]) -> Tensor:
        """What a layer of that weight makes of `forward`, (batch, out), without the product."""
        depth, rings = opened
        return tables[0][depth.clamp(0, _DEEPEST)] + rings.to(tables[1]) @ tables[1]
