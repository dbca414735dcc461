"""The core's account of a policy: its actions against the support of each state, weighted by exp(beta·Q) within it.

    rows (s, a_j), energy −A(s, a_j),  A = Q − mean Q of the behaviour there,  weight exp(beta·A_j) / Σ_k exp(beta·A_k)

which sums to 1 in every state: the differences between states, that no policy can choose, are out of it.
"""

from __future__ import annotations

import time
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor

from egflow.domain import Job
from egflow.energy import EnergyValues
from egflow.report import TiltReport, report
from egflow_offline_rl._kept import Kept, value
from egflow_offline_rl.actors import FlowActor
from egflow_offline_rl.options import Options
from egflow_offline_rl.policy import Policy, actor_device
from egflow_offline_rl.qipo import q_unit
from egflow_offline_rl.support import effective, log_weights_within

WITH_BETA = ("qipo", "qipo_ot", "qipo_diff", "guided_actor", "qgpo")
"""Methods that aim at μ·exp(beta·Q); of the others the account is at beta 0, against the data as they are."""


_IN_ROUNDS = ("qipo", "guided_actor")
_DENSITY = ("achieved_beta", "tilt_r2")


def account(kept: Kept, job: Job, options: Options) -> TiltReport:
    """The report of a run's policy on its held-out states; ``domain_metrics`` holds what concerns Q."""
    states = min(job.n, len(kept.support.observations))
    seen, actions, q = (getattr(kept.support, name) for name in ("observations", "actions", "q"))
    beta, unit = total_beta(kept, job), _unit(kept, job, options)
    centre = (q[:, 1:] if q.shape[1] > 1 else q).double().mean(1, keepdim=True)
    advantage = (q.double() - centre) / unit
    norms = torch.logsumexp(beta * advantage, 1, keepdim=True)
    inside = torch.exp(norms.min() - norms)  # only ratios count; past some 700 a state's share is nil, and said
    started = time.monotonic()
    made = policy_actions(kept.policy, seen[:states], job.seed)
    seconds = round(time.monotonic() - started, 3)
    own = (value(kept.policy, seen[:states], made[:, None]).double() - centre[:states]) / unit[:states]
    rows = torch.cat([seen[:, None].expand(-1, actions.shape[1], -1), actions], 2).flatten(0, 1)
    several = actions.shape[1] > 1
    record = kept.record
    made_report = report(
        torch.cat([seen[:states], made], 1),
        _known_already,
        beta,
        rows,
        sample_weight=inside.expand_as(advantage).flatten(),
        energies=EnergyValues.from_tensor(-advantage.flatten()),
        sample_energies=EnergyValues.from_tensor(-own.flatten()),
        reference="base" if several else "data",
        energy_name=_energy_name(kept, job, options),
        notes={**_notes(kept, job, beta), **_lost(inside), **record["notes"]},
        domain="offline_rl",
        method=job.method,
        seed=job.seed,
        device=str(job.device),
        seconds={"train": round(sum(record["seconds"].values()), 1), "sample": seconds},
        nfe=evaluations(kept.policy),
        rounds=_rounds(record["steps"], beta),
        domain_metrics=_q_metrics(kept, beta, unit),
        threads=torch.get_num_threads(),
        seconds_by_stage=record["seconds"],
        beta_asked=job.beta,
        target_ess=job.target_ess,
    )
    known = record["achieved_beta"] is not None
    return replace(
        made_report,
        log_z=None,
        log_z_stderr=None,
        achieved_beta=record["achieved_beta"] * _to_unit(record["steps"], unit) if known else None,
        tilt_r2=record["tilt_r2"],
        notes={key: word for key, word in made_report.notes.items() if not (known and key in _DENSITY)},
    )


def _to_unit(steps: list[dict[str, Any]], unit: Tensor) -> float:
    """From the scale an achieved beta was measured on to the report's: that of each state is the report's already."""
    return 1.0 if steps and steps[-1]["unit"] is None else float(unit.mean())


def total_beta(kept: Kept, job: Job) -> float:
    """The beta that the policy aims at, on the scale of the report's energy: all rounds or renewals together."""
    if job.method not in WITH_BETA:
        return 0.0
    steps = kept.record["steps"]
    return float(steps[-1]["beta"]) if steps and job.method not in _IN_ROUNDS else job.beta


