"""The values a key may have: checked before anything is started, each with one clear line."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from difflib import get_close_matches
from typing import Any

from egflow.cli._beta import beta_problem, point_problem
from egflow.cli._compose import Settings, flatten
from egflow.cli._quote import show
from egflow.domain import find_domain

Check = Callable[[Any], str | None]
"""What was expected instead, or None where the value is right."""


def _whole(least: int) -> Check:
    def check(value: Any) -> str | None:
        right = isinstance(value, int) and not isinstance(value, bool) and value >= least
        return None if right else f"a whole number of at least {least}"

    return check


def _number(low: float, high: float, expected: str, *, closed: bool = False) -> Check:
    def check(value: Any) -> str | None:
        if isinstance(value, bool) or not isinstance(value, (int, float)) or not math.isfinite(value):
            return expected
        return None if low < value < high or (closed and value == low) else expected

    return check


def _one_of(*names: str) -> Check:
    def check(value: Any) -> str | None:
        if value in names:
            return None
        near = get_close_matches(str(value), names, n=1)
        return " or ".join(filter(None, [", ".join(names[:-1]), names[-1]])) + (
            f" (did you mean {near[0]}?)" if near else ""
        )

    return check


def _optional(check: Check) -> Check:
    return lambda value: None if value is None else check(value)


def _text(value: Any) -> str | None:
    return None if isinstance(value, str) and value else "text"


def _flag(value: Any) -> str | None:
    return None if isinstance(value, bool) else "true or false"


def _folders(value: Any) -> str | None:
    right = isinstance(value, list) and all(isinstance(one, str) and one for one in value)
    return None if right else "a run's folder, and run= again for each further one"


def _rounds(value: Any) -> str | None:
    return None if value == "auto" or _whole(1)(value) is None else "auto, or a whole number of at least 1"


def _beta_or_auto(value: Any) -> str | None:
    return None if value == "auto" else point_problem(value)


_POSITIVE = _number(0.0, math.inf, "a positive number")
_SOLVER: dict[str, Check] = {
    "solver.name": _optional(_text),
    "solver.rtol": _POSITIVE,
    "solver.atol": _POSITIVE,
}
_ENERGY: dict[str, Check] = {"energy": _optional(_text), "score": _optional(_text)}

CHECKS: dict[str, dict[str, Check]] = {
    "train": _SOLVER
    | _ENERGY
    | {
        "domain": _text,
        "data": _optional(_text),
        "beta": beta_problem,
        "rounds": _optional(_rounds),
        "target_ess": _optional(_number(0.0, 1.0, "a fraction between 0 and 1")),
        "max_calls": _optional(_whole(1)),
        "log_p": _optional(_text),
        "method": _text,
        "weights": _one_of("resample", "global", "softmax"),
        "per_condition": _flag,
        "base": _optional(_text),
        "n": _whole(1),
        "seed": _whole(0),
        "device": _optional(_text),
        "run_dir": _optional(_text),
        "resume": _flag,
        "cache": _optional(_text),
        "cache_version": _optional(_text),
        "trainer.steps": _whole(1),
        "trainer.base_steps": _optional(_whole(1)),
        "trainer.batch_size": _whole(1),
        "trainer.learning_rate": _POSITIVE,
        "trainer.ema": _number(0.0, 1.0, "a number in [0, 1)", closed=True),
        "trainer.clip": _POSITIVE,
        "trainer.autocast": _flag,
        "trainer.compile": _flag,
        "trainer.coupling": _one_of("independent", "ot"),
        "trainer.accumulate": _whole(1),
        "trainer.checkpoint_every": _whole(1),
        "trainer.log_every": _whole(1),
        "trainer.progress": _one_of("auto", "plain", "quiet"),
        "trainer.tensorboard": _flag,
        "workers.count": _whole(0),
        "workers.backend": _optional(_one_of("processes", "ray")),
        "workers.time_limit": _optional(_POSITIVE),
        "workers.memory_limit": _optional(_POSITIVE),
        "workers.on_failure": _optional(_one_of("raise", "forbid")),
    },
    "sample": _SOLVER
    | _ENERGY
    | {
        "run": _text,
        "n": _whole(1),
        "seed": _whole(0),
        "condition": _optional(_whole(0)),
        "beta": _optional(point_problem),
        "correct": _optional(_flag),
        "out": _optional(_text),
        "device": _optional(_text),
    },
    "evaluate": _SOLVER
    | _ENERGY
    | {
        "run": _text,
        "beta": _optional(_beta_or_auto),
        "n": _optional(_whole(1)),
        "seed": _whole(0),
        "out": _optional(_text),
        "device": _optional(_text),
    },
    "report": _ENERGY
    | {
        "run": _folders,
        "out": _text,
        "seed": _whole(0),
        "device": _optional(_text),
    },
    "benchmark": {
        "suite": _text,
        "n": _optional(_whole(1)),
        "hours": _optional(_POSITIVE),
        "out": _optional(_text),
        "quick": _flag,
    },
}


def check(command: str, settings: Settings) -> None:
    """Check every core key of a command (a domain checks its own).

    Raises:
        ValueError: naming the key, what was got and what was expected.
    """
    flat = flatten(settings)
    rules = CHECKS[command]
    if command == "train":
        rules = rules | {"method": _one_of(*find_domain(settings["domain"]).methods)}
    for key, rule in rules.items():
        expected = rule(flat[key])
        if expected is not None:
            raise ValueError(f"{key}={show(flat[key])}: expected {expected}")
    if flat.get("trainer.coupling") == "ot" and flat["weights"] != "resample":
        raise ValueError(f"trainer.coupling=ot needs equally weighted draws: weights=resample, got {flat['weights']}")
    if flat.get("energy") is not None and flat.get("score") is not None:
        raise ValueError("energy= and score= are both given: give one (a score is an energy's negative, high is good)")


def domain_options(settings: Mapping[str, Any]) -> dict[str, Any]:
    """The ``<domain>.*`` part of a run's settings."""
    return dict(settings.get(settings["domain"]) or {})
