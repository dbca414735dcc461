"""Episodes of a fixed policy in waves of sixteen: a wave is a function of (policy, seed, number) and can be redone."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np

from egflow_offline_rl.environments import make_environment
from egflow_offline_rl.making._episodes import (
    Episode,
    GaussianPolicy,
    close_episode,
    load_episodes,
    load_facts,
    save_episodes,
)

if TYPE_CHECKING:
    import gymnasium as gym

WAVE = 16


class Controller(Protocol):
    """Acts for all environments of a wave at once; made anew for every wave."""

    def __call__(self, observations: list[Any]) -> np.ndarray:
        """One observation an environment (the last one of those that have ended) to (n, act) actions in its units."""
        ...


Begin = Callable[["list[gym.Env]", np.random.Generator], Controller]


def gaussian(policy: GaussianPolicy, noise: float | None) -> Begin:
    """A policy of our PPO: sampled from its own distribution, or its mean with normal noise of the given size."""

    def begin(environments: list[gym.Env], random: np.random.Generator) -> Controller:
        space: Any = environments[0].action_space
        middle, half = (space.high + space.low) / 2, (space.high - space.low) / 2
        std = np.exp(policy.arrays["log_std"]) if noise is None else np.full(len(half), noise, np.float32)

        def act(observations: list[Any]) -> np.ndarray:
            draws = random.standard_normal((len(observations), len(half)), dtype=np.float32)
            return middle + half * np.clip(policy.mean(np.array(observations)) + std * draws, -1.0, 1.0)

        return act

    return begin


def collect(
    env: str,
    begin: Begin,
    folder: Path,
    *,
    transitions: int,
    seed: int,
    key: str,
    show: Callable[[list[Episode]], None],
) -> list[Episode]:
    """Whole episodes until `transitions` are there, the waves so far read back from the folder.

    Args:
        env: the environment's id.
        begin: makes a wave's controller.
        folder: where waves are kept until the dataset is written.
        transitions: the last episode is the first that reaches this number.
        seed: of resets and of the controller.
        key: names everything the episodes depend on; waves with another key are made anew.
        show: called after every wave with the episodes so far.
    """
    episodes: list[Episode] = []
    environments: list[gym.Env] = []
    try:
        wave = 0
        while sum(map(len, episodes)) < transitions:
            file = folder / f"wave-{wave:05d}.safetensors"
            if not file.exists() or load_facts(file).get("key") != key:
                environments = environments or [make_environment(env, disable_env_checker=True) for _ in range(WAVE)]
                save_episodes(file, _wave(environments, begin, (seed, wave)), {"key": key})
            episodes += load_episodes(file)
            wave += 1
            show(episodes)
    finally:
        for environment in environments:
            environment.close()
    total, kept = 0, []
    for episode in episodes:
        if total >= transitions:
            break
        kept.append(episode)
        total += len(episode)
    return kept


def _wave(environments: list[gym.Env], begin: Begin, seeds: tuple[int, int]) -> list[Episode]:
    resets = np.random.SeedSequence((*seeds, 0)).generate_state(len(environments)) & 0x7FFFFFFF
    observations: list[list[Any]] = [
        [environment.reset(seed=int(reset))[0]] for environment, reset in zip(environments, resets, strict=True)
    ]
    act = begin(environments, np.random.default_rng((*seeds, 1)))
    actions: list[list[np.ndarray]] = [[] for _ in environments]
    rewards: list[list[float]] = [[] for _ in environments]
    episodes: dict[int, Episode] = {}
    while len(episodes) < len(environments):
        sent = act([seen[-1] for seen in observations])
        for index, environment in enumerate(environments):
            if index in episodes:
                continue
            observation, reward, over, short, _ = environment.step(sent[index])
            observations[index].append(observation)
            actions[index].append(sent[index])
            rewards[index].append(float(reward))
            if over or short:
                lists = (observations[index], actions[index], rewards[index])
                episodes[index] = close_episode(*lists, bool(over), bool(short), int(resets[index]))
    return [episodes[index] for index in range(len(environments))]
