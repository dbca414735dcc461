"""Which samples are held out: a fixed function of their number, so that fit, tilt and report agree without a word."""

from __future__ import annotations

import torch
from torch import Tensor

HELD_OUT_SHARE = 0.1
_SEED = 20250304


def held_out_split(n: int) -> tuple[Tensor, Tensor]:
    """Split indices 0..n−1 into 90 % to train on and 10 % held out.

    The split depends on n alone, never on a seed, so a model fitted, tilted and reported on the same data is always
    judged on points that none of its steps has seen.

    Args:
        n: number of samples, at least 2.

    Returns:
        (train, held_out): sorted long tensors; at least one index in each.

    Raises:
        ValueError: for n below 2.

    Example:
        >>> train, held_out = held_out_split(20)
        >>> len(train), len(held_out)
        (18, 2)
    """
    if n < 2:
        raise ValueError(f"n must be at least 2 to hold samples out, got {n}")
    order = torch.randperm(n, generator=torch.Generator().manual_seed(_SEED))
    k = min(max(round(HELD_OUT_SHARE * n), 1), n - 1)
    return order[k:].sort().values, order[:k].sort().values
