"""A compact PPO for making data: 16 environments in a plain list, two tanh networks, every finished episode handed out.

Proximal policy optimisation (arXiv 1707.06347, equation 7) with generalised advantages (arXiv 1506.02438, equation
16), running normalisation of observations and rewards. Acting is numpy on a copy of the weights, learning is torch:
for networks this small, calls cost more than arithmetic.

Resumable exactly: every random draw is a function of (seed, iteration) or (seed, environment, episode), so the state
to keep is weights, moments, running statistics, and the actions of the episodes that are still open.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from egflow_offline_rl.environments import make_environment
from egflow_offline_rl.making._episodes import Episode, GaussianPolicy, close_episode

__all__ = ["PPO", "Iteration", "PPOOptions"]


@dataclass(frozen=True, slots=True)
class PPOOptions:
    """Numbers of the method; the defaults are CleanRL's and stable-baselines3's, but for the sizes.

    Args:
        environments: how many run side by side.
        horizon: steps of each environment an iteration.
        epochs: passes over an iteration's data.
        minibatch: rows of a gradient step.
        learning_rate: of Adam; falls in a straight line to a tenth over the first half of the budget.
        discount: of rewards, a step.
        gae: lambda of the generalised advantage.
        clip: of the probability ratio.
        width: of the two hidden layers.
    """

    environments: int = 16
    horizon: int = 128
    epochs: int = 10
    minibatch: int = 128
    learning_rate: float = 5e-4
    discount: float = 0.99
    gae: float = 0.95
    clip: float = 0.2
    width: int = 64


@dataclass(frozen=True, slots=True)
class Iteration:
    """One iteration: its number, all steps so far, the policy after it, and the episodes that ended in it."""

    number: int
    steps: int
    policy: GaussianPolicy
    episodes: list[Episode]


@dataclass(slots=True)
class _Open:
    """An episode under way."""

    seed: int
    observations: list[np.ndarray]
    actions: list[np.ndarray] = field(default_factory=list)
    rewards: list[float] = field(default_factory=list)


class PPO:
    """A training that is driven by iterating over `run`.

    Args:
        env_id: an environment with a vector of observations and a bounded Box of actions.
        budget: environment steps in all.
        seed: fixes everything, at one number of threads.
        options: see `PPOOptions`.
    """

    def __init__(self, env_id: str, *, budget: int, seed: int = 0, options: PPOOptions | None = None) -> None:
        self.options = options or PPOOptions()
        self.budget, self.seed, self.iteration = budget, seed, 0
        self.environments = [
            make_environment(env_id, disable_env_checker=True) for _ in range(self.options.environments)
        ]
        space: Any = self.environments[0].action_space
        self._middle, self._half = (space.high + space.low) / 2, (space.high - space.low) / 2
        self._started = [0] * len(self.environments)
        self._open = [self._begin(index) for index in range(len(self.environments))]
        observation_size, action_size = len(self._open[0].observations[0]), space.shape[0]
        generator = torch.Generator().manual_seed(seed)
        width = self.options.width
        self._actor = _weights((observation_size, width, width, action_size), 0.01, generator)
        self._critic = _weights((observation_size, width, width, 1), 1.0, generator)
        self._log_std = torch.zeros(action_size, requires_grad=True)
        self._parameters = [*self._actor, *self._critic, self._log_std]
        self._adam = torch.optim.Adam(self._parameters, lr=self.options.learning_rate, eps=1e-5, fused=True)
        self._observed = _Running(np.zeros(observation_size), np.ones(observation_size), 1e-4)
        self._returned = _Running(np.zeros(1), np.ones(1), 1e-4)
        self._running_return = np.zeros(len(self.environments))

    @property
    def steps(self) -> int:
        """Environment steps so far."""
        return self.iteration * self.options.horizon * self.options.environments

    @property
    def policy(self) -> GaussianPolicy:
        """A copy of the policy as it is now."""
        names = ("w0", "b0", "w1", "b1", "w2", "b2")
        arrays = {name: weight.detach().numpy().copy() for name, weight in zip(names, self._actor, strict=True)}
        arrays["log_std"] = self._log_std.detach().numpy().copy()
        arrays["shift"] = self._observed.mean.astype(np.float32)
        arrays["scale"] = (1.0 / np.sqrt(self._observed.variance + 1e-8)).astype(np.float32)
        return GaussianPolicy(arrays)

    def run(self) -> Iterator[Iteration]:
        """Iterations until the budget is spent; state is consistent (and may be saved) between them."""
        while self.steps < self.budget:
            rows, episodes = self._collect()
            self._update(rows)
            self.iteration += 1
            yield Iteration(self.iteration, self.steps, self.policy, episodes)

    def close(self) -> None:
        """Close the environments."""
        for environment in self.environments:
            environment.close()

    def _begin(self, index: int) -> _Open:
        sequence = np.random.SeedSequence((self.seed, index, self._started[index]))
        seed = int(sequence.generate_state(1)[0] & 0x7FFFFFFF)
        self._started[index] += 1
        observation, _ = self.environments[index].reset(seed=seed)
        return _Open(seed, [observation])

    def _collect(self) -> tuple[dict[str, np.ndarray], list[Episode]]:
        options, policy = self.options, self.policy
        random = np.random.default_rng((self.seed, 1, self.iteration))
        size, count = len(self._observed.mean), options.environments
        raw = np.empty((options.horizon, count, size))
        inputs = np.empty((options.horizon, count, size), np.float32)
        ends = np.zeros((options.horizon, count, size), np.float32)  # the true last observations of cut episodes
        actions = np.empty((options.horizon, count, len(self._half)), np.float32)
        rewards, terminated, cut = (np.zeros((options.horizon, count)) for _ in range(3))
        noise = random.standard_normal(actions.shape, dtype=np.float32) * np.exp(policy.arrays["log_std"])
        finished: list[Episode] = []
        for step in range(options.horizon):
            raw[step] = [episode.observations[-1] for episode in self._open]
            inputs[step] = policy.normalise(raw[step])
            actions[step] = policy.mean_of_normalised(inputs[step]) + noise[step]
            sent = self._middle + self._half * np.clip(actions[step], -1.0, 1.0)
            for index, environment in enumerate(self.environments):
                observation, reward, over, short, _ = environment.step(sent[index])
                episode = self._open[index]
                episode.observations.append(observation)
                episode.actions.append(sent[index])
                episode.rewards.append(float(reward))
                rewards[step, index], terminated[step, index] = reward, over
                if over or short:
                    cut[step, index] = short and not over
                    ends[step, index] = policy.normalise(episode.observations[-1][None])[0]
                    lists = (episode.observations, episode.actions, episode.rewards)
                    finished.append(close_episode(*lists, bool(over), bool(short), episode.seed))
                    self._open[index] = self._begin(index)
        last = policy.normalise(np.array([episode.observations[-1] for episode in self._open]))
        rows = {"inputs": inputs, "actions": actions, "terminated": terminated, "cut": cut, "ends": ends, "last": last}
        rows["rewards"] = self._scaled(rewards, np.maximum(terminated, cut))
        self._observed.add(raw.reshape(-1, size))
        return rows, finished

    def _scaled(self, rewards: np.ndarray, over: np.ndarray) -> np.ndarray:
        returns = np.empty_like(rewards)
        for step in range(len(rewards)):
            self._running_return = self._running_return * self.options.discount + rewards[step]
            returns[step] = self._running_return
            self._running_return = self._running_return * (1.0 - over[step])
        self._returned.add(returns.reshape(-1, 1))
        return np.clip(rewards / np.sqrt(self._returned.variance[0] + 1e-8), -10.0, 10.0)

    def _update(self, rows: dict[str, np.ndarray]) -> None:
        options = self.options
        with torch.no_grad():
            inputs, actions = torch.from_numpy(rows["inputs"]), torch.from_numpy(rows["actions"])
            values = _forward(self._critic, inputs).squeeze(-1).numpy()
            last = _forward(self._critic, torch.from_numpy(rows["last"])).squeeze(-1).numpy()
            ends = _forward(self._critic, torch.from_numpy(rows["ends"])).squeeze(-1).numpy()
            old = _log_density(_forward(self._actor, inputs), self._log_std, actions).flatten()
        following = np.concatenate([values[1:], last[None]])
        over = np.maximum(rows["terminated"], rows["cut"])
        following = np.where(over > 0, rows["cut"] * ends, following)
        advantages = generalised_advantages(
            rows["rewards"], values, following, over, options.discount, options.gae
        ).astype(np.float32)
        targets = torch.from_numpy(advantages + values).flatten()
        advantage = torch.from_numpy(advantages).flatten()
        inputs, actions = inputs.flatten(0, 1), actions.flatten(0, 1)
        for group in self._adam.param_groups:
            group["lr"] = options.learning_rate * (1.0 - 0.9 * min(1.0, 2.0 * self.steps / self.budget))
        random = np.random.default_rng((self.seed, 2, self.iteration))
        for _ in range(options.epochs):
            order = torch.from_numpy(random.permutation(len(targets)))
            for index in order.split(options.minibatch):
                self._gradient_step(inputs[index], actions[index], old[index], advantage[index], targets[index])

    def _gradient_step(self, inputs: Tensor, actions: Tensor, old: Tensor, advantage: Tensor, targets: Tensor) -> None:
        ratio = (_log_density(_forward(self._actor, inputs), self._log_std, actions) - old).exp()
        advantage = (advantage - advantage.mean()) / (advantage.std() + 1e-8)
        clipped = ratio.clamp(1.0 - self.options.clip, 1.0 + self.options.clip)
        gain = torch.minimum(ratio * advantage, clipped * advantage).mean()
        error = (_forward(self._critic, inputs).squeeze(-1) - targets).square().mean()
        self._adam.zero_grad(set_to_none=True)
        (0.5 * error - gain).backward()
        nn.utils.clip_grad_norm_(self._parameters, 0.5)
        self._adam.step()

    def state(self) -> tuple[dict[str, Tensor], dict[str, object]]:
        """Everything a later `restore` needs: tensors for safetensors, and plain data for JSON."""
        tensors = {f"parameter.{number}": weight.detach().clone() for number, weight in enumerate(self._parameters)}
        for number, weight in enumerate(self._parameters):
            for name, value in self._adam.state.get(weight, {}).items():
                tensors[f"adam.{number}.{name}"] = value.clone()
        for name, running in (("observed", self._observed), ("returned", self._returned)):
            tensors[f"{name}.mean"] = torch.from_numpy(running.mean.copy())
            tensors[f"{name}.variance"] = torch.from_numpy(running.variance.copy())
        tensors["running_return"] = torch.from_numpy(self._running_return.copy())
        for index, episode in enumerate(self._open):
            size = len(self._half)
            tensors[f"open.{index}"] = torch.from_numpy(np.array(episode.actions, np.float32).reshape(-1, size))
        counts = {"observed": self._observed.count, "returned": self._returned.count}
        return tensors, {"iteration": self.iteration, "started": list(self._started), "counts": counts}

    def restore(self, tensors: dict[str, Tensor], plain: dict[str, object]) -> None:
        """Go on from a `state`. The open episodes are played again, action by action."""
        self.iteration = int(plain["iteration"])  # pyright: ignore[reportArgumentType]  (JSON)
        with torch.no_grad():
            for number, weight in enumerate(self._parameters):
                weight.copy_(tensors[f"parameter.{number}"])
                names = ("step", "exp_avg", "exp_avg_sq")
                if f"adam.{number}.step" in tensors:
                    self._adam.state[weight] = {name: tensors[f"adam.{number}.{name}"].clone() for name in names}
        for name, running in (("observed", self._observed), ("returned", self._returned)):
            running.mean, running.variance = tensors[f"{name}.mean"].numpy(), tensors[f"{name}.variance"].numpy()
            running.count = plain["counts"][name]  # pyright: ignore[reportIndexIssue]  (JSON)
        self._running_return = tensors["running_return"].numpy()
        started: list[int] = plain["started"]  # pyright: ignore[reportAssignmentType]  (JSON)
        for index, environment in enumerate(self.environments):
            self._started[index] = started[index] - 1
            episode = self._open[index] = self._begin(index)
            for action in tensors[f"open.{index}"].numpy():
                observation, reward, _, _, _ = environment.step(action)
                episode.observations.append(observation)
                episode.actions.append(action)
                episode.rewards.append(float(reward))


@dataclass(slots=True)
class _Running:
    """Mean and variance of all rows seen (Chan et al. 1979, the parallel update)."""

    mean: np.ndarray
    variance: np.ndarray
    count: float

    def add(self, rows: np.ndarray) -> None:
        mean, variance, count = rows.mean(0), rows.var(0), len(rows)
        total = self.count + count
        apart = mean - self.mean
        self.mean = self.mean + apart * count / total
        spread = self.variance * self.count + variance * count + apart**2 * self.count * count / total
        self.variance, self.count = spread / total, total


def generalised_advantages(
    rewards: np.ndarray, values: np.ndarray, following: np.ndarray, over: np.ndarray, discount: float, gae: float
) -> np.ndarray:
    """sum_k (discount · gae)**k · (r + discount · V(next) − V)(t + k), to the end of the episode or of the rows.

    Args:
        rewards: (T, n).
        values: (T, n), V of the observation acted on.
        following: (T, n), V of the true next observation; 0 after a termination.
        over: (T, n), 1 where an episode ended, by termination or time limit.
        discount: of rewards, a step.
        gae: lambda of arXiv 1506.02438, equation 16.
    """
    errors = rewards + discount * following - values
    advantages, running = np.empty_like(errors), np.zeros(errors.shape[1])
    for step in reversed(range(len(errors))):
        running = errors[step] + discount * gae * (1.0 - over[step]) * running
        advantages[step] = running
    return advantages


def _weights(sizes: tuple[int, ...], last_gain: float, generator: torch.Generator) -> list[Tensor]:
    tensors: list[Tensor] = []
    for layer, (inputs, outputs) in enumerate(pairwise(sizes)):
        gain = last_gain if layer == len(sizes) - 2 else 2.0**0.5
        weight = torch.empty(inputs, outputs)
        nn.init.orthogonal_(weight, gain, generator=generator)
        tensors += [weight.requires_grad_(), torch.zeros(outputs, requires_grad=True)]
    return tensors


def _forward(weights: list[Tensor], x: Tensor) -> Tensor:
    w0, b0, w1, b1, w2, b2 = weights
    return torch.tanh(torch.tanh(x @ w0 + b0) @ w1 + b1) @ w2 + b2


def _log_density(mean: Tensor, log_std: Tensor, actions: Tensor) -> Tensor:
    return (-0.5 * ((actions - mean) / log_std.exp()).square() - log_std).sum(-1)  # constants cancel in the ratio
