"""Which values of a property are good: one of target=, minimise=, maximise=, range=, never a guess."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from numbers import Real
from typing import Any

Range = Sequence[float | None]


@dataclass(frozen=True)
class Distance:
    """E(v) = (distance of v from the interval [lo, hi]) / scale; a target is an interval of no width."""

    lo: float
    hi: float
    scale: float

    def __call__(self, value: float) -> float:
        return max(self.lo - value, value - self.hi, 0.0) / self.scale


@dataclass(frozen=True)
class Slope:
    """E(v) = sign · v / scale."""

    sign: int
    scale: float

    def __call__(self, value: float) -> float:
        return self.sign * value / self.scale


Direction = Distance | Slope


def direction(
    name: str, target: float | None, minimise: bool, maximise: bool, range: Range | None, scale: float
) -> Direction:
    """The direction that a preset's arguments ask for.

    Raises:
        ValueError: where none or several are given, or one cannot be met, naming the fix.
        TypeError: for what is no number, no bool, no pair.

    >>> direction("logp", 4, False, False, None, scale=2.0)(1.0)
    1.5
    >>> direction("mw", None, False, False, (None, 500), scale=100)(650.0)
    1.5
    """
    for key, flag in (("minimise", minimise), ("maximise", maximise)):
        if not isinstance(flag, bool):
            raise TypeError(f"{key} of {name} is {flag!r}; give True, or leave it out")
    given = ("target=", target is not None), ("minimise=True", minimise), ("maximise=True", maximise)
    chosen = [key for key, is_given in (*given, ("range=", range is not None)) if is_given]
    if len(chosen) != 1:
        why = f"got {' and '.join(chosen)}" if chosen else f"{name} has no direction"
        raise ValueError(f"{why}; give {name} one of target=, minimise=True, maximise=True, range=(lo, hi)")
    scale = finite(scale, f"scale of {name}")
    if scale <= 0:
        raise ValueError(f"scale of {name} is {scale:g}; give the step of {name} that counts as one, above 0")
    if minimise or maximise:
        return Slope(1 if minimise else -1, scale)
    if target is not None:
        value = finite(target, f"target of {name}")
        return Distance(value, value, scale)
    lo, hi = interval(name, range)
    return Distance(lo, hi, scale)


def interval(name: str, pair: Any) -> tuple[float, float]:
    """Both ends of range=; an end that is None is open."""
    if isinstance(pair, str) or not isinstance(pair, Sequence) or len(pair) != 2:
        raise TypeError(f"range of {name} is {pair!r}; give two numbers, range=(lo, hi), None for an open end")
    lo, hi = (None if end is None else finite(end, f"an end of range of {name}") for end in pair)
    if lo is None and hi is None:
        raise ValueError(f"range of {name} is open at both ends, which asks for nothing; give one of them")
    if lo is not None and hi is not None and lo > hi:
        raise ValueError(f"range of {name} has {lo:g} above {hi:g}; give range=({hi:g}, {lo:g})")
    return -math.inf if lo is None else lo, math.inf if hi is None else hi


def finite(value: Any, what: str) -> float:
    """A finite real number as a float; TypeError or ValueError naming `what` else."""
    if isinstance(value, bool) or not isinstance(value, Real):
        raise TypeError(f"{what} is {value!r}; give a finite number")
    if not math.isfinite(value):
        raise ValueError(f"{what} is {value!r}; give a finite number")
    return float(value)
