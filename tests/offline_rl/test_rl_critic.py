"""The in-support critic, its checks, and the loop that trains learners."""

from __future__ import annotations

import copy
import signal
from pathlib import Path

import pytest
import torch
from egflow_offline_rl._learn import learn
from egflow_offline_rl.critic import InSupportCritic, check_critic, evaluate_support, soft_value
from egflow_offline_rl.dataset import Transitions
from egflow_offline_rl.replay import Replay, Scaling, held_out_rows
from torch import Tensor

from egflow.training import TrainingError, TrainingOptions

QUIET = TrainingOptions(progress="quiet", log_every=5)


def rows(n: int, seed: int = 0, m: int = 3) -> Replay:
    g = torch.Generator().manual_seed(seed)
    return Replay(
        torch.randn(n, 4, generator=g),
        torch.rand(n, 2, generator=g) * 2 - 1,
        torch.randn(n, generator=g),
        torch.randn(n, 4, generator=g),
        (torch.rand(n, generator=g) < 0.3).float(),
        torch.rand(n, m, 2, generator=g) * 2 - 1,
    )


def naive_q(critic: torch.nn.Module, member: int, observations: Tensor, actions: Tensor) -> Tensor:
    """One member of a twin Q, written out."""
    weights, biases = critic.body.weights, critic.body.biases
    h = torch.cat([observations, actions], 1)
    for layer in range(len(weights)):
        h = h @ weights[layer][member] + biases[layer][member]
        h = torch.relu(h) if layer < len(weights) - 1 else h
    return h[:, 0]


def test_one_update_is_the_papers() -> None:
    """V = Σ softmax(α min Q̄) min Q̄ over the support, masked by terminations alone; both members regress on it."""
    torch.manual_seed(0)
    critic, batch = InSupportCritic(4, 2, width=8, discount=0.9, temperature=2.0, tau=0.25), rows(6)
    before = copy.deepcopy(critic)
    support = batch.next_support
    assert support is not None
    backup = torch.zeros(6)
    for i in range(6):
        values = torch.stack([
            torch.cat([naive_q(before.slow, k, batch.next_observations[[i]], support[i, [j]]) for k in (0, 1)]).min()
            for j in range(3)
        ])  # fmt: skip
        share = torch.exp(2.0 * values) / torch.exp(2.0 * values).sum()
        backup[i] = batch.rewards[i] + 0.9 * (1 - batch.terminations[i]) * (share * values).sum()
    wanted = sum(((naive_q(before.q, k, batch.observations, batch.actions) - backup) ** 2).mean() for k in (0, 1))
    figures = critic.update(batch, torch.Generator(), 0)
    assert torch.allclose(figures["loss"], torch.as_tensor(wanted), rtol=1e-5)
    for now, q, slow in zip(critic.slow.parameters(), critic.q.parameters(), before.slow.parameters(), strict=True):
        assert torch.allclose(now, 0.75 * slow + 0.25 * q, atol=1e-6)


def test_soft_value_lies_between_mean_and_best() -> None:
    values = torch.tensor([[1.0, 2.0, 6.0]])
    assert soft_value(values, 0.0).item() == pytest.approx(3.0)
    assert soft_value(values, 50.0).item() == pytest.approx(6.0)


def test_values_of_a_chain_are_the_closed_form() -> None:
    """Two states in a row, reward 1 and then 2 and the end: Q is 1 + γ·2 and 2, whatever the actions."""
    first, second = torch.zeros(64, 1), torch.ones(64, 1)
    g = torch.Generator().manual_seed(1)
    actions = torch.rand(128, 1, generator=g) * 2 - 1
    chain = Replay(
        torch.cat([first, second]),
        actions,
        torch.cat([torch.ones(64), torch.full((64,), 2.0)]),
        torch.cat([second, second]),
        torch.cat([torch.zeros(64), torch.ones(64)]),
        torch.rand(128, 4, 1, generator=g) * 2 - 1,
    )
    torch.manual_seed(0)
    critic = InSupportCritic(1, 1, width=32, discount=0.5, tau=0.05, learning_rate=3e-3)
    learn(critic, chain, steps=600, batch_size=32, seed=0, options=QUIET)
    found = evaluate_support(critic.slow, chain.observations, actions[:, None])[:, 0]
    # the smaller of two members: .05 is what 600 steps leave
    assert found[:64].mean().item() == pytest.approx(2.0, abs=0.05)
    assert found[64:].mean().item() == pytest.approx(2.0, abs=0.05)


