"""`tilt(..., rounds=)`: the rounds of `egflow.rounds` with real flows, energies, files and the report."""

from __future__ import annotations

import math
import sys
import warnings
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from egflow._account import ReportOptions, account
from egflow._fit import train_flow, warm_start
from egflow._rounds_bases import half_bases
from egflow._tilt_inputs import AUTO_ESS, TiltInputs
from egflow._weighting import Weighted
from egflow.energy import EnergyModel, EnergyValues, evaluate
from egflow.flow import Flow, TokenFlow
from egflow.objective import METHODS
from egflow.report import TiltReport
from egflow.report._tokens import token_view
from egflow.rounds import (
    LIMIT,
    Outcome,
    Proposals,
    Rules,
    Store,
    Tail,
    arranged,
    effective,
    mixing,
    pool_log_w,
    run_rounds,
    split_parts,
)
from egflow.rounds._loop import MOST_ROUNDS
from egflow.training import TrainingOptions, mix
from egflow.weights import Resample

LogP = Callable[[Tensor], Tensor]
_DIMENSIONS = 64  # up to which a flow's likelihood is exact
_TOLERANCE = 1e-3  # of proposals and their densities: log densities are right to about .001
_MOST_PROPOSALS, _LEAST_PROPOSALS = 20_000, 2_000  # a round
_HALVES = 4_000  # proposals a round that the half-data bases are asked about
_CHUNK = 8_192
_REPORTED = 1_000  # samples of the report where calls are limited
_PART = 4  # an intermediate refit has a quarter of the steps


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

    With ``log_p`` the report's reference is "density" and the data are draws of it. Without, p means the base's
    density: draws of the base stand in for the data, which serve to tell how far the base's tail can be trusted.

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
    facts: dict[str, Any] = {"beta": beta, "target_ess": rules.target_ess, "proposals": rules.proposals, "seed": seed}
    facts |= {"steps": steps, "max_calls": rules.max_calls, "energy": inputs.models[0].describe(), "n": len(inputs.x)}
    facts |= {"reference": "base" if log_p is None else "density"}
    store = Store(None if options.folder is None else options.folder / "rounds", facts, options.resume)
    work = _Work(base, inputs.models[0], log_p, cache, METHODS[method], steps, batch_size, seed, options, store)
    notes = dict(inputs.notes)
    if log_p is None and inputs.reference == "data":
        tail = work.measure_tail(inputs, notes)
        first = work.propose(base, rules.proposals_left(calls), 1)
        calls += first.energies.calls
        notes["rounds_data"] = "p means the base flow: its draws are trained on, the data only tell how far to trust it"
    else:
        tail, first = None, work.own_draws(inputs)
        if log_p is None:
            notes["base_error"] = "p is the base flow, and no data were given to hold it against"
    found = run_rounds(base, first, rules, work, calls=calls, tail=tail, say=_say(rules, options))
    flow = found.flow
    flow.base, flow.energy, flow.beta = base, inputs.models[0], found.beta
    flow.train_seconds = work.seconds
    if found.word is not None:
        notes["rounds"] = f"stopped ({found.word}): {found.reason}"
        if found.beta != beta:
            warnings.warn(f"rounds stopped at beta {found.beta:.4g} of {beta:g}: {found.reason}", stacklevel=3)
    flow.report = _report(flow, inputs, found, work, replace(reporting, n=reserve or reporting.n), notes, method)
    return flow


