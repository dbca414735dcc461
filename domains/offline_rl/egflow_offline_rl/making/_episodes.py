"""Episodes as they happened, many of them in one safetensors file, and the policy of our PPO."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from safetensors import safe_open
from safetensors.numpy import save_file

from egflow._files import write_atomic

Observations = np.ndarray | dict[str, np.ndarray]


@dataclass(frozen=True, slots=True)
class Episode:
    """A whole episode: T + 1 observations (an array, or a dict of arrays), T of the rest.

    The actions are those that the environment got; the last observation is the true one, never that of a reset.
    """

    observations: Observations
    actions: np.ndarray
    rewards: np.ndarray
    terminations: np.ndarray
    truncations: np.ndarray
    seed: int

    def __len__(self) -> int:
        """The number of steps T."""
        return len(self.rewards)


def close_episode(
    observations: list[Any],
    actions: list[np.ndarray],
    rewards: list[float],
    terminated: bool,
    truncated: bool,
    seed: int,
) -> Episode:
    """An episode from its lists of steps; only its last step may be the end."""
    ends = np.zeros((2, len(rewards)), dtype=bool)
    ends[:, -1] = terminated, truncated
    if isinstance(observations[0], Mapping):
        stacked = {key: np.array([part[key] for part in observations]) for key in observations[0]}
    else:
        stacked = np.array(observations)
    return Episode(stacked, np.array(actions), np.array(rewards), ends[0], ends[1], seed)


def save_episodes(file: Path, episodes: list[Episode], facts: Mapping[str, Any]) -> None:
    """Write episodes one after the other, whole or not at all. Raises OSError if the disk is full."""
    keys: list[str | None] = [None]
    if episodes and isinstance(episodes[0].observations, dict):
        keys = list(episodes[0].observations)
    arrays = {
        "lengths": np.array([len(episode) for episode in episodes]),
        "seeds": np.array([episode.seed for episode in episodes]),
    }
    for field in ("actions", "rewards", "terminations", "truncations"):
        arrays[field] = np.concatenate([getattr(episode, field) for episode in episodes])
    for key in keys:
        parts: list[Any] = [episode.observations for episode in episodes]
        name = "observations" if key is None else f"observations.{key}"
        arrays[name] = np.concatenate(parts if key is None else [part[key] for part in parts])
    write_atomic(file, lambda temporary: save_file(arrays, temporary, {"facts": json.dumps(dict(facts))}))


def load_facts(file: Path) -> dict[str, Any]:
    """The facts beside the episodes in a file."""
    with safe_open(file, framework="numpy") as stored:
        return json.loads(stored.metadata()["facts"])


def load_episodes(file: Path) -> list[Episode]:
    """The episodes that `save_episodes` wrote."""
    with safe_open(file, framework="numpy") as stored:
        arrays = {key: stored.get_tensor(key) for key in stored.keys()}  # noqa: SIM118  (no mapping)
    names = [key for key in arrays if key.startswith("observations")]
    ends = np.cumsum(arrays["lengths"])
    episodes = []
    for number, (end, length) in enumerate(zip(ends, arrays["lengths"], strict=True)):
        rows, wide = slice(end - length, end), slice(end - length + number, end + number + 1)
        parts = {name.partition(".")[2]: arrays[name][wide] for name in names}
        fields = (arrays[field][rows] for field in ("actions", "rewards", "terminations", "truncations"))
        observations = parts.get("", parts)
        episodes.append(Episode(observations, *fields, seed=int(arrays["seeds"][number])))
    return episodes


@dataclass(frozen=True, slots=True)
class GaussianPolicy:
    """A tanh network from normalised observations to the mean of a normal distribution, in [-1, 1] units.

    Args:
        arrays: the weights by name (w0, b0, w1, b1, w2, b2), log_std (act,), shift and scale (obs,), all float32.
    """

    arrays: dict[str, np.ndarray]

    def mean(self, observations: np.ndarray) -> np.ndarray:
        """(n, obs) raw observations to (n, act) means."""
        return self.mean_of_normalised(self.normalise(observations))

    def normalise(self, observations: np.ndarray) -> np.ndarray:
        """(n, obs) raw to standardised, clipped at ±10, float32."""
        a = self.arrays
        return np.clip((observations - a["shift"]) * a["scale"], -10.0, 10.0).astype(np.float32)

    def mean_of_normalised(self, x: np.ndarray) -> np.ndarray:
        """(n, obs) standardised observations to (n, act) means."""
        a = self.arrays
        hidden = np.tanh(np.tanh(x @ a["w0"] + a["b0"]) @ a["w1"] + a["b1"])
        return hidden @ a["w2"] + a["b2"]
