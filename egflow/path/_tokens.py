"""Probability paths for tokens: what a network sees of x_1 (batch, length) at flow time t, and what it is asked for.

    masked       each position is x_1's, or MASK           (Sahoo et al., arXiv 2406.07524; Shi et al., 2406.04329)
    uniform      each position is x_1's, or any token      (Gat et al., arXiv 2407.15595)
    sequential   the tokens before a position, in order    (the chain rule, left to right: masked in a fixed order)

On each of them a network gives, for every position, the distribution of x_1's token there given what it sees; the
samplers of `egflow.solver` turn these into samples. No corruption here depends on the energy, so weighting the loss
gives the network of q ∝ p·exp(−beta·E), see `egflow.objective.cross_entropy`.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from egflow._kinds import shown
from egflow.path._vocabulary import Vocabulary

Uniform = Callable[..., Tensor]
"""``uniform(*shape)`` -> (batch, *shape) in [0, 1)."""


@dataclass(frozen=True, slots=True)
class TokenPoint:
    """What a network is shown and asked for.

    Attributes:
        x_t: (batch, length) long, the network's input; fewer columns where the last ones hold nothing.
        t: (batch,) flow time.
        x_1: (batch, length) long, the tokens asked for.
        share: (batch, length) factor of each position's cross-entropy; 0 where a position is not asked for.
    """

    x_t: Tensor
    t: Tensor
    x_1: Tensor
    share: Tensor


class TokenPath(ABC):
    """How tokens are hidden from the network.

    Attributes:
        name: as in ``path=``.
        likelihood: "exact", "estimate" or "none": what `log_prob` can give.
        t_end: where training and sampling stop.
    """

    name: str
    likelihood: str
    t_end: float = 1.0

    @abstractmethod
    def sample(self, x_1: Tensor, t: Tensor, uniform: Uniform, vocabulary: Vocabulary) -> TokenPoint:
        """Hide a part of x_1 (batch, length), given t (batch,) in [0, 1) and a source of uniform numbers."""

    def tell(self, logits: Tensor, x_t: Tensor, t: Tensor, vocabulary: Vocabulary) -> Tensor:
        """A network's logits (batch, length, outputs) as log p(x_1^i | x_t), with what is known of it put in."""
        return vocabulary.log_softmax(logits)


class Masked(TokenPath):
    """m of the L positions are hidden, m uniform in 1 … L and any m alike: every order is learnt at once.

    The mean over m of  L/m · Σ_hidden −log p(x_1^i | x_t)  is an upper bound of −log p(x_1), tight where the
    conditionals agree with each other (Ou et al. 2024, arXiv 2406.03736, eq. 3.5; Hoogeboom et al. 2021, 2110.02037).
    t = 1 − m/L is a function of x_t, so the network has nothing to learn from it.
    """

    name = "masked"
    likelihood = "estimate"

    def sample(self, x_1: Tensor, t: Tensor, uniform: Uniform, vocabulary: Vocabulary) -> TokenPoint:
        """As `TokenPath.sample`; t stratifies m."""
        length = x_1.shape[1]
        hidden = length - (t * length).long().clamp(max=length - 1)
        rank = uniform(length).to(t).argsort(1).argsort(1)
        mask = rank < hidden[:, None]
        share = mask / hidden[:, None].to(t)
        return TokenPoint(x_1.masked_fill(mask, vocabulary.own), 1 - hidden.to(t) / length, x_1, share)

    def tell(self, logits: Tensor, x_t: Tensor, t: Tensor, vocabulary: Vocabulary) -> Tensor:
        """As `TokenPath.tell`: nothing but END comes after an END, and no END before a token."""
        return vocabulary.log_softmax(logits, self.impossible(x_t, vocabulary))

    def impossible(self, x_t: Tensor, vocabulary: Vocabulary) -> Tensor | None:
        """Where x_t (batch, length) leaves no chance for a token: a bool (batch, length, outputs), or None."""
        if vocabulary.end is None:
            return None
        is_token, is_end = x_t < vocabulary.size, x_t == vocabulary.end
        token_later = is_token.flip(1).cummax(1).values.flip(1)
        end_before = is_end.cummax(1).values
        never = torch.zeros(*x_t.shape, vocabulary.outputs, dtype=torch.bool, device=x_t.device)
        never[..., : vocabulary.size] = end_before[..., None]
        never[..., vocabulary.end] = token_later
        return never