@dataclass(slots=True)
class _Work:
    """`egflow.rounds.Steps` on flows and energies."""

    base: Flow
    energy: EnergyModel
    log_p: LogP | None
    cache: str | Path | None
    objective: Any
    steps: int
    batch_size: int
    seed: int
    options: TrainingOptions
    store: Store
    halves: tuple[Flow, Flow] | None = None
    view: Callable[[Tensor], Tensor] | None = None
    seconds: float = 0.0

    def measure_tail(self, inputs: TiltInputs, notes: dict[str, str]) -> Tail | None:
        """Bases of the two halves of the data, and what their disagreement may be; None, noted, without them."""
        order = torch.randperm(len(inputs.x), generator=torch.Generator().manual_seed(mix(self.seed, -20)))
        index = (order[::2].sort().values, order[1::2].sort().values)
        fitted = half_bases(self.base, inputs, index, self.steps, self.batch_size, self.seed, self.options)
        if fitted is None:
            notes["base_error"] = "the base's network cannot be made anew, so there is no base of half the data"
            return None
        self.halves = fitted
        self.seconds += sum(half.train_seconds for half in fitted)
        values = inputs.values[0]
        finite = values.values[~values.forbidden]
        own = self.own_draws(inputs)
        halves = [Proposals(own.x[i], values.at(i), own.log_ratio[i]) for i in index]
        return Tail((halves[0], halves[1]), LIMIT * float(finite.std()))

    def own_draws(self, inputs: TiltInputs) -> Proposals:
        """The data as draws of p; with log_p and draws of the base in the data's place, weighted for p."""
        log_ratio = torch.zeros(len(inputs.x), dtype=torch.float64)
        if inputs.weight is not None:
            log_ratio = inputs.weight.double().log()
        if self.log_p is not None:
            given = self.density(inputs.x)
            if inputs.reference == "base":
                log_ratio = given - _log_prob(self.base, inputs.x)
            elif float((given == -math.inf).double().mean()) > 0.001:
                raise ValueError("log_p is −inf at some of the data: it must be log p of what the data are draws of")
        return Proposals(inputs.x.cpu(), inputs.values[0], log_ratio)

    def propose(self, flow: Flow, n: int, number: int) -> Proposals:
        """See `Steps`; from disk where the round was begun before."""
        if (found := self.store.load(number)) is not None:
            return found
        with torch.no_grad():
            x, log_q = flow.sample_with_log_prob(n, rtol=_TOLERANCE, atol=_TOLERANCE, seed=mix(self.seed, 40, number))
        whole = x.isfinite().flatten(1).all(1) & log_q.isfinite()
        x, log_q = x[whole].cpu(), log_q[whole].double().cpu()
        if len(x) == 0:
            raise ValueError(f"round {number}: the flow's samples are not finite")
        if self.log_p is not None:
            log_ratio = self.density(x) - log_q
        else:
            log_ratio = torch.zeros_like(log_q) if flow is self.base else _log_prob(self.base, x) - log_q
        log_halves = None
        if self.halves is not None:
            some = x[:_HALVES]
            own = log_ratio[:_HALVES] + log_q[:_HALVES]
            log_halves = torch.stack([_log_prob(half, some) - own for half in self.halves])
        energies = evaluate(self.energy, x, cache=self.cache, allow_all_forbidden=True)
        made = Proposals(x, energies, log_ratio, log_halves)
        self.store.save(number, made)
        return made

    def refit(self, flow: Flow, parts: list[Proposals], beta: float, number: int, last: bool) -> Flow:
        """See `Steps`: a stage ``round-01`` … of the run, the last with all the steps."""
        steps = self.steps if last else max(1, self.steps // _PART)
        every = min(self.options.checkpoint_every, max(1, steps // 10))
        options = replace(self.options, stage=f"round-{number:02d}", checkpoint_every=every)
        log_w = pool_log_w(parts, beta)
        x = torch.cat([part.x for part in parts])
        made = train_flow(
            warm_start(flow),
            x,
            None,
            Weighted(Resample(), log_w, log_w),
            self.objective,
            steps,
            self.batch_size,
            mix(self.seed, 60, number),
            options,
            split_parts(parts)[0],
        )
        self.seconds += made.train_seconds
        return made

    def sample(self, flow: Flow, n: int, number: int) -> Tensor:
        """See `Steps`."""
        return flow.solve(n, rtol=_TOLERANCE, atol=_TOLERANCE, seed=mix(self.seed, 80, number)).y.cpu()

    def features(self, x: Tensor) -> Tensor:
        """See `Steps`: preprocessed coordinates, or what `egflow.report` sees of tokens."""
        if isinstance(self.base, TokenFlow):
            if self.view is None:
                self.view = token_view(x, self.base.pad_id)  # the first set is p's own draws
            return self.view(x)
        return ((x - self.base.shift.cpu()) / self.base.scale.cpu()).flatten(1)

    def density(self, x: Tensor) -> Tensor:
        """log p as the user gave it, checked."""
        assert self.log_p is not None
        return checked_log_p(self.log_p, x)


def checked_log_p(log_p: LogP, x: Tensor) -> Tensor:
    """log_p of x (n, *event) in chunks, (n,) float64 on the CPU.

    Raises:
        ValueError: for another shape or dtype than (batch,) floats, NaN or +inf.
    """
    parts = []
    with torch.no_grad():
        for some in x.split(_CHUNK):
            value = log_p(some)
            if not isinstance(value, Tensor) or not value.is_floating_point() or tuple(value.shape) != (len(some),):
                got = f"{value.dtype} {tuple(value.shape)}" if isinstance(value, Tensor) else type(value).__name__
                raise ValueError(f"log_p must return floats of shape (batch,), ({len(some)},) here, got {got}")
            parts.append(value.double().cpu())
    whole = torch.cat(parts)
    bad = whole.isnan() | (whole == math.inf)
    if bool(bad.any()):
        raise ValueError(
            f"log_p must be finite or −inf, got {float(whole[bad][0])} at {int(bad.sum())} of {len(x)} points"
        )
    return whole


def _log_prob(flow: Flow, x: Tensor) -> Tensor:
    """log density (n,) float64 on the CPU; −inf where it is not a number (a point the flow cannot have made)."""
    value = flow.log_prob(x.to(flow.device), rtol=_TOLERANCE, atol=_TOLERANCE).double().cpu()
    return torch.where(value.isnan(), -math.inf, value)


def _check_likelihood(base: Flow) -> None:
    if isinstance(base, TokenFlow):
        if base.path.likelihood != "exact":
            raise ValueError(
                f"rounds weight by exact likelihoods, and path {base.path.name!r} has none: use 'sequential'"
            )
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
        raise ValueError(
            f"max_calls={max_calls} is below the calls of the data alone, {n}: raise it, or give less data"
        )
    spare = max_calls - spent
    reserve = min(reporting.n or _REPORTED, spare // 5)
    if reserve < 20:
        raise ValueError(f"max_calls={max_calls} leaves {spare} calls past the data's {spent}: at least 100 are needed")
    return reserve


def _say(rules: Rules, options: TrainingOptions) -> Callable[[int, dict[str, Any]], None]:
    def say(number: int, record: dict[str, Any]) -> None:
        if options.progress != "quiet":
            various = "" if record["diversity"] is None else f"diversity {record['diversity']:.3g}, "
            print(
                f"round {number}: beta {record['beta']:.4g} of {rules.goal:g}, n_eff {record['n_eff']:,.0f}, "
                f"best {record['best']:.4g}, mean {record['mean']:.4g}, {various}calls {record['calls']:,}",
                file=sys.stderr,
                flush=True,
            )

    return say


def _report(
    flow: Flow,
    inputs: TiltInputs,
    found: Outcome,
    work: _Work,
    reporting: ReportOptions,
    notes: dict[str, str],
    method: str,
) -> TiltReport:
    """The account against the weighted pool; of a fitted base's tilt against the held-out part of it alone."""
    parts, reference = found.parts, "base" if work.log_p is None else "density"
    train, held = split_parts(parts)
    order = held if reference == "base" else arranged(train, held)
    log_s = torch.cat([part.log_ratio + mixing(part, found.beta) for part in parts])
    log_s = log_s.masked_fill(~(log_s < math.inf), -math.inf)[order]
    if reporting.n is None:
        left = effective(pool_log_w(parts, found.beta)[held])
        reporting = replace(reporting, n=int(min(10_000, max(_REPORTED, 2 * left))))
    values = torch.cat([part.energies.values for part in parts])[order]
    forbidden = torch.cat([part.energies.forbidden for part in parts])[order]
    energies = EnergyValues(values, forbidden, calls=found.calls)
    against = None
    if reference == "base" and inputs.reference == "data":
        against = (inputs.x, inputs.values[0])
    facts: dict[str, Any] = {
        "method": method,
        "seed": work.seed,
        "reference": reference,
        "rounds": {
            "beta_reached": found.beta,
            "base_error": found.base_error,
            "calls": found.calls,
            "stopped": found.word,
            "rounds": found.records,
        },
    }
    made = account(
        flow,
        inputs.models,
        torch.cat([part.x for part in parts])[order],
        [energies],
        condition=None,
        sample_weight=(log_s - log_s.max()).exp(),
        per_condition=False,
        options=reporting,
        facts=facts | ({} if against is None else {"against_data": against}),
        notes={**notes, **flow.notes},
        log_p=None if work.log_p is None else work.density,
    )
    # the pool is made for this beta and tells little of p: the mean of p's own draws, and Z by the rounds
    share = torch.softmax(parts[0].log_w(0.0), 0)
    untilted = float(share @ parts[0].energies.values)
    return replace(made, energy_mean={**made.energy_mean, "base": untilted}, log_z=found.log_z, log_z_stderr=None)
