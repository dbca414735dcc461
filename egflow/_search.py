"""`tilt(..., rounds=)` where p means a base of tokens: a search of many small rounds, fitted by trajectory balance.

A round draws from the flow q so far and edits the best items known, evaluates what is new, and takes some steps on

    ( log Z + log q(x) − log p(x) + beta·E(x) )²        (Malkin et al. 2022, arXiv 2201.13259, with p as the prior)

over items of all rounds, log Z learnt with q. Over all allowed rows it is 0 for q ∝ p·exp(−beta·E) alone, whatever
distribution the rows come from: beta is the whole one from the first round on, no item needs a weight, and edits and
draws of every round serve alike. (What is forbidden has no finite target and enters no batch: mass of q on it shows in
the share of draws that are allowed, not in the loss.) A half of each batch is drawn by rank of E, the best oftenest;
the other half are the items that the round drew from q, as they were first written, which tell where q has too much.
log Z starts at the least −beta·E of the first round: while it is on its way, nothing that was seen loses and the
best gains most, so the search leans to them until the balance is found. (With the batch's mean instead, which leans to
nothing, PMO's celecoxib_rediscovery at beta 50 had an AUC of .62 after 4,000 calls, with log Z learnt from 0
on .83 after 3,000; one seed.)

How far q came is measured on draws of it that no fit has seen: their weights p·exp(−beta·E)/q are exact.
"""

from __future__ import annotations

import hashlib
import math
import sys
import time
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, cast

import torch
from torch import Tensor, nn

