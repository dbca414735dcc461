"""Small spaces of token sequences, and a network of their exact conditionals, so that samplers are tested alone."""

from __future__ import annotations

from itertools import product

import torch
from torch import Tensor, nn

from egflow.path import UniformTokens, Vocabulary


def full_space(vocab_size: int, length: int) -> Tensor:
    """All sequences of one length, (states, length)."""
    return torch.tensor(list(product(range(vocab_size), repeat=length)))


def padded_space(vocab_size: int, length: int, pad_id: int, least: int = 0) -> Tensor:
    """All sequences of at least ``least`` and at most ``length`` tokens that are not pad_id, padded."""
    tokens = [token for token in range(vocab_size) if token != pad_id]
    rows = [
        [*row, *[pad_id] * (length - size)] for size in range(least, length + 1) for row in product(tokens, repeat=size)
    ]
    return torch.tensor(rows)


def random_masses(states: int, seed: int, spread: float = 1.0) -> Tensor:
    """Probabilities (states,) float64, log-normal."""
    generator = torch.Generator().manual_seed(seed)
    return torch.softmax(spread * torch.randn(states, generator=generator, dtype=torch.float64), 0)


def place_of(x: Tensor, space: Tensor) -> Tensor:
    """Which state each row of x is; −1 for none."""
    base = int(max(x.max(), space.max())) + 2
    powers = base ** torch.arange(x.shape[1])
    keys, order = ((space + 1) * powers).sum(1).sort()
    mine = ((x + 1) * powers).sum(1)
    at = torch.searchsorted(keys, mine).clamp(max=len(keys) - 1)
    return torch.where(keys[at] == mine, order[at], -1)


def frequencies(x: Tensor, space: Tensor) -> Tensor:
    """Shares of the states among rows x, (states,) float64; every row must be a state."""
    place = place_of(x.cpu(), space)
    assert bool((place >= 0).all()), "a sample lies outside of the space"
    return torch.bincount(place, minlength=len(space)).double() / len(x)


def total_variation(p: Tensor, q: Tensor) -> float:
    """½ Σ |p − q|."""
    return float(0.5 * (p - q).abs().sum())


class Table(nn.Module):
    """The exact conditionals of masses over states, as the network of any path; slow, and right."""

    def __init__(self, space: Tensor, mass: Tensor, vocabulary: Vocabulary, path: str) -> None:
        super().__init__()
        self.words, self.path = vocabulary, path
        self.states, self.log_mass = vocabulary.encode(space), mass.log()
        self.one_hot = nn.functional.one_hot(self.states, vocabulary.outputs).double()

    def _told(self, log_likelihood: Tensor) -> Tensor:
        share = torch.softmax(self.log_mass + log_likelihood, 1)
        return torch.einsum("bs,slo->blo", share, self.one_hot).clamp_min(1e-300).log()

    def forward(self, x: Tensor, t: Tensor, condition: Tensor | None = None, beta: Tensor | None = None) -> Tensor:
        if self.path == "uniform":
            noise = 1 - UniformTokens().kappa(t.double())[:, None, None]
            keep, other = 1 - noise + noise / self.words.outputs, noise / self.words.outputs
            same = x[:, None] == self.states
            told = self._told(torch.where(same, keep, other).log().sum(2))
            return told.scatter_add(2, x[..., None], -(keep / other).log().expand(*x.shape, 1))  # what the path puts in
        if self.path == "masked":
            fits = ((x[:, None] == self.states) | (x[:, None] == self.words.own)).all(2)
            return self._told(torch.where(fits, 0.0, -700.0))
        logits, state = [], self.start(len(x))
        for token in x.unbind(1):
            row, state = self.step(token, state)
            logits.append(row)
        return torch.stack(logits, 1)

    def start(self, batch: int, condition: Tensor | None = None, beta: Tensor | None = None) -> Tensor:
        return torch.zeros(batch, 0, dtype=torch.long)

    def step(self, token: Tensor, state: Tensor) -> tuple[Tensor, Tensor]:
        state = torch.cat([state, token[:, None]], 1)
        seen = state[:, 1:]
        fits = (seen[:, None] == self.states[:, : seen.shape[1]]).all(2)
        return self._told(torch.where(fits, 0.0, -700.0))[:, seen.shape[1]], state

    def select(self, state: Tensor, rows: Tensor) -> Tensor:
        return state[rows]
