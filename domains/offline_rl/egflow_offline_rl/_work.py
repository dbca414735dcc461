"""What methods have in common: the behaviour, the critic, their checks, and the record they leave.

Stages are trainings of the core or of `learn`, each resumable under its own name in the run's folder, so that runs that
share a folder (the benchmark's) share the behaviour and the critic.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import torch
from torch import nn

from egflow.domain import Job
from egflow.flow import Flow
from egflow.training import TrainingOptions, mix
from egflow_offline_rl._learn import Learner, learn
from egflow_offline_rl.actors import Actor, FlowActor
from egflow_offline_rl.behaviour import behaviour_flow
from egflow_offline_rl.critic import CriticCheck, InSupportCritic, check_critic, evaluate_support, sample_rows
from egflow_offline_rl.dataset import Transitions, discounted_returns
from egflow_offline_rl.options import Options
from egflow_offline_rl.policy import Policy
from egflow_offline_rl.qipo import States, Step, achieved_beta, held_support
from egflow_offline_rl.replay import Replay, Scaling, held_out_rows
from egflow_offline_rl.support import Support, draw_actions

_GREED = 8.0  # alpha_q times the returns' standard deviation: 1 on Q's own scale chases its own errors on 100,000 rows
_HELD_STATES = 2_000
_FEW_ROWS = 50  # with known returns, below which a correlation would mean nothing
_MEASURED_AT = 256


@dataclass(frozen=True, slots=True, kw_only=True)
class Trained:
    """What a method leaves.

    Attributes:
        policy: trained. behaviour: the flow of the data as a policy, or None where the method needs none.
        critic: Q, (members, batch), or None.
        between: (beta, policy) after each round but the last.
        steps: rounds or renewals of beta, or none.
        check: Q against held-out returns, or None.
        support: held-out states with the data's action and the behaviour's, and their Q; None without behaviour or Q.
        achieved_beta, tilt_r2: of the policy, on Q's scale, or None.
        history: rows of metrics of the flows' trainings. curves: figures of the learners, by stage.
        seconds: by stage.
        notes: what is to be said.
    """

    policy: Policy
    behaviour: Policy | None = None
    critic: nn.Module | None = None
    between: tuple[tuple[float, Policy], ...] = ()
    steps: list[Step] = field(default_factory=list)
    check: CriticCheck | None = None
    support: Support | None = None
    achieved_beta: float | None = None
    tilt_r2: float | None = None
    history: list[dict[str, Any]] = field(default_factory=list)
    curves: dict[str, list[dict[str, Any]]] = field(default_factory=dict)
    seconds: dict[str, float] = field(default_factory=dict)
    notes: dict[str, str] = field(default_factory=dict)


class Work:
    """The parts methods have in common, each made when first asked for."""

    def __init__(self, transitions: Transitions, options: Options, job: Job) -> None:
        self.transitions, self.options, self.job = transitions, options, job
        self.device: torch.device = job.device
        self.scaling = Scaling.of(transitions)
        shift, scale = options.reward_shift or 0.0, options.reward_scale or 1.0
        everything = Replay.of(transitions, self.scaling, shift=shift, scale=scale)
        self.kept, self.held = held_out_rows(transitions.episode)
        self.replay = everything.rows(self.kept).to(self.device)
        self.everything = everything
        self.history: list[dict[str, Any]] = []
        self.curves: dict[str, list[dict[str, Any]]] = {}
        self.seconds: dict[str, float] = {}
        self.notes: dict[str, str] = {}
        scaled = replace(transitions, rewards=(transitions.rewards + shift) * scale)
        self.returns, self.trusted = discounted_returns(scaled, options.discount)
        self._behaviours: dict[str, Flow] = {}
        self._critic: InSupportCritic | None = None

    @property
    def sizes(self) -> tuple[int, int]:
        return self.replay.observations.shape[1], self.replay.actions.shape[1]

    def stage(self, name: str) -> TrainingOptions:
        return replace(self.job.options, stage=name)

    def timed(self, name: str, work: Callable[[], Any], spent: Callable[[Any], float] = lambda made: 0.0) -> Any:
        """Do a stage and keep its seconds: of what was resumed, those that its checkpoints tell (``spent``)."""
        started = time.monotonic()
        made = work()
        self.seconds[name] = round(max(time.monotonic() - started, spent(made)), 1)
        return made

    def behaviour(self, path: str | None = None) -> Flow:
        """The flow of the data's actions, on a path."""
        key = path or "cond_ot"
        if key not in self._behaviours:
            flow = self.timed(
                f"behaviour {key}",
                lambda: behaviour_flow(
                    self.replay.observations,
                    self.replay.actions,
                    width=self.options.policy_width,
                    depth=self.options.policy_depth,
                    path=path,
                    steps=self.job.steps,
                    batch_size=self.job.batch_size,
                    seed=self.job.seed,
                    options=self.stage(f"behaviour-{key}"),
                ),
                lambda made: made.train_seconds,
            )
            self.history += flow.history
            self._behaviours[key] = flow
        return self._behaviours[key]

    def critic(self) -> InSupportCritic:
        """The in-support critic on the straight behaviour's actions (which ten evaluations follow closely)."""
        if self._critic is None:
            options, seed = self.options, self.job.seed
            flow = self.behaviour()

            def with_support(rows: Replay) -> Replay:
                drawn = draw_actions(
                    flow,
                    rows.next_observations,
                    options.support,
                    seed=mix(seed, 37),
                    progress=self.job.options.progress,
                )
                return rows.with_support(drawn)

            known = self.returns[self.kept]
            shift, unit = float(known.mean()), float(known.std()) or 1.0
            with torch.random.fork_rng():
                torch.manual_seed(mix(seed, 7))
                critic = InSupportCritic(
                    *self.sizes,
                    width=options.width,
                    depth=options.depth,
                    discount=options.discount,
                    tau=options.tau,
                    temperature=_GREED / unit if options.q_temperature is None else options.q_temperature,
                    learning_rate=options.critic_learning_rate,
                    shift=shift,
                    unit=unit,
                ).to(self.device)
            self.learn("critic", critic, self.replay, options.critic_steps, with_support)
            self._critic = critic
        return self._critic

    def learn(
        self,
        stage: str,
        learner: Learner,
        replay: Replay,
        steps: int,
        prepare: Callable[[Replay], Replay] | None = None,
    ) -> None:
        size, seed, options = self.options.q_batch_size, mix(self.job.seed, 11), self.stage(stage)

        def run() -> list[dict[str, Any]]:
            return learn(learner, replay, steps=steps, batch_size=size, seed=seed, options=options, prepare=prepare)

        self.curves[stage] = self.timed(stage, run, lambda rows: rows[-1]["seconds"])

    def states(self) -> States:
        """Where policies are improved."""
        rows = sample_rows(len(self.replay), self.options.support_states, self.job.seed).to(self.device)
        return States(self.replay.observations[rows], self.replay.actions[rows])

    def held_states(self) -> States:
        """States of the held-out episodes (of all, where none is held out)."""
        rows = self.held if len(self.held) else self.kept
        rows = rows[sample_rows(len(rows), _HELD_STATES, 0)]
        return States(self.everything.observations[rows].to(self.device), self.everything.actions[rows].to(self.device))

    def policy(self, actor: Actor, method: str, critic: nn.Module | None = None) -> Policy:
        return Policy(
            scaling=self.scaling,
            actor=actor,
            critic=critic,
            method=method,
            env_spec=self.transitions.env_spec,
            dataset=self.transitions.name,
            reference=self.transitions.reference,
        )

    def check(self, q: nn.Module, stage: str) -> CriticCheck | None:
        """Q against discounted returns of held-out episodes, on the learners' scale of rewards."""
        if not len(self.held):
            self.notes["q_return_correlation"] = "fewer than four episodes: none is held out"
            return None
        rows = self.held[self.trusted[self.held]]
        if len(rows) < _FEW_ROWS:  # every episode is cut before the rest of its return is negligible
            step = self.transitions.step[self.held]
            rows = self.held[step <= step.max() // 4]
            self.notes["q_return_correlation"] = (
                "episodes are cut by a time limit that the discount reaches past: returns of their first quarter, "
                "each without its tail"
            )
        rows = rows[sample_rows(len(rows), _HELD_STATES, 0)]
        observations = self.everything.observations[rows].to(self.device)
        actions = self.everything.actions[rows].to(self.device)
        values = evaluate_support(q, observations, actions[:, None])[:, 0].cpu()
        found = check_critic(values, self.returns[rows], [row["q"] for row in self.curves.get(stage, []) if "q" in row])
        if found.words:
            self.notes["critic"] = found.words
        return found

    def finish(
        self, method: str, actor: Actor, *, flows: Sequence[Flow] = (), path: str | None = None,
        critic: nn.Module | None = None, stage: str = "critic", steps: Sequence[Step] = (),
    ) -> Trained:  # fmt: skip
        """The record, with what is measured on held-out states where there is a behaviour and a critic."""
        behaviour = self._behaviours.get(path or "cond_ot")
        support, slope, r2 = None, None, None
        if behaviour is not None and critic is not None:
            support = held_support(behaviour, critic, self.held_states(), self.options.support, self.job.seed)
            if flows and self.sizes[1] <= 16:
                per_state = bool(steps) and steps[-1].unit is None
                seen = support.observations[:_MEASURED_AT]
                slope, r2 = achieved_beta(flows[-1], behaviour, critic, seen, per_state=per_state)
        return Trained(
            policy=self.policy(actor, method, critic),
            behaviour=None if behaviour is None else self.policy(FlowActor(behaviour), "bc"),
            critic=critic,
            between=tuple(
                (step.beta, self.policy(FlowActor(flow), method))
                for step, flow in zip(steps[:-1], flows[:-1], strict=False)
            ),
            steps=list(steps),
            check=None if critic is None else self.check(critic, stage),
            support=support,
            achieved_beta=slope,
            tilt_r2=r2,
            history=self.history,
            curves=self.curves,
            seconds=self.seconds,
            notes=self.notes,
        )
