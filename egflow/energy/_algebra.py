"""Sums, multiples, shifts and clips of energies, on their own scale; +inf (forbidden) is a mask kept apart.

With E = (finite part e, forbidden mask f):  k·E = (k·e, f) for every k, also 0 and negative;  clip(E) = (clip(e), f);
A + B = (a + b, f_A or f_B). Computed in float64, where no sum of float32 energies overflows into +inf by itself.
"""

from __future__ import annotations

import math
from numbers import Real
from typing import Any

import torch
from torch import Tensor

from egflow.energy._check import check_output, join_forbidden, split_forbidden
from egflow.energy._model import EnergyModel


def number(value: Any, what: str) -> float:
    """A finite real number as a float; TypeError or ValueError naming `what` else."""
    if isinstance(value, Tensor) and value.ndim == 0 and not value.is_complex():
        value = value.item()
    if isinstance(value, bool) or not isinstance(value, Real):
        hint = "; wrap a function with as_energy" if callable(value) and not isinstance(value, EnergyModel) else ""
        raise TypeError(f"{what} is a {type(value).__name__}; give a finite number{hint}")
    if not math.isfinite(value):
        raise ValueError(f"{what} is {value}; give a finite number (+inf is kept for what is forbidden)")
    return float(value)


def parts(energy: EnergyModel, x: Tensor, condition: Tensor | None) -> tuple[Tensor, Tensor]:
    """The finite part and the forbidden mask of an operand, its shape and dtype checked before anything broadcasts."""
    return split_forbidden(check_output(energy(x, condition), x.shape[0], energy.describe()))


def finish(finite: Tensor, forbidden: Tensor) -> Tensor:
    """Join the two again; a finite energy that overflowed is NaN, an error, and never becomes forbidden."""
    return join_forbidden(finite.masked_fill(torch.isinf(finite), torch.nan), forbidden)


class Sum(EnergyModel):
    """a + b; forbidden where either is."""

    def __init__(self, a: EnergyModel, b: EnergyModel):
        super().__init__()
        self.a, self.b = a, b

    def forward(self, x: Tensor, condition: Tensor | None = None) -> Tensor:
        a, forbidden_a = parts(self.a, x, condition)
        b, forbidden_b = parts(self.b, x, condition)
        return finish(a + b, forbidden_a | forbidden_b)

    def describe(self) -> str:
        return f"{self.a.describe()} + {self.b.describe()}".replace("+ -", "- ")

    @property
    def differentiable(self) -> bool:
        return self.a.differentiable and self.b.differentiable


class Scaled(EnergyModel):
    """factor · a; forbidden where a is, whatever the factor."""

    def __init__(self, a: EnergyModel, factor: float):
        super().__init__()
        if isinstance(factor, EnergyModel):
            raise TypeError("the product of two energies is not an energy here; write it as one function")
        self.a, self.factor = a, number(factor, "the factor of an energy")

    def forward(self, x: Tensor, condition: Tensor | None = None) -> Tensor:
        finite, forbidden = parts(self.a, x, condition)
        return finish(self.factor * finite, forbidden)

    def describe(self) -> str:
        name = self.a.describe()
        if isinstance(self.a, (Sum, Shifted)):
            name = f"({name})"
        return f"-{name}" if self.factor == -1 else f"{self.factor:g}*{name}"

    @property
    def differentiable(self) -> bool:
        return self.a.differentiable


class Shifted(EnergyModel):
    """a + offset; forbidden where a is."""

    def __init__(self, a: EnergyModel, offset: float):
        super().__init__()
        self.a, self.offset = a, number(offset, "what is added to an energy")

    def forward(self, x: Tensor, condition: Tensor | None = None) -> Tensor:
        finite, forbidden = parts(self.a, x, condition)
        return finish(finite + self.offset, forbidden)

    def describe(self) -> str:
        return f"{self.a.describe()} {'-' if self.offset < 0 else '+'} {abs(self.offset):g}"

    @property
    def differentiable(self) -> bool:
        return self.a.differentiable


class Clipped(EnergyModel):
    """min(max(a, lo), hi); forbidden where a is."""

    def __init__(self, a: EnergyModel, lo: float | None, hi: float | None):
        super().__init__()
        self.a = a
        self.lo = None if lo is None else number(lo, "clip's lo")
        self.hi = None if hi is None else number(hi, "clip's hi")
        if self.lo is None and self.hi is None:
            raise ValueError("clip has neither lo nor hi; give one of them, as a.clip(0, 5)")
        if self.lo is not None and self.hi is not None and self.lo > self.hi:
            raise ValueError(f"clip has lo={self.lo:g} above hi={self.hi:g}; give lo <= hi")

    def forward(self, x: Tensor, condition: Tensor | None = None) -> Tensor:
        finite, forbidden = parts(self.a, x, condition)
        return finish(finite.clamp(self.lo, self.hi), forbidden)

    def describe(self) -> str:
        bounds = ", ".join("None" if bound is None else f"{bound:g}" for bound in (self.lo, self.hi))
        name = self.a.describe()
        return f"({name}).clip({bounds})" if " " in name or name[:1] in "-0123456789" else f"{name}.clip({bounds})"

    @property
    def differentiable(self) -> bool:
        return self.a.differentiable
