"""Rounds without log p: as far as the data reach by the data themselves, from there by the density fitted to them.

Up to the beta at which about 1,000 of the data stay effective, q is fitted to the weighted data. That flow's density,
not that of the flow of p, is then what is extrapolated,

    p(x) := q_a(x) · exp(a · E(x)),        a the beta the data reached,

for it was fitted where the rounds go on: its tail is short of the goal by beta − a only. (Swissroll to beta 12.5,
N = 20,000: from a = 7 the mean energy is off by .02, from 0 by more than 1.) Flows of tokens know their likelihood
exactly and need no steps in between to sample what is rare: there p is the base itself, a = 0.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch

from egflow._fit import fit, train_flow, warm_start
from egflow._rounds_work import Work, stage
from egflow._tilt_inputs import TiltInputs
from egflow._weighting import Weighted
from egflow.flow import TokenFlow
from egflow.network import NETWORKS
from egflow.rounds import LIMIT, Begin, Proposals, Rules, Tail, next_beta, record
from egflow.training import mix
from egflow.weights import Resample

_ENOUGH = 1_000  # effective data that a flow is fitted to


@dataclass(frozen=True, slots=True, eq=False)
class DataRound:
    """What the data gave: a flow at ``begin.beta``; the tail, or None where the data reach the goal or nobody can tell.

    Attributes:
        begin: where the rounds begin, with fresh draws of the flow unless ``done``.
        done: whether the data reached the goal, or there is no round or call left.
    """

    begin: Begin
    tail: Tail | None
    done: bool


def begin_with_data(work: Work, inputs: TiltInputs, rules: Rules, notes: dict[str, str]) -> DataRound:
    """Fit the flow that the rounds start from, and the two that tell how much of it the data determine."""
    own, calls = work.own_draws(inputs), inputs.values[0].calls
    beta, flow, records, log_z = 0.0, work.base, (), 0.0
    if not isinstance(work.base, TokenFlow):
        beta = next_beta(own, 0.0, rules.goal, min(rules.target_ess, _ENOUGH / len(own)))
    if beta != 0.0:
        log_w = own.log_w(beta)
        options = stage(work.options, "round-01", work.steps)
        weighting = Weighted(Resample(), log_w, own.log_w(0.0))
        flow = train_flow(
            warm_start(work.base),
            own.x,
            None,
            weighting,
            work.objective,
            work.steps,
            work.batch_size,
            work.seed,
            options,
        )
        work.seconds += flow.train_seconds
        records = (record(work, own, [own], beta, calls, own.x),)
        log_z = float(torch.logsumexp(log_w, 0) - torch.logsumexp(own.log_w(0.0), 0))
    work.anchor, work.anchor_beta = flow, beta
    left = rules.proposals_left(calls)
    if beta == rules.goal or left == 0 or len(records) >= rules.most:
        return DataRound(Begin(flow, own, own.x, calls, beta, log_z, records), None, done=True)
    tail = _tail(work, inputs, own, beta, notes)
    fresh = work.propose(flow, left, len(records) + 1)
    calls += fresh.energies.calls
    return DataRound(Begin(flow, fresh, own.x, calls, beta, log_z, records), tail, done=False)


def _tail(work: Work, inputs: TiltInputs, own: Proposals, beta: float, notes: dict[str, str]) -> Tail | None:
    """Flows of the two halves of the data at beta, from scratch; None, noted, where that cannot be."""
    order = torch.randperm(len(own), generator=torch.Generator().manual_seed(mix(work.seed, -20)))
    index = (order[::2].sort().values, order[1::2].sort().values)
    weight = torch.softmax(own.log_w(beta), 0) * len(own)
    tokens = {}
    if isinstance(work.base, TokenFlow):
        tokens = {"vocab_size": work.base.vocab_size, "pad_id": work.base.pad_id}
    made = []
    for place, (name, rows) in enumerate(zip(("half-a", "half-b"), index, strict=True)):
        network = anew(work.base.network, mix(work.seed, -21, place))
        if network is None:
            notes["base_error"] = "the base's network cannot be made anew, so there is no flow of half the data"
            return None
        half = fit(
            inputs.x[rows],
            network=network,
            path=work.base.path,
            steps=work.steps,
            batch_size=work.batch_size,
            sample_weight=weight[rows],
            device=work.base.device,
            seed=mix(work.seed, -22, place),
            options=stage(work.options, name, work.steps),
            **tokens,
        )
        work.seconds += half.train_seconds
        made.append(half)
    work.halves = (made[0], made[1])
    finite = own.energies.values[~own.energies.forbidden]
    a, b = (Proposals(own.x[rows], own.energies.at(rows), own.log_ratio[rows]) for rows in index)
    return Tail((a, b), LIMIT * float(finite.std()))


def anew(network: torch.nn.Module, seed: int) -> torch.nn.Module | None:
    """An untrained network of the same class and size, or None if it is not one of egflow's."""
    kind, config = type(network), getattr(network, "config", None)
    if config is None or kind not in NETWORKS.values():
        return None
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        return kind(**config)
