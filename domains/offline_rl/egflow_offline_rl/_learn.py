"""The loop of a learner that has networks and targets of several kinds: a critic, an actor and a critic.

Batches are drawn uniformly, and every draw is a function of (seed, step), so a resumed learner ends as an uninterrupted
one. Flows are not trained here: they are `egflow.training.train`'s.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterable, Iterator
from typing import Any, Protocol

import torch
from torch import Tensor, nn

from egflow.training import (
    DeferredInterrupts,
    Metrics,
    ProgressLine,
    TrainingError,
    TrainingOptions,
    check_count,
    checkpoints,
    load_checkpoint,
    mix,
    save_checkpoint,
)
from egflow_offline_rl.replay import Replay


class Learner(Protocol):
    """An nn.Module that learns from rows. Target networks are sub-modules, so that checkpoints hold them."""

    optimisers: dict[str, torch.optim.Optimizer]

    def update(self, batch: Replay, generator: torch.Generator, step: int) -> dict[str, Tensor]:
        """One gradient step on all it learns; 0-d figures, the loss first. Noise comes from the generator alone."""
        ...

    def parameters(self, recurse: bool = True) -> Iterator[nn.Parameter]: ...


def learn(
    learner: Learner,
    replay: Replay,
    *,
    steps: int,
    batch_size: int,
    seed: int,
    options: TrainingOptions,
    prepare: Callable[[Replay], Replay] | None = None,
) -> list[dict[str, Any]]:
    """Update a learner in place, resumably.

    Args:
        learner: an nn.Module, see `Learner`.
        replay: rows to draw from, on the learner's device.
        steps: updates in all, those before a resume included.
        batch_size: rows an update.
        seed: fixes every draw.
        options: folder, stage, resume, log_every, checkpoint_every and progress are used.
        prepare: what the rows still need, done where there are steps left to do.

    Returns:
        Rows of figures, means since the last row: ``step``, ``seconds``, and what the learner tells.

    Raises:
        ValueError: for steps or batch_size below 1, or a folder with checkpoints of another training.
        egflow.training.TrainingError: if a figure is not finite.
        KeyboardInterrupt: passed on at the end of a step, after a checkpoint was saved.
    """
    assert isinstance(learner, nn.Module)
    check_count("steps", steps)
    check_count("batch_size", batch_size)
    folder = None if options.folder is None else options.folder / "checkpoints" / options.stage
    facts = {"steps": steps, "batch_size": batch_size, "seed": seed, "n": len(replay)}
    saved = ({"learner": learner}, learner.optimisers)
    step, rows, before, sums, count = 0, [], 0.0, {}, 0
    if folder is not None and options.resume and (found := load_checkpoint(folder, *saved)):
        step, state, file = found
        changed = [key for key, value in facts.items() if state["facts"].get(key) != value]
        if changed:
            raise ValueError(f"resume: the checkpoint {file} was made with another {', '.join(changed)}")
        rows, before, sums, count = (state[key] for key in ("rows", "seconds", "sums", "count"))
    elif folder is not None and checkpoints(folder):
        raise ValueError(f"{folder} holds checkpoints of another training: pass resume=True, or another folder")
    metrics, started = Metrics(options), time.monotonic()
    metrics.start([_flat(options.stage, row) for row in rows])
    generator = torch.Generator()
    if prepare is not None and step < steps:
        replay = prepare(replay)

    def seconds() -> float:
        return before + time.monotonic() - started

    def save() -> None:
        if folder is not None:
            state = {"facts": facts, "rows": rows, "seconds": seconds(), "count": count}
            save_checkpoint(folder, step, *saved, state | {"sums": {key: float(value) for key, value in sums.items()}})

    try:
        with ProgressLine(options, steps) as line, DeferredInterrupts() as interrupts:
            while step < steps:
                generator.manual_seed(mix(seed, step))
                index = torch.randint(len(replay), (batch_size,), generator=generator)
                figures = learner.update(replay.rows(index.to(replay.actions.device)), generator, step)
                sums = {key: sums.get(key, 0.0) + value for key, value in figures.items()}
                step, count = step + 1, count + 1
                if step % options.log_every == 0 or step == steps or step % options.checkpoint_every == 0:
                    _check_finite(sums, step, options.stage)
                if step % options.log_every == 0 or step == steps:
                    row = {"step": step, "seconds": round(seconds(), 3)}
                    row |= {key: float(value) / count for key, value in sums.items()}
                    sums, count = {}, 0
                    rows.append(row)
                    metrics.add(_flat(options.stage, row))
                    line.show(step, _loss(row))
                if step % options.checkpoint_every == 0 or step == steps:
                    save()
                interrupts.raise_pending()
    except KeyboardInterrupt:
        save()
        raise
    finally:
        metrics.close()
    return rows


def follow(target: nn.Module, source: nn.Module, rate: float) -> None:
    """target ← (1 − rate)·target + rate·source, in place."""
    parameters: list[Tensor] = list(target.parameters())
    # not in torch's stubs
    torch._foreach_lerp_(parameters, [p.detach() for p in source.parameters()], rate)  # pyright: ignore[reportPrivateImportUsage]


def adam(parameters: Iterable[nn.Parameter], learning_rate: float) -> torch.optim.Adam:
    """Adam as all learners here use it."""
    return torch.optim.Adam(parameters, lr=learning_rate, fused=True)


def _loss(row: dict[str, Any]) -> float:
    return next(float(value) for key, value in row.items() if key not in ("step", "seconds"))


def _flat(stage: str, row: dict[str, Any]) -> dict[str, Any]:
    details = " ".join(f"{key}={value:.6g}" for key, value in row.items() if key not in ("step", "seconds"))
    common = {"held_out_loss": "", "learning_rate": "", "details": details}
    return {"stage": stage, "step": row["step"], "loss": _loss(row), "seconds": row["seconds"]} | common


def _check_finite(sums: dict[str, Any], step: int, stage: str) -> None:
    for key, value in sums.items():
        if not math.isfinite(float(value)):
            raise TrainingError(
                f"{stage}: {key} is not finite at step {step}: check the data's rewards, or lower a rate"
            )
