"""Every sequence of a small vocabulary, padded: p is random, the tilt is exact by enumeration."""

from __future__ import annotations

from itertools import product

import torch
from torch import Tensor

PAD = 0


def space(vocabulary: int, longest: int, *, padded: bool = True) -> Tensor:
    """All sequences over 1..vocabulary of up to `longest` tokens, (states, longest) long, PAD behind the end."""
    rows = []
    for length in range(1 if padded else longest, longest + 1):
        rows += [(*word, *[PAD] * (longest - length)) for word in product(range(1, vocabulary + 1), repeat=length)]
    return torch.tensor(rows)


def energy(x: Tensor) -> Tensor:
    """Length and how often token 1 stands beside itself: of composition and of order."""
    return (x != PAD).sum(1) / 2 - ((x[:, 1:] == 1) & (x[:, :-1] == 1)).sum(1).float()


class Words:
    """Draws of p and of its exact tilt."""

    def __init__(self, states: Tensor, seed: int = 0) -> None:
        self.states = states
        self.generator = torch.Generator().manual_seed(seed)
        self.log_p = torch.randn(len(states), generator=self.generator, dtype=torch.float64)

    def log_prob(self, beta: float) -> Tensor:
        """Of every state, (states,)."""
        return torch.log_softmax(self.log_p - beta * energy(self.states).double(), 0)

    def draw(self, n: int, beta: float = 0.0) -> Tensor:
        return self.states[torch.multinomial(self.log_prob(beta).exp(), n, replacement=True, generator=self.generator)]
