"""Checks of what users pass in, at the boundary, each with one clear line."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from egflow._kinds import as_tensor
from egflow._rows import chunks

N_MIN = 20
MOST_LABELS = 2**20  # each has a row of weights in the network


def check_data(x: Any, name: str = "x") -> Tensor:
    """Samples as a float tensor (N, *event), N ≥ 20, finite. Raises ValueError otherwise."""
    x = as_tensor(name, x, "a float tensor (N, *event)")
    if not x.is_floating_point():
        raise ValueError(
            f"{name} must be a float tensor (N, *event), got dtype {x.dtype}: convert it with .float(); for tokens "
            "(N, length), fit the flow with egflow.fit(x, vocab_size=…)"
        )
    if x.ndim < 2:
        hint = f"; for one number a sample pass {name}[:, None]" if x.ndim == 1 else ""
        raise ValueError(f"{name} must have shape (N, *event), got {tuple(x.shape)}{hint}")
    if len(x) < N_MIN or x[0].numel() == 0:
        raise ValueError(f"{name} must hold at least {N_MIN} samples that are not empty, got shape {tuple(x.shape)}")
    most = torch.finfo(torch.float32).max
    ends = (part.flatten(1).aminmax(dim=1) for part in chunks(x))  # NaN is passed on, and no copy is made
    bad = torch.cat([~((low.float() >= -most) & (high.float() <= most)) for low, high in ends])
    if bool(bad.any()):
        first = int(bad.nonzero()[0])
        raise ValueError(
            f"{name} must be finite: {int(bad.sum())} samples hold NaN, inf or more than float32 holds, "
            f"the first is {name}[{first}]"
        )
    return x.detach()


def check_condition(condition: Any, n: int) -> Tensor | None:
    """Conditions as (N,) long labels ≥ 0 or (N, k) finite floats. Raises ValueError otherwise."""
    if condition is None:
        return None
    condition = as_tensor("condition", condition, "labels (N,) or floats (N, k)").detach()
    if len(condition.shape) == 0 or len(condition) != n:
        got = tuple(condition.shape)
        raise ValueError(f"condition must have one row a sample: {n} samples, condition of shape {got}")
    if condition.is_floating_point():
        if condition.ndim != 2:
            raise ValueError(f"a float condition must have shape (N, k), got {tuple(condition.shape)}")
        if not bool(torch.isfinite(condition.float()).all()):
            raise ValueError("condition must be finite in float32: it holds NaN, inf or larger numbers")
        return condition
    if condition.ndim != 1 or condition.is_complex() or bool((condition < 0).any()):
        raise ValueError("a discrete condition must hold whole labels ≥ 0, shape (N,)")
    if int(condition.max()) >= MOST_LABELS:
        raise ValueError(
            f"condition must hold labels below {MOST_LABELS:,}, got {int(condition.max())}: number them from 0"
        )
    return condition.long()


def condition_kind(condition: Tensor | None) -> tuple[tuple[int, ...] | None, int | None]:
    """What a flow keeps of its training conditions: the shape of one, and the number of labels; None where none."""
    if condition is None:
        return None, None
    return tuple(condition.shape[1:]), None if condition.is_floating_point() else int(condition.max()) + 1


def pick_device(device: str | torch.device | None) -> torch.device:
    """The device asked for; None is CUDA where there is one, else the CPU. Raises ValueError for an unusable one."""
    if device is None:
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        chosen = torch.device(device)
        torch.zeros((), device=chosen)
    except (RuntimeError, AssertionError, TypeError, ValueError) as error:
        reason = str(error).splitlines()[0]
        raise ValueError(f"device={str(device)[:60]} cannot be used here ({reason}); try device=cpu") from None
    return chosen
