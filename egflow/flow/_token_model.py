"""A network on a discrete path, as samplers and likelihoods see it: log-probabilities, −inf for what cannot be."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from torch import Tensor, nn

from egflow.path import TokenPath, Vocabulary


@dataclass(frozen=True, slots=True)
class NetworkModel:
    """See `egflow.solver.TokenModel`; condition (batch, …) or None, of the rows in hand."""

    network: nn.Module
    path: TokenPath
    vocabulary: Vocabulary
    condition: Tensor | None

    def predict(self, x_t: Tensor, t: Tensor, rows: Tensor | None = None) -> Tensor:
        """x_t (active, length), t (active,) -> log-probabilities (active, length, outputs)."""
        condition = self.condition
        if condition is not None and rows is not None:
            condition = condition[rows]
        logits = self.network(x_t, t, condition).float()
        return self.path.tell(logits, x_t, t, self.vocabulary)

    def begin(self, batch: int) -> Any:
        """The state of a causal network before BEGIN."""
        return self._causal.start(batch, self.condition)

    def step(self, token: Tensor, state: Any) -> tuple[Tensor, Any]:
        """A token (active,) further: log-probabilities of the next (active, outputs), and the state."""
        logits, state = self._causal.step(token, state)
        return self.vocabulary.log_softmax(logits.float()), state

    def select(self, state: Any, rows: Tensor) -> Any:
        """The state of some of its rows (k,)."""
        return self._causal.select(state, rows)

    @property
    def _causal(self) -> Any:
        return self.network
