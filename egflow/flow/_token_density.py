"""Log-probabilities of tokens by the chain rule: in one order exactly, in random orders as an estimate."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from egflow.flow._token_model import NetworkModel
from egflow.path import Sequential
from egflow.solver import settle


def told_left_to_right(model: NetworkModel, x_1: Tensor) -> Tensor:
    """Σ_i log p(x_1^i | x_1^{<i}) up to the first END, of ids inside (batch, length): (batch,) float64, one pass."""
    point = Sequential().point(x_1, model.vocabulary)
    told = model.predict(point.x_t, point.t).gather(2, point.x_1[..., None])[..., 0].double()
    return torch.where(point.share > 0, told, 0.0).sum(1)


def told_in_random_orders(
    model: NetworkModel, x_1: Tensor, orders: int, generator: torch.Generator
) -> tuple[Tensor, Tensor]:
    """The mean over random orders σ of Σ_i log p(x_1^σ(i) | x_1^σ(<i)), and its standard error; (batch,) float64.

    Sampling in a random order has the probability E_σ[Π p], so that this mean is a lower bound of its logarithm
    (Jensen; Uria et al. 2014, arXiv 1310.1757). Where the network's conditionals agree, all orders give the same.
    """
    (n, length), words = x_1.shape, model.vocabulary
    place = torch.arange(n, device=x_1.device)
    found = torch.zeros(orders, n, dtype=torch.float64, device=x_1.device)
    for log_p in found:
        order = torch.rand(n, length, generator=generator).argsort(1).to(x_1.device)
        x_t = torch.full_like(x_1, words.own)
        for i in order.unbind(1):
            hidden = x_t == words.own
            told = model.predict(x_t, 1 - hidden.float().mean(1))[place, i, x_1[place, i]]
            log_p += torch.where(hidden[place, i], told.double(), 0.0)  # what follows END was told with it
            x_t[place, i] = x_1[place, i]
            x_t = settle(x_t, words)
    error = found.std(0) if orders > 1 else torch.full_like(found[0], math.nan)
    return found.mean(0), error / math.sqrt(orders)
