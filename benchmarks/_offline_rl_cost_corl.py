"""`suite=offline_rl_cost` with CORL's single files, in the loop they have: sample, train; `wandb.log` is left out.

They name d4rl, gym, pyrallis and wandb at import, whose places are held by empty modules: what runs is their buffer,
networks, `train` and `eval_actor`, the last on an environment with the old interface of Gym.
"""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import torch
from _offline_rl_cost_job import ACTION, BATCH, EPISODES, OBSERVATION, N, Work, hopper, rows, serve


def works(folder: Path) -> dict[str, Work]:
    """Networks and rates as their `train` sets them: 2 x 256, Adam at 3e-4."""
    for name in ("d4rl", "gym", "pyrallis", "wandb"):
        sys.modules[name] = ModuleType(name)
    sys.modules["gym"].__dict__["Env"] = object
    sys.modules["pyrallis"].__dict__["wrap"] = lambda: lambda function: function
    made: dict[str, Work] = {}
    for name, file, trainer in (("td3bc", "td3_bc.py", td3bc), ("iql", "iql.py", iql)):
        corl = load(folder / file)
        buffer = corl.ReplayBuffer(OBSERVATION, ACTION, N, "cpu")
        buffer.load_d4rl_dataset(rows())
        method = trainer(corl)
        made[name] = training(method, buffer)
        made[f"evaluation {name}"] = evaluating(corl, method.actor)
    return made


def load(file: Path) -> ModuleType:
    spec = importlib.util.spec_from_file_location(f"corl_{file.stem}", file)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module  # its dataclasses look themselves up
    spec.loader.exec_module(module)
    return module


def adam(network: torch.nn.Module) -> torch.optim.Adam:
    return torch.optim.Adam(network.parameters(), lr=3e-4)


def td3bc(corl: ModuleType) -> Any:
    actor, q_1, q_2 = corl.Actor(OBSERVATION, ACTION, 1.0), *(corl.Critic(OBSERVATION, ACTION) for _ in range(2))
    return corl.TD3_BC(1.0, actor, adam(actor), q_1, adam(q_1), q_2, adam(q_2))


def iql(corl: ModuleType) -> Any:
    actor = corl.GaussianPolicy(OBSERVATION, ACTION, 1.0)
    q, v = corl.TwinQ(OBSERVATION, ACTION), corl.ValueFunction(OBSERVATION)
    return corl.ImplicitQLearning(1.0, actor, adam(actor), q, adam(q), v, adam(v))


def training(method: Any, buffer: Any) -> Work:
    def train(steps: int) -> None:
        for _ in range(steps):
            method.train([column.to("cpu") for column in buffer.sample(BATCH)])

    return train


def evaluating(corl: ModuleType, actor: Any) -> Work:
    return lambda length: corl.eval_actor(OldGym(length), actor, "cpu", EPISODES, 0)


class OldGym:
    """An environment as Gym had it: `seed`, and steps with one `done`."""

    def __init__(self, length: int) -> None:
        self.environment, self.next_seed = hopper(length), None

    def seed(self, seed: int) -> None:
        self.next_seed = seed

    def reset(self) -> np.ndarray:
        seed, self.next_seed = self.next_seed, None
        return self.environment.reset(seed=seed)[0]

    def step(self, action: np.ndarray) -> tuple[np.ndarray, float, bool, dict[str, Any]]:
        observation, reward, terminated, truncated, facts = self.environment.step(action)
        return observation, reward, terminated or truncated, facts


if __name__ == "__main__":
    serve(lambda: works(Path(sys.argv[1])))
