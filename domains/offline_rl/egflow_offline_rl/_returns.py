"""The returns of a run side by side: its policy, the best of several draws, the behaviour policy, the data."""

from __future__ import annotations

import math
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from egflow_offline_rl._kept import Kept
from egflow_offline_rl.evaluation import Evaluation, evaluate_policy
from egflow_offline_rl.options import Options

_SAY_EVERY = 10.0  # seconds
_ON_THE_WAY = 5
_DRAWING = ("FlowActor", "GuidedActor", "OneStepActor")  # of the others the best of N draws is the one there is


@dataclass(frozen=True, slots=True, eq=False)
class Returns:
    """Evaluations on the same episodes' seeds.

    Attributes:
        policy: one draw a step.
        best_of: the best of N draws by the critic, or None.
        behaviour: the flow of the data, or None.
        between: (beta, evaluation) of policies on the way, at most five of them.
        beta: that the policy itself aims at.
        data: (E,) undiscounted returns of the data's episodes.
        n: the N of best-of-N.
        environment: its id.
    """

    policy: Evaluation
    best_of: Evaluation | None
    behaviour: Evaluation | None
    between: list[tuple[float, Evaluation]]
    beta: float
    data: np.ndarray
    n: int
    environment: str


def measure(kept: Kept, options: Options, seed: int, *, quiet: bool) -> Returns:
    """Evaluate a run's policies, each on ``options.episodes`` episodes. Raises ValueError without an environment."""
    policy, episodes = kept.policy, options.episodes
    env = options.env or policy.env_spec

    def run(who: Any, words: str) -> Evaluation:
        told = None if quiet else _progress(words)
        return evaluate_policy(who, episodes=episodes, seed=seed, env=options.env, progress=told)  # None: its own

    is_bc = policy.method == "bc"
    draws = type(policy.actor).__name__ in _DRAWING and policy.critic is not None
    made = run(policy, "policy")
    best = run(policy.best_of(options.best_of), f"best of {options.best_of}") if draws and options.best_of > 1 else None
    behaviour = None
    if options.bc_baseline:
        behaviour = made if is_bc else run(kept.behaviour, "behaviour cloning") if kept.behaviour is not None else None
    way = kept.between[:: -(-len(kept.between) // _ON_THE_WAY) or 1]
    between = [(beta, run(stage, f"policy at beta {beta:.3g}")) for beta, stage in way]
    beta = kept.record["steps"][-1]["beta"] if kept.record["steps"] else 0.0
    name = env if isinstance(env, str) else "" if env is None else env.id
    return Returns(made, best, behaviour, between, beta, kept.episode_returns.double().numpy(), options.best_of, name)


def return_metrics(found: Returns) -> tuple[dict[str, Any], dict[str, str]]:
    """Flat keys of ``domain_metrics``, and notes by key for what is null.

    ``beats_data`` and ``beats_bc`` are differences of means in their standard errors: those of this run's episodes, for
    the data's mean is a fixed number.
    """
    policy, bc, best = found.policy, found.behaviour, found.best_of
    data, notes = float(found.data.mean()), {}
    metrics: dict[str, Any] = {
        "environment": found.environment,
        "episodes": len(policy.returns),
        "return_mean": policy.mean,
        "return_std": _finite(policy.std),
        "return_stderr": _finite(policy.stderr),
        "return_min": float(policy.returns.min()),
        "return_max": float(policy.returns.max()),
        "episode_length_mean": float(policy.lengths.mean()),
        "normalized_return_mean": None,
        "normalized_return_std": None,
        "data_return_mean": data,
        "data_return_std": float(found.data.std()),
        "data_return_max": float(found.data.max()),
        "data_episodes": len(found.data),
        "bc_return_mean": None if bc is None else bc.mean,
        "bc_return_std": None if bc is None else _finite(bc.std),
        "best_of_n": None if best is None else found.n,
        "best_of_n_return_mean": None if best is None else best.mean,
        "best_of_n_return_std": None if best is None else _finite(best.std),
        "beats_data": errors_apart(policy.mean - data, policy.stderr),
        "beats_bc": None,
        "evaluation_seconds": round(policy.seconds, 2),
        "actions_per_second": round(policy.actions_per_second, 1),
    }
    notes["normalized_return_mean"] = policy.reference
    if policy.normalized is not None:
        metrics["normalized_return_mean"] = float(policy.normalized.mean())
        spread = float(policy.normalized.std(ddof=1)) if len(policy.normalized) > 1 else math.nan
        metrics["normalized_return_std"] = _finite(spread)
    if bc is None:
        notes["bc_return_mean"] = (
            "no behaviour policy was evaluated: run method=bc on the same data, or set offline_rl.bc_baseline=true"
        )
    elif bc is not policy:
        metrics["beats_bc"] = errors_apart(policy.mean - bc.mean, math.hypot(policy.stderr, bc.stderr))
    if len(policy.returns) == 1:
        notes["return_std"] = "one episode has no spread"
    return metrics, notes


def words(found: Returns) -> str:
    """The returns in one line, and the normalised ones in another.

    Example: ``policy 2,310 ± 90, behaviour cloning 870 ± 60, data 640 (20 episodes)``
    """
    parts = [f"policy {_with_error(found.policy)}"]
    if found.best_of is not None:
        parts.append(f"best of {found.n} {_with_error(found.best_of)}")
    if found.behaviour is not None and found.behaviour is not found.policy:
        parts.append(f"behaviour cloning {_with_error(found.behaviour)}")
    parts.append(f"data {_number(float(found.data.mean()))}")
    count = len(found.policy.returns)
    line = f"{', '.join(parts)} ({count} episode{'s' * (count > 1)} of {found.environment}, ± standard error)"
    if found.policy.normalized is None:
        return f"return: {line}\n{found.policy.reference}"
    return f"return: {line}\nnormalised: policy {found.policy.normalized.mean():.1f} (by {found.policy.reference})"


def errors_apart(difference: float, error: float) -> float | None:
    """A difference in its standard errors; None where the error is 0 or not known.

    >>> errors_apart(3.0, 1.5), errors_apart(3.0, 0.0)
    (2.0, None)
    """
    return difference / error if error > 0 and math.isfinite(error) else None


def _number(value: float) -> str:
    """
    >>> _number(2310.4), _number(-0.1234), _number(45.67)
    ('2,310', '-0.123', '45.7')
    """
    return f"{value:,.0f}" if abs(value) >= 100 else f"{value:.3g}"


def _with_error(evaluation: Evaluation) -> str:
    error = evaluation.stderr
    return _number(evaluation.mean) + (f" ± {_number(error)}" if math.isfinite(error) else "")


def _finite(value: float) -> float | None:
    return value if math.isfinite(value) else None


def _progress(words: str) -> Callable[[int, int], None]:
    """A line at the end, and one every ten seconds before."""
    last = time.monotonic()

    def tell(done: int, total: int) -> None:
        nonlocal last
        if done == total or time.monotonic() - last > _SAY_EVERY:
            last = time.monotonic()
            print(f"evaluation of {words}: {done}/{total} episodes", file=sys.stderr, flush=True)

    return tell
