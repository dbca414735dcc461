"""Checks of what a flow is made of and asked: preprocessing, points, condition, beta."""

from __future__ import annotations

import math
from collections.abc import Sequence
from numbers import Real
from typing import Any

from torch import Tensor

from egflow._kinds import as_number, as_tensor, shown


def check_preprocessing(shift: Tensor, scale: Tensor, event_shape: tuple[int, ...]) -> None:
    """Whether shift and scale are numbers that broadcast to one sample. Raises ValueError otherwise."""
    for name, tensor in (("shift", shift), ("scale", scale)):
        if not bool(tensor.isfinite().all()) or (name == "scale" and not bool((tensor > 0).all())):
            raise ValueError(f"{name} must be finite{' and positive' if name == 'scale' else ''} in {tensor.dtype}")
        padded = (1,) * (len(event_shape) - tensor.ndim) + tuple(tensor.shape)
        if len(padded) != len(event_shape) or any(a not in (1, b) for a, b in zip(padded, event_shape, strict=True)):
            raise ValueError(f"{name} of shape {tuple(tensor.shape)} must broadcast to the event shape {event_shape}")


def check_points(x: Any, event_shape: tuple[int, ...]) -> Tensor:
    """Points as a float tensor (batch, *event), of whatever numbers. Raises ValueError otherwise."""
    if not isinstance(x, Tensor) or not x.is_floating_point():
        got = f"{x.dtype} of shape {tuple(x.shape)}" if isinstance(x, Tensor) else type(x).__name__
        raise ValueError(f"x must be a float tensor of shape (batch, *{event_shape}), got {got}")
    if tuple(x.shape[1:]) != event_shape or x.ndim == 0:
        raise ValueError(f"x must have shape (batch, *{event_shape}), got {tuple(x.shape)}")
    return as_tensor("x", x, f"a float tensor (batch, *{event_shape})")


def check_finite(name: str, value: Tensor) -> Tensor:
    """Whether all numbers are finite as float32. Raises ValueError otherwise; waits for a device to know."""
    if not bool(value.float().isfinite().all()):
        raise ValueError(f"{name} must be finite: it holds NaN, inf or more than float32 holds")
    return value


def check_time(t: Any, n: int, like: Tensor) -> Tensor:
    """Times (n,) in like's dtype and place, from one number or n of them. Raises ValueError for anything else."""
    times = as_tensor("t", t, f"one number or a tensor ({n},)", like.dtype)
    if tuple(times.shape) not in ((), (1,), (n,)) or not (isinstance(t, Tensor) or bool(times.isfinite().all())):
        raise ValueError(f"t must be finite, one number or of shape ({n},), got {shown(t)}")
    return times.to(like.device).expand(n)


def check_shape(name: str, shape: Any) -> tuple[int, ...]:
    """A shape of positive whole numbers. Raises ValueError for anything else."""
    sizes: tuple[Any, ...] = tuple(shape) if isinstance(shape, Sequence) else (None,)
    if not all(isinstance(size, int) and not isinstance(size, bool) and 0 < size < 2**31 for size in sizes):
        raise ValueError(f"{name} must be a shape of positive whole numbers, such as (2,), got {shown(shape)}")
    return sizes


def check_flow_condition(
    condition: Tensor | int | None, n: int, shape: tuple[int, ...] | None, num_classes: int | None, like: Tensor
) -> Tensor | None:
    """A condition for n rows, expanded where one is given for all; None for a flow without conditions.

    Raises:
        ValueError: where it is missing, not wanted, of another shape or complex, or no label the flow knows.
    """
    if condition is None and shape is None:
        return None
    if shape is None:
        raise ValueError("condition must be None: this flow was trained without conditions")
    if condition is None:
        raise ValueError("condition is missing: this flow was trained with conditions")
    c = as_tensor("condition", condition, f"labels or numbers, {(n, *shape)} or one for all").to(like.device)
    if c.ndim == len(shape):
        c = c.expand(n, *shape)
    if tuple(c.shape) != (n, *shape):
        raise ValueError(f"condition must have shape {(n, *shape)}, one row a sample, got {tuple(c.shape)}")
    if num_classes is None:
        if c.is_complex():
            raise ValueError(f"condition must be real numbers, got {shown(c)}")
        return c.to(like)
    if c.is_floating_point() or c.is_complex() or bool(((c < 0) | (c >= num_classes)).any()):
        raise ValueError(f"condition must hold labels 0 … {num_classes - 1} as whole numbers")
    return c.long()


def check_at(beta: Any, beta_range: Sequence[tuple[float, float]]) -> tuple[float, ...]:
    """One beta for each energy, each inside the trained range. Raises ValueError otherwise."""
    words = say_range(beta_range)
    if beta is None:
        raise ValueError(f"beta is missing: this flow was trained over {words}; pass beta=")
    beta = as_tensor("beta", beta, f"in {words}").tolist() if isinstance(beta, Tensor) else beta
    several = isinstance(beta, Sequence) and not isinstance(beta, str)
    given: list[Any] = list(beta) if several else [beta]
    if len(given) != len(beta_range) or not all(isinstance(b, Real) for b in given):
        wanted = "one number" if len(beta_range) == 1 else f"{len(beta_range)} numbers, one for each energy"
        raise ValueError(f"beta must be {wanted} in {words}, got {shown(beta)}")
    numbers = tuple(as_number("beta", b) for b in given)
    for number, (low, high) in zip(numbers, beta_range, strict=True):
        slack = 1e-9 * max(abs(low), abs(high))
        if not low - slack <= number <= high + slack:
            raise ValueError(f"beta={beta} is outside {words}, which this flow was trained over")
    return numbers


def same_beta(beta: Any, own: float | Sequence[float] | None) -> bool:
    """Whether what was given is a flow's own beta but for rounding. Raises ValueError for what is no dense tensor.

    >>> same_beta(2, 2.0), same_beta([1.0, 2.0], 2.0)
    (True, False)
    """
    beta = as_tensor("beta", beta, f"{own}").tolist() if isinstance(beta, Tensor) else beta
    given, have = (b if isinstance(b, Sequence) else [b] for b in (beta, own))
    return len(given) == len(have) and all(
        isinstance(a, Real) and b is not None and math.isclose(as_number("beta", a), b)
        for a, b in zip(given, have, strict=True)
    )


def say_range(beta_range: Sequence[tuple[float, float]]) -> str:
    """The range in words.

    >>> say_range([(0.0, 8.0)])
    'beta in [0, 8]'
    """
    return "beta in " + " x ".join(f"[{low:g}, {high:g}]" for low, high in beta_range)
