"""The account of a flow: sample it, and hold the samples and its density against the weighted data."""

from __future__ import annotations

import itertools
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import torch
from torch import Tensor

from egflow._account_tokens import token_correction, token_notes
from egflow._group import evaluate_together, group
from egflow._sharing import log_prob_together, solve_together
from egflow.energy import EnergyModel, EnergyValues
from egflow.flow import Flow, TokenFlow
from egflow.report import TiltReport, combine, held_out_split, report, weighted_sum
from egflow.solver import Solver
from egflow.training import mix
from egflow.weights import log_weights, n_eff, per_condition_weights, resample

_EXACT_DIVERGENCE = 16  # dimensions up to which the report's densities are exact
_PROBES = 8
_LEAST_R2 = 0.5  # below it, with probes, the regression shows their noise and not the tilt


@dataclass(frozen=True, slots=True)
class ReportOptions:
    """How a tilt is reported.

    Attributes:
        n: samples generated for it; None is twice the effective held-out points, between 1,000 and 10,000.
        has_density: False where data are known to be quantised or clipped.
        solver, rtol, atol: how samples are drawn and densities integrated (by `adams` where the solver has none).
        facts: keys of report.json the caller knows, such as ``domain``.
    """

    n: int | None = None
    has_density: bool = True
    solver: str | Solver | None = None
    rtol: float = 1e-5
    atol: float = 1e-5
    facts: Mapping[str, Any] = field(default_factory=dict)


def account(
    flow: Flow,
    energies: Sequence[EnergyModel],
    x: Tensor,
    values: Sequence[EnergyValues],
    *,
    condition: Tensor | None,
    sample_weight: Tensor | None,
    per_condition: bool,
    options: ReportOptions,
    facts: Mapping[str, Any],
    notes: Mapping[str, str],
    log_p: Callable[[Tensor], Tensor] | None = None,
) -> TiltReport:
    """The report of a tilted flow against data x (N, *event) with the values of each of its energies.

    Conditions of the samples are drawn from the weighted marginal. Above 16 dimensions densities are estimated with 8
    Hutchinson probes, and an achieved beta that explains less than half of their variance is null, with a note. A flow
    of every beta is reported at some of them, `report_betas`.

    Args:
        facts: ``seed`` and other keys of report.json; those of the options win.
        notes: reasons that are to stand in the report.
        log_p: the log-density of p where it is known; the achieved beta is then against it, not the base's.
    """
    parts = (x, condition, sample_weight, per_condition)
    if flow.beta_range is None:
        beta = flow.beta or 0.0
        return _account_at(flow, energies, values, beta, *parts, options, facts, notes, log_p)
    reports = []
    betas = report_betas(flow.beta_range)
    for beta in betas:
        last = beta == betas[-1]  # whose samples are the run's own
        sized = options if last else replace(options, n=None)
        reports.append(_account_at(flow.at(beta), energies, values, beta, *parts, sized, facts, notes if last else {}))
    ranges = [list(ends) for ends in flow.beta_range]
    return combine(reports, ranges[0] if len(ranges) == 1 else ranges)


def report_betas(beta_range: Sequence[tuple[float, float]]) -> list[float | tuple[float, ...]]:
    """Where a flow of every beta is reported, the upper end last: five places; of several energies, a grid.

    >>> report_betas([(0.0, 8.0)])
    [0.0, 2.0, 4.0, 6.0, 8.0]
    """
    if len(beta_range) == 1:
        low, high = beta_range[0]
        return [low + (high - low) * k / 4 for k in range(5)]
    levels = 3 if len(beta_range) == 2 else 2
    ends = [[low + (high - low) * k / (levels - 1) for k in range(levels)] for low, high in beta_range]
    return list(itertools.product(*ends))


