"""Each episode runs to its own first end, from its own seed; what cannot be evaluated is refused in one line."""

from __future__ import annotations

import gymnasium as gym
import numpy as np
import pytest
from egflow_offline_rl.evaluation import evaluate_policy, normalized_scores
from tiny_environments import Still, ladder

pytestmark = pytest.mark.filterwarnings("ignore:.*sets no limit of steps")


def test_every_episode_ends_at_its_own_first_end() -> None:
    policy = Still(0.5)
    found = evaluate_policy(policy, episodes=5, env=ladder())
    # lives 1 … 5, terminated and truncated alike; reward 1 + .25·.5 a step. An environment that resets by itself, or
    # one end too many, would change these
    assert found.lengths.tolist() == [1, 2, 3, 4, 5]
    assert found.returns.dtype == np.float64 and found.returns.tolist() == [1.125 * n for n in (1, 2, 3, 4, 5)]
    assert found.mean == pytest.approx(3.375) and found.std == pytest.approx(1.125 * np.std([1, 2, 3, 4, 5], ddof=1))
    assert found.stderr == pytest.approx(found.std / 5**0.5)


def test_only_those_alive_are_asked_for_and_each_with_its_own_observation() -> None:
    policy = Still()
    evaluate_policy(policy, episodes=4, env=ladder())
    assert policy.rows == [4, 3, 2, 1]
    assert [rows[:, 1].tolist() for rows in policy.seen] == [[0.0] * 4, [1.0] * 3, [2.0] * 2, [3.0]]
    starts = policy.seen[0][:, 0]
    assert all(np.array_equal(rows[:, 0], starts[4 - len(rows) :]) for rows in policy.seen)
    assert len(set(policy.seeds)) == 4  # the policy's noise is new each step


def test_deterministic_and_the_first_episodes_stay_the_same() -> None:
    runs = []
    for episodes, seed in ((3, 0), (3, 0), (3, 1), (5, 0)):
        policy = Still()
        evaluate_policy(policy, episodes=episodes, seed=seed, env=ladder())
        runs.append((policy.seen[0][:3, 0].tolist(), policy.seeds[:3]))
    assert runs[0] == runs[1] == runs[3] and runs[0][0] != runs[2][0] and runs[0][1] != runs[2][1]
    assert len(set(runs[0][0])) == 3


def test_dict_observations_come_flattened_in_the_stated_order() -> None:
    policy = Still()
    evaluate_policy(policy, episodes=1, env=ladder(dictionary=True))
    seen = policy.seen[0]
    assert seen.shape == (1, 4) and seen.dtype == np.float32
    assert np.array_equal(seen[:, :2], -seen[:, 2:]) and seen[0, 0] > 0


def test_a_real_environment_is_cut_at_its_limit() -> None:
    class Swing:
        env_spec = gym.spec("Pendulum-v1")
        reference = None

        def act(self, observation: np.ndarray, *, seed: int | None = None) -> np.ndarray:
            return np.zeros((len(observation), 1), dtype=np.float32)

    first, second = (evaluate_policy(Swing(), episodes=3) for _ in range(2))
    assert first.lengths.tolist() == [200] * 3 and np.array_equal(first.returns, second.returns)
    # by hand, one episode at a time
    from egflow.training import mix

    environment = gym.make("Pendulum-v1")
    environment.reset(seed=mix(0, 1) % 2**31)
    total = sum(float(environment.step(np.zeros(1, dtype=np.float32))[1]) for _ in range(200))
    assert first.returns[1] == pytest.approx(total, abs=1e-9)
    assert first.actions_per_second > 0 and first.seconds > 0


def test_normalised_by_the_datas_own_reference_first() -> None:
    returns = np.array([-20.272305, 3234.3])
    scores, words = normalized_scores(returns, "Hopper-v5", (0.0, 1000.0))
    assert scores is not None and scores[1] == pytest.approx(323.43) and "dataset" in words
    scores, words = normalized_scores(returns, "Hopper-v5", None)
    assert scores is not None and scores.tolist() == pytest.approx([0.0, 100.0]) and "Hopper-v5" in words
    assert normalized_scores(returns, "Swimmer-v5", None)[0] is None


def test_refused_in_one_line() -> None:
    for arguments, expected in (
        ({"episodes": 0, "env": ladder()}, "episodes must be a whole number of at least 1, got 0"),
        ({}, 'give one, as in env="Hopper-v5"'),
        ({"env": ladder(discrete=True)}, "actions must be continuous"),
        ({"env": ladder(reward=float("nan"))}, "the reward of episode 0 is nan"),
        ({"env": "Hoper-v5"}, "Hoper"),
    ):
        with pytest.raises(ValueError) as error:
            evaluate_policy(Still(), **arguments)  # type: ignore[arg-type]
        assert expected in str(error.value) and "\n" not in str(error.value)


def test_an_episode_without_an_end_is_cut(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("egflow_offline_rl.evaluation.LONGEST", 3)
    with pytest.warns(UserWarning, match="cut at 3"):
        found = evaluate_policy(Still(), episodes=5, env=ladder())
    assert found.lengths.tolist() == [1, 2, 3, 3, 3]


def test_a_datas_reference_is_of_its_own_environment() -> None:
    """Another environment's returns are not normalised by it."""

    class Idle:
        env_spec = gym.spec("Pendulum-v1")
        reference = (-2000.0, 0.0)

        def act(self, observation: np.ndarray, *, seed: int | None = None) -> np.ndarray:
            return np.zeros((len(observation), 1), dtype=np.float32)

    own = evaluate_policy(Idle(), episodes=1)
    other = evaluate_policy(Idle(), episodes=1, env="Pendulum-v1")
    assert own.normalized is not None and "dataset's own" in own.reference
    assert own.normalized[0] == pytest.approx(100 * (own.returns[0] + 2000) / 2000)
    assert other.normalized is not None and "table's" in other.reference
