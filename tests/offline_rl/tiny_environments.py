"""Environments small enough to know every return by heart."""

from __future__ import annotations

from typing import Any

import gymnasium as gym
import numpy as np
from gymnasium.spaces import Box, Dict, Discrete


class Ladder(gym.Env):
    """Reward 1 a step plus a fraction of the action; the i-th environment made lives i + 1 steps.

    Even ones terminate, odd ones are truncated. After its end an environment must not be stepped again.
    """

    made = 0
    seeds: list[int]

    def __init__(self, dictionary: bool = False, discrete: bool = False, reward: float = 1.0) -> None:
        plain = Box(-np.inf, np.inf, (2,), np.float64)
        self.observation_space = Dict(observation=plain, desired_goal=plain) if dictionary else plain
        self.action_space = (
            Discrete(2) if discrete else Box(np.array([-1.0, 0.0], np.float32), np.array([1.0, 4.0], np.float32))
        )
        self.life, self.age, self.over, self.reward = Ladder.made + 1, 0, True, reward
        Ladder.made += 1

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[Any, dict[str, Any]]:
        super().reset(seed=seed)
        self.age, self.over, self.start = 0, False, float(self.np_random.uniform())
        return self._see(), {}

    def step(self, action: Any) -> tuple[Any, float, bool, bool, dict[str, Any]]:
        assert not self.over, "stepped after its end"
        self.age += 1
        self.over = self.age >= self.life
        reward = self.reward + 0.25 * float(action[0])
        return self._see(), reward, self.over and self.life % 2 == 0, self.over and self.life % 2 == 1, {}

    def _see(self) -> Any:
        seen = np.array([self.start, float(self.age)])
        if isinstance(self.observation_space, Dict):
            return {"desired_goal": -seen, "observation": seen}
        return seen


class Still:
    """A policy whose action is a constant; it notes how many rows it was given, and the seeds."""

    def __init__(self, value: float = 0.0) -> None:
        self.value, self.rows, self.seeds, self.seen = value, list[int](), list[int | None](), list[np.ndarray]()

    def act(self, observation: np.ndarray, *, seed: int | None = None) -> np.ndarray:
        self.rows.append(len(observation))
        self.seeds.append(seed)
        self.seen.append(observation.copy())
        return np.full((len(observation), 2), self.value, dtype=np.float32)


def ladder(**options: Any) -> Any:
    """A function that makes ladders, the first of which lives one step."""
    Ladder.made = 0
    return lambda: Ladder(**options)
