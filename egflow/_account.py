"""The account of a flow: sample it, and hold the samples and its density against the weighted data."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import torch
from torch import Tensor

from egflow.energy import EnergyModel, EnergyValues
from egflow.flow import Flow
from egflow.report import TiltReport, held_out_split, report
from egflow.solver import Solver
from egflow.training import mix
from egflow.weights import Resample, log_weights, n_eff, per_condition_weights

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
    energy: EnergyModel,
    x: Tensor,
    energies: EnergyValues,
    *,
    condition: Tensor | None,
    sample_weight: Tensor | None,
    per_condition: bool,
    options: ReportOptions,
    facts: Mapping[str, Any],
    notes: Mapping[str, str],
) -> TiltReport:
    """The report of a tilted flow against data x (N, *event) with their energies.

    Conditions of the samples are drawn from the weighted marginal. Above 16 dimensions densities are estimated with 8
    Hutchinson probes, and an achieved beta that explains less than half of their variance is null, with a note.

    Args:
        facts: ``seed`` and other keys of report.json; those of the options win.
        notes: reasons that are to stand in the report.
    """
    facts = {**facts, **options.facts}
    seed, beta = facts["seed"], float(flow.beta or 0.0)
    log_w = log_weights(energies, beta, sample_weight)
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
        index, _ = Resample().prepare(log_w, torch.zeros_like(log_w))(u)
        sample_condition = condition[index]
    started = time.monotonic()
    solution = flow.solve(n, sample_condition, solver=options.solver, rtol=options.rtol, atol=options.atol, seed=seed)
    seconds = {"train": round(flow.train_seconds, 3), "sample": round(time.monotonic() - started, 3)}
    probes = None if x[0].numel() <= _EXACT_DIVERGENCE else _PROBES
    base = flow.base

    def log_prob(of: Flow, points: Tensor, c: Tensor | None) -> Tensor:
        # the same probes for both flows, so that part of their noise cancels
        return of.log_prob(points, c, probes=probes, rtol=options.rtol, atol=options.atol, seed=seed).cpu()

    dense = options.has_density
    if not dense:
        notes = {**notes, "achieved_beta": "the data are quantised or clipped: they have no density"}
    made = report(
        solution.y.cpu(),
        energy,
        beta,
        x,
        condition=condition,
        sample_condition=sample_condition,
        sample_weight=sample_weight,
        energies=energies,
        per_condition=per_condition,
        log_q=(lambda points, c: log_prob(flow, points, c)) if dense else None,
        log_base=(lambda points, c: log_prob(base, points, c)) if dense and base is not None else None,
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
