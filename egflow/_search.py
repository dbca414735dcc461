"""`tilt(..., rounds=)` where p means a base of tokens: a search of many small rounds, fitted by trajectory balance.

A round draws from the flow q so far and edits the best items known, evaluates what is new, and takes some steps on

    ( log Z + log q(x) − log p(x) + beta·E(x) )²        (Malkin et al. 2022, arXiv 2201.13259, with p as the prior)

over items of all rounds, log Z learnt with q. It is 0 for q ∝ p·exp(−beta·E) and no other, whatever rows it is taken
over: beta is the whole one from the first round on, no item needs a weight, and edits and draws of every round serve
alike. A half of each batch is drawn by rank of E, the best oftenest; the other half are the round's own draws of q,
which tell where q has too much. While log Z, which starts at 0, is on its way, all that is seen gains, the best most:
the search leans to them until the balance is found. (With the mean over the batch in the place of log Z, which leans to
nothing, celecoxib was .62 of itself after 4,000 calls, with log Z learnt found after 2,500.)

How far q came is measured on draws of it that no fit has seen: their weights p·exp(−beta·E)/q are exact.
"""

from __future__ import annotations

import math
import sys
import time
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, cast

import torch
from torch import Tensor

from egflow._fit import warm_start
from egflow.energy import EnergyModel, evaluate
from egflow.flow import TokenFlow
from egflow.path import Sequential
from egflow.rounds import Editor, Pool, Rows, effective
from egflow.training import (
    DeferredInterrupts,
    TrainingError,
    load_checkpoint,
    mix,
    row_log_prob,
    save_checkpoint,
)

PROPOSALS = 128  # of a round, where rounds="auto"
_PARENTS = 100
_LOG_Z_RATE = 0.1
_MOST = 3  # times as many rounds as the calls need, where items repeat
_KEEP_EVERY = 5  # rounds between checkpoints


