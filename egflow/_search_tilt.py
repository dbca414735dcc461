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
from egflow.energy import EnergyModel, evaluate
from egflow.flow import Flow, TokenFlow
from egflow.rounds import Editor, Rows
from egflow.training import TrainingOptions, mix

CALLS = 10_000  # where max_calls is not given
_RATE = 1 / 6  # of the learning rate: a whole network that starts near its end
_REPORTED = 1_000
_FEWEST = 200


def can_search(base: Flow | None) -> bool:
    """Whether `tilt_by_search` takes this base."""
    return isinstance(base, TokenFlow) and base.path.likelihood == "exact" and base.condition_shape is None


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
    plan = Plan(
        calls - reserve,
        None if isinstance(rounds, str) else rounds,
        steps,
        batch_size,
        _RATE * options.learning_rate,
        seed,
    )
    folder = None if options.folder is None else options.folder / "rounds"
    if folder is not None and not options.resume and (folder / "calls.safetensors").exists():
        raise ValueError(f"{folder} holds rounds of another run: pass resume=True, or another folder")
    search = Search(base, energy, beta, plan, editor_of(base), folder, cache, options.progress).run()
    flow, notes = search.flow, {}
    flow.base, flow.energy, flow.beta, flow.train_seconds = base, energy, beta, search.seconds
    flow.calls = search.pool
    x, log_q = flow.sample_with_log_prob(reserve // 2, seed=mix(seed, 8))
    x = x.cpu()
    values = evaluate(energy, x, cache=cache, allow_all_forbidden=True)
    log_ratio = base.log_prob(x).cpu() - log_q.cpu()
    log_w = (log_ratio - beta * values.values).masked_fill(values.forbidden, -math.inf)
    if not bool((log_w > -math.inf).any()):
        raise ValueError("every sample of the searched flow is forbidden: lower beta, or give more calls")
    log_z = float(torch.logsumexp(log_w, 0)) - math.log(len(log_w))
    stopped = None
    if len(search.pool) < plan.calls:
        stopped = "repeats" if plan.rounds is None else "rounds"
        made_so_far = f"{len(search.pool):,} of {plan.calls:,} calls were made in {len(search.records)} rounds"
        notes["rounds"] = f"stopped ({stopped}): {made_so_far}"
        warnings.warn(f"the search {notes['rounds']}", stacklevel=3)
    notes["base_error"] = "p is the base flow, and no data were given to hold it against"
    notes["data"] = f"p means the base flow: {len(x)} draws of q weighted by p·exp(−beta·E)/q stand for the target"
    log_s = (log_ratio - log_ratio[log_w.argmax()]).clamp(max=700.0)  # against the row that counts most
    own = ~search.pool.edited & (search.pool.round == 1) & search.pool.energy.isfinite()
    facts: dict[str, Any] = {
        "method": "balance",
        "seed": seed,
        "reference": "base",
        "rounds": {
            "beta_reached": beta,
            "base_error": None,
            "calls": len(search.pool),
            "stopped": stopped,
            "rounds": search.records,
        },
    }
    made = account(
        flow,
        [energy],
        x,
        [replace(values, calls=values.calls + len(search.pool), failed=values.failed + search.pool.failed)],
        condition=None,
        sample_weight=log_s.exp(),
        per_condition=False,
        options=replace(reporting, n=reserve - reserve // 2),
        facts=facts,
        notes=notes,
    )
    base_mean = float(search.pool.energy[own].mean()) if bool(own.any()) else None
    mean = {**made.energy_mean, "base": base_mean}
    flow.report = replace(made, energy_mean=mean, log_z=log_z, log_z_stderr=None)
    return flow


def editor_of(base: Flow) -> Editor:
    """What the base's domain knows of its sequences; `Rows` where there is none."""
    spec = None if base.domain is None else find_domain(base.domain)
    return Rows() if spec is None or not spec.editor else spec.find(spec.editor)
