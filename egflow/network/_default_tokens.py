"""Which network tokens get when the user names none."""

from __future__ import annotations

import math
from typing import Any

from torch import Tensor

from egflow.network._recurrent import Recurrent
from egflow.network._token_mlp import TokenMLP
from egflow.network._transformer import Transformer


def default_token_network(
    path: str, inputs: int, outputs: int, length: int, condition: Tensor | None = None, beta_dim: int = 0
) -> Recurrent | TokenMLP | Transformer:
    """A `Recurrent` network for the sequential path; for masked and uniform one that looks both ways.

    That is a `Transformer`, or a `TokenMLP` where there are at most 2^14 sequences: on 81 of random probabilities it
    was as close after 4 CPU seconds as the transformer after 30. Widths grow with the number of sequences.

    Args:
        path: "sequential", "masked" or "uniform".
        inputs: number of token ids that may come in, the core's own among them.
        outputs: number of tokens that are predicted.
        length: number of positions.
        condition: the training conditions, (N,) long labels or (N, k) float, or None.
        beta_dim: number of energies whose beta is an input.

    Raises:
        ValueError: for another path.
    """
    sizes: dict[str, Any] = {"condition_dim": 0, "num_classes": 0, "beta_dim": beta_dim}
    if condition is not None:
        discrete = not condition.is_floating_point()
        sizes |= {"num_classes": int(condition.max()) + 1} if discrete else {"condition_dim": condition.shape[1]}
    bits, timed = length * math.log2(max(outputs, 2)), path == "uniform"
    if path == "sequential":
        width, depth = (128, 1) if bits <= 24 else (256, 2)
        return Recurrent(inputs, outputs, length, width, depth, **sizes)
    if path not in ("masked", "uniform"):
        raise ValueError(f"path must be sequential, masked or uniform for tokens, got {path!r}")
    if bits <= 14:
        return TokenMLP(inputs, outputs, length, timed=timed, **sizes)
    width, depth = (128, 3) if bits <= 100 else (192, 4)
    return Transformer(inputs, outputs, length, width, depth, timed=timed, **sizes)
