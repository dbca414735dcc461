"""The training loop."""

from __future__ import annotations

import copy
import math
import time
from dataclasses import asdict, dataclass, field, replace
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim.swa_utils import get_ema_multi_avg_fn

from egflow._group import group
from egflow._kinds import shown
from egflow.training._checkpoint import checkpoints, load_checkpoint, save_checkpoint
from egflow.training._draws import StepDraws, mix
from egflow.training._interrupt import DeferredInterrupts
from egflow.training._metrics import Metrics, ProgressLine
from egflow.training._options import TrainingOptions
from egflow.training._problem import Problem, Splits
from egflow.training._watch import HeldOutLoss

_HELD_OUT_EVERY = 500
_FACTS = ("learning_rate", "ema", "clip", "autocast", "log_every")


class TrainingError(RuntimeError):
    """The training cannot go on: the loss is not finite."""


@dataclass(frozen=True, slots=True)
class Trained:
    """What a training leaves: the averaged network, the rows of metrics, seconds (resumed parts included), words."""

    network: nn.Module
    history: list[dict[str, str | float]]
    seconds: float
    notes: dict[str, str] = field(default_factory=dict)


class _Training:
    """All that changes from step to step, and so all that a checkpoint holds."""

    def __init__(
        self, network: nn.Module, problem: Problem, steps: int, batch_size: int, seed: int, options: TrainingOptions
    ) -> None:
        self.network, self.problem, self.options = network.train(), problem, options
        self._called: nn.Module = torch.compile(network) if options.compile else network  # pyright: ignore[reportAttributeAccessIssue]
        self.steps, self.batch_size, self.seed = steps, batch_size, seed
        self.parameters = [p for p in network.parameters() if p.requires_grad]
        self.optimiser = torch.optim.Adam(self.parameters, lr=options.learning_rate, fused=True)
        decay = max(0.0, min(options.ema, 1.0 - 10.0 / steps))
        # torch's AveragedModel looks up the parameters anew at each step, which cost 2 % of it: only its rule is taken
        self.average = copy.deepcopy(network).eval()
        self._averaged: list[Tensor] = list(self.average.parameters())
        self._current: list[Tensor] = list(network.parameters())
        self._kept_buffers, self._buffers = list(self.average.buffers()), list(network.buffers())
        self._average_rule = get_ema_multi_avg_fn(decay)
        self.group = group()
        self.writes = self.group.rank == 0  # the others read what the first has written
        own = options if self.writes else replace(options, folder=None, tensorboard=False)
        self.metrics, self.watch = Metrics(own), HeldOutLoss(problem)
        self.facts = {key: value for key, value in asdict(options).items() if key in _FACTS}
        self.facts |= {"steps": steps, "batch_size": batch_size, "seed": seed, "n": len(problem.train.x)}
        self.facts["coupling"] = getattr(options.coupling, "__name__", str(options.coupling))
        self.folder = None if options.folder is None else options.folder / "checkpoints" / options.stage
        self.step, self.before, self.started = 0, 0.0, time.monotonic()
        self.loss_sum, self.loss_count = torch.zeros((), device=problem.train.x.device), 0
        self.last_file, self.torn = "", False
        self._generator = torch.Generator()

    @property
    def _saved(self) -> tuple[dict[str, nn.Module], dict[str, torch.optim.Optimizer]]:
        return {"network": self.network, "average": self.average}, {"optimiser": self.optimiser}

    @property
    def seconds(self) -> float:
        return self.before + time.monotonic() - self.started

    def resume(self) -> None:
        """Take up the newest checkpoint, if one is wanted and there."""
        found = None
        if self.options.resume and self.folder is not None:
            found = load_checkpoint(self.folder, *self._saved)
        elif self.folder is not None and checkpoints(self.folder):
            raise ValueError(
                f"{self.folder} holds checkpoints of another training: pass resume=True, or another folder"
            )
        if found is None:
            self.metrics.start([])
            return
        self.step, state, file = found
        self.last_file = str(file)
        changed = [key for key, value in self.facts.items() if state["facts"].get(key) != value]
        if changed:
            raise ValueError(f"resume: the checkpoints in {self.folder} were made with another {', '.join(changed)}")
        self.before, self.loss_count = state["seconds"], state["loss_count"]
        self.loss_sum += state["loss_sum"]
        self.watch.restore(state["watch"])
        self.metrics.start(state["rows"])

    def save(self) -> None:
        """Write a checkpoint, if the run has a folder."""
        if self.folder is None or not self.writes:
            return
        state: dict[str, Any] = {
            "facts": self.facts,
            "rows": self.metrics.rows,
            "watch": self.watch.state(),
            "seconds": self.seconds,
            "loss_sum": float(self.loss_sum),
            "loss_count": self.loss_count,
        }
        file = save_checkpoint(self.folder, self.step, *self._saved, state)
        self.last_file = str(file)

    def advance(self) -> None:
        """One step of the optimiser."""
        self.torn = True  # until the step is whole
        # what is the user's own may draw from the global generator, fixed by the step: a coupling, alike everywhere
        self._seed_global(0)
        draws = StepDraws.at(self.seed, self.step, self.batch_size, self._generator)
        rate = 0.5 * self.options.learning_rate * (1 + math.cos(math.pi * self.step / self.steps))
        self.optimiser.param_groups[0]["lr"] = rate
        self.optimiser.zero_grad(set_to_none=True)
        batch = self.problem.batch(draws, self.problem.train)
        if self.group.rank:
            self._seed_global(self.group.rank)  # or a network with dropout, for its own rows
        loss = self._backward(batch)
        norm = float(nn.utils.clip_grad_norm_(self.parameters, self.options.clip))
        if not math.isfinite(norm):
            where = f"the last good checkpoint is {self.last_file}" if self.last_file else "no checkpoint was written"
            raise TrainingError(
                f"the loss is not finite at step {self.step} (loss {float(loss):g}, gradient {norm:g}); {where}"
            )
        self.optimiser.step()
        self._average_rule(self._averaged, self._current, self.step)
        for kept, now in zip(self._kept_buffers, self._buffers, strict=True):
            kept.copy_(now)  # statistics of batch norm and the like are averages already
        self.step += 1
        self.loss_sum += loss
        self.loss_count += 1
        self.torn = False

    def agree(self) -> None:
        """Let all processes start from the first one's weights, at one step; waits for all.

        Raises:
            ValueError: where they have resumed from different steps: the folder is not one that all see.
        """
        if self.group.size == 1:
            return
        if len(set(self.group.gather(lambda: self.step))) > 1:
            raise ValueError(f"resume: the processes see different checkpoints in {self.folder}: give a shared folder")
        for module in (self.network, self.average):
            self.group.share([*module.parameters(), *module.buffers()])

    def _seed_global(self, rank: int) -> None:
        seed = mix(self.seed, self.step, 1 + rank)
        torch.default_generator.manual_seed(seed)
        if self.loss_sum.is_cuda:
            torch.cuda.manual_seed(seed)

    def _backward(self, batch: Splits) -> Tensor:
        device = self.problem.train.x.device.type
        total = torch.zeros((), device=device)
        for part in batch.split(self.options.accumulate * self.group.size)[self.group.rank :: self.group.size]:
            with torch.autocast(device, torch.bfloat16, enabled=self.options.autocast):
                loss = self.problem.losses(self._called, part).sum() / self.batch_size
            loss.backward()
            total += loss.detach()
        if self.group.size > 1:
            for parameter in self.parameters:  # a batch may be too small for a part of each process
                parameter.grad = torch.zeros_like(parameter) if parameter.grad is None else parameter.grad
            self.group.add([*(one.grad for one in self.parameters if one.grad is not None), total])
        return total

    def log(self) -> float:
        """Add a row of metrics; returns the mean loss since the last one."""
        held_out: float | str = ""
        if self.step % _HELD_OUT_EVERY < self.options.log_every or self.step == self.steps:
            held_out = self.watch.look(self.step, self.average)
        mean = float(self.loss_sum) / self.loss_count
        self.loss_sum, self.loss_count = torch.zeros_like(self.loss_sum), 0
        self.metrics.add({
            "stage": self.options.stage,
            "step": self.step,
            "loss": mean,
            "held_out_loss": held_out,
            "learning_rate": self.optimiser.param_groups[0]["lr"],
            "seconds": round(self.seconds, 3),
        })  # fmt: skip
        return mean


