"""The PPO that makes data: its advantages by hand, exact resumption, and that it learns."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import gymnasium as gym
import numpy as np
import pytest
import torch
from egflow_offline_rl.making._episodes import Episode
from egflow_offline_rl.making._ppo import PPO, PPOOptions, _Running, generalised_advantages

SMALL = PPOOptions(environments=4, horizon=32, epochs=4, minibatch=32, learning_rate=3e-3, width=16)


class Follow(gym.Env):
    """Reward −(a − s)² for the number s on show; 10 steps, or fewer where s comes close to 1."""

    observation_space = gym.spaces.Box(-1.0, 1.0, (1,), np.float64)
    action_space = gym.spaces.Box(np.float32(-3.0), np.float32(1.0), (1,), np.float32)

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None):
        super().reset(seed=seed)
        return self._next(), {}

    def step(self, action: np.ndarray):
        assert self.action_space.contains(action)
        reward = -float((action[0] - self.shown[0]) ** 2)
        return self._next(), reward, bool(self.shown[0] > 0.98), False, {}

    def _next(self) -> np.ndarray:
        self.shown = self.np_random.uniform(-1.0, 1.0, 1)
        return self.shown


@pytest.fixture(autouse=True)
def follow() -> Iterator[None]:
    gym.register("Follow-v0", Follow, max_episode_steps=10)  # pyright: ignore[reportArgumentType]
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)
    gym.registry.pop("Follow-v0")


def played(ppo: PPO, iterations: int) -> list[Episode]:
    run = ppo.run()
    return [episode for _ in range(iterations) for episode in next(run).episodes]


def test_advantages_by_enumeration() -> None:
    random = np.random.default_rng(0)
    rewards, values, following = random.normal(size=(3, 5, 2))
    over = np.zeros((5, 2))
    over[2, 0] = 1.0
    got = generalised_advantages(rewards, values, following, over, 0.9, 0.8)
    errors = rewards + 0.9 * following - values
    for column in range(2):
        for start in range(5):
            total = 0.0
            for step in range(start, 5):
                total += 0.72 ** (step - start) * errors[step, column]
                if over[step, column]:
                    break
            assert got[start, column] == pytest.approx(total)


def test_with_lambda_one_an_advantage_is_the_return_less_the_value() -> None:
    rewards, values = np.ones((4, 1)), np.full((4, 1), 3.0)
    terminated = generalised_advantages(rewards, values, np.array([[3.0], [3], [3], [0]]), np.eye(4)[:, [3]], 0.5, 1.0)
    assert terminated[:, 0] + 3.0 == pytest.approx([1.875, 1.75, 1.5, 1.0])
    cut = generalised_advantages(rewards, values, np.array([[3.0], [3], [3], [8]]), np.eye(4)[:, [3]], 0.5, 1.0)
    assert cut[:, 0] + 3.0 == pytest.approx([1.875 + 0.5, 1.75 + 1, 1.5 + 2, 1.0 + 4])  # 8 · .5**steps left


def test_running_statistics_are_those_of_all_rows() -> None:
    rows = np.random.default_rng(1).normal(3.0, 2.0, (90, 2))
    running = _Running(np.zeros(2), np.ones(2), 0.0)
    for part in np.split(rows, (7, 50)):
        running.add(part)
    assert running.mean == pytest.approx(rows.mean(0)) and running.variance == pytest.approx(rows.var(0))


def test_episodes_are_whole_and_as_the_environment_plays_them() -> None:
    ppo = PPO("Follow-v0", budget=10_000, options=SMALL)
    episodes = played(ppo, 4)
    ppo.close()
    assert len(episodes) > 20
    assert {len(episode) for episode in episodes} > {10}  # both ends occur
    environment = gym.make("Follow-v0")
    for episode in episodes:
        assert len(episode.observations) == len(episode) + 1
        assert not episode.terminations[:-1].any() and not episode.truncations[:-1].any()
        assert episode.terminations[-1] == (episode.observations[-1] > 0.98)
        assert episode.truncations[-1] == (len(episode) == 10)
        seen = [environment.reset(seed=episode.seed)[0]]
        for action, reward in zip(episode.actions, episode.rewards, strict=True):
            observation, got, _, _, _ = environment.step(action)
            seen.append(observation)
            assert got == reward
        assert np.array_equal(seen, episode.observations)


def test_it_learns() -> None:
    ppo = PPO("Follow-v0", budget=5_000, options=SMALL)
    returns = [float(episode.rewards.mean()) for episode in played(ppo, 39)]
    shown = np.linspace(-0.9, 0.9, 7)[:, None]
    meant = -1.0 + 2.0 * ppo.policy.mean(shown)  # the middle and the half width of the action range
    ppo.close()
    assert np.mean(returns[:40]) < -1.5  # random: the actions' middle is −1, the shown number's 0
    assert np.mean(returns[-40:]) > -1.0
    assert np.corrcoef(meant[:, 0], shown[:, 0])[0, 1] > 0.9


def test_a_restored_training_goes_on_as_if_never_stopped() -> None:
    whole, first, second = (PPO("Follow-v0", budget=5_000, seed=3, options=SMALL) for _ in range(3))
    expected = played(whole, 4)
    got = played(first, 2)
    assert any(len(episode.actions) > 0 for episode in first._open), "episodes are under way"
    played(second, 1)  # whatever it did before must not matter
    second.restore(*first.state())
    got += played(second, 2)
    assert len(got) == len(expected)
    for one, other in zip(got, expected, strict=True):
        assert np.array_equal(one.observations, other.observations) and np.array_equal(one.actions, other.actions)
    assert all(np.array_equal(second.policy.arrays[key], array) for key, array in whole.policy.arrays.items())
    assert second.steps == whole.steps == 4 * 32 * 4
    for ppo in (whole, first, second):
        ppo.close()


def test_seeds_differ() -> None:
    policies = []
    for seed in (0, 1, 0):
        ppo = PPO("Follow-v0", budget=5_000, seed=seed, options=SMALL)
        played(ppo, 1)
        policies.append(ppo.policy.arrays)
        ppo.close()
    assert np.array_equal(policies[0]["w0"], policies[2]["w0"])
    assert not np.array_equal(policies[0]["w0"], policies[1]["w0"])
