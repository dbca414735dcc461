"""Sampling on the masked path: which hidden position is told next, and how many at once.

One position at a time, chosen by chance or by anything that is already told, is exact: a sample then has the
probability Π p(x^i | what was told before), the chain rule in some order. A choice that looks at the drawn token (its
probability, say) is not, and several positions at once are taken for independent when they are not.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from egflow.solver._tokens import TokenModel, draw, settle

Choose = Callable[[Tensor, Tensor], Tensor]
"""(log_p (active, length, outputs), hidden (active, length) bool) -> bool (active, length): what is told next."""


def told_in_turn(
    model: TokenModel, x: Tensor, choose: Choose, temperature: float, generator: torch.Generator
) -> tuple[Tensor, Tensor]:
    """Tell the hidden positions of x (batch, length) until none is left: samples, and evaluations of each row."""
    x, words = settle(x, model.vocabulary), model.vocabulary
    nfe = torch.zeros(len(x), dtype=torch.long, device=x.device)
    rows = torch.arange(len(x), device=x.device)
    while True:
        hidden = x[rows] == words.own
        unfinished = hidden.any(1)
        rows, hidden = rows[unfinished], hidden[unfinished]
        if len(rows) == 0:
            return x, nfe
        part = x[rows]
        log_p = model.predict(part, 1 - hidden.float().mean(1), rows)
        chosen = choose(log_p, hidden)
        part[chosen] = draw(log_p[chosen], temperature, generator)
        x[rows] = settle(part, words)
        nfe[rows] += 1


def one_of(order: Tensor, hidden: Tensor) -> Tensor:
    """The hidden position of lowest order (active, length), the first of equal ones: a bool (active, length)."""
    place = order.masked_fill(~hidden, torch.inf).argmin(1, keepdim=True)
    return torch.zeros_like(hidden).scatter_(1, place, True)


def lowest_of(order: Tensor, hidden: Tensor, k: int) -> Tensor:
    """The k hidden positions of lowest order, or all that are left: a bool (active, length)."""
    rank = order.masked_fill(~hidden, torch.inf).argsort(dim=1, stable=True).argsort(1)
    return (rank < k) & hidden