class UniformTokens(TokenPath):
    """Each position is x_1's with probability kappa_t = 1 − (1 − t)³, else any of the tokens alike.

    The velocity of position i is  kappa'/(1 − kappa) · (p(x_1^i | x_t) − δ_{x_t^i})  (Gat et al. 2024, eq. 22), with

        p(x_1^i = a | x_t) ∝ p(x_1^i = a | the other positions of x_t) · (1 + 1{a = x_t^i} · V kappa / (1 − kappa)).

    The last factor is put in, and the network has the first to learn: near t = 1 the chance of a jump is small, and
    would be wrong by far more than itself. For the same reason kappa rises early, so that many draws of t are late: the
    chain's error is an integral over −log(1 − kappa), to which they add alike. (A random space of 81 states, 2,000
    steps: total variation .095, .075, .072 with powers 1, 2, 3.)
    """

    name = "uniform"
    likelihood = "none"

    def kappa(self, t: Tensor) -> Tensor:
        """The share of positions that are x_1's, shaped as t."""
        return 1 - (1 - t) ** 3

    def time(self, kappa: Tensor) -> Tensor:
        """The inverse of `kappa`."""
        return 1 - (1 - kappa) ** (1 / 3)

    def sample(self, x_1: Tensor, t: Tensor, uniform: Uniform, vocabulary: Vocabulary) -> TokenPoint:
        """As `TokenPath.sample`."""
        kept, drawn = uniform(2, x_1.shape[1]).to(t).unbind(1)
        noise = (drawn * vocabulary.outputs).long().clamp(max=vocabulary.outputs - 1)
        x_t = torch.where(kept < self.kappa(t)[:, None], x_1, noise)
        return TokenPoint(x_t, t, x_1, torch.full_like(kept, 1 / x_1.shape[1]))

    def tell(self, logits: Tensor, x_t: Tensor, t: Tensor, vocabulary: Vocabulary) -> Tensor:
        """As `TokenPath.tell`, with the likelihood of the token that stands there."""
        kappa = self.kappa(t.double()).clamp(max=1 - 1e-9)
        stay = torch.log1p(vocabulary.outputs * kappa / (1 - kappa)).to(logits)
        return vocabulary.log_softmax(logits.scatter_add(2, x_t[..., None], stay[:, None, None].expand(*x_t.shape, 1)))


class Sequential(TokenPath):
    """Left to right: the network sees BEGIN and the tokens before, and is asked for the next; END closes a sample.

    −log p(x_1) = −Σ_i log p(x_1^i | x_1^{<i}) exactly, up to and with the first END.
    """

    name = "sequential"
    likelihood = "exact"

    def sample(self, x_1: Tensor, t: Tensor, uniform: Uniform, vocabulary: Vocabulary) -> TokenPoint:
        """As `TokenPath.sample`; neither t nor chance play a part."""
        return self.point(x_1, vocabulary, t.dtype)

    def point(self, x_1: Tensor, vocabulary: Vocabulary, dtype: torch.dtype = torch.float32) -> TokenPoint:
        """Rows x_1 (batch, length) of ids inside, as a network reads them, less the columns of nothing but END."""
        length = x_1.shape[1]
        if vocabulary.end is not None:
            longest = int((x_1 != vocabulary.end).sum(1).amax()) if len(x_1) else 0
            x_1 = x_1[:, : longest + 1]
        x_t = self.shifted(x_1, vocabulary)
        share = torch.ones(x_1.shape, dtype=dtype, device=x_1.device)
        if vocabulary.end is not None:
            share = (x_t != vocabulary.end).to(dtype)
        return TokenPoint(x_t, torch.zeros(len(x_1), dtype=dtype, device=x_1.device), x_1, share / length)

    def shifted(self, x_1: Tensor, vocabulary: Vocabulary) -> Tensor:
        """BEGIN, x_1^0, …, x_1^{L−2}: what the network reads, (batch, length)."""
        return torch.cat([torch.full_like(x_1[:, :1], vocabulary.own), x_1[:, :-1]], 1)


TOKEN_PATHS: dict[str, type[TokenPath]] = {path.name: path for path in (Sequential, Masked, UniformTokens)}


def make_token_path(path: str | TokenPath | None) -> TokenPath:
    """A path by its name, or as given; None is `Sequential`. Raises ValueError for another name."""
    if isinstance(path, TokenPath):
        return path
    name = "sequential" if path is None else path
    if not isinstance(name, str) or name not in TOKEN_PATHS:
        words = ", ".join(TOKEN_PATHS)
        raise ValueError(f"path must be one of {words} where vocab_size is given, got {shown(path)}")
    return TOKEN_PATHS[name]()