def test_a_resumed_learner_ends_as_an_uninterrupted_one(tmp_path: Path, sigint: None) -> None:
    def run(folder: Path, stop: int | None, resume: bool) -> InSupportCritic:
        torch.manual_seed(0)
        critic = InSupportCritic(4, 2, width=8)
        update, calls = critic.update, 0

        def counted(batch: Replay, generator: torch.Generator, step: int) -> dict[str, Tensor]:
            nonlocal calls
            calls += 1
            if calls == stop:
                signal.raise_signal(signal.SIGINT)
            return update(batch, generator, step)

        critic.update = counted  # type: ignore[method-assign]
        options = TrainingOptions(progress="quiet", log_every=5, folder=folder, resume=resume, stage="critic")
        history = learn(critic, rows(50), steps=20, batch_size=8, seed=3, options=options)
        assert [row["step"] for row in history] == [5, 10, 15, 20]
        critic.history = [row["loss"] for row in history]  # type: ignore[assignment]
        return critic

    whole = run(tmp_path / "whole", None, False)
    with pytest.raises(KeyboardInterrupt):
        run(tmp_path / "cut", 13, False)
    again = run(tmp_path / "cut", None, True)
    assert all(torch.equal(a, b) for a, b in zip(whole.parameters(), again.parameters(), strict=True))
    assert again.history == pytest.approx(whole.history)
    with pytest.raises(ValueError, match="another training"):
        run(tmp_path / "cut", None, False)


def test_nan_does_not_train_on() -> None:
    broken = rows(20)
    broken.rewards[3] = float("nan")
    with pytest.raises(TrainingError, match="not finite"):
        learn(InSupportCritic(4, 2, width=8), broken, steps=50, batch_size=16, seed=0, options=QUIET)


def test_what_is_said_of_a_critic() -> None:
    g = torch.Generator().manual_seed(0)
    returns = torch.randn(500, generator=g) * 10 + 100
    good = check_critic(returns + torch.randn(500, generator=g), returns, [1.0, 99.0, 100.0, 100.0])
    assert good.words is None and good.correlation == pytest.approx(1.0, abs=0.02)
    noise = check_critic(torch.randn(500, generator=g), returns, [100.0, 100.0])
    assert noise.words is not None and "correlation" in noise.words
    away = check_critic(returns * 50, returns, [5000.0, 5000.0])
    assert away.words is not None and "run away" in away.words
    drifting = check_critic(returns, returns, [0.0] * 9 + [50.0] + [60.0] * 0 + [100.0])
    assert drifting.words is not None and "drifting" in drifting.words


def test_units_go_there_and_back() -> None:
    low, high = torch.tensor([-2.0, 0.0]), torch.tensor([2.0, 10.0])
    scaling = Scaling(torch.zeros(1), torch.ones(1), low, high)
    actions = torch.tensor([[-2.0, 0.0], [2.0, 10.0], [1.0, 2.5]])
    assert torch.allclose(scaling.to_unit(actions), torch.tensor([[-1.0, -1.0], [1.0, 1.0], [0.5, -0.5]]))
    assert torch.allclose(scaling.to_environment(scaling.to_unit(actions)), actions)
    assert torch.equal(scaling.to_environment(torch.tensor([[9.0, -9.0]])), torch.tensor([[2.0, 0.0]]))


def test_whole_episodes_are_held_out() -> None:
    episode = torch.arange(60).repeat_interleave(4)
    kept, held = held_out_rows(episode)
    assert len(held) == 3 * 4 and not set(episode[kept].tolist()) & set(episode[held].tolist())
    assert len(kept) + len(held) == len(episode)


def test_rows_are_prepared_where_steps_are_left(tmp_path: Path) -> None:
    """A finished stage asks for nothing: its support is not drawn again."""
    asked = 0

    def prepare(replay: Replay) -> Replay:
        nonlocal asked
        asked += 1
        return replay

    options = TrainingOptions(progress="quiet", log_every=5, folder=tmp_path, resume=True, stage="critic")
    for _ in range(2):
        torch.manual_seed(0)
        critic = InSupportCritic(4, 2, width=8)
        learn(critic, rows(50), steps=10, batch_size=8, seed=3, options=options, prepare=prepare)
    assert asked == 1


def test_rows_are_masked_by_terminations_alone() -> None:
    """An episode that a time limit cut bootstraps on; rewards are (reward + shift) · scale; actions come to [-1, 1]."""
    cut = Transitions(
        observations=torch.tensor([[0.0], [2.0], [4.0]]),
        actions=torch.tensor([[0.0], [5.0], [10.0]]),
        rewards=torch.tensor([1.0, 2.0, 3.0]),
        next_observations=torch.tensor([[2.0], [9.0], [4.0]]),
        terminations=torch.tensor([False, False, True]),
        episode=torch.tensor([0, 0, 1]),
        step=torch.tensor([0, 1, 0]),
        truncated=torch.tensor([True, True, False]),
        action_low=torch.tensor([0.0]),
        action_high=torch.tensor([10.0]),
        episode_returns=torch.tensor([3.0, 3.0]),
        name="hand/made-v0",
        env_spec=None,
        reference=None,
        facts={},
    )
    made = Replay.of(cut, Scaling.of(cut), shift=-1.0, scale=2.0)
    assert made.terminations.tolist() == [0.0, 0.0, 1.0]
    assert made.rewards.tolist() == [0.0, 2.0, 4.0]
    assert made.actions.flatten().tolist() == [-1.0, 0.0, 1.0]
    assert made.observations.flatten().tolist() == pytest.approx([-1.0, 0.0, 1.0])
    assert made.next_observations.flatten().tolist() == pytest.approx([0.0, 3.5, 1.0])
