"""Supports and both schedules of beta, against closed forms.

The behaviour is N(0, s²) in one dimension and Q = a linear function of the action, so that μ·exp(beta·Q) is
N(beta·k·s², s²): what a policy reached is read from its mean.
"""

from __future__ import annotations

import pytest
import torch
from egflow_offline_rl.behaviour import behaviour_flow
from egflow_offline_rl.qipo import States, achieved_beta, by_renewal, in_rounds, q_unit
from egflow_offline_rl.support import ACT, StateDraws, draw_actions, effective, log_weights_within, solve_step
from torch import Tensor, nn

from egflow.flow import Flow
from egflow.training import TrainingOptions

QUIET = TrainingOptions(progress="quiet")
SPREAD, SLOPE = 0.25, 4.0


class Linear(nn.Module):
    """Q = SLOPE·a + 10·s: what depends on the state alone must not matter."""

    def forward(self, observations: Tensor, actions: Tensor) -> Tensor:
        value = SLOPE * actions[:, 0] + 10 * observations[:, 0]
        return torch.stack([value, value])


@pytest.fixture(scope="module")
def data() -> States:
    g = torch.Generator().manual_seed(0)
    return States(torch.randn(4_000, 2, generator=g), SPREAD * torch.randn(4_000, 1, generator=g))


@pytest.fixture(scope="module")
def behaviour(data: States) -> Flow:
    return behaviour_flow(
        data.observations, data.actions, width=64, depth=2, path=None, steps=500, batch_size=256, seed=0, options=QUIET
    )


def tilted(behaviour: Flow, data: States, beta: float, **changed: object) -> tuple[Flow, list]:
    settings = {
        "target_ess": 0.5, "support": 16, "rounds": 4, "defensive": 0.1, "normalize": "none", "steps": 1_200,
        "batch_size": 256, "seed": 1, "options": QUIET,
    }  # fmt: skip
    flows, done = in_rounds(behaviour, Linear(), data, beta=beta, **(settings | changed))  # type: ignore[arg-type]
    assert len(flows) == len(done)
    return flows[-1], done


def test_sampled_actions_have_the_weighted_losses_gradient() -> None:
    """Over all (state, action) the draws' probability is w_j(s)/S: the gradient's mean is the weighted one."""
    g = torch.Generator().manual_seed(0)
    weights = torch.softmax(3 * torch.randn(5, 4, generator=g, dtype=torch.float64), 1)
    weights[2, 0] = 0.0
    draws, counts, n = StateDraws.of(weights), torch.zeros(20, dtype=torch.float64), 400
    for _ in range(500):
        u = (torch.arange(n, dtype=torch.float64) + torch.rand((), generator=g)) / n
        counts += torch.bincount(draws(u, g).index, minlength=20)
    wanted = (weights / weights.sum(1, keepdim=True) / 5).flatten()
    # 200,000 draws: four standard errors of a share of at most .2
    assert torch.allclose(counts / counts.sum(), wanted, atol=4 * (0.2 * 0.8 / 200_000) ** 0.5)
    assert counts[8] == 0  # an action of weight 0 is never drawn
    features = torch.randn(20, 3, generator=g, dtype=torch.float64)
    theta = torch.ones(3, dtype=torch.float64, requires_grad=True)
    each = (features @ theta).square()
    (exact,) = torch.autograd.grad((wanted * each).sum(), theta, retain_graph=True)
    (sampled,) = torch.autograd.grad((counts / counts.sum() * each).sum(), theta)
    assert torch.allclose(sampled, exact, rtol=0.02)


def test_weights_are_within_each_state() -> None:
    q = torch.tensor([[0.0, 1.0], [100.0, 101.0], [5.0, 5.0]])
    w = log_weights_within(q, 2.0).exp()
    assert torch.allclose(w.sum(1), torch.ones(3, dtype=torch.float64)) and torch.allclose(w[0], w[1])
    assert effective(log_weights_within(q, 2.0))[2].item() == pytest.approx(2.0)


def test_the_step_keeps_the_share_asked_for() -> None:
    q = torch.randn(2_000, 16, generator=torch.Generator().manual_seed(0))
    step = solve_step(q, 0.4, 100.0)
    assert float(effective(log_weights_within(q, step)).mean()) / 16 == pytest.approx(0.4, abs=1e-3)
    assert solve_step(q, 0.4, 0.1) == 0.1  # what is left, where that keeps more
    assert solve_step(q, 0.4, -100.0) == pytest.approx(-step, rel=0.1)


def test_units_of_q() -> None:
    q = torch.tensor([[0.0, 2.0], [0.0, 6.0]])
    std = 2**0.5
    assert q_unit(q, "none").item() == 1.0
    assert q_unit(q, "global_std").item() == pytest.approx(2 * std)
    assert q_unit(q, "per_state_std").flatten().tolist() == pytest.approx([std, 3 * std])


