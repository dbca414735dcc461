"""What a report is given, checked: one clear line for each mistake."""

from __future__ import annotations

import platform
from collections.abc import Sequence
from importlib import metadata
from typing import Any

import numpy as np
import torch
from torch import Tensor

from egflow._kinds import as_number, as_tensor, shown
from egflow._rows import chunks

LEAST_DATA = 20


def check_points(x: Any, name: str, least: int = 1, pad_id: int | None = None) -> Tensor:
    """A float tensor (N, *event) without NaN or infinity, or tokens (N, length) as long. Raises ValueError otherwise.

    Arrays are taken as well; tokens are whole numbers from 0, or ``pad_id``.
    """
    if not isinstance(x, Tensor | np.ndarray):
        raise ValueError(f"{name} must be a float tensor (N, *event), got {type(x).__name__}")
    x = as_tensor(name, x, "a float tensor (N, *event)")
    if x.ndim < 2:
        raise ValueError(f"{name} must have shape (N, *event), got {tuple(x.shape)}; one number a sample is (N, 1)")
    if not x.is_floating_point():
        return _check_tokens(x, name, least, pad_id)
    if len(x) < least or x[0].numel() == 0:
        raise ValueError(f"{name} must hold at least {least} sample{'s' * (least > 1)}, got shape {tuple(x.shape)}")
    bad = torch.cat([~torch.isfinite(part.flatten(1)).all(1) for part in chunks(x)])
    if bool(bad.any()):
        raise ValueError(f"{name} holds NaN or infinity in {int(bad.sum())} of {len(x)} rows; remove or repair them")
    return x.detach()


def _check_tokens(x: Tensor, name: str, least: int, pad_id: int | None) -> Tensor:
    if x.is_complex() or x.dtype == torch.bool or x.ndim != 2:
        raise ValueError(
            f"{name} must be floating point (N, *event) or tokens, long (N, length), got {x.dtype} {tuple(x.shape)}"
        )
    if len(x) < least or x.shape[1] == 0:
        raise ValueError(f"{name} must hold at least {least} sequence{'s' * (least > 1)}, got shape {tuple(x.shape)}")
    if bool(((x < 0) & (x != pad_id if pad_id is not None else True)).any()):
        raise ValueError(f"{name} holds tokens below 0 (the least is {int(x.min())}); numbers that are none: .float()")
    return x.detach().long()


def check_condition(condition: Any, name: str, n: int) -> Tensor | None:
    """A condition of n rows, or None. Raises ValueError otherwise."""
    if condition is None:
        return None
    if isinstance(condition, Tensor):
        condition = as_tensor(name, condition, f"a tensor with one row for each of the {n} samples")
    if not isinstance(condition, Tensor) or condition.ndim == 0 or len(condition) != n:
        got = tuple(condition.shape) if isinstance(condition, Tensor) else type(condition).__name__
        raise ValueError(f"{name} must be a tensor with one row for each of the {n} samples, got {got}")
    return condition


def check_one_beta(beta: Any) -> float:
    """Beta as a finite float. Raises ValueError otherwise."""
    try:
        return as_number("beta", beta)
    except ValueError:
        raise ValueError(
            f"beta must be one finite number, got {shown(beta)}; of a range, report each beta and combine them"
        ) from None


def check_betas(beta: Any, k: int) -> tuple[float, ...]:
    """One finite beta for each of k energies. Raises ValueError otherwise."""
    if isinstance(beta, str) or not isinstance(beta, Sequence) or len(beta) != k:
        raise ValueError(f"beta must be {k} numbers, one for each energy, got {shown(beta)}")
    return tuple(check_one_beta(b) for b in beta)


def versions() -> dict[str, str]:
    """Versions of what made the figures."""
    found = {"python": platform.python_version(), "torch": str(torch.__version__), "numpy": np.__version__}
    try:
        return {"egflow": metadata.version("egflow"), **found}
    except metadata.PackageNotFoundError:  # run from a source tree that is not installed
        return found
