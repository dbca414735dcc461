"""What a twist is trained on: prefixes of the base's samples, and the cell their energy ends in."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from egflow.path import TokenPath, TokenPoint, Vocabulary
from egflow.training._draws import StepDraws
from egflow.training._problem import Population
from egflow.training._token_problem import by_length


@dataclass(frozen=True, slots=True)
class TwistBatch:
    """Prefixes and next tokens, and the cell (batch,) each row's energy is in."""

    point: TokenPoint
    cell: Tensor

    def split(self, parts: int) -> Sequence[TwistBatch]:
        """The same rows in consecutive parts."""
        p = self.point
        rows = zip(*(field.chunk(parts) for field in (p.x_t, p.t, p.x_1, p.share)), strict=True)
        return [
            TwistBatch(TokenPoint(*row), cell) for row, cell in zip(rows, self.cell.chunk(parts), strict=True)
        ]


@dataclass(frozen=True, slots=True)
class TwistMatching:
    """Σ_i share_i · (−log P(cell | x^{<i}, x^i)), least at the true forecast; see `egflow.network.Twisted`.

    Attributes:
        path: sequential.
        vocabulary: see `egflow.path`.
        train, held_out: draws of p, x (N, length) long, ids inside; their ``condition`` is the cell of each row.
    """

    path: TokenPath
    vocabulary: Vocabulary
    train: Population
    held_out: Population | None = None

    def batch(self, draws: StepDraws, population: Population) -> TwistBatch:
        """The draws of one step, made into what the network sees and is asked for."""
        assert population.condition is not None
        index = population.batches(draws.u, draws.generator).index
        x_1 = population.x[index]
        point = self.path.sample(x_1, draws.t.to(x_1.device), draws.uniform, self.vocabulary)
        return TwistBatch(point, population.condition[index])

    def losses(self, network: nn.Module, batch: TwistBatch) -> Tensor:
        """Loss of each row, (batch,)."""
        twisted: Any = network
        losses = torch.zeros(len(batch.cell), device=batch.cell.device)
        for rows, point in by_length(batch.point, self.path):
            forecast = twisted.forecast(twisted.read(point.x_t)[1], point.x_1).float()
            cell = batch.cell[rows, None].expand(point.x_1.shape)
            loss = F.cross_entropy(forecast.flatten(0, 1), cell.flatten(), reduction="none").view(cell.shape)
            losses = losses.index_put((rows,), (point.share * loss).sum(1))
        return losses
