"""Each peer's update against its paper's equations written out on single networks; a fault in either must show."""

from dataclasses import replace

import pytest
import torch
from egflow_offline_rl._learn import learn
from egflow_offline_rl.baselines import FQL, IQL, QGPO, TD3BC, GuidedActor, reward_scale
from egflow_offline_rl.support import Support
from rl_naive import (
    ACT,
    BATCH,
    OBS,
    bandit,
    bandit_behaviour,
    bandit_reward,
    random_behaviour,
    random_rows,
)
from rl_peers import DOUBLE, SIZES, STEPS, draws, make_fql, make_iql, make_td3bc, naive_fql, naive_iql, naive_td3bc

from egflow.training import TrainingOptions

# ---- the three that learn a critic -----------------------------------------------------------------------------------

BELLMAN = ["no mask", "tau"]
CASES = {
    "td3bc": (
        make_td3bc,
        naive_td3bc,
        [
            *BELLMAN,
            "mean of the twins",
            "noise not clipped",
            "action not clipped",
            "no delay",
            "no normaliser",
            "gradient of lambda",
        ],
    ),
    "iql": (
        make_iql,
        naive_iql,
        [*BELLMAN, "mean of the twins", "expectile on the wrong side", "weights not clipped", "constant rate"],
    ),
    "fql": (
        make_fql,
        naive_fql,
        [
            *BELLMAN,
            "min of the twins",
            "min in the actor",
            "next action not clipped",
            "action not clipped",
            "behaviour not clipped",
            "another noise",
            "critic first",
        ],
    ),
    "fql normalised": (lambda: make_fql(normalize_q=True), naive_fql, ["no normaliser"]),
}


@pytest.mark.parametrize(
    "name, fault", [(name, fault) for name, (_, _, faults) in CASES.items() for fault in [None, *faults]]
)
def test_the_updates_are_the_papers(name, fault) -> None:
    make, naive, _ = CASES[name]
    torch.manual_seed(1)
    learner, replay = make(), random_rows()
    pairs, losses = naive(learner, replay, fault)
    figures = [learner.update(*draws(replay, step), step) for step in range(STEPS)]
    same = all(net.near(body, member) for net, body, member in pairs)
    assert same == (fault is None)
    if fault is None:
        told = torch.stack([row["critic_loss"] for row in figures])
        torch.testing.assert_close(told, torch.stack(losses).detach())
        assert all(figure.shape == () and not figure.requires_grad for row in figures for figure in row.values())


def test_fql_by_option_takes_the_smaller_target() -> None:
    torch.manual_seed(1)
    learner, (batch, _) = make_fql(pessimistic=True), draws(random_rows(), 0)
    noise = torch.randn(BATCH, ACT, dtype=DOUBLE)
    smaller = learner.critic_target(batch, noise)
    learner.pessimistic = False
    ends = batch.terminations == 1
    assert bool((smaller <= learner.critic_target(batch, noise)).all())
    torch.testing.assert_close(smaller[ends], batch.rewards[ends])


# ---- QGPO ------------------------------------------------------------------------------------------------------------


def random_support(states: int = 60, k: int = 6) -> Support:
    g = torch.Generator().manual_seed(3)
    s, q = torch.randn(states, OBS, generator=g), torch.randn(states, k, generator=g)
    return Support(s.double(), torch.rand(states, k, ACT, generator=g).double() * 2 - 1, q.double())


def make_qgpo(**options) -> QGPO:
    learner = QGPO(random_behaviour(), random_support(), **SIZES, **options).double()
    torch.nn.init.normal_(learner.actor.potential.body.outlet.weight, std=0.5)
    return learner


def energy(learner, x_t, t, s):
    """f on the straight path: the body's outputs summed, at x_t·t/(t² + (1 − t)²)."""
    y = x_t * (t / (t**2 + (1 - t) ** 2))[:, None]
    return learner.actor.potential.body(y, t, s).sum(1)


