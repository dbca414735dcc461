"""Each method from rows to a policy: which parts are trained, in which order, on what."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace

import torch

from egflow.domain import Job
from egflow.flow import Flow
from egflow.training import mix
from egflow_offline_rl._work import Trained, Work
from egflow_offline_rl.actors import FlowActor
from egflow_offline_rl.baselines import FQL, IQL, QGPO, TD3BC, reward_scale
from egflow_offline_rl.critic import evaluate_support
from egflow_offline_rl.dataset import Transitions
from egflow_offline_rl.options import Options
from egflow_offline_rl.qipo import Step, by_renewal, in_rounds
from egflow_offline_rl.support import Support, draw_actions


def train_method(name: str, transitions: Transitions, options: Options, job: Job) -> Trained:
    """Train one of `METHODS` on a data set.

    Raises:
        ValueError, egflow.training.TrainingError: as the trainings do.
    """
    return METHODS[name](Work(transitions, options, job))


def _bc(work: Work) -> Trained:
    return work.finish("bc", FlowActor(work.behaviour()))


def _in_rounds(work: Work) -> tuple[list[Flow], list[Step]]:
    options, job = work.options, work.job
    return work.timed(
        "policy",
        lambda: in_rounds(
            work.behaviour(),
            work.critic().slow,
            work.states(),
            beta=job.beta,
            target_ess=share_of_support(job.target_ess, options.support),
            support=options.support,
            rounds=options.rounds,
            defensive=options.defensive,
            normalize=options.normalize,
            steps=options.policy_steps,
            batch_size=job.batch_size,
            seed=job.seed,
            options=work.stage("qipo"),
        ),
        _spent,
    )


def _qipo(work: Work) -> Trained:
    work.critic()
    flows, steps = _in_rounds(work)
    return work.finish("qipo", FlowActor(flows[-1]), flows=flows, critic=work.critic().slow, steps=steps)


def _spent(made: tuple[list[Flow], list[Step]]) -> float:
    return sum(flow.train_seconds for flow in made[0])


def _published(method: str, path: str | None) -> Callable[[Work], Trained]:
    def run(work: Work) -> Trained:
        critic, options, job = work.critic().slow, work.options, work.job
        behaviour = work.behaviour(path)
        flows, steps = work.timed(
            "policy",
            lambda: by_renewal(
                behaviour,
                critic,
                work.states(),
                beta=job.beta,
                support=options.support,
                renew_every=options.renew_every,
                steps=options.policy_steps,
                batch_size=job.batch_size,
                seed=job.seed,
                options=work.stage(method),
            ),
            _spent,
        )
        return work.finish(method, FlowActor(flows[-1]), flows=flows, path=path, critic=critic, steps=steps)

    return run


def _guided_actor(work: Work) -> Trained:
    """FQL's one-step actor, kept near the weighted flow in place of the behaviour."""
    work.critic()
    flows, steps = _in_rounds(work)
    learner = _fql(work, flows[-1])
    work.learn("guided_actor", learner, work.replay, work.options.critic_steps)
    return work.finish("guided_actor", learner.actor, critic=learner.critic, stage="guided_actor", steps=steps)


def _fql(work: Work, flow: Flow) -> FQL:
    options = work.options
    with torch.random.fork_rng():
        torch.manual_seed(mix(work.job.seed, 13))
        return FQL(
            *work.sizes,
            flow,
            width=options.width,
            depth=options.depth,
            alpha=options.alpha,
            normalize_q=True,
            discount=options.discount,
            tau=options.tau,
            learning_rate=options.critic_learning_rate,
        ).to(work.device)


def _fql_alone(work: Work) -> Trained:
    learner = _fql(work, work.behaviour())
    work.learn("fql", learner, work.replay, work.options.critic_steps)
    return work.finish("fql", learner.actor, critic=learner.critic, stage="fql")


def _td3bc(work: Work) -> Trained:
    options = work.options
    with torch.random.fork_rng():
        torch.manual_seed(mix(work.job.seed, 13))
        learner = TD3BC(
            *work.sizes, width=options.width, depth=options.depth, discount=options.discount, tau=options.tau
        ).to(work.device)
    work.learn("td3bc", learner, work.replay, options.critic_steps)
    return work.finish("td3bc", learner.actor, critic=learner.critic, stage="td3bc")


def _iql(work: Work) -> Trained:
    """As published, on rewards times 1000 / (best − worst return), so that one temperature serves all data."""
    options, returns = work.options, work.transitions.episode_returns * (work.options.reward_scale or 1.0)
    factor = reward_scale(returns) if returns.min() < returns.max() else 1.0
    with torch.random.fork_rng():
        torch.manual_seed(mix(work.job.seed, 13))
        learner = IQL(
            *work.sizes,
            width=options.width,
            depth=options.depth,
            discount=options.discount,
            tau=options.tau,
            actor_steps=options.critic_steps,
        ).to(work.device)
    work.learn("iql", learner, replace(work.replay, rewards=work.replay.rewards * factor), options.critic_steps)
    learner.critic.unit, learner.critic.config["unit"] = 1 / factor, 1 / factor  # back on the rewards' own scale
    return work.finish("iql", learner.actor, critic=learner.critic, stage="iql")


def _qgpo(work: Work) -> Trained:
    options, job = work.options, work.job
    critic, behaviour, states = work.critic().slow, work.behaviour(), work.states()
    drawn = draw_actions(behaviour, states.observations, options.support, seed=mix(job.seed, 41))
    values = evaluate_support(critic, states.observations, drawn)
    with torch.random.fork_rng():
        torch.manual_seed(mix(job.seed, 13))
        learner = QGPO(
            behaviour,
            Support(states.observations, drawn, values),
            beta=job.beta,
            width=options.policy_width,
            depth=options.policy_depth + 1,
        )
    work.learn("qgpo", learner, work.replay, options.policy_steps)
    return work.finish("qgpo", learner.actor, critic=critic)


METHODS: dict[str, Callable[[Work], Trained]] = {
    "qipo": _qipo,
    "qipo_ot": _published("qipo_ot", None),
    "qipo_diff": _published("qipo_diff", "vp"),
    "guided_actor": _guided_actor,
    "bc": _bc,
    "td3bc": _td3bc,
    "iql": _iql,
    "fql": _fql_alone,
    "qgpo": _qgpo,
}
"""Every ``method=`` of the domain."""


def share_of_support(target_ess: float | None, support: int) -> float:
    """The mean effective share each round keeps: as asked for, or .5. Raises ValueError below 1/M."""
    share = 0.5 if target_ess is None else target_ess
    if not 1 / support < share < 1 or not math.isfinite(share):
        raise ValueError(
            f"target_ess={share:g} of a support of {support} actions: expected between {1 / support:.3g} and 1"
        )
    return share
