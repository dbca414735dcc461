"""Arguments of the right kind: another is told by the argument's name, not by an error from somewhere inside."""

from __future__ import annotations

import math
from numbers import Real
from typing import Any, TypeVar

import numpy as np
import torch
from torch import Tensor

T = TypeVar("T")
_LONGEST = 60  # signs of a value in a message


def shown(value: Any) -> str:
    """A value in few words, for a message.

    >>> shown(torch.zeros(2, 3)), shown("vp")
    ('a float32 tensor (2, 3)', "'vp'")
    """
    if isinstance(value, Tensor | np.ndarray):
        kind = "tensor" if isinstance(value, Tensor) else "array"
        return f"a {str(value.dtype).removeprefix('torch.')} {kind} {tuple(value.shape)}"
    text = " ".join(repr(value).split())
    return text if len(text) <= _LONGEST else f"{text[:_LONGEST]}… ({type(value).__name__})"


def as_tensor(name: str, value: Any, wanted: str, dtype: torch.dtype | None = None) -> Tensor:
    """A dense tensor with its numbers at hand, made of the value if need be. Raises ValueError otherwise."""
    try:
        tensor = torch.as_tensor(value, dtype=dtype)
    except (TypeError, ValueError, RuntimeError, OverflowError) as error:
        reason = str(error).splitlines()[0]
        raise ValueError(f"{name} must be {wanted}, got {shown(value)}: {reason}") from None
    if tensor.is_meta or tensor.layout != torch.strided:
        raise ValueError(f"{name} must be {wanted}, dense and in memory, got layout {tensor.layout} on {tensor.device}")
    return tensor.long() if tensor.dtype in (torch.uint16, torch.uint32, torch.uint64) else tensor


def as_number(name: str, value: Any) -> float:
    """A finite real number as a float. Raises ValueError otherwise."""
    if isinstance(value, bool) or not isinstance(value, Real):
        raise ValueError(f"{name} must be a number, got {shown(value)}")
    try:
        number = float(value)
    except OverflowError:
        number = math.inf
    if not math.isfinite(number):
        raise ValueError(f"{name} must be finite, got {shown(value)}")
    return number


def check_flag(name: str, value: Any) -> bool:
    """True or False. Raises ValueError otherwise."""
    return bool(check_kind(name, value, (bool, np.bool_), "True or False"))


def check_kind(name: str, value: T, kind: type | tuple[type, ...], wanted: str) -> T:
    """A value of a kind. Raises ValueError otherwise, saying what is wanted."""
    if not isinstance(value, kind):
        raise ValueError(f"{name} must be {wanted}, got {shown(value)}")
    return value
