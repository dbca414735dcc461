"""The rounds themselves: propose, evaluate, weight, refit, until beta is reached or a word says why not.

    w = p(x) · exp(−b · E(x)) / q_k(x)   on proposals of the flow so far, q_k at b_k

b_{k+1} is the farthest b at which the proposals keep ``target_ess``; then q_{k+1} is fitted to all proposals so far,
weighted for b_{k+1}. Flows, energies and files are behind `Steps`, so that this page holds the algorithm alone.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Protocol

import torch
from torch import Tensor

from egflow.flow import Flow
from egflow.rounds._modes import lost_mode
from egflow.rounds._pace import fraction, next_beta
from egflow.rounds._proposals import Proposals, effective, pool_log_w
from egflow.rounds._tail import Tail
from egflow.training import TrainingError

MOST_ROUNDS = 40  # of rounds="auto"
_CORRECTIONS = 2  # in a row
_FEWEST = 100  # calls that make a round
_SAMPLES = 5_000  # looked at for lost modes
_PAIRS = 4_000


@dataclass(frozen=True, slots=True)
class Rules:
    """What a run is held to.

    Attributes:
        goal: the beta asked for.
        target_ess: the fraction of effective proposals each round keeps.
        most: rounds, at most.
        proposals: a round, at most.
        max_calls: of the energy, those spent before the first round included; None is no limit.
    """

    goal: float
    target_ess: float = 0.3
    most: int = MOST_ROUNDS
    proposals: int = 20_000
    max_calls: int | None = None

    def proposals_left(self, calls: int) -> int:
        """How many proposals the next round has, 0 where the budget has no round left: a third of it at a time."""
        if self.max_calls is None:
            return self.proposals
        left = self.max_calls - calls
        return 0 if left < _FEWEST else min(self.proposals, max(left // 3, min(left, 500)))

    def used_up(self, calls: int) -> tuple[str, str]:
        """The word and the reason of a run that has no round left."""
        if self.proposals_left(calls) == 0:
            return "max_calls", f"{calls:,} of max_calls={self.max_calls:,} calls were made"
        return "rounds", f"rounds={self.most} were made"


class Steps(Protocol):
    """What a round does with flows and energies."""

    def propose(self, flow: Flow, n: int, number: int) -> Proposals:
        """n draws of the flow, evaluated and set against p; round ``number``'s."""
        ...

    def refit(self, flow: Flow, parts: list[Proposals], beta: float, number: int, last: bool) -> Flow:
        """A flow of q at beta, from this one's weights, fitted to the weighted pool."""
        ...

    def sample(self, flow: Flow, n: int, number: int) -> Tensor:
        """n draws that are not evaluated."""
        ...

    def features(self, x: Tensor) -> Tensor:
        """Draws (n, *event) as points (n, k) whose distances mean something."""
        ...


@dataclass(frozen=True, slots=True, eq=False)
class Begin:
    """Where the rounds start.

    Attributes:
        flow: a flow of q at ``beta``.
        fresh: its draws, or p's own where beta is 0.
        untilted: (n, *event) draws of p, which diversity is counted in.
        calls: of the energy so far.
        beta: 0, or as far as the data themselves reached.
        log_z: log E_p[exp(−beta·E)].
        records: of the round that came so far.
    """

    flow: Flow
    fresh: Proposals
    untilted: Tensor
    calls: int
    beta: float = 0.0
    log_z: float = 0.0
    records: tuple[dict[str, Any], ...] = ()


@dataclass(frozen=True, slots=True, eq=False)
class Outcome:
    """What the rounds came to.

    Attributes:
        flow: the last good one, at ``beta``.
        word, reason: why the run stopped before its goal, or (None, "").
        base_error: error of the mean energy that p's fitted tail leaves, or None.
        log_z: log E_p[exp(−beta·E)], round upon round.
        parts: all proposals, the first being p's own draws.
        calls: of the energy.
        records: a line a round.
    """

    flow: Flow
    beta: float
    word: str | None
    reason: str
    base_error: float | None
    log_z: float
    parts: list[Proposals]
    calls: int
    records: list[dict[str, Any]] = field(default_factory=list)


