"""QIPO: from the behaviour μ to a policy ∝ μ·exp(beta·Q), by weighted flow matching on supports (arXiv 2503.04975, §5).

Two schedules of beta, both with Q frozen and both on supports of M actions of the current policy:

    fixed total (ours)     π_k ∝ π_{k−1}·exp(Δβ_k Q),  Σ_k Δβ_k = beta       so  π_K ∝ μ·exp(beta·Q)
    renewal (published)    every `renew_every` steps {data action} ∪ {M of π}, weights softmax(beta·Q) again:
                           after l renewals  π ∝ μ·exp((l + 1)·beta·Q),  without end

In the first, Δβ_k is the largest at which a mean share ``target_ess`` of a state's support stays effective, and a
defensive share of the draws comes from the behaviour's own support, weighted by exp(β_k Q) with β_k the sum so far:
both parts aim at π_k. What it is not: exact where beta·σ_Q within a support is large, for M actions show no better
action than the best of them (see `egflow_offline_rl.support`); the achieved beta is measured and reported.
"""

from __future__ import annotations

import sys
import time
from dataclasses import asdict, dataclass, replace
from typing import Any

import torch
from torch import Tensor, nn

from egflow.flow import Flow
from egflow.training import TrainingOptions, mix
from egflow_offline_rl.behaviour import train_on_support
from egflow_offline_rl.critic import evaluate_support
from egflow_offline_rl.support import (
    StateDraws,
    Support,
    draw_actions,
    effective,
    log_weights_within,
    solve_step,
)

_LOOKED_AT = 128  # states at which the achieved beta is measured


@dataclass(frozen=True, slots=True)
class Step:
    """One round or renewal.

    Attributes:
        number: from 1.
        beta: on Q's own scale (with per_state_std: in units of 1/σ of a state), the sum of the steps so far.
        step: Δβ of this one.
        unit: what Q was divided by, or None where that differs from state to state.
        sigma_q: of the support it was trained on.
        n_eff: mean effective number of the support's actions.
        max_weight: the largest weight of an action within its state, in the mean over states.
        achieved_beta, tilt_r2: slope and R² of log π − log μ on Q within states, see `achieved_beta`.
        steps: of the optimiser. seconds: of all.
    """

    number: int
    beta: float
    step: float
    unit: float | None
    sigma_q: float
    n_eff: float
    max_weight: float
    achieved_beta: float | None
    tilt_r2: float | None
    steps: int
    seconds: float

    def facts(self) -> dict[str, Any]:
        """Plain values, for a report."""
        return asdict(self)


@dataclass(frozen=True, slots=True)
class States:
    """Where a policy is improved: observations (S, obs) standardised, the data's actions (S, act) there in [-1, 1]."""

    observations: Tensor
    actions: Tensor


def in_rounds(
    behaviour: Flow,
    q: nn.Module,
    states: States,
    *,
    beta: float,
    target_ess: float,
    support: int,
    rounds: int,
    defensive: float,
    normalize: str,
    steps: int,
    batch_size: int,
    seed: int,
    options: TrainingOptions,
) -> tuple[list[Flow], list[Step]]:
    """A fixed total beta over rounds: π ∝ μ·exp(beta·Q / scale).

    Args:
        behaviour: the flow of μ.
        q: the critic, frozen.
        states: to train on.
        beta: the total, on the scale that ``normalize`` sets.
        target_ess: the mean share of a support that stays effective in a round.
        support: M, actions drawn at a state in each round.
        rounds: the most rounds; the last takes what is left of beta.
        defensive: share of draws from the behaviour's own support and the data's action.
        normalize: "none"; "global_std" divides Q by its mean standard deviation within the behaviour's support;
            "per_state_std" by each state's own, which makes beta a function of the state.
        steps: optimiser steps of all rounds together: a share each, and to the last what is left.
        batch_size, seed, options: of the trainings.

    Returns:
        The policy after each round, the last being the result, and a record of each.
    """
    own = draw_actions(behaviour, states.observations, support, seed=mix(seed, 41))
    own = torch.cat([states.actions[:, None], own], 1)
    own_q = evaluate_support(q, states.observations, own)
    unit = q_unit(own_q, normalize)
    flow, reached, spent, flows, done = behaviour, 0.0, 0, [], []
    for k in range(1, rounds + 1):
        started = time.monotonic()
        actions = own[:, 1:] if k == 1 else draw_actions(flow, states.observations, support, seed=mix(seed, 41, k))
        values = own_q[:, 1:] if k == 1 else evaluate_support(q, states.observations, actions)
        left = beta - reached
        step = left if k == rounds else solve_step(values / unit, target_ess, left)
        part = steps - spent if step == left else steps // rounds  # the last takes all that are left
        spent += max(1, part)
        reached += step
        fresh = log_weights_within(values / unit, step)
        old = log_weights_within(own_q / unit, reached)
        weights = torch.cat([(1 - defensive) * fresh.exp(), defensive * old.exp()], 1)
        flow = train_on_support(
            flow,
            states.observations,
            torch.cat([actions, own], 1),
            StateDraws.of(weights),
            steps=max(1, part),
            batch_size=batch_size,
            seed=mix(seed, 43, k),
            options=replace(options, stage=f"{options.stage}-round-{k:02d}"),
        )
        scale = None if unit.numel() > 1 else float(unit)
        sums = (reached / (scale or 1.0), step / (scale or 1.0), scale, max(1, part), time.monotonic() - started)
        done.append(_record(flow, behaviour, q, states, values, fresh, k, *sums))
        flows.append(flow)
        _tell(options, done[-1])
        if step == left:
            break
    return flows, done


