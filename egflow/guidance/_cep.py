"""Contrastive energy prediction (CEP): Lu et al. 2023, arXiv 2304.12824, the guidance of QGPO.

On the path, q_t(x_t) ∝ p_t(x_t)·exp(−E_t(x_t)) with the intermediate energy (their theorem 3.1)

    E_t(x_t) = −log E[ exp(−beta·E(x_1)) | x_t ],        ∇log q_t = ∇log p_t − ∇E_t

A scalar network f ≈ −E_t is trained on K points at one shared t (their equations 12 and 13; in practice, as in their
code, with labels normalised over the K points, which biases them where few of the K carry the weight):

    L = − Σ_i softmax_i(−beta·E(x_1)) · log softmax_i(f(x_t, t)),        i = 1 … K

and ∇f is added to the base's score_fn at sampling: a pass of the base, and one forward and one backward of f.
One network is trained for one beta. The black box E is only ever evaluated, never differentiated.

f sees y = x_t·alpha/(alpha² + sigma²) instead of x_t: ∇E_t is O(alpha) as alpha → 0, and on the straight path what is
left of it there would be multiplied by 1/t.
"""

from __future__ import annotations

import copy
import math
import time
from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.optim.swa_utils import get_ema_multi_avg_fn

from egflow._inputs import check_condition, check_data
from egflow.energy import EnergyModel, as_energy, evaluate
from egflow.flow import Flow
from egflow.guidance._guided import base_velocity, change_of_velocity, check_guided_base, guided_flow, inside
from egflow.network import default_network
from egflow.path import Path
from egflow.report import held_out_split
from egflow.training import check_count, mix
from egflow.weights import check_beta, log_weights

_RATE, _EMA, _CLIP = 1e-3, 0.999, 1.0  # those of `egflow.tilt`


def cep(
    base: Flow,
    energy: EnergyModel | Callable[..., Tensor],
    beta: float,
    *,
    data: Tensor,
    condition: Tensor | None = None,
    steps: int = 5_000,
    batch_size: int = 512,
    groups: int = 1,
    network: nn.Module | None = None,
    seed: int = 0,
) -> Flow:
    """Train the intermediate energy of one beta and guide the base by its gradient.

    Args:
        base: the flow of p, without training of its own here.
        energy: (batch, *event) -> (batch,), low is good, +inf is forbidden. No gradient is asked for.
        beta: on the energy's own scale.
        data: (N, *event) samples of p; the tenth that the report holds out is not trained on.
        condition: (N,) labels or (N, k) vectors, where the base has conditions.
        steps, batch_size: optimiser steps, and points a step.
        groups: how many sets of K = batch_size / groups points, each at its own t, a step holds.
        network: ``forward(x, t, condition)`` -> (batch, *event), whose outputs are summed to f; None is egflow's
            default network.
        seed: fixes the training.

    Returns:
        The guided flow; ``train_seconds`` is the training's time.

    Raises:
        ValueError: for bad input, naming the argument; `egflow.energy.EnergyError` with the energy's own message.

    Example:
        >>> import egflow
        >>> x = torch.randn(500, 1)
        >>> base = egflow.fit(x, steps=20, options=egflow.training.TrainingOptions(progress="quiet"))
        >>> cep(base, lambda x: x[:, 0], 1.0, data=x, steps=20).sample(3).shape
        torch.Size([3, 1])
    """
    check_guided_base(base)
    beta = check_beta(beta)
    check_count("steps", steps)
    check_count("batch_size", batch_size)
    check_count("groups", groups)
    if batch_size % groups or batch_size // groups < 2:
        raise ValueError(f"groups must divide batch_size into sets of 2 or more, got {groups} for {batch_size}")
    x, model = check_data(data, "data"), energy if isinstance(energy, EnergyModel) else as_energy(energy)
    if tuple(x.shape[1:]) != base.event_shape:
        raise ValueError(f"data must have the base's event shape {base.event_shape}, got {tuple(x.shape[1:])}")
    condition = check_condition(condition, len(x))
    if (condition is None) != (base.condition_shape is None):
        raise ValueError("condition must be given exactly where the base was trained with one")
    train_index, _ = held_out_split(len(x))
    log_w = log_weights(evaluate(model, x, condition), beta)[train_index].to(base.device)
    z = ((x[train_index].to(base.device) - base.shift) / base.scale).to(base.shift)
    c = None if condition is None else condition[train_index].to(base.device)

    with torch.random.fork_rng():
        torch.manual_seed(mix(seed, -1))
        body = default_network(base.event_shape, condition) if network is None else network
    started = time.monotonic()
    potential = Potential(body.to(base.device), base.path)
    potential = train_potential(potential, z, c, log_w, steps, batch_size, groups, seed)
    flow = guided_flow(base, ContrastiveVelocity(base, potential), model, beta)
    flow.train_seconds = time.monotonic() - started
    return flow


