"""Weighted tokens on a path, and the cross-entropy of one batch of them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from torch import Tensor, nn

from egflow.network import scale_beta
from egflow.objective import cross_entropy
from egflow.path import TokenPath, TokenPoint, Vocabulary
from egflow.training._draws import StepDraws
from egflow.training._problem import Population


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
        point = batch.point
        logits = network(point.x_t, point.t, batch.condition, *beta).float()
        log_p = self.path.tell(logits, point.x_t, point.t, self.vocabulary)
        loss = cross_entropy(log_p, point)
        return loss if batch.weight is None else batch.weight * loss
