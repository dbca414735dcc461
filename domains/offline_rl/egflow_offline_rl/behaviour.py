"""Flows of actions given observations, trained by the core: the behaviour, and a policy on weighted supports."""

from __future__ import annotations

import copy

import torch
from torch import Tensor

from egflow.coupling import independent
from egflow.flow import Flow
from egflow.network import MLP
from egflow.objective import METHODS
from egflow.training import FlowMatching, Population, TrainingOptions, mix, train
from egflow.weights import Batches, Resample


def behaviour_flow(
    observations: Tensor,
    actions: Tensor,
    *,
    width: int,
    depth: int,
    path: str | None,
    steps: int,
    batch_size: int,
    seed: int,
    options: TrainingOptions,
) -> Flow:
    """Flow matching of μ(a|s): what `bc` acts by and the policies start from.

    Args:
        observations: (N, obs) standardised.
        actions: (N, act) in [-1, 1].
        width, depth: of the network, an `egflow.network.MLP`.
        path: "cond_ot" (None) or "vp".
        steps, batch_size, seed, options: as in `egflow.fit`.
    """
    with torch.random.fork_rng():
        torch.manual_seed(mix(seed, -1))
        network = MLP(actions.shape[1:], width=width, depth=depth, condition_dim=observations.shape[1])
    scale = actions.double().std(0)
    shift, scale = actions.double().mean(0).float(), torch.where(scale > 1e-3, scale, 1.0).float()
    flow = Flow(network.to(actions.device), actions.shape[1:], path=path, shift=shift, scale=scale)
    flow.condition_shape = tuple(observations.shape[1:])
    even = torch.zeros(len(actions), dtype=torch.float64)
    batches = Resample().prepare(even, even)
    return _train(flow, observations, actions, batches, steps, batch_size, seed, options)


def train_on_support(
    flow: Flow,
    observations: Tensor,
    actions: Tensor,
    batches: Batches,
    *,
    steps: int,
    batch_size: int,
    seed: int,
    options: TrainingOptions,
) -> Flow:
    """A copy of a flow, trained on further on weighted actions.

    Args:
        flow: to start from; not changed.
        observations: (S, obs) standardised.
        actions: (S, K, act) in [-1, 1].
        batches: draws of rows state · K + action, as `StateDraws`.
        steps, batch_size, seed, options: as in `egflow.fit`.
    """
    flow = copy.copy(flow)
    flow.network = copy.deepcopy(flow.network)
    repeated = observations.repeat_interleave(actions.shape[1], 0)
    return _train(flow, repeated, actions.flatten(0, 1), batches, steps, batch_size, seed, options)


def _train(
    flow: Flow,
    observations: Tensor,
    actions: Tensor,
    batches: Batches,
    steps: int,
    batch_size: int,
    seed: int,
    options: TrainingOptions,
) -> Flow:
    problem = FlowMatching(
        path=flow.path,
        objective=METHODS["ced" if flow.prediction == "noise" else "cefm"],
        coupling=independent,
        prediction=flow.prediction,
        train=Population((actions - flow.shift) / flow.scale, observations, batches),
    )
    trained = train(flow.network, problem, steps=steps, batch_size=batch_size, seed=seed, options=options)
    flow.network, flow.history, flow.train_seconds = trained.network, trained.history, trained.seconds
    return flow
