"""Returns of a policy that cannot flatter: each episode from its own seed to its own first end, none left out.

A plain list of environments, and one batched call of the policy a step over those that are still alive. gymnasium's
vector environments reset by themselves, which shifts rewards by one step and lets short (bad) episodes count twice.
"""

from __future__ import annotations

import time
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np

from egflow.training import check_count, mix
from egflow_offline_rl.environments import flatten_observation, make_environment, reference_scores

if TYPE_CHECKING:
    import gymnasium as gym
    from gymnasium.envs.registration import EnvSpec

__all__ = ["Evaluation", "evaluate_policy", "normalized_scores"]

LONGEST = 10_000
"""Steps after which an episode is cut where the environment itself sets no limit."""


class Acts(Protocol):
    """What is evaluated: a `Policy`, or anything that acts on a batch."""

    def act(self, observation: np.ndarray, *, seed: int | None = None) -> np.ndarray:
        """(n, obs) float32 -> (n, act)."""
        ...


@dataclass(frozen=True, slots=True, eq=False)
class Evaluation:
    """Episodes of one policy.

    Attributes:
        returns: (episodes,) float64, sums of rewards, undiscounted.
        lengths: (episodes,) steps.
        normalized: (episodes,) 100·(return − min)/(max − min), or None.
        reference: where min and max come from, or why there are none.
        seconds: of the whole evaluation.
        actions_per_second: actions asked of the policy, by the time it took.
    """

    returns: np.ndarray
    lengths: np.ndarray
    normalized: np.ndarray | None
    reference: str
    seconds: float
    actions_per_second: float

    @property
    def mean(self) -> float:
        """Mean return."""
        return float(self.returns.mean())

    @property
    def std(self) -> float:
        """Standard deviation over episodes (n − 1); NaN for one."""
        return float(self.returns.std(ddof=1)) if len(self.returns) > 1 else float("nan")

    @property
    def stderr(self) -> float:
        """Standard error of the mean; NaN for one episode."""
        return self.std / len(self.returns) ** 0.5


def evaluate_policy(
    policy: Acts,
    *,
    episodes: int = 20,
    seed: int = 0,
    env: str | EnvSpec | Callable[[], gym.Env] | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> Evaluation:
    """Run a policy for some episodes. Deterministic given the seed.

    Args:
        policy: a `Policy`, or anything with ``act``.
        episodes: how many; episode i is reset by a seed that is a function of (seed, i), so that more episodes begin
            with the same ones.
        seed: fixes resets and the policy's own noise, which is a function of (seed, step).
        env: an id, a spec, or a function that makes one environment; None is the policy's own.
        progress: called with (episodes ended, episodes).

    Raises:
        ValueError: for a bad number of episodes, no environment, discrete actions, or a reward that is no number.
    """
    check_count("episodes", episodes)
    spec = getattr(policy, "env_spec", None) if env is None else env
    if spec is None:
        raise ValueError('env: the policy\'s data name no environment; give one, as in env="Hopper-v5"')
    environments: list[gym.Env] = []
    try:
        for _ in range(episodes):
            environments.append(_make(spec))
        _check_actions(environments[0])
        own = environments[0].spec
        if own is None or own.max_episode_steps is None:
            _warn_endless(own)
        started = time.monotonic()
        returns, lengths, acting = _run(policy, environments, seed, progress)
    finally:
        for environment in environments:
            environment.close()
    reference = getattr(policy, "reference", None) if env is None else None  # which is of the data's environment
    normalized, words = normalized_scores(returns, own.id if own is not None else None, reference)
    seconds = time.monotonic() - started
    return Evaluation(returns, lengths, normalized, words, seconds, float(lengths.sum()) / max(acting, 1e-9))


def _run(
    policy: Acts, environments: list[gym.Env], seed: int, progress: Callable[[int, int], None] | None
) -> tuple[np.ndarray, np.ndarray, float]:
    """Returns, lengths, and seconds spent in the policy."""
    count = len(environments)
    returns, lengths, acting = np.zeros(count), np.zeros(count, dtype=np.int64), 0.0
    # 31 bits: what every environment's own generator takes
    observations: list[Any] = [
        environment.reset(seed=mix(seed, episode) % 2**31)[0] for episode, environment in enumerate(environments)
    ]
    alive, step = list(range(count)), 0
    while alive:
        rows = np.stack([np.atleast_1d(flatten_observation(observations[i])) for i in alive])
        before = time.monotonic()
        actions = policy.act(rows, seed=mix(seed, step, 1))
        acting += time.monotonic() - before
        ended = set()
        for i, action in zip(alive, actions, strict=True):
            observations[i], reward, terminated, truncated, _ = environments[i].step(action)
            if not np.isfinite(float(reward)):
                raise ValueError(f"env: the reward of episode {i} is {float(reward)} at step {step}: no return exists")
            returns[i] += float(reward)
            lengths[i] += 1
            if terminated or truncated or lengths[i] >= LONGEST:
                ended.add(i)
        if ended:
            alive = [i for i in alive if i not in ended]
            if progress is not None:
                progress(count - len(alive), count)
        step += 1
    return returns, lengths, acting


def normalized_scores(
    returns: np.ndarray, env_id: str | None, reference: tuple[float, float] | None
) -> tuple[np.ndarray | None, str]:
    """100·(return − min)/(max − min) as the literature has it, and where min and max come from.

    Args:
        returns: (n,) raw returns.
        env_id: looked up in the table where the data bring no reference scores.
        reference: the data set's own (min, max).

    Example:
        >>> scores, words = normalized_scores(np.array([0.0, 50.0]), None, (0.0, 200.0))
        >>> scores.tolist(), words
        ([0.0, 25.0], "the dataset's own reference returns, 0 and 200")
        >>> normalized_scores(np.zeros(1), "Nothing-v0", None)
        (None, 'no reference returns are known for Nothing-v0: raw returns only')
    """
    whose = "the dataset's own reference returns"
    if reference is None and env_id is not None:
        reference, whose = reference_scores(env_id), f"the table's reference returns for {env_id}"
    if reference is None or not reference[1] > reference[0]:
        return None, f"no reference returns are known for {env_id or 'this environment'}: raw returns only"
    low, high = reference
    return 100.0 * (returns - low) / (high - low), f"{whose}, {low:g} and {high:g}"


def _make(spec: str | EnvSpec | Callable[[], gym.Env]) -> gym.Env:
    from gymnasium.envs.registration import EnvSpec

    return make_environment(spec) if isinstance(spec, str | EnvSpec) else spec()


def _check_actions(environment: gym.Env) -> None:
    from gymnasium.spaces import Box

    space = environment.action_space
    if not isinstance(space, Box):
        raise ValueError(f"env: actions must be continuous (a Box), got {space}")


def _warn_endless(spec: EnvSpec | None) -> None:
    name = "the environment" if spec is None else spec.id
    warnings.warn(f"{name} sets no limit of steps: an episode without an end is cut at {LONGEST:,}", stacklevel=3)