from egflow._fit import warm_start
from egflow.energy import EnergyModel, evaluate
from egflow.flow import TokenFlow
from egflow.path import Sequential
from egflow.rounds import Editor, Pool, effective
from egflow.training import (
    DeferredInterrupts,
    Metrics,
    TrainingError,
    TrainingOptions,
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
        steps: of the optimiser, where no item repeats; rounds past those that the calls need take as many each.
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
    def expected_rounds(self) -> int:
        """Rounds that the calls need where no item repeats."""
        return -(-self.calls // PROPOSALS) if self.rounds is None else self.rounds

    @property
    def most_rounds(self) -> int:
        """Rounds after which the search ends, whatever calls are left."""
        return _MOST * self.expected_rounds if self.rounds is None else self.rounds

    @property
    def proposals(self) -> int:
        """New items a round asks for, at most; own draws and edits, where there are any, alike."""
        return -(-self.calls // self.expected_rounds)

    @property
    def steps_a_round(self) -> int:
        """Of the optimiser."""
        return -(-self.steps // self.expected_rounds)


@dataclass(slots=True)
class Search:
    """A search: `run` goes on until the calls are spent, or hardly anything new is found.

    Attributes:
        base: p, a flow of tokens on the sequential path.
        energy, beta: of the target.
        plan: see `Plan`.
        editor: of the base's domain.
        options: ``folder`` (calls and checkpoints are kept in its ``rounds``), ``resume``, ``progress``, ``autocast``,
            ``stage`` and ``tensorboard`` are used.
        cache: as in `egflow.energy.evaluate`.
        flow: q, a copy of the base that is trained.
        pool: the items of this search.
        records: a line a round.
        metrics: rows of metrics.csv.
        seconds: spent.
    """

    base: TokenFlow
    energy: EnergyModel
    beta: float
    plan: Plan
    editor: Editor
    options: TrainingOptions
    cache: str | Path | None = None
    flow: TokenFlow = field(init=False)
    pool: Pool = field(init=False)
    records: list[dict[str, Any]] = field(default_factory=list)
    metrics: Metrics = field(init=False)
    seconds: float = 0.0
    _facts: dict[str, Any] = field(default_factory=dict)
    _asked: Pool = field(init=False)  # by this run and by those before it that were stopped
    _log_z: Tensor = field(default_factory=lambda: torch.zeros((), requires_grad=True))
    _network: nn.Module = field(init=False)
    _optimiser: torch.optim.Optimizer = field(init=False)

    def __post_init__(self) -> None:
        self.flow = cast(TokenFlow, warm_start(self.base))
        self.pool, self.metrics = Pool(self.base.length), Metrics(self.options)
        self._asked = Pool(self.base.length)
        self._network = self.flow.network
        groups: list[dict[str, Any]] = [
            {"params": [one for one in self._network.parameters() if one.requires_grad], "lr": self.plan.learning_rate},
            {"params": [self._log_z], "lr": _LOG_Z_RATE},
        ]
        self._optimiser = torch.optim.Adam(groups)

    def run(self) -> Search:
        """The whole search, gone on with from its folder where a part is there.

        Raises:
            ValueError: for a folder that holds another search, or one of which a part is missing.
            TrainingError: where no item is allowed, or the loss is not finite.
        """
        number = self._resume()
        try:
            with DeferredInterrupts() as interrupts, torch.random.fork_rng():
                while len(self.pool) < self.plan.calls and number < self.plan.most_rounds:
                    number += 1
                    started = time.monotonic()
                    own = self._propose(number)
                    if number == 1:
                        with torch.no_grad():
                            self._log_z.fill_((-self.beta * self.pool.energy[self.pool.best()]).min())
                    loss = self._fit(own, number)
                    self.seconds += time.monotonic() - started
                    self._tell(number, loss)
                    if self._folder is not None and number % _KEEP_EVERY == 0:
                        self._save(number)
                    interrupts.raise_pending()
        finally:
            self.metrics.close()
        self._network.eval()
        return self

    def _propose(self, number: int) -> Tensor:
        """Draw and edit, evaluate what is new; returns the places in the pool of what this round drew."""
        pool, seed, alone = self.pool, self.plan.seed, not self.editor.edits
        self._network.eval()
        wanted = self.plan.proposals if alone else -(-self.plan.proposals // 2)
        drawn = self.flow.solve(wanted, seed=mix(seed, 40, number))
        self._network.train()
        assert drawn.log_q is not None  # the sequential path's sampler tells it
        x = drawn.y.cpu()
        keys, log_p = self.editor.keys(x), self.base.log_prob(x).cpu()
        self._ask(x, keys, log_p, number, edited=False)
        best = pool.best(self._sign)
        if not alone and len(best) and len(pool) < self.plan.calls:
            made = self.editor.edit(pool.x[best[:_PARENTS]], self.plan.proposals // 2, mix(seed, 41, number))
            if len(made):
                self._ask(made, self.editor.keys(made), self.base.log_prob(made).cpu(), number, edited=True)
                best = pool.best(self._sign)
        if not len(best):
            raise TrainingError(
                f"round {number}: none of the {len(pool):,} items asked about has a finite energy: an energy that is "
                "finite in more places is needed"
            )
        place = torch.tensor([-1 if key is None else pool.seen.get(key, -1) for key in keys])
        energy = torch.where(place < 0, math.inf, pool.energy[place.clamp(min=0)])
        allowed = energy.isfinite()
        log_w = (log_p - self.beta * energy.where(allowed, 0.0) - drawn.log_q.cpu()).masked_fill(~allowed, -math.inf)
        told = torch.tensor([key is None for key in keys]) | (place >= 0)  # the rest came when no call was left
        self.records.append({
            "beta": self.beta,
            "n_eff": effective(log_w[told]) if bool(told.any()) else 0.0,
            "best": float(pool.energy[best[0]]),
            "mean": float(energy[allowed].mean()) if bool(allowed.any()) else None,
            "diversity": len({key for key in keys if key is not None}) / len(keys),
            "calls": len(pool),
        })  # fmt: skip
        return place[allowed]

    def _ask(self, x: Tensor, keys: list[str | None], log_p: Tensor, number: int, edited: bool) -> None:
        """Evaluate rows of new keys, as far as calls are left, but for those that a stopped run has asked already."""
        possible = [key if told else None for key, told in zip(keys, log_p.isfinite().tolist(), strict=True)]
        new = self.pool.new(possible, self.plan.calls - len(self.pool))
        if not new:
            return
        names = [cast(str, keys[i]) for i in new]
        unknown = [i for i, name in zip(new, names, strict=True) if name not in self._asked.seen]
        if unknown:
            values = evaluate(self.energy, x[unknown], cache=self.cache, allow_all_forbidden=True)
            self._asked.add([cast(str, keys[i]) for i in unknown], x[unknown], values, log_p[unknown], number, edited)
            if self._folder is not None:  # at once: calls may be dear
                self._asked.save(self._folder / "calls.safetensors", self._facts)
        self.pool.take(self._asked, [self._asked.seen[name] for name in names])

    def _fit(self, own: Tensor, number: int) -> float:
        """Some steps on the pool; their mean loss."""
        pool, plan, device, words = self.pool, self.plan, self.base.device, self.base.vocabulary
        order, share = pool.rank_shares(self._sign)
        half, total = plan.batch_size // 2, 0.0
        for step in range(plan.steps_a_round):
            generator = torch.Generator().manual_seed(mix(plan.seed, 60, number, step))
            torch.default_generator.manual_seed(mix(plan.seed, 61, number, step))  # a network may draw (dropout)
            if device.type == "cuda":
                torch.cuda.manual_seed(mix(plan.seed, 61, number, step))
            most = min(plan.batch_size - half, len(order))
            ranked = order[torch.multinomial(share, most, generator=generator)]
            fresh = own[torch.randperm(len(own), generator=generator)[:half]]
            rows = torch.cat([ranked, fresh])
            point = Sequential().point(words.encode(pool.x[rows]).to(device), words)
            target = pool.log_p[rows] - self.beta * pool.energy[rows]
            self._optimiser.zero_grad(set_to_none=True)
            with torch.autocast(device.type, torch.bfloat16, enabled=self.options.autocast):
                log_q = row_log_prob(self._network, point, words)
            loss = (self._log_z.to(device) + log_q - target.to(log_q)).square().mean()
            loss.backward()
            if not bool(loss.isfinite()):
                raise TrainingError(f"the loss is not finite in round {number}: lower beta, or the learning rate")
            self._optimiser.step()
            total += loss.item()
        return total / plan.steps_a_round

    @property
    def _sign(self) -> float:
        """−1 where high energy is sought."""
        return math.copysign(1.0, self.beta)

    @property
    def _folder(self) -> Path | None:
        return None if self.options.folder is None else self.options.folder / "rounds"

    def _what(self) -> dict[str, Any]:
        """What the calls and the flow are a function of."""
        weights = hashlib.blake2b(digest_size=16)
        for value in self.base.network.state_dict().values():
            weights.update(value.detach().cpu().contiguous().view(torch.uint8).numpy().tobytes())
        facts = {**asdict(self.plan), "beta": self.beta, "energy": self.energy.describe()}
        return facts | {"autocast": self.options.autocast, "base": weights.hexdigest()}

    def _resume(self) -> int:
        """Take up what is there; returns the rounds that are done."""
        self.metrics.start([])
        if self._folder is None:
            return 0
        file = self._folder / "calls.safetensors"
        if file.exists() and not self.options.resume:
            raise ValueError(f"{self._folder} holds rounds of another run: pass resume=True, or another folder")
        self._facts = self._what()
        self._asked = Pool.load(file, self.base.length, self._facts)
        found = load_checkpoint(self._folder, {"network": self._network}, {"optimiser": self._optimiser})
        if found is None:
            return 0
        number, state, _ = found
        if max(state["places"], default=-1) >= len(self._asked):
            raise ValueError(f"resume: {file} is missing or damaged, and rounds of it are done: take another folder")
        self.records, self.seconds = state["records"], state["seconds"]
        self.metrics.start(state["rows"])
        with torch.no_grad():
            self._log_z.fill_(state["log_z"])
        self.pool.take(self._asked, state["places"])
        return number

    def _save(self, number: int) -> None:
        assert self._folder is not None
        state = {
            "records": self.records,
            "rows": self.metrics.rows,
            "seconds": self.seconds,
            "log_z": self._log_z.item(),
            "places": [self._asked.seen[key] for key in self.pool.key],
        }
        save_checkpoint(self._folder, number, {"network": self._network}, {"optimiser": self._optimiser}, state)

    def _tell(self, number: int, loss: float) -> None:
        """The round's row of metrics, and a line."""
        self.metrics.add({
            "stage": self.options.stage,
            "step": number * self.plan.steps_a_round,
            "loss": loss,
            "held_out_loss": "",
            "learning_rate": self.plan.learning_rate,
            "seconds": round(self.seconds, 3),
        })  # fmt: skip
        if self.options.progress != "quiet":
            line = self.records[-1]
            mean = "none allowed" if line["mean"] is None else f"mean {line['mean']:.4g}"
            of = "" if self.plan.rounds is None else f" of {self.plan.rounds}"
            print(
                f"round {number}{of}: {line['calls']:,} of {self.plan.calls:,} calls; "
                f"best energy {line['best']:.4g}; of the flow's draws {mean}, {line['diversity']:.0%} different",
                file=sys.stderr,
                flush=True,
            )