def by_renewal(
    behaviour: Flow,
    q: nn.Module,
    states: States,
    *,
    beta: float,
    support: int,
    renew_every: int,
    steps: int,
    batch_size: int,
    seed: int,
    options: TrainingOptions,
) -> tuple[list[Flow], list[Step]]:
    """The published schedule: the same beta at every renewal, which multiplies up; see the module's head.

    Args:
        behaviour, q, states, batch_size, seed, options: as for `in_rounds`. On the vp path this is QIPO-Diff.
        beta: of each renewal, on Q's own scale.
        support: M.
        renew_every: steps between renewals.
        steps: in all.
    """
    flow, flows, done = behaviour, [], []
    count = max(1, steps // renew_every)
    for k in range(1, count + 1):
        started = time.monotonic()
        drawn = draw_actions(flow, states.observations, support, seed=mix(seed, 41, k))
        actions = torch.cat([states.actions[:, None], drawn], 1)
        values = evaluate_support(q, states.observations, actions)
        log_w = log_weights_within(values, beta)
        part = steps - (count - 1) * renew_every if k == count else renew_every
        flow = train_on_support(
            flow,
            states.observations,
            actions,
            StateDraws.of(log_w.exp()),
            steps=part,
            batch_size=batch_size,
            seed=mix(seed, 43, k),
            options=replace(options, stage=f"{options.stage}-renewal-{k:02d}"),
        )
        sums = (k * beta, beta, 1.0, part, time.monotonic() - started)
        done.append(_record(flow, behaviour, q, states, values, log_w, k, *sums))
        flows.append(flow)
        _tell(options, done[-1])
    return flows, done


def q_unit(q: Tensor, normalize: str) -> Tensor:
    """What Q is divided by: q (S, K) of the behaviour's support -> () or (S, 1)."""
    if normalize == "none":
        return torch.ones((), dtype=q.dtype)
    each = q.std(1, keepdim=True)
    typical = each.mean().clamp_min(1e-8)
    return typical if normalize == "global_std" else each.clamp_min(0.05 * typical)


def achieved_beta(
    policy: Flow,
    behaviour: Flow,
    q: nn.Module,
    observations: Tensor,
    *,
    per_state: bool = False,
    m: int = 4,
    seed: int = 0,
) -> tuple[float, float]:
    """Slope and R² of log π(a|s) − log μ(a|s) on Q(s, a) within states: beta, where π ∝ μ·exp(beta·Q).

    Both are centred within each state, where log Z(s) drops out; the actions are m of π's and m of μ's, not clipped.
    With ``per_state`` Q is divided by each state's own σ_Q, as by `q_unit`.
    """
    condition = observations.repeat_interleave(m, 0)
    made = [
        flow.sample(len(condition), condition, rtol=1e-3, atol=1e-3, seed=mix(seed, 47)) for flow in (policy, behaviour)
    ]
    both = torch.cat([part.reshape(len(observations), m, -1) for part in made], 1)
    flat, repeated = both.flatten(0, 1), observations.repeat_interleave(2 * m, 0)
    ratio = policy.log_prob(flat, repeated, rtol=1e-3, atol=1e-3) - behaviour.log_prob(
        flat, repeated, rtol=1e-3, atol=1e-3
    )
    y = ratio.double().reshape(len(observations), 2 * m)
    x = evaluate_support(q, observations, both.clamp(-1, 1)).double()
    if per_state:
        own = draw_actions(behaviour, observations, 16, seed=mix(seed, 49))
        x = x / q_unit(evaluate_support(q, observations, own).double(), "per_state_std")
    x, y = x - x.mean(1, keepdim=True), y - y.mean(1, keepdim=True)
    slope = float((x * y).sum() / x.square().sum().clamp_min(1e-300))
    left = float((y - slope * x).square().sum() / y.square().sum().clamp_min(1e-300))
    return slope, 1 - left


def held_support(flow: Flow, q: nn.Module, states: States, m: int, seed: int) -> Support:
    """The data's action and m of the behaviour's at each state, with their Q: (S, m + 1)."""
    drawn = draw_actions(flow, states.observations, m, seed=mix(seed, 53))
    actions = torch.cat([states.actions[:, None], drawn], 1)
    return Support(states.observations, actions, evaluate_support(q, states.observations, actions))


def _record(
    flow: Flow, behaviour: Flow, q: nn.Module, states: States, values: Tensor, log_w: Tensor, number: int, beta: float,
    step: float, unit: float | None, steps: int, seconds: float,
) -> Step:  # fmt: skip
    slope, r2 = None, None
    if states.actions.shape[1] <= 16:
        slope, r2 = achieved_beta(
            flow,
            behaviour,
            q,
            states.observations[:: max(1, len(states.observations) // _LOOKED_AT)],
            per_state=unit is None,
        )
    return Step(
        number, beta, step, unit, float(values.double().std(1).mean()), float(effective(log_w).mean()),
        float(log_w.exp().amax(1).mean()), slope, r2, steps, round(seconds, 1),
    )  # fmt: skip


def _tell(options: TrainingOptions, done: Step) -> None:
    if options.progress == "quiet":
        return
    achieved = "" if done.achieved_beta is None else f", achieved {done.achieved_beta:.3g} (R² {done.tilt_r2:.2f})"
    scale = "in 1/σ_Q(s)" if done.unit is None else "on Q's scale"
    text = f"{options.stage} {done.number}: beta {done.beta:.3g} (+{done.step:.3g}) {scale}{achieved}"
    text += f", σ_Q {done.sigma_q:.3g}"
    print(f"{text}, n_eff {done.n_eff:.1f}, largest weight {done.max_weight:.2f}", file=sys.stderr, flush=True)
