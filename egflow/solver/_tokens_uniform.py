"""Sampling on the uniform path: a Markov chain in time whose jumps refresh positions from p(x_1^i | x_t).

With s = −log(1 − kappa_t) the rates are those of refreshing each position at rate 1 in s (Gat et al. 2024, eq. 22).
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from egflow.path import UniformTokens
from egflow.solver._tokens import TokenModel, draw

_LAST = 100


def refreshed_in_turn(
    model: TokenModel, x: Tensor, temperature: float, generator: torch.Generator
) -> tuple[Tensor, Tensor]:
    """The chain itself: one position at a time, at the times of a Poisson process of rate ``length`` in s.

    (Uniformisation: Chen and Ying 2024, arXiv 2402.08095.) At kappa = 1 − 1/(100·length), where a hundredth of a
    position is still noise, all are refreshed at once: two of them were noise in 1 of 20,000 samples.
    """
    path, (n, length) = _path(model), x.shape
    last = math.log(_LAST * length)
    nfe = torch.ones(n, dtype=torch.long, device=x.device)
    s = torch.zeros(n, dtype=torch.float64)
    rows = torch.arange(n)
    while True:
        s[rows] -= torch.rand(len(rows), generator=generator, dtype=torch.float64).log() / length
        rows = rows[s[rows] < last]
        if len(rows) == 0:
            break
        place = torch.randint(length, (len(rows),), generator=generator).to(x.device)
        here = rows.to(x.device)
        t = path.time(-torch.expm1(-s[rows])).float().to(x.device)
        log_p = model.predict(x[here], t, here)[torch.arange(len(rows), device=x.device), place]
        x[here, place] = draw(log_p, temperature, generator)
        nfe[here] += 1
    here = torch.arange(n, device=x.device)
    t = path.time(torch.full((n,), 1 - 1 / (_LAST * length))).to(x.device)
    return draw(model.predict(x, t, here), temperature, generator), nfe


def refreshed_in_steps(
    model: TokenModel, x: Tensor, steps: int, temperature: float, generator: torch.Generator
) -> tuple[Tensor, Tensor]:
    """Euler steps even in t: at each, every position is refreshed with probability Δkappa / (1 − kappa)."""
    path, rows = _path(model), torch.arange(len(x), device=x.device)
    grid = path.kappa(torch.linspace(0, 1, steps + 1, dtype=torch.float64))
    for kappa, after in zip(grid[:-1].tolist(), grid[1:].tolist(), strict=True):
        t = path.time(torch.full((len(x),), kappa)).to(x.device)
        drawn = draw(model.predict(x, t, rows), temperature, generator)
        jumps = torch.rand(x.shape, generator=generator).to(x.device) < (after - kappa) / (1 - kappa)
        x = torch.where(jumps, drawn, x)
    return x, torch.full((len(x),), steps, dtype=torch.long, device=x.device)


def noise(model: TokenModel, x: Tensor, generator: torch.Generator) -> Tensor:
    """The source: any of the tokens alike, in the shape of x."""
    return torch.randint(model.vocabulary.outputs, x.shape, generator=generator).to(x.device)


def _path(model: TokenModel) -> UniformTokens:
    assert isinstance(model.path, UniformTokens)
    return model.path
