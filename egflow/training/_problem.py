"""What is trained on: weighted data on a path, and the loss of one batch of it."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor, nn

from egflow.coupling import Coupling, independent
from egflow.objective import Objective
from egflow.path import Path, PathSample, Prediction
from egflow.training._draws import StepDraws
from egflow.weights import Batches


@dataclass(frozen=True, slots=True)
class Population:
    """Weighted data: x (N, *event), condition (N,) or (N, k) or None, and how x_1 is drawn from them."""

    x: Tensor
    condition: Tensor | None
    batches: Batches


@dataclass(frozen=True, slots=True)
class Batch:
    """Points on paths, with their condition and the factor of their loss (None for 1)."""

    point: PathSample
    condition: Tensor | None
    weight: Tensor | None

    def split(self, parts: int) -> list[Batch]:
        """The same rows in consecutive parts, for gradient accumulation."""
        if parts == 1:
            return [self]
        p = self.point
        rows = zip(*(field.chunk(parts) for field in (p.x_t, p.t, p.x_0, p.x_1, p.u_t)), strict=True)
        count = len(p.t.chunk(parts))
        conditions = [None] * count if self.condition is None else self.condition.chunk(parts)
        weights = [None] * count if self.weight is None else self.weight.chunk(parts)
        return [Batch(PathSample(*row), c, w) for row, c, w in zip(rows, conditions, weights, strict=True)]


@dataclass(frozen=True, slots=True)
class Problem:
    """Data, path and objective of one training; data are preprocessed and on the network's device.

    Attributes:
        path, objective, coupling: see their modules.
        prediction: what the network's output means.
        train: the data to fit.
        held_out: the data only watched, or None.
    """

    path: Path
    objective: Objective
    coupling: Coupling
    prediction: Prediction
    train: Population
    held_out: Population | None = None

    def batch(self, draws: StepDraws, population: Population) -> Batch:
        """The draws of one step, made into points on paths."""
        index, weight = population.batches(draws.u)
        x_1 = population.x[index]
        x_0 = draws.x_0.to(x_1)
        if self.coupling is not independent:  # whose pairs are the rows as they stand
            x_0 = x_0[self.coupling(x_0, x_1)]
        point = self.path.sample(x_0, x_1, (draws.t * self.path.t_end).to(x_1))
        condition = None if population.condition is None else population.condition[index]
        return Batch(point, condition, None if weight is None else weight.to(x_1))

    def losses(self, network: nn.Module, batch: Batch) -> Tensor:
        """Weighted loss of each row, (batch,)."""
        value = network(batch.point.x_t, batch.point.t, batch.condition)
        loss = self.objective(self.path, value.float(), self.prediction, batch.point)
        return loss if batch.weight is None else batch.weight * loss
