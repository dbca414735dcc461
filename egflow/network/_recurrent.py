"""A recurrent network for tokens, read from left to right."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from egflow.network._balance import Balance, Open
from egflow.network._context import ContextEmbedding, check_tokens


@dataclass(frozen=True, slots=True)
class RecurrentState:
    """Where a `Recurrent` stands after some tokens.

    Attributes:
        hidden: of each layer, (batch, width).
        tokens: gate inputs of the first layer for every token, (inputs, 3·width): the same for all rows.
        context: gate inputs of the first layer from condition and beta, (batch, 3·width), or None.
        open: what is open, where the network keeps a balance: depth (batch,) and rings (batch, k) bool.
        balance: gate inputs of the first layer for every depth and ring, (…, 3·width) each, or None.
    """

    hidden: tuple[Tensor, ...]
    tokens: Tensor
    context: Tensor | None
    open: Open | None = None
    balance: tuple[Tensor, Tensor] | None = None


class Recurrent(nn.Module):
    """Gated recurrent units over an embedding of the tokens (Cho et al., arXiv 1406.1078), and a linear head.

    Causal by nature: the logits at position i are for the token after input i, and see inputs 0 … i only. Condition
    and beta set the first hidden state and are inputs at every position, so that none is forgotten late in a sequence.
    Time is not an input. The head does not start at zero: with no gradient below it at first, two layers stay at the
    letters' frequencies for hundreds of steps (measured on SMILES).

    Args:
        inputs: number of token ids that may come in: 0 … inputs − 1.
        outputs: number of tokens that are predicted: logits over 0 … outputs − 1.
        length: largest number of positions.
        width: of the embedding and of each layer.
        depth: number of layers.
        condition_dim: length of a vector condition, or 0.
        num_classes: number of condition labels, or 0.
        beta_dim: number of energies whose beta is an input, or 0.
        nest: ids of the tokens that open and close, or (): see `Balance`, as for the next.
        twice: ids of the tokens that come in twos, or ().

    Raises:
        ValueError: for a size below 1, or a nest that is no pair.

    Example:
        >>> net = Recurrent(inputs=6, outputs=5, length=4, width=16)
        >>> net(torch.zeros(3, 4, dtype=torch.long), torch.zeros(3)).shape
        torch.Size([3, 4, 5])
        >>> logits, state = net.step(torch.zeros(3, dtype=torch.long), net.start(3))
        >>> logits.shape
        torch.Size([3, 5])
    """

    def __init__(
        self,
        inputs: int,
        outputs: int,
        length: int,
        width: int = 256,
        depth: int = 2,
        condition_dim: int = 0,
        num_classes: int = 0,
        beta_dim: int = 0,
        nest: Sequence[int] = (),
        twice: Sequence[int] = (),
    ) -> None:
        super().__init__()
        self.config: dict[str, Any] = {
            "inputs": inputs,
            "outputs": outputs,
            "length": length,
            "width": width,
            "depth": depth,
            "condition_dim": condition_dim,
            "num_classes": num_classes,
            "beta_dim": beta_dim,
            "nest": list(nest),
            "twice": list(twice),
        }
        for name in ("inputs", "outputs", "length", "width", "depth"):
            if self.config[name] < 1:
                raise ValueError(f"{name}={self.config[name]} must be at least 1")
        if len(nest) not in (0, 2):
            raise ValueError(f"nest must be two ids, got {tuple(nest)}")
        if twice and not nest:
            raise ValueError("twice= needs nest= with it: see Balance")
        self.length, self.width, self.depth = length, width, depth
        self.embed = nn.Embedding(inputs, width)
        self.context = ContextEmbedding(width, condition_dim, num_classes, beta_dim)
        self.initial = nn.Linear(width, depth * width, bias=False) if condition_dim + num_classes + beta_dim else None
        # the id that ends a sequence comes last of the outputs, see `egflow.path.Vocabulary`
        self.balance = Balance(nest, twice, outputs - 1, width) if nest else None
        self.layers = nn.GRU(width, width, depth, batch_first=True)
        self.head = nn.Linear(width, outputs)
        nn.init.normal_(self.head.weight, std=width**-0.5)
        nn.init.zeros_(self.head.bias)

    def forward(
        self, x: Tensor, t: Tensor | None = None, condition: Tensor | None = None, beta: Tensor | None = None
    ) -> Tensor:
        """Tokens (batch, length) long -> logits of the next token at every position, (batch, length, outputs).

        Args:
            x: inputs, at most ``length`` positions.
            t: not used.
            condition: (batch,) labels or (batch, condition_dim).
            beta: (batch, beta_dim), scaled to [0, 1].

        Raises:
            ValueError: for x that is no batch of tokens or too long, or a missing condition or beta.
        """
        h, opened = self.read(x, condition, beta)
        return self.tell(h, x, opened)

    def read(
        self, x: Tensor, condition: Tensor | None = None, beta: Tensor | None = None
    ) -> tuple[Tensor, Open | None]:
        """As `forward`, up to the last hidden states (batch, length, width), and what is open after each token."""
        check_tokens(x, self.length)
        h, context = self.embed(x), self.context(condition, beta)
        hidden = opened = None
        if context is not None:
            h = h + context[:, None]
            hidden = self._initial(context)
        if self.balance is not None:
            opened = self.balance.read(x)
            h = h + self.balance(*opened)
        return self.layers(h, hidden)[0], opened

    def tell(self, h: Tensor, token: Tensor, opened: Open | None) -> Tensor:
        """Logits (…, outputs) of what follows a token (…), from the last hidden state (…, width)."""
        logits = self.head(h)
        if self.balance is None or opened is None:
            return logits
        return logits.masked_fill(self.balance.impossible(token, opened, logits.shape[-1]), -torch.inf)

    def start(self, batch: int, condition: Tensor | None = None, beta: Tensor | None = None) -> RecurrentState:
        """The state of ``batch`` empty sequences; condition and beta as in `forward`."""
        context, (weight, bias) = self.context(condition, beta), self._weights("ih", 0)
        state = RecurrentState((), F.linear(self.embed.weight, weight, bias), None)
        if self.balance is not None:
            state = replace(state, open=self.balance.nothing(batch), balance=self.balance.through(weight))
        if context is None:
            return replace(state, hidden=tuple(self.embed.weight.new_zeros(self.depth, batch, self.width)))
        return replace(state, hidden=tuple(self._initial(context)), context=F.linear(context, weight))

    def step(self, token: Tensor, state: RecurrentState) -> tuple[Tensor, RecurrentState]:
        """One more token (batch,) long -> logits of the one after it, (batch, outputs), and the state.

        What `forward` gives at that position, up to rounding. The first layer's product of token and weights is
        looked up, which is a quarter of the work at depth 2.
        """
        gates, opened = state.tokens[token], state.open
        if state.context is not None:
            gates = gates + state.context
        if self.balance is not None and opened is not None and state.balance is not None:
            opened = self.balance.after(token, opened)
            gates = gates + self.balance.look_up(opened, state.balance)
        hidden = []
        for layer, before in enumerate(state.hidden):
            if layer:
                gates = F.linear(hidden[-1], *self._weights("ih", layer))
            hidden.append(gated_update(gates, F.linear(before, *self._weights("hh", layer)), before))
        return self.tell(hidden[-1], token, opened), replace(state, hidden=tuple(hidden), open=opened)

    def select(self, state: RecurrentState, rows: Tensor) -> RecurrentState:
        """The state of some rows (k,) long, in that order."""
        context = None if state.context is None else state.context[rows]
        opened = None if state.open is None else (state.open[0][rows], state.open[1][rows])
        return replace(state, hidden=tuple(h[rows] for h in state.hidden), context=context, open=opened)

    def _initial(self, context: Tensor) -> Tensor:
        """(batch, width) -> (depth, batch, width), within the range of hidden states."""
        assert self.initial is not None
        hidden = torch.tanh(self.initial(context).to(self.head.weight.dtype))
        return hidden.unflatten(1, (self.depth, self.width)).transpose(0, 1).contiguous()

    def _weights(self, kind: str, layer: int) -> tuple[Tensor, Tensor]:
        return getattr(self.layers, f"weight_{kind}_l{layer}"), getattr(self.layers, f"bias_{kind}_l{layer}")


def gated_update(gates: Tensor, recurrent: Tensor, before: Tensor) -> Tensor:
    """h' = n + z·(h − n), n = tanh(i_n + r·h_n), r and z the sigmoids of i + h: torch.nn.GRU's own convention."""
    reset_i, update_i, new_i = gates.chunk(3, 1)
    reset_h, update_h, new_h = recurrent.chunk(3, 1)
    new = torch.addcmul(new_i, torch.sigmoid(reset_i + reset_h), new_h).tanh_()
    return new + torch.sigmoid(update_i + update_h) * (before - new)  # in bfloat16 too, h stays as precise as before
