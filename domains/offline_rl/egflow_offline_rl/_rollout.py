"""One episode of a policy, step by step, and its frames where a renderer works.

Frames are drawn in a process of their own that repeats the recorded actions: a renderer that crashes takes no run down,
and MUJOCO_GL has to be set before mujoco is imported.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import gymnasium as gym
import numpy as np

from egflow_offline_rl.environments import flatten_observation, make_environment
from egflow_offline_rl.evaluation import evaluate_policy
from egflow_offline_rl.policy import Policy

if TYPE_CHECKING:
    from gymnasium.envs.registration import EnvSpec

FRAMES = 8
_SECONDS = 120  # a renderer may take


@dataclass(frozen=True, slots=True, eq=False)
class Rollout:
    """An episode.

    Attributes:
        observations: (T + 1, obs). actions: (T, act), as the environment got them. rewards: (T,).
        frames: (k, height, width, 3) uint8 with the steps (k,) they are of, or None.
        words: why there are no frames, or empty.
    """

    observations: np.ndarray
    actions: np.ndarray
    rewards: np.ndarray
    frames: np.ndarray | None
    frame_steps: np.ndarray
    words: str


class Recorder(gym.Wrapper):
    """Notes what passes through."""

    def __init__(self, env: gym.Env) -> None:
        super().__init__(env)
        self.observations: list[np.ndarray] = []
        self.actions: list[np.ndarray] = []
        self.rewards: list[float] = []
        self.seed: int | None = None

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[Any, dict[str, Any]]:
        observation, info = self.env.reset(seed=seed, options=options)
        self.seed, self.observations = seed, [flatten_observation(observation)]
        return observation, info

    def step(self, action: Any) -> tuple[Any, Any, bool, bool, dict[str, Any]]:
        observation, reward, terminated, truncated, info = self.env.step(action)
        self.observations.append(flatten_observation(observation))
        self.actions.append(np.array(action))
        self.rewards.append(float(reward))
        return observation, reward, terminated, truncated, info


def roll_out(policy: Policy, env: str | EnvSpec, seed: int) -> Rollout:
    """The first episode of an evaluation with this seed, alone, with frames if that can be."""
    recorders: list[Recorder] = []

    def make() -> gym.Env:
        recorders.append(Recorder(make_environment(env)))
        return recorders[0]

    evaluate_policy(policy, episodes=1, seed=seed, env=make)
    seen = recorders[0]
    actions = np.stack(seen.actions)
    steps = np.unique(np.linspace(0, len(actions), FRAMES).round().astype(int))
    frames, words = render(env, seen.seed or 0, actions, steps)
    return Rollout(np.stack(seen.observations), actions, np.array(seen.rewards), frames, steps, words)


def render(env: str | EnvSpec, seed: int, actions: np.ndarray, steps: np.ndarray) -> tuple[np.ndarray | None, str]:
    """Frames (k, height, width, 3) after some steps (k,) of an episode, by repeating its actions; or None, and why."""
    chosen = os.environ.get("MUJOCO_GL")
    tried = [chosen] if chosen else ["egl", "osmesa"] if _is_mujoco(env) else ["egl"]
    reasons = []
    with tempfile.TemporaryDirectory() as folder:
        ask, answer = Path(folder) / "ask.npz", Path(folder) / "frames.npy"
        text = env if isinstance(env, str) else env.to_json()
        np.savez(ask, env=text, is_spec=not isinstance(env, str), seed=seed, actions=actions, steps=steps)
        for backend in tried:
            settings = {
                **os.environ,
                "MUJOCO_GL": backend,
                "SDL_VIDEODRIVER": "dummy",
                "PYGAME_HIDE_SUPPORT_PROMPT": "1",
            }
            try:
                done = subprocess.run(
                    [sys.executable, "-m", "egflow_offline_rl._frames", str(ask), str(answer)],
                    env=settings, cwd=folder, capture_output=True, text=True, timeout=_SECONDS,
                )  # fmt: skip
            except (OSError, subprocess.TimeoutExpired) as error:
                reasons.append(f"{type(error).__name__} (MUJOCO_GL={backend})")
                continue
            if done.returncode == 0 and answer.is_file():
                return np.load(answer, allow_pickle=False), ""
            last = (done.stderr.strip().splitlines() or [f"exit code {done.returncode}"])[-1]
            reasons.append(f"{last[:120]} (MUJOCO_GL={backend})")
    return None, f"no frames, for no renderer works here: {reasons[0]}"


def _is_mujoco(env: str | EnvSpec) -> bool:
    spec = gym.registry.get(env) if isinstance(env, str) else env
    return spec is None or any(word in str(spec.entry_point) for word in ("mujoco", "robotics"))