@pytest.mark.parametrize("beta", [1.0, 3.0])
def test_rounds_reach_the_beta_that_was_asked_for(behaviour: Flow, data: States, beta: float) -> None:
    """Mean beta·k·s². beta·σ_Q is 1 and 3; 32 actions of a state, weighted by themselves, fall short by a tenth."""
    policy, done = tilted(behaviour, data, beta, support=32, defensive=0.0)
    mean = float(draw_actions(policy, data.observations, 1, seed=5).mean())
    assert sum(step.step for step in done) == pytest.approx(beta) and done[-1].beta == pytest.approx(beta)
    assert 0.75 < mean / (beta * SLOPE * SPREAD**2) < 1.05
    assert sum(step.steps for step in done) == 1_200  # of four rounds' steps, none is left unspent by two or three
    assert len(done) == {1.0: 2, 3.0: 3}[beta]  # each step keeps half of the support: beta·σ_Q of .95 to 1.1


def test_a_negative_beta_goes_the_other_way(behaviour: Flow, data: States) -> None:
    policy, done = tilted(behaviour, data, -3.0, support=32, defensive=0.0)
    mean = float(draw_actions(policy, data.observations, 1, seed=5).mean())
    assert 0.75 < mean / (-3 * SLOPE * SPREAD**2) < 1.05
    assert len(done) > 2 and done[-1].beta == pytest.approx(-3.0)


def test_beta_zero_leaves_the_behaviour(behaviour: Flow, data: States) -> None:
    policy, done = tilted(behaviour, data, 0.0, steps=400)
    assert float(draw_actions(policy, data.observations[:2_000], 1, seed=5).mean()) == pytest.approx(0.0, abs=0.03)
    assert len(done) == 1


def test_renewal_multiplies_up(behaviour: Flow, data: States) -> None:
    """The published schedule spends beta anew at each renewal: after three, the mean is near three times one's."""
    settings = {"beta": 0.8, "support": 16, "batch_size": 256, "seed": 1, "options": QUIET}
    once, _ = by_renewal(behaviour, Linear(), data, renew_every=400, steps=400, **settings)  # type: ignore[arg-type]
    thrice, done = by_renewal(behaviour, Linear(), data, renew_every=400, steps=1_200, **settings)  # type: ignore[arg-type]
    one, three = (float(draw_actions(p, data.observations[:2_000], 1, seed=5).mean()) for p in (once[-1], thrice[-1]))
    assert [step.beta for step in done] == pytest.approx([0.8, 1.6, 2.4])
    # one action of 17 is the data's, which pulls the second and third back
    assert 0.75 < one / (0.8 * SLOPE * SPREAD**2) < 1.05 and 2.1 < three / one < 3.1


def test_achieved_beta_is_the_slope_of_the_log_ratio(behaviour: Flow, data: States) -> None:
    policy, _ = tilted(behaviour, data, 2.0)
    slope, r2 = achieved_beta(policy, behaviour, Linear(), data.observations[:128])
    assert slope == pytest.approx(2.0, abs=0.4) and r2 > 0.8
    assert achieved_beta(behaviour, behaviour, Linear(), data.observations[:16])[0] == pytest.approx(0.0, abs=1e-3)


def test_the_same_seed_gives_the_same_policy(behaviour: Flow, data: States) -> None:
    one, two = (tilted(behaviour, data, 2.0, steps=40)[0] for _ in range(2))
    assert all(torch.equal(a, b) for a, b in zip(one.network.parameters(), two.network.parameters(), strict=True))


def test_a_beta_in_each_states_own_unit_is_told_in_it(behaviour: Flow, data: States) -> None:
    """σ_Q is SLOPE·SPREAD at every state here: beta 1 in its units is beta 1 / (SLOPE·SPREAD) on Q's scale."""
    policy, done = tilted(behaviour, data, 1.0, support=32, defensive=0.0, normalize="per_state_std")
    slope, _ = achieved_beta(policy, behaviour, Linear(), data.observations[:128], per_state=True)
    assert done[-1].unit is None and slope == pytest.approx(1.0, abs=0.25)


def test_ten_euler_steps_shrink_what_five_midpoint_steps_keep(behaviour: Flow, data: States) -> None:
    """Ten evaluations each, beside the adaptive solver from the same noise."""
    seen = data.observations
    accurate, euler, midpoint = (behaviour.sample(4_000, seen, solver=s, seed=1) for s in (None, "euler:10", ACT))
    assert float(euler.var() / accurate.var()) < 0.85
    assert float(midpoint.var() / accurate.var()) == pytest.approx(1.0, abs=0.02)
    errors = [(made - accurate).square().mean().sqrt() for made in (euler, midpoint)]
    assert errors[0] > 10 * errors[1]