@pytest.mark.parametrize("fault", [None, "no beta", "a time for each action", "softmax over states", "not scaled"])
def test_qgpo_contrasts_the_actions_of_one_state_at_one_time(fault) -> None:
    torch.manual_seed(1)
    learner = make_qgpo(beta=2.0)
    support, flow, n = learner.support, learner.actor.behaviour, 7
    rows, t, x_0 = torch.arange(n), torch.rand(n), torch.randn(n, 6, ACT)
    loss = torch.zeros((), dtype=DOUBLE)
    labels = torch.softmax(
        (1.0 if fault == "no beta" else 2.0) * support.q[:n], 0 if fault == "softmax over states" else 1
    )
    for i in range(n):
        times = t[i].double().repeat(6)
        times = times * torch.linspace(0.5, 1, 6) if fault == "a time for each action" else times
        a = support.actions[i] if fault == "not scaled" else (support.actions[i] - flow.shift) / flow.scale
        x_t = (1 - times)[:, None] * x_0[i].double() + times[:, None] * a
        f = energy(learner, x_t, times, support.observations[i].expand(6, -1))
        loss -= (labels[i] * torch.log_softmax(f, 0)).sum() / n
    assert torch.allclose(learner.loss(rows, t, x_0), loss, atol=1e-10) == (fault is None)


@pytest.mark.parametrize("scale", [1.0, 3.0])
def test_qgpo_adds_the_energys_gradient_to_the_behaviours_velocity(scale) -> None:
    torch.manual_seed(1)
    learner = make_qgpo(scale=scale)
    flow, x, s = learner.actor.behaviour, torch.randn(5, ACT, dtype=DOUBLE), torch.randn(5, OBS, dtype=DOUBLE)
    for t in (0.2, 0.7):
        z = ((x - flow.shift) / flow.scale).requires_grad_()
        times = torch.full((5,), t, dtype=DOUBLE)
        (gradient,) = torch.autograd.grad(energy(learner, z, times, s).sum(), z)
        expected = flow.velocity(x, t, s) + flow.scale * scale * (1 - t) / t * gradient
        torch.testing.assert_close(learner.actor.flow().velocity(x, t, s), expected)


def test_qgpo_acts_in_inference_mode_and_by_its_seed() -> None:
    torch.manual_seed(1)
    actor, s = make_qgpo().actor, torch.randn(5, OBS, dtype=DOUBLE)
    with torch.inference_mode():
        inside = actor(s.clone(), seed=2)
    assert torch.equal(inside, actor(s, seed=2)) and not torch.equal(inside, actor(s, seed=3))


# ---- all -------------------------------------------------------------------------------------------------------------

ALL = {"td3bc": make_td3bc, "iql": make_iql, "fql": make_fql, "qgpo": make_qgpo}


@pytest.mark.parametrize("name", ALL)
def test_a_resumed_learner_ends_as_an_uninterrupted_one(name) -> None:
    replay = random_rows()

    def made(seed):
        torch.manual_seed(1)
        learner = ALL[name]()  # of one behaviour, which is not the learner's to keep
        torch.manual_seed(seed)
        for parameter in learner.parameters():
            torch.nn.init.normal_(parameter, std=0.3)
        return learner

    whole, first, second = made(1), made(1), made(2)
    for step in range(6):
        whole.update(*draws(replay, step), step)
    for step in range(3):
        first.update(*draws(replay, step), step)
    second.load_state_dict(first.state_dict())
    for key, optimiser in second.optimisers.items():
        optimiser.load_state_dict(first.optimisers[key].state_dict())
    torch.manual_seed(99)  # its noise is not the global generator's
    for step in range(3, 6):
        second.update(*draws(replay, step), step)
    ended, expected = second.state_dict(), whole.state_dict()
    assert all(torch.equal(ended[key], expected[key]) for key in expected)
    assert not torch.equal(next(iter(first.parameters())), next(iter(second.parameters())))