class Potential(nn.Module):
    """f(x_t, t, c) ≈ log E[exp(−beta·E) | x_t] + const(t): (batch, *event) -> (batch,)."""

    def __init__(self, body: nn.Module, path: Path) -> None:
        super().__init__()
        self.body, self.path = body, path

    def forward(self, z: Tensor, t: Tensor, condition: Tensor | None = None) -> Tensor:
        alpha, sigma = self.path.alpha(t)[0], self.path.sigma(t)[0]
        gain = alpha / (alpha.square() + sigma.square())
        return self.body(z * gain.reshape(-1, *(1,) * (z.ndim - 1)), t, condition).flatten(1).sum(1)


def contrastive_loss(logits: Tensor, log_w: Tensor) -> Tensor:
    """−Σ_i softmax_i(log w)·log softmax_i(logits), mean over groups: two (groups, K) -> ()."""
    alive = (log_w > -math.inf).any(1, keepdim=True)  # a set of forbidden points alone says nothing
    labels = torch.softmax(torch.where(alive, log_w, 0.0), 1) * alive
    return -(labels * torch.log_softmax(logits, 1)).sum(1).mean()


def train_potential(
    potential: Potential,
    z: Tensor,
    condition: Tensor | None,
    log_w: Tensor,
    steps: int,
    batch_size: int,
    groups: int,
    seed: int,
) -> Potential:
    """Adam with a cosine schedule, clipping, and an average of the weights, as egflow's own training."""
    optimiser = torch.optim.Adam(potential.parameters(), lr=_RATE, fused=True)
    average = copy.deepcopy(potential).eval()
    follow = get_ema_multi_avg_fn(max(0.0, min(_EMA, 1.0 - 10.0 / steps)))
    kept: list[Tensor] = list(average.parameters())
    current: list[Tensor] = list(potential.parameters())
    generator = torch.Generator().manual_seed(mix(seed, 5))
    size = batch_size // groups
    for step in range(steps):
        optimiser.param_groups[0]["lr"] = 0.5 * _RATE * (1 + math.cos(math.pi * step / steps))
        index = torch.randint(len(z), (batch_size,), generator=generator).to(z.device)
        t = torch.rand(groups, generator=generator).repeat_interleave(size) * potential.path.t_end
        x_0 = torch.randn(batch_size, *z.shape[1:], generator=generator)
        point = potential.path.sample(x_0.to(z), z[index], t.to(z))
        f = potential(point.x_t, point.t, None if condition is None else condition[index])
        loss = contrastive_loss(f.reshape(groups, size), log_w[index].to(f).reshape(groups, size))
        optimiser.zero_grad(set_to_none=True)
        loss.backward()
        nn.utils.clip_grad_norm_(current, _CLIP)
        optimiser.step()
        follow(kept, current, step)
    return average


class ContrastiveVelocity(nn.Module):
    """v + Δv for Δ∇log p_t = ∇f. Three passes: the base's, f's, and f's backward."""

    passes = 3

    def __init__(self, base: Flow, potential: Potential) -> None:
        super().__init__()
        self.base, self.potential = base, potential

    def forward(self, z: Tensor, t: Tensor, condition: Tensor | None = None, beta: Tensor | None = None) -> Tensor:
        at = inside(t)
        keep = torch.is_grad_enabled() and z.requires_grad  # for a divergence of the guided field
        with torch.enable_grad():
            y = z if keep else z.detach().requires_grad_()
            (gradient,) = torch.autograd.grad(self.potential(y, at, condition).sum(), y, create_graph=keep)
        return base_velocity(self.base, z, t, condition) + change_of_velocity(self.base.path, gradient, at, "score_fn")