def train(
    network: nn.Module, problem: Problem, *, steps: int, batch_size: int, seed: int, options: TrainingOptions
) -> Trained:
    """Minimise the weighted objective with Adam, a cosine schedule, clipping and an average of the weights.

    Args:
        network: changed in place; the average, not this, is the result.
        problem: what to fit.
        steps: optimiser steps in all, those before a resume included.
        batch_size: rows a step.
        seed: fixes every draw of every step.
        options: see `TrainingOptions`.

    Returns:
        The averaged network, in eval mode, with the history.

    Raises:
        ValueError: for steps or batch_size below 1, or a folder with checkpoints of another training.
        TrainingError: if the loss is not finite; names the step and the last checkpoint.
        KeyboardInterrupt: passed on at the end of a step, after a checkpoint was saved.
    """
    check_count("steps", steps)
    check_count("batch_size", batch_size)
    run = _Training(network, problem, steps, batch_size, seed, options)
    run.resume()
    run.agree()  # before the first has written anything
    finished = run.step == steps
    try:
        shown = options if run.writes else replace(options, progress="quiet")
        with (
            ProgressLine(shown, steps) as line,
            DeferredInterrupts(run.group.size > 1) as interrupts,
            torch.random.fork_rng(),
        ):
            while run.step < steps:
                run.advance()
                if run.step % options.log_every == 0 or run.step == steps:
                    line.show(run.step, run.log())
                if run.step % options.checkpoint_every == 0 and run.step < steps:
                    run.save()
                interrupts.raise_pending(run.group.largest(interrupts.pending, run.loss_sum.device))
    except KeyboardInterrupt:
        if not run.torn:
            run.save()
        run.group.wait()  # a process that ends ends the others
        raise
    finally:
        run.metrics.close()
    if not finished:
        run.save()
    notes = {"held_out_loss": run.watch.word} if run.watch.word else {}
    run.average.load_state_dict({**run.average.state_dict(), **dict(run.network.named_buffers())}, strict=False)
    return Trained(run.average, run.metrics.rows, run.seconds, notes)


def check_count(name: str, value: int) -> int:
    """A whole number of at least 1. Raises ValueError otherwise."""
    if isinstance(value, bool) or not isinstance(value, int) or value < 1:
        raise ValueError(f"{name} must be a whole number of at least 1, got {shown(value)}")
    return value
