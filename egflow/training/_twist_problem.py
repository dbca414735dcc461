"""What a twist is trained on: prefixes of the base's samples, and the cell their energy ends in."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from egflow.network import Twisted
from egflow.path import Sequential, TokenPoint, Vocabulary
from egflow.training._draws import StepDraws
from egflow.training._problem import Population
from egflow.training._token_problem import by_length

_AT_ONCE = 512  # rows read together


@dataclass(frozen=True, slots=True)
class TwistBatch:
    """Prefixes and next tokens, the rows (batch,) they are of, and the cell each row's energy is in."""

    point: TokenPoint
    rows: Tensor
    cell: Tensor
    hidden: HiddenStates

    def split(self, parts: int) -> Sequence[TwistBatch]:
        """The same rows in consecutive parts."""
        p = self.point
        rows = zip(*(field.chunk(parts) for field in (p.x_t, p.t, p.x_1, p.share)), strict=True)
        both = zip(self.rows.chunk(parts), self.cell.chunk(parts), strict=True)
        return [TwistBatch(TokenPoint(*row), *other, self.hidden) for row, other in zip(rows, both, strict=True)]


@dataclass(frozen=True, slots=True)
class HiddenStates:
    """The base's hidden states after every token of many rows, end to end: a kilobyte a token at width 512.

    Attributes:
        states: (tokens in all, width) bfloat16.
        first: (N,) where each row begins.
    """

    states: Tensor
    first: Tensor

    @classmethod
    @torch.no_grad()
    def of(cls, network: Twisted, x: Tensor, vocabulary: Vocabulary) -> HiddenStates:
        """Read rows x (N, length) of ids inside once."""
        path = Sequential()
        count = torch.full((len(x),), x.shape[1], device=x.device)
        if vocabulary.end is not None:
            count = (path.shifted(x, vocabulary) != vocabulary.end).sum(1)
        first = count.cumsum(0) - count
        states = torch.empty(int(count.sum()), network.base.width, dtype=torch.bfloat16, device=x.device)
        for rows in count.argsort().split(_AT_ONCE):
            columns = int(count[rows].max())
            with torch.autocast(x.device.type, torch.bfloat16):
                h, _ = network.base.read(path.shifted(x[rows], vocabulary)[:, :columns])
            place = torch.arange(columns, device=x.device)
            whole = place < count[rows, None]
            states[(first[rows, None] + place)[whole]] = h[whole].bfloat16()
        return cls(states, first)

    def at(self, rows: Tensor, columns: int) -> Tensor:
        """(batch, columns, width) float32; behind a row's end stands what is not asked for."""
        place = (self.first[rows, None] + torch.arange(columns, device=rows.device)).clamp(max=len(self.states) - 1)
        return self.states[place].float()


@dataclass(frozen=True, slots=True)
class TwistMatching:
    """Σ_i share_i · (−log P(cell | x^{<i}, x^i)), least at the true forecast; see `egflow.network.Twisted`.

    Attributes:
        vocabulary: see `egflow.path`.
        train, held_out: draws of p, x (N, length) long, ids inside; their ``condition`` is the cell of each row.
        hidden: of the rows of either.
    """

    vocabulary: Vocabulary
    train: Population
    held_out: Population
    hidden: tuple[HiddenStates, HiddenStates]

    def batch(self, draws: StepDraws, population: Population) -> TwistBatch:
        """The draws of one step, made into what the network sees and is asked for."""
        assert population.condition is not None
        index = population.batches(draws.u, draws.generator).index
        x_1 = population.x[index]
        point = Sequential().sample(x_1, draws.t.to(x_1.device), draws.uniform, self.vocabulary)
        hidden = self.hidden[population is self.held_out]
        return TwistBatch(point, index, population.condition[index], hidden)

    def losses(self, network: nn.Module, batch: TwistBatch) -> Tensor:
        """Loss of each row, (batch,)."""
        twisted: Any = network
        losses = torch.zeros(len(batch.cell), device=batch.cell.device)
        for rows, point in by_length(batch.point, Sequential()):
            h = batch.hidden.at(batch.rows[rows], point.x_t.shape[1])
            forecast = twisted.forecast(twisted.read(point.x_t, h), point.x_1).float()
            cell = batch.cell[rows, None].expand(point.x_1.shape)
            loss = F.cross_entropy(forecast.flatten(0, 1), cell.flatten(), reduction="none").view(cell.shape)
            losses = losses.index_put((rows,), torch.where(point.share > 0, point.share * loss, 0.0).sum(1))
        return losses