@torch.no_grad()
def policy_actions(policy: Policy, observations: Tensor, seed: int) -> Tensor:
    """Its actions at standardised observations (n, obs), clipped, in units of the space: (n, act)."""
    return policy.actor(observations.to(actor_device(policy.actor)), seed).float().cpu().clamp(-1, 1)


def evaluations(policy: Policy) -> float | None:
    """Network evaluations an action takes; None where the actor does not say."""
    if isinstance(policy.actor, FlowActor):
        seen = torch.zeros(1, policy.observation_size, device=actor_device(policy.actor))
        return float(policy.actor.flows["flow"].solve(1, seen, solver=policy.actor.config["solver"]).nfe)
    return None if getattr(policy.actor, "flows", None) else 1.0


def _unit(kept: Kept, job: Job, options: Options) -> Tensor:
    """What A is divided by, (S, 1) float64: 1, or σ_Q as `normalize` says, so that beta is what was asked for."""
    q, steps = kept.support.q.double(), kept.record["steps"]
    one = torch.ones(len(q), 1, dtype=torch.float64)
    if job.method not in _IN_ROUNDS or not steps:
        return one
    if options.normalize == "per_state_std":
        return q_unit(q, "per_state_std")
    return one * steps[-1]["unit"]


def _lost(inside: Tensor) -> dict[str, str]:
    lost = int((inside == 0).sum())
    if not lost:
        return {}
    return {"energy_mean": f"beta·Q is so large at {lost} of {len(inside)} states that they are left out"}


def _energy_name(kept: Kept, job: Job, options: Options) -> str:
    if kept.policy.critic is None:
        return "none (the method has no critic)"
    unit = {"global_std": " / σ_Q", "per_state_std": " / σ_Q(s)"}.get(options.normalize, "")
    return "−(Q − mean Q of the state)" + (unit if job.method in _IN_ROUNDS else "")


def _rounds(steps: list[dict[str, Any]], beta: float) -> dict[str, Any] | None:
    if not steps:
        return None
    return {"beta_reached": beta, "base_error": None, "calls": None, "stopped": None, "rounds": steps}


def _notes(kept: Kept, job: Job, beta: float) -> dict[str, str]:
    p = "the data's own actions, a tenth of them,"
    if kept.support.actions.shape[1] > 1:
        p = f"{kept.support.actions.shape[1] - 1} draws of the behaviour flow and the data's own action,"
    notes = {
        "reference": f"{p} at states of held-out episodes (of all, where there are fewer than four)",
        "base_error": "p is fresh draws of the behaviour flow itself",
        "log_z": "weights are normalised within each state: there is no single Z",
    }
    if job.method not in WITH_BETA:
        notes["beta"] = f"{job.method} has no beta of this kind: its actions are held against the data's own, at beta 0"
    elif job.method in ("qipo_ot", "qipo_diff") and beta != job.beta:
        notes["beta"] = f"{len(kept.record['steps'])} renewals at beta {job.beta:g} each multiply up to {beta:g}"
    elif job.method == "guided_actor":
        notes["beta"] = "the weighted flow's; the actor is kept near it while it climbs Q, and may go past it"
    if kept.record["achieved_beta"] is None:
        notes |= dict.fromkeys(_DENSITY, "the method has no density, or no critic")
    return notes


def _q_metrics(kept: Kept, beta: float, unit: Tensor) -> dict[str, Any]:
    """What concerns Q within the support and against returns."""
    check = kept.record["check"] or {}
    several = kept.support.q.shape[1] > 1 and kept.policy.critic is not None
    scaled = kept.support.q.double() / unit
    log_w = log_weights_within(scaled, beta)
    return {
        "data": kept.record["data"],
        "transitions": kept.record["transitions"],
        "support": kept.support.q.shape[1] - 1,
        "sigma_q": kept.support.sigma_q if several else None,
        "beta_sigma_q": beta * float(scaled.std(1).mean()) if several else None,
        "support_n_eff": float(effective(log_w).mean()) if several else None,
        "support_max_weight": float(log_w.exp().amax(1).mean()) if several else None,
        "q_return_correlation": check.get("correlation"),
        "q_return_bias": check.get("bias"),
        "q_drift": check.get("drift"),
    }


def _known_already(x: Tensor) -> Tensor:
    raise AssertionError("energies of data and samples are given")
