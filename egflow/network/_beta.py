"""One network for every beta: how beta enters, how a network is given the input, and how one beta is held fixed."""

from __future__ import annotations

import copy
import inspect
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

from egflow.network._default import NETWORKS
from egflow.network._twisted import Twisted


def scale_beta(beta: Tensor, beta_range: Sequence[tuple[float, float]]) -> Tensor:
    """(batch, k) in the energies' units -> [0, 1] over the trained range, as networks take it.

    >>> scale_beta(torch.tensor([[2.0]]), [(0.0, 8.0)]).tolist()
    [[0.25]]
    """
    low, high = torch.tensor(beta_range, dtype=torch.float64, device=beta.device).unbind(1)
    return (beta - low) / (high - low)


class AtBeta(nn.Module):
    """A network of every beta, at one of them: ``forward(x, t, condition)``.

    Args:
        network: takes beta (batch, k) as its last argument.
        beta: (k,) scaled to [0, 1].
    """

    beta: Tensor

    def __init__(self, network: nn.Module, beta: Tensor) -> None:
        super().__init__()
        self.network = network
        first = next(network.parameters(), None)
        self.register_buffer("beta", beta if first is None else beta.to(first))

    def forward(self, x: Tensor, t: Tensor, condition: Tensor | None = None) -> Tensor:
        """x (batch, *event), t (batch,) -> what the network gives at this beta."""
        return self.network(x, t, condition, self.beta.expand(len(x), -1))

    def start(self, batch: int, condition: Tensor | None = None) -> Any:
        """The state of a causal network before the first token."""
        return self._causal.start(batch, condition, self.beta.expand(batch, -1))

    def step(self, token: Tensor, state: Any) -> tuple[Tensor, Any]:
        """One token (batch,) further: logits (batch, outputs) and the state."""
        return self._causal.step(token, state)

    def select(self, state: Any, rows: Tensor) -> Any:
        """The state of some of the rows."""
        return self._causal.select(state, rows)

    @property
    def _causal(self) -> Any:
        return self.network


def with_beta(network: nn.Module, beta_dim: int) -> nn.Module:
    """A copy of a network with an input for ``beta_dim`` betas, equal to it at every beta until it is trained.

    Args:
        network: one of `NETWORKS`, or any module whose ``forward(x, t, condition, beta)`` takes beta already.
        beta_dim: number of energies.

    Raises:
        ValueError: for a module that knows no beta.
    """
    if isinstance(network, Twisted):
        raise ValueError(
            "a flow made by method='twist' takes no further range of beta: tilt its base by both energies, "
            "energy=[a, b], or give one beta"
        )
    if type(network) in NETWORKS.values():
        made = type(network)(**{**network.config, "beta_dim": beta_dim})  # type: ignore[arg-type]
        first = next(network.parameters())
        made.load_state_dict(network.state_dict(), strict=False)
        return made.to(first)
    if "beta" in inspect.signature(network.forward).parameters:
        return copy.deepcopy(network)
    raise ValueError(
        f"a range of beta needs a network that takes it: {type(network).__name__}.forward(x, t, condition, beta) with "
        "beta (batch, number of energies) scaled to [0, 1]"
    )
