"""The log-variance of a flow of tokens against a density known up to a constant, on rows from anywhere."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from torch import Tensor, nn

from egflow.path import Sequential, TokenPoint, Vocabulary
from egflow.training._draws import StepDraws
from egflow.training._problem import Population
from egflow.training._token_problem import row_log_prob

_PATH = Sequential()


@dataclass(frozen=True, slots=True)
class LogVarianceBatch:
    """Rows to read, and log p − beta·E of each, (batch,) float64, up to a constant."""

    point: TokenPoint
    target: Tensor

    def split(self, parts: int) -> Sequence[LogVarianceBatch]:
        """The same rows in consecutive parts; the variance is then one within each."""
        p = self.point
        rows = zip(*(field.chunk(parts) for field in (p.x_t, p.t, p.x_1, p.share, self.target)), strict=True)
        return [LogVarianceBatch(TokenPoint(*row[:4]), row[4]) for row in rows]


@dataclass(frozen=True, slots=True)
class LogVariance:
    """Var_i[ log q(x_i) − log p(x_i) + beta·E(x_i) ], which is 0 for q ∝ p·exp(−beta·E) and for no other.

    The mean over the batch stands for −log Z. Rows may come from any distribution, for each tells by itself what its
    likelihood should be, and none needs a weight: q is told too what it has too much of, which weighted cross-entropy
    on draws of p never is (Richter et al. 2020, arXiv 2010.10436; for sequences Zhang et al. 2023, arXiv 2302.05446,
    as trajectory balance with its log Z estimated). The noise of its gradient vanishes at the optimum.

    Attributes:
        vocabulary: see `egflow.path`; the path is "sequential".
        train, held_out: rows x (N, length) long, ids inside; their ``condition`` is log p − beta·E, (N,) float64, of
            this batch or up to any constant.
    """

    vocabulary: Vocabulary
    train: Population
    held_out: Population | None = None

    def batch(self, draws: StepDraws, population: Population) -> LogVarianceBatch:
        """The rows of one step."""
        assert population.condition is not None
        index = population.batches(draws.u, draws.generator).index
        point = _PATH.point(population.x[index], self.vocabulary)
        return LogVarianceBatch(point, population.condition[index])

    def losses(self, network: nn.Module, batch: LogVarianceBatch) -> Tensor:
        """Squared deviation of each row, (batch,), in nats squared."""
        log_q = row_log_prob(network, batch.point, self.vocabulary)
        gap = log_q - batch.target.to(log_q)
        return (gap - gap.mean()).square()
