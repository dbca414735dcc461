"""Bases of half the data, fitted as the base was, to tell how much of it the data determine."""

from __future__ import annotations

from dataclasses import replace

import torch
from torch import Tensor

from egflow._fit import fit
from egflow._tilt_inputs import TiltInputs
from egflow.flow import Flow, TokenFlow
from egflow.network import NETWORKS
from egflow.training import TrainingOptions, mix


def half_bases(
    base: Flow,
    inputs: TiltInputs,
    index: tuple[Tensor, Tensor],
    steps: int,
    batch_size: int,
    seed: int,
    options: TrainingOptions,
) -> tuple[Flow, Flow] | None:
    """Two fresh flows of the base's network and path, each fitted to its rows of the data; stages of the run.

    Returns:
        None where the network is of a class that egflow cannot build.
    """
    made = []
    for place, (name, rows) in enumerate(zip(("half-a", "half-b"), index, strict=True)):
        network = anew(base.network, mix(seed, -21, place))
        if network is None:
            return None
        every = min(options.checkpoint_every, max(1, steps // 10))
        made.append(
            fit(
                inputs.x[rows],
                vocab_size=base.vocab_size if isinstance(base, TokenFlow) else None,
                pad_id=base.pad_id if isinstance(base, TokenFlow) else None,
                network=network,
                path=base.path,
                steps=steps,
                batch_size=batch_size,
                sample_weight=None if inputs.weight is None else inputs.weight[rows],
                device=base.device,
                seed=mix(seed, -22, place),
                options=replace(options, stage=name, checkpoint_every=every),
            )
        )
    return made[0], made[1]


def anew(network: torch.nn.Module, seed: int) -> torch.nn.Module | None:
    """An untrained network of the same class and size, or None if it is not one of egflow's."""
    kind, config = type(network), getattr(network, "config", None)
    if config is None or kind not in NETWORKS.values():
        return None
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        return kind(**config)