def _account_at(
    flow: Flow,
    models: Sequence[EnergyModel],
    values: Sequence[EnergyValues],
    beta: float | tuple[float, ...],
    x: Tensor,
    condition: Tensor | None,
    sample_weight: Tensor | None,
    per_condition: bool,
    options: ReportOptions,
    facts: Mapping[str, Any],
    notes: Mapping[str, str],
    log_p: Callable[[Tensor], Tensor] | None = None,
) -> TiltReport:
    """The report at one beta, or at one beta of each energy."""
    several = isinstance(beta, tuple)
    total = weighted_sum(values, beta) if isinstance(beta, tuple) else values[0]
    facts = {**facts, **options.facts}
    seed = facts["seed"]
    log_w = log_weights(total, 1.0 if isinstance(beta, tuple) else beta, sample_weight)
    if per_condition and condition is not None:
        log_w = per_condition_weights(log_w, condition, sample_weight)
    n = options.n
    if n is None:
        held_out = log_w[held_out_split(len(x))[1]]
        left = n_eff(held_out) if bool((held_out > -torch.inf).any()) else 0.0
        n = int(min(10_000, max(1_000, 2 * left)))
    sample_condition = None
    if condition is not None:
        u = torch.rand(n, generator=torch.Generator().manual_seed(mix(seed, -6)), dtype=torch.float64)
        sample_condition = condition[resample(log_w, u)]
    started = time.monotonic()
    solution = solve_together(
        flow, n, sample_condition, solver=options.solver, rtol=options.rtol, atol=options.atol, seed=seed
    )
    seconds = {"train": round(flow.train_seconds, 3), "sample": round(time.monotonic() - started, 3)}
    tokens = flow if isinstance(flow, TokenFlow) else None
    probes = None if x[0].numel() <= _EXACT_DIVERGENCE or tokens else _PROBES
    base = flow.base
    sample_energies: EnergyValues | Sequence[EnergyValues] | None = None
    if tokens:
        notes = {**token_notes(tokens, solution), **notes}
        facts["pad_id"] = tokens.pad_id
        # of many processes one alone weighs them: an energy is asked about a sample once
        if corrected := group().first(lambda: token_correction(tokens, models, beta, solution)):
            facts["correction"] = corrected[0]
            how = "where told to" if facts.get("method") == "trajectory_balance" else "unless told not to"
            notes["correction"] = f"the figures are of the flow itself; sample() corrects its samples {how}"
            sample_energies = None if several else corrected[1]

    def log_prob(of: Flow, points: Tensor, c: Tensor | None) -> Tensor:
        # the same probes for both flows, so that part of their noise cancels
        return log_prob_together(of, points, c, probes=probes, rtol=options.rtol, atol=options.atol, seed=seed)

    def log_base(points: Tensor, c: Tensor | None) -> Tensor:
        assert base is not None
        return log_prob(base, points, c) if log_p is None else log_p(points)

    if sample_energies is None and group().size > 1:
        y = solution.y.cpu()
        shared = [evaluate_together(one, y, sample_condition, allow_all_forbidden=True) for one in models]
        sample_energies = shared if several else shared[0]
    dense = options.has_density and (tokens is None or tokens.path.likelihood != "none")
    if not options.has_density:
        notes = {**notes, "achieved_beta": "the data are quantised or clipped: they have no density"}
    made = report(
        solution.y.cpu(),
        list(models) if several else models[0],
        beta,
        x,
        condition=condition,
        sample_condition=sample_condition,
        sample_weight=sample_weight,
        energies=list(values) if several else values[0],
        sample_energies=sample_energies,
        per_condition=per_condition,
        log_q=(lambda points, c: log_prob(flow, points, c)) if dense else None,
        log_base=log_base if dense and base is not None else None,
        nfe=float(solution.nfe.double().mean()),
        seconds=seconds,
        device=str(flow.device),
        threads=torch.get_num_threads(),
        notes=notes,
        **facts,
    )
    if probes is not None and made.tilt_r2 is not None and made.tilt_r2 < _LEAST_R2:
        reason = (
            f"R² is {made.tilt_r2:.2f}: with {probes} Hutchinson probes in {x[0].numel()} dimensions the noise of the "
            "densities hides the tilt"
        )
        made = replace(
            made, achieved_beta=None, tilt_r2=None, notes={**made.notes, "achieved_beta": reason, "tilt_r2": reason}
        )
    return made
