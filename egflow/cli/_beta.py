"""What ``beta=`` and the keys that go with it may say, each mistake in one line."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from egflow.cli._compose import Settings
from egflow.cli._quote import show, split_list

Range = tuple[float, float]


def beta_problem(value: Any) -> str | None:
    """What is expected of train's beta instead; None where it is right."""
    if isinstance(value, str):
        return None if value == "auto" else "a finite number, a range [low,high] or auto"
    if not isinstance(value, list):
        return None if _finite(value) else "a finite number, a range [low,high] or auto"
    if not value:
        return "a finite number, a range [low,high] or auto"
    if any(isinstance(part, list) for part in value):
        wrong = next((text for part in value if (text := _range_problem(part))), None)
        return wrong and f"{wrong}, for each of the energies, as in [[0,4],[0,4]]"
    return _range_problem(value)


def point_problem(value: Any) -> str | None:
    """What is expected of one beta, or one for each of several energies; None where it is right."""
    numbers = value if isinstance(value, list) else [value]
    return None if numbers and all(map(_finite, numbers)) else "a finite number (of several energies, one each: [2,1])"


def ranges_of(value: Any) -> tuple[Range, ...] | None:
    """The ranges of a checked beta, one for each energy; None for a number or auto.

    >>> ranges_of([0, 8]), ranges_of([[0, 4], [0, 2]]), ranges_of(3)
    (((0.0, 8.0),), ((0.0, 4.0), (0.0, 2.0)), None)
    """
    if not isinstance(value, list):
        return None
    pairs = value if isinstance(value[0], list) else [value]
    return tuple((float(low), float(high)) for low, high in pairs)


def check_together(settings: Settings) -> None:
    """Whether train's beta, energies, rounds and what belongs to them go together.

    Raises:
        ValueError: naming the key and the fix.
    """
    beta, rounds = settings["beta"], settings["rounds"]
    ranges = ranges_of(beta)
    names = split_list(settings["score"] or settings["energy"] or "")
    if len(names) != (len(ranges) if ranges else 1):
        several = "beta=[[0,4],[0,4]], a range for each"
        wanted = several if len(names) > 1 else f"energy=[a,b,…], one for each of the {len(ranges or ())} ranges"
        raise ValueError(f"beta={show(beta)} with {len(names)} energ{'y' if len(names) == 1 else 'ies'}: give {wanted}")
    if ranges is not None:
        for key, right in (("weights", "resample"), ("per_condition", False)):
            if settings[key] != right:
                raise ValueError(f"beta={show(beta)} is a range: {key} must be {show(right)}, got {settings[key]}")
        if settings["trainer"]["coupling"] == "ot":
            raise ValueError("trainer.coupling=ot pairs points of one beta: not with a range, leave it out")
    if settings["target_ess"] is not None and rounds is None and beta != "auto":
        raise ValueError("target_ess= solves for beta=auto or paces rounds=: give one of them, or leave it out")
    if rounds is None:
        for key in ("log_p", "max_calls"):
            if settings[key] is not None:
                raise ValueError(f"{key}= is for rounds: add rounds=auto, or leave it out")
        return
    if ranges is not None or beta == "auto":
        raise ValueError(f"rounds reach one beta: give a number, got beta={show(beta)}")
    if settings["per_condition"]:
        raise ValueError("rounds are for data without conditions: leave per_condition= out")
    if settings["weights"] != "resample":
        raise ValueError(f"rounds draw x_1 ∝ w: weights must be resample, got {settings['weights']}")


def _finite(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)


def _range_problem(value: Any) -> str | None:
    if not isinstance(value, Sequence) or len(value) != 2 or not all(map(_finite, value)):
        return "a range [low,high] of two finite numbers"
    return None if value[0] < value[1] else "a range [low,high] with low < high"
