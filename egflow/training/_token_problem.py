"""Weighted tokens on a path, and the cross-entropy of one batch of them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from egflow.network import scale_beta
from egflow.objective import cross_entropy
from egflow.path import Sequential, TokenPath, TokenPoint, Vocabulary
from egflow.training._draws import StepDraws
from egflow.training._problem import Population

_TOGETHER = 64  # rows of like length; fewer gain nothing


@dataclass(frozen=True, slots=True)
class TokenBatch:
    """Points on paths, with their condition, scaled beta (batch, k), and the factor of their loss (None for 1)."""

    point: TokenPoint
    condition: Tensor | None
    beta: Tensor | None
    weight: Tensor | None

    def split(self, parts: int) -> list[TokenBatch]:
        """The same rows in consecutive parts, for gradient accumulation."""
        if parts == 1:
            return [self]
        p = self.point
        rows = list(zip(*(field.chunk(parts) for field in (p.x_t, p.t, p.x_1, p.share)), strict=True))
        others = zip(
            *([None] * len(rows) if x is None else x.chunk(parts) for x in (self.condition, self.beta, self.weight)),
            strict=True,
        )
        return [TokenBatch(TokenPoint(*row), *other) for row, other in zip(rows, others, strict=True)]


@dataclass(frozen=True, slots=True)
class TokenMatching:
    """Weighted cross-entropy on a path for tokens; see `egflow.objective.cross_entropy` for what it learns.

    Attributes:
        path, vocabulary: see `egflow.path`.
        train, held_out: the data to fit, and those only watched, or None; x (N, length) long, ids inside.
        beta_range: (low, high) for each energy where one network learns all beta, or None.
    """

    path: TokenPath
    vocabulary: Vocabulary
    train: Population
    held_out: Population | None = None
    beta_range: Sequence[tuple[float, float]] | None = None

    def batch(self, draws: StepDraws, population: Population) -> TokenBatch:
        """The draws of one step, made into what the network sees and is asked for."""
        drawn = population.batches(draws.u, draws.generator)
        x_1 = population.x[drawn.index]
        point = self.path.sample(x_1, (draws.t * self.path.t_end).to(x_1.device), draws.uniform, self.vocabulary)
        condition = None if population.condition is None else population.condition[drawn.index]
        beta = None
        if drawn.beta is not None and self.beta_range is not None:
            beta = scale_beta(drawn.beta, self.beta_range).to(point.t)
        return TokenBatch(point, condition, beta, None if drawn.weight is None else drawn.weight.to(point.t))

    def losses(self, network: nn.Module, batch: TokenBatch) -> Tensor:
        """Weighted loss of each row, (batch,)."""
        # a network of the user's own need not know of beta
        beta = () if batch.beta is None else (batch.beta,)
        losses = torch.zeros(len(batch.point.t), device=batch.point.t.device)
        for rows, point in by_length(batch.point, self.path):
            condition = None if batch.condition is None else batch.condition[rows]
            logits = network(point.x_t, point.t, condition, *(one[rows] for one in beta)).float()
            log_p = self.path.tell(logits, point.x_t, point.t, self.vocabulary)
            losses = losses.index_put((rows,), cross_entropy(log_p, point))
        return losses if batch.weight is None else batch.weight * losses


def by_length(point: TokenPoint, path: TokenPath) -> Iterator[tuple[Tensor, TokenPoint]]:
    """Rows of like length together, with the columns they need; on the CPU and the sequential path, else all at once.

    A recurrent network's work is in proportion to the columns, and one long row would give its own to all.
    """
    n = len(point.t)
    if path.name != "sequential" or point.t.is_cuda or n < 2 * _TOGETHER:
        yield torch.arange(n, device=point.t.device), point
        return
    length = (point.share > 0).sum(1)
    for rows in length.argsort().tensor_split(n // _TOGETHER):
        columns = int(length[rows].max())
        x_t, x_1, share = (field[rows, :columns] for field in (point.x_t, point.x_1, point.share))
        yield rows, TokenPoint(x_t, point.t[rows], x_1, share)


def row_log_prob(network: nn.Module, point: TokenPoint, vocabulary: Vocabulary) -> Tensor:
    """log q of rows on the sequential path, (batch,), with its gradient."""
    path, log_q = Sequential(), torch.zeros(len(point.t), device=point.t.device)
    for rows, part in by_length(point, path):
        log_p = vocabulary.log_softmax(network(part.x_t, part.t, None).float())
        told = log_p.gather(2, part.x_1[..., None])[..., 0]
        log_q = log_q.index_put((rows,), torch.where(part.share > 0, told, 0.0).sum(1))
    return log_q
