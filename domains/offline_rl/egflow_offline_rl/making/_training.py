"""The policies and the stream of episodes that data is made from: one PPO training an environment and seed, kept.

The folder holds the training's state and the episodes seen before the medium checkpoint, so that a stopped training
goes on, and another quality of the same environment and seed starts from what is there.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors import safe_open
from safetensors.torch import save_file

from egflow._files import write_atomic
from egflow_offline_rl.making._episodes import Episode, GaussianPolicy, load_episodes, save_episodes
from egflow_offline_rl.making._ppo import PPO, PPOOptions

# Steps after which the training ends, by environment: where its curve is near its top.
BUDGETS = {
    "Hopper-v5": 600_000,
    "HalfCheetah-v5": 1_500_000,
    "Walker2d-v5": 1_200_000,
    "InvertedDoublePendulum-v5": 300_000,
    "Pendulum-v1": 300_000,
}
_RECENT = 20  # episodes in the mean that says how good a checkpoint is
_SAVE_EVERY = 8  # iterations


@dataclass(slots=True)
class Training:
    """What is known so far.

    Args:
        medium: the first policy whose last 20 training episodes reach the threshold.
        best: the policy with the highest such mean.
        medium_facts: steps and return_mean of `medium`; None until it is there.
        best_facts: the same of `best`.
        episodes: everything seen up to `medium`, in the order of their ends.
        recent: returns of the last 20 episodes.
        steps: environment steps so far.
        finished: whether the budget is spent.
    """

    medium: GaussianPolicy | None
    best: GaussianPolicy | None
    medium_facts: dict[str, float] | None
    best_facts: dict[str, float] | None
    episodes: list[Episode]
    recent: list[float]
    steps: int = 0
    finished: bool = False


def train(
    env: str,
    folder: Path,
    *,
    seed: int,
    threshold: float,
    until: str,
    versions: dict[str, str],
    show: Callable[[Training], None],
    budget: int | None = None,
    options: PPOOptions | None = None,
) -> Training:
    """Train, or go on training, until the medium checkpoint or the end of the budget.

    Args:
        env: the environment's id.
        folder: where state is kept; one that was made with other settings or versions is started anew.
        seed: of the training.
        threshold: mean return at which a checkpoint is medium.
        until: "medium" or "best" (the whole budget).
        versions: part of what must be equal for old state to be used.
        show: called after every iteration with what is known.
        budget: environment steps; None takes `BUDGETS`.
        options: of the PPO.
    """
    budget = BUDGETS[env] if budget is None else budget
    options = options or PPOOptions()
    key = {"env": env, "seed": seed, "threshold": threshold, "budget": budget, "versions": versions}
    key |= {"options": asdict(options)}
    training, stored = _load(folder, key)
    if training.finished or (until == "medium" and training.medium is not None):
        return training
    ppo = PPO(env, budget=budget, seed=seed, options=options)
    try:
        if stored is not None:
            ppo.restore(*stored)
        fresh, chunks = [], 0 if stored is None else len(list(folder.glob("episodes-*")))
        for iteration in ppo.run():
            training.steps, training.finished = ppo.steps, ppo.steps >= budget
            training.recent = [*training.recent, *(float(e.rewards.sum()) for e in iteration.episodes)][-_RECENT:]
            if training.medium is None:
                fresh += iteration.episodes
            full = len(training.recent) == _RECENT and len(iteration.episodes) > 0
            mean = float(np.mean(training.recent)) if full else -np.inf
            facts = {"steps": ppo.steps, "return_mean": mean}
            if full and (training.best_facts is None or mean > training.best_facts["return_mean"]):
                training.best, training.best_facts = iteration.policy, facts
            if full and training.medium is None and mean >= threshold:
                training.medium, training.medium_facts = iteration.policy, facts
            show(training)
            stop = training.finished or (until == "medium" and training.medium is not None)
            if stop or iteration.number % _SAVE_EVERY == 0:
                if fresh:
                    save_episodes(folder / f"episodes-{chunks:05d}.safetensors", fresh, {})
                    training.episodes += fresh
                    fresh, chunks = [], chunks + 1
                _save(folder, key, training, ppo, chunks)
            if stop:
                break
    finally:
        ppo.close()
    return training


def _save(folder: Path, key: dict[str, Any], training: Training, ppo: PPO, chunks: int) -> None:
    tensors, plain = ppo.state()
    for name, policy in (("medium", training.medium), ("best", training.best)):
        if policy is not None:
            tensors |= {f"{name}.{part}": torch.from_numpy(array.copy()) for part, array in policy.arrays.items()}
    facts = {"key": key, "ppo": plain, "chunks": chunks, "recent": training.recent, "finished": training.finished}
    facts |= {"medium": training.medium_facts, "best": training.best_facts, "steps": training.steps}
    write_atomic(
        folder / "state.safetensors", lambda temporary: save_file(tensors, temporary, {"facts": json.dumps(facts)})
    )


def _load(folder: Path, key: dict[str, Any]) -> tuple[Training, tuple[dict[str, torch.Tensor], dict[str, Any]] | None]:
    file = folder / "state.safetensors"
    if file.exists():
        with safe_open(file, framework="pt") as stored:
            facts = json.loads(stored.metadata()["facts"])
            tensors = {name: stored.get_tensor(name) for name in stored.keys()}  # noqa: SIM118  (no mapping)
        if facts["key"] == json.loads(json.dumps(key)):
            return _training(folder, facts, tensors), (tensors, facts["ppo"])
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    return Training(None, None, None, None, [], []), None


def _training(folder: Path, facts: dict[str, Any], tensors: dict[str, torch.Tensor]) -> Training:
    episodes: list[Episode] = []
    for number, file in enumerate(sorted(folder.glob("episodes-*.safetensors"))):
        if number < facts["chunks"]:
            episodes += load_episodes(file)
        else:
            file.unlink()  # written after the state that is gone on from: its episodes come again
    policies: dict[str, GaussianPolicy | None] = {}
    for name in ("medium", "best"):
        arrays = {
            part[len(name) + 1 :]: array.numpy() for part, array in tensors.items() if part.startswith(name + ".")
        }
        policies[name] = GaussianPolicy(arrays) if arrays else None
    return Training(
        **policies,
        medium_facts=facts["medium"],
        best_facts=facts["best"],
        episodes=episodes,
        recent=facts["recent"],
        steps=facts["steps"],
        finished=facts["finished"],
    )
