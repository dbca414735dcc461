"""A recurrent network tilted by what it leads to: every beta from one head on a frozen base."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from egflow.network._recurrent import Recurrent, RecurrentState

_SUM = 16.0  # positions whose sum is of the size of one


@dataclass(frozen=True, slots=True)
class TwistedState:
    """Where a `Twisted` stands: the base's state, the head's sum (batch, width), −Σ beta·E of each cell (1, cells)."""

    base: RecurrentState
    total: Tensor
    log_w: Tensor


class Twisted(nn.Module):
    """The next token of q ∝ p·exp(−Σ beta·E), for every beta, from the base's next token and a forecast of E.

        q(a | x^{<i}) ∝ p(a | x^{<i}) · Σ_c P(c | x^{<i}, a) · exp(−Σ_j beta_j·E_c^j)

    The energies of the base's samples are sorted into cells c; a head on the base's hidden states tells
    P(c | prefix, next token), by cross-entropy with the cell the sample ends in. With the true P this is q exactly, by
    the chain rule (the optimal twist of Zhao et al. 2024, arXiv 2404.17546, section 3; FUDGE, arXiv 2104.05218, for a
    yes or no); at beta 0 it is p whatever was learnt, restricted to what is allowed. Only the head is trained: p does
    not drift. Samples cost more than the base's: 208 a CPU second for 530, on a busy CPU, molecules of width 512.

    The head sees the hidden state and a sum over the positions so far of a function of it, for many energies add up
    over what a sequence holds. It has no recurrence of its own, so that one pass of the base over the samples serves
    the whole training.

    Args:
        base: the config of a `Recurrent` without condition and beta, which is p.
        levels: (cells, k) the k energies of each cell; None, for +inf, where the cell holds what is forbidden.
        low, high: (k,) the range of beta; equal where the network is of one beta, and takes none.
        width: of the head.
        rank: of the forecast as a function of next token and cell, so that not all tokens' need be made in training.

    Raises:
        ValueError: for levels that do not fit the range.

    Example:
        >>> base = Recurrent(inputs=5, outputs=4, length=6, width=8)
        >>> net = Twisted(base.config, levels=[[0.0], [2.0]], low=[0.0], high=[4.0])
        >>> net(torch.zeros(3, 6, dtype=torch.long), None, None, torch.ones(3, 1)).shape
        torch.Size([3, 6, 4])
    """

    levels: Tensor
    low: Tensor
    high: Tensor

    def __init__(
        self,
        base: dict[str, Any],
        levels: Sequence[Sequence[float | None]],
        low: Sequence[float],
        high: Sequence[float],
        width: int = 256,
        rank: int = 16,
    ) -> None:
        super().__init__()
        self.config = {"base": base, "levels": levels, "low": list(low), "high": list(high)}
        self.config |= {"width": width, "rank": rank}
        table = torch.tensor([[math.inf if level is None else level for level in row] for row in levels]).double()
        if table.ndim != 2 or table.shape[1] != len(low) or len(low) != len(high):
            raise ValueError(f"levels of shape {tuple(table.shape)} do not fit a range of {len(low)} betas")
        self.base = Recurrent(**base)
        self.width, self.outputs = width, base["outputs"]
        self.register_buffer("levels", table, persistent=False)
        self.register_buffer("low", torch.tensor(low).double(), persistent=False)
        self.register_buffer("high", torch.tensor(high).double(), persistent=False)
        self.embed = nn.Embedding(base["inputs"], 2 * width)
        self.project = nn.Linear(self.base.width, 2 * width, bias=False)
        self.add, self.mix, self.more = (nn.Linear(width, width) for _ in range(3))
        self.head = nn.Linear(width, (rank + 1) * len(levels))
        self.token = nn.Embedding(self.outputs, rank)
        nn.init.normal_(self.token.weight, std=rank**-0.5)
        self.base.requires_grad_(False)

    def forward(
        self, x: Tensor, t: Tensor | None = None, condition: Tensor | None = None, beta: Tensor | None = None
    ) -> Tensor:
        """Tokens (batch, length) long, beta (batch, k) scaled to [0, 1] -> logits (batch, length, outputs)."""
        with torch.no_grad():
            h, opened = self.base.read(x)
            logits = self.base.tell(h, x, opened)
        return logits + self.twist(self.forecast(self.read(x, h)), self.log_w(beta)[:, None, None])

    def read(self, x: Tensor, h: Tensor) -> Tensor:
        """Tokens (batch, length), the base's hidden states after them -> what `forecast` takes, (batch, length, …)."""
        u, v = self._given(x, h)
        return self._parts(u.float().cumsum(1), v)

    def forecast(self, parts: Tensor, token: Tensor | None = None) -> Tensor:
        """Logits of the cells: after one next token (…) each, (…, cells), or after every one, (…, outputs, cells)."""
        if token is None:
            return parts[..., :1, :] + self.token.weight.to(parts.dtype) @ parts[..., 1:, :]
        return parts[..., 0, :] + (self.token(token).to(parts.dtype)[..., None, :] @ parts[..., 1:, :])[..., 0, :]

    def _given(self, x: Tensor, h: Tensor) -> tuple[Tensor, Tensor]:
        """What each position adds to the sum, and what it says of itself, (…, width) each."""
        u, v = (self.project(h) + self.embed(x)).chunk(2, -1)
        return F.silu(self.add(F.silu(u))), v

    def _parts(self, total: Tensor, v: Tensor) -> Tensor:
        hidden = F.silu(self.mix(total / _SUM) + v)
        hidden = hidden + F.silu(self.more(hidden))
        return self.head(hidden).unflatten(-1, (-1, len(self.levels)))

    def log_w(self, beta: Tensor | None) -> Tensor:
        """−Σ beta·E of each cell, (batch, cells), −inf where forbidden; beta (batch, k) in [0, 1], None for the one."""
        share = torch.zeros_like(self.low)[None] if beta is None else beta.to(self.low)
        allowed = self.levels.isfinite().all(1)
        value = (self.low + share * (self.high - self.low)) @ self.levels.where(allowed[:, None], 0.0).T
        return (-value).masked_fill(~allowed, -math.inf)

    def twist(self, forecast: Tensor, log_w: Tensor) -> Tensor:
        """log Σ_c P(c | …)·exp(log_w_c): forecast logits (…, cells), log_w to broadcast -> (…) float32."""
        forecast = forecast.float()
        log_w = log_w.to(forecast)
        top = log_w.amax(-1, keepdim=True)
        weighted = torch.logsumexp(forecast + (log_w - top), -1) - torch.logsumexp(forecast, -1)
        return weighted + top[..., 0]

    def start(self, batch: int, condition: Tensor | None = None, beta: Tensor | None = None) -> TwistedState:
        """The state of ``batch`` empty sequences."""
        total = self.embed.weight.new_zeros(batch, self.width)
        return TwistedState(self.base.start(batch), total, self.log_w(beta)[:1])

    def step(self, token: Tensor, state: TwistedState) -> tuple[Tensor, TwistedState]:
        """One more token (batch,) long -> logits of the one after it, (batch, outputs), and the state."""
        logits, base = self.base.step(token, state.base)
        u, v = self._given(token, base.hidden[-1])
        total = state.total + u
        forecast = self.forecast(self._parts(total, v))
        return logits + self.twist(forecast, state.log_w[:, None]), TwistedState(base, total, state.log_w)

    def select(self, state: TwistedState, rows: Tensor) -> TwistedState:
        """The state of some rows (k,) long, in that order."""
        return TwistedState(self.base.select(state.base, rows), state.total[rows], state.log_w)