@pytest.mark.parametrize("name", ALL)
def test_the_loop_trains_them_and_finds_their_checkpoint(name, tmp_path) -> None:
    options = TrainingOptions(folder=tmp_path, stage=name, log_every=2, progress="quiet")
    ended = []
    for resume in (False, True):
        torch.manual_seed(1)
        learner = ALL[name]()
        settings = {"steps": 4, "batch_size": 16, "seed": 0, "options": replace(options, resume=resume)}
        rows = learn(learner, random_rows(), **settings)
        ended.append(learner.state_dict())
        assert [row["step"] for row in rows] == [2, 4]
    assert all(torch.equal(ended[0][key], ended[1][key]) for key in ended[0])


def test_the_guided_actor_is_rebuilt_from_what_it_tells() -> None:
    torch.manual_seed(1)
    actor, s = make_qgpo(scale=2.0).actor, torch.randn(5, OBS, dtype=DOUBLE)
    again = GuidedActor(**actor.flows, **actor.config).double()
    again.load_state_dict(actor.state_dict())
    assert torch.equal(again.requires_grad_(False)(s, 1), actor(s, 1))


@pytest.mark.parametrize("name, steps", [("td3bc", 600), ("iql", 600), ("fql", 600), ("qgpo", 400)])
def test_the_better_half_of_a_bandit_is_found(name, steps) -> None:
    torch.manual_seed(0)
    replay, behaviour = bandit(), bandit_behaviour()
    assert abs(float(replay.rewards.mean()) + 0.51) < 0.02
    states = replay.observations[:500]
    small = {"width": 32, "depth": 2, "learning_rate": 3e-3}
    if name == "qgpo":
        actions = behaviour.sample(8_000, replay.observations[:500].repeat_interleave(16, 0), solver="euler:20")
        q = bandit_reward(states.repeat_interleave(16, 0), actions).reshape(500, 16)
        learner = QGPO(behaviour, Support(states, actions.reshape(500, 16, 1), q), beta=10.0, **small)
    else:
        makers = {
            "td3bc": lambda: TD3BC(1, 1, **small),
            "iql": lambda: IQL(1, 1, actor_steps=steps, **small),
            "fql": lambda: FQL(1, 1, behaviour, alpha=0.1, **small),
        }
        learner = makers[name]()
    for step in range(steps):
        learner.update(*draws(replay, step), step)
    with torch.no_grad():
        actions = learner.actor(states, 0)
    assert float(bandit_reward(states, actions).mean()) > -0.2  # cloning has −.51, the mean of the data −.25


def test_published_defaults() -> None:
    td3bc, iql = TD3BC(OBS, ACT), IQL(OBS, ACT)
    assert (td3bc.alpha, td3bc.discount, td3bc.tau) == (2.5, 0.99, 0.005)
    assert (td3bc.noise, td3bc.noise_clip, td3bc.policy_delay) == (0.2, 0.5, 2)
    assert (iql.expectile, iql.temperature, iql.discount, iql.tau) == (0.7, 3.0, 0.99, 0.005)
    flow = random_behaviour(torch.float32)
    fql, qgpo = FQL(OBS, ACT, flow), QGPO(flow, random_support())
    assert (fql.alpha, fql.normalize_q, fql.pessimistic, fql.solver) == (10.0, False, False, "euler:10")
    assert (qgpo.beta, qgpo.actor.scale, qgpo.actor.config["depth"]) == (3.0, 1.0, 4)
    rates = [o.param_groups[0]["lr"] for learner in (td3bc, iql, fql, qgpo) for o in learner.optimisers.values()]
    assert set(rates) == {3e-4}


def test_wrong_arguments() -> None:
    with pytest.raises(ValueError, match=r"behaviour must be a flow of \(3,\) given \(4,\)"):
        FQL(OBS, 3, random_behaviour())
    one = random_support(k=1)
    with pytest.raises(ValueError, match="2 or more actions"):
        QGPO(random_behaviour(), one)
    with pytest.raises(ValueError, match="must differ"):
        reward_scale(torch.ones(3))
