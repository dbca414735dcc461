"""What an energy may return: a float tensor of shape (batch,), finite or +inf."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import Tensor

from egflow.energy._errors import EnergyError


def check_inputs(x: Tensor, condition: Tensor | None) -> None:
    """x is (batch, *event) with at least one row, and the condition, where there is one, has as many rows.

    Raises:
        TypeError, ValueError: naming the argument, what was got and what was expected.
    """
    if not isinstance(x, Tensor):
        raise TypeError(f"x is a {type(x).__name__}; give a tensor (batch, *event), as torch.as_tensor(x)")
    if x.ndim == 0 or x.shape[0] == 0:
        raise ValueError(f"x has shape {tuple(x.shape)}; give (batch, *event) with at least one row")
    if condition is None:
        return
    if not isinstance(condition, Tensor):
        raise TypeError(f"condition is a {type(condition).__name__}; give a tensor (batch, …) or None")
    if condition.ndim == 0 or condition.shape[0] != x.shape[0]:
        raise ValueError(
            f"condition has shape {tuple(condition.shape)} and x {tuple(x.shape)}; "
            "give one row of condition for each row of x"
        )


def check_output(value: Any, batch: int, name: str) -> Tensor:
    """The energy's output as a float tensor (batch,). A float numpy array (batch,) is converted.

    (batch, 1) against (batch,) broadcasts silently to (batch, batch), so a wrong shape is never mended here.

    Raises:
        EnergyError: naming what was returned, what is wanted, and the fix.
    """
    wanted = f"return a float tensor of shape ({batch},)"
    if isinstance(value, np.ndarray) and value.dtype.kind == "f":
        value = torch.from_numpy(np.ascontiguousarray(value))
    if not isinstance(value, Tensor):
        got = f"a numpy array of dtype {value.dtype}" if isinstance(value, np.ndarray) else f"a {type(value).__name__}"
        raise EnergyError(f"energy {name} returned {got}: {wanted}")
    if value.shape != (batch,):
        fix = wanted
        if value.shape == (batch, 1):
            fix += ", as by .squeeze(-1)"
        elif value.ndim == 0:
            fix += ": reduce over the event's axes, not over the batch (one item at a time: as_energy(batch=False))"
        elif value.ndim == 1:
            fix += ": one energy for each of the rows of x"
        raise EnergyError(f"energy {name} returned shape {tuple(value.shape)} for {batch} items: {fix}")
    if not value.dtype.is_floating_point:
        fix = ".real or .abs()" if value.dtype.is_complex else ".float()"
        raise EnergyError(f"energy {name} returned dtype {value.dtype}: {wanted}, as by {fix}")
    return value


def check_values(values: Tensor, name: str, offset: int = 0) -> None:
    """Neither NaN nor −inf. values (batch,); offset is the place of the first in x, for the message.

    Raises:
        EnergyError: with the first such item's index.
    """
    bad = torch.isnan(values) | (values == -torch.inf)
    if not bool(bad.any()):
        return
    where = bad.nonzero()[:, 0]
    first, more = int(where[0]), int(where.numel()) - 1
    what = "NaN" if torch.isnan(values[first]) else "-inf"
    others = f" (and for {more} more of {values.numel()})" if more else ""
    fix = "an energy is finite, or +inf for what is forbidden"
    raise EnergyError(f"energy {name} is {what} for item {first + offset}{others}: {fix}", first + offset)


def split_forbidden(energy: Tensor) -> tuple[Tensor, Tensor]:
    """(finite part in float64 with 0 where forbidden, forbidden mask), both (batch,), keeping the graph.

    −inf becomes NaN, so that no negation or clip can turn a mistake into something allowed or forbidden.
    """
    forbidden = energy == torch.inf
    finite = energy.to(torch.float64).masked_fill(forbidden, 0.0)
    return finite.masked_fill(energy == -torch.inf, torch.nan), forbidden


def join_forbidden(finite: Tensor, forbidden: Tensor) -> Tensor:
    """Put +inf back where forbidden, except where the finite part is NaN: a mistake stays visible."""
    return finite.masked_fill(forbidden & ~torch.isnan(finite), torch.inf)
