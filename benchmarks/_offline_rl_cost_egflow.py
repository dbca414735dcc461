"""`suite=offline_rl_cost` with egflow: each training, the supports in between, what is measured, and evaluations."""

from __future__ import annotations

import torch
from _offline_rl_cost_job import ACTION, BATCH, EPISODES, OBSERVATION, WIDTH, Work, hopper, rows, serve
from egflow_offline_rl._learn import Learner, learn
from egflow_offline_rl.actors import Actor, FlowActor
from egflow_offline_rl.baselines import FQL, IQL, TD3BC
from egflow_offline_rl.behaviour import behaviour_flow, train_on_support
from egflow_offline_rl.critic import InSupportCritic, evaluate_support
from egflow_offline_rl.evaluation import evaluate_policy
from egflow_offline_rl.policy import Policy
from egflow_offline_rl.qipo import achieved_beta
from egflow_offline_rl.replay import Replay, Scaling
from egflow_offline_rl.support import StateDraws, draw_actions, log_weights_within

from egflow.flow import Flow
from egflow.training import TrainingOptions

M, STATES, MEASURED = 8, 20_000, 128  # of the suite offline_rl: actions a state, states with a support; of a measure
OPTIONS = TrainingOptions(progress="quiet", log_every=1_000)


def works() -> dict[str, Work]:
    """Every part of the methods, on the same rows and networks of 2 x 256 (flows: 3 x 256, on time too)."""
    columns = [torch.from_numpy(column) for column in rows().values()]
    replay = Replay(*columns)
    sizes = (OBSERVATION, ACTION)
    drawn = torch.rand(len(replay), M, ACTION, generator=torch.Generator().manual_seed(1)) * 2 - 1

    def behaviour(steps: int) -> Flow:
        return behaviour_flow(
            replay.observations, replay.actions, width=WIDTH, depth=3, path=None, steps=steps, batch_size=BATCH,
            seed=0, options=OPTIONS,
        )  # fmt: skip

    flow = behaviour(10)
    critic = InSupportCritic(*sizes, width=WIDTH)
    td3bc, iql, fql = TD3BC(*sizes, width=WIDTH), IQL(*sizes, width=WIDTH), FQL(*sizes, flow, width=WIDTH, depth=2)
    # A round's support: M of the policy, M of the behaviour and the data's own.
    states = replay.observations[:STATES]
    actions = torch.cat([drawn[:STATES], drawn[STATES : 2 * STATES], replay.actions[:STATES, None]], 1)
    draws = StateDraws.of(log_weights_within(evaluate_support(critic.q, states, actions), 3.0).exp())

    def policy(steps: int) -> Flow:
        return train_on_support(flow, states, actions, draws, steps=steps, batch_size=BATCH, seed=0, options=OPTIONS)

    def support(count: int) -> None:
        made = draw_actions(flow, states[:count], M, seed=0)
        evaluate_support(critic.q, states[:count], made)

    def measure(count: int) -> None:
        for _ in range(count):
            achieved_beta(policy_flow, flow, critic.q, states[:MEASURED])

    policy_flow = policy(10)
    return {
        "behaviour": behaviour,
        "support": support,
        "critic": learning(critic, replay.with_support(drawn)),
        "policy": policy,
        "measure": measure,
        "td3bc": learning(td3bc, replay),
        "iql": learning(iql, replay),
        "fql": learning(fql, replay),
        "evaluation qipo": evaluating(FlowActor(flow)),
        "evaluation td3bc": evaluating(td3bc.actor),
        "evaluation iql": evaluating(iql.actor),
    }


def learning(learner: Learner, replay: Replay) -> Work:
    return lambda steps: learn(learner, replay, steps=steps, batch_size=BATCH, seed=0, options=OPTIONS)


def evaluating(actor: Actor) -> Work:
    ones = torch.ones(max(OBSERVATION, ACTION))
    scaling = Scaling(0 * ones[:OBSERVATION], ones[:OBSERVATION], -ones[:ACTION], ones[:ACTION])
    policy = Policy(scaling=scaling, actor=actor)
    return lambda length: evaluate_policy(policy, episodes=EPISODES, env=lambda: hopper(length))


if __name__ == "__main__":
    serve(works)