def run_rounds(
    begin: Begin,
    rules: Rules,
    steps: Steps,
    *,
    tail: Tail | None = None,
    say: Callable[[int, dict[str, Any]], None] = lambda number, record: None,
) -> Outcome:
    """Go from where the rounds begin to q at the goal.

    Args:
        begin: see `Begin`.
        rules: see `Rules`.
        steps: see `Steps`.
        tail: where p means a fitted flow: how its error is measured.
        say: told each round's record.

    Returns:
        `Outcome`; its flow is `begin`'s own where the first step was one too far.

    Raises:
        TrainingError: where none of a round's proposals has a finite energy and mass under p.
    """
    flow, here, parts, calls, log_z = begin.flow, begin.beta, [begin.fresh], begin.calls, begin.log_z
    corrections, carried, error = 0, 0.0, None
    good: tuple[Flow, float, float | None, float] = (flow, here, None, log_z)
    records = list(begin.records)
    while True:
        number, fresh = len(records) + 1, parts[-1]
        if not fresh.alive:
            raise TrainingError(
                f"round {number}: none of the {len(fresh):,} proposals has a finite energy and mass under p; "
                "a smaller step (target_ess nearer 1) or an energy that is finite in more places is needed"
            )
        beta = next_beta(fresh, here, rules.goal, rules.target_ess)
        word, reason = None, ""
        corrections = corrections + 1 if fraction(fresh, here) < rules.target_ess and here != rules.goal else 0
        if corrections > _CORRECTIONS:
            word = "n_eff"
            reason = (
                f"{fraction(fresh, here):.1%} of the refitted flow's samples are effective at its own beta {here:.4g}, "
                f"under target_ess={rules.target_ess:g} after {_CORRECTIONS} corrections: give more steps, or lower it"
            )
        if tail is not None:
            allowed = tail.farthest(fresh, here, beta, carried)
            carried = max(carried, tail.gap(fresh, allowed))
            error = tail.error(fresh, allowed, carried)
            if allowed != beta or error > tail.limit:
                beta, word, reason = allowed, "base_error", tail.reason(allowed)
        left = rules.proposals_left(calls)
        data_enough = len(parts) == 1 and begin.beta == 0.0  # else one more round, at the goal itself
        enough = beta == rules.goal and (here == rules.goal or data_enough)
        last = word is not None or enough or number >= rules.most or left == 0
        if last and word is None and beta != rules.goal:
            word, reason = rules.used_up(calls)
        stay = word is not None and beta == here and len(parts) == 1  # it is a flow of this beta already
        made = flow if stay else steps.refit(flow, parts, beta, number, last)
        log_z += float(torch.logsumexp(fresh.log_w(beta), 0) - torch.logsumexp(fresh.log_w(here), 0))
        records.append(record(steps, fresh, parts, beta, calls, begin.untilted))
        say(number, records[-1])
        lost = None
        if not stay:
            lost = lost_mode(
                steps.features(torch.cat([part.x for part in parts])),
                pool_log_w(parts, beta),
                pool_log_w(parts, here),
                steps.features(steps.sample(made, _SAMPLES, number)),
            )
        if lost is not None:
            word, reason, last = "modes", f"round {number} at beta {beta:.4g} lost a mode: {lost}", True
        if lost is None:
            good = (made, beta, error, log_z)
        if last:
            kept, reached, found, log_norm = good
            return Outcome(kept, reached, word, reason, found, log_norm, parts, calls, records)
        flow, here = made, beta
        parts.append(steps.propose(flow, left, number + 1))
        calls += parts[-1].energies.calls


def record(
    steps: Steps, fresh: Proposals, parts: list[Proposals], beta: float, calls: int, untilted: Tensor
) -> dict[str, Any]:
    """A round's entry in the report: fresh draws and the pool they are now part of, weighted for beta."""
    finite = fresh.energies.values[~fresh.energies.forbidden]
    width = _width(steps.features(untilted))
    return {
        "beta": beta,
        "n_eff": sum(effective(part.log_w(beta)) for part in parts),
        "best": float(finite.min()),
        "mean": float(finite.mean()),
        "diversity": _width(steps.features(fresh.x)) / width if width > 0 else None,
        "calls": calls,
    }


def _width(points: Tensor) -> float:
    """Mean distance of random pairs of points (n, k): how various they are."""
    order = torch.randperm(len(points), generator=torch.Generator().manual_seed(_PAIRS))[: 2 * _PAIRS]
    half = len(order) // 2
    distance = (points[order[:half]].double() - points[order[half : 2 * half]].double()).norm(dim=1)
    return float(distance.mean())
