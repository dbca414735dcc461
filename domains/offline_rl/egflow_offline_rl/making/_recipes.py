"""What the episodes of a quality are: which policies, how many episodes of each, and what is to be known of them."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from egflow_offline_rl._progress import StepsLine
from egflow_offline_rl.environments import reference_scores
from egflow_offline_rl.making._collect import Begin, collect, gaussian
from egflow_offline_rl.making._episodes import Episode, GaussianPolicy
from egflow_offline_rl.making._training import BUDGETS, Training, train
from egflow_offline_rl.making._waypoints import NOISE, OWN_GOALS, REFERENCES, waypoints

_EXPERT_NOISE = 0.1  # standard deviation, in half widths of the action range

Made = tuple[list[Episode], dict[str, Any]]


@dataclass(frozen=True, slots=True)
class Order:
    """What was asked for, and where its parts are kept until it is whole.

    Args:
        env: the environment's id.
        quality: medium, medium-replay or medium-expert.
        transitions: how many.
        seed: of training, resets and noise.
        training: folder of the training, shared by the qualities of one environment and seed.
        parts: folder of this dataset's own episodes.
        versions: of what decides the data; other versions' parts are made anew.
        progress: "auto", "plain" or "none".
        budget: environment steps of the training, None for the measured ones.
    """

    env: str
    quality: str
    transitions: int
    seed: int
    training: Path
    parts: Path
    versions: dict[str, str]
    progress: str
    budget: int | None


def make_episodes(order: Order) -> Made:
    """The episodes asked for, and facts for the metadata ("policy", "notes" for people, and more)."""
    if order.env in REFERENCES:
        facts = {"policy": "waypoints", "own_goals": OWN_GOALS, "noise": NOISE, "notes": []}
        own = {"own_goals": OWN_GOALS, "noise": NOISE}
        return _collected(order, "waypoint", waypoints(OWN_GOALS, NOISE), own, order.transitions), facts
    low, high = reference_scores(order.env) or (0.0, 0.0)
    threshold = low + (high - low) / 3
    training = _trained(order, threshold)
    facts = {"policy": "PPO, 64x64 tanh, normal distribution", "threshold": threshold, "notes": []}
    medium, facts["medium"] = training.medium, training.medium_facts
    if medium is None:
        if training.best is None or training.best_facts is None:
            raise RuntimeError(f"{order.env}: too few episodes ended in {training.steps} steps of training")
        medium, facts["medium"] = training.best, training.best_facts
        reached = training.best_facts["return_mean"]
        facts["notes"].append(f"no policy reached {threshold:.0f}; the best stands for medium, at {reached:.0f}")
    if order.quality == "medium-replay":
        return _replayed(order, training.episodes, facts), facts
    half = order.transitions if order.quality == "medium" else order.transitions // 2
    episodes = _collected(order, "medium", gaussian(medium, None), _digest(medium), half)
    if order.quality == "medium-expert":
        best = training.best
        assert best is not None
        facts |= {"expert": training.best_facts, "expert_noise": _EXPERT_NOISE, "medium_episodes": len(episodes)}
        rest = order.transitions - half
        episodes += _collected(order, "expert", gaussian(best, _EXPERT_NOISE), _digest(best), rest)
    return episodes, facts


def thin(episodes: list[Episode], transitions: int) -> list[Episode]:
    """Every k-th episode (k no whole number), so many that their transitions come nearest to what is asked.

    Which episodes are kept depends on their places only: a rule that looked at single lengths would prefer short ones.
    """
    lengths = np.array([len(episode) for episode in episodes])

    def places(count: int) -> np.ndarray:
        return ((np.arange(count) + 0.5) * len(episodes) / count).astype(int)

    best = min(range(1, len(episodes) + 1), key=lambda count: abs(int(lengths[places(count)].sum()) - transitions))
    return [episodes[place] for place in places(best)]


def _trained(order: Order, threshold: float) -> Training:
    label = f"training a policy ({order.env}, medium at {threshold:.0f})"
    with StepsLine(label, order.budget or BUDGETS[order.env], order.progress) as line:

        def show(training: Training) -> None:
            mean = float(np.mean(training.recent)) if training.recent else float("nan")
            line.show(training.steps, f"return {mean:.0f}")

        return train(
            order.env,
            order.training,
            seed=order.seed,
            threshold=threshold,
            until="best" if order.quality == "medium-expert" else "medium",
            versions=order.versions,
            show=show,
            budget=order.budget,
        )


def _replayed(order: Order, episodes: list[Episode], facts: dict[str, Any]) -> list[Episode]:
    seen = facts["transitions_seen"] = sum(map(len, episodes))
    if seen < order.transitions:
        facts["notes"].append(f"the training saw {seen} transitions before its medium policy: all are here")
    if seen <= order.transitions:
        return episodes
    facts["notes"].append(f"whole episodes evenly thinned from {seen} transitions to about {order.transitions}")
    return thin(episodes, order.transitions)


def _collected(order: Order, name: str, begin: Begin, policy: object, transitions: int) -> list[Episode]:
    key = {"env": order.env, "seed": order.seed, "name": name, "versions": order.versions, "policy": policy}
    with StepsLine(f"episodes of the {name} policy", transitions, order.progress) as line:

        def show(episodes: list[Episode]) -> None:
            mean = float(np.mean([episode.rewards.sum() for episode in episodes]))
            line.show(sum(map(len, episodes)), f"return {mean:.0f}")

        return collect(
            order.env,
            begin,
            order.parts / name,
            transitions=transitions,
            seed=int(np.random.SeedSequence((order.seed, *name.encode())).generate_state(1)[0]),
            key=hashlib.sha256(json.dumps(key, sort_keys=True).encode()).hexdigest(),
            show=show,
        )


def _digest(policy: GaussianPolicy) -> str:
    return hashlib.sha256(b"".join(policy.arrays[name].tobytes() for name in sorted(policy.arrays))).hexdigest()
