"""The report of a flow made in rounds: against the weighted pool, for at a far beta p has no draws."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor

from egflow._account import ReportOptions, account
from egflow._rounds_work import Work
from egflow._tilt_inputs import TiltInputs
from egflow.energy import EnergyValues
from egflow.flow import Flow
from egflow.report import TiltReport
from egflow.rounds import Outcome, arranged, effective, mixing, pool_log_w, split_parts

_REPORTED = 1_000  # samples, at least


def report_rounds(
    flow: Flow,
    inputs: TiltInputs,
    found: Outcome,
    work: Work,
    reporting: ReportOptions,
    notes: dict[str, str],
    method: str,
) -> TiltReport:
    """The account against the pool's held-out tenth, whose weights are those of the rounds.

    With ``reference: density`` the pool stands for the data; with ``base`` its held-out part alone does. Where the data
    reached beta by themselves the account is the usual one, ``reference: data``.
    """
    notes = {**notes, **flow.notes}
    facts: dict[str, Any] = {
        "method": method,
        "seed": work.seed,
        "rounds": {
            "beta_reached": found.beta,
            "base_error": found.base_error,
            "calls": found.calls,
            "stopped": found.word,
            "rounds": found.records,
        },
    }
    if work.log_p is None and inputs.reference == "data" and found.flow is work.anchor:
        facts["rounds"]["base_error"] = None
        notes = {"base_error": "beta was reached by the data themselves", **notes}
        values, weight = [replace(inputs.values[0], calls=found.calls)], inputs.weight
        return _account(flow, inputs, inputs.x, values, weight, reporting, facts | {"reference": "data"}, notes)

    parts, reference = found.parts, "base" if work.log_p is None else "density"
    train, held = split_parts(parts)
    order = held if reference == "base" else arranged(train, held)
    if reporting.n is None:
        left = effective(pool_log_w(parts, found.beta)[held])
        reporting = replace(reporting, n=int(min(10_000, max(_REPORTED, 2 * left))))
    log_s = torch.cat([part.log_ratio + mixing(part, found.beta) for part in parts])[order]
    log_s = log_s.masked_fill(~(log_s < math.inf), -math.inf)
    values = torch.cat([part.energies.values for part in parts])[order]
    # against the row that counts most: against one far out, up a steep wall, all others would be 0
    log_s = (log_s - log_s[(log_s - found.beta * values).argmax()]).clamp(max=700.0)
    forbidden = torch.cat([part.energies.forbidden for part in parts])[order]
    facts["reference"] = reference
    untilted = inputs.values[0]
    if reference == "base" and inputs.reference == "data":
        facts["against_data"] = (inputs.x, inputs.values[0])
    elif reference == "base":
        untilted = parts[0].energies
    made = _account(
        flow,
        inputs,
        torch.cat([part.x for part in parts])[order],
        [EnergyValues(values, forbidden, calls=found.calls)],
        log_s.exp(),
        reporting,
        facts,
        notes,
        log_p=work.density if work.log_p is not None else _density(work.anchor, reporting),
    )
    # the pool is made for this beta and tells little of p: the mean of p's own draws, and Z by the rounds
    base = work.own_draws(inputs) if reference == "density" else None
    share = torch.softmax(torch.zeros(len(untilted)).double() if base is None else base.log_ratio, 0)
    share = share * ~untilted.forbidden
    mean = float(share @ untilted.values / share.sum())
    achieved = None if made.achieved_beta is None else made.achieved_beta + work.anchor_beta
    mean_energy = {**made.energy_mean, "base": mean}
    return replace(made, energy_mean=mean_energy, log_z=found.log_z, log_z_stderr=None, achieved_beta=achieved)


def _account(
    flow: Flow,
    inputs: TiltInputs,
    x: Tensor,
    values: list[EnergyValues],
    weight: Tensor | None,
    reporting: ReportOptions,
    facts: dict[str, Any],
    notes: dict[str, str],
    log_p: Callable[[Tensor], Tensor] | None = None,
) -> TiltReport:
    return account(
        flow,
        inputs.models,
        x,
        values,
        condition=None,
        sample_weight=weight,
        per_condition=False,
        options=reporting,
        facts=facts,
        notes=notes,
        log_p=log_p,
    )


def _density(anchor: Flow, reporting: ReportOptions) -> Callable[[Tensor], Tensor]:
    """What the rounds' last flow is a tilt of, by beta − anchor_beta; the slope on −E is that difference."""
    return lambda x: anchor.log_prob(x.to(anchor.device), rtol=reporting.rtol, atol=reporting.atol).cpu()
