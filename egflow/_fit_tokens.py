"""What training on tokens needs beside `egflow.fit`'s own lines: an untrained flow of tokens, and its problem."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from egflow._inputs import condition_kind
from egflow.coupling import COUPLINGS
from egflow.flow import TokenFlow
from egflow.network import default_token_network
from egflow.path import Path, TokenPath, Vocabulary, make_token_path
from egflow.training import Population, TokenMatching, TrainingOptions, mix


def new_token_flow(
    x: Tensor,
    condition: Tensor | None,
    vocabulary: Vocabulary,
    *,
    network: nn.Module | None,
    path: str | Path | TokenPath | None,
    device: torch.device,
    seed: int,
) -> TokenFlow:
    """An untrained flow of tokens x (N, length)."""
    if isinstance(path, Path):
        raise ValueError(f"path {path.name!r} is for points, and x holds tokens (vocab_size is given)")
    chosen, length = make_token_path(path), x.shape[1]
    if network is None:
        with torch.random.fork_rng():
            torch.manual_seed(mix(seed, -1))
            network = default_token_network(chosen.name, vocabulary.inputs, vocabulary.outputs, length, condition)
    flow = TokenFlow(network.to(device), length, vocab_size=vocabulary.size, pad_id=vocabulary.pad_id, path=chosen)
    flow.condition_shape, flow.num_classes = condition_kind(condition)
    return flow


def token_problem(
    flow: TokenFlow,
    train: Population,
    held_out: Population | None,
    beta_range: tuple[tuple[float, float], ...] | None,
    options: TrainingOptions,
) -> TokenMatching:
    """The weighted cross-entropy of a flow's path. Raises ValueError for a coupling: tokens have no x_0 to couple."""
    if COUPLINGS.get(str(options.coupling), options.coupling) is not COUPLINGS["independent"]:
        raise ValueError(f"coupling={options.coupling!r} pairs points with noise, and tokens have none: leave it out")
    return TokenMatching(flow.path, flow.vocabulary, train, held_out, beta_range)
