"""Sampling on the sequential path: left to right, with the network's cached state."""

from __future__ import annotations

import torch
from torch import Tensor

from egflow.solver._tokens import TokenModel, draw, settle

_DROP = 0.125  # share of finished rows at which the state is copied without them


def left_to_right(
    model: TokenModel, x: Tensor, temperature: float, generator: torch.Generator
) -> tuple[Tensor, Tensor, Tensor]:
    """Draw what is free in x (batch, length), which stands after what is fixed; rows that ended are dropped.

    Returns:
        The samples, ids inside with END from a row's end on, evaluations of each row, and log q of what was drawn.
    """
    words, (n, length) = model.vocabulary, x.shape
    x, nfe = x.clone(), torch.zeros(n, dtype=torch.long, device=x.device)
    rows = torch.arange(n, device=x.device)
    done = torch.zeros(n, dtype=torch.bool, device=x.device)
    log_q = torch.zeros(n, dtype=torch.float64, device=x.device)
    state, token = model.begin(n), torch.full((n,), words.own, device=x.device)
    for i in range(length):
        log_p, state = model.step(token, state)
        nfe[rows[~done]] += 1
        fixed = x[rows, i]
        free = fixed == words.own
        token = torch.where(free, draw(log_p, temperature, generator), fixed)
        x[rows, i] = token
        told = log_p.gather(1, token[:, None])[:, 0].double()
        log_q[rows] += torch.where(free & ~done, told, 0.0)
        if words.end is None:
            continue
        done |= token == words.end
        if bool(done.all()):
            break
        if float(done.float().mean()) >= _DROP:
            kept = (~done).nonzero()[:, 0]
            rows, token, done, state = rows[kept], token[kept], done[kept], model.select(state, kept)
    return settle(x, words), nfe, log_q
