"""The peers that learn a critic, their updates written out by hand, with a fault on request."""

import math

import torch
from egflow_offline_rl.baselines import FQL, IQL, TD3BC
from rl_naive import (
    ACT,
    BATCH,
    DEPTH,
    OBS,
    WIDTH,
    Descent,
    Net,
    random_behaviour,
    random_rows,
    scale_last,
)
from torch.nn import functional as F

STEPS = 5
SIZES = {"width": WIDTH, "depth": DEPTH}
DOUBLE = torch.float64


def draws(replay, step):
    """A batch and its generator, as `learn` makes them."""
    generator = torch.Generator().manual_seed(100 + step)
    return replay.rows(torch.randint(len(replay), (BATCH,), generator=generator)), generator


def gelu(x):
    return F.gelu(x, approximate="tanh")


# ---- TD3+BC ----------------------------------------------------------------------------------------------------------


def naive_td3bc(learner, replay, fault):
    nets = [Net(learner.critic.body, k) for k in (0, 1)]
    slow = [Net(learner.target_critic.body, k, trained=False) for k in (0, 1)]
    actor, slow_actor = Net(learner.actor.body), Net(learner.target_actor.body, trained=False)
    critics, policy = Descent(*nets), Descent(actor)
    losses = []
    for step in range(STEPS):
        b, g = draws(replay, step)
        with torch.no_grad():
            noise = 0.2 * torch.randn(BATCH, ACT, generator=g).double()
            noise = noise if fault == "noise not clipped" else noise.clamp(-0.5, 0.5)
            action = slow_actor(b.next_observations).tanh() + noise
            action = action if fault == "action not clipped" else action.clamp(-1, 1)
            q = torch.stack([net(b.next_observations, action)[:, 0] for net in slow])
            q = q.mean(0) if fault == "mean of the twins" else q.min(0).values
            mask = 1.0 if fault == "no mask" else 1 - b.terminations
            y = b.rewards + 0.99 * mask * q
        losses.append(sum(F.mse_loss(net(b.observations, b.actions)[:, 0], y) for net in nets))
        critics.step(losses[-1])
        if step % 2 == 1 or fault == "no delay":
            pi = actor(b.observations).tanh()
            value = nets[0](b.observations, pi)[:, 0]
            weight = 2.5 if fault == "no normaliser" else 2.5 / value.abs().mean().detach()
            weight = 2.5 / value.abs().mean() if fault == "gradient of lambda" else weight
            policy.step(-weight * value.mean() + F.mse_loss(pi, b.actions))
            for net, target in zip((*nets, actor), (*slow, slow_actor), strict=True):
                target.follow(net, 0.05 if fault == "tau" else 0.005)
    pairs = [(net, learner.critic.body, k) for k, net in enumerate(nets)]
    pairs += [(net, learner.target_critic.body, k) for k, net in enumerate(slow)]
    return [*pairs, (actor, learner.actor.body, 0), (slow_actor, learner.target_actor.body, 0)], losses


def make_td3bc():
    learner = TD3BC(OBS, ACT, **SIZES).double()
    for network in (learner.critic, learner.target_critic, learner.actor, learner.target_actor):
        scale_last(network.body, 8.0)
    return learner


# ---- IQL -------------------------------------------------------------------------------------------------------------


def naive_iql(learner, replay, fault):
    nets = [Net(learner.critic.body, k) for k in (0, 1)]
    slow = [Net(learner.target_critic.body, k, trained=False) for k in (0, 1)]
    value, actor, log_std = Net(learner.value.body), Net(learner.actor.body), learner.actor.log_std.detach().clone()
    log_std.requires_grad_()
    critics, values, policy = Descent(*nets), Descent(value), Descent(actor)
    policy.leaves.append(log_std)
    policy.adam = torch.optim.Adam(policy.leaves, lr=3e-4)
    losses = []
    for step in range(STEPS):
        b, _ = draws(replay, step)
        with torch.no_grad():
            q = torch.stack([net(b.observations, b.actions)[:, 0] for net in slow])
            q = q.mean(0) if fault == "mean of the twins" else q.min(0).values
        u = q - value(b.observations)[:, 0]
        tau = 0.3 if fault == "expectile on the wrong side" else 0.7
        values.step((torch.where(u > 0, tau, 1 - tau) * u**2).mean())
        with torch.no_grad():
            advantage = q - value(b.observations)[:, 0]
            weight = torch.exp(3.0 * advantage)
            assert bool((weight > 100).any()) and bool((weight < 100).any())
            weight = weight if fault == "weights not clipped" else weight.clamp(max=100.0)
            mask = 1.0 if fault == "no mask" else 1 - b.terminations
            y = b.rewards + 0.99 * mask * value(b.next_observations)[:, 0]
        normal = torch.distributions.Normal(actor(b.observations).tanh(), log_std.exp())
        cosine = 0.5 * 3e-4 * (1 + math.cos(math.pi * step / 8))
        policy.step(
            -(weight * normal.log_prob(b.actions).sum(1)).mean(), rate=3e-4 if fault == "constant rate" else cosine
        )
        losses.append(sum(F.mse_loss(net(b.observations, b.actions)[:, 0], y) for net in nets))
        critics.step(losses[-1])
        for net, target in zip(nets, slow, strict=True):
            target.follow(net, 0.05 if fault == "tau" else 0.005)
    pairs = [(net, learner.critic.body, k) for k, net in enumerate(nets)]
    pairs += [(net, learner.target_critic.body, k) for k, net in enumerate(slow)]
    return [*pairs, (actor, learner.actor.body, 0), (value, learner.value.body, 0)], losses


