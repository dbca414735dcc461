"""Which network tokens get when the user names none."""

from __future__ import annotations

import math
from typing import Any

from torch import Tensor

from egflow.network._recurrent import Recurrent
from egflow.network._transformer import Transformer


def default_token_network(
    path: str, inputs: int, outputs: int, length: int, condition: Tensor | None = None, beta_dim: int = 0
) -> Recurrent | Transformer:
    """A `Recurrent` network for the sequential path, a `Transformer` that looks both ways for masked and uniform.

    Widths grow with log(number of sequences): spaces small enough to enumerate get 128, text 256.

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
    small = length * math.log2(max(outputs, 2)) <= 24
    if path == "sequential":
        return Recurrent(inputs, outputs, length, width=128 if small else 256, depth=1 if small else 2, **sizes)
    if path in ("masked", "uniform"):
        width, depth = (128, 2) if small else (192, 4)
        return Transformer(inputs, outputs, length, width, depth, timed=path == "uniform", **sizes)
    raise ValueError(f"path must be sequential, masked or uniform for tokens, got {path!r}")
