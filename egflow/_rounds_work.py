"""What a round does with real flows, energies and files: `egflow.rounds.Steps`."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import torch
from torch import Tensor

from egflow._fit import train_flow, warm_start
from egflow._tilt_inputs import TiltInputs
from egflow._weighting import Weighted
from egflow.energy import EnergyModel, evaluate
from egflow.flow import Flow, TokenFlow
from egflow.objective import Objective
from egflow.report._tokens import token_view
from egflow.rounds import Proposals, Store, pool_log_w, split_parts
from egflow.training import TrainingOptions, mix
from egflow.weights import Resample

LogP = Callable[[Tensor], Tensor]
_TOLERANCE = 1e-3  # of proposals and their densities: log densities are right to about .001
_HALVES = 10_000  # proposals a round that the flows of half the data are asked about
_CHUNK = 8_192
_PART = 4  # an intermediate refit has a quarter of the steps
_RATE = 0.3  # and of the learning rate: it starts near its end (in 20 dimensions .53 stay effective, not .32)


@dataclass(slots=True)
class Work:
    """The steps of one run.

    Attributes:
        base: the flow given.
        energy: E.
        log_p: of the user, or None.
        anchor, anchor_beta: where log_p is None, p means anchor(x)·exp(anchor_beta·E(x)).
        halves: flows of the two halves of the data, at ``anchor_beta`` too; or None.
        seconds: spent in training so far.
        The others are those of `egflow.tilt`.
    """

    base: Flow
    energy: EnergyModel
    log_p: LogP | None
    cache: str | Path | None
    objective: Objective
    steps: int
    batch_size: int
    seed: int
    options: TrainingOptions
    store: Store
    anchor: Flow
    anchor_beta: float = 0.0
    halves: tuple[Flow, Flow] | None = None
    view: Callable[[Tensor], Tensor] | None = None
    seconds: float = 0.0

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

    def density(self, x: Tensor) -> Tensor:
        """log p as the user gave it, checked; (n,) float64."""
        assert self.log_p is not None
        return checked_log_p(self.log_p, x)

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
        log_halves = None
        if self.log_p is not None:
            log_ratio = self.density(x) - log_q
        else:
            log_ratio = torch.zeros_like(log_q) if flow is self.anchor else _log_prob(self.anchor, x) - log_q
            if self.halves is not None:
                own = (log_ratio + log_q)[:_HALVES]
                log_halves = torch.stack([_log_prob(half, x[:_HALVES]) - own for half in self.halves])
        energies = evaluate(self.energy, x, cache=self.cache, allow_all_forbidden=True)
        made = Proposals(x, energies, log_ratio + self.anchor_beta * energies.values, log_halves)
        self.store.save(number, made)
        return made

    def refit(self, flow: Flow, parts: list[Proposals], beta: float, number: int, last: bool) -> Flow:
        """See `Steps`: a stage ``round-01`` … of the run, the last with all the steps."""
        steps, options = self.steps, self.options
        if not last:
            steps = max(1, steps // _PART)
            options = replace(options, learning_rate=_RATE * options.learning_rate)
        log_w = pool_log_w(parts, beta)
        made = train_flow(
            warm_start(flow),
            torch.cat([part.x for part in parts]),
            None,
            Weighted(Resample(), log_w, log_w),
            self.objective,
            steps,
            self.batch_size,
            mix(self.seed, 60, number),
            stage(options, f"round-{number:02d}", steps),
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
                self.view = token_view(x, self.base.pad_id)
            return self.view(x)
        return ((x - self.base.shift.cpu()) / self.base.scale.cpu()).flatten(1)


def stage(options: TrainingOptions, name: str, steps: int) -> TrainingOptions:
    """The options of one stage: a stop costs at most a tenth of it."""
    return replace(options, stage=name, checkpoint_every=min(options.checkpoint_every, max(1, steps // 10)))


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
        first = float(whole[bad][0])
        raise ValueError(f"log_p must be finite or −inf, got {first} among {int(bad.sum())} of {len(x)} points")
    return whole


def _log_prob(flow: Flow, x: Tensor) -> Tensor:
    """log density (n,) float64 on the CPU; −inf where it is not a number (a point the flow cannot have made)."""
    value = flow.log_prob(x.to(flow.device), rtol=_TOLERANCE, atol=_TOLERANCE).double().cpu()
    return torch.where(value.isnan(), -math.inf, value)