@dataclass(frozen=True, slots=True)
class Plan:
    """The sizes of a search.

    Attributes:
        calls: of the energy, at most.
        rounds: at most, by which calls and steps are spent evenly; None: rounds of 128 items until the calls are spent.
        steps: of the optimiser, in all.
        batch_size: rows a step, a half by rank and a half of the round's own.
        learning_rate: constant.
        seed: fixes everything on one device with one number of threads.
    """

    calls: int
    rounds: int | None
    steps: int
    batch_size: int
    learning_rate: float
    seed: int = 0

    @property
    def number(self) -> int:
        """Of rounds, about."""
        return -(-self.calls // PROPOSALS) if self.rounds is None else self.rounds

    @property
    def most(self) -> int:
        """Rounds after which the search ends, whatever calls are left."""
        return _MOST * self.number if self.rounds is None else self.rounds

    @property
    def proposals(self) -> int:
        """New items a round asks for, at most; own draws and edits, where there are any, alike."""
        return -(-self.calls // self.number)

    @property
    def fits(self) -> int:
        """Steps a round."""
        return -(-self.steps // self.number)


@dataclass(slots=True)
class Search:
    """A search in progress: `run` goes on until the calls are spent, or nothing new is found.

    Attributes:
        base: p, a flow of tokens on the sequential path.
        flow: q, a copy of it that is trained.
        energy, beta: of the target.
        plan: see `Plan`.
        editor: of the base's domain.
        pool: what was evaluated.
        records: a line a round.
        folder: where pool and checkpoints are kept, or None.
    """

    base: TokenFlow
    energy: EnergyModel
    beta: float
    plan: Plan
    editor: Editor
    folder: Path | None = None
    cache: str | Path | None = None
    progress: str = "quiet"
    flow: TokenFlow = field(init=False)
    pool: Pool = field(init=False)
    records: list[dict[str, Any]] = field(default_factory=list)
    seconds: float = 0.0
    log_z: Tensor = field(default_factory=lambda: torch.zeros((), requires_grad=True))
    _known: Pool = field(init=False)

    def __post_init__(self) -> None:
        self.flow = cast(TokenFlow, warm_start(self.base))
        self.pool = Pool(self.base.length)
        self._known = (
            self.pool if self.folder is None else Pool.load(self.folder / "calls.safetensors", self.pool.length)
        )

    def run(self) -> Search:
        """The whole search, gone on with from its folder where a part is there."""
        network = self.flow.network.train()
        parameters = [one for one in network.parameters() if one.requires_grad]
        groups: list[dict[str, Any]] = [
            {"params": parameters, "lr": self.plan.learning_rate},
            {"params": [self.log_z], "lr": _LOG_Z_RATE},
        ]
        optimiser = torch.optim.Adam(groups)
        number = self._resume(network, optimiser)
        with DeferredInterrupts() as interrupts, torch.random.fork_rng():
            while len(self.pool) < self.plan.calls and number < self.plan.most:
                number += 1
                started = time.monotonic()
                own = self._propose(number)
                self._fit(network, optimiser, own, number)
                self.seconds += time.monotonic() - started
                self._say(number)
                if self.folder is not None:
                    self.pool.save(self.folder / "calls.safetensors")  # every round: calls may be dear
                    if number % _KEEP_EVERY == 0:
                        self._save(number, network, optimiser)
                interrupts.raise_pending()
        network.eval()
        return self

    def _propose(self, number: int) -> Tensor:
        """Draw and edit, evaluate what is new; returns the places in the pool of this round's own draws."""
        pool, sign, seed = self.pool, math.copysign(1.0, self.beta), self.plan.seed
        alone = isinstance(self.editor, Rows)
        self.flow.network.eval()
        drawn = self.flow.solve(
            self.plan.proposals if alone else -(-self.plan.proposals // 2), seed=mix(seed, 40, number)
        )
        self.flow.network.train()
        x = drawn.y.cpu()
        keys, log_p = self.editor.keys(x), self.base.log_prob(x).cpu()
        self._ask(x, keys, log_p, number, edited=False)
        order = pool.best(sign)
        if not alone and len(order) and len(pool) < self.plan.calls:
            made = self.editor.edit(pool.x[order[:_PARENTS]], self.plan.proposals // 2, mix(seed, 41, number))
            if len(made):
                self._ask(made, self.editor.keys(made), self.base.log_prob(made).cpu(), number, edited=True)
        place = torch.tensor([pool.seen.get(key, -1) if key is not None else -1 for key in keys])
        energy = torch.where(place < 0, math.inf, pool.energy[place.clamp(min=0)] if len(pool) else math.inf)
        log_w = torch.full(energy.shape, -math.inf, dtype=torch.float64)
        allowed = energy.isfinite()
        if drawn.log_q is not None:
            log_w[allowed] = (log_p - self.beta * energy.nan_to_num(posinf=0.0) - drawn.log_q.cpu())[allowed]
        best = pool.best(sign)
        self.records.append({
            "beta": self.beta,
            "n_eff": effective(log_w),
            "best": float(pool.energy[best[0]]) if len(best) else math.nan,
            "mean": float(energy[allowed].mean()),
            "diversity": len({key for key in keys if key is not None}) / len(keys),
            "calls": len(pool),
        })  # fmt: skip
        return place[allowed]

    def _ask(self, x: Tensor, keys: list[str | None], log_p: Tensor, number: int, edited: bool) -> None:
        """Evaluate rows of new keys, as far as calls are left, but for those that a stopped run has asked already."""
        new = self.pool.new(keys, self.plan.calls - len(self.pool))
        if not new:
            return
        x, names = x[new], [cast(str, keys[i]) for i in new]
        places = torch.tensor([self._known.seen.get(name, -1) for name in names])
        energy = torch.full((len(new),), math.inf, dtype=torch.float64)
        asked = places >= 0
        energy[asked] = self._known.energy[places[asked]]
        if not bool(asked.all()):
            values = evaluate(self.energy, x[~asked], cache=self.cache, allow_all_forbidden=True)
            self.pool.failed += values.failed
            energy[~asked] = values.energy
        self.pool.add(names, x, energy, log_p[new], number, torch.full((len(new),), edited))

    def _fit(self, network: torch.nn.Module, optimiser: torch.optim.Optimizer, own: Tensor, number: int) -> None:
        """Some steps on the pool."""
        pool, plan = self.pool, self.plan
        order, share = pool.rank_shares(math.copysign(1.0, self.beta))
        if len(order) < 2:
            return
        device, vocabulary = self.base.device, self.base.vocabulary
        for step in range(plan.fits):
            generator = torch.Generator().manual_seed(mix(plan.seed, 60, number, step))
            half = plan.batch_size // 2
            ranked = order[torch.multinomial(share, min(half, len(order)), generator=generator)]
            fresh = own[torch.randperm(len(own), generator=generator)[:half]]
            rows = torch.cat([ranked, fresh])
            z = vocabulary.encode(pool.x[rows]).to(device)
            point = Sequential().sample(z, torch.zeros(len(z), device=device), _no_chance, vocabulary)
            target = pool.log_p[rows] - self.beta * pool.energy[rows]
            optimiser.zero_grad(set_to_none=True)
            with torch.autocast(device.type, torch.bfloat16, enabled=self.flow._in_bfloat16 or device.type == "cuda"):
                log_q = row_log_prob(network, point, vocabulary)
            loss = (self.log_z.to(device) + log_q - target.to(log_q)).square().mean()
            loss.backward()
            if not bool(loss.isfinite()):
                raise TrainingError(f"the loss is not finite in round {number}: lower beta, or the learning rate")
            optimiser.step()

    def _facts(self) -> dict[str, Any]:
        return {**asdict(self.plan), "beta": self.beta, "energy": self.energy.describe()}

    def _resume(self, network: torch.nn.Module, optimiser: torch.optim.Optimizer) -> int:
        """Take up the newest checkpoint; returns the rounds that are done."""
        if self.folder is None:
            return 0
        found = load_checkpoint(self.folder, {"network": network}, {"optimiser": optimiser})
        if found is None:
            return 0
        number, state, _ = found
        changed = sorted(key for key, value in self._facts().items() if state["facts"].get(key) != value)
        if changed:
            raise ValueError(f"resume: the search in {self.folder} was made with another {', '.join(changed)}")
        self.records, self.seconds = state["records"], state["seconds"]
        with torch.no_grad():
            self.log_z.fill_(state["log_z"])
        self.pool = self._known.upto(number)
        return number

    def _save(self, number: int, network: torch.nn.Module, optimiser: torch.optim.Optimizer) -> None:
        assert self.folder is not None
        state = {"facts": self._facts(), "records": self.records, "seconds": self.seconds, "log_z": self.log_z.item()}
        save_checkpoint(self.folder, number, {"network": network}, {"optimiser": optimiser}, state)

    def _say(self, number: int) -> None:
        if self.progress != "quiet":
            line = self.records[-1]
            print(
                f"round {number} of {self.plan.number}: {line['calls']:,} of {self.plan.calls:,} calls, best energy "
                f"{line['best']:.4g}, mean of own draws {line['mean']:.4g}, {line['diversity']:.0%} of them different",
                file=sys.stderr,
                flush=True,
            )


def _no_chance(*shape: int) -> Tensor:
    raise AssertionError("the sequential path draws nothing")
