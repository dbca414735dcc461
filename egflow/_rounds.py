"""`tilt(..., rounds=)`: the rounds of `egflow.rounds` with real flows, energies, files and the report."""

from __future__ import annotations

import math
import sys
import warnings
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

from egflow._account import ReportOptions
from egflow._fit import warm_start
from egflow._rounds_data import begin_with_data
from egflow._rounds_report import report_rounds
from egflow._rounds_work import LogP, Work
from egflow._tilt_inputs import AUTO_ESS, TiltInputs
from egflow.flow import Flow, TokenFlow
from egflow.objective import METHODS
from egflow.rounds import MOST_ROUNDS, Begin, Outcome, Rules, Store, run_rounds
from egflow.training import TrainingOptions

_DIMENSIONS = 64  # up to which a flow's likelihood is exact
_MOST_PROPOSALS, _LEAST_PROPOSALS = 20_000, 2_000  # a round
_REPORTED = 1_000  # samples of the report where calls are limited


def tilt_in_rounds(
    base: Flow,
    inputs: TiltInputs,
    beta: float,
    *,
    rounds: str | int,
    target_ess: float | None,
    log_p: LogP | None,
    max_calls: int | None,
    method: str,
    cache: str | Path | None,
    steps: int,
    batch_size: int,
    seed: int,
    options: TrainingOptions,
    reporting: ReportOptions,
) -> Flow:
    """A flow of q at beta, or at the farthest beta that could be vouched for, with a warning.

    With ``log_p`` the report's reference is "density", and the data are draws of it. Without, it is "base": p means the
    density of a flow fitted to the data, with an error bar (`egflow._rounds_data`), or of the base, if no data are
    given; and "data" where these reach beta by themselves.

    Raises:
        ValueError: for flows without an exact likelihood, a log_p that is none, or a budget below the data's calls.
        TrainingError: for a round without one finite energy, or a loss that is not finite.
    """
    _check_likelihood(base)
    calls = inputs.values[0].calls
    reserve = _reserve(max_calls, calls, len(inputs.x), reporting)
    rules = Rules(
        goal=beta,
        target_ess=AUTO_ESS if target_ess is None else target_ess,
        most=MOST_ROUNDS if isinstance(rounds, str) else rounds,
        proposals=min(_MOST_PROPOSALS, max(_LEAST_PROPOSALS, len(inputs.x))),
        max_calls=None if max_calls is None else max_calls - (reserve or 0),
    )
    reference = "base" if log_p is None else "density"
    facts: dict[str, Any] = {"beta": beta, "target_ess": rules.target_ess, "proposals": rules.proposals, "seed": seed}
    facts |= {"steps": steps, "max_calls": max_calls, "energy": inputs.models[0].describe(), "n": len(inputs.x)}
    facts |= {"reference": reference}
    store = Store(None if options.folder is None else options.folder / "rounds", facts, options.resume)
    objective, model = METHODS[method], inputs.models[0]
    work = Work(base, model, log_p, cache, objective, steps, batch_size, seed, options, store, anchor=base)
    notes, say = dict(inputs.notes), _say(rules, options)
    if reference == "base" and inputs.reference == "data":
        found = _from_data(work, inputs, rules, notes, say)
    else:
        if reference == "base":
            notes["base_error"] = "p is the base flow, and no data were given to hold it against"
        begin = Begin(base, work.own_draws(inputs), inputs.x.cpu(), calls)
        found = run_rounds(begin, rules, work, say=say)
    flow = warm_start(base) if found.flow is base else found.flow
    flow.base, flow.energy, flow.beta = base, model, found.beta
    flow.train_seconds = work.seconds
    if found.word is not None:
        notes["rounds"] = f"stopped ({found.word}): {found.reason}"
        warnings.warn(f"rounds stopped at beta {found.beta:.4g} of {beta:g}: {found.reason}", stacklevel=3)
    flow.report = report_rounds(flow, inputs, found, work, replace(reporting, n=reserve or reporting.n), notes, method)
    return flow


def _from_data(
    work: Work, inputs: TiltInputs, rules: Rules, notes: dict[str, str], say: Callable[[int, dict[str, Any]], None]
) -> Outcome:
    """Rounds where log p is not known: the data's own, then those of the density fitted to them."""
    first = begin_with_data(work, inputs, rules, notes)
    begin = first.begin
    for number, line in enumerate(begin.records, 1):
        say(number, line)
    if first.done:
        word, reason = (None, "") if begin.beta == rules.goal else rules.used_up(begin.calls)
        records = list(begin.records)
        return Outcome(begin.flow, begin.beta, word, reason, None, begin.log_z, [begin.fresh], begin.calls, records)
    notes["reference"] = (
        f"p means the density of the flow fitted to the data, weighted for beta {begin.beta:.4g}"
        if begin.beta != 0.0
        else "p means the density of the base"
    )
    return run_rounds(begin, rules, work, tail=first.tail, say=say)


def _check_likelihood(base: Flow) -> None:
    if isinstance(base, TokenFlow):
        if base.path.likelihood != "exact":
            raise ValueError(f"rounds weight by exact likelihoods: path {base.path.name!r} has none, 'sequential' has")
        return
    size = math.prod(base.event_shape)
    if size > _DIMENSIONS:
        raise ValueError(
            f"rounds weight by exact likelihoods, to be had up to {_DIMENSIONS} dimensions; the events have {size}: "
            "tilt without rounds, at a beta the data support"
        )


def _reserve(max_calls: int | None, spent: int, n: int, reporting: ReportOptions) -> int | None:
    """How many of the calls are kept for the report's samples; None without a limit."""
    if max_calls is None:
        return None
    if max_calls < n:
        raise ValueError(f"max_calls={max_calls} is below the calls of the data alone, {n}: raise it, or bring fewer")
    spare = max_calls - spent
    reserve = min(reporting.n or _REPORTED, spare // 5)
    if reserve < 20:
        raise ValueError(f"max_calls={max_calls} leaves {spare} calls past the data's {spent}: at least 100 are needed")
    return reserve


def _say(rules: Rules, options: TrainingOptions) -> Callable[[int, dict[str, Any]], None]:
    def say(number: int, line: dict[str, Any]) -> None:
        if options.progress != "quiet":
            various = "" if line["diversity"] is None else f"diversity {line['diversity']:.3g}, "
            print(
                f"round {number}: beta {line['beta']:.4g} of {rules.goal:g}, n_eff {line['n_eff']:,.0f}, "
                f"best {line['best']:.4g}, mean {line['mean']:.4g}, {various}calls {line['calls']:,}",
                file=sys.stderr,
                flush=True,
            )

    return say