def make_iql():
    learner = IQL(OBS, ACT, **SIZES, actor_steps=8).double()
    for network in (learner.critic, learner.target_critic):
        scale_last(network.body, 12.0)
    rows = random_rows()
    with torch.no_grad():  # advantages on both sides of the clip
        advantage = learner.critic(rows.observations, rows.actions).amin(0) - learner.value(rows.observations)
        learner.value.body.biases[-1].add_(advantage.quantile(0.7) - math.log(100) / 3)
    return learner


# ---- FQL -------------------------------------------------------------------------------------------------------------


def naive_fql(learner, replay, fault):
    nets = [Net(learner.critic.body, k, gelu) for k in (0, 1)]
    slow = [Net(learner.target_critic.body, k, gelu, trained=False) for k in (0, 1)]
    actor, flow = Net(learner.actor.body, activation=gelu), learner.behaviour
    critics, policy = Descent(*nets), Descent(actor)
    losses = []
    for step in range(STEPS):
        b, g = draws(replay, step)
        z, z_next = torch.randn(2, BATCH, ACT, generator=g).double()
        with torch.no_grad():
            action = actor(b.next_observations, z_next)
            action = action if fault == "next action not clipped" else action.clamp(-1, 1)
            q = torch.stack([net(b.next_observations, action)[:, 0] for net in slow])
            q = q.min(0).values if fault == "min of the twins" else q.mean(0)
            mask = 1.0 if fault == "no mask" else 1 - b.terminations
            y = b.rewards + 0.99 * mask * q
            x = torch.randn_like(z) if fault == "another noise" else z
            for i in range(10):
                t = torch.full((BATCH,), i / 10, dtype=DOUBLE)
                x = x + flow.network(x, t, b.observations) / 10
            wanted = flow.shift + flow.scale * x
            wanted = wanted if fault == "behaviour not clipped" else wanted.clamp(-1, 1)
        loss = sum(F.mse_loss(net(b.observations, b.actions)[:, 0], y) for net in nets) / 2
        losses.append(loss)
        made = actor(b.observations, z)
        clipped = made if fault == "action not clipped" else made.clamp(-1, 1)
        q = torch.stack([net(b.observations, clipped)[:, 0] for net in nets])
        q = q.min(0).values if fault == "min in the actor" else q.mean(0)
        scale = q.abs().mean().detach() if learner.normalize_q and fault != "no normaliser" else 1.0
        actor_loss = 10.0 * ((made - wanted) ** 2).mean() - q.mean() / scale
        if fault == "critic first":
            critics.step(loss)
            q = torch.stack([net(b.observations, made.clamp(-1, 1))[:, 0] for net in nets]).mean(0)
            policy.step(10.0 * ((made - wanted) ** 2).mean() - q.mean() / scale)
        else:
            policy.step(actor_loss)
            critics.step(sum(F.mse_loss(net(b.observations, b.actions)[:, 0], y) for net in nets) / 2)
        for net, target in zip(nets, slow, strict=True):
            target.follow(net, 0.05 if fault == "tau" else 0.005)
    pairs = [(net, learner.critic.body, k) for k, net in enumerate(nets)]
    pairs += [(net, learner.target_critic.body, k) for k, net in enumerate(slow)]
    return [*pairs, (actor, learner.actor.body, 0)], losses


def make_fql(**options):
    learner = FQL(OBS, ACT, random_behaviour(), **SIZES, **options).double()
    scale_last(learner.actor.body, 10.0)
    return learner
