"""What is trained on: weighted data, and the loss of one batch of them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import torch
from torch import Tensor, nn

from egflow._rows import Rows
from egflow.coupling import Coupling, independent
from egflow.network import scale_beta
from egflow.objective import Objective
from egflow.path import Path, PathSample, Prediction
from egflow.training._draws import StepDraws
from egflow.weights import Batches


@dataclass(frozen=True, slots=True)
class Population:
    """Weighted data: x (N, *event), condition (N,) or (N, k) or None, and how x_1 is drawn from them."""

    x: Tensor | Rows
    condition: Tensor | None
    batches: Batches


class Splits(Protocol):
    """A batch as a problem makes it; the trainer only cuts it into parts, for gradient accumulation."""

    def split(self, parts: int) -> Sequence[Any]:
        """The same rows in consecutive parts."""
        ...


class Problem(Protocol):
    """Data and objective of one training."""

    @property
    def train(self) -> Population:
        """The data to fit."""
        ...

    @property
    def held_out(self) -> Population | None:
        """The data only watched, or None."""
        ...

    def batch(self, draws: StepDraws, population: Population) -> Splits:
        """The draws of one step, made into what the network sees and is asked for."""
        ...

    def losses(self, network: nn.Module, batch: Any) -> Tensor:
        """Weighted loss of each row, (batch,)."""
        ...


@dataclass(frozen=True, slots=True)
class Batch:
    """Points on paths, with their condition, scaled beta (batch, k), and the factor of their loss (None for 1)."""

    point: PathSample
    condition: Tensor | None
    beta: Tensor | None
    weight: Tensor | None

    def split(self, parts: int) -> list[Batch]:
        """The same rows in consecutive parts."""
        if parts == 1:
            return [self]
        p = self.point
        rows = zip(*(field.chunk(parts) for field in (p.x_t, p.t, p.x_0, p.x_1, p.u_t)), strict=True)
        count = len(p.t.chunk(parts))
        optional = (self.condition, self.beta, self.weight)
        others = zip(*([None] * count if part is None else part.chunk(parts) for part in optional), strict=True)
        return [Batch(PathSample(*row), *other) for row, other in zip(rows, others, strict=True)]


@dataclass(frozen=True, slots=True)
class FlowMatching:
    """Weighted flow matching on a continuous path; data are preprocessed and on the network's device.

    Attributes:
        path, objective, coupling: see their modules.
        prediction: what the network's output means.
        train, held_out: the data to fit, and those only watched, or None.
        beta_range: (low, high) for each energy where one network learns all beta, or None.
    """

    path: Path
    objective: Objective
    coupling: Coupling
    prediction: Prediction
    train: Population
    held_out: Population | None = None
    beta_range: Sequence[tuple[float, float]] | None = None

    def batch(self, draws: StepDraws, population: Population) -> Batch:
        """The draws of one step, made into points on paths."""
        x_0 = draws.normal(population.x.shape[1:])
        drawn = population.batches(draws.u, draws.generator)
        x_1 = population.x[drawn.index]
        x_0 = x_0.to(x_1)
        if self.coupling is not independent:  # whose pairs are the rows as they stand
            x_0 = x_0[self.coupling(x_0, x_1)]
        point = self.path.sample(x_0, x_1, (draws.t * self.path.t_end).to(x_1))
        condition = None if population.condition is None else population.condition[drawn.index]
        beta = None
        if drawn.beta is not None and self.beta_range is not None:
            beta = scale_beta(drawn.beta, self.beta_range).to(x_1)
        return Batch(point, condition, beta, None if drawn.weight is None else drawn.weight.to(x_1))

    def losses(self, network: nn.Module, batch: Batch) -> Tensor:
        """Weighted loss of each row, (batch,)."""
        # a network of the user's own need not know of beta
        beta = () if batch.beta is None else (batch.beta,)
        value = network(batch.point.x_t, batch.point.t, batch.condition, *beta)
        wide = value.to(torch.promote_types(value.dtype, torch.float32))  # of autocast's half, float32
        loss = self.objective(self.path, wide, self.prediction, batch.point)
        return loss if batch.weight is None else batch.weight * loss
