"""`tilt` by a search: its plan from the arguments, and the report of the flow it leaves."""

from __future__ import annotations

import math
import warnings
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch

from egflow._account import ReportOptions, account
from egflow._search import Plan, Search
from egflow.domain import find_domain
from egflow.energy import EnergyModel, EnergyValues, evaluate
from egflow.flow import Flow, TokenFlow
from egflow.network import AtBeta, Twisted
from egflow.rounds import Editor, Pool, Rows
from egflow.training import TrainingOptions, mix

CALLS = 10_000  # where max_calls is not given
_RATE = 1 / 6  # of the learning rate: a whole network that starts near its end
_REPORTED = 1_000
_FEWEST = 200


def can_search(base: Flow | None) -> bool:
    """Whether `tilt_by_search` takes this base."""
    if not isinstance(base, TokenFlow) or base.path.likelihood != "exact" or base.condition_shape is not None:
        return False
    return base.beta_range is None and not isinstance(base.network, AtBeta | Twisted)  # whose recurrent part is frozen


def tilt_by_search(
    base: TokenFlow,
    energy: EnergyModel,
    beta: float,
    *,
    rounds: str | int,
    max_calls: int | None,
    cache: str | Path | None,
    steps: int,
    batch_size: int,
    seed: int,
    options: TrainingOptions,
    reporting: ReportOptions,
) -> TokenFlow:
    """A flow of q at beta, fitted to p·exp(−beta·E) on what a search of ``max_calls`` calls found.

    A tenth of the calls, 1,000 at most, are kept for the report: half of them draws of q weighted by
    p·exp(−beta·E)/q, which stand for the target, half those samples that are held against it.

    Raises:
        ValueError: for a budget of too few calls.
    """
    calls = CALLS if max_calls is None else max_calls
    if calls < _FEWEST:
        raise ValueError(f"max_calls={calls} is too few for a search and its report: give at least {_FEWEST}")
    reserve = min(2 * (reporting.n or _REPORTED), max(2 * 40, calls // 10))
    most = None if isinstance(rounds, str) else rounds
    plan = Plan(calls - reserve, most, steps, batch_size, _RATE * options.learning_rate, seed)
    search = Search(base, energy, beta, plan, editor_of(base), options, cache).run()
    flow, pool, notes = search.flow, search.pool, {}
    flow.base, flow.energy, flow.beta, flow.train_seconds = base, energy, beta, search.seconds
    flow.calls, flow.history = pool, search.metrics.rows
    x, log_q = flow.sample_with_log_prob(reserve // 2, seed=mix(seed, 8))
    x = x.cpu()
    values = evaluate(energy, x, cache=cache, allow_all_forbidden=True)
    log_ratio = base.log_prob(x).cpu() - log_q.cpu()
    log_w = (log_ratio - beta * values.values).masked_fill(values.forbidden, -math.inf)
    if not bool((log_w > -math.inf).any()):
        raise ValueError("every sample of the searched flow is forbidden: lower beta, or give more calls")
    log_z = float(torch.logsumexp(log_w, 0)) - math.log(len(log_w))
    stopped = None
    if len(pool) < plan.calls:
        stopped = "repeats" if plan.rounds is None else "rounds"
        so_far = f"{len(pool):,} of {plan.calls:,} calls were made in {len(search.records)} rounds"
        notes["rounds"] = f"stopped ({stopped}): {so_far}"
        if plan.rounds is None:
            warnings.warn(f"the search {notes['rounds']}: items repeat", stacklevel=3)
    notes["base_error"] = "p is the base flow, and no data were given to hold it against"
    notes["data"] = f"p means the base flow: {len(x)} draws of q weighted by p·exp(−beta·E)/q stand for the target"
    log_s = (log_ratio - log_ratio[log_w.argmax()]).clamp(max=700.0)  # against the row that counts most
    facts: dict[str, Any] = {
        "method": "trajectory_balance",
        "seed": seed,
        "reference": "base",
        "rounds": {
            "beta_reached": beta,
            "base_error": None,
            "calls": len(pool),
            "stopped": stopped,
            "rounds": search.records,
        },
    }
    made = account(
        flow,
        [energy],
        x,
        [_counted(values, pool)],
        condition=None,
        sample_weight=log_s.exp(),
        per_condition=False,
        options=replace(reporting, n=reserve - reserve // 2),
        facts=facts,
        notes=notes,
    )
    # the weighted draws tell little of p: the mean of the first round's draws, which were p's own
    mean = {**made.energy_mean, "base": search.records[0]["mean"]}
    flow.report = replace(made, energy_mean=mean, log_z=log_z, log_z_stderr=None)
    return flow


def _counted(values: EnergyValues, pool: Pool) -> EnergyValues:
    """Energies of the report's draws, with the counts of the search."""
    return replace(
        values,
        calls=values.calls + len(pool) - pool.cached,
        failed=values.failed + pool.failed,
        cached=values.cached + pool.cached,
        failure=pool.failure or values.failure,
    )


def editor_of(base: Flow) -> Editor:
    """What the base's domain knows of its sequences; `Rows` where there is none."""
    spec = None if base.domain is None else find_domain(base.domain)
    return Rows() if spec is None or not spec.editor else spec.find(spec.editor)
